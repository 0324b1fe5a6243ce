"""A model is data: no code in its files runs, and no torch pickle of a pipeline is read.

Each test plants something that would write a file, and looks for that file.
"""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from threedis_core.errors import ThreeDISError, WeightsError
from threedis_core.plugin.discovery import load_plugins
from threedis_core.plugin.interfaces import DepthModel, RenderBackend
from threedis_core.testing.samples import sample_request
from threedis_diffusers.lazy_model import LazyModel
from threedis_pocket import WEIGHTS

FAMILIES = {"sd15": "unet", "sdxl": "unet", "flux": "transformer", "depth": "unet"}
"""Pocket models, and the part of each that a test breaks."""
VISION = {"sam": "sam", "sam2": "sam2", "depth-anything": "depth_anything", "dpt": "dpt"}
"""Backends that load a model of transformers, and what its configuration calls it."""


class Pickled:
    """Unpickled, it writes a file."""

    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[str, str]]:
        return open, (str(self.marker), "w")


@pytest.fixture
def marker(tmp_path: Path) -> Iterator[Path]:
    """The file that nothing may write."""
    file = tmp_path / "code-has-run"
    yield file
    assert not file.exists(), "planted code has run"


@pytest.fixture(autouse=True)
def _offline(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """No network, an empty cache, and torch told to trust every pickle it is not told of."""
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD", "1")


def pickle_to(file: Path, marker: Path) -> None:
    torch.save({"weight": Pickled(marker)}, file)


def module_to(file: Path, marker: Path, *classes: str) -> None:
    lines = [f"open({str(marker)!r}, 'w')", *(f"class {name}: pass" for name in classes)]
    file.write_text("\n".join(lines))


def change(file: Path, **values: Any) -> None:
    known = json.loads(file.read_text("utf-8")) if file.exists() else {}
    file.write_text(json.dumps({**known, **values}), "utf-8")


@pytest.fixture(params=FAMILIES)
def family(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.fixture
def model(family: str, tmp_path: Path) -> Path:
    """A copy of the family's pocket model."""
    return shutil.copytree(WEIGHTS / f"pocket-{family}", tmp_path / "model")


def make(family: str, model: Path, **options: Any) -> Any:
    """The family's backend on ``model``."""
    options = {"model": str(model), "device": "cpu", "steps": 1, **options}
    if family != "depth":
        return load_plugins().renderer(f"pocket-{family}", options)
    return load_plugins().depth_model("pocket-depth", {"adapter": str(model), **options})


def work(backend: RenderBackend | DepthModel) -> None:
    if isinstance(backend, DepthModel):
        backend.load()  # type: ignore[attr-defined]  its layouts must have pocket shapes
        return
    side = backend.capabilities.default_size[0]
    assert backend.render([sample_request(1, size=(side, side))])


def refusal(backend: LazyModel[Any]) -> str:
    """What is said before any weights are read."""
    with pytest.raises(WeightsError) as caught:
        backend.check_model()
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_what_lies_beside_the_models_files_is_left_alone(
    family: str, model: Path, marker: Path
) -> None:
    for folder in (model, *(path for path in model.iterdir() if path.is_dir())):
        for name in ("pytorch_model", "diffusion_pytorch_model", "model", "adapter_model"):
            for ending in (".bin", ".ckpt", ".pt"):
                pickle_to(folder / f"{name}{ending}", marker)
        for name in ("pipeline", "modeling", "tokenization", "__init__", "config"):
            module_to(folder / f"{name}.py", marker)
    work(make(family, model))


@pytest.mark.parametrize(
    "name", ["shard.bin", "../shard.safetensors", "{tmp}/shard.safetensors", "..\\a.safetensors"]
)
@pytest.mark.parametrize("index", [".safetensors.index.json", ".safetensors.index.fp16.json"])
@pytest.mark.parametrize("alone", [True, False])
def test_an_index_of_shards_names_only_safetensors_files_beside_it(
    name: str, index: str, alone: bool, family: str, model: Path, marker: Path, tmp_path: Path
) -> None:
    """Whether it is the weights or lies beside them: some loaders follow it all the same."""
    if alone and "fp16" in index:
        pytest.skip("an index that is not looked for, with no weights beside it")
    part = model / FAMILIES[family]
    name = name.format(tmp=tmp_path)
    weights = next(part.glob("*.safetensors"))
    shard = part / name.replace("\\", "/")
    shutil.copy(weights, shard) if shard.suffix == ".safetensors" else pickle_to(shard, marker)
    if alone:
        weights.unlink()
    change(part / f"diffusion_pytorch_model{index}", weight_map={"a": name}, metadata={})
    assert "expected .safetensors files beside it" in refusal(make(family, model))


def test_an_index_of_a_variant_whose_shards_are_not_here_does_no_harm(
    family: str, model: Path
) -> None:
    """Part of a repository is a usual thing to have."""
    index = model / FAMILIES[family] / "diffusion_pytorch_model.safetensors.index.fp16.json"
    change(index, weight_map={"a": "shard.fp16.safetensors"})
    make(family, model).load()


@pytest.mark.parametrize("link", [True, False])
def test_a_pickle_that_calls_itself_safetensors_is_an_error_and_no_code(
    link: bool, family: str, model: Path, marker: Path, tmp_path: Path
) -> None:
    weights = next((model / FAMILIES[family]).glob("*.safetensors"))
    weights.unlink()
    pickle_to(tmp_path / "weights.bin", marker)
    (weights.symlink_to if link else weights.hardlink_to)(tmp_path / "weights.bin")
    with pytest.raises(WeightsError):
        make(family, model).load()


@pytest.mark.parametrize("part", ["tokenizer", "text_encoder", "vae", "scheduler", "FAMILY"])
@pytest.mark.parametrize("where", ["inside", "importable"])
def test_a_class_that_the_model_brings_along_is_refused(
    part: str,
    where: str,
    family: str,
    model: Path,
    marker: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    part = FAMILIES[family] if part == "FAMILY" else part
    folder = model / part if where == "inside" else tmp_path
    module_to(folder / "planted_module.py", marker, "Planted")
    monkeypatch.syspath_prepend(str(tmp_path))
    change(model / "model_index.json", **{part: ["planted_module", "Planted"]})
    said = refusal(make(family, model))
    assert f"says ['planted_module', 'Planted'] for '{part}'" in said
    assert "planted_module" not in sys.modules


@pytest.mark.parametrize("part", ["safety_checker", "anything"])
def test_a_part_that_is_not_used_brings_no_module_along_either(
    part: str, family: str, model: Path, marker: Path, tmp_path: Path, monkeypatch
) -> None:
    module_to(tmp_path / "planted_module.py", marker, "Planted")
    monkeypatch.syspath_prepend(str(tmp_path))
    change(model / "model_index.json", **{part: ["planted_module", "Planted"]})
    assert "expected a class of diffusers or transformers" in refusal(make(family, model))
    assert "planted_module" not in sys.modules


@pytest.mark.parametrize(
    ("part", "entry"),
    [
        ("scheduler", ["diffusers", "DiffusionPipeline"]),
        ("tokenizer", ["transformers", "AutoTokenizer"]),
        ("text_encoder", ["transformers", "AutoModel"]),
        ("vae", ["diffusers", "OnnxRuntimeModel"]),
    ],
)
def test_a_class_that_could_load_anything_is_refused(
    part: str, entry: list[str], family: str, model: Path
) -> None:
    change(model / "model_index.json", **{part: entry})
    assert f"says {entry!r} for '{part}'" in refusal(make(family, model))


def test_a_pipeline_that_the_model_brings_along_is_refused(
    family: str, model: Path, marker: Path
) -> None:
    kind = json.loads((model / "model_index.json").read_text())["_class_name"]
    module_to(model / "pipeline.py", marker, kind)
    change(model / "model_index.json", _class_name=["pipeline", kind])
    assert f"is a ['pipeline', '{kind}']; expected one of" in refusal(make(family, model))


@pytest.mark.parametrize("part", ["vae", "text_encoder", "tokenizer"])
def test_a_module_in_the_place_of_the_library_is_refused(
    part: str, family: str, model: Path, marker: Path
) -> None:
    library = json.loads((model / "model_index.json").read_text())[part][0]
    module_to(model / part / f"{library}.py", marker)
    assert f"has a file {part}/{library}.py" in refusal(make(family, model))


@pytest.mark.parametrize(
    ("file", "values"),
    [
        ("text_encoder/config.json", {"auto_map": {"AutoModel": "planted.Planted"}}),
        ("text_encoder/config.json", {"transformers_weights": "adapter_model.bin"}),
        ("text_encoder/config.json", {"attn_implementation": "owner/kernel"}),
        ("vae/config.json", {"auto_map": {"AutoModel": "planted.Planted"}}),
        ("tokenizer/tokenizer_config.json", {"auto_map": {"AutoTokenizer": ["planted.P", None]}}),
        ("scheduler/scheduler_config.json", {"auto_map": {"AutoModel": "planted.Planted"}}),
    ],
)
def test_a_configuration_that_names_code_or_other_weights_is_refused(
    file: str, values: dict[str, Any], family: str, model: Path, marker: Path
) -> None:
    change(model / file, **values)
    module_to((model / file).with_name("planted.py"), marker, "Planted")
    pickle_to((model / file).with_name("adapter_model.bin"), marker)
    assert f"{file} says {next(iter(values))}" in refusal(make(family, model))


def test_an_adapter_beside_a_text_encoder_is_refused(
    family: str, model: Path, marker: Path
) -> None:
    part = "text_encoder_2" if family == "sdxl" else "text_encoder"  # the other one is lent
    change(model / part / "adapter_config.json", peft_type="LORA")
    pickle_to(model / part / "adapter_model.bin", marker)
    assert f"{part}/adapter_config.json, which names more weights" in refusal(make(family, model))


def test_a_scheduler_of_another_name_is_refused(marker: Path, tmp_path: Path) -> None:
    model = shutil.copytree(WEIGHTS / "pocket-sd15", tmp_path / "model")
    change(model / "scheduler" / "scheduler_config.json", _class_name="StableDiffusionPipeline")
    with pytest.raises(ThreeDISError, match="scheduler 'StableDiffusionPipeline'"):
        make("sd15", model).check()


@pytest.mark.parametrize("family", ["sd15", "sdxl", "flux"])
@pytest.mark.parametrize("form", ["file", "folder", "named", "disguised"])
def test_a_lora_that_is_a_pickle_is_refused(
    form: str, family: str, marker: Path, tmp_path: Path
) -> None:
    pytest.importorskip("peft")
    folder = tmp_path / "lora"
    folder.mkdir()
    name = "style.safetensors" if form == "disguised" else "pytorch_lora_weights.bin"
    pickle_to(folder / name, marker)
    lora: dict[str, str] = {"path": str(folder / name if form in ("file", "disguised") else folder)}
    if form == "named":
        lora["file"] = name
    with pytest.raises(WeightsError, match=r"convert it|cannot be loaded"):
        make(family, WEIGHTS / f"pocket-{family}", loras=[lora]).load()


@pytest.mark.parametrize("ending", [".safetensors", ".ckpt"])
def test_a_single_file_that_is_a_pickle_is_refused(
    ending: str, marker: Path, tmp_path: Path
) -> None:
    pickle_to(tmp_path / f"model{ending}", marker)
    config = str(WEIGHTS / "pocket-sd15")
    said = refusal(make("sd15", tmp_path / f"model{ending}", config=config))
    assert "cannot be loaded" in said or "convert it first" in said


def test_what_describes_a_single_file_gives_no_weights_and_no_code(
    marker: Path, tmp_path: Path
) -> None:
    config = shutil.copytree(WEIGHTS / "pocket-sd15", tmp_path / "config")
    change(config / "model_index.json", text_encoder=["transformers", "BertModel"])
    save_file({"cond_stage_model.transformer.a": torch.zeros(1)}, tmp_path / "model.safetensors")
    pickle_to(config / "text_encoder" / "pytorch_model.bin", marker)
    said = refusal(make("sd15", tmp_path / "model.safetensors", config=str(config)))
    assert "says ['transformers', 'BertModel'] for 'text_encoder'" in said


@pytest.mark.parametrize("option", ["vae", "controlnet"])
def test_a_part_from_elsewhere_is_looked_at_likewise(
    option: str, marker: Path, tmp_path: Path
) -> None:
    part = shutil.copytree(WEIGHTS / "pocket-sd15" / option, tmp_path / option)
    index = part / "diffusion_pytorch_model.safetensors.index.json"
    pickle_to(part / "shard.bin", marker)
    change(index, weight_map={"a": "shard.bin"})
    backend = make("sd15", WEIGHTS / "pocket-sd15", **{option: str(part)})
    assert "expected .safetensors files beside it" in refusal(backend)
    index.unlink()
    change(part / "config.json", auto_map={"AutoModel": "planted.Planted"})
    assert "config.json says auto_map" in refusal(
        make("sd15", WEIGHTS / "pocket-sd15", **{option: str(part)})
    )


@pytest.mark.parametrize("option", ["unet", "adapter"])
@pytest.mark.parametrize("ending", [".ckpt", ".safetensors"])
def test_a_checkpoint_of_the_depth_model_is_read_as_tensors_only(
    option: str, ending: str, marker: Path, tmp_path: Path
) -> None:
    pickle_to(tmp_path / f"weights{ending}", marker)
    given = {option: str(tmp_path / f"weights{ending}")}
    with pytest.raises(WeightsError, match=r"tensors only|damaged"):
        make("depth", WEIGHTS / "pocket-depth", **given).load()


def make_vision(name: str, model: Path) -> Any:
    options = {"model": str(model), "device": "cpu"}
    if name in ("sam", "sam2"):
        return load_plugins().region_refiner(name, options)
    return load_plugins().depth_estimator(name, options)


@pytest.fixture(params=VISION)
def vision(request: pytest.FixtureRequest, tmp_path: Path) -> tuple[str, Path]:
    """A backend's name, and a folder with what it looks for before it loads anything."""
    folder = tmp_path / "model"
    folder.mkdir()
    change(folder / "config.json", model_type=VISION[request.param])
    change(folder / "preprocessor_config.json", size=8)
    save_file({"a": torch.zeros(1)}, folder / "model.safetensors")
    return request.param, folder


@pytest.mark.parametrize(
    ("file", "values", "said"),
    [
        ("config.json", {"auto_map": {"AutoModel": "planted.Planted"}}, "says auto_map"),
        ("config.json", {"backbone_config": {"auto_map": {"A": "planted.P"}}}, "says auto_map"),
        ("config.json", {"transformers_weights": "adapter_model.bin"}, "transformers_weights"),
        ("preprocessor_config.json", {"auto_map": {"A": "planted.Planted"}}, "says auto_map"),
        ("adapter_config.json", {"peft_type": "LORA"}, "which names more weights"),
        ("model.safetensors.index.json", {"weight_map": {"a": "../a.bin"}}, "beside it"),
    ],
)
def test_models_of_transformers_bring_no_code_and_no_pickle_along(
    file: str, values: dict[str, Any], said: str, vision: tuple[str, Path], marker: Path
) -> None:
    name, folder = vision
    change(folder / file, **values)
    module_to(folder / "planted.py", marker, "Planted")
    for pickled in (folder / "adapter_model.bin", folder.parent / "a.bin"):
        pickle_to(pickled, marker)
    assert said in refusal(make_vision(name, folder))


def test_a_pickle_in_place_of_their_weights_is_not_read(
    vision: tuple[str, Path], marker: Path
) -> None:
    name, folder = vision
    (folder / "model.safetensors").unlink()
    pickle_to(folder / "pytorch_model.bin", marker)
    assert "has no file 'model.safetensors'" in refusal(make_vision(name, folder))
    pickle_to(folder / "model.safetensors", marker)
    with pytest.raises(WeightsError):
        make_vision(name, folder).load()


def test_a_model_of_the_hub_is_read_from_the_files_that_were_checked(
    vision: tuple[str, Path], marker: Path, tmp_path: Path
) -> None:
    """What comes into the cache between check and loading is looked at, too."""
    name, folder = vision
    home = tmp_path / "cache" / "models--owner--tiny"
    snapshot = shutil.copytree(folder, home / "snapshots" / "abc")
    (home / "refs").mkdir()
    (home / "refs" / "main").write_text("abc")
    backend = make_vision(name, Path("owner/tiny"))
    backend.check_model()
    change(snapshot / "adapter_config.json", peft_type="LORA")
    pickle_to(snapshot / "adapter_model.bin", marker)
    with pytest.raises(WeightsError, match="which names more weights"):
        backend.load()


@pytest.mark.parametrize("name", ["zoe", "midas", "leres"])
def test_the_pickles_of_a_detector_are_read_as_tensors_only(
    name: str, marker: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Even where its own loader, or the environment, would run what is in them."""
    package = ModuleType("controlnet_aux")

    class Loader:
        @classmethod
        def from_pretrained(cls, folder: str) -> None:
            for file in Path(folder).iterdir():
                torch.load(file, weights_only=False)

    for detector in ("ZoeDetector", "MidasDetector", "LeresDetector"):
        setattr(package, detector, Loader)
    monkeypatch.setitem(sys.modules, "controlnet_aux", package)
    estimator: Any = load_plugins().depth_estimator(name, {"model": str(tmp_path), "device": "cpu"})
    for file in estimator.files:
        pickle_to(tmp_path / file, marker)
    with pytest.raises(WeightsError, match="holds code, which is never run"):
        estimator.load()


def test_the_pocket_models_still_load() -> None:
    """What is planted above is what is refused, not what it is planted in."""
    assert load_file(WEIGHTS / "pocket-sd15" / "unet" / "diffusion_pytorch_model.safetensors")
    for family in FAMILIES:
        make(family, WEIGHTS / f"pocket-{family}").check_model()
