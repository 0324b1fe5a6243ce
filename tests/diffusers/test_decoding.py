"""Finished latents become pictures with the memory that there is."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from diffusers import AutoencoderKL
from torch import Tensor

from threedis_core.errors import RenderError
from threedis_diffusers.decoding import _on_cpu, frugal_decoding


class Holder:
    """What has a VAE, as a pipeline has."""

    def __init__(self, vae: Any) -> None:
        self.vae = vae


@pytest.fixture(scope="module")
def vae() -> AutoencoderKL:
    torch.manual_seed(0)
    blocks = {"down_block_types": ("DownEncoderBlock2D",) * 2, "block_out_channels": (8, 8)}
    up = {"up_block_types": ("UpDecoderBlock2D",) * 2, "norm_num_groups": 4}
    return AutoencoderKL(**blocks, **up, sample_size=16).eval()  # type: ignore[arg-type]


@pytest.fixture
def sizes(vae: AutoencoderKL) -> Any:
    """(pictures, height, width) of every latent that the decoder gets."""
    seen: list[tuple[int, int, int]] = []

    def look(module: Any, args: tuple[Tensor, ...]) -> None:
        seen.append((len(args[0]), *args[0].shape[-2:]))

    handle = vae.decoder.register_forward_pre_hook(look)
    yield seen
    handle.remove()


@torch.no_grad()
def decoded(vae: AutoencoderKL, latents: Tensor) -> Tensor:
    return vae.decode(latents, return_dict=False)[0]


def test_pictures_are_decoded_one_by_one_and_come_out_the_same(vae, sizes) -> None:
    latents = torch.randn(4, 4, 8, 8)
    together = decoded(vae, latents)
    with frugal_decoding(Holder(vae), tiled=False, movable=True):
        one_by_one = decoded(vae, latents)
    assert sizes == [(4, 8, 8)] + 4 * [(1, 8, 8)]
    torch.testing.assert_close(one_by_one, together, rtol=1e-4, atol=1e-5)
    assert not vae.use_slicing
    assert "decode" not in vars(vae)


def out_of_memory_above(vae: AutoencoderKL, side: int) -> Any:
    """A decoder whose device has no room for more than ``side`` latent pixels a side."""

    def refuse(module: Any, args: tuple[Tensor, ...]) -> None:
        if max(args[0].shape[-2:]) > side:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 9.00 GiB")

    return vae.decoder.register_forward_pre_hook(refuse)


def test_where_memory_runs_out_the_picture_is_decoded_in_tiles(vae, sizes) -> None:
    handle = out_of_memory_above(vae, vae.tile_latent_min_size)
    latents = torch.randn(2, 4, 2 * vae.tile_latent_min_size, 12)
    try:
        with frugal_decoding(Holder(vae), tiled=False, movable=True):
            picture = decoded(vae, latents)
    finally:
        handle.remove()
    assert picture.shape == (2, 3, 2 * latents.shape[2], 24)
    assert picture.isfinite().all()
    assert max(height for _, height, _ in sizes[1:]) <= vae.tile_latent_min_size
    assert not vae.use_tiling


def test_tiling_can_be_asked_for(vae, sizes) -> None:
    with frugal_decoding(Holder(vae), tiled=True, movable=True):
        decoded(vae, torch.randn(1, 4, 2 * vae.tile_latent_min_size, 8))
    assert max(height for _, height, _ in sizes) <= vae.tile_latent_min_size


def test_what_does_not_fit_at_all_is_still_an_error_of_memory(vae) -> None:
    handle = out_of_memory_above(vae, 0)
    try:
        with frugal_decoding(Holder(vae), tiled=False, movable=True):  # noqa: SIM117
            with pytest.raises(torch.OutOfMemoryError):
                decoded(vae, torch.randn(1, 4, 8, 8))
    finally:
        handle.remove()


def test_another_error_is_not_tried_again(vae, sizes) -> None:
    def broken(module: Any, args: Any) -> None:
        raise RenderError("broken")

    handle = vae.decoder.register_forward_pre_hook(broken)
    try:
        with frugal_decoding(Holder(vae), tiled=False, movable=True):  # noqa: SIM117
            with pytest.raises(RenderError, match="broken"):
                decoded(vae, torch.randn(1, 4, 8, 8))
    finally:
        handle.remove()
    assert len(sizes) == 1


def test_on_the_cpu_it_decodes_in_float32_and_goes_back_to_its_own_format(vae) -> None:
    latents = torch.randn(1, 4, 8, 8).bfloat16()
    wanted = decoded(vae, latents.float())
    vae.to(torch.bfloat16)
    try:
        with torch.no_grad():
            picture = _on_cpu(vae, vae.decode, latents, return_dict=False)[0]
        assert vae.dtype == torch.bfloat16
    finally:
        vae.to(torch.float32)
    assert picture.dtype == torch.float32
    torch.testing.assert_close(picture, wanted, rtol=0.1, atol=0.05)
