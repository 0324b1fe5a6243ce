"""Options of every registered backend: odd values for every field that its model has.

Which values are wrong is what the backend's own options model says; those must be refused as bad
input. The others must be refused, too, where there is no such model or device on this machine.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib import import_module
from pathlib import Path
from random import Random
from typing import Any

from cases import ANY, DONE_OR_REFUSED, REFUSED, REFUSED_OR_FAILED, Case, Family
from pydantic import ValidationError

from families.materials import depth_png, scene
from threedis_core.plugin.discovery import load_plugins
from threedis_core.plugin.interfaces import BackendOptions
from threedis_core.plugin.registrations import Preset, Registration

COMMON: tuple[Any, ...] = (
    None, True, False, 0, -1, 1, 1.5, 2**31, 2**63, 10**30, 1e308, float("nan"), float("inf"), "",
    " ", "nope",
    "a/b", "a/b/c", "../..", "/", "/etc/passwd", "/dev/zero", "scene.json", "depth.png", "site",
    "~nosuchuser/x",
    "a" * 5000,
    "\x1b[31mred", "a\nb", "ü/画", "http://localhost/x", "a//b", "-x/y", "a/..", [], [1], ["a"], {},
    {"a": 1}, [[[]]], "null", "auto", "1", "None", "fifo", "loop", "empty.safetensors",
    "rubbish.safetensors",
    "rubbish.ckpt", "folder",
)  # fmt: skip
BY_NAME: dict[str, tuple[Any, ...]] = {
    "device": (
        "cuda:99", "cuda", "cuda:0", "cuda:-1", "mps", "xpu", "meta", "CPU", "cpu:1", "cpu:0",
        "gpu", "tpu",
        "cuda:" + "9" * 400, "cuda:٣", "cuda:1\n", "xla",
    ),
    "dtype": ("float64", "fp16", "half", "int8", "bfloat16", "float16", "torch.float16", "float8"),
    "model": ("nope", "nope/nope", "site", "empty", "weights.safetensors", "x.ckpt", "site/",
    "C:\\x", "a b/c"),
    "loras": (
        ["nope"], [{"path": "nope"}], [{"path": "depth.png"}], [{"path": "rubbish.safetensors"}],
        [{"path": ""}],
        [{"path": "folder", "file": "../x.safetensors"}], [{"path": "a/b", "weight": "x"}],
        [{"weight": 1}],
        [{"path": "a/b", "file": "/etc/passwd"}], [{"path": "rubbish.ckpt"}],
        [{"path": "folder"}] * 200,
    ),
    "scheduler": (
        "nope", "DDIMScheduler", "ddim", "SchedulerMixin", "__init__", "os.system",
        "StableDiffusionPipeline",
        "AutoencoderKL", "FlowMatchEulerDiscreteScheduler", "KarrasVeScheduler",
        "VQDiffusionScheduler",
        "logging", "utils", "DDPMWuerstchenScheduler", "LCMScheduler",
    ),
    "attention_backend": (
        "flash", "flash_hub", "sage", "xformers", "cudnn", "efficient", "math", "flex",
        "_native_math", "NATIVE",
    ),
    "offload": ("model", "sequential", "group", "disk", "cpu"),
    "quantization": (
        {"load_in_8bit": True}, {"quant_method": "nope"}, {"quant_method": "bitsandbytes"}, {"": 1},
        {"quant_backend": "bitsandbytes_4bit"}, {"quant_method": "torchao", "quant_type": "int8wo"},
    ),
    "low_pass": ({"scale": 2}, {"divisor": 0}, {"nope": 1}, True, {"scale": "a"}),
    "cache": ({"threshold": 0}, {"threshold": "a"}, {"threshold": -1}, True, {"nope": 1}),
    "tokens_per_prompt": (513, 0, "auto", "all"),
    "config": ("nope", "site", "a/b"),
    "side": (7, 8, 9, 4096, 4097),
}  # fmt: skip
COMMANDS = {
    "renderer": ("render", "scene.json", "--depth", "depth.png", "--out", "run", "--renderer"),
    "depth model": ("depth", "generate", "scene.json", "--out", "run.png", "--model"),
    "depth estimator": ("depth", "estimate", "depth.png", "--out", "run.png", "--model"),
    "region refiner": (
        *("render", "scene.json", "--depth", "depth.png", "--out", "run"),
        *("--renderer", "fake", "--region-refiner"),
    ),
}
WORKS_HERE = ("pocket-", "boxes", "depth-edges")
"""Backends, by the start of their names, whose models are here."""


@dataclass(frozen=True)
class Backend:
    """A registered name, its kind, the model of its options, and those that are already set."""

    name: str
    kind: str
    options: type[BackendOptions]
    preset: Mapping[str, Any]


@cache
def backends() -> tuple[Backend, ...]:
    """All that is installed."""
    registry = load_plugins()
    found = {entry.name: entry for entry in registry.registrations()}
    plain = [_backend(entry.name, entry, {}) for entry in found.values()]
    presets = [_preset(preset, found[preset.backend]) for preset in registry.presets()]
    return tuple(backend for backend in plain + presets if backend.kind in COMMANDS)


def _preset(preset: Preset, entry: Registration) -> Backend:
    return _backend(preset.name, entry, preset.options)


def _backend(name: str, entry: Registration, preset: Mapping[str, Any]) -> Backend:
    module, _, kind = entry.target.partition(":")
    return Backend(name, entry.kind, getattr(import_module(module), kind).Options, preset)


def _files(work: Path) -> None:
    scene(work)
    import os

    os.mkfifo(work / "fifo")
    (work / "loop").symlink_to("loop")
    (work / "empty.safetensors").write_bytes(b"")
    (work / "empty").mkdir()
    (work / "rubbish.safetensors").write_bytes(b"\xff" * 100)
    (work / "rubbish.ckpt").write_bytes(b"\x80\x04K\x05.")
    (work / "folder").mkdir()
    (work / "folder" / "model_index.json").write_text("{}")
    (work / "folder" / "a.safetensors").write_bytes(b"\x08\0\0\0\0\0\0\0{}      ")
    (work / "photo.png").write_bytes(depth_png())


def _setting(field: str, value: Any) -> str:
    text = json.dumps(value)
    return f"{field}={text.replace('NaN', '.nan').replace('Infinity', '.inf')}"


def _codes(backend: Backend, given: Mapping[str, Any]) -> frozenset[int]:
    """How a command with these options may end, by the backend's own options model."""
    try:
        backend.options.model_validate({**backend.preset, **given})
    except ValidationError:
        return REFUSED
    if backend.name in ("boxes", "depth-edges"):
        return DONE_OR_REFUSED
    return ANY if backend.name.startswith(WORKS_HERE) else REFUSED_OR_FAILED


