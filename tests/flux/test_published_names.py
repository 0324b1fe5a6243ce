"""Files of FLUX.1 in the format of its makers, at its real width: GGUF as people share it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch
from diffusers import FluxTransformer2DModel

from threedis_diffusers.model_files.sources import ModelSource
from threedis_diffusers.parts.compare import differences
from threedis_diffusers.parts.one_file import OneFile
from threedis_diffusers.quantized.told import stored_as

WIDTH, HEAD, TEXT, CLIP, MLP = 3072, 128, 4096, 768, 4 * 3072
KIND = "FluxTransformer2DModel"


def original_shapes(inputs: int, double: int, single: int) -> dict[str, tuple[int, ...]]:
    """The weights of a FLUX.1 by the names of its makers."""
    shapes: dict[str, tuple[int, ...]] = {}

    def linear(name: str, wide: int, high: int) -> None:
        shapes[f"{name}.weight"], shapes[f"{name}.bias"] = (high, wide), (high,)

    linear("img_in", inputs, WIDTH)
    linear("txt_in", TEXT, WIDTH)
    for name, wide in (("time_in", 256), ("vector_in", CLIP), ("guidance_in", 256)):
        linear(f"{name}.in_layer", wide, WIDTH)
        linear(f"{name}.out_layer", WIDTH, WIDTH)
    for block in (f"double_blocks.{number}" for number in range(double)):
        for side in ("img", "txt"):
            linear(f"{block}.{side}_mod.lin", WIDTH, 6 * WIDTH)
            linear(f"{block}.{side}_attn.qkv", WIDTH, 3 * WIDTH)
            linear(f"{block}.{side}_attn.proj", WIDTH, WIDTH)
            linear(f"{block}.{side}_mlp.0", WIDTH, MLP)
            linear(f"{block}.{side}_mlp.2", MLP, WIDTH)
            for norm in ("query_norm", "key_norm"):
                shapes[f"{block}.{side}_attn.norm.{norm}.scale"] = (HEAD,)
    for block in (f"single_blocks.{number}" for number in range(single)):
        linear(f"{block}.linear1", WIDTH, 3 * WIDTH + MLP)
        linear(f"{block}.linear2", WIDTH + MLP, WIDTH)
        linear(f"{block}.modulation.lin", WIDTH, 3 * WIDTH)
        for norm in ("query_norm", "key_norm"):
            shapes[f"{block}.norm.{norm}.scale"] = (HEAD,)
    linear("final_layer.linear", WIDTH, 64)
    linear("final_layer.adaLN_modulation.1", WIDTH, 2 * WIDTH)
    return shapes


@pytest.fixture
def depth_config(benchmark: Callable[[str], ModuleType]) -> dict[str, Any]:
    """How FLUX.1-Depth-dev is built."""
    return dict(benchmark("architectures").FLUX_DEPTH)


@pytest.mark.parametrize("prefix", ["", "model.diffusion_model."])
def test_the_published_names_and_sizes_fit(prefix: str, depth_config: dict[str, Any]) -> None:
    shapes = {prefix + name: shape for name, shape in original_shapes(128, 19, 38).items()}
    with torch.device("meta"):
        count = len(FluxTransformer2DModel.from_config(depth_config).state_dict())
    assert differences(shapes, KIND, depth_config) == ([], count)


def test_a_file_of_the_base_model_is_told_from_one_with_depth(depth_config) -> None:
    told, _ = differences(original_shapes(64, 19, 38), KIND, depth_config)
    assert told == ["x_embedder.weight, got (3072, 64), expected (3072, 128)"]


def test_a_gguf_file_of_one_block_of_each_kind_is_read_packed(
    depth_config: dict[str, Any], tmp_path: Path
) -> None:
    gguf = pytest.importorskip("gguf")
    four = gguf.GGMLQuantizationType.Q4_0
    block, size = gguf.GGML_QUANT_SIZES[four]
    writer = gguf.GGUFWriter(tmp_path / "flux1-dev-Q4_0.gguf", "flux")
    for name, shape in original_shapes(128, 1, 1).items():
        if len(shape) == 2 and min(shape) >= WIDTH:
            packed = np.zeros((shape[0], shape[1] // block * size), np.uint8)
            writer.add_tensor(name, packed, raw_dtype=four)
        else:
            writer.add_tensor(name, np.zeros(shape, np.float16))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    config = {**depth_config, "num_layers": 1, "num_single_layers": 1}
    with torch.device("meta"):
        FluxTransformer2DModel.from_config(config).save_config(tmp_path)
    source = ModelSource(str(tmp_path))
    part = OneFile(source, "flux1-dev-Q4_0.gguf", "transformer", KIND, "diffusers", source)
    part.check()
    transformer = part.load(torch.bfloat16)
    assert stored_as({"transformer": transformer}) == {"transformer": "gguf Q4_0"}
    query = transformer.transformer_blocks[0].attn.to_q.weight
    assert query.quant_shape == (WIDTH, WIDTH), "a third of what was stored together"
    assert transformer.x_embedder.weight.dtype == torch.bfloat16
