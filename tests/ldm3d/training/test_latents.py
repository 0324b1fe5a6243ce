"""From examples to latents, through the cache."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from diffusers import AutoencoderKL
from PIL import Image

from threedis_core.errors import OptionError, RenderError, WeightsError
from threedis_core.plugin.interfaces import BackendOptions, DepthEstimator, Progress, silent
from threedis_core.values.depth import DepthMap
from threedis_ldm3d.training.example import Example, FoundExamples
from threedis_ldm3d.training.latents import cached_latents
from threedis_ldm3d.training.shards import Shards

Examples = Callable[..., list[Example]]
Vae = Callable[..., AutoencoderKL]
SIZE = 32


class Brightness(DepthEstimator):
    """Takes bright for near."""

    Options = BackendOptions

    def __init__(self) -> None:
        super().__init__(BackendOptions())
        self.pictures = 0

    def estimate(
        self, pictures: Sequence[Image.Image], progress: Progress = silent
    ) -> list[DepthMap]:
        self.pictures += len(pictures)
        return [DepthMap(np.asarray(picture.convert("L")) / 255) for picture in pictures]


def latents(examples: Sequence[Example], vae: AutoencoderKL, folder: Path, **more: Any) -> Shards:
    shards = cached_latents(FoundExamples(tuple(examples)), vae, size=SIZE, folder=folder, **more)
    shards.open()
    return shards


def square(picture: Image.Image) -> torch.Tensor:
    """A picture or depth map as the VAE is given it, shape (channels, 32, 32)."""
    values = np.asarray(picture.resize((SIZE, SIZE), Image.Resampling.BILINEAR), np.float32)
    values = values if values.ndim == 3 else values[..., None]
    return torch.from_numpy(values.copy()).permute(2, 0, 1)


def encode(vae: AutoencoderKL, picture: torch.Tensor) -> torch.Tensor:
    with torch.no_grad():
        return vae.encode(picture[None]).latent_dist.mean[0]


def test_latents_are_the_scaled_mean_of_picture_and_depth(
    tmp_path: Path, examples: Examples, tiny_vae: Vae
) -> None:
    some, vae = examples(20), tiny_vae(4, scaling_factor=0.5)
    shards = latents(some, vae, tmp_path / "cache")
    assert (len(shards), shards.bad) == (20, ())
    for number in (3, 17):
        image = square(Image.open(some[number].image)) / 127.5 - 1
        depth = square(Image.fromarray(DepthMap.load(some[number].depth).values)) * 2 - 1
        expected = encode(vae, torch.cat([image, depth])) * 0.5
        found = shards.read([number])[0]
        assert found.dtype == torch.float16
        assert torch.allclose(found.float(), expected, atol=2e-3)


def test_a_vae_of_depth_alone_opens_no_picture(
    tmp_path: Path, examples: Examples, tiny_vae: Vae
) -> None:
    some, vae = examples(3), tiny_vae(1)
    some[0].image.write_bytes(b"broken")
    some[1] = replace(some[1], image=None)
    shards = latents(some, vae, tmp_path / "cache")
    assert len(shards) == 3
    depth = square(Image.fromarray(DepthMap.load(some[0].depth).values)) * 2 - 1
    expected = encode(vae, depth) * vae.config.scaling_factor
    assert torch.allclose(shards.read([0])[0].float(), expected, atol=2e-3)


def test_a_vae_of_pictures_without_depth_is_refused(
    tmp_path: Path, examples: Examples, tiny_vae: Vae
) -> None:
    with pytest.raises(OptionError, match=r"3 channels; expected 4 .* or 1"):
        latents(examples(1), tiny_vae(3), tmp_path)


def test_examples_that_cannot_be_opened_are_skipped_for_good(
    tmp_path: Path, examples: Examples, tiny_vae: Vae
) -> None:
    some, vae = examples(7), tiny_vae(4)
    whole = some[0].image.read_bytes()
    some[0].image.write_bytes(whole[: len(whole) // 2])
    some[1].image.unlink()
    some[2].depth.write_bytes(b"not a picture")
    DepthMap(np.zeros((8, 8), np.float32)).save(some[3].depth)
    some[4] = replace(some[4], depth=None)
    some[5] = replace(some[5], image=None)
    expected = {
        "0": "broken image",
        "1": "missing image",
        "2": "broken depth",
        "3": "depth of another size",
        "4": "missing depth",
        "5": "missing image",
    }
    for _ in range(2):  # the second time from the cache
        shards = latents(some, vae, tmp_path / "cache")
        assert {example.name: example.kind for example in shards.bad} == expected
        assert [example.name for example in shards.examples] == ["6"]
        assert shards.read([0]).shape == (1, 3, 16, 16)


def test_missing_depth_is_estimated_once_for_all_vaes(
    tmp_path: Path, examples: Examples, tiny_vae: Vae
) -> None:
    some = [*examples(17, depth=False), *examples(20)[17:]]
    some[5].image.write_bytes(b"broken")
    estimator = Brightness()
    for vae in (tiny_vae(1), tiny_vae(4), tiny_vae(1)):
        shards = latents(some, vae, tmp_path / "cache", estimator=estimator, estimator_id="bright")
        assert [(one.name, one.kind) for one in shards.bad] == [("5", "broken image")]
        assert len(shards) == 19
    assert estimator.pictures == 16
    depth = square(Image.fromarray(np.asarray(Image.open(some[3].image).convert("L")) / 255.0))
    expected = encode(vae, depth * 2 - 1) * vae.config.scaling_factor
    assert torch.allclose(shards.read([3])[0].float(), expected, atol=5e-3)


def test_what_latents_depend_on_makes_them_anew(
    tmp_path: Path, examples: Examples, tiny_vae: Vae
) -> None:
    some, vae = examples(2, depth=False), tiny_vae(1)
    other = tiny_vae(1)
    other.encoder.conv_in.bias.data += 1
    folders = {
        latents(some, model, tmp_path, estimator=Brightness(), estimator_id=name).folder
        for model, name in [(vae, "a"), (vae, "b"), (other, "a"), (tiny_vae(1), "a")]
    }
    assert len(folders) == 3


def test_an_estimator_that_is_not_needed_changes_nothing(
    tmp_path: Path, examples: Examples, tiny_vae: Vae
) -> None:
    some, estimator = examples(2), Brightness()
    shards = latents(some, tiny_vae(1), tmp_path, estimator=estimator, estimator_id="a")
    assert estimator.pictures == 0
    assert shards.folder == latents(some, tiny_vae(1), tmp_path).folder


def test_two_processes_make_the_latents_of_one(
    tmp_path: Path, examples: Examples, tiny_vae: Vae
) -> None:
    some = examples(130, depth=False)
    for rank in (1, 0):
        parts = cached_latents(
            FoundExamples(tuple(some)),
            tiny_vae(1),
            size=SIZE,
            folder=tmp_path / "two",
            estimator=Brightness(),
            rank=rank,
            world=2,
        )
    parts.open()
    whole = latents(some, tiny_vae(1), tmp_path / "one", estimator=Brightness())
    assert torch.equal(parts.read(range(130)), whole.read(range(130)))


def test_an_estimator_that_loses_pictures_is_refused(
    tmp_path: Path, examples: Examples, tiny_vae: Vae
) -> None:
    class Forgetful(Brightness):
        def estimate(self, pictures: Any, progress: Progress = silent) -> list[DepthMap]:
            return super().estimate(pictures, progress)[1:]

    with pytest.raises(RenderError, match="returned 1 maps for 2 pictures"):
        latents(examples(2, depth=False), tiny_vae(1), tmp_path, estimator=Forgetful())


def test_latents_beyond_float16_are_refused(
    tmp_path: Path, examples: Examples, tiny_vae: Vae
) -> None:
    with pytest.raises(WeightsError, match="float16 cannot hold"):
        latents(examples(1), tiny_vae(1, scaling_factor=1e9), tmp_path)
