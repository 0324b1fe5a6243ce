"""Which files are taken of the published repositories, tested against what is really there."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Sequence
from fnmatch import fnmatch
from typing import Any

import pytest

from threedis_core.errors import OptionError, WeightsError
from threedis_diffusers.backend import DiffusersRenderer
from threedis_diffusers.joint.renderer import JointRenderer
from threedis_diffusers.model_files.checks import WEIGHTS_STEM, fetch_model, fetch_part
from threedis_diffusers.model_files.published import PUBLISHED
from threedis_diffusers.model_files.sources import ModelSource
from threedis_estimate.detectors import Leres, Midas, Zoe, find_files
from threedis_flux.backend import FluxRenderer
from threedis_flux.controlnet import FluxControlNetOptions, FluxControlNetRenderer
from threedis_flux.options import BASE_MODEL, DEPTH_MODEL, FluxOptions
from threedis_flux.presets import CONTROLNET_PRESETS
from threedis_flux.presets import PRESETS as FLUX_PRESETS
from threedis_ldm3d.checks import ADAPTER_STEM, UNET_STEM, find_weights
from threedis_ldm3d.checks import find_model as find_ldm3d
from threedis_ldm3d.options import LDM3DOptions
from threedis_qwen_image.backend import QwenImageOptions, QwenImageRenderer
from threedis_sam.refiner import SamOptions
from threedis_sam.sam2 import Sam2, Sam2Options
from threedis_sd.presets import PRESETS as SD_PRESETS
from threedis_sd.sd15 import SD15Options, SD15Renderer
from threedis_sd.sd21 import SD21Options, SD21Renderer
from threedis_sd.sdxl import SDXLOptions, SDXLRenderer
from threedis_sd35 import MEDIUM
from threedis_sd35.backend import SD35Options, SD35Renderer
from threedis_transformers.loading import PROCESSOR, WEIGHTS
from threedis_transformers.loading import check_files as check_vision_files
from threedis_z_image.backend import LITE, ZImageOptions, ZImageRenderer

SD15 = SD15Options().model
SD21 = SD21Options().model
SDXL = SDXLOptions().model
SD35 = SD35Options().model
Z_IMAGE = ZImageOptions().model
Z_IMAGE_1 = (
    "alibaba-pai/Z-Image-Turbo-Fun-Controlnet-Union/Z-Image-Turbo-Fun-Controlnet-Union.safetensors"
)
Z_IMAGE_FILES = {
    *(f"text_encoder/model-{n:05}-of-00003.safetensors" for n in (1, 2, 3)),
    "vae/diffusion_pytorch_model.safetensors",
}
QWEN_IMAGE = QwenImageOptions().model
QWEN_IMAGE_FILES = {
    *(f"text_encoder/model-{n:05}-of-00004.safetensors" for n in range(1, 5)),
    "vae/diffusion_pytorch_model.safetensors",
}
PACKED_QWEN_IMAGE = "city96/Qwen-Image-gguf"
PACKED_SD35 = "city96/stable-diffusion-3.5-large-gguf"
LORA = "black-forest-labs/FLUX.1-Depth-dev-lora"
FIXED_VAE = "madebyollin/sdxl-vae-fp16-fix"
UNET, VAE = "unet/diffusion_pytorch_model", "vae/diffusion_pytorch_model"
PLAIN, HALF = ".safetensors", ".fp16.safetensors"
SHARDS = {
    "transformer/diffusion_pytorch_model-00001-of-00003.safetensors",
    "transformer/diffusion_pytorch_model-00002-of-00003.safetensors",
    "transformer/diffusion_pytorch_model-00003-of-00003.safetensors",
}
CPU: dict[str, Any] = {"device": "cpu"}
UNION, SCHNELL = (
    options for name, options, _ in CONTROLNET_PRESETS if name in ("flux-union", "flux-schnell")
)
FEW_STEPS = {
    **{name: options for name, _, options, _ in SD_PRESETS},
    **{name: options for name, options, _ in FLUX_PRESETS},
}


def t5(count: int) -> set[str]:
    names = (f"model-{n:05}-of-{count:05}.safetensors" for n in range(1, count + 1))
    return {f"text_encoder_2/{name}" for name in names}


def in_repository(file: str) -> dict[str, set[str]]:
    repository, _, name = file.rpartition("/")
    return {repository: {name}}


def sd35_files(*transformer: str) -> set[str]:
    text = {f"text_encoder{number}/model{PLAIN}" for number in ("", "_2")}
    shards = {f"text_encoder_3/model-{n:05}-of-00002.safetensors" for n in (1, 2)}
    return {
        *(f"transformer/{WEIGHTS_STEM}{one}" for one in transformer),
        VAE + PLAIN,
        *text,
        *shards,
    }


def unet_files(ending: str, second: bool = False) -> set[str]:
    text = {f"text_encoder{number}/model{ending}" for number in ("", "_2")[: 1 + second]}
    return {UNET + ending, VAE + ending} | text


CASES: list[tuple[Callable[[], DiffusersRenderer], dict[str, set[str]], float]] = [
    (
        lambda: SD15Renderer(SD15Options(**CPU)),
        {
            SD15: unet_files(PLAIN),
            SD15Renderer.default_controlnet: {"diffusion_pytorch_model.safetensors"},
        },
        5.7,
    ),
    (
        lambda: SD15Renderer(SD15Options(**CPU, dtype="float16")),
        {
            SD15: unet_files(HALF),
            SD15Renderer.default_controlnet: {"diffusion_pytorch_model.fp16.safetensors"},
        },
        2.9,
    ),
    (
        lambda: SD15Renderer(SD15Options(**CPU, variant="fp16")),
        {
            SD15: unet_files(HALF),
            SD15Renderer.default_controlnet: {"diffusion_pytorch_model.fp16.safetensors"},
        },
        2.9,
    ),
    (
        lambda: SD15Renderer(SD15Options(**CPU, dtype="float16", variant=None)),
        {
            SD15: unet_files(PLAIN),
            SD15Renderer.default_controlnet: {"diffusion_pytorch_model.safetensors"},
        },
        5.7,
    ),
    (
        lambda: SD21Renderer(SD21Options(**CPU, dtype="float16")),
        {
            SD21: unet_files(HALF),
            SD21Renderer.default_controlnet: {"diffusion_pytorch_model.safetensors"},
        },
        3.3,
    ),
    (
        lambda: SDXLRenderer(SDXLOptions(**CPU)),
        {
            SDXL: unet_files(PLAIN, second=True),
            SDXLRenderer.default_controlnet: {"diffusion_pytorch_model.safetensors"},
        },
        18.9,
    ),
    (
        lambda: SDXLRenderer(SDXLOptions(**CPU, dtype="float16", vae=FIXED_VAE)),
        {
            SDXL: unet_files(HALF, second=True) - {VAE + HALF},
            SDXLRenderer.default_controlnet: {"diffusion_pytorch_model.fp16.safetensors"},
            FIXED_VAE: {"diffusion_pytorch_model.safetensors"},
        },
        9.6,
    ),
    (
        lambda: FluxRenderer(FluxOptions(**CPU)),
        {DEPTH_MODEL: {*SHARDS, *t5(4), "text_encoder/model.safetensors", VAE + PLAIN}},
        43.7,
    ),
    (
        lambda: SD15Renderer(SD15Options(**CPU, **FEW_STEPS["sd15-lcm"], dtype="float16")),
        {
            SD15: unet_files(HALF),
            SD15Renderer.default_controlnet: {"diffusion_pytorch_model.fp16.safetensors"},
            "latent-consistency/lcm-lora-sdv1-5": {"pytorch_lora_weights.safetensors"},
        },
        3.0,
    ),
    (
        lambda: SDXLRenderer(SDXLOptions(**CPU, **FEW_STEPS["sdxl-hyper"], dtype="float16")),
        {
            SDXL: unet_files(HALF, second=True),
            SDXLRenderer.default_controlnet: {"diffusion_pytorch_model.fp16.safetensors"},
            "ByteDance/Hyper-SD": {"Hyper-SDXL-8steps-lora.safetensors"},
        },
        10.2,
    ),
    (
        lambda: SDXLRenderer(SDXLOptions(**CPU, **FEW_STEPS["sdxl-lightning"], dtype="float16")),
        {
            SDXL: unet_files(HALF, second=True),
            SDXLRenderer.default_controlnet: {"diffusion_pytorch_model.fp16.safetensors"},
            "ByteDance/SDXL-Lightning": {"sdxl_lightning_8step_lora.safetensors"},
        },
        9.8,
    ),
    (
        lambda: FluxRenderer(FluxOptions(**CPU, **FEW_STEPS["flux-hyper"])),
        {
            BASE_MODEL: {*SHARDS, *t5(2), "text_encoder/model.safetensors", VAE + PLAIN},
            LORA: {"flux1-depth-dev-lora.safetensors"},
            "ByteDance/Hyper-SD": {"Hyper-FLUX.1-dev-8steps-lora.safetensors"},
        },
        36.4,
    ),
    (
        lambda: FluxRenderer(FluxOptions(**CPU, depth_lora=LORA)),
        {
            BASE_MODEL: {*SHARDS, *t5(2), "text_encoder/model.safetensors", VAE + PLAIN},
            LORA: {"flux1-depth-dev-lora.safetensors"},
        },
        35.0,
    ),
    (
        lambda: FluxControlNetRenderer(FluxControlNetOptions(**CPU)),
        {
            BASE_MODEL: {*SHARDS, *t5(2), "text_encoder/model.safetensors", VAE + PLAIN},
            FluxControlNetRenderer.default_controlnet: {"diffusion_pytorch_model.safetensors"},
        },
        36.9,
    ),
    (
        lambda: FluxControlNetRenderer(FluxControlNetOptions(**CPU, **UNION)),
        {
            BASE_MODEL: {*SHARDS, *t5(2), "text_encoder/model.safetensors", VAE + PLAIN},
            UNION["controlnet"]: {"diffusion_pytorch_model.safetensors"},
        },
        40.3,
    ),
    (
        lambda: FluxControlNetRenderer(FluxControlNetOptions(**CPU, **SCHNELL)),
        {
            SCHNELL["model"]: {*SHARDS, *t5(2), "text_encoder/model.safetensors", VAE + PLAIN},
            SCHNELL["controlnet"]: {"diffusion_pytorch_model.safetensors"},
        },
        38.0,
    ),
    (
        lambda: SD35Renderer(SD35Options(**CPU)),
        {
            SD35: sd35_files("-00001-of-00002.safetensors", "-00002-of-00002.safetensors"),
            SD35Renderer.default_controlnet: {"diffusion_pytorch_model.safetensors"},
        },
        36.2,
    ),
    (
        lambda: SD35Renderer(SD35Options(**CPU, **MEDIUM)),
        {
            MEDIUM["model"]: sd35_files(PLAIN),
            MEDIUM["controlnet"]: {"diffusion_pytorch_model.safetensors"},
        },
        21.2,
    ),
    (
        lambda: QwenImageRenderer(QwenImageOptions(**CPU)),
        {
            QWEN_IMAGE: {
                *(f"transformer/{WEIGHTS_STEM}-{n:05}-of-00009.safetensors" for n in range(1, 10)),
                *QWEN_IMAGE_FILES,
            },
            QwenImageRenderer.default_controlnet: {"diffusion_pytorch_model.safetensors"},
        },
        61.2,
    ),
]
"""What makes a renderer, the weights that it takes, and how many 10^9 bytes they are."""


@pytest.mark.parametrize(("make", "wanted", "size"), CASES)
def test_the_default_models_take_exactly_these_files(
    make: Callable[[], DiffusersRenderer],
    wanted: dict[str, set[str]],
    size: float,
    hub,
    listings,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    renderer = make()
    told = commands_fetch(renderer.inspect().commands, listings)
    assert told == wanted, "what the doctor tells to type"
    renderer.check()  # fetches the small files alone
    assert hub.weighty() == {}
    fetch_all(renderer)
    assert hub.weighty() == wanted, "what the first render fetches"
    assert renderer.inspect().ready, "everything that is needed was fetched"
    total = sum(listings[name]["files"][path] for name in wanted for path in wanted[name])
    assert total / 1e9 == pytest.approx(size, abs=0.06)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    make().check()  # which needs no network now


def fetch_all(renderer: DiffusersRenderer) -> None:
    """Fetch what a renderer loads, as it does before it loads it."""
    loader = renderer.find()
    checked = loader.__self__  # type: ignore[attr-defined]  a bound method of what was checked
    for part in checked.found.parts.values():
        part.fetch()
    if isinstance(renderer, JointRenderer):
        fetch_model(ModelSource(renderer.options.model), checked.endings)
        for found in checked.lora_files:
            ModelSource(found.folder).get(found.file)
        return
    folder = checked.load_model.__self__
    fetch_model(folder.source, folder.endings)
    for found in checked.loras:
        ModelSource(found.folder).get(found.file)


def commands_fetch(commands: Sequence[str], listings: dict[str, Any]) -> dict[str, set[str]]:
    """The weights that commands fetch, by repository; each pattern must fetch something."""
    found: dict[str, set[str]] = {}
    for command in commands:
        _, _, name, *words = shlex.split(command)
        files: set[str] = set()
        for pattern in words[1::2]:
            matching = {file for file in listings[name]["files"] if fnmatch(file, pattern)}
            assert matching, f"{name} has no {pattern}"
            files |= matching
        found[name] = {file for file in files if listings[name]["files"][file]}
    return found


PACKED = "SporkySporkness/FLUX.1-Depth-dev-GGUF"
PACKED_BASE = "city96/FLUX.1-dev-gguf"
PACKED_T5 = "city96/t5-v1_1-xxl-encoder-gguf"
EIGHT = "boricuapab/flux1-depth-dev-fp8"
NF4 = "diffusers/FLUX.1-Depth-dev-nf4"
SINGLE_CONTROL = "thibaud/controlnet-sd21/control_v11p_sd21_depth.safetensors"
DEPTH_PARTS = {"text_encoder/model.safetensors", VAE + PLAIN}
FOREIGN: list[tuple[Callable[[], DiffusersRenderer], dict[str, set[str]], float]] = [
    (
        lambda: FluxRenderer(
            FluxOptions(
                **CPU,
                transformer=f"{PACKED}/flux1-depth-dev-fp16-Q8_0-GGUF.gguf",
                text_encoder_2=f"{PACKED_T5}/t5-v1_1-xxl-encoder-Q5_K_M.gguf",
            )
        ),
        {
            DEPTH_MODEL: DEPTH_PARTS,
            PACKED: {"flux1-depth-dev-fp16-Q8_0-GGUF.gguf"},
            PACKED_T5: {"t5-v1_1-xxl-encoder-Q5_K_M.gguf"},
        },
        16.9,
    ),
    (
        lambda: FluxRenderer(
            FluxOptions(**CPU, depth_lora=LORA, transformer=f"{PACKED_BASE}/flux1-dev-Q4_K_S.gguf")
        ),
        {
            BASE_MODEL: {*DEPTH_PARTS, *t5(2)},
            PACKED_BASE: {"flux1-dev-Q4_K_S.gguf"},
            LORA: {"flux1-depth-dev-lora.safetensors"},
        },
        18.0,
    ),
    (
        lambda: FluxControlNetRenderer(
            FluxControlNetOptions(**CPU, transformer=f"{PACKED_BASE}/flux1-dev-Q4_K_S.gguf")
        ),
        {
            BASE_MODEL: {*DEPTH_PARTS, *t5(2)},
            PACKED_BASE: {"flux1-dev-Q4_K_S.gguf"},
            FluxControlNetRenderer.default_controlnet: {"diffusion_pytorch_model.safetensors"},
        },
        19.9,
    ),
    (
        lambda: FluxRenderer(
            FluxOptions(**CPU, transformer=f"{EIGHT}/flux1-depth-dev-fp8.safetensors")
        ),
        {
            DEPTH_MODEL: {*DEPTH_PARTS, *t5(4)},
            EIGHT: {"flux1-depth-dev-fp8.safetensors"},
        },
        31.8,
    ),
    (
        lambda: SD21Renderer(SD21Options(**CPU, dtype="float16", controlnet=SINGLE_CONTROL)),
        {
            SD21: unet_files(HALF),
            "thibaud/controlnet-sd21": {"control_v11p_sd21_depth.safetensors"},
        },
        3.3,
    ),
    (
        lambda: SD35Renderer(
            SD35Options(**CPU, t5=False, transformer=f"{PACKED_SD35}/sd3.5_large-Q4_0.gguf")
        ),
        {
            SD35: {file for file in sd35_files() if not file.startswith("text_encoder_3")},
            PACKED_SD35: {"sd3.5_large-Q4_0.gguf"},
            SD35Renderer.default_controlnet: {"diffusion_pytorch_model.safetensors"},
        },
        15.2,
    ),
    (
        lambda: ZImageRenderer(ZImageOptions(**CPU)),
        {
            Z_IMAGE: {*SHARDS, *Z_IMAGE_FILES},
            **in_repository(ZImageRenderer.default_controlnet),
        },
        39.5,
    ),
    (
        lambda: ZImageRenderer(ZImageOptions(**CPU, controlnet=LITE)),
        {Z_IMAGE: {*SHARDS, *Z_IMAGE_FILES}, **in_repository(LITE)},
        34.9,
    ),
    (
        lambda: ZImageRenderer(ZImageOptions(**CPU, controlnet=Z_IMAGE_1)),
        {Z_IMAGE: {*SHARDS, *Z_IMAGE_FILES}, **in_repository(Z_IMAGE_1)},
        35.9,
    ),
    (
        lambda: QwenImageRenderer(
            QwenImageOptions(**CPU, transformer=f"{PACKED_QWEN_IMAGE}/qwen-image-Q4_K_M.gguf")
        ),
        {
            QWEN_IMAGE: QWEN_IMAGE_FILES,
            PACKED_QWEN_IMAGE: {"qwen-image-Q4_K_M.gguf"},
            QwenImageRenderer.default_controlnet: {"diffusion_pytorch_model.safetensors"},
        },
        33.4,
    ),
]
"""The same for parts that are one file, among them what people with smaller cards take."""


@pytest.mark.parametrize(("make", "wanted", "size"), FOREIGN)
def test_parts_from_elsewhere_take_exactly_these_files(
    make: Callable[[], DiffusersRenderer],
    wanted: dict[str, set[str]],
    size: float,
    hub,
    listings,
) -> None:
    pytest.importorskip("gguf")
    renderer = make()
    assert told(renderer, listings) == wanted
    renderer.check()
    assert hub.weighty() == {}, "only the small files are fetched for the check"
    fetch_all(renderer)
    assert hub.weighty() == wanted
    total = sum(listings[name]["files"][path] for name in wanted for path in wanted[name])
    assert total / 1e9 == pytest.approx(size, abs=0.06)
    assert renderer.inspect().ready


def told(renderer: DiffusersRenderer, listings: dict[str, Any]) -> dict[str, set[str]]:
    """The weights that the doctor tells to fetch, by repository."""
    found = commands_fetch(renderer.inspect().commands, listings)
    return {name: files for name, files in found.items() if files}


def test_a_folder_without_an_index_gives_its_parts(hub, listings) -> None:
    """This one was saved by bitsandbytes, which needs a GPU for the transformer."""
    given = {"transformer": NF4, "text_encoder_2": NF4}
    renderer = FluxRenderer(FluxOptions(**CPU, **given))
    wanted = {
        DEPTH_MODEL: DEPTH_PARTS,
        NF4: {"transformer/diffusion_pytorch_model.safetensors", *t5(2)},
    }
    assert told(renderer, listings) == wanted
    with pytest.raises(OptionError, match=r"pip install bitsandbytes|No GPU found") as caught:
        renderer.check()
    assert f"'{NF4}'" in str(caught.value)
    assert hub.weighty() == {}


def test_ldm3d_takes_the_published_files(hub) -> None:
    options = LDM3DOptions(**CPU)
    found = find_ldm3d(options)
    fetch_model(found.model, found.endings)
    assert hub.weighty() == {
        options.model: unet_files(PLAIN) - {UNET + PLAIN},  # its U-Net is another one
        "sanaka87/3DIS": {"unet_0901.ckpt", "layout_adapter.ckpt"},
    }
    for stem in (UNET_STEM, ADAPTER_STEM):
        file = find_weights("sanaka87/3DIS", stem)
        assert file is not None
        assert file.name == f"{stem}.ckpt"


@pytest.mark.parametrize(
    ("kind", "name"),
    [
        *(("sam", f"facebook/sam-vit-{size}") for size in ("base", "large", "huge")),
        (Sam2.model_types, Sam2Options().model),
        *(
            ("depth_anything", f"depth-anything/Depth-Anything-V2-{size}-hf")
            for size in ("Small", "Base", "Large")
        ),
        ("dpt", "Intel/dpt-large"),
    ],
)
def test_models_of_transformers_take_one_file(kind: str | tuple[str, ...], name: str, hub) -> None:
    source = ModelSource(name, library="transformers")
    fetch_part(source, WEIGHTS, check_vision_files(source, kind), PROCESSOR)
    assert hub.weighty() == {name: {"model.safetensors"}}


def test_the_default_segmenter_is_the_small_one() -> None:
    assert SamOptions().model == "facebook/sam-vit-base"


@pytest.mark.parametrize("detector", [Midas, Zoe, Leres])
def test_detectors_take_their_files(detector: Any, hub) -> None:
    name = detector.Options().model
    find_files(ModelSource(name), detector.files)
    assert hub.weighty() == {name: set(detector.files)}


def test_the_former_controlnet_of_sd21_has_only_a_pickle(hub) -> None:
    renderer = SD21Renderer(
        SD21Options(**CPU, controlnet="thibaud/controlnet-sd21-depth-diffusers")
    )
    with pytest.raises(WeightsError, match=r"has no file 'diffusion_pytorch_model\.safetensors'"):
        renderer.check()


@pytest.mark.parametrize("name", sorted(PUBLISHED))
def test_the_sizes_that_are_told_are_those_of_the_listings(name: str, listings) -> None:
    known, files = PUBLISHED[name], listings[name]["files"]
    for file, size in known.files.items():
        assert size == pytest.approx(files[file], rel=0.02)
    for part in known.parts if listings[name]["kind"] != "gguf" else ():
        stem = f"{part}/" if part else ""
        name = "model" if part.startswith("text_encoder") else "diffusion_pytorch_model"
        start = f"{stem}{name}"
        shards = [size for file, size in files.items() if file.startswith(f"{start}-0")]
        plain = sum(shards) if shards else files[f"{start}.safetensors"]
        assert bool(shards) == (part in known.sharded)
        assert known.weights_size(part) == pytest.approx(plain, rel=0.02)
        half = files.get(f"{start}.fp16.safetensors")
        assert (half is not None) == (part in known.halved)
        if half is not None:
            assert known.weights_size(part, half=True) == pytest.approx(half, rel=0.02)


def test_a_revision_is_asked_for_and_told(hub) -> None:
    source = ModelSource(f"{SD15}@fp16")
    assert source.read("model_index.json")["_class_name"] == "StableDiffusionPipeline"
    assert (source.repository, source.revision) == (SD15, "fp16")
    found = SD15Renderer(SD15Options(**CPU, model=f"{SD15}@451f4fe")).inspect()
    assert found.commands[0].startswith(f"hf download {SD15} --revision 451f4fe --include ")
    assert any(SD15 in note and "@" not in note for note in found.notes)


def test_what_is_here_needs_no_hub_that_answers(hub, monkeypatch: pytest.MonkeyPatch) -> None:
    SD15Renderer(SD15Options(**CPU)).check()
    asked = ModelSource(SD15).get("unet/config.json")
    monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", "http://127.0.0.1:9")
    assert ModelSource(SD15).get("unet/config.json") == asked


def test_files_of_a_repository_that_changed_meanwhile_are_fetched_anew(hub) -> None:
    source = ModelSource(SD15)
    source.get("unet/config.json")
    hub.commit = "1" * 40
    folder = source.get_all(["unet/config.json", "vae/config.json"])
    assert (folder / "unet/config.json").is_file()
    assert folder.name == "1" * 40


def test_the_error_of_a_missing_model_names_the_command_that_fetches_what_is_read(
    hub, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    with pytest.raises(WeightsError) as caught:
        SD15Renderer(SD15Options(**CPU)).check()
    command = str(caught.value).split("`")[1]
    assert command.startswith(f"hf download {SD15} --include model_index.json")
    assert f"--include {UNET}.safetensors" in command
    assert caught.value.hint.endswith(f"`{command}`")
    with pytest.raises(WeightsError, match=r"`hf download me/x --include a\.json`"):
        ModelSource("me/x").read("a.json")


def test_files_of_a_variant_that_transformers_once_named_otherwise_are_left_alone(hub) -> None:
    """SD3.5's third text encoder: ``model.fp16-00001-of-00002``, which nobody looks for now."""
    renderer = SD35Renderer(SD35Options(**CPU, dtype="float16"))
    renderer.check()
    fetch_all(renderer)
    taken = hub.weighty()[SD35]
    assert {file for file in taken if file.startswith("text_encoder_3")} == {
        f"text_encoder_3/model-{n:05}-of-00002.safetensors" for n in (1, 2)
    }
    assert "text_encoder/model.fp16.safetensors" in taken
