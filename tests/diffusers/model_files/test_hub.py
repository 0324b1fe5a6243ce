"""Whether the hub can be reached is known within seconds, whatever the network does."""

from __future__ import annotations

import socket
import time
from collections.abc import Iterator

import pytest

from threedis_core.errors import WeightsError
from threedis_diffusers.model_files import hub
from threedis_diffusers.model_files.sources import ModelSource


@pytest.fixture(autouse=True)
def no_proxies(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("http", "https", "all"):
        for proxy in (f"{name}_proxy", f"{name.upper()}_PROXY"):
            monkeypatch.delenv(proxy, raising=False)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", False)


@pytest.fixture
def listening() -> Iterator[int]:
    """The port of somebody who takes connections and says nothing."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server.getsockname()[1]


def at(monkeypatch: pytest.MonkeyPatch, address: str) -> None:
    monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", address)


def test_a_hub_that_listens_answers(monkeypatch: pytest.MonkeyPatch, listening: int) -> None:
    at(monkeypatch, f"http://127.0.0.1:{listening}")
    hub.check_hub_answers()


def test_nobody_there_is_said_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    at(monkeypatch, f"http://127.0.0.1:{port}")
    with pytest.raises(OSError, match=r"127\.0\.0\.1 cannot be reached: Connection refused"):
        hub.check_hub_answers()


def test_a_name_that_is_looked_up_for_half_a_minute_is_not_waited_for(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    at(monkeypatch, "https://hub.invalid")
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: time.sleep(30))
    started = time.monotonic()
    with pytest.raises(OSError, match=r"hub\.invalid cannot be reached: no answer within 0.2 sec"):
        hub.check_hub_answers(patience=0.2)
    assert time.monotonic() - started < 10


def test_a_proxy_or_the_clients_own_word_is_left_to_the_client(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    at(monkeypatch, "https://hub.invalid")
    monkeypatch.setenv("HTTPS_PROXY", "http://127.0.0.1:9")
    hub.check_hub_answers()
    monkeypatch.delenv("HTTPS_PROXY")
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    hub.check_hub_answers()


def test_a_model_of_a_hub_that_cannot_be_reached_says_what_to_do(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    at(monkeypatch, "https://hub.invalid")
    with pytest.raises(WeightsError, match=r"hub\.invalid cannot be reached") as caught:
        ModelSource("nobody/nothing").read("config.json")
    assert caught.value.code == "weights-not-found"
    assert caught.value.hint.endswith("`hf download nobody/nothing --include config.json`")
