"""What ``attention=auto`` picks, as the provenance tells it."""

from __future__ import annotations

from typing import Any

import pytest

from threedis_flux.options import FluxOptions


@pytest.mark.parametrize(("tokens", "expected"), [(8, "dense"), (512, "segments")])
def test_auto_counts_the_texts_tokens_too(
    tokens: int, expected: str, make_renderer: Any, make_request: Any
) -> None:
    renderer = make_renderer(tokens_per_prompt=tokens, device="cpu", steps=1)
    request = make_request(("a red cat", (0.1, 0.1, 0.5, 0.5)))
    facts = renderer.render([request])[0].provenance["attention"]
    assert facts["lowering"] == expected
    assert "tokens" in facts["reason"]


def test_a_named_kernel_is_one_that_auto_really_uses(make_renderer: Any, make_request: Any) -> None:
    renderer = make_renderer(tokens_per_prompt=512, device="cpu", attention_backend="math", steps=1)
    request = make_request(("a red cat", (0.1, 0.1, 0.5, 0.5)))
    facts = renderer.render([request])[0].provenance["attention"]
    assert facts == {"lowering": "dense", "reason": "the one that runs on the math kernel"}


@pytest.mark.parametrize("lowering", ["segments", "block_mask"])
def test_a_lowering_with_kernels_of_its_own_refuses_a_named_one(lowering: str) -> None:
    with pytest.raises(ValueError, match="would do nothing"):
        FluxOptions(attention=lowering, attention_backend="math")
