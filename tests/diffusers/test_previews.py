"""Previews show what becomes of a picture, and change nothing of it."""

from __future__ import annotations

from collections import defaultdict

import diffusers
import numpy as np
import pytest
import torch
from PIL import Image

from threedis_core import Engine, Previews
from threedis_core.testing import sample_depth, sample_layout
from threedis_diffusers.previews import SIDE, Noisy, decoded, levels, predicted_clean, says_levels

LAYOUT = sample_layout(2)
DEPTH = sample_depth(LAYOUT, 128, 128)
DIFFUSION = ("DDIM", "DDPM", "EulerDiscrete", "DPMSolverMultistep", "UniPCMultistep", "PNDM")


def scheduler(name: str) -> object:
    made = getattr(diffusers, f"{name}Scheduler")()
    if name == "FlowMatchEulerDiscrete":
        made.set_timesteps(10)
    else:
        made.set_timesteps(10, device="cpu")
    return made


@pytest.mark.parametrize("name", [*DIFFUSION, "FlowMatchEulerDiscrete"])
def test_two_latents_on_one_path_give_the_clean_ones(name) -> None:
    known, random = scheduler(name), torch.Generator().manual_seed(0)
    clean, noise = (torch.randn(1, 4, 3, 3, generator=random) for _ in range(2))
    for index in range(9):
        path = [
            Noisy(signal * clean + amount * noise, signal, amount)
            for signal, amount in (levels(known, index), levels(known, index + 1))
        ]
        if path[0].noise == path[1].noise:  # some take a step twice
            continue
        found = predicted_clean(*path)
        assert torch.allclose(found, clean, atol=1e-2), f"step {index}"
    assert says_levels(known)
    assert not says_levels(object())


@pytest.mark.parametrize("name", DIFFUSION)
def test_the_levels_are_those_of_the_scheduler_itself(name) -> None:
    known, noise = scheduler(name), torch.randn(1, 4, 3, 3)
    if not hasattr(known, "add_noise"):
        pytest.skip("it adds none by itself")
    for index in (0, 4):
        noisy = known.add_noise(torch.zeros_like(noise), noise, known.timesteps[index : index + 1])
        assert torch.allclose(noisy, levels(known, index)[1] * noise, rtol=1e-3)


@pytest.mark.parametrize(
    ("name", "scheduler_name"),
    [
        ("pocket-sd15", "DDIM"),
        ("pocket-sd15", "euler"),
        ("pocket-sd15", "UniPC"),
        ("pocket-sd15", "DPMSolverMultistep"),
        ("pocket-sd15", "heun"),
        ("pocket-flux", None),
    ],
)
def test_previews_come_nearer_to_the_picture_which_they_do_not_change(name, scheduler_name) -> None:
    chosen = {} if scheduler_name is None else {"scheduler": scheduler_name}
    settings = {"depth": DEPTH, "renderers": {name: {"steps": 9, **chosen}}, "seeds": [3, 4]}
    seen: dict[int, list[Image.Image]] = defaultdict(list)
    with Engine() as engine:
        plain = engine.render(LAYOUT, **settings)
        run = engine.render(
            LAYOUT,
            previews=Previews(lambda shown: seen[shown.seed].append(shown.image), every=3),
            **settings,
        )
    assert [image.image for image in run.images] == [image.image for image in plain.images]
    for image in run.images:
        final = np.asarray(image.image).astype(int)
        far = [np.abs(np.asarray(one).astype(int) - final).mean() for one in seen[image.seed]]
        assert len(far) == 3
        assert far == sorted(far, reverse=True)
        assert far[0] < 25
        assert far[-1] < 5


def test_large_latents_are_made_smaller_before_they_are_decoded() -> None:
    vae = diffusers.AutoencoderKL(
        latent_channels=4,
        block_out_channels=(8, 8),
        norm_num_groups=4,
        down_block_types=("DownEncoderBlock2D",) * 2,
        up_block_types=("UpDecoderBlock2D",) * 2,
    )
    (picture,) = decoded(vae, torch.zeros(1, 4, 3 * SIDE, 2 * SIDE))
    assert picture.size == (2 * round(SIDE * 2 / 3), 2 * SIDE)
    assert picture.mode == "RGB"
    vae = vae.half()
    decoded(vae, torch.zeros(1, 4, 4, 4))
    assert vae.dtype == torch.float16  # as it was, though it decodes in float32
