"""ControlNets beside the depth ControlNet, each with a control picture, on tiny models."""

from __future__ import annotations

import weakref
from collections.abc import Callable
from pathlib import Path
from typing import Any

import diffusers
import numpy as np
import pytest
import torch
from diffusers import ControlNetModel, MultiControlNetModel
from PIL import Image

from threedis_core.errors import OptionError, WeightsError
from threedis_core.plugin.interfaces import RenderRequest
from threedis_sd.backend import UNetRenderer
from threedis_sd.sd15 import SD15Renderer
from threedis_sd.sd21 import SD21Renderer
from threedis_sd.sdxl import SDXLRenderer

Request = Callable[..., RenderRequest]
Folder = Callable[[str], Path]
MakeRenderer = Callable[..., UNetRenderer]
RENDERERS: dict[str, type[UNetRenderer]] = {
    "sd15": SD15Renderer,
    "sd21": SD21Renderer,
    "sdxl": SDXLRenderer,
}
PIPELINES = {
    "sd15": "StableDiffusionControlNetPipeline",
    "sd21": "StableDiffusionControlNetPipeline",
    "sdxl": "StableDiffusionXLControlNetPipeline",
}
CAT = ("a red cat", (0.1, 0.1, 0.5, 0.5))
DOG = ("a blue dog", (0.5, 0.4, 0.9, 0.9))
SIZE = (64, 48)


