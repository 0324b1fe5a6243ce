"""Quantisation is diffusers' own; what it needs is said when it is not there."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

import pytest

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
