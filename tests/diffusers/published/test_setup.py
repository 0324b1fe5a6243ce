"""``threedis setup`` chooses for a card, and fetches exactly what is then read."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from threedis_core.cli.app import main
from threedis_core.errors import OptionError, UnknownPluginError
from threedis_core.plugin.discovery import load_plugins
from threedis_core.run.config import RunConfig
from threedis_core.setup import GIB, parse_card, set_up

CARDS = (8, 12, 16, 24, 48, 80)
CHOICES: dict[str, tuple[tuple[str, str], ...]] = {
    "sd15": (("none", ""),) * 6,
    "sd21": (("none", ""),) * 6,
    "sdxl": (("group", ""), ("model", ""), *(("none", ""),) * 4),
    "flux": (
        ("sequential", "Q4_0"),  # main memory is short of T5, which GGUF saves nothing of
        ("model", "Q5_0"),
        ("model", "Q8_0"),
        ("none", "fp8"),
        ("none", ""),
        ("none", ""),
    ),
    "sd35": (
        ("sequential", "Q4_0"),  # main memory is short of T5, too
        ("model", "Q4_0"),
        ("model", "Q8_0"),
        ("model", ""),
        ("none", ""),
        ("none", ""),
    ),
    "sd35-medium": (
        ("sequential", ""),  # GGUF files of the large model are none of this one
        ("model", ""),
        ("model", ""),
        ("none", ""),
        ("none", ""),
        ("none", ""),
    ),
    "z-image": (
        ("sequential", "lite"),
        ("group", "lite"),
        ("model", "lite"),
        ("model", ""),
        ("none", ""),
        ("none", ""),
    ),
    "qwen-image": (
        ("sequential", "Q3_K_S"),  # main memory is short of the text encoder
        ("sequential", "Q3_K_S"),
        ("model", "Q3_K_S"),
        ("model", "Q4_K_M"),
        ("model", ""),
        ("none", ""),
    ),
}
"""For each card how the model is placed, and what of the options makes it smaller."""
FIXED_VAE = "madebyollin/sdxl-vae-fp16-fix"


@pytest.fixture
def offline(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """No network and an empty cache."""
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "cache"))


@pytest.mark.usefixtures("offline")
@pytest.mark.parametrize("renderer", CHOICES)
def test_each_card_gets_what_it_has_room_for(renderer: str) -> None:
    registry = load_plugins()
    for card, (way, smaller) in zip(CARDS, CHOICES[renderer], strict=True):
        found = set_up(registry, renderer, card * GIB)
        assert found.need is not None
        assert (found.need.offload, found.fits) == (way, way != "sequential"), card
        options = str(found.config.renderers[renderer])
        assert smaller in options
        if not smaller:
            assert "gguf" not in options
            assert "lite" not in options
            assert "quantization" not in options


@pytest.mark.usefixtures("offline")
def test_a_card_that_is_too_small_is_told_so() -> None:
    found = set_up(load_plugins(), "flux", 2 * GIB, "ldm3d", "sam")
    assert not found.fits
    assert found.need is not None


@pytest.mark.parametrize(("text", "size"), [("12GB", 12), ("8 GiB", 8), ("24", 24), ("7.5gb", 7.5)])
def test_a_cards_memory_is_read_as_people_write_it(text: str, size: float) -> None:
    assert parse_card(text) == size * GIB


@pytest.mark.parametrize("text", ["", "big", "0GB", "12TB", "-8"])
def test_what_is_no_size_is_refused(text: str) -> None:
    with pytest.raises(OptionError, match="such as 12GB"):
        parse_card(text)


@pytest.mark.usefixtures("offline")
def test_an_unknown_renderer_is_refused() -> None:
    with pytest.raises(UnknownPluginError, match="Did you mean 'flux'"):
        set_up(load_plugins(), "fluxx", GIB, "ldm3d", "sam")


def setup(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str, str]:
    with pytest.raises(SystemExit) as end:
        main(("setup", *arguments))
    said = capsys.readouterr()
    return int(end.value.code or 0), said.out, said.err


@pytest.mark.parametrize(
    ("renderer", "card", "weights"),
    [
        (
            "sdxl",
            "12GB",
            {
                "stabilityai/stable-diffusion-xl-base-1.0": {
                    "unet/diffusion_pytorch_model.fp16.safetensors",
                    "text_encoder/model.fp16.safetensors",
                    "text_encoder_2/model.fp16.safetensors",
                },
                "diffusers/controlnet-depth-sdxl-1.0": {"diffusion_pytorch_model.fp16.safetensors"},
                FIXED_VAE: {"diffusion_pytorch_model.safetensors"},
            },
        ),
        (
            "flux",
            "12GB",
            {
                "black-forest-labs/FLUX.1-Depth-dev": {
                    "text_encoder/model.safetensors",
                    "vae/diffusion_pytorch_model.safetensors",
                },
                "SporkySporkness/FLUX.1-Depth-dev-GGUF": {"flux1-depth-dev-fp16-Q5_0-GGUF.gguf"},
                "city96/t5-v1_1-xxl-encoder-gguf": {"t5-v1_1-xxl-encoder-Q5_K_M.gguf"},
            },
        ),
    ],
)
def test_exactly_what_is_read_is_fetched_and_then_the_doctor_finds_all_of_it(
    hub: Any,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    renderer: str,
    card: str,
    weights: dict[str, set[str]],
) -> None:
    monkeypatch.chdir(tmp_path)
    code, planned, _ = setup(capsys, "--renderer", renderer, "--card", card)
    assert (code, hub.fetched) == (0, [])
    for repository in weights:
        assert f"{repository}: " in planned
    assert "licence: " in planned
    assert "In all: " in planned
    code, out, err = setup(capsys, "--renderer", renderer, "--card", card, "--do")
    assert code == 0, err
    assert f"All is there. A picture: threedis render LAYOUT --config {renderer}.yaml" in out
    first_stage = {
        "Intel/ldm3d-4c": {
            "vae/diffusion_pytorch_model.safetensors",
            "text_encoder/model.safetensors",
        },
        "sanaka87/3DIS": {"unet_0901.ckpt", "layout_adapter.ckpt"},
        "facebook/sam-vit-base": {"model.safetensors"},
    }
    assert hub.weighty() == weights | first_stage
    config = RunConfig.load(tmp_path / f"{renderer}.yaml")
    assert config.depth_model is not None
    assert (config.depth_model.name, config.region_refiner.name) == ("ldm3d", "sam")
    fetched = len(hub.fetched)
    code, out, _ = setup(capsys, "--renderer", renderer, "--card", card, "--do")
    assert (code, len(hub.fetched)) == (0, fetched)  # nothing is fetched twice
    assert "Nothing has to be fetched." in out


@pytest.mark.usefixtures("offline")
def test_a_renderer_that_comes_with_a_depth_model_is_set_up_with_it_and_fetches_nothing(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    code, out, err = setup(capsys, "--renderer", "pocket-sd15", "--card", "8GB", "--do")
    assert code == 0, err
    assert "Nothing has to be fetched." in out
    config = RunConfig.load(tmp_path / "pocket-sd15.yaml")
    assert config.depth_model is not None
    assert (config.depth_model.name, config.region_refiner.name) == ("pocket-depth", "boxes")
    asked = set_up(load_plugins(), "pocket-sd15", GIB, "ldm3d", "sam").config
    assert asked.depth_model is not None
    assert (asked.depth_model.name, asked.region_refiner.name) == ("ldm3d", "sam")


def test_what_the_hub_does_not_give_ends_it_and_what_is_there_stays(
    hub: Any, capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    del hub.files["diffusers/controlnet-depth-sdxl-1.0"]
    code, _, err = setup(capsys, "--renderer", "sdxl", "--card", "8GB", "--do")
    assert code == 1
    assert "diffusers/controlnet-depth-sdxl-1.0" in err
    assert "Traceback" not in err
    before = len(hub.fetched)
    setup(capsys, "--renderer", "sdxl", "--card", "8GB", "--do")
    repositories = {name for name, _ in hub.fetched[before:]}
    assert repositories <= {FIXED_VAE}  # it goes on where it was stopped
