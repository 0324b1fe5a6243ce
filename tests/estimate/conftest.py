"""Tiny random models of transformers, saved as people have them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from transformers import (
    DepthAnythingConfig,
    DepthAnythingForDepthEstimation,
    Dinov2Config,
    DPTConfig,
    DPTForDepthEstimation,
    DPTImageProcessorPil,
    PreTrainedModel,
)

torch.set_num_threads(1)

SIDE = 28


def depth_anything(**changes: object) -> PreTrainedModel:
    backbone = Dinov2Config(
        hidden_size=16,
        num_hidden_layers=4,
        num_attention_heads=2,
        intermediate_size=32,
        image_size=SIDE,
        patch_size=14,
        out_features=["stage1", "stage2", "stage3", "stage4"],
        reshape_hidden_states=False,
    )
    config = DepthAnythingConfig(
        backbone_config=backbone,
        reassemble_hidden_size=16,
        neck_hidden_sizes=[8, 8, 8, 8],
        fusion_hidden_size=8,
        head_hidden_size=8,
        **changes,
    )
    return DepthAnythingForDepthEstimation(config)


def dpt() -> PreTrainedModel:
    config = DPTConfig(
        hidden_size=16,
        num_hidden_layers=4,
        num_attention_heads=2,
        intermediate_size=32,
        image_size=SIDE,
        patch_size=7,
        backbone_out_indices=[0, 1, 2, 3],
        neck_hidden_sizes=[8, 8, 8, 8],
        fusion_hidden_size=8,
        is_hybrid=False,
    )
    return DPTForDepthEstimation(config)


def save(model: PreTrainedModel, folder: Path, side: int, keep_shape: bool) -> Path:
    """Save a depth model, its last bias raised so that its final ReLU lets something through."""
    torch.manual_seed(0)
    for weight in model.parameters():
        torch.nn.init.normal_(weight, std=0.3) if weight.ndim > 1 else None
    model.head.get_submodule(HEADS[model.config.model_type]).bias.data.fill_(20.0)
    weights = model.state_dict()
    if model.config.model_type == "dpt":  # like the published ones, without what is never used
        weights = {name: value for name, value in weights.items() if UNUSED not in name}
        assert len(weights) == len(model.state_dict()) - 4
    model.save_pretrained(folder, state_dict=weights)
    processor = DPTImageProcessorPil(
        size={"height": side, "width": side}, ensure_multiple_of=14, keep_aspect_ratio=keep_shape
    )
    processor.save_pretrained(folder)
    return folder


UNUSED = "neck.fusion_stage.layers.0.residual_layer1."
HEADS = {"depth_anything": "conv3", "dpt": "head.4"}


@pytest.fixture(scope="session")
def model_folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The folder of a tiny model by the name of its estimator, and of a metric one."""
    home = tmp_path_factory.mktemp("estimators")
    metric = depth_anything(depth_estimation_type="metric", max_depth=20)
    return {
        "depth-anything": save(depth_anything(), home / "depth-anything", SIDE, True),
        "dpt": save(dpt(), home / "dpt", SIDE, False),
        "metric": save(metric, home / "metric", SIDE, True),
    }


@pytest.fixture(scope="session")
def pictures() -> list[Image.Image]:
    """Three random pictures; the first and the last have the same size."""
    random = np.random.default_rng(0)
    sizes = [(40, 30), (30, 50), (40, 30)]
    return [
        Image.fromarray(random.integers(0, 255, (height, width, 3), dtype=np.uint8))
        for width, height in sizes
    ]
