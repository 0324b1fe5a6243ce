"""What the last trainings see: sets of many sizes, worse depth, small things first."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import torch

from threedis_ldm3d.checks import find_model
from threedis_ldm3d.options import LDM3DOptions
from threedis_pocket import WEIGHTS
from threedis_pocket.depth_texts import depth_layout
from threedis_pocket.layouts import scene_layout
from threedis_pocket.models import build_vae
from threedis_pocket.shapes import SHAPES
from threedis_pocket.training.data import wild_pictures
from threedis_pocket.training.depth import WildDepthTask, told
from threedis_pocket.training.diffusion import encode_depth, encode_latents, timesteps
from threedis_pocket.training.sets import LatentSet, Pick, loss_weights, pick, worse_depth
from threedis_pocket.training.vae import CROP, VaeTask
from threedis_pocket.wild import SIZES, sample_wild


def wild_set(tmp_path: Path, size: int = 5) -> LatentSet:
    """The wild pictures of one size that is no square, with latents of an untrained model."""
    torch.manual_seed(0)
    data = wild_pictures(tmp_path, "validation", 36)[size]
    return LatentSet(data, encode_latents(build_vae().eval(), data))


def test_wild_pictures_come_in_every_size(tmp_path: Path) -> None:
    sets = wild_pictures(tmp_path, "validation", 18)
    assert [one.size for one in sets] == list(SIZES)
    scenes = sample_wild("validation", 18)
    for number, one in enumerate(sets):
        assert one.rgb.shape == (2, *SIZES[number], 3)
        assert torch.equal(one.scenes.boxes, scenes.boxes[number :: len(SIZES)])


def test_small_things_count_more_in_the_loss(tmp_path: Path) -> None:
    one = wild_set(tmp_path)
    weights = loss_weights(Pick(one, [0, 1, 2, 3]))
    assert weights.shape == (4, 1, *one.latents.shape[2:])
    assert torch.allclose(weights.mean((1, 2, 3)), torch.ones(4))
    boxes, there = one.pictures.scenes.boxes[0], one.pictures.scenes.shapes[0] >= 0
    areas = (boxes[:, 2:] - boxes[:, :2]).prod(1).masked_fill(~there, 1)
    x, y = ((boxes[areas.argmin(), :2] + boxes[areas.argmin(), 2:]) / 2).tolist()
    height, width = one.latents.shape[2:]
    smallest = weights[0, 0, int(y * height), int(x * width)]
    assert smallest == weights[0].max()
    equal = loss_weights(Pick(one, [0, 1, 2, 3]), equal=True)
    assert equal[0, 0, int(y * height), int(x * width)] > smallest


def test_fine_training_sees_every_noise_as_often() -> None:
    early, fine = (timesteps(4000, torch.Generator().manual_seed(0), share) for share in (0.5, 0.0))
    assert 0.66 < (early >= 600).float().mean() < 0.74
    assert 0.36 < (fine >= 600).float().mean() < 0.44


def test_a_third_of_the_depth_maps_is_blurred() -> None:
    depth = torch.zeros(300, 1, 32, 48)
    depth[:, :, 8:24, 8:24] = 0.5
    worse = worse_depth(depth, torch.Generator().manual_seed(0))
    changed = (worse != depth).flatten(1).any(1).float().mean()
    assert 0.25 < changed < 0.42
    assert (worse - depth).abs().max() < 0.35
    assert worse.min() >= 0


def test_sets_are_picked_by_their_size(tmp_path: Path) -> None:
    sets = [wild_set(tmp_path, 0), wild_set(tmp_path, 8)]
    rng = torch.Generator().manual_seed(0)
    picks = [pick(sets, 3, rng) for _ in range(60)]
    assert {id(one.data) for one in picks} == {id(one) for one in sets}
    assert all(max(one.numbers) < len(one.data) for one in picks)


def test_the_depth_model_is_mostly_told_what_it_will_be_told_at_work() -> None:
    scenes, rng = sample_wild("train", 4), torch.Generator().manual_seed(0)
    layouts = [told(scenes, 0, rng) for _ in range(100)]
    assert all(one.prompt in SHAPES for layout in layouts for one in layout.instances)
    prompts = Counter(layout.prompt for layout in layouts)
    assert prompts[depth_layout(scene_layout(scenes, 0)).prompt] > 65
    assert prompts[""] > 0
    assert len(prompts) > 4
    alone = [told(scenes, 0, rng, alone=True).prompt for _ in range(100)]
    assert 40 < alone.count("") < 65


def test_the_depth_model_learns_u_net_and_adapter_at_once(tmp_path: Path) -> None:
    data = wild_pictures(tmp_path, "validation", 18)[2]
    weights = str(WEIGHTS / "pocket-depth")
    options = LDM3DOptions(
        model=weights, unet=None, adapter=weights, scheduler=None, dtype="float32"
    )
    loaded = find_model(options).load()
    sets = [LatentSet(data, encode_depth(loaded.pipeline.vae, data))]
    task = WildDepthTask(loaded, options, sets)
    rng = torch.Generator().manual_seed(0)
    batches = [task.batch(2, rng) for _ in range(12)]
    for controlled in (True, False):
        batch = next(one for one in batches if bool(one["controls"]) == controlled)
        task.zero_grad(set_to_none=True)
        task(**batch).backward()
        assert all(p.grad is not None and p.grad.isfinite().all() for p in task.parameters())
        gained = sum(float(p.grad.abs().sum()) for p in task.adapter.parameters())  # type: ignore[union-attr]
        assert (gained > 0) == controlled


def test_crops_around_objects_see_small_ones(tmp_path: Path) -> None:
    data = wild_pictures(tmp_path, "validation", 90)
    rng = torch.Generator().manual_seed(0)
    shares = []
    for around in (False, True):
        task = VaeTask(build_vae(), data, around=around)
        seen = torch.cat([task.batch(8, rng)["picture"] for _ in range(12)])
        assert seen.shape[1:] == (3, CROP, CROP)
        saturated = (seen.amax(1) - seen.amin(1) > 0.5).flatten(1).float().mean(1)
        shares.append(float((saturated > 0.01).float().mean()))
    assert shares[1] > shares[0]
    assert shares[1] > 0.95
