"""Every documented config of smaller weights is one that its renderer takes."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from threedis_core import load_plugins
from threedis_diffusers.parts.options import PartOptions
from threedis_diffusers.quantized.wanted import BACKENDS, SHORT

PAGE = (Path(__file__).parents[2] / "docs" / "quantized.md").read_text("utf-8")
CONFIGS = dict(re.findall(r'^```yaml title="([^"]+)"\n(.*?)^```$', PAGE, re.MULTILINE | re.DOTALL))


def renderers(name: str) -> dict[str, dict[str, Any]]:
    return yaml.safe_load(CONFIGS[name])["renderers"]


@pytest.mark.parametrize("name", CONFIGS)
def test_a_documented_config_is_understood(name: str) -> None:
    for renderer, given in renderers(name).items():
        options = load_plugins().renderer(renderer, given).options
        assert isinstance(options, PartOptions)
        assert options.replaced or options.wanted, "it says something of smaller weights"


def test_the_documented_nf4_is_computed_in_bfloat16_for_both_large_parts() -> None:
    options = load_plugins().renderer("flux", renderers("nf4.yaml")["flux"]).options
    assert isinstance(options, PartOptions)
    assert options.wanted.keys() == {"transformer", "text_encoder_2"}
    for wanted in options.wanted.values():
        assert wanted is not None
        assert wanted.backend == "bitsandbytes_4bit"
        assert wanted.keywords == {
            "load_in_4bit": True,
            "bnb_4bit_quant_type": "nf4",
            "bnb_4bit_compute_dtype": "bfloat16",
        }


def test_the_page_names_every_backend_and_every_short_form_but_fp4() -> None:
    for name in (BACKENDS.keys() | SHORT.keys()) - {"fp4"}:
        assert name in PAGE
