"""What ``attention=auto`` picks, as the provenance tells it."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from threedis_core.attention.tuning import Race, Records, Setting, machine_of
from threedis_flux.options import FluxOptions


@pytest.mark.parametrize(("tokens", "expected"), [(8, "dense"), (512, "segments")])
def test_auto_counts_the_texts_tokens_too(
    tokens: int, expected: str, make_renderer: Any, make_request: Any
) -> None:
    renderer = make_renderer(tokens_per_prompt=tokens, device="cpu", steps=1)
    request = make_request(("a red cat", (0.1, 0.1, 0.5, 0.5)))
    (facts,) = renderer.render([request])[0].provenance["attention"]
    assert facts["lowering"] == expected
    assert "tokens" in facts["reason"]


def test_a_named_kernel_is_one_that_auto_really_uses(make_renderer: Any, make_request: Any) -> None:
    renderer = make_renderer(tokens_per_prompt=512, device="cpu", attention_backend="math", steps=1)
    request = make_request(("a red cat", (0.1, 0.1, 0.5, 0.5)))
    (facts,) = renderer.render([request])[0].provenance["attention"]
    assert facts["lowering"] == "dense"
    assert facts["reason"] == "the one that runs on the math kernel"


def test_a_measurement_on_this_machine_decides_for_its_phase_alone(
    make_renderer: Any, make_request: Any
) -> None:
    setting = Setting(
        device=machine_of(torch.device("cpu")),
        torch=torch.__version__,
        dtype="float32",
        head=16,
        phase="i2t+t2i+t2t",
        image_tokens=16,
        text_tokens=24,
        instances=1,
    )
    Records.of_the_user().keep([Race(setting, {"dense": 2.0, "segments": 1.0})])
    renderer = make_renderer(tokens_per_prompt=12, device="cpu", steps=3)
    request = make_request(("a red cat", (0.1, 0.1, 0.5, 0.5)))
    made = renderer.render([request])[0].provenance
    assert [phase["controls"] for phase in made["phases"]] == [
        phase["controls"] for phase in made["attention"]
    ]
    lowerings = [phase["lowering"] for phase in made["attention"]]
    assert lowerings == ["dense", "segments"]
    assert "measured by threedis tune" in made["attention"][1]["reason"]


@pytest.mark.parametrize("lowering", ["segments", "block_mask"])
def test_a_lowering_with_kernels_of_its_own_refuses_a_named_one(lowering: str) -> None:
    with pytest.raises(ValueError, match="would do nothing"):
        FluxOptions(attention=lowering, attention_backend="math")
