"""The page as a person meets it: in a real browser, from disk."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from threedis_core.compare.report import write_report

Make = Callable[..., Any]
Look = Callable[..., Any]
HOSTILE = "</script><img src=x onerror=alert(1)>'\" \u202e{{ 7*7 }} <!-- "


def names(page: Any) -> list[str]:
    return page.locator("#rows > .row:not([hidden]) .name").all_text_contents()


def test_the_page_is_one_file_that_asks_nobody_for_anything(comparison: Make, look: Look) -> None:
    file = write_report(comparison().folder.path)
    assert file.name == "report.html"
    page = look(file)
    assert page.locator("h1").text_content() == "2 systems on 3 layouts"
    assert page.locator(".tally").inner_text().split("\n")[:2] == ["6 planned", "6 done"]


def test_pictures_are_inert_until_their_row_is_near(comparison: Make, look: Look) -> None:
    page = look(write_report(comparison(layouts=40).folder.path))
    loaded = "document.querySelectorAll('#rows img[src]').length"
    page.wait_for_timeout(200)
    assert page.evaluate(loaded) < 40 * 3
    page.locator("#row-39").scroll_into_view_if_needed()
    image = page.locator("#row-39 .shot img").first
    page.wait_for_function("image => image.naturalWidth > 0", arg=image.element_handle())
    assert page.evaluate(loaded) < 40 * 3


def test_verdicts_are_drawn_upon_the_pictures(comparison: Make, look: Look) -> None:
    page = look(write_report(comparison().folder.path))
    page.locator("#row-0").scroll_into_view_if_needed()
    shot = page.locator("#row-0 .shot").first
    shot.locator(".box.missing").wait_for()
    assert shot.locator(".mark").all_text_contents() == ["✗ .20", "✗ .60"]
    asked = shot.locator(".box.missing").bounding_box()
    frame = shot.locator(".frame").bounding_box()
    assert (asked["x"] - frame["x"]) / frame["width"] == pytest.approx(0.05, abs=0.02)
    assert asked["height"] / frame["height"] == pytest.approx(0.6, abs=0.03)


def test_rows_are_sorted_by_score_disagreement_and_failures(comparison: Make, look: Look) -> None:
    made = comparison(layouts=3)
    made.fail("render", "job0-2-0", "out of memory")
    page = look(write_report(made.folder.path))
    order = page.locator("#order")
    order.select_option("failed-down")
    assert names(page)[0] == "layout 2"
    order.select_option("score-down")
    scores = page.evaluate(
        "[...document.querySelectorAll('#rows > .row')].map(row => Number(row.dataset.score))"
    )
    assert scores == sorted(scores, reverse=True)
    assert len(set(scores)) > 1
    order.select_option("number")
    assert names(page) == ["layout 0", "layout 1", "layout 2"]


def test_rows_are_found_by_words_and_by_part(comparison: Make, look: Look) -> None:
    page = look(write_report(comparison(layouts=4).folder.path))
    page.locator("#words").fill("red -green")
    assert names(page) == ["layout 0", "layout 3"]
    assert page.locator("#count").text_content() == "2 of 4 layouts"
    page.locator("#words").fill("nowhere")
    assert names(page) == []
    assert page.locator("#nothing").is_visible()
    page.locator("#words").fill("")
    page.locator(".stratum").select_option("L3")
    assert names(page) == ["layout 1", "layout 3"]


def test_a_table_is_sorted_from_the_keyboard_and_says_so(comparison: Make, look: Look) -> None:
    page = look(write_report(comparison(systems=("sd15", "flux", "sdxl")).folder.path))
    head = page.locator("#table-complete thead th", has_text="ISR")
    head.locator("button").focus()
    page.keyboard.press("Enter")
    assert head.get_attribute("aria-sort") == "descending"
    systems = page.locator("#table-complete tbody th")
    assert systems.locator("bdi").all_text_contents() == ["sdxl", "flux", "sd15"]
    page.keyboard.press("Enter")
    assert head.get_attribute("aria-sort") == "ascending"
    assert systems.locator("bdi").all_text_contents() == ["sd15", "flux", "sdxl"]


def test_the_table_has_intervals_differences_and_plain_verdicts(
    comparison: Make, look: Look
) -> None:
    page = look(write_report(comparison(systems=("sd15", "flux", "sdxl")).folder.path))
    rows = [row.inner_text().split() for row in page.locator("#table-complete tbody tr").all()]
    assert " ".join(rows[0][:6]) == "sd15 3 of 3 pictures 50.0"
    flux = " ".join(rows[1])
    assert "60.0 40.0 to 80.0W +2.0 −8.0 to 12.0 not distinguished p = 0.40 15.0 points" in flux
    assert "+30.0 20.0 to 40.0 better p < 0.001" in " ".join(rows[2])
    assert "equal" not in page.locator("#table-complete").inner_text()


def test_a_click_opens_full_size_pictures_and_the_keyboard_goes_on(
    comparison: Make, look: Look
) -> None:
    page = look(write_report(comparison().folder.path))
    page.locator("#row-0 .shot button").first.click()
    viewer = page.locator("#viewer")
    assert viewer.is_visible()
    page.wait_for_function(
        "document.querySelector('#viewer .shot img').src.endsWith('pictures/job0-0-0.png')"
    )
    assert "✗ not found" in viewer.locator("table").inner_text()
    page.keyboard.press("ArrowRight")
    assert page.locator("#viewer-title").text_content() == "layout 1"
    page.keyboard.press("ArrowLeft")
    page.keyboard.press("ArrowLeft")
    assert page.locator("#viewer-title").text_content() == "layout 0"
    page.keyboard.press("b")
    assert not viewer.locator(".box").first.is_visible()
    page.keyboard.press("Escape")
    assert not viewer.is_visible()
    assert page.evaluate("document.activeElement.className") == "open"


def test_the_large_view_says_in_words_what_the_judge_says_of_each_seed(
    comparison: Make, look: Look
) -> None:
    page = look(write_report(comparison(seeds=(0, 7), systems=("sd15",)).folder.path))
    page.locator("#row-0 .shot button").first.click()
    heads = page.locator("#viewer table thead th").all_text_contents()
    assert heads == ["Instance", "sd15, seed 0", "sd15, seed 7"]
    line = page.locator("#viewer table tbody tr").first
    assert line.locator("th").text_content() == "1 a red cube"
    assert line.locator("td").first.text_content().startswith("✗ not foundfound no, colour no")


def test_without_full_size_files_the_large_view_shows_the_small_ones(
    comparison: Make, chromium: Any, tmp_path: Path
) -> None:
    file = write_report(comparison().folder.path)
    alone = tmp_path / "mailed.html"
    file.rename(alone)
    page = chromium.new_page()
    page.goto(alone.as_uri())
    page.locator("#row-0 .shot button").first.click()
    image = page.locator("#viewer .shot img").first
    page.wait_for_function("image => image.naturalWidth > 0", arg=image.element_handle())
    assert image.get_attribute("src").startswith("data:image/webp")
    page.close()


def test_a_hostile_prompt_stays_a_text(comparison: Make, look: Look) -> None:
    made = comparison(systems=("sd15", HOSTILE), prompt=HOSTILE)
    made.fail("render", "job0-1-0", f"boom \x1b[31m\x00 {HOSTILE}")
    page = look(write_report(made.folder.path))  # whoever runs a script here is heard by look
    shown = HOSTILE.replace("\u202e", "\\u202e").strip()
    assert page.locator("#row-0 .name").text_content().startswith(shown)
    assert page.locator("img[src=x]").count() == 0
    reason = page.locator("#failed .reason").text_content()
    assert reason.startswith("boom \\x1b[31m\\x00 </script>")
    assert page.locator("#results tbody th bdi").nth(1).text_content().strip() == shown
    page.locator("#row-0 .shot button").first.click()
    assert page.locator("#viewer-title").text_content().startswith(shown)
    assert page.evaluate("document.scripts.length") == 1


def test_a_script_that_got_in_would_not_run(comparison: Make, look: Look) -> None:
    page = look(write_report(comparison().folder.path))
    policy = page.locator("meta[http-equiv=Content-Security-Policy]").get_attribute("content")
    assert "script-src 'sha256-" in policy
    assert "default-src 'none'" in policy


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize(("width", "height"), [(1366, 900), (390, 844)])
def test_the_page_is_accessible_and_fits(
    comparison: Make, look: Look, scheme: str, width: int, height: int
) -> None:
    axe = pytest.importorskip("axe_playwright_python.sync_playwright", reason="axe is missing")
    made = comparison(systems=("sd15", "flux", "sd15@50"))
    made.fail("render", "job0-1-0", "out of memory")
    page = look(write_report(made.folder.path), width, height, scheme)
    page.locator("#row-0").scroll_into_view_if_needed()
    found = axe.Axe().run(page)
    assert found.violations_count == 0, found.generate_report()
    assert page.evaluate("document.documentElement.scrollWidth") == width
    page.locator("#row-0 .shot button").first.click()
    found = axe.Axe().run(page)
    assert found.violations_count == 0, found.generate_report()


def test_charts_take_the_colours_of_the_page(comparison: Make, look: Look) -> None:
    page = look(write_report(comparison().folder.path))
    label = "getComputedStyle(document.querySelector('.chart text')).fill"
    light = page.evaluate(label)
    page.locator("#theme").click()
    assert page.evaluate(label) != light
    point = page.locator("#parts .chart svg path[aria-label^='L2, flux']").first
    assert point.get_attribute("aria-label") == "L2, flux: 60.0 % (40.0 to 80.0)"
    point.hover()
    assert page.locator(".tip").text_content() == "L2, flux: 60.0 % (40.0 to 80.0)"


def test_one_layout_and_nothing_scored_is_a_page_too(comparison: Make, look: Look) -> None:
    made = comparison(layouts=1, systems=("sd15",))
    for folder in ("scores", "detections", "depth"):
        for file in (made.folder.path / folder).rglob("*.*"):
            file.unlink()
    made.folder.summary.unlink()
    page = look(write_report(made.folder.path))
    assert page.locator("h1").text_content() == "1 system on 1 layout"
    assert "no depth map" in page.locator("#row-0").inner_text()
    assert page.locator("#row-0 .box").count() == 0
    page.locator("#row-0 .shot button").click()
    assert page.locator("#viewer img").count() == 1


def test_a_torn_picture_is_told_and_the_others_are_shown(comparison: Make, look: Look) -> None:
    made = comparison()
    made.folder.picture("job0-0-0").write_bytes(b"\x89PNG torn")
    page = look(write_report(made.folder.path))
    assert page.locator("#row-0 .shot").first.inner_text().startswith("cannot be read")
    assert page.locator("#row-0 .shot img").count() == 1
