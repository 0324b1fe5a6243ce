"""How detectors are loaded; what the real ones make is in tests/controlnet_aux."""

from __future__ import annotations

import sys
from pathlib import Path
from types import ModuleType

import pytest
import torch

from threedis_core import load_plugins
from threedis_core.errors import WeightsError


class Model(torch.nn.Linear):
    """A model that, like the real one, takes any weights and makes some numbers anew."""

    def __init__(self) -> None:
        super().__init__(2, 2)
        self.register_buffer("relative_position_index", torch.zeros(2))


class ZoeDetector:
    """Loads as the real one does: whatever there is, with a word on stdout."""

    def __init__(self, model: Model) -> None:
        self.model = model

    @classmethod
    def from_pretrained(cls, folder: str) -> ZoeDetector:
        model = Model()
        print("Warning: trying with strict=False")
        model.load_state_dict(torch.load(f"{folder}/ZoeD_M12_N.pt")["model"], strict=False)
        return cls(model)

    def to(self, device: torch.device) -> ZoeDetector:
        self.model.to(device)
        return self


@pytest.fixture
def package(monkeypatch) -> None:
    """A package in the place of controlnet-aux, whose ZoeDepth has 1.4 GB."""
    package = ModuleType("controlnet_aux")
    package.ZoeDetector = ZoeDetector
    monkeypatch.setitem(sys.modules, "controlnet_aux", package)


def saved(folder: Path, *lacking: str, **more: torch.Tensor) -> Path:
    """A folder with a file of weights."""
    weights = {name: value for name, value in Model().state_dict().items() if name not in lacking}
    torch.save({"model": weights | more}, folder / "ZoeD_M12_N.pt")
    return folder


def test_zoe_refuses_a_file_that_lacks_weights(package, tmp_path, capsys) -> None:
    for lacking, said in (
        (("weight",), "lacks weight of the weights of ZoeDepth"),
        (("weight", "bias"), "lacks bias and 1 more of the weights of ZoeDepth"),
    ):
        folder = saved(tmp_path, *lacking, other=torch.zeros(1))
        zoe = load_plugins().depth_estimator("zoe", {"model": str(folder), "device": "cpu"})
        with pytest.raises(WeightsError, match=f"ZoeD_M12_N.pt' {said}"):
            zoe.load()
    torch.save({"weights": {}}, tmp_path / "ZoeD_M12_N.pt")
    with pytest.raises(WeightsError, match="cannot be loaded"):
        zoe.load()
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize("lacking", [(), ("relative_position_index",)])
def test_zoe_takes_a_whole_file_and_leaves_stdout_alone(lacking, package, tmp_path, capsys) -> None:
    folder = saved(tmp_path, *lacking, extra=torch.zeros(1))
    zoe = load_plugins().depth_estimator("zoe", {"model": str(folder), "device": "cpu"})
    found = zoe.load().model.state_dict()
    stored = torch.load(folder / "ZoeD_M12_N.pt")["model"]
    assert torch.equal(found["weight"], stored["weight"])
    assert capsys.readouterr().out == ""
