"""Each part gets a configuration of its own library's class, if the machine has what it needs."""

from __future__ import annotations

from importlib.util import find_spec
from typing import Any

import pytest
import torch

from threedis_core.errors import OptionError, WeightsError
from threedis_diffusers.quantized.configs import check_stored, find_config
from threedis_diffusers.quantized.wanted import SHORT, Wanted

BF16 = torch.bfloat16
LIBRARIES = ("diffusers", "transformers")
needs_torchao = pytest.mark.skipif(find_spec("torchao") is None, reason="needs torchao")
needs_quanto = pytest.mark.skipif(find_spec("optimum") is None, reason="needs optimum-quanto")


def refusal(wanted: Wanted, library: str = "diffusers", **arguments: Any) -> OptionError:
    with pytest.raises(OptionError) as caught:
        find_config(wanted, library, BF16, **arguments)
    assert "\n" not in str(caught.value)
    return caught.value


def test_fp8_needs_no_library() -> None:
    assert find_config(SHORT["fp8"], "diffusers", BF16) is None


@pytest.mark.parametrize(
    ("backend", "command"),
    [("sdnq", "pip install sdnq"), ("modelopt", "pip install nvidia-modelopt[hf]")],
)
def test_a_package_that_is_not_installed_is_told_with_the_command(
    backend: str, command: str
) -> None:
    error = refusal(Wanted(backend))
    assert error.code == "package-missing"
    assert error.hint == command
    assert str(error).endswith(command)


@pytest.mark.skipif(find_spec("bitsandbytes") is not None, reason="bitsandbytes is installed")
def test_nf4_tells_which_package_it_needs() -> None:
    assert refusal(SHORT["nf4"]).hint == "pip install bitsandbytes"


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_nf4_without_a_gpu_is_refused_with_what_needs_none() -> None:
    pytest.importorskip("bitsandbytes")
    assert "int8, fp8 or a GGUF file" in refusal(SHORT["nf4"]).hint


def test_nf4_is_computed_in_the_models_number_format() -> None:
    pytest.importorskip("bitsandbytes")
    config = find_config(SHORT["nf4"], "transformers", BF16)
    assert (config.bnb_4bit_quant_type, config.bnb_4bit_compute_dtype) == ("nf4", BF16)
    assert config.load_in_4bit


@needs_torchao
@pytest.mark.parametrize("library", LIBRARIES)
@pytest.mark.parametrize("spelling", ["Int8WeightOnlyConfig", "int8_weight_only", "Int8WeightOnly"])
def test_torchaos_types_are_named(spelling: str, library: str) -> None:
    keywords = {"quant_type": spelling, "modules_to_not_convert": ["a"]}
    config = find_config(Wanted("torchao", keywords), library, BF16, keep=("b",))
    assert type(config).__module__.startswith(library)
    assert type(config.quant_type).__name__ == "Int8WeightOnlyConfig"
    assert config.modules_to_not_convert == ["a", "b"]


@needs_torchao
def test_torchaos_own_settings_stand_beside_the_type() -> None:
    keywords = {"quant_type": "int4_weight_only", "group_size": 64}
    assert find_config(Wanted("torchao", keywords), "diffusers", BF16).quant_type.group_size == 64


@needs_torchao
def test_a_type_that_torchao_does_not_have_is_refused() -> None:
    error = refusal(Wanted("torchao", {"quant_type": "int9_weight_only"}))
    assert "Int8WeightOnlyConfig" in str(error)


@needs_quanto
@pytest.mark.parametrize("keyword", ["weights", "weights_dtype"])
@pytest.mark.parametrize(
    ("library", "own"), [("diffusers", "weights_dtype"), ("transformers", "weights")]
)
def test_either_librarys_spelling_is_understood(keyword: str, library: str, own: str) -> None:
    config = find_config(Wanted("quanto", {keyword: "int4"}), library, BF16)
    assert getattr(config, own) == "int4"


@needs_quanto
def test_a_keyword_that_nobody_has_is_refused_by_name() -> None:
    told = str(refusal(Wanted("quanto", {"wieghts": "int8"})))
    assert "no keyword 'wieghts'" in told
    assert "Did you mean 'weights_dtype'" in told


def test_gguf_is_a_kind_of_file_and_not_made_while_loading() -> None:
    pytest.importorskip("gguf")
    assert "name such a file" in str(refusal(Wanted("gguf")))
    config = find_config(Wanted("gguf"), "diffusers", BF16, stored=True)
    assert config.compute_dtype == BF16
    chosen = Wanted("gguf", {"compute_dtype": "float16"})
    assert find_config(chosen, "diffusers", BF16, stored=True).compute_dtype == torch.float16


def test_what_a_library_does_not_have_is_said() -> None:
    assert "transformers has no 'bfl'" in str(refusal(Wanted("bfl"), "transformers"))


def test_weights_saved_quantised_are_told_by_their_configuration() -> None:
    assert check_stored({}, "diffusers", "me/x") == ""
    with pytest.raises(WeightsError, match="'me/x' is quantised by 'abacus', which diffusers"):
        check_stored({"quantization_config": {"quant_method": "abacus"}}, "diffusers", "me/x")
    with pytest.raises(OptionError, match="'me/x' was saved quantised by sdnq needs"):
        check_stored({"quantization_config": {"quant_method": "sdnq"}}, "diffusers", "me/x")
    nf4 = {"quant_method": "bitsandbytes", "load_in_4bit": True, "bnb_4bit_quant_type": "nf4"}
    if find_spec("bitsandbytes") is None:
        with pytest.raises(OptionError, match="pip install bitsandbytes"):
            check_stored({"quantization_config": nf4}, "transformers", "me/x")
    else:
        stored = check_stored({"quantization_config": nf4}, "transformers", "me/x")
        assert stored == "bitsandbytes_4bit"
