"""The ``ldm3d`` depth model on a tiny pipeline of the real classes."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import threedis_ldm3d.loading
from threedis_core.errors import InputError, LayoutError, OptionError, RenderError, WeightsError
from threedis_core.plugin.interfaces import DepthRequest
from threedis_core.plugin.options import validate_options
from threedis_core.testing import DepthModelConformance
from threedis_core.testing.samples import sample_layout
from threedis_core.values.depth import DepthMap
from threedis_core.values.layout import Box, Instance, Layout
from threedis_ldm3d.batch import DepthBatch, generate_depth
from threedis_ldm3d.depth_model import LDM3D
from threedis_ldm3d.options import LDM3DOptions

Make = Callable[..., LDM3D]


@pytest.fixture(scope="session")
def make(model_folder: Path) -> Make:
    """The depth model with other options; the tiny model is loaded for each."""

    def make(**options: Any) -> LDM3D:
        folder = str(model_folder)
        fixed = {"model": folder, "unet": None, "adapter": folder, "steps": 3}
        return LDM3D(LDM3DOptions(**{**fixed, **options}))

    return make


@pytest.fixture(scope="session")
def model(make: Make) -> LDM3D:
    return make()


def request(layout: Layout, seed: int = 0, size: tuple[int, int] = (64, 64)) -> DepthRequest:
    return DepthRequest(layout, seed, *size)


def one(model: LDM3D, layout: Layout, **changes: Any) -> np.ndarray:
    return model.generate([request(layout, **changes)])[0].values


class TestLDM3D(DepthModelConformance):
    plugin_module = "threedis_ldm3d"

    @pytest.fixture(autouse=True)
    def _tiny(self, make: Make) -> None:
        self.make = make

    def make_model(self, **options: Any) -> LDM3D:
        return self.make(**options)

    def unfit_layout(self) -> Layout:
        return sample_layout(30)


def test_another_seed_gives_another_map(model: LDM3D) -> None:
    layout = sample_layout(2)
    assert not np.array_equal(one(model, layout, seed=1), one(model, layout, seed=2))


def test_what_ran_before_changes_nothing(model: LDM3D) -> None:
    layout = sample_layout(2)
    first = one(model, layout)
    torch.manual_seed(5)
    torch.rand(3)
    one(model, sample_layout(3), seed=9, size=(96, 64))
    assert np.array_equal(one(model, layout), first)


def test_nouns_are_read_and_attributes_are_not(model: LDM3D) -> None:
    def layout(prompt: str, label: str) -> Layout:
        box = Box.from_xyxy((0.2, 0.2, 0.7, 0.8))
        return Layout(prompt="a room", instances=(Instance(prompt=prompt, label=label, box=box),))

    red = one(model, layout("a red cube", "cube"))
    assert np.array_equal(one(model, layout("a blue cube", "cube")), red)
    assert not np.array_equal(one(model, layout("a red cube", "sphere")), red)


@pytest.mark.parametrize(
    "options",
    [
        {"adapter": None},
        {"adapter_steps": 0},
        {"adapter_steps": 1},
        {"fuser_steps": 0},
        {"guidance": 1.0},
        {"scheduler": None},
        {"steps": 4},
        {"negative_prompt": "animals"},
        {"repeat_prompt": False},
        {"alpha": 1.0},
        {"side": 128},
    ],
)
def test_an_option_has_an_effect(make: Make, model: LDM3D, options: dict[str, Any]) -> None:
    layout = sample_layout(3)
    assert not np.array_equal(one(make(**options), layout), one(model, layout))


def test_with_everything_off_the_layouts_instances_have_no_say(make: Make) -> None:
    model = make(adapter_steps=0, fuser_steps=0)
    assert np.array_equal(one(model, sample_layout(1)), one(model, sample_layout(3)))


def test_the_control_steps_count_from_the_first(make: Make) -> None:
    layout = sample_layout(3)
    all_steps = one(make(adapter_steps=None, fuser_steps=None), layout)
    assert np.array_equal(one(make(adapter_steps=3, fuser_steps=3), layout), all_steps)


def test_a_map_is_the_last_channel_of_the_decoded_picture(make: Make) -> None:
    """And it is float32, not one of 256 levels."""
    layout, loose = sample_layout(2), make(stretch=False)
    batch = DepthBatch([layout], [0], (64, 64))
    decoded: list[torch.Tensor] = []
    loaded = loose.load()
    handle = loaded.pipeline.vae.decoder.register_forward_hook(
        lambda module, args, output: decoded.append(output)
    )
    values = generate_depth(
        loaded, batch, LDM3DOptions(**dict(loose.options)), lambda done, of: None
    )
    handle.remove()
    assert torch.equal(values, decoded[0][:, 3])
    made = one(loose, layout)
    assert made.dtype == np.float32
    assert len(np.unique(made)) > 1000


def test_a_map_is_stretched_from_zero_to_one_unless_asked_not_to(make: Make) -> None:
    layout = sample_layout(2)
    stretched, loose = one(make(), layout), one(make(stretch=False), layout)
    assert (stretched.min(), stretched.max()) == (0, 1)
    assert loose.max() - loose.min() < 1
    np.testing.assert_allclose(DepthMap.normalise(loose).values, stretched, atol=1e-5)


def test_it_works_at_its_own_area_and_resizes(model: LDM3D) -> None:
    layout = sample_layout(2)
    small = model.generate([request(layout)])[0]
    large = model.generate([request(layout, size=(200, 200))])[0]
    assert (large.width, large.height) == (200, 200)
    assert np.array_equal(large.values, small.resize(200, 200).values)


def test_more_requests_than_fit_into_a_batch_are_split(make: Make) -> None:
    requests = [request(sample_layout(count), seed=count) for count in (1, 2, 3)]
    seen: list[tuple[str, int, int]] = []
    model = make(batch_size=1)
    model.load()  # of which it would be told, too
    one_by_one = model.generate(requests, lambda *step: seen.append(step))
    together = make(batch_size=3).generate(requests)
    for alone, other in zip(one_by_one, together, strict=True):
        np.testing.assert_allclose(alone.values, other.values, atol=1e-3)
    assert seen == [("depth", done, 9) for done in range(1, 10)]


def test_29_instances_are_served_and_30_without_an_adapter(make: Make, model: LDM3D) -> None:
    assert np.isfinite(one(model, sample_layout(29))).all()
    with pytest.raises(LayoutError, match="30 instances, but the layout adapter of 'ldm3d' takes"):
        one(LDM3D(LDM3DOptions(model="/no/such/model")), sample_layout(30))
    assert np.isfinite(one(make(adapter=None), sample_layout(30))).all()


def test_the_u_net_is_left_as_it_was(model: LDM3D) -> None:
    unet = model.load().pipeline.unet
    before = list(map(id, unet.attn_processors.values()))

    def stop(stage: str, done: int, total: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        model.generate([request(sample_layout(2))], stop)
    model.generate([request(sample_layout(2))])
    assert list(map(id, unet.attn_processors.values())) == before


def test_numbers_that_are_not_finite_are_refused(make: Make) -> None:
    model = make()
    model.load().pipeline.vae.decoder.conv_out.bias.data.fill_(float("nan"))
    with pytest.raises(RenderError, match="not finite in dtype auto; use dtype="):
        one(model, sample_layout(1))


@pytest.mark.parametrize("ending", ["ckpt", "safetensors"])
def test_other_weights_replace_those_of_the_u_net(
    make: Make, model: LDM3D, tmp_path: Path, ending: str
) -> None:
    from safetensors.torch import save_file

    weights = {
        name: weight * 0.9 for name, weight in model.load().pipeline.unet.state_dict().items()
    }
    save = save_file if ending == "safetensors" else torch.save
    save(weights, tmp_path / f"unet_0901.{ending}")
    layout = sample_layout(2)
    from_folder = one(make(unet=str(tmp_path)), layout)
    assert np.array_equal(
        one(make(unet=str(tmp_path / f"unet_0901.{ending}")), layout), from_folder
    )
    assert not np.array_equal(from_folder, one(model, layout))


@pytest.fixture
def loads_nothing(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Nothing is loaded; there is no network, and the hub's cache is empty."""

    def load(*args: Any, **kwargs: Any) -> None:
        raise AssertionError("weights were loaded")

    monkeypatch.setattr(threedis_ldm3d.loading, "load_pipeline", load)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "cache"))


