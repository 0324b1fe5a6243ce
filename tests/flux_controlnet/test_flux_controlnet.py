"""What flux-controlnet computes: exact where nothing may be heard, and refused where it cannot."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from diffusers import FluxControlNetModel, FluxPipeline, FluxTransformer2DModel
from torch import Tensor

from threedis_core.attention import CONTROLS, JointPhases, JointRow, TokenOrder
from threedis_core.attention.lowering import MAKERS
from threedis_core.errors import OptionError, ThreeDISError, WeightsError
from threedis_core.plugin.interfaces import RenderRequest
from threedis_core.values.layout import InstanceLoRA
from threedis_core.values.regions import Regions
from threedis_core.values.schedule import ControlSchedule, StepRange
from threedis_diffusers.joint.hook import attached
from threedis_diffusers.joint.lowering import always
from threedis_flux.controlnet import FluxControlNetRenderer
from threedis_flux.hook import FluxHook

from .conftest import MODES, tiny_controlnet

Make = Callable[..., FluxControlNetRenderer]
Request = Callable[..., RenderRequest]
LEFT, RIGHT = (0.0, 0.0, 0.5, 1.0), (0.5, 0.0, 1.0, 1.0)
ALWAYS = ControlSchedule({name: StepRange() for name in CONTROLS})
EXACT = 1e-5
"""How far latents may be apart that must be equal, of their standard deviation."""


def latents(renderer: FluxControlNetRenderer, *requests: RenderRequest) -> Tensor:
    """What a batch comes to in double precision, before it is decoded."""
    loaded = renderer.load()
    loaded.pipeline.to(torch.float64)
    (batch, _), *others = renderer._batches(requests)
    assert not others
    return renderer.draw_batch(
        loaded, batch, lambda done, of: None, output_type="latent"
    ).images.flatten(1)


def apart(one: Tensor, other: Tensor) -> float:
    return float((one - other).abs().max() / other.std())


@pytest.mark.parametrize("lowering", MAKERS)
@pytest.mark.parametrize("kind", MODES)
def test_a_text_that_nobody_may_see_is_as_if_it_was_absent(
    kind: str, lowering: str, make_renderer: Make, make_request: Request
) -> None:
    """Two halves leave no background, and one more instance has no region."""
    texts = [("a red cat", LEFT), ("a blue dog", RIGHT)]
    nowhere = np.zeros((64, 64), np.bool_)

    def request(*hidden: str) -> RenderRequest:
        made = make_request(*texts, *((text, LEFT) for text in hidden), control=ALWAYS)
        masks = (None, None, *(nowhere for _ in hidden))
        return replace(made, regions=Regions(made.regions.boxes, masks, 64, 64), depth=depth)

    depth = make_request(*texts).depth
    renderer = make_renderer(kind, attention=lowering)
    absent, hidden, other = (
        latents(renderer, request(*some)) for some in ((), ("a cat",), ("seven green horses",))
    )
    assert apart(hidden, absent) <= EXACT
    assert apart(other, absent) <= EXACT
    heard = latents(renderer, make_request(*texts, ("a cat", LEFT), control=ALWAYS))
    assert apart(heard, absent) > 100 * EXACT


@pytest.mark.parametrize("kind", MODES)
def test_pictures_of_a_batch_are_as_if_alone_though_their_texts_are_of_other_length(
    kind: str, make_renderer: Make, make_request: Request
) -> None:
    renderer = make_renderer(kind, tokens_per_prompt="auto")
    requests = [
        make_request(("a red cat", LEFT), prompt="a very long story about animals in a field " * 2),
        make_request(("a dog", LEFT), ("a horse", RIGHT), prompt="animals", seed=1),
        make_request(prompt="nothing"),
    ]
    together = latents(renderer, *requests)
    for picture, request in zip(together, requests, strict=True):
        assert apart(picture, latents(renderer, request)[0]) <= EXACT


@pytest.mark.parametrize("lowering", MAKERS)
def test_every_lowering_draws_the_same_of_pictures_that_are_arranged_differently(
    lowering: str, make_renderer: Make, make_request: Request
) -> None:
    requests = [
        make_request(("a red cat", LEFT), control=ALWAYS),
        make_request(("a dog", (0.2, 0.3, 0.8, 0.6)), ("a horse", RIGHT), seed=1, control=ALWAYS),
    ]
    dense, made = (
        latents(make_renderer("union", attention=name), *requests) for name in ("dense", lowering)
    )
    assert apart(made, dense) <= EXACT


def test_without_the_control_it_is_the_plain_model(
    folder_of: Callable[[str], Path], make_renderer: Make, make_request: Request
) -> None:
    request = make_request(control=ControlSchedule())
    picture = np.asarray(make_renderer(controlnet_scale=0.0).render([request])[0].image)
    plain = FluxPipeline.from_pretrained(folder_of("plain"))
    plain.set_progress_bar_config(disable=True)
    generator = torch.Generator().manual_seed(0)
    torch.randn(1, 2, 8, 8, generator=generator)  # what the depth's latents are sampled with
    stock = plain(
        request.layout.prompt,
        num_inference_steps=3,
        guidance_scale=3.5,
        max_sequence_length=12,
        width=64,
        height=64,
        generator=generator,
    ).images[0]
    assert apart_pixels(picture, stock) <= 1
    with_depth = make_renderer().render([request])[0].image
    assert apart_pixels(picture, with_depth) > 2
    late = make_renderer(controlnet_start=0.9).render([request])[0].image
    assert apart_pixels(with_depth, late) > 2


def apart_pixels(one: Any, other: Any) -> int:
    return int(np.abs(np.asarray(one).astype(int) - np.asarray(other).astype(int)).max())


def refusal(kind: type[ThreeDISError], renderer: FluxControlNetRenderer) -> str:
    with pytest.raises(kind) as caught:
        renderer.check()
    return str(caught.value)


@pytest.mark.parametrize(
    ("kind", "mode", "told"),
    [
        ("plain", 2, "control_mode is 2, but ControlNet .* has no modes; leave control_mode out"),
        ("union", None, "control_mode is None, .* has the modes 0 to 3; set control_mode: 2"),
        ("union", 4, "control_mode is 4, .* has the modes 0 to 3"),
    ],
)
def test_a_mode_that_the_controlnet_does_not_have_is_refused(
    kind: str, mode: int | None, told: str, make_renderer: Make
) -> None:
    with pytest.raises(OptionError, match=told):
        make_renderer(kind, control_mode=mode).check()


def test_the_mode_changes_the_picture(make_renderer: Make, make_request: Request) -> None:
    one, other = (make_renderer("union", control_mode=mode) for mode in (1, 2))
    assert apart(latents(one, make_request()), latents(other, make_request())) > EXACT


def test_a_controlnet_of_another_model_or_in_one_file_is_refused(
    make_renderer: Make, tmp_path: Path
) -> None:
    tiny_controlnet("plain", joint_attention_dim=12).save_pretrained(tmp_path / "other")
    message = refusal(WeightsError, make_renderer(controlnet=str(tmp_path / "other")))
    assert "has joint_attention_dim 12, but the model has 24" in message
    config = tmp_path / "other" / "config.json"
    config.write_text(json.dumps({**json.loads(config.read_text()), "_class_name": "UNet"}))
    message = refusal(WeightsError, make_renderer(controlnet=str(tmp_path / "other")))
    assert "is a 'UNet'; expected FluxControlNetModel" in message
    message = refusal(WeightsError, make_renderer(controlnet=str(tmp_path / "one.safetensors")))
    assert "is one file, from which diffusers reads no FluxControlNetModel" in message
    assert "such as Shakker-Labs/FLUX.1-dev-ControlNet-Depth" in message


def test_missing_files_of_the_controlnet_are_named_by_check_and_doctor(
    folder_of: Callable[[str], Path], make_renderer: Make, tmp_path: Path
) -> None:
    model = shutil.copytree(folder_of("plain"), tmp_path / "model")
    renderer = make_renderer(model=str(model))
    assert renderer.inspect().ready
    (model / "controlnet" / "diffusion_pytorch_model.safetensors").unlink()
    assert "diffusion_pytorch_model.safetensors" in refusal(WeightsError, renderer)
    assert not renderer.inspect().ready


def test_the_published_controlnet_is_used_where_there_is_no_own(
    folder_of: Callable[[str], Path], make_renderer: Make, tmp_path: Path
) -> None:
    model = shutil.copytree(folder_of("plain"), tmp_path / "model")
    shutil.rmtree(model / "controlnet")
    source = make_renderer(model=str(model)).controlnet_place().source
    assert source.name == "Shakker-Labs/FLUX.1-dev-ControlNet-Depth"


@pytest.fixture
def schnell(folder_of: Callable[[str], Path], tmp_path: Path) -> Path:
    """The folder of a model without guidance."""
    model = shutil.copytree(folder_of("plain"), tmp_path / "model")
    torch.manual_seed(0)
    config = {**json.loads((model / "transformer" / "config.json").read_text())}
    schnell = FluxTransformer2DModel.from_config({**config, "guidance_embeds": False})
    schnell.save_pretrained(model / "transformer")
    return model


@pytest.mark.parametrize("asked", [200, 400, "auto"])
def test_schnell_reads_256_tokens_of_a_prompt_padded_to_as_many(
    asked: int | str, schnell: Path, make_renderer: Make, make_request: Request
) -> None:
    """As its pipeline does with a ``max_sequence_length`` of 256; the others read 512."""
    padded: list[int] = []
    request = make_request(("a cat", LEFT), prompt="animals " * 400)
    for options, most in (({}, 512), ({"model": str(schnell)}, 256)):
        renderer = make_renderer(tokens_per_prompt=asked, **options)
        pipeline = renderer.load().pipeline
        pipeline.tokenizer_2.model_max_length = 512
        encode = pipeline.encode_prompt

        def count(*prompts: Any, encode: Any = encode, **given: Any) -> Any:
            if prompts:  # and not what was embedded before
                padded.append(given["max_sequence_length"])
            return encode(*prompts, **given)

        pipeline.encode_prompt = count
        (drawn,) = renderer.render([request])
        assert padded.pop() == most
        assert drawn.provenance["tokens_per_prompt"] == (
            most if asked == "auto" else min(asked, most)
        )


def test_a_model_without_guidance_says_so(
    schnell: Path, make_renderer: Make, make_request: Request
) -> None:
    renderer = make_renderer(model=str(schnell), steps=4)
    assert renderer.capabilities.default_guidance is None
    assert len(renderer.render([make_request(("a cat", LEFT))])) == 1
    with pytest.raises(OptionError, match="no guidance scale"):
        renderer.render([make_request(guidance=3.0)])


def test_quantised_weights_and_loras_go_with_it(
    make_renderer: Make, make_request: Request, tmp_path: Path
) -> None:
    peft = pytest.importorskip("peft")
    plain = make_renderer()
    transformer = FluxTransformer2DModel.from_config(plain.load().pipeline.transformer.config)
    transformer.add_adapter(peft.LoraConfig(r=2, target_modules=["to_q", "to_v", "add_k_proj"]))
    torch.manual_seed(3)
    state = peft.get_peft_model_state_dict(transformer)
    state = {name: torch.randn_like(weight) for name, weight in state.items()}
    FluxPipeline.save_lora_weights(tmp_path / "lora", state)
    request = make_request(("a red cat", LEFT), ("a blue dog", RIGHT))
    before = plain.render([request])[0].image
    everywhere = make_renderer(loras=[str(tmp_path / "lora")]).render([request])[0].image
    quantised = make_renderer(quantization="fp8").render([request])[0].image
    assert apart_pixels(before, everywhere) > 2
    assert apart_pixels(before, quantised) > 0
    renderer = make_renderer(instance_loras={"wild": str(tmp_path / "lora")})
    instances = list(request.layout.instances)
    layout = request.layout.model_copy(
        update={
            "instances": (
                instances[0].model_copy(update={"loras": (InstanceLoRA(name="wild"),)}),
                instances[1],
            ),
        }
    )
    inside = renderer.render([replace(request, layout=layout)])[0].image
    assert apart_pixels(before, inside) > 2
    assert apart_pixels(everywhere, inside) > 2


def test_the_blocks_of_both_models_are_compiled(make_renderer: Make) -> None:
    pipeline = make_renderer(compile=True).load().pipeline
    for model in (pipeline.transformer, pipeline.controlnet):
        for block in (*model.transformer_blocks, *model.single_transformer_blocks):
            assert block._compiled_call_impl is not None


FULL: dict[str, dict[str, Any]] = {
    "Union-Pro": {"num_layers": 5, "num_single_layers": 10, "num_mode": 10},
    "Union-Pro-2.0": {"num_layers": 6, "num_single_layers": 0},
}


@pytest.mark.parametrize("name", FULL)
@torch.no_grad()
def test_the_full_size_models_are_hooked_at_every_site_and_the_plans_fit(name: str) -> None:
    """No weights and no numbers: the shapes of a whole step, two pictures of 1024 pixels."""
    meta, side = torch.device("meta"), 64
    with meta:
        transformer = FluxTransformer2DModel(guidance_embeds=True).to(torch.bfloat16)
        controlnet = FluxControlNetModel(guidance_embeds=True, **FULL[name]).to(torch.bfloat16)
    masks = np.zeros((4, side, side), np.bool_)
    for index, mask in enumerate(masks):
        mask[:, index * 16 : index * 16 + 12] = True
    texts = torch.zeros(5, 16, 4096, dtype=torch.bfloat16, device=meta)
    rows = [JointRow(texts, masks), JointRow(texts[:2, :8], masks[:1])]
    phases = JointPhases(rows, ALWAYS, always("dense"), meta)
    plain = phases.plain(TokenOrder(prefix=int(controlnet.union)))
    hooks = FluxHook(transformer, phases), FluxHook(controlnet, plain)
    step: dict[str, Any] = {
        "hidden_states": torch.zeros(2, side * side, 64),
        "encoder_hidden_states": torch.zeros(2, 16, 4096),
        "pooled_projections": torch.zeros(2, 768),
        "timestep": torch.ones(2),
        "guidance": torch.ones(2),
        "img_ids": torch.zeros(side * side, 3),
        "txt_ids": torch.zeros(16, 3),
        "return_dict": False,
    }
    step = {k: v.to(meta, torch.bfloat16) if k != "return_dict" else v for k, v in step.items()}
    with attached(hooks[0]), attached(hooks[1]):
        for hook, sites in zip(hooks, (57, sum([*FULL[name].values()][:2])), strict=True):
            processors = hook.model.attn_processors.values()
            assert len(processors) == sites
            assert {type(one).__name__ for one in processors} == {"JointProcessor"}
        mode = torch.zeros(2, 1, dtype=torch.long, device=meta)
        double, single = controlnet(
            **step,
            controlnet_cond=step["hidden_states"],
            controlnet_mode=mode if controlnet.union else None,
        )
        out = transformer(
            **step, controlnet_block_samples=double, controlnet_single_block_samples=single
        )[0]
    assert out.shape == (2, side * side, 64)
