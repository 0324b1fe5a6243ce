"""What ``attention=auto`` picks, as the provenance tells it."""

from __future__ import annotations

from typing import Any

import pytest


@pytest.mark.parametrize(("tokens", "expected"), [(8, "dense"), (512, "segments")])
def test_auto_counts_the_texts_tokens_too(
    tokens: int, expected: str, make_renderer: Any, make_request: Any
) -> None:
    renderer = make_renderer(tokens_per_prompt=tokens, device="cpu", steps=1)
    request = make_request(("a red cat", (0.1, 0.1, 0.5, 0.5)))
    facts = renderer.render([request])[0].provenance["attention"]
    assert facts["lowering"] == expected
    assert "tokens" in facts["reason"]
