"""A quantisation is checked by its names when the options are made."""

from __future__ import annotations

from typing import Any

import pytest
from diffusers.quantizers.auto import AUTO_QUANTIZATION_CONFIG_MAPPING

from threedis_diffusers.quantized.wanted import BACKENDS, FP8, SHORT, Wanted, read_wanted

PARTS = ("transformer", "text_encoder", "text_encoder_2", "vae")
LARGE = ("transformer", "text_encoder_2")
INT8 = SHORT["int8"]
QUANTO = {"quant_backend": "quanto", "quant_kwargs": {"weights": "int8"}}


def test_the_backends_are_those_of_the_installed_diffusers_and_its_casting() -> None:
    assert set(BACKENDS) == {*AUTO_QUANTIZATION_CONFIG_MAPPING, FP8}


@pytest.mark.parametrize(
    ("value", "wanted"),
    [
        (None, {}),
        ("int8", dict.fromkeys(LARGE, INT8)),
        (QUANTO, dict.fromkeys(LARGE, Wanted("quanto", {"weights": "int8"}))),
        (
            {**QUANTO, "components_to_quantize": "vae"},
            {"vae": Wanted("quanto", {"weights": "int8"})},
        ),
        ({"transformer": "int8", "vae": None}, {"transformer": INT8, "vae": None}),
        ({"quant_mapping": {"transformer": "int8"}}, {"transformer": INT8}),
        (
            {"text_encoder_2": QUANTO, "transformer": "fp8"},
            {"text_encoder_2": Wanted("quanto", {"weights": "int8"}), "transformer": SHORT[FP8]},
        ),
    ],
)
def test_every_form_says_the_same_by_part(value: Any, wanted: dict[str, Wanted | None]) -> None:
    assert read_wanted(value, PARTS, LARGE) == wanted


@pytest.mark.parametrize(
    ("value", "told"),
    [
        ({}, "nothing is said"),
        ("nf5", "Did you mean 'nf4'"),
        ({"colour": 1}, "no part 'colour'"),
        ({"transfomer": "int8"}, "Did you mean 'transformer'"),
        ({"quant_backend": "torcha", "quant_kwargs": {}}, "Did you mean 'torchao'"),
        ({**QUANTO, "colour": 1}, "unknown key 'colour'"),
        ({**QUANTO, "components_to_quantize": ["unet"]}, "no part 'unet'"),
        ({**QUANTO, "quant_mapping": {"vae": "int8"}}, "leave the other keys out"),
        ({"quant_mapping": "int8"}, "for each part"),
        ({"transformer": 8}, "expected a short form"),
        ({"transformer": {"quant_backend": "quanto", "bits": 8}}, "expected a short form"),
        ({"quant_backend": "quanto", "quant_kwargs": 8}, "expected keywords"),
    ],
)
def test_what_is_not_known_is_refused_in_words(value: Any, told: str) -> None:
    with pytest.raises(ValueError, match=told):
        read_wanted(value, PARTS, LARGE)
