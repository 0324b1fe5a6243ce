"""Control pictures' latents come from the pictures' seeds, and from nothing else."""

from __future__ import annotations

import pytest
import torch
from diffusers import AutoencoderKL
from torch import Tensor

from threedis_diffusers.joint.control import seeded_latents


@pytest.fixture(scope="module")
def vae() -> AutoencoderKL:
    torch.manual_seed(0)
    return AutoencoderKL(block_out_channels=(8,), norm_num_groups=4, latent_channels=2)


@torch.no_grad()
def sampled(vae: AutoencoderKL, pixels: Tensor) -> Tensor:
    return vae.encode(pixels).latent_dist.sample()  # type: ignore[union-attr]


def test_a_picture_alone_is_the_stock_pipelines_after_its_seed(vae: AutoencoderKL) -> None:
    pixels = torch.rand(1, 3, 8, 8)
    both = torch.cat([pixels] * 2)  # as guidance doubles it
    torch.manual_seed(7)
    stock = sampled(vae, both)
    with seeded_latents(vae, [7]):
        assert torch.equal(sampled(vae, both), stock)
        assert not torch.equal(stock[0], stock[1])


def test_a_picture_of_a_batch_is_as_if_alone(vae: AutoencoderKL) -> None:
    pixels = torch.rand(3, 3, 8, 8)
    with seeded_latents(vae, [1, 2, 3]):
        together = sampled(vae, torch.cat([pixels] * 2))
    for index in range(3):
        with seeded_latents(vae, [index + 1]):
            alone = sampled(vae, torch.cat([pixels[index : index + 1]] * 2))
        torch.testing.assert_close(together[index::3], alone)


def test_the_global_generator_is_neither_read_nor_moved(vae: AutoencoderKL) -> None:
    pixels, made = torch.rand(1, 3, 8, 8), list[Tensor]()
    for seed in (0, 1):
        torch.manual_seed(seed)
        before = torch.get_rng_state()
        with seeded_latents(vae, [5]):
            made.append(sampled(vae, pixels))
        assert torch.equal(torch.get_rng_state(), before)
    assert torch.equal(*made)


def test_the_vae_is_as_before_afterwards_even_after_an_exception(vae: AutoencoderKL) -> None:
    def fail() -> None:
        with seeded_latents(vae, [0]):
            assert "encode" in vars(vae)
            raise KeyError

    with pytest.raises(KeyError):
        fail()
    assert "encode" not in vars(vae)
