"""What the library logs, and what of it the command line shows."""

from __future__ import annotations

import json
import logging
import re
import subprocess
import sys
from pathlib import Path

import pytest

from threedis_core import DeadlineExceeded, Engine, Layout, OptionError, render
from threedis_core.plugin.discovery import load_plugins
from threedis_core.testing import sample_depth, sample_layout

ROOT = Path(__file__).parents[2]
LAYOUT = sample_layout(2)
RENDER = ("render", "scene.yaml", "--depth-model", "fake-depth", "--renderer", "fake")


def messages(caplog: pytest.LogCaptureFixture, logger: str) -> list[str]:
    return [record.getMessage() for record in caplog.records if record.name == logger]


def test_a_run_logs_its_stages_and_what_it_found(registry, caplog, tmp_path, monkeypatch) -> None:
    monkeypatch.setenv("THREEDIS_CACHE", str(tmp_path))
    asked = {"depth_model": "fake-depth", "renderers": ["fake"], "registry": registry}
    with caplog.at_level(logging.INFO, "threedis_core"):
        for _ in range(2):
            caplog.clear()
            render(LAYOUT, **asked)
    lines = messages(caplog, "threedis_core.run")
    assert lines[0] == "depth map of seed 0: found in the cache"
    assert [line.partition(":")[0] for line in lines[1:]] == [
        "depth",
        "regions",
        "fake, pictures of seeds [0]",
    ]
    assert all(re.fullmatch(r".*: \d+\.\d\d seconds", line) for line in lines[1:])


def test_warnings_of_a_run_are_logged_where_they_can_be_told_apart(registry, caplog) -> None:
    depth = sample_depth(LAYOUT, 64, 32)
    run = render(LAYOUT, depth=depth, width=64, height=64, renderers=["fake"], registry=registry)
    assert run.warnings
    assert messages(caplog, "threedis_core.warnings") == list(run.warnings)


def test_an_engine_logs_its_jobs_and_what_it_refuses(registry, caplog) -> None:
    asked = {"depth_model": "fake-depth", "renderers": ["fake"], "depth_cache": False}
    with caplog.at_level(logging.INFO, "threedis_core"), Engine(registry=registry) as engine:
        engine.submit(LAYOUT, **asked).result()
        with pytest.raises(OptionError):
            engine.submit(LAYOUT, **asked | {"renderers": {"fake": {"tnt": 1}}})
        with pytest.raises(OptionError):
            engine.render(LAYOUT, **asked | {"batch_size": 0})
    lines = messages(caplog, "threedis_core.engine")
    assert lines[0] == "threedis job 1: submitted, 0 before it"
    assert re.fullmatch(r"threedis job 1: done after \d+\.\d\d seconds", lines[1])
    assert lines[2:] == [
        "refused: OptionError unknown-field at renderers.fake.tnt",
        "refused: OptionError wrong-value at batch_size",
    ]
    of_job = [one for one in caplog.records if one.threadName == "threedis job 1"]
    assert {"threedis_core.run", "threedis_core.engine"} <= {one.name for one in of_job}


def test_a_job_that_was_cancelled_says_so(registry, caplog) -> None:
    with caplog.at_level(logging.INFO, "threedis_core"), Engine(registry=registry) as engine:
        job = engine.submit(LAYOUT, depth_model="fake-depth", renderers="fake", deadline=1e-9)
        with pytest.raises(DeadlineExceeded):
            job.result()
    (line,) = [one for one in messages(caplog, "threedis_core.engine") if "after" in one]
    assert line.startswith("threedis job 1: DeadlineExceeded deadline-exceeded after ")


def test_a_model_that_is_loaded_is_named_with_its_seconds(caplog) -> None:
    renderer = load_plugins().renderer("pocket-sd15")
    with caplog.at_level(logging.INFO, "threedis_core"):
        renderer.load()
    begun, done = messages(caplog, "threedis_core.models")
    assert re.fullmatch(r"sd15: loading '.*pocket-sd15'", begun)
    assert re.fullmatch(r"sd15: loaded in \d+\.\d\d seconds", done)


def test_no_line_but_a_warning_holds_a_prompt(registry, caplog, tmp_path) -> None:
    secret = "a zebra on the moon"
    layout = Layout.from_dict(
        {
            "prompt": secret,
            "negative_prompt": secret,
            "instances": [{"prompt": secret, "label": secret, "box": [0, 0, 1, 1]}],
        }
    )
    with caplog.at_level(logging.DEBUG, "threedis_core"), Engine(registry=registry) as engine:
        asked = {"depth_model": "fake-depth", "renderers": ["fake"], "engine": engine}
        render(layout, out=tmp_path / "run", **asked)
        with pytest.raises(OptionError):
            render(layout, **asked | {"renderers": {"fake": {"tint": secret}}})
        with pytest.raises(OptionError):
            engine.submit(layout, depth_model="fake-depth", renderers="fake", width=secret)
    assert messages(caplog, "threedis_core.run")
    for record in caplog.records:
        assert record.name == "threedis_core.warnings" or "zebra" not in record.getMessage()


