"""``threedis train layout-depth``: from a config to trained weights."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from accelerate.utils import set_seed
from torch import nn

from threedis_core.errors import DataError, OptionError, RenderError
from threedis_core.files.atomic import check_writable
from threedis_core.plugin.interfaces import DepthEstimator
from threedis_core.plugin.progress import Progress, silent
from threedis_core.plugin.registry import PluginRegistry
from threedis_diffusers.quiet import quiet
from threedis_diffusers.weight_files import save_weights
from threedis_ldm3d.checkpoint import save_adapter
from threedis_ldm3d.checks import find_model
from threedis_ldm3d.layout_adapter import LayoutAdapter
from threedis_ldm3d.loading import LoadedDepthPipeline
from threedis_ldm3d.options import LDM3DOptions
from threedis_ldm3d.training.bad_data import BadDataReport
from threedis_ldm3d.training.config import TrainingConfig
from threedis_ldm3d.training.examples import FoundExamples, read_examples
from threedis_ldm3d.training.latents import cached_latents
from threedis_ldm3d.training.shards import Shards
from threedis_ldm3d.training.task import AdapterTask, DepthTask
from threedis_ldm3d.training.validation import Validation
from threedis_train.engine import check_precision, fit, processes

ADAPTER_FILE = "layout_adapter.safetensors"
UNET_FILE = "unet.safetensors"
BAD_DATA = "bad-data.json"


def train_layout_depth(
    config: TrainingConfig,
    registry: PluginRegistry,
    progress: Progress = silent,
    tell: Callable[[str], None] = lambda text: None,
) -> Path:
    """Train what ``config`` says, or go on with it, and return the file of weights.

    In ``config.out``: the weights, ``log.jsonl``, ``loss.png``, ``tensorboard``, ``validation``
    with a picture for every validation, ``bad-data.json``, the newest checkpoint, and ``cache``.

    Args:
        config: What to train, on what, and how.
        registry: Where the depth estimator is found.
        progress: Told about labels, latents and steps.
        tell: Given a table of the unusable data, if there is any, and every validation's loss.
    Raises:
        InputError: The config, or too much of the data, cannot be used.
        WeightsError: A model is missing, damaged or does not fit.
        RenderError: The loss is not finite, or the device's memory is too small.
    """
    check_precision(config.precision)
    for folder in (config.out, config.cache_folder):
        check_writable(folder, folder=True)
    found = read_examples(config.data)
    _check(BadDataReport(found, ()), config)
    state = processes()
    # Of several processes on CPUs each is told of a "cpu:0".
    kind = state.device.type  # pyright: ignore[reportOptionalMemberAccess]
    device = "cpu" if kind == "cpu" else str(state.device)
    options = _options(config, device)
    estimator = _estimator(config, found, registry)
    loaded = _load(config, options)
    examples = cached_latents(
        found,
        loaded.pipeline.vae,
        size=config.size,
        folder=config.cache_folder,
        estimator=estimator,
        estimator_id=_estimator_id(config),
        device=loaded.device,
        rank=state.process_index,
        world=state.num_processes,
        progress=progress if state.is_main_process else silent,
    )
    if estimator is not None:
        estimator.close()
    state.wait_for_everyone()
    examples.open()
    report = BadDataReport(found, examples.bad)
    _check(report, config)
    if (found.bad or examples.bad) and state.is_main_process:
        tell(report.table())
    try:
        return _train(config, options, loaded, examples, progress, tell)
    except torch.OutOfMemoryError as error:
        raise RenderError(
            "the device's memory is too small; lower batch_size, and raise accumulation by the "
            "same factor: the result is the same"
        ) from error


def _train(
    config: TrainingConfig,
    options: LDM3DOptions,
    loaded: LoadedDepthPipeline,
    examples: Shards,
    progress: Progress,
    tell: Callable[[str], None],
) -> Path:
    kind = AdapterTask if config.train == "adapter" else DepthTask
    numbers, held_out = _split(config, examples)
    task = kind(loaded, options, examples, numbers, config)
    validation = Validation(task, loaded, options, examples, held_out, config)

    def validate(step: int) -> dict[str, float]:
        validation.draw(config.out / "validation" / f"step-{step:06d}.png")
        loss = validation.loss()
        if loss is None:
            return {}
        tell(f"step {step} of {config.steps}: validation loss {loss:.5f}")
        return {"validation_loss": loss}

    if config.warmup >= config.steps:
        tell(
            f"warmup is {config.warmup}, and steps is {config.steps}: the learning rate stays "
            f"below {config.learning_rate}; set warmup to less for a short training"
        )
    identity = _identity(config, loaded, examples)
    with quiet():
        fit(task, config, config.out, progress, validate, identity)
    if processes().is_main_process:
        _save(config, loaded, identity)
    processes().wait_for_everyone()
    return _result(config)


def _split(config: TrainingConfig, examples: Shards) -> tuple[Sequence[int], Sequence[int]]:
    """The examples to train on, and those held out, which are the last ones.

    Raises:
        DataError: None are left to train on.
    """
    boxed = config.train == "adapter"
    usable = [n for n, one in enumerate(examples.examples) if one.layout.instances or not boxed]
    count = len(usable) - config.validation.examples
    if count < 1:
        what = "examples with instances" if boxed else "examples"
        raise DataError(
            f"{len(usable)} {what} can be used, and validation.examples is "
            f"{config.validation.examples}: none is left to train on; lower it, or get more data"
        )
    return usable[:count], usable[count:]


def _check(report: BadDataReport, config: TrainingConfig) -> None:
    """Write the report and see that enough of the data can be used."""
    if processes().is_main_process:
        report.write(config.out / BAD_DATA)
    report.check(config.most_bad, config.out / BAD_DATA)


def _options(config: TrainingConfig, device: str) -> LDM3DOptions:
    """How the model is loaded and used while it is trained: float32, its own scheduler."""
    return LDM3DOptions(
        model=config.model,
        unet=config.unet,
        adapter=config.adapter,
        scheduler=None,
        repeat_prompt=config.repeat_prompt,
        dtype="float32",
        device=device,
    )


def _load(config: TrainingConfig, options: LDM3DOptions) -> LoadedDepthPipeline:
    """The model, with a new adapter if one is trained and none is there to start from."""
    loaded = find_model(options).load()
    if config.train == "unet" or loaded.adapter is not None:
        return loaded
    set_seed(config.seed)
    adapter = LayoutAdapter.for_unet(loaded.pipeline.unet, config.box_width)
    return replace(loaded, adapter=adapter.to(loaded.device))


def _estimator(
    config: TrainingConfig, found: FoundExamples, registry: PluginRegistry
) -> DepthEstimator | None:
    """What makes depth from pictures; None if every example has its depth map."""
    lacking = sum(example.depth is None for example in found.examples)
    if lacking == 0:
        return None
    if config.depth_estimator is None:
        raise OptionError(
            f"{lacking} of {len(found.examples)} examples have no depth map; name a "
            "depth_estimator in the config, such as depth-anything"
        )
    return registry.depth_estimator(config.depth_estimator.name, config.depth_estimator.options)


def _estimator_id(config: TrainingConfig) -> str:
    """What labels depend on beside the pictures, as text."""
    chosen = config.depth_estimator
    return "" if chosen is None else json.dumps(chosen.model_dump(), sort_keys=True)


def _identity(
    config: TrainingConfig, loaded: LoadedDepthPipeline, examples: Shards
) -> dict[str, Any]:
    """What a training must keep to be the same one, beside its settings; no folders."""
    told = "\n".join(json.dumps(one.layout.to_dict()) for one in examples.examples)
    fields = ("train", "size", "pyramid_noise", "most_instances", "caption_dropout")
    kept = config.model_dump(include={*fields, "fusion", "repeat_prompt"})
    models = {name: getattr(config, name) for name in ("model", "unet", "adapter")}
    return {
        **kept,
        **{name: value and Path(value).name for name, value in models.items()},
        **_adapter_facts(config, loaded.adapter),
        "timesteps": list(config.noise_range),
        "held_out": config.validation.examples,
        "examples": hashlib.sha256(told.encode()).hexdigest(),
        "latents": examples.fingerprint,
        "weights": _checksum(loaded.pipeline.unet, loaded.pipeline.text_encoder),
    }


def _adapter_facts(config: TrainingConfig, adapter: LayoutAdapter | None) -> dict[str, Any]:
    """What the adapter is that training starts from; a new one comes from the seed."""
    if adapter is None:
        return {}
    given = {} if config.adapter is None else {"adapter_weights": _checksum(adapter)}
    return {"box_width": adapter.box_width, **given}


def _checksum(*modules: nn.Module) -> str:
    """SHA-256 of the weights that a training starts from."""
    digest = hashlib.sha256()
    for module in modules:
        for name, weight in module.state_dict().items():
            digest.update(name.encode())
            digest.update(weight.cpu().numpy().tobytes())
    return digest.hexdigest()


def _result(config: TrainingConfig) -> Path:
    return config.out / (ADAPTER_FILE if config.train == "adapter" else UNET_FILE)


def _save(config: TrainingConfig, loaded: LoadedDepthPipeline, identity: dict[str, Any]) -> None:
    """Write the trained weights; their header says how they were made."""
    training = {**identity, **config.facts()}
    header = {"training": json.dumps(training, sort_keys=True)}
    if loaded.adapter is not None:
        save_adapter(loaded.adapter, _result(config), header)
    else:
        save_weights(loaded.pipeline.unet.state_dict(), _result(config), header)
