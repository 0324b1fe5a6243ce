"""Layout adapters in files: the published names, and what is refused."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from diffusers import UNet2DConditionModel
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor

from threedis_core.errors import OptionError, WeightsError
from threedis_core.version import __version__
from threedis_diffusers.weight_files import read_weights
from threedis_ldm3d.checkpoint import (
    convert_adapter,
    load_adapter,
    published_shapes,
    save_adapter,
)
from threedis_ldm3d.layout_adapter import LayoutAdapter

GOLDEN = Path(__file__).parents[1] / "golden"
FILE = GOLDEN / "adapter.safetensors"
GATE = "mid_block.attentions.0.transformer_blocks.0.attn2.processor.migc.gamma"


@pytest.fixture
def weights() -> dict[str, Tensor]:
    return load_file(FILE)


@pytest.fixture
def refusal(tmp_path: Path, unet: UNet2DConditionModel) -> Callable[[dict[str, Tensor]], str]:
    """What is said of a file with the given weights, by loading and converting alike."""

    def refuse(weights: dict[str, Tensor]) -> str:
        file = tmp_path / "wrong.safetensors"
        save_file(weights, file)
        with pytest.raises(WeightsError) as loading:
            load_adapter(file, unet)
        with pytest.raises(WeightsError) as converting:
            convert_adapter(file, tmp_path / "out.safetensors")
        assert str(converting.value) == str(loading.value)
        assert not (tmp_path / "out.safetensors").exists()
        assert "\n" not in str(loading.value)
        return str(loading.value)

    return refuse


def test_names_and_shapes_are_those_of_the_published_adapter() -> None:
    """On the U-Net of Intel/ldm3d-4c, which is that of Stable Diffusion 1.x."""
    published = json.loads((GOLDEN / "official_layout_adapter_keys.json").read_text("utf-8"))
    with torch.device("meta"):
        unet = UNet2DConditionModel(
            block_out_channels=(320, 640, 1280, 1280), cross_attention_dim=768
        )
        adapter = LayoutAdapter.for_unet(unet)
    assert {name: list(shape) for name, shape in published_shapes(adapter).items()} == published


def test_saved_and_loaded_it_is_the_same(
    adapter: LayoutAdapter, unet: UNet2DConditionModel, tmp_path: Path
) -> None:
    save_adapter(adapter, tmp_path / "adapter.safetensors", {"steps": "7"})
    again = load_adapter(tmp_path / "adapter.safetensors", unet)
    for name, weight in adapter.state_dict().items():
        assert torch.equal(again.state_dict()[name], weight), name
    assert header(tmp_path / "adapter.safetensors")["steps"] == "7"


def test_a_pickle_becomes_safetensors_with_a_header(
    weights: dict[str, Tensor], tmp_path: Path
) -> None:
    source, target = tmp_path / "layout_adapter.ckpt", tmp_path / "layout_adapter.safetensors"
    torch.save(weights, source)
    assert convert_adapter(source, target) == len(weights)
    converted = load_file(target)
    assert converted.keys() == weights.keys()
    assert all(torch.equal(converted[name], weight) for name, weight in weights.items())
    assert header(target) == {
        "format": "threedis-layout-adapter",
        "format_version": "1",
        "threedis": __version__,
        "source": "layout_adapter.ckpt",
        "source_sha256": hashlib.sha256(source.read_bytes()).hexdigest(),
    }


@pytest.mark.parametrize("legacy", [False, True])
def test_a_pickle_loads_wherever_its_table_lies(
    weights: dict[str, Tensor],
    adapter: LayoutAdapter,
    unet: UNet2DConditionModel,
    tmp_path: Path,
    legacy: bool,
) -> None:
    for content in (weights, {"state_dict": weights, "epoch": 3}):
        file = tmp_path / "adapter.ckpt"
        torch.save(content, file, _use_new_zipfile_serialization=not legacy)
        gate = load_adapter(file, unet).state_dict()
        assert all(torch.equal(gate[name], value) for name, value in adapter.state_dict().items())


def test_a_pickle_with_code_in_it_is_not_run(tmp_path: Path, unet: UNet2DConditionModel) -> None:
    class Harm:
        def __reduce__(self) -> tuple[object, tuple[str]]:
            return Path.touch, (tmp_path / "harmed",)  # type: ignore[return-value]

    torch.save({"weights": Harm()}, tmp_path / "harm.ckpt")
    with pytest.raises(WeightsError, match="cannot be read as tensors only"):
        load_adapter(tmp_path / "harm.ckpt", unet)
    assert not (tmp_path / "harmed").exists()


def test_a_missing_weight_is_named(
    weights: dict[str, Tensor], refusal: Callable[[dict[str, Tensor]], str]
) -> None:
    name = GATE.replace("gamma", "ea.to_q.weight")
    del weights[name]
    assert f"missing: {name}." in refusal(weights)


def test_a_weight_too_many_is_named(
    weights: dict[str, Tensor], refusal: Callable[[dict[str, Tensor]], str]
) -> None:
    weights["sac.conv1.weight"] = torch.zeros(1)
    assert "not expected: sac.conv1.weight." in refusal(weights)


def test_a_weight_of_another_shape_is_named(
    weights: dict[str, Tensor], refusal: Callable[[dict[str, Tensor]], str]
) -> None:
    weights[GATE] = torch.zeros(2)
    assert f"{GATE} has shape (2,), expected (1,)" in refusal(weights)


def test_many_missing_weights_are_counted(
    weights: dict[str, Tensor], refusal: Callable[[dict[str, Tensor]], str]
) -> None:
    kept = {name: weight for name, weight in weights.items() if ".sac." not in name}
    assert "and 16 more" in refusal(kept)


def test_an_adapter_of_another_unet_is_refused(weights: dict[str, Tensor]) -> None:
    unet = UNet2DConditionModel(
        block_out_channels=(32, 64),
        down_block_types=("DownBlock2D", "CrossAttnDownBlock2D"),
        up_block_types=("CrossAttnUpBlock2D", "UpBlock2D"),
        cross_attention_dim=48,
        layers_per_block=1,
        norm_num_groups=8,
    )
    with pytest.raises(WeightsError, match=r"has shape .* expected .*made for this U-Net"):
        load_adapter(FILE, unet)


def test_a_unet_without_a_place_for_it_is_refused() -> None:
    unet = UNet2DConditionModel(
        block_out_channels=(32,),
        down_block_types=("DownBlock2D",),
        up_block_types=("UpBlock2D",),
        mid_block_type=None,
        layers_per_block=1,
        norm_num_groups=8,
    )
    with pytest.raises(WeightsError, match="no place for a layout adapter"):
        LayoutAdapter.for_unet(unet)


def test_channels_that_do_not_split_into_heads_are_refused() -> None:
    with pytest.raises(WeightsError, match=r"mid has 36 channels; .* a multiple of 8"):
        LayoutAdapter({"mid": 36}, 8)


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("none.ckpt", None, "is not there"),
        ("adapter.zip", b"", "ends with '.zip'; expected one of"),
        ("adapter.safetensors", b"no", "is damaged"),
        ("adapter.ckpt", b"no", "cannot be read as tensors only"),
    ],
)
def test_a_file_that_is_none_of_ours_is_refused(
    name: str, content: bytes | None, said: str, tmp_path: Path
) -> None:
    if content is not None:
        (tmp_path / name).write_bytes(content)
    with pytest.raises(WeightsError, match=said):
        convert_adapter(tmp_path / name, tmp_path / "out.safetensors")


def test_a_table_that_is_no_adapter_is_refused(tmp_path: Path) -> None:
    torch.save([torch.zeros(1)], tmp_path / "list.ckpt")
    torch.save({"weight": torch.zeros(1)}, tmp_path / "other.ckpt")
    for name, said in (("list", "no table of tensors"), ("other", "no weights whose names end")):
        with pytest.raises(WeightsError, match=said):
            convert_adapter(tmp_path / f"{name}.ckpt", tmp_path / "out.safetensors")


@pytest.mark.parametrize(
    "change",
    [
        lambda weight: weight.to_sparse(),
        lambda weight: weight.to("meta"),
    ],
)
def test_tensors_without_plain_numbers_are_refused(
    weights: dict[str, Tensor], tmp_path: Path, change: Callable[[Tensor], Tensor]
) -> None:
    torch.save({**weights, GATE: change(weights[GATE])}, tmp_path / "odd.ckpt")
    with pytest.raises(WeightsError, match="or sparse"):
        convert_adapter(tmp_path / "odd.ckpt", tmp_path / "out.safetensors")


@pytest.mark.parametrize("path", ["", "keys", "forward"])
def test_layers_of_wrong_names_are_refused(
    weights: dict[str, Tensor], tmp_path: Path, path: str
) -> None:
    layer = GATE.split(".processor.")[0]
    renamed = {name.replace(layer, path, 1): weight for name, weight in weights.items()}
    save_file(renamed, tmp_path / "odd.safetensors")
    with pytest.raises(WeightsError, match="a layer of a wrong name"):
        convert_adapter(tmp_path / "odd.safetensors", tmp_path / "out.safetensors")


@pytest.mark.parametrize("ending", ["ckpt", "safetensors"])
def test_a_file_with_one_wrong_byte_is_refused_or_can_be_read(tmp_path: Path, ending: str) -> None:
    whole = tmp_path / f"whole.{ending}"
    write = save_file if ending == "safetensors" else torch.save
    write({"weight": torch.zeros(3), "other": torch.ones(2, 2)}, whole)
    content = whole.read_bytes()
    file = tmp_path / f"spoilt.{ending}"
    read = refused = 0
    for place in range(0, len(content), max(1, len(content) // 150)):
        spoilt = bytearray(content)
        spoilt[place] ^= 0x55
        file.write_bytes(spoilt)
        try:
            read_weights(file)
            read += 1
        except WeightsError:
            refused += 1
    assert read > 0, "a wrong digit of a weight is still a weight"
    assert refused > 0


def test_only_safetensors_are_written(tmp_path: Path) -> None:
    with pytest.raises(OptionError, match=r"name the file to write \*.safetensors"):
        convert_adapter(FILE, tmp_path / "out.ckpt")


def header(file: Path) -> dict[str, str]:
    with safe_open(file, "pt") as opened:
        return opened.metadata()