def test_plugins_that_do_not_work_are_logged(plugins, caplog) -> None:
    plugins.install("broken", "raise KeyError('x')")
    with caplog.at_level(logging.INFO, "threedis_core"):
        plugins.load()
    assert "cannot be imported: KeyError: 'x'" in messages(caplog, "threedis_core.plugins")[0]


def test_python_prints_nothing_where_nobody_asked_for_logs() -> None:
    code = (
        "import logging, threedis_core\n"
        "logging.getLogger('threedis_core.run').error('unheard')\n"
        "print(logging.getLogger('threedis_core').handlers)"
    )
    finished = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    assert (finished.stdout, finished.stderr) == ("[<NullHandler (NOTSET)>]\n", "")


CHATTY = """
    import logging
    from threedis_core.plugin.hookspecs import hookimpl
    from threedis_core.testing.fakes import FakeRenderer

    log = logging.getLogger(__name__)

    class Chatty(FakeRenderer):
        def render(self, requests, progress):
            log.info("painting")
            log.debug("with a fine brush")
            return super().render(requests, progress)

    @hookimpl
    def threedis_register_renderers(register):
        register("chatty", "chatty:Chatty")
"""


@pytest.mark.parametrize("told", ["before", "after"])
def test_verbose_shows_what_is_going_on_and_leaves_no_trace(threedis, told) -> None:
    _, _, plain = threedis(*RENDER)
    code, _, said = threedis(*(("-v", *RENDER) if told == "before" else (*RENDER, "--verbose")))
    assert code == 0
    assert "threedis_core" not in plain
    assert "threedis_core.run: depth map of seed 0: found in the cache\n" in said
    assert re.search(r"^threedis_core.run: fake, .*: \d+\.\d\d seconds$", said, re.MULTILINE)
    assert "begins" not in said
    logger = logging.getLogger("threedis_core")
    assert [type(one) for one in logger.handlers] == [logging.NullHandler]
    assert logger.level == logging.NOTSET


def test_verbose_shows_what_a_plugin_logs_and_which_do_not_work(threedis, plugins) -> None:
    plugins.install("chatty", CHATTY)
    plugins.install("broken", "raise KeyError('x')")
    painted = (*RENDER[:-1], "chatty")
    assert "painting" not in threedis(*painted)[2]
    told = threedis(*painted, "-v")[2]
    assert "\nchatty: painting\n" in told
    assert "threedis_core.plugins: plugin broken 1.0: cannot be imported: KeyError: 'x'\n" in told
    assert "brush" not in told
    everything = threedis(*painted, "-vv")[2]
    assert "\nchatty: with a fine brush\n" in everything
    assert "threedis_core.run: depth: begins\n" in everything
    assert logging.getLogger("chatty").handlers == []


@pytest.mark.parametrize("told", ["before", "after"])
def test_quiet_prints_results_and_errors_only(threedis, told) -> None:
    def quiet(*words: str) -> tuple[int, str, str]:
        return threedis(*(("--quiet", *words) if told == "before" else (*words, "-q")))

    odd = (*RENDER[:2], "--depth", "depth.png", "--renderer", "fake", "--size", "64x128")
    assert "warning: " in threedis(*odd)[2]
    code, out, err = quiet(*odd)
    assert (code, err) == (0, "")
    assert "fake-seed0.png" in out
    assert "warning: " in threedis(*odd)[2]
    assert quiet("layout", "check", "none.yaml")[2].startswith("error: ")


def test_errors_as_json_and_tracebacks_may_be_asked_for_after_the_command(threedis) -> None:
    code, _, err = threedis("layout", "check", "none.yaml", "--json-errors")
    assert (code, json.loads(err)["code"]) == (2, "file-not-found")
    assert "Traceback" in threedis("layout", "check", "none.yaml", "--debug")[2]


def test_a_plugins_command_keeps_its_own_options(threedis, plugins) -> None:
    plugins.install(
        "own",
        """
        import typer
        from threedis_core.plugin.hookspecs import hookimpl

        @hookimpl
        def threedis_register_commands(app, bench):
            @app.command()
            def measure(value: int = typer.Option(1, "-v"), quiet: bool = False):
                typer.echo(f"{value} {quiet}")
        """,
    )
    assert threedis("measure", "-v", "7", "--quiet") == (0, "7 True\n", "")


def test_the_page_names_every_logger() -> None:
    page = (ROOT / "docs" / "service.md").read_text("utf-8")
    used: set[str] = set()
    for folder in ("threedis_core", "renderers", "depth_models", "plugins/threedis-pocket"):
        for path in (ROOT / folder).rglob("*.py"):
            if "tests" not in path.parts:
                found = re.findall(r'getLogger\("(threedis[\w.]*)"\)', path.read_text("utf-8"))
                used |= set(found)
    named = set(re.findall(r"^\| `(threedis_core\.\w+)` \|", page, re.MULTILINE))
    assert named == used - {"threedis_core", "threedis_core.cli"}