def _case(backend: Backend, given: Mapping[str, Any], action: str) -> Case:
    arguments = (*COMMANDS[backend.kind], backend.name)
    if action == "doctor":
        arguments = ("doctor", "--renderer", backend.name)
    for field, value in given.items():
        name = f"{backend.name}." if backend.kind != "depth estimator" else ""
        arguments += ("--set", name + _setting(field, value))
    shown = ", ".join(f"{field}={value!r:.40}" for field, value in given.items())
    codes = _codes(backend, given)
    return Case(
        f"{action} {backend.name} {shown}", arguments, codes, _files, ("run",),
        plugins=True, loads_models=True, limit_s=60, chatty=action == "doctor",
    )  # fmt: skip


def _given(backend: Backend, random: Random, count: int) -> dict[str, Any]:
    fields = list(backend.options.model_fields)
    given: dict[str, Any] = {}
    for field in random.sample(fields, min(count, len(fields))):
        given[field] = random.choice((*COMMON, *BY_NAME.get(field, ()) * 4))
    return given


def _odd_option(random: Random) -> Case:
    """A backend whose model is not here, which must say so before anything runs."""
    absent = [one for one in backends() if not one.name.startswith(WORKS_HERE)]
    backend = random.choice(absent)
    return _case(backend, _given(backend, random, random.choice((1, 1, 2))), "run")


def _named_option(random: Random) -> Case:
    """One of the options that name files and devices."""
    absent = [one for one in backends() if not one.name.startswith(WORKS_HERE)]
    backend = random.choice(absent)
    fields = [field for field in backend.options.model_fields if field in BY_NAME]
    field = random.choice(fields or list(backend.options.model_fields) or ["nope"])
    return _case(backend, {field: random.choice(BY_NAME.get(field, COMMON))}, "run")


def _doctor(random: Random) -> Case:
    renderers = [one for one in backends() if one.kind == "renderer"]
    backend = random.choice(renderers)
    return _case(backend, _given(backend, random, 1), "doctor")


def _wrong_for_pocket(random: Random) -> Case:
    """A backend whose model is here, with a value that must be refused before it loads."""
    present = [one for one in backends() if one.name.startswith(WORKS_HERE)]
    for _ in range(50):
        backend = random.choice(present)
        given = _given(backend, random, 1)
        if given and _codes(backend, given) == REFUSED:
            return _case(backend, given, "run")
    return _case(present[0], {"nope": 1}, "run")


def _unknown(random: Random) -> Case:
    backend = random.choice(backends())
    name = random.choice(
        ("nope", "Model", "", "\x1b[31m", "a" * 9000, "model_config", "__class__", "画")
    )
    return _case(backend, {name: random.choice(COMMON)}, "run")


RECIPES = (_odd_option, _odd_option, _named_option, _doctor, _wrong_for_pocket, _unknown)
LIBRARIES = ("torch", "diffusers", "transformers")
FAMILY = Family("options", RECIPES, share=8, in_tests=36, libraries=LIBRARIES)
