"""LoRAs of instances: exact where they count, absent elsewhere, and no trace afterwards."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import diffusers
import pytest
import torch
from torch import Tensor, nn

from threedis_core.errors import LayoutError, OptionError, WeightsError
from threedis_core.plugin.interfaces import RenderRequest
from threedis_core.values.layout import Layout
from threedis_diffusers.unet.attention import cross_attention_layers
from threedis_sd.backend import UNetRenderer
from threedis_sd.sd15 import SD15Options, SD15Renderer
from threedis_sd.sd21 import SD21Renderer
from threedis_sd.sdxl import SDXLRenderer

peft = pytest.importorskip("peft")

RENDERERS: dict[str, type[UNetRenderer]] = {
    "sd15": SD15Renderer,
    "sd21": SD21Renderer,
    "sdxl": SDXLRenderer,
}
EVERYWHERE = (0.0, 0.0, 1.0, 1.0)
LEFT, RIGHT = (0.0, 0.0, 0.5, 1.0), (0.5, 0.0, 1.0, 1.0)
UNET_LAYERS = ["to_q", "to_k", "to_v", "to_out.0", "ff.net.2", "proj_in", "conv1", "time_emb_proj"]
TEXT_LAYERS = ["q_proj", "v_proj"]


def random_lora(model: nn.Module, targets: Sequence[str], seed: int, **config: Any) -> Any:
    model.add_adapter(peft.LoraConfig(r=2, lora_alpha=2, target_modules=list(targets), **config))
    torch.manual_seed(seed)
    state = peft.get_peft_model_state_dict(model)
    return {name: torch.randn_like(weight) * 0.2 for name, weight in state.items()}


def save_lora(path: Path, model: Path, text: bool = True, seed: int = 0, **config: Any) -> Path:
    """A LoRA on layers of every kind: tokens, feature maps, embeddings, text encoders."""
    kind = getattr(diffusers, diffusers.DiffusionPipeline.load_config(model)["_class_name"])
    pipeline = kind.from_pretrained(model)
    states = {"unet_lora_layers": random_lora(pipeline.unet, UNET_LAYERS, seed, **config)}
    for part in ("text_encoder", "text_encoder_2") if text else ():
        if getattr(pipeline, part, None) is not None:
            states[f"{part}_lora_layers"] = random_lora(getattr(pipeline, part), TEXT_LAYERS, seed)
    kind.save_lora_weights(path.parent, weight_name=path.name, **states)
    return path


@pytest.fixture(scope="session")
def loras(
    family_folder: Callable[[str], Path], tmp_path_factory: pytest.TempPathFactory
) -> Callable[..., str]:
    """A LoRA file of a family, made when first asked for."""
    known: dict[Any, str] = {}

    def find(family: str, seed: int = 0, **how: Any) -> str:
        key = (family, seed, *how.items())
        if key not in known:
            folder = tmp_path_factory.mktemp("lora")
            path = folder / f"{family}.safetensors"
            known[key] = str(save_lora(path, family_folder(family), seed=seed, **how))
        return known[key]

    return find


def with_loras(request: RenderRequest, *loras: Any) -> RenderRequest:
    """The request with ``loras`` for each of its instances."""
    plain = request.layout.to_dict()
    for instance, names in zip(plain["instances"], loras, strict=True):
        instance["loras"] = names
    return replace(request, layout=Layout.from_dict(plain))


def latents(renderer: UNetRenderer, *requests: RenderRequest) -> Tensor:
    """The latents of requests that are one batch, computed in float64, where rounding is small."""
    kind = type(renderer)

    class Latent(kind):
        def pipeline_arguments(self) -> dict[str, Any]:
            return {**super().pipeline_arguments(), "output_type": "latent"}

    (batch, _), *others = renderer._batches(requests)
    assert not others
    renderer.load().pipeline.to(torch.float64)
    drawn = Latent(renderer.options).draw(renderer.load(), batch, lambda done, of: None)
    return torch.stack([one.image for one in drawn])


def render_with(family: str, folder: Path, *requests: RenderRequest, **options: Any) -> Tensor:
    kind = RENDERERS[family]
    return latents(kind(kind.Options(model=str(folder), steps=2, **options)), *requests)


def largest(one: Tensor, other: Tensor) -> float:
    """The largest difference, relative to the deviation of ``one``."""
    return float((one - other).abs().max() / one.std())


@pytest.mark.parametrize("family", RENDERERS)
def test_in_a_region_that_is_everywhere_it_is_a_global_lora(
    family: str,
    family_folder: Callable[[str], Path],
    make_request: Callable[..., RenderRequest],
    loras: Callable[..., str],
) -> None:
    folder, lora = family_folder(family), loras(family)
    request = make_request(("a red cat", EVERYWHERE), size=(64, 64))
    plain = render_with(family, folder, request)
    everywhere = render_with(family, folder, request, loras=[{"path": lora, "weight": 0.7}])
    own = with_loras(request, [{"name": "style", "weight": 0.7}])
    mine = render_with(family, folder, own, instance_loras={"style": lora})
    assert largest(everywhere, plain) > 0.05
    assert largest(everywhere, mine) < 1e-6


@pytest.mark.parametrize("family", RENDERERS)
def test_at_weight_0_it_is_as_without(
    family: str,
    family_folder: Callable[[str], Path],
    make_request: Callable[..., RenderRequest],
    loras: Callable[..., str],
) -> None:
    folder, lora = family_folder(family), loras(family)
    request = make_request(("a red cat", LEFT), ("a dog", RIGHT), size=(64, 64))
    plain = render_with(family, folder, request)
    zero = with_loras(request, [{"name": "style", "weight": 0}], ["off"])
    options = {"style": lora, "off": {"path": lora, "weight": 0}}
    assert largest(plain, render_with(family, folder, zero, instance_loras=options)) < 1e-12
    assert largest(plain, render_with(family, folder, request, instance_loras=options)) < 1e-12


def test_beside_a_global_lora_both_count(
    pipeline_folder: Path,
    make_request: Callable[..., RenderRequest],
    loras: Callable[..., str],
) -> None:
    one, half = loras("sd15"), {"path": loras("sd15", seed=1), "weight": 0.5}
    request = make_request(("a red cat", EVERYWHERE), size=(64, 64))
    own = with_loras(request, ["half"])
    both = render_with("sd15", pipeline_folder, request, loras=[one, half])
    mixed = render_with("sd15", pipeline_folder, own, loras=[one], instance_loras={"half": half})
    alone = render_with("sd15", pipeline_folder, request, loras=[one])
    assert largest(both, mixed) < 1e-6
    assert largest(both, alone) > 0.01


def test_two_halves_with_one_lora_are_the_whole_and_count_it_once_where_they_overlap(
    pipeline_folder: Path,
    make_request: Callable[..., RenderRequest],
    loras: Callable[..., str],
) -> None:
    lora = loras("sd15")
    overlapping = (0.25, 0.0, 1.0, 1.0)
    request = make_request(("a red cat", LEFT), ("a dog", overlapping), size=(64, 64))
    own = with_loras(request, ["style"], ["style"])
    mine = render_with("sd15", pipeline_folder, own, instance_loras={"style": lora})
    everywhere = render_with("sd15", pipeline_folder, request, loras=[lora])
    assert largest(everywhere, mine) < 1e-6


def test_it_changes_its_own_region_most(
    pipeline_folder: Path,
    make_request: Callable[..., RenderRequest],
    loras: Callable[..., str],
) -> None:
    request = make_request(("a red cat", LEFT), ("a dog", RIGHT), size=(128, 128))
    plain = render_with("sd15", pipeline_folder, request)
    for index, names in enumerate((([["style"], []]), ([[], ["style"]]))):
        own = with_loras(request, *names)
        lora = {"style": {"path": loras("sd15", text=False), "weight": 0.1}}
        change = (render_with("sd15", pipeline_folder, own, instance_loras=lora) - plain).abs()
        halves = [float(half.mean()) for half in change.chunk(2, -1)]
        assert halves[index] > 2 * halves[1 - index]


def test_pictures_of_one_layout_go_together_and_each_is_as_alone(
    pipeline_folder: Path,
    make_request: Callable[..., RenderRequest],
    loras: Callable[..., str],
) -> None:
    options = SD15Options(
        model=str(pipeline_folder), steps=2, instance_loras={"style": loras("sd15")}
    )
    renderer = SD15Renderer(options)
    first = with_loras(
        make_request(("a red cat", LEFT), ("a dog", RIGHT), size=(64, 64)), ["style"], []
    )
    second = replace(first, seed=1)
    together = latents(renderer, first, second)
    for one, request in zip(together, (first, second), strict=True):
        assert largest(one, latents(renderer, request)[0]) < 1e-4
    moved = with_loras(
        make_request(("a red cat", RIGHT), ("a dog", LEFT), size=(64, 64)), ["style"], []
    )
    assert len(renderer._batches([first, second, moved])) == 2


def test_it_leaves_no_trace_in_the_model_even_after_an_error(
    pipeline_folder: Path,
    make_request: Callable[..., RenderRequest],
    loras: Callable[..., str],
) -> None:
    options = SD15Options(
        model=str(pipeline_folder), steps=2, instance_loras={"style": loras("sd15")}
    )
    renderer = SD15Renderer(options)
    plain = make_request(("a red cat", LEFT), size=(64, 64))
    own = with_loras(plain, ["style"])
    before = latents(renderer, plain)
    pipeline = renderer.load().pipeline

    def state() -> tuple[Any, ...]:
        modules = [m for part in (pipeline.unet, pipeline.text_encoder) for m in part.modules()]
        hooks = [len(module._forward_hooks) + len(module._forward_pre_hooks) for module in modules]
        return hooks, [layer.processor for layer in cross_attention_layers(pipeline.unet)]

    clean = state()
    latents(renderer, own)
    assert state() == clean

    def fail(stage: str, done: int, total: int) -> None:
        if stage == "render":
            raise KeyError

    with pytest.raises(KeyError):
        renderer.render([own], fail)
    assert state() == clean
    assert torch.equal(before, latents(renderer, plain))


def test_layers_without_a_place_are_left_out_and_said(
    pipeline_folder: Path,
    make_request: Callable[..., RenderRequest],
    loras: Callable[..., str],
) -> None:
    options = SD15Options(
        model=str(pipeline_folder), steps=1, instance_loras={"style": loras("sd15")}
    )
    request = with_loras(make_request(("a red cat", LEFT), size=(64, 64)), ["style"])
    warnings = SD15Renderer(options).render([request])[0].warnings
    assert any("'style'" in line and "time_emb_proj" in line for line in warnings)
    everywhere = with_loras(make_request(("a red cat", EVERYWHERE), size=(64, 64)), ["style"])
    assert not SD15Renderer(options).render([everywhere])[0].warnings


def test_it_follows_the_control_schedule(
    pipeline_folder: Path,
    make_request: Callable[..., RenderRequest],
    loras: Callable[..., str],
) -> None:
    request = make_request(("a red cat", EVERYWHERE), size=(64, 64))
    off = {"control_steps": 0}
    plain = render_with("sd15", pipeline_folder, request, **off)
    own = with_loras(request, ["style"])
    lora = {"style": loras("sd15", text=False)}
    mine = render_with("sd15", pipeline_folder, own, instance_loras=lora, **off)
    assert torch.equal(plain, mine)


def test_a_lora_that_is_not_known_is_refused_before_loading(
    pipeline_folder: Path, make_request: Callable[..., RenderRequest], loras: Callable[..., str]
) -> None:
    renderer = SD15Renderer(
        SD15Options(model=str(pipeline_folder), instance_loras={"style": loras("sd15")})
    )
    request = with_loras(make_request(("a red cat", LEFT)), ["stile"])
    with pytest.raises(LayoutError, match=r"instances\[0\].*'stile'.*Did you mean 'style'"):
        renderer.render([request])
    assert not renderer.is_loaded


def test_a_file_that_is_not_there_is_refused_before_loading(pipeline_folder: Path) -> None:
    options = SD15Options(model=str(pipeline_folder), instance_loras={"a": "nowhere.safetensors"})
    with pytest.raises(WeightsError, match=r"nowhere\.safetensors"):
        SD15Renderer(options).check()
    with pytest.raises(OptionError, match="instance_loras"):
        SD15Options(model=str(pipeline_folder), instance_loras=["a"])


def test_a_dora_is_refused(
    pipeline_folder: Path, make_request: Callable[..., RenderRequest], loras: Callable[..., str]
) -> None:
    lora = loras("sd15", text=False, use_dora=True)
    renderer = SD15Renderer(SD15Options(model=str(pipeline_folder), instance_loras={"a": lora}))
    with pytest.raises(WeightsError, match="DoRA"):
        renderer.render([with_loras(make_request(("a red cat", LEFT)), ["a"])])
