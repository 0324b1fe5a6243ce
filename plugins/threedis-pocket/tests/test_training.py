from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import torch

from threedis_core.errors import OptionError, WeightsError
from threedis_pocket.models import build_text_encoder, build_unet, build_vae
from threedis_pocket.scenes import sample_scenes
from threedis_pocket.shapes import SHAPES
from threedis_pocket.tokenizer import build_tokenizer
from threedis_pocket.training.data import pictures, to_model
from threedis_pocket.training.diffusion import build_scheduler, caption, encode_latents
from threedis_pocket.training.recipes import run_recipe
from threedis_pocket.training.text import TextTask
from threedis_pocket.training.vae import VaeTask, load_vae, normalise_latents
from threedis_pocket.world import COLOURS
from threedis_train.engine import fit
from threedis_train.settings import TrainingSettings


class KilledError(Exception):
    pass


def text_task() -> TextTask:
    torch.manual_seed(3)
    tokenizer = build_tokenizer()
    encoder = build_text_encoder(len(tokenizer), tokenizer.bos_token_id, tokenizer.eos_token_id)
    return TextTask(encoder, tokenizer)


def test_a_killed_training_goes_on_as_if_it_had_not_been(tmp_path: Path) -> None:
    settings = TrainingSettings(
        steps=6, batch_size=4, learning_rate=1e-3, warmup=2, checkpoint_every=2
    )

    def kill(stage: str, done: int, total: int) -> None:
        if done == 5:
            raise KilledError

    whole = fit(text_task(), settings, tmp_path / "whole")
    with pytest.raises(KilledError):
        fit(text_task(), settings, tmp_path / "broken", kill)
    again: list[int] = []
    resumed = fit(
        text_task(), settings, tmp_path / "broken", lambda stage, done, total: again.append(done)
    )
    assert again == [5, 6]
    for one, other in zip(whole.parameters(), resumed.parameters(), strict=True):
        assert torch.equal(one, other)


def test_going_on_with_other_settings_is_refused(tmp_path: Path) -> None:
    settings = TrainingSettings(steps=1, batch_size=2, learning_rate=1e-3)
    fit(text_task(), settings, tmp_path)
    with pytest.raises(OptionError, match="seed 0 -> 1"):
        fit(text_task(), settings.model_copy(update={"seed": 1}), tmp_path)


def test_latents_are_made_anew_for_another_autoencoder(tmp_path: Path) -> None:
    torch.manual_seed(0)
    data = pictures(tmp_path, "validation", 8)
    one, other = build_vae().eval(), build_vae().eval()
    first = encode_latents(one, data)
    assert not np.array_equal(first, encode_latents(other, data))
    assert np.array_equal(first, encode_latents(one, data))
    assert len(list(tmp_path.glob("*/latents-*.npy"))) == 2


@pytest.mark.parametrize("spoilt", [b"", b"\x93NUMPY garbage", b"many"])
def test_damaged_latents_and_ledgers_are_made_again(tmp_path: Path, spoilt: bytes) -> None:
    torch.manual_seed(0)
    data, vae = pictures(tmp_path, "validation", 8), build_vae().eval()
    rgb, latents = np.array(data.rgb), np.array(encode_latents(vae, data))
    for name in ("rgb.npy", "drawn.txt"):
        del data
        (tmp_path / "validation-8" / name).write_bytes(spoilt)
        data = pictures(tmp_path, "validation", 8)
        assert np.array_equal(data.rgb, rgb)
        assert data.depth.any()
    next(tmp_path.glob("*/latents-*.npy")).write_bytes(spoilt)
    assert np.array_equal(encode_latents(vae, data), latents)


def test_pickles_in_the_place_of_arrays_and_trained_parts_are_never_run(tmp_path: Path) -> None:
    mark = tmp_path / "harmed"

    class Harm:
        def __reduce__(self) -> tuple[object, tuple[Path]]:
            return Path.touch, (mark,)

    data, vae = pictures(tmp_path, "validation", 8), build_vae().eval()
    encode_latents(vae, data)
    objects = np.array([Harm()], dtype=object)
    for file in (next(tmp_path.glob("*/latents-*.npy")), tmp_path / "validation-8" / "depth.npy"):
        np.save(file, objects, allow_pickle=True)
    assert encode_latents(vae, pictures(tmp_path, "validation", 8)).shape[0] == 8
    vae.save_pretrained(tmp_path / "vae" / "model")
    weights = next((tmp_path / "vae" / "model").glob("*.safetensors"))
    torch.save({"weight": Harm()}, weights.with_suffix(".bin"))
    load_vae(tmp_path / "vae" / "model")
    torch.save({"weight": Harm()}, weights)
    with pytest.raises(WeightsError, match="delete it and train it again"):
        load_vae(tmp_path / "vae" / "model")
    weights.unlink()
    with pytest.raises(WeightsError, match="delete it and train it again"):
        load_vae(tmp_path / "vae" / "model")
    assert not mark.exists()


