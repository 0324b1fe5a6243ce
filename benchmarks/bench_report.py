"""How long the report of a large comparison takes to open, from disk, in a real browser.

    python benchmarks/bench_report.py [--layouts 800] [--systems 4] [--opens 5]

Pictures of 512 pixels as rich as photos are made, and the page of them is written and opened in
headless Chromium, each time in a browser of its own. First paint is the browser's own first
contentful paint; load its load event, when every script has run; both after the start of the
navigation, medians. "To a picture" is the time from a jump to the last row until its pictures are
drawn. Work is the processor time of the page's main thread by then: it does not depend on what else
the machine does, the others do. Written in: how long ``threedis compare report`` would work.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
from collections.abc import Iterator
from pathlib import Path
from time import perf_counter
from typing import Any

from playwright.sync_api import sync_playwright
from report_samples import sample_report
from rows import print_rows

from threedis_core.compare.report.writing import write_page

CHROMIUM = "/usr/bin/chromium"
ARGUMENTS = ["--no-sandbox", "--disable-gpu", "--disable-background-networking", "--no-first-run"]
HEADER = (
    f"{'layouts':>7} {'thumbnails':>10} {'size':>9} {'written in':>11} {'first paint':>12} "
    f"{'load':>8} {'to a picture':>13} {'work':>8}"
)
ROW = (
    "{layouts:7d} {thumbnails:10d} {size_mb:6.1f} MB {written_s:9.1f} s {paint_s:10.2f} s "
    "{load_s:6.2f} s {picture_s:11.2f} s {work_s:6.2f} s"
)
TIMES = """() => {
  const paint = performance.getEntriesByName("first-contentful-paint")[0];
  const load = performance.getEntriesByType("navigation")[0];
  return [paint.startTime / 1000, load.loadEventEnd / 1000];
}"""
JUMP = """async () => {
  const start = performance.now();
  const row = document.querySelector("#rows > :last-child");
  row.scrollIntoView({behavior: "instant"});
  const drawn = () => [...row.querySelectorAll("img")].every((i) => i.complete && i.naturalWidth);
  while (!drawn()) await new Promise(requestAnimationFrame);
  await new Promise(requestAnimationFrame);
  return (performance.now() - start) / 1000;
}"""


def main() -> None:
    """Parse the command line, measure, print a table or JSON."""
    arguments = parse()
    print_rows(measurements(arguments), HEADER, ROW, arguments.json)


def parse() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--layouts", type=int, nargs="+", default=[800])
    parser.add_argument("--systems", type=int, default=4, help="at most 8")
    parser.add_argument("--side", type=int, default=512, help="pixels on a side of a picture")
    parser.add_argument("--opens", type=int, default=5, help="times the page is opened")
    parser.add_argument("--keep", help="a folder to leave the comparison in")
    parser.add_argument("--json", action="store_true", help="print one JSON document")
    arguments = parser.parse_args()
    if not Path(CHROMIUM).exists():
        raise SystemExit(f"there is no browser at {CHROMIUM}; apt-get install chromium")
    return arguments


def measurements(arguments: argparse.Namespace) -> Iterator[dict[str, Any]]:
    """One row for each number of layouts."""
    for layouts in arguments.layouts:
        with tempfile.TemporaryDirectory() as folder:
            home = Path(arguments.keep or folder)
            report = sample_report(home, layouts, arguments.systems, side=arguments.side)
            start = perf_counter()
            page = write_page(report)
            written = perf_counter() - start
            times = [opened(page) for _ in range(arguments.opens)]
            paint, load, picture, work = map(statistics.median, zip(*times, strict=True))
            size = page.stat().st_size + sum(
                file.stat().st_size for file in page.parent.glob("thumbnails/*")
            )
            yield {
                "layouts": layouts,
                "thumbnails": sum(p.file is not None for r in report.rows for p in shown(r)),
                "size_mb": size / 1e6,
                "written_s": written,
                "paint_s": paint,
                "load_s": load,
                "picture_s": picture,
                "work_s": work,
            }


def shown(row: Any) -> Iterator[Any]:
    """The depth maps and pictures of a row."""
    for line in row.lines:
        yield from (*line.depths, *line.pictures)


def opened(page: Path) -> tuple[float, float, float, float]:
    """Seconds to the first paint, to load, from a jump to the last row's pictures; and of work."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS)
        tab = browser.new_page(viewport={"width": 1366, "height": 900})
        watch = tab.context.new_cdp_session(tab)
        watch.send("Performance.enable", {"timeDomain": "threadTicks"})
        tab.goto(page.as_uri(), wait_until="load")
        tab.wait_for_timeout(200)
        paint, load = tab.evaluate(TIMES)
        picture = tab.evaluate(JUMP)
        metrics = watch.send("Performance.getMetrics")["metrics"]
        work = next(one["value"] for one in metrics if one["name"] == "TaskDuration")
        browser.close()
    return paint, load, picture, work


if __name__ == "__main__":
    main()
