"""Code that lies in data: pickles under every name, modules that a model's configuration names.

Unpickling or importing what is planted makes a file; the judge looks for it.
"""

from __future__ import annotations

import gzip
import io
import json
import os
import pickle
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Callable
from dataclasses import replace
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from random import Random
from typing import Any

from cases import ANY, DONE, REFUSED_OR_FAILED, Case, Family

from families.materials import damaged, depth_png, scene

MODELS = {
    "sd15": ("pocket-sd15", "unet", "vae", "text_encoder", "controlnet"),
    "sd21": ("pocket-sd21", "unet", "text_encoder", "controlnet"),
    "sdxl": ("pocket-sdxl", "unet", "text_encoder", "text_encoder_2", "controlnet"),
    "flux": ("pocket-flux", "transformer", "vae", "text_encoder", "text_encoder_2"),
    "ldm3d": ("pocket-depth", "unet", "vae", "text_encoder"),
}
"""Backends, the shipped model of each, and its parts that have weights."""
SHARED = ("vae/diffusion_pytorch_model.safetensors", "text_encoder/model.safetensors")
"""What pocket-sd15 lends those that lack it."""
CODE = "import os; open(os.path.join(os.environ['TMPDIR'], '..', 'executed'), 'w').close()"
PLANTED = f"{CODE}\nclass Planted:\n    pass\n"
ENDINGS = (
    ".bin",
    ".ckpt",
    ".pt",
    ".pth",
    ".pkl",
    ".safetensors",
    ".msgpack",
    ".h5",
    ".npy",
    ".joblib",
    ".index.json",
)
STEMS = (
    "diffusion_pytorch_model",
    "pytorch_model",
    "model",
    "diffusion_pytorch_model.fp16",
    "tf_model",
    "flax_model",
)
FORMATS = (
    "pickle",
    "old pickle",
    "torch",
    "old torch",
    "nested",
    "gzip",
    "zip of a pickle",
    "global",
)
CHECKPOINT_NAMES = (
    "optimizer.bin", "scheduler.bin", "pytorch_model.bin", "scaler.pt", "sampler.bin",
    "custom_checkpoint_0.pkl",
    "random_states_0.pkl", "diffusion_pytorch_model.bin", "model.ckpt", "shard-00000.pt",
    "rows.npy", "cache.pkl",
    "state.json", "training_args.bin", "__init__.py", "conftest.py", "sitecustomize.py",
    "torch.py", "numpy.py",
)  # fmt: skip


class Payload:
    """Unpickling it runs the planted code."""

    def __reduce__(self) -> tuple[Any, ...]:
        return exec, (CODE,)


class Nested:
    """Unpickling it lets torch unpickle what is inside."""

    def __reduce__(self) -> tuple[Any, ...]:
        import torch

        return torch.storage._load_from_bytes, (planted("torch"),)


@cache
def planted(kind: str) -> bytes:
    """A file that runs code when it is read without care."""
    import torch

    if kind == "pickle":
        return pickle.dumps(Payload())
    if kind == "old pickle":
        return pickle.dumps(Payload(), protocol=0)
    if kind == "gzip":
        return gzip.compress(pickle.dumps(Payload()))
    if kind == "global":
        return b"cos\nsystem\n(S'touch $TMPDIR/../executed'\ntR."
    file = io.BytesIO()
    if kind == "zip of a pickle":
        with zipfile.ZipFile(file, "w") as archive:
            archive.writestr("archive/data.pkl", pickle.dumps(Payload()))
            archive.writestr("archive/version", "3\n")
        return file.getvalue()
    content = Nested() if kind == "nested" else Payload()
    table = {"state_dict": {"weight": content}}
    torch.save(table, file, _use_new_zipfile_serialization=kind != "old torch")
    return file.getvalue()


@cache
def _weights() -> Path:
    spec = find_spec("threedis_pocket")
    assert spec is not None
    assert spec.origin is not None
    return Path(spec.origin).parent / "weights"