def refusal(model: LDM3D) -> str:
    with pytest.raises((WeightsError, InputError)) as caught:
        model.generate([request(sample_layout(1))])
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.mark.usefixtures("loads_nothing")
def test_what_is_missing_is_named_before_anything_is_loaded(make: Make, tmp_path: Path) -> None:
    assert "'/no/such/model' is not there" in refusal(make(model="/no/such/model"))
    assert "'/no/unet.ckpt' is not there" in refusal(make(unet="/no/unet.ckpt"))
    said = refusal(make(adapter=str(tmp_path)))
    assert "has neither 'layout_adapter.ckpt' nor 'layout_adapter.safetensors'" in said
    said = refusal(make(adapter="sanaka87/3DIS"))
    assert "cannot get 'layout_adapter.ckpt' of repository 'sanaka87/3DIS'" in said
    assert "hf download sanaka87/3DIS" in said


@pytest.mark.usefixtures("loads_nothing")
def test_weights_that_do_not_fit_are_refused_by_name(make: Make, tmp_path: Path) -> None:
    torch.save({"conv_in.weight": torch.zeros(1)}, tmp_path / "unet.ckpt")
    said = refusal(make(unet=str(tmp_path / "unet.ckpt")))
    assert "U-Net file" in said
    assert "missing: conv_in.bias" in said
    torch.save({"conv_in.weight": torch.zeros(1)}, tmp_path / "adapter.ckpt")
    said = refusal(make(adapter=str(tmp_path / "adapter.ckpt")))
    assert "layout adapter" in said
    assert "missing: mid_block.attentions.0" in said


