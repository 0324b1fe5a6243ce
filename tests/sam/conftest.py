"""A tiny random Segment Anything, saved as people have it."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from transformers import DPTConfig, SamConfig, SamImageProcessorPil, SamModel

torch.set_num_threads(1)


@pytest.fixture(scope="session")
def sam_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny random Segment Anything for pictures of 64 pixels."""
    torch.manual_seed(6)  # one whose masks depend on the box
    config = SamConfig(
        vision_config={
            "hidden_size": 16,
            "output_channels": 16,
            "num_hidden_layers": 2,
            "num_attention_heads": 2,
            "image_size": 64,
            "patch_size": 8,
            "mlp_dim": 32,
            "window_size": 2,
            "global_attn_indexes": [1],
            "num_pos_feats": 8,
        },
        prompt_encoder_config={
            "hidden_size": 16,
            "image_size": 64,
            "patch_size": 8,
            "mask_input_channels": 4,
        },
        mask_decoder_config={
            "hidden_size": 16,
            "mlp_dim": 32,
            "num_hidden_layers": 2,
            "num_attention_heads": 2,
            "iou_head_hidden_dim": 16,
        },
    )
    folder = tmp_path_factory.mktemp("sam") / "tiny-sam"
    model = SamModel(config)
    for weight in model.parameters():
        torch.nn.init.normal_(weight, std=1.0)
    model.save_pretrained(folder)
    sides = {"height": 64, "width": 64}
    SamImageProcessorPil(size={"longest_edge": 64}, pad_size=sides).save_pretrained(folder)
    return folder


@pytest.fixture(scope="session")
def dpt_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The configuration of a model of another kind."""
    folder = tmp_path_factory.mktemp("dpt")
    DPTConfig().save_pretrained(folder)
    return folder