def _copy_model(name: str, target: Path) -> None:
    """A copy of a shipped model; its files are links, to be replaced one by one."""
    for folder, _, files in os.walk(_weights() / name):
        inside = target / Path(folder).relative_to(_weights() / name)
        inside.mkdir(parents=True, exist_ok=True)
        for file in files:
            (inside / file).unlink(missing_ok=True)
            (inside / file).symlink_to(Path(folder) / file)
    for shared in SHARED:  # as the presets do
        if not (target / shared).exists() and (target / shared).parent.exists():
            (target / shared).symlink_to(_weights() / "pocket-sd15" / shared)


def _put(file: Path, content: bytes) -> None:
    file.unlink(missing_ok=True)
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(content)


def _change(file: Path, **changes: Any) -> None:
    document = json.loads(file.read_text())
    _put(file, json.dumps(document | changes).encode())


def _run(backend: str, *settings: str) -> tuple[str, ...]:
    """Arguments that use ``backend``, whatever it is."""
    given = tuple(part for text in settings for part in ("--set", text))
    steps = ("--set", "steps=1")
    if backend in ("sam",):
        depth = ("--depth", "depth.png", "--renderer", "fake", "--region-refiner", backend)
        named = tuple(f"sam.{part}" if "=" in part else part for part in given)
        return ("render", "scene.json", *depth, *named, "--out", "run")
    if backend in ("dpt", "depth-anything"):
        return ("depth", "estimate", "depth.png", "--model", backend, *given, "--out", "run.png")
    if backend == "ldm3d":
        own = ("--set", "adapter=null", "--set", "unet=null", *steps)
        size = ("--width", "64", "--height", "64", "--no-depth-cache")
        return (
            "depth",
            "generate",
            "scene.json",
            "--model",
            "ldm3d",
            *own,
            *given,
            *size,
            "--out",
            "run.png",
        )
    size = ("--width", "64", "--height", "64")
    depth = ("--depth", "depth.png", "--renderer", backend, *size)
    return ("render", "scene.json", *depth, *steps, *given, "--out", "run")


def _case(
    name: str,
    arguments: tuple[str, ...],
    prepare: Callable[[Path], None],
    codes: frozenset[int] = ANY,
    heavy: bool = False,
) -> Case:
    def both(work: Path) -> None:
        scene(work)
        prepare(work)

    return Case(
        name, arguments, codes, both, ("run",), plugins=True, loads_models=True, limit_s=60,
        chatty=True,
        keeps_part=True, heavy=heavy,
    )  # fmt: skip


def _replaced_weights(random: Random) -> Case:
    """One part's weights replaced by something else, under any name."""
    backend = random.choice(list(MODELS))
    model, *parts = MODELS[backend]
    part, kind = random.choice(parts), random.choice(FORMATS)
    stem, ending = random.choice(STEMS), random.choice(ENDINGS)
    alone = random.random() < 0.7

    def prepare(work: Path) -> None:
        _copy_model(model, work / "model")
        if alone:
            for file in (work / "model" / part).glob("*.safetensors"):
                file.unlink()
        _put(work / "model" / part / f"{stem}{ending}", planted(kind))

    name = f"{backend}: {part}/{stem}{ending} is a {kind}{'' if alone else ', beside the weights'}"
    codes = REFUSED_OR_FAILED if alone else ANY
    return _case(name, _run(backend, "model=model"), prepare, codes, heavy=not alone)