@pytest.mark.usefixtures("loads_nothing")
def test_a_model_whose_vae_has_no_depth_is_refused(
    make: Make, model_folder: Path, tmp_path: Path
) -> None:
    copy = shutil.copytree(model_folder, tmp_path / "model")
    file = copy / "vae" / "config.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | {"out_channels": 3}))
    assert "makes pictures of 3 channels; expected 4" in refusal(make(model=str(copy)))


@pytest.mark.usefixtures("loads_nothing")
def test_a_device_that_is_not_there_is_refused(make: Make) -> None:
    assert "no such device" in refusal(make(device="cuda:99"))


@pytest.mark.parametrize(
    ("option", "value"),
    [("steps", 0), ("guidance", -1), ("adapter_steps", -1), ("scheduler", "uni"), ("side", 0)],
)
def test_an_option_out_of_range_is_refused(option: str, value: Any) -> None:
    with pytest.raises(OptionError, match=option):
        validate_options(LDM3DOptions, {option: value}, "depth model 'ldm3d'")


def test_too_little_memory_is_told_in_words_and_the_next_map_is_made(
    model: LDM3D, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*args: object, **kwargs: object) -> None:
        raise torch.OutOfMemoryError

    layout = sample_layout(2)
    expected = one(model, layout)
    unet = model.load().pipeline.unet
    own = list(unet.attn_processors.values())
    monkeypatch.setattr(type(unet), "forward", fail)
    with pytest.raises(RenderError, match="too small for 1 depth maps at once"):
        one(model, layout)
    monkeypatch.undo()
    assert list(unet.attn_processors.values()) == own
    assert np.array_equal(one(model, layout), expected)