def test_a_wrong_seed_for_a_recipe_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(OptionError, match="recipe 'text': seed is -1") as caught:
        run_recipe("text", tmp_path, seed=-1)
    assert "\n" not in str(caught.value)


def test_training_lowers_the_loss(tmp_path: Path) -> None:
    settings = TrainingSettings(steps=75, batch_size=16, learning_rate=4e-3, warmup=5)
    fit(text_task(), settings, tmp_path)
    rows = [json.loads(line) for line in (tmp_path / "log.jsonl").read_text().splitlines()]
    assert [row["step"] for row in rows] == [25, 50, 75]
    assert rows[2]["loss"] < 0.95 * rows[0]["loss"]


def test_pictures_are_drawn_once_and_drawing_resumes(tmp_path: Path) -> None:
    def kill(stage: str, done: int, total: int) -> None:
        raise KilledError

    with pytest.raises(KilledError):
        pictures(tmp_path, "validation", 70, kill)
    done: list[int] = []
    data = pictures(tmp_path, "validation", 70, lambda stage, now, total: done.append(now))
    assert done == [70]
    fresh = pictures(tmp_path / "fresh", "validation", 70)
    assert (data.rgb == fresh.rgb).all()
    assert (data.depth == fresh.depth).all()


@torch.no_grad()
def test_normalising_latents_changes_their_scale_and_not_the_picture(tmp_path: Path) -> None:
    torch.manual_seed(0)
    vae, data = build_vae().eval(), pictures(tmp_path, "validation", 64)
    sample = to_model(data.rgb[:4])
    before = vae.decode(vae.encode(sample).latent_dist.mean).sample
    spread = vae.encode(sample).latent_dist.std
    normalise_latents(vae, data, 64)
    after = vae.decode(vae.encode(sample).latent_dist.mean).sample
    latents = vae.encode(to_model(data.rgb[:64])).latent_dist.mean
    assert torch.allclose(before, after, atol=1e-3)
    assert latents.mean((0, 2, 3)).abs().max() < 1e-2
    assert (latents.std((0, 2, 3)) - 1).abs().max() < 1e-2
    assert not torch.allclose(spread, vae.encode(sample).latent_dist.std)


def test_a_vae_batch_depends_on_the_generator_alone(tmp_path: Path) -> None:
    task = VaeTask(build_vae(), [pictures(tmp_path, "validation", 64)])
    batches = [task.batch(3, torch.Generator().manual_seed(4))["picture"] for _ in range(2)]
    assert batches[0].shape == (3, 3, 64, 64)
    assert torch.equal(*batches)


def test_captions_that_leave_objects_out_never_name_one_of_several_of_a_shape() -> None:
    scenes, rng = sample_scenes("train", 128), torch.Generator().manual_seed(0)
    kinds = Counter()
    for index in range(128):
        times = Counter(SHAPES[s] for s in scenes.shapes[index].tolist() if s >= 0)
        text = caption(scenes, index, rng)
        named = Counter(shape for shape in SHAPES for word in text.split() if shape in word)
        repeated = ", and " in text
        kinds["empty" if not text else "repeated" if repeated else "plain"] += 1
        for shape, count in named.items():
            assert (count == times[shape]) or (repeated and times[shape] == 1)
    assert set(kinds) == {"empty", "repeated", "plain"}


def test_colour_words_in_captions_belong_to_the_scene() -> None:
    scenes, rng = sample_scenes("train", 64), torch.Generator().manual_seed(1)
    for index in range(64):
        there = scenes.shapes[index] >= 0
        own = {COLOURS[c] for c in scenes.colours[index][there].tolist()}
        said = {word for word in caption(scenes, index, rng).split() if word in COLOURS}
        assert said <= own


def test_the_schedule_starts_from_pure_noise() -> None:
    scheduler = build_scheduler()
    assert scheduler.alphas_cumprod[-1] == 0
    scheduler.set_timesteps(20)
    assert scheduler.timesteps[0] == 999


def test_the_unet_attends_to_text_at_both_resolutions() -> None:
    names = [name for name in build_unet().attn_processors if "attn2" in name]
    assert len(names) == 7


def test_a_recipe_whose_parts_are_missing_says_what_to_train_first(tmp_path: Path) -> None:
    with pytest.raises(OptionError, match="threedis pocket train vae"):
        run_recipe("sd15", tmp_path)