def _planted_modules(random: Random) -> Case:
    """A configuration that names a module beside it."""
    backend = random.choice(list(MODELS))
    model, *parts = MODELS[backend]
    part = random.choice(parts)
    ways: dict[str, tuple[str, dict[str, Any]]] = {
        "a part's class": ("model_index.json", {part: ["planted", "Planted"]}),
        "a class of a path": ("model_index.json", {part: ["../planted", "Planted"]}),
        "another part": ("model_index.json", {"planted": ["planted", "Planted"]}),
        "the pipeline's class": ("model_index.json", {"_class_name": ["planted", "Planted"]}),
        "the pipeline's name": ("model_index.json", {"_class_name": "Planted"}),
        "a custom pipeline": ("model_index.json", {"custom_pipeline": "planted"}),
        "auto_map": (f"{part}/config.json", {"auto_map": {"AutoModel": "planted.Planted"}}),
        "a config's class": (f"{part}/config.json", {"_class_name": "planted.Planted"}),
        "quantization": (f"{part}/config.json",
        {"quantization_config": {"quant_method": "planted"}}),
        "architectures": (f"{part}/config.json", {"architectures": ["planted.Planted"]}),
        "a tokenizer's auto_map": (
            "tokenizer/tokenizer_config.json",
            {"auto_map": {"AutoTokenizer": ["planted.Planted", None]}},
        ),
        "a tokenizer's class": ("tokenizer/tokenizer_config.json",
        {"tokenizer_class": "planted.Planted"}),
        "a chat template": ("tokenizer/tokenizer_config.json",
        {"chat_template": "{{ ''.__class__ }}"}),
        "the scheduler's class": ("scheduler/scheduler_config.json",
        {"_class_name": "planted.Planted"}),
        "the scheduler's part": ("model_index.json", {"scheduler": ["planted", "Planted"]}),
        "the tokenizer's part": ("model_index.json", {"tokenizer": ["planted", "Planted"]}),
    }  # fmt: skip
    way = random.choice(list(ways))
    file, changes = ways[way]

    def prepare(work: Path) -> None:
        _copy_model(model, work / "model")
        for folder in ("", part, "tokenizer", "scheduler"):
            for name in ("planted.py", "pipeline.py", "modeling_planted.py", "__init__.py"):
                _put(work / "model" / folder / name, PLANTED.encode())
        _put(work / "planted.py", PLANTED.encode())
        _change(work / "model" / file, **changes)

    harmless = (
        "another part",
        "a chat template",
        "a tokenizer's class",
        "architectures",
        "quantization",
    )
    return _case(
        f"{backend}: {way} of {part}", _run(backend, "model=model"), prepare, heavy=way in harmless
    )  # fmt: skip


def _indexes(random: Random) -> Case:
    """An index of shards that names a pickle, or a file elsewhere."""
    backend = random.choice(list(MODELS))
    model, *parts = MODELS[backend]
    part = random.choice(parts)
    target = random.choice(
        ("evil.bin", "../../evil.bin", "../../evil.safetensors", "/etc/passwd", "{work}/evil.bin",
        "evil.safetensors",
         "", ".",
         "\x1b[31m.safetensors", "a\0b", "fifo", "/dev/zero", "~nosuchuser/x",
         "https://example.com/x")
    )  # fmt: skip
    odd = random.choice(
        (None, None, None, [], {"weight_map": 5}, {"weight_map": {"a": 5}}, {"weight_map": {}})
    )

    def prepare(work: Path) -> None:
        _copy_model(model, work / "model")
        folder = work / "model" / part
        weights = next(folder.glob("*.safetensors"))
        stem = weights.stem
        weights.unlink()
        os.mkfifo(folder / "fifo")
        for place in (
            work / "evil.bin",
            work / "evil.safetensors",
            folder / "evil.bin",
            folder / "evil.safetensors",
        ):
            _put(place, planted("torch"))
        named = target.replace("{work}", str(work))
        index: Any = {"metadata": {"total_size": 1}, "weight_map": {"conv_in.weight": named}}
        _put(
            folder / f"{stem}.safetensors.index.json",
            json.dumps(odd if odd is not None else index).encode(),
        )

    shown = f"{target!r}" if odd is None else repr(odd)
    return _case(
        f"{backend}: the index of {part} names {shown}", _run(backend, "model=model"), prepare,
        REFUSED_OR_FAILED
    )  # fmt: skip


