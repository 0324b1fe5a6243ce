"""Write models as the single files that people share: GGUF, and safetensors in FP8.

Needs the package gguf, whose own quantisers are used; diffusers and transformers only read such
files.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from gguf import MODEL_ARCH, GGMLQuantizationType, GGUFWriter, get_tensor_name_map, quants
from safetensors.torch import save_file
from torch import Tensor

BLOCK = 32
"""Numbers that share a scale in the formats of GGUF whose names end with _0."""


def write_gguf(
    weights: Mapping[str, Tensor],
    path: Path,
    architecture: str = "flux",
    kind: GGMLQuantizationType = GGMLQuantizationType.Q8_0,
) -> Path:
    """Write weights as GGUF: matrices in ``kind`` where their rows can be, all others in float32.

    Args:
        weights: By the names that the file shall have.
        path: The file.
        architecture: What the file says that it is of.
        kind: A format of blocks of 32 numbers.
    """
    writer = GGUFWriter(path, architecture)
    _add(writer, weights, kind)
    _finish(writer)
    return path


def write_t5_gguf(encoder: Any, path: Path) -> Path:
    """Write a T5EncoderModel of transformers as GGUF in Q8_0, under llama.cpp's names."""
    config = encoder.config
    writer = GGUFWriter(path, "t5encoder")
    writer.add_context_length(512)
    writer.add_embedding_length(config.d_model)
    writer.add_feed_forward_length(config.d_ff)
    writer.add_block_count(config.num_layers)
    writer.add_head_count(config.num_heads)
    writer.add_key_length(config.d_kv)
    writer.add_value_length(config.d_kv)
    writer.add_layer_norm_eps(config.layer_norm_epsilon)
    writer.add_relative_attn_buckets_count(config.relative_attention_num_buckets)
    writer.add_vocab_size(config.vocab_size)
    names = get_tensor_name_map(MODEL_ARCH.T5ENCODER, config.num_layers)
    weights = {
        f"{known}.weight": weight
        for name, weight in encoder.state_dict().items()
        if (known := names.get_name(name.removesuffix(".weight"))) is not None
    }
    _add(writer, weights, GGMLQuantizationType.Q8_0)
    _finish(writer)
    return path


def write_fp8(
    weights: Mapping[str, Tensor], path: Path, kind: torch.dtype = torch.float8_e4m3fn
) -> Path:
    """Write weights as safetensors, matrices in FP8 without scales, all others in bfloat16."""
    stored = {
        name: weight.to(kind if weight.ndim == 2 else torch.bfloat16).contiguous()
        for name, weight in weights.items()
    }
    save_file(stored, path)
    return path


def _add(writer: GGUFWriter, weights: Mapping[str, Tensor], kind: GGMLQuantizationType) -> None:
    for name, weight in weights.items():
        numbers = weight.detach().float().numpy()
        if numbers.ndim == 2 and numbers.shape[-1] % BLOCK == 0 and "attn_rel_b" not in name:
            writer.add_tensor(name, quants.quantize(numbers, kind), raw_dtype=kind)
        else:
            writer.add_tensor(name, numbers)


def _finish(writer: GGUFWriter) -> None:
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
