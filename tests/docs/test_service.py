"""The service of the documentation, over real HTTP."""

from __future__ import annotations

import io
import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any
from urllib.error import HTTPError
from urllib.request import Request, urlopen

import pytest
from PIL import Image

from threedis_core import Engine, render
from threedis_core.testing import sample_layout

PAGE = Path(__file__).parents[2] / "docs" / "service.md"
Ask = Callable[..., tuple[int, bytes]]


@pytest.fixture(scope="module")
def ask(tmp_path_factory) -> Iterator[Ask]:
    """Ask the service of the page, started with uvicorn in a process of its own."""
    folder = tmp_path_factory.mktemp("service")
    code = PAGE.read_text("utf-8").split('title="service.py"\n')[1].split("```")[0]
    (folder / "service.py").write_text(code, "utf-8")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    path = os.pathsep.join([str(folder), *filter(None, sys.path)])
    server = subprocess.Popen(
        [sys.executable, "-m", "uvicorn", "service:app", "--port", str(port)],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": path, "THREEDIS_CACHE": str(folder / "cache")},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )

    def asked(method: str, place: str, body: object = None) -> tuple[int, bytes]:
        data = None if body is None else json.dumps(body).encode()
        headers = {"Content-Type": "application/json"}
        request = Request(f"http://127.0.0.1:{port}{place}", data, headers, method=method)
        try:
            with urlopen(request, timeout=300) as answer:
                return answer.status, answer.read()
        except HTTPError as error:
            return error.code, error.read()

    try:
        wait_until(lambda: answers(asked) or server.poll() is not None)
        assert server.poll() is None, server.stdout.read()
        yield asked
    finally:
        server.terminate()
        told, _ = server.communicate(timeout=120)
    assert b"Traceback" not in told, told.decode()


def answers(ask: Ask) -> bool:
    try:
        return ask("GET", "/openapi.json")[0] == 200
    except OSError:
        return False


def wait_until(true: Callable[[], bool]) -> None:
    end = time.monotonic() + 300
    while not true():
        assert time.monotonic() < end, "it did not happen within five minutes"
        time.sleep(0.05)


def submitted(ask: Ask, instances: int = 2, **settings: Any) -> int:
    body = {"layout": sample_layout(instances).to_dict(), **settings}
    for instance in body["layout"]["instances"]:
        instance.pop("label", None)
    status, answer = ask("POST", "/jobs", body)
    assert status == 202, answer
    return json.loads(answer)["job"]


def state(ask: Ask, job: int) -> str:
    return json.loads(ask("GET", f"/jobs/{job}")[1])["state"]


def test_requests_at_once_get_the_pictures_that_render_makes(ask) -> None:
    asked = [("pocket-sd15", 0), ("pocket-flux", 1), ("pocket-sd15", 2), ("pocket-flux", 0)]

    def picture(renderer: str, seed: int) -> bytes:
        job = submitted(ask, renderer=renderer, seed=seed, deadline=600)
        status, png = ask("GET", f"/jobs/{job}/picture")
        assert status == 200, png
        assert state(ask, job) == "done"
        return Image.open(io.BytesIO(png)).tobytes()

    with ThreadPoolExecutor(4) as threads:
        found = list(threads.map(lambda one: picture(*one), asked))
    layout = sample_layout(2)
    layout = layout.model_copy(
        update={"instances": tuple(i.model_copy(update={"label": None}) for i in layout.instances)}
    )
    with Engine() as engine:
        for (renderer, seed), pixels in zip(asked, found, strict=True):
            run = render(layout, renderers=renderer, seeds=[seed], engine=engine)
            assert run.images[0].image.tobytes() == pixels


def test_a_preview_can_be_looked_at_before_the_picture_is_there(ask) -> None:
    job = submitted(ask)
    assert ask("GET", "/jobs/1000000/preview")[0] == 404
    wait_until(lambda: ask("GET", f"/jobs/{job}/preview")[0] == 200)
    preview = Image.open(io.BytesIO(ask("GET", f"/jobs/{job}/preview")[1]))
    assert preview.mode == "RGB"
    assert ask("GET", f"/jobs/{job}/picture")[0] == 200


def test_a_cancelled_job_ends_and_others_go_on(ask) -> None:
    jobs = [submitted(ask, seed=seed) for seed in range(4)]
    with ThreadPoolExecutor(1) as threads:
        waiting = threads.submit(ask, "GET", f"/jobs/{jobs[-1]}/picture")
        wait_until(lambda: state(ask, jobs[0]) != "waiting")
        assert ask("DELETE", f"/jobs/{jobs[-1]}")[0] == 204
        status, answer = waiting.result(300)
    assert (status, json.loads(answer)["error"]) == (409, "Cancelled")
    assert ask("GET", f"/jobs/{jobs[-1]}")[0] == 404
    assert [ask("GET", f"/jobs/{job}/picture")[0] for job in jobs[:-1]] == [200] * 3


def test_a_deadline_ends_a_job(ask) -> None:
    job = submitted(ask, deadline=0.05)
    status, answer = ask("GET", f"/jobs/{job}/picture")
    assert (status, json.loads(answer)["error"]) == (504, "DeadlineExceeded")
    assert state(ask, job) == "stopped"


def test_a_broken_layout_is_refused_with_the_list_of_its_problems(ask) -> None:
    layout = {
        "prompt": "a room",
        "instances": [
            {"prompt": "a red sphere", "box": [0.5, 0.3, 0.2, 0.9]},
            {"prompt": "a blue cube", "bocks": [0.55, 0.3, 0.95, 0.9]},
        ],
    }
    status, answer = ask("POST", "/jobs", {"layout": layout})
    told = json.loads(answer)
    assert (status, told["error"]) == (422, "LayoutError")
    assert (told["code"], told["path"]) == ("unknown-field", "instances[1].bocks")
    assert [(problem["path"], problem["code"]) for problem in told["problems"]] == [
        ("instances[1].bocks", "unknown-field"),
        ("instances[0].box", "wrong-value"),
        ("instances[1].box", "missing-field"),
    ]


def test_what_a_stranger_sends_names_no_file_and_no_other_model(ask, tmp_path) -> None:
    Image.new("L", (8, 8), 255).save(tmp_path / "mask.png")
    instance = {"prompt": "a red sphere", "box": [0.1, 0.1, 0.5, 0.5]}
    layout = {"prompt": "a room", "instances": [{**instance, "mask": str(tmp_path / "mask.png")}]}
    status, answer = ask("POST", "/jobs", {"layout": layout})
    assert status == 422
    assert b"the name of a file" in answer
    layout["instances"] = [instance]
    assert ask("POST", "/jobs", {"layout": layout, "renderer": "sdxl"})[0] == 422
