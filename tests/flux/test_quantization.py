"""Quantisation is diffusers' own; what it needs is said when it is not there."""

from __future__ import annotations

import re
from importlib.util import find_spec
from pathlib import Path

import pytest
import yaml

from threedis_core.errors import OptionError
from threedis_flux.backend import FluxRenderer
from threedis_flux.options import FluxOptions


@pytest.mark.skipif(find_spec("bitsandbytes") is not None, reason="bitsandbytes is installed")
def test_a_quantisation_whose_package_is_not_installed_is_refused_in_words(
    pipeline_folder: Path,
) -> None:
    quantization = {
        "quant_backend": "bitsandbytes_4bit",
        "quant_kwargs": {"load_in_4bit": True},
        "components_to_quantize": ["transformer"],
    }
    renderer = FluxRenderer(FluxOptions(model=str(pipeline_folder), quantization=quantization))
    with pytest.raises(OptionError, match="package that is not installed"):
        renderer.check()


def test_the_documented_example_is_nf4_computed_in_bfloat16_for_both_large_parts() -> None:
    docs = Path(__file__).parents[2] / "docs" / "flux.md"
    found = re.search(r"`(\{quant_backend: .*?\})`", docs.read_text("utf-8"))
    assert found is not None
    example = FluxOptions(quantization=yaml.safe_load(found[1])).quantization
    assert example is not None
    assert example["quant_kwargs"] == {
        "load_in_4bit": True,
        "bnb_4bit_quant_type": "nf4",
        "bnb_4bit_compute_dtype": "bfloat16",
    }
    assert example["components_to_quantize"] == ["transformer", "text_encoder_2"]
