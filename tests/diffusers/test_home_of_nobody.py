"""A path into the home of a user who is not there is a path that is not there."""

from __future__ import annotations

import pytest

from threedis_core.errors import WeightsError
from threedis_core.plugin.discovery import load_plugins


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("sd15", {"model": "~nosuchuser/x"}),
        ("sd15", {"model": "~nosuchuser/x.safetensors"}),
        ("flux", {"model": "~nosuchuser/x"}),
        ("pocket-sd15", {"loras": [{"path": "~nosuchuser/x.safetensors"}]}),
    ],
)
def test_a_home_of_nobody_is_a_place_where_nothing_is(name, options) -> None:
    backend = load_plugins().renderer(name, {"device": "cpu", **options})
    with pytest.raises(WeightsError, match="nosuchuser"):
        backend.check()
