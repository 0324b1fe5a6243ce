from __future__ import annotations

import re
from pathlib import Path

from threedis_core import RunConfig, load_plugins

PAGE = (Path(__file__).parents[2] / "docs" / "sd15.md").read_text("utf-8")
CONFIGS = dict(re.findall(r'^```yaml title="([^"]+)"\n(.*?)^```$', PAGE, re.MULTILINE | re.DOTALL))


def test_the_documented_run_with_several_controlnets_is_understood(tmp_path: Path) -> None:
    name = "several-controlnets.yaml"
    (tmp_path / name).write_text(CONFIGS[name], "utf-8")
    given = RunConfig.load(tmp_path / name).renderers["sd15"]
    (one,) = load_plugins().renderer("sd15", given).options.model_dump()["more_controlnets"]
    assert one.keys() == {"model", "image", "scale", "start", "end"}
    assert (one["image"], one["scale"], one["end"]) == ("edges.png", 0.5, 0.8)