def _single_files(random: Random) -> Case:
    """Options that name a file of weights."""
    backend, option = random.choice(
        (("ldm3d", "adapter"), ("ldm3d", "unet"), ("ldm3d", "loras"), ("sd15", "model"), ("sd15",
        "vae"),
         ("sd15", "controlnet"), ("sd15", "loras"), ("sdxl", "loras"), ("flux", "loras"),
         ("flux", "depth_lora"),
         ("flux", "model"), ("sdxl", "model"), ("sd21", "controlnet"))
    )  # fmt: skip
    kind, ending = random.choice(FORMATS), random.choice(ENDINGS)
    in_folder = random.random() < 0.3
    path = f"evil/pytorch_lora_weights{ending}" if in_folder else f"evil{ending}"
    named = "evil" if in_folder else path
    value = json.dumps([{"path": named}]) if option == "loras" else named
    settings = (f"{option}={value}",) if option == "model" else ("model=model", f"{option}={value}")

    def prepare(work: Path) -> None:
        _copy_model(MODELS[backend][0], work / "model")
        _put(work / path, planted(kind))

    name = f"{backend}: {option} is {path}, a {kind}"
    return _case(name, _run(backend, *settings), prepare, REFUSED_OR_FAILED)


def _converted(random: Random) -> Case:
    kind, ending = random.choice(FORMATS), random.choice(ENDINGS)
    bad = random.random() < 0.4

    def prepare(work: Path) -> None:
        data = planted(kind)
        if bad:
            real = (_weights() / "pocket-depth" / "layout_adapter.safetensors").read_bytes()
            data = damaged(real[:3000], random)
        _put(work / f"evil{ending}", data)

    arguments = ("convert", "layout-adapter", f"evil{ending}", "run.safetensors")
    what = "a damaged adapter" if bad else f"a {kind}"
    return _case(f"convert evil{ending}, {what}", arguments, prepare, REFUSED_OR_FAILED)


def _transformers_models(random: Random) -> Case:
    """A depth estimator or segmenter whose folder holds more than weights."""
    backend, kind = random.choice(
        (("dpt", "dpt"), ("depth-anything", "depth_anything"), ("sam", "sam"))
    )
    weights, form = (
        random.choice(
            (
                "pytorch_model.bin",
                "model.safetensors",
                "tf_model.h5",
                "model.safetensors.index.json",
                "pytorch_model.bin.index.json",
                "flax_model.msgpack",
            )
        ),
        random.choice(FORMATS),
    )
    auto = {
        "AutoModel": "planted.Planted",
        "AutoConfig": "planted.Planted",
        "AutoImageProcessor": "planted.Planted",
        "AutoModelForDepthEstimation": "planted.Planted",
    }
    extra = random.choice(
        ({}, {"auto_map": auto}, {"model_type": "planted"}, {"model_type": None},
        {"backbone": "planted"},
         {"backbone": "../planted", "use_timm_backbone": True},
         {"architectures": ["planted.Planted"]},
         {"quantization_config": {"quant_method": "planted"}}, {"torch_dtype": "planted"},
         {"hidden_size": 10**9})
    )  # fmt: skip

    def prepare(work: Path) -> None:
        folder = work / "model"
        _put(folder / "config.json", json.dumps({"model_type": kind} | extra).encode())
        processor = {"image_processor_type": "DPTImageProcessor", "auto_map": auto}
        _put(folder / "preprocessor_config.json", json.dumps(processor).encode())
        _put(folder / "processor_config.json", json.dumps({"auto_map": auto}).encode())
        _put(folder / weights, planted(form))
        for name in ("planted.py", "__init__.py"):
            _put(folder / name, PLANTED.encode())
        _put(work / "planted.py", PLANTED.encode())

    name = f"{backend}: {weights} is a {form}, config {extra}"
    return _case(name, _run(backend, "model=model"), prepare, REFUSED_OR_FAILED)


def _doctored(random: Random) -> Case:
    """Looking at a model reads nothing that could run."""
    case = random.choice((_replaced_weights, _planted_modules, _indexes))(random)
    backend = case.name.partition(":")[0]
    if backend == "ldm3d":
        return case
    arguments = ("doctor", "--renderer", backend, "--set", f"{backend}.model=model")
    return replace(case, name=f"doctor of {case.name}", arguments=arguments, codes=ANY, heavy=False)


