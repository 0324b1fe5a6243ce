"""``sam2`` on a tiny random model of the real class."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from transformers import Sam2Model, Sam2VideoConfig, Sam2VideoModel
from transformers.image_utils import IMAGENET_DEFAULT_MEAN, IMAGENET_DEFAULT_STD

from threedis_core import DepthMap, Instance, Layout, RegionRefiner, load_plugins
from threedis_core.errors import OptionError, RenderError, WeightsError
from threedis_core.testing import sample_depth, sample_layout
from threedis_core.testing.checks import check_unknown_option_is_refused

WIDTH, HEIGHT, SIZE = 96, 64, 64
PARTS = ("vision", "prompt_encoder", "mask_decoder")


@pytest.fixture(scope="module")
def layout() -> Layout:
    return sample_layout(3)


@pytest.fixture(scope="module")
def depth(layout) -> DepthMap:
    return sample_depth(layout, WIDTH, HEIGHT)


def sam2(model: Path | str, **options: object) -> RegionRefiner:
    return load_plugins().region_refiner("sam2", {"model": str(model), "device": "cpu", **options})


def changed(folder: Path, to: Path, **settings: object) -> Path:
    """A copy of ``folder`` whose config.json says something else."""
    shutil.copytree(folder, to)
    config = json.loads((to / "config.json").read_text())
    (to / "config.json").write_text(json.dumps(config | settings))
    return to


def asked_alone(folder: Path, depth: DepthMap, instance: Instance) -> np.ndarray:
    """What the model says of one box in the picture, stretched to its size and normalised."""
    levels = Image.fromarray(np.rint(depth.values * 255).astype(np.uint8))
    grey = np.array(levels.resize((SIZE, SIZE), Image.Resampling.BILINEAR)) / 255
    mean, deviation = np.array(IMAGENET_DEFAULT_MEAN), np.array(IMAGENET_DEFAULT_STD)
    pixels = (grey[None] - mean[:, None, None]) / deviation[:, None, None]
    box = torch.tensor([[[side * SIZE for side in instance.box.xyxy]]])
    with torch.no_grad():
        output = Sam2Model.from_pretrained(folder).eval()(
            pixel_values=torch.tensor(pixels[None], dtype=torch.float32),
            input_boxes=box,
            multimask_output=False,
        )
    assert output.pred_masks.shape[:3] == (1, 1, 1)
    found = torch.nn.functional.interpolate(output.pred_masks[0], (HEIGHT, WIDTH), mode="bilinear")
    return (found[0, 0] > 0).numpy()


def test_each_box_gets_the_mask_that_the_model_gives_it_alone(layout, depth, sam2_folder) -> None:
    found = sam2(sam2_folder).refine(layout, depth)
    assert (found.width, found.height, len(found)) == (WIDTH, HEIGHT, 3)
    alone = [asked_alone(sam2_folder, depth, instance) for instance in layout.instances]
    for mask, wanted in zip(found.masks, alone, strict=True):
        assert mask is not None
        assert (mask == wanted).mean() > 0.999
    assert 0.05 < np.mean(alone) < 0.95
    assert not np.array_equal(alone[0], alone[1])


def test_masks_of_the_layout_stay_and_need_no_model(layout, depth, sam2_folder) -> None:
    own = np.zeros((HEIGHT, WIDTH), dtype=bool)
    own[10:20, 5:30] = True
    first, *others = layout.instances
    masked = Instance(prompt=first.prompt, box=first.box, mask=own)
    some = Layout(prompt=layout.prompt, instances=(masked, *others))
    found, plain = (sam2(sam2_folder).refine(one, depth) for one in (some, layout))
    assert np.array_equal(found.masks[0], own)
    assert np.array_equal(found.masks[1], plain.masks[1])
    every = Layout(prompt=layout.prompt, instances=(masked,))
    assert np.array_equal(sam2("nowhere/at-all").refine(every, depth).masks[0], own)


def for_films(folder: Path, to: Path) -> Path:
    """The model of ``folder`` as a model for films, which has a memory, too."""
    parts = json.loads((folder / "config.json").read_text())
    config = Sam2VideoConfig(
        **{f"{name}_config": parts[f"{name}_config"] for name in PARTS},
        image_size=SIZE,
        memory_attention_hidden_size=32,
        memory_attention_num_layers=1,
        memory_attention_feed_forward_hidden_size=32,
        memory_encoder_hidden_size=32,
        memory_encoder_output_channels=16,
        mask_downsampler_embed_dim=32,
        memory_fuser_embed_dim=32,
        memory_fuser_num_layers=1,
    )
    model = Sam2VideoModel(config)
    model.load_state_dict(Sam2Model.from_pretrained(folder).state_dict(), strict=False)
    model.save_pretrained(to)
    shutil.copy(folder / "preprocessor_config.json", to)
    return to


def test_a_model_for_films_gives_the_same_masks(layout, depth, sam2_folder, tmp_path) -> None:
    films = for_films(sam2_folder, tmp_path / "films")
    assert json.loads((films / "config.json").read_text())["model_type"] == "sam2_video"
    wanted = sam2(sam2_folder).refine(layout, depth).masks
    found = sam2(films).refine(layout, depth).masks
    assert all(np.array_equal(*pair) for pair in zip(found, wanted, strict=True))


def test_bfloat16_gives_nearly_the_same_masks(layout, depth, sam2_folder) -> None:
    wanted = sam2(sam2_folder).refine(layout, depth).masks
    found = sam2(sam2_folder, dtype="bfloat16").refine(layout, depth).masks
    alike = [np.mean(a == b) for a, b in zip(found, wanted, strict=True)]
    assert np.mean(alike) > 0.95


def test_numbers_that_are_not_finite_are_an_error(layout, depth, sam2_folder, tmp_path) -> None:
    folder = shutil.copytree(sam2_folder, tmp_path / "broken")
    model = Sam2Model.from_pretrained(folder)
    for weight in model.mask_decoder.output_hypernetworks_mlps.parameters():
        weight.data.fill_(float("nan"))
    model.save_pretrained(folder)
    with pytest.raises(RenderError, match="not finite in dtype float32; the weights are damaged"):
        sam2(folder).refine(layout, depth)


def test_what_is_missing_is_said_before_anything_is_loaded(
    layout, depth, sam2_folder, sam_folder, tmp_path
) -> None:
    for name in ("model.safetensors", "preprocessor_config.json"):
        folder = shutil.copytree(sam2_folder, tmp_path / name)
        (folder / name).unlink()
        with pytest.raises(WeightsError, match=f"has no file '{name}'"):
            sam2(folder).check(layout)
    with pytest.raises(WeightsError, match="of type 'sam'; expected 'sam2' or 'sam2_video'"):
        sam2(sam_folder).check(layout)
    with pytest.raises(OptionError, match="no such device"):
        sam2(sam2_folder, device="cuda:77").check(layout)


@pytest.mark.parametrize("kind", ["sam2", "sam2_video"])
def test_sam_refuses_a_model_of_sam2(layout, sam2_folder, tmp_path, kind) -> None:
    folder = changed(sam2_folder, tmp_path / kind, model_type=kind)
    refiner = load_plugins().region_refiner("sam", {"model": str(folder)})
    with pytest.raises(WeightsError, match=f"of type '{kind}'; expected 'sam': name another"):
        refiner.check(layout)


def test_an_unknown_option_is_refused() -> None:
    check_unknown_option_is_refused(type(sam2("any")).Options)