@pytest.fixture(scope="module")
def control_picture(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A picture of another size and shape than what is drawn."""
    path = tmp_path_factory.mktemp("control") / "edges.png"
    values = np.random.default_rng(0).integers(0, 256, (40, 90, 3), dtype=np.uint8)
    Image.fromarray(values).save(path)
    return path


@pytest.fixture(scope="module")
def second(family_folder: Folder, tmp_path_factory: pytest.TempPathFactory) -> Folder:
    """The folder of a family's second ControlNet, which is not the first one."""
    folders: dict[str, Path] = {}

    def find(family: str) -> Path:
        if family not in folders:
            net: Any = ControlNetModel.from_pretrained(family_folder(family) / "controlnet")
            torch.manual_seed(1)
            with torch.no_grad():
                for weight in net.parameters():
                    weight.mul_(1 + 0.3 * torch.randn_like(weight))
            folders[family] = tmp_path_factory.mktemp("second") / family
            net.save_pretrained(folders[family])
        return folders[family]

    return find


@pytest.fixture(scope="module")
def make_renderer(family_folder: Folder, second: Folder, control_picture: Path) -> MakeRenderer:
    """A family's renderer with a second ControlNet of that scale; None: without one."""
    loaded: dict[tuple[str, bool], Any] = {}

    def make(family: str, scale: float | None, **options: Any) -> UNetRenderer:
        kind = RENDERERS[family]
        more = {"model": str(second(family)), "image": str(control_picture), "scale": scale}
        given = {} if scale is None else {"more_controlnets": [more]}
        model = str(family_folder(family))
        renderer = kind(kind.Options(**{"model": model, "steps": 2, **given, **options}))
        key = (family, scale is None)
        renderer._loaded = loaded.get(key) or renderer.load()
        loaded[key] = renderer._loaded
        return renderer

    return make


def pixels(renderer: UNetRenderer, *requests: RenderRequest) -> np.ndarray:
    return np.stack([np.asarray(one.image) for one in renderer.render(requests)]).astype(int)


@pytest.mark.parametrize("family", RENDERERS)
def test_at_scale_0_the_picture_is_the_one_without_it_and_else_another(
    family: str, make_renderer: MakeRenderer, make_request: Request
) -> None:
    options: dict[str, Any] = {"low_pass": {"scale": 0.0}, "control_cn": family == "sd15"}
    request = make_request(CAT, DOG, size=SIZE)
    without = pixels(make_renderer(family, None, **options), request)
    assert (pixels(make_renderer(family, 0.0, **options), request) == without).all()
    assert (pixels(make_renderer(family, 1.0, **options), request) != without).mean() > 0.1


@pytest.mark.parametrize("family", RENDERERS)
@pytest.mark.parametrize("guidance", [7.5, 1.0])
def test_without_instances_the_picture_is_that_of_the_stock_pipeline_with_several(
    family: str,
    guidance: float,
    make_renderer: MakeRenderer,
    make_request: Request,
    family_folder: Folder,
    second: Folder,
    control_picture: Path,
) -> None:
    request = make_request(size=SIZE, seed=3)
    plain = {"controlnet_prompt": None, "controlnet_scale": 0.8, "guidance": guidance}
    made = pixels(make_renderer(family, 0.5, **plain), request)[0]
    folder = family_folder(family)
    nets: Any = [
        ControlNetModel.from_pretrained(one) for one in (folder / "controlnet", second(family))
    ]
    pipeline = getattr(diffusers, PIPELINES[family]).from_pretrained(
        folder, controlnet=MultiControlNetModel(nets)
    )
    pipeline.set_progress_bar_config(disable=True)
    expected = pipeline(
        request.layout.prompt,
        image=[request.depth.to_image(), Image.open(control_picture)],
        width=SIZE[0],
        height=SIZE[1],
        negative_prompt=request.layout.negative_prompt,
        num_inference_steps=2,
        guidance_scale=guidance,
        controlnet_conditioning_scale=[0.8, 0.5],
        generator=torch.Generator().manual_seed(3),
    ).images[0]
    assert (made == np.asarray(expected)).all()


@pytest.mark.parametrize("family", ["sd15", "sdxl"])
def test_pictures_of_a_batch_are_those_made_alone(
    family: str, make_renderer: MakeRenderer, make_request: Request
) -> None:
    renderer = make_renderer(family, 1.0, low_pass=True)
    requests = [
        make_request(CAT, DOG, size=SIZE),
        make_request(DOG, size=SIZE, seed=1, prompt="a street"),
        make_request(size=SIZE, seed=2),
        make_request(CAT, size=(64, 64), seed=1),
    ]
    together = renderer.render(requests)
    for request, one in zip(requests, together, strict=True):
        alone = pixels(renderer, request)[0]
        assert np.abs(np.asarray(one.image).astype(int) - alone).max() <= 1


def test_the_second_counts_only_between_its_start_and_its_end(
    make_renderer: MakeRenderer, make_request: Request, second: Folder, control_picture: Path
) -> None:
    request = make_request(CAT, size=SIZE)
    more = {"model": str(second("sd15")), "image": str(control_picture)}
    each = [
        pixels(make_renderer("sd15", 1.0, more_controlnets=[{**more, **share}]), request)
        for share in ({}, {"end": 0.5}, {"start": 0.5})
    ]
    assert all((each[0] != one).any() for one in each[1:])
    assert (each[1] != each[2]).any()
    with pytest.raises(OptionError, match=r"start 0\.5 must lie before end 0\.5"):
        make_renderer("sd15", 1.0, more_controlnets=[{**more, "start": 0.5, "end": 0.5}])


def test_one_that_is_a_single_file_draws_as_its_folder_does(
    make_renderer: MakeRenderer, make_request: Request, second: Folder, control_picture: Path
) -> None:
    file = next(second("sd15").glob("*.safetensors"))
    more = ({"model": str(file), "image": str(control_picture)},)
    folder = make_renderer("sd15", 1.0)
    options: dict[str, Any] = {**folder.options.model_dump(), "more_controlnets": more}
    one = SD15Renderer(SD15Renderer.Options(**options))
    assert not one.inspect().problems
    request = make_request(CAT, size=SIZE)
    assert (pixels(one, request) == pixels(folder, request)).all()


def test_none_of_them_outlives_the_renderer(
    family_folder: Folder, second: Folder, control_picture: Path
) -> None:
    more = {"model": str(second("sd15")), "image": str(control_picture)}
    renderer = SD15Renderer(
        SD15Renderer.Options(model=str(family_folder("sd15")), more_controlnets=(more,))  # pyright: ignore[reportArgumentType]
    )
    alive = [weakref.ref(net) for net in renderer.load().pipeline.controlnet.nets]
    assert len(alive) == 2
    renderer.close()
    assert [net() for net in alive] == [None, None]


def test_only_the_depth_controlnet_reads_its_own_prompt_and_is_filtered(
    make_renderer: MakeRenderer, make_request: Request
) -> None:
    renderer = make_renderer("sd15", 1.0, low_pass=True)
    nets = renderer.load().pipeline.controlnet.nets
    texts: list[torch.Tensor] = []
    filtered: list[int] = []

    def look(module: Any, args: Any, kwargs: dict[str, Any], output: Any) -> None:
        texts.append(kwargs["encoder_hidden_states"])
        filtered.append(len(module._forward_hooks))

    handles = [net.register_forward_hook(look, with_kwargs=True) for net in nets]
    renderer.render([make_request(CAT, size=SIZE)])
    for handle in handles:
        handle.remove()
    assert filtered[:2] == [2, 1]
    # Its own prompt comes in by a hook of the module, which the second has not.
    assert not torch.equal(texts[0], texts[1])
    assert not any(net._forward_hooks or net._forward_pre_hooks for net in nets)


def test_a_picture_that_cannot_be_read_is_refused_before_anything_is_loaded(
    family_folder: Folder, second: Folder, tmp_path: Path
) -> None:
    deep, broken = tmp_path / "deep.png", tmp_path / "broken.png"
    Image.fromarray(np.zeros((8, 8), np.uint16)).save(deep)
    broken.write_bytes(b"no picture")
    said = {"none.png": "no such file", "deep.png": "more than 8 bits", "broken.png": "not a pict"}
    for name, problem in said.items():
        more = {"model": str(second("sd15")), "image": str(tmp_path / name)}
        renderer = SD15Renderer(
            SD15Renderer.Options(model=str(family_folder("sd15")), more_controlnets=(more,))  # pyright: ignore[reportArgumentType]
        )
        with pytest.raises(OptionError, match=problem) as raised:
            renderer.check()
        assert "\n" not in str(raised.value)


def test_a_second_controlnet_is_looked_for_before_anything_is_loaded(
    family_folder: Folder, second: Folder, control_picture: Path, tmp_path: Path
) -> None:
    def find(family: str, model: Path) -> None:
        kind = RENDERERS[family.partition("-")[0]]
        more = {"model": str(model), "image": str(control_picture)}
        options = kind.Options(model=str(family_folder(family)), more_controlnets=(more,))  # pyright: ignore[reportArgumentType]
        kind(options).check()

    with pytest.raises(WeightsError, match="no-such-folder") as raised:
        find("sd15", tmp_path / "no-such-folder")
    assert "\n" not in str(raised.value)
    with pytest.raises(WeightsError, match="name a ControlNet that was trained for this base"):
        find("sd15", second("sd21"))
    with pytest.raises(OptionError, match="do not go beside a ControlNetUnionModel"):
        find("sdxl-union", second("sdxl"))


def test_its_files_picture_and_memory_are_counted(
    family_folder: Folder, second: Folder, control_picture: Path
) -> None:
    model = str(family_folder("sd15"))
    more = {"model": str(second("sd15")), "image": str(control_picture)}
    one = SD15Renderer(SD15Renderer.Options(model=model)).inspect()
    two = SD15Renderer(SD15Renderer.Options(model=model, more_controlnets=(more,))).inspect()  # pyright: ignore[reportArgumentType]
    assert not two.problems
    assert {part.name for part in two.parts} - {part.name for part in one.parts} == {
        "controlnet 2",
        "controlnet 2 picture",
    }
    net: Any = ControlNetModel.from_pretrained(second("sd15"))
    grown = two.memory[0].main - one.memory[0].main
    assert grown == net.num_parameters() * 4
    away = {**more, "model": "someone/controlnet-canny", "image": str(control_picture) + "x"}
    lacking = SD15Renderer(SD15Renderer.Options(model=model, more_controlnets=(away,))).inspect()  # pyright: ignore[reportArgumentType]
    missing = {part.name for part in lacking.parts for file in part.files if not file.present}
    assert missing == {"controlnet 2", "controlnet 2 picture"}
    assert any("someone/controlnet-canny" in command for command in lacking.commands)


def test_one_load_is_shared_by_what_differs_in_picture_and_scale_alone(
    make_renderer: MakeRenderer,
) -> None:
    one, other = make_renderer("sd15", 1.0), make_renderer("sd15", 0.5)
    assert one.load_key() == other.load_key() != make_renderer("sd15", None).load_key()
    assert isinstance(one.load().pipeline.controlnet, MultiControlNetModel)
    two = [replace_model(one, "a"), replace_model(one, "b")]
    assert two[0] != two[1]


def replace_model(renderer: UNetRenderer, model: str) -> object:
    more = [one.model_copy(update={"model": model}) for one in renderer.options.more_controlnets]
    changed = renderer.options.model_copy(update={"more_controlnets": tuple(more)})
    return type(renderer)(changed).load_key()