@cache
def _trained(folder: Path) -> Path:
    """A training of one step, made once, which the cases copy."""
    work = folder / f"trained-{os.getpid()}"
    scenes = work / "scenes"
    scenes.mkdir(parents=True, exist_ok=True)
    _copy_model("pocket-depth", work / "model")
    box = {"prompt": "a cube", "box": [0.1, 0.1, 0.6, 0.6]}
    layout = {"prompt": "a cube", "instances": [box]}
    lines = [
        {"name": str(n), "image": f"{n}.png", "depth": f"{n}-depth.png", "layout": layout}
        for n in range(2)
    ]
    for line in lines:
        for field in ("image", "depth"):
            (scenes / str(line[field])).write_bytes(depth_png())
    (scenes / "examples.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    settings = {
        "model": "model", "unet": None, "data": {"format": "folder", "path": "scenes"},
        "depth_estimator": None,
        "cache": "cache", "size": 64, "steps": 1, "batch_size": 1, "accumulation": 1,
        "box_width": 16,
        "checkpoint_every": 1, "validation": {"examples": 0, "pictures": 0}, "out": "trained",
        "warmup": 0,
    }  # fmt: skip
    (work / "config.json").write_text(json.dumps(settings))
    command = [sys.executable, "-m", "threedis_core.cli", "train", "layout-depth", "config.json"]
    environment = {
        **os.environ,
        "OMP_NUM_THREADS": "1",
        "PYTHONPATH": os.pathsep.join(filter(None, sys.path)),
    }
    finished = subprocess.run(
        command, cwd=work, env=environment, capture_output=True, text=True, check=False
    )
    if finished.returncode != 0:
        raise RuntimeError(f"nothing could be trained: {finished.stderr[-2000:]}")
    return work


def _resumed(random: Random) -> Case:
    """A training that goes on in a folder in which something was planted."""
    kind = random.choice(FORMATS)
    everywhere = random.random() < 0.4
    pick = random.random()

    def prepare(work: Path) -> None:
        shutil.copytree(_trained(work.parents[1]), work, dirs_exist_ok=True, symlinks=True)
        files = sorted(
            file
            for top in ("trained", "cache")
            for file in (work / top).rglob("*")
            if file.is_file()
        )
        if everywhere:
            for folder in sorted({file.parent for file in files} | {work, work / "model"}):
                for name in CHECKPOINT_NAMES:
                    if not (folder / name).exists():
                        _put(
                            folder / name,
                            PLANTED.encode() if name.endswith(".py") else planted(kind),
                        )
            return
        file = files[int(pick * len(files))]
        _put(
            file,
            planted(kind) if random.random() < 0.7 else damaged(file.read_bytes() or b"0", random),
        )

    name = (
        f"train: planted {'everywhere' if everywhere else f'in place of file {pick:.2f}'}, a {kind}"
    )
    arguments = ("train", "layout-depth", "config.json", "--set", "steps=2")
    case = _case(name, arguments, prepare, ANY, heavy=True)
    return replace(case, outputs=("trained", "cache"))


def _sound_model(random: Random) -> Case:
    """The same commands with nothing planted, which must work: else the others prove nothing."""
    backend = random.choice(list(MODELS))
    case = _case(
        f"{backend}: nothing planted", _run(backend, "model=model"),
        lambda work: _copy_model(MODELS[backend][0], work / "model"), DONE,
    )  # fmt: skip
    return replace(case, heavy=backend != "ldm3d")


RECIPES = (
    _replaced_weights, _planted_modules, _indexes, _single_files, _single_files, _converted,
    _transformers_models,
    _doctored, _resumed, _sound_model,
)  # fmt: skip
LIBRARIES = ("torch", "diffusers", "transformers")
FAMILY = Family("security", RECIPES, share=1.4, in_tests=15, libraries=LIBRARIES)
