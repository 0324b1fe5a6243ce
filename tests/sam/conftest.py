"""Tiny random Segment Anythings, saved as people have them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from transformers import (
    DPTConfig,
    Sam2Config,
    Sam2Model,
    SamConfig,
    SamImageProcessorPil,
    SamModel,
)
from transformers.image_utils import IMAGENET_DEFAULT_MEAN, IMAGENET_DEFAULT_STD

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


@pytest.fixture(scope="session")
def sam2_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny random Segment Anything 2 for pictures of 64 pixels."""
    torch.manual_seed(6)  # one whose masks depend on the box
    backbone = {
        "model_type": "sam2_hiera_det_model",
        "hidden_size": 8,
        "image_size": [64, 64],
        "window_positional_embedding_background_size": [4, 4],
        "blocks_per_stage": [1, 1, 2, 1],
        "embed_dim_per_stage": [8, 16, 32, 64],
        "num_attention_heads_per_stage": [1, 1, 2, 2],
        "window_size_per_stage": [4, 4, 4, 2],
        "global_attention_blocks": [3],
    }
    config = Sam2Config(
        vision_config={
            "backbone_config": backbone,
            "backbone_channel_list": [64, 32, 16, 8],
            "backbone_feature_sizes": [[16, 16], [8, 8], [4, 4]],
            "fpn_hidden_size": 32,
        },
        prompt_encoder_config={"hidden_size": 32, "image_size": 64, "mask_input_channels": 4},
        mask_decoder_config={
            "hidden_size": 32,
            "mlp_dim": 32,
            "num_attention_heads": 2,
            "iou_head_hidden_dim": 16,
        },
    )
    folder = tmp_path_factory.mktemp("sam2") / "tiny-sam2"
    model = Sam2Model(config)
    for weight in model.parameters():
        torch.nn.init.normal_(weight, std=0.3)
    model.save_pretrained(folder)
    write_processor(folder)
    return folder


def write_processor(folder: Path) -> None:
    """The processor's file of the published models, for pictures of 64 pixels."""
    settings = {
        "image_processor_type": "Sam2ImageProcessorFast",
        "processor_class": "Sam2VideoProcessor",
        "do_convert_rgb": True,
        "do_normalize": True,
        "do_rescale": True,
        "do_resize": True,
        "image_mean": list(IMAGENET_DEFAULT_MEAN),
        "image_std": list(IMAGENET_DEFAULT_STD),
        "mask_size": {"height": 16, "width": 16},
        "resample": 2,
        "rescale_factor": 1 / 255,
        "size": {"height": 64, "width": 64},
    }
    (folder / "preprocessor_config.json").write_text(json.dumps(settings))
