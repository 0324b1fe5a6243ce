"""What a training of the depth stage is asked to do: a YAML file."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, cast

from pydantic import BaseModel, ConfigDict, Field, model_validator

from threedis_core.errors import OptionError
from threedis_core.files.documents import read_document
from threedis_core.files.plain_yaml import PlainYamlError, parse_yaml
from threedis_core.plugin.options import validate_options
from threedis_core.run.config import Choice
from threedis_diffusers.weight_files import PICKLES, SAFETENSORS
from threedis_ldm3d.options import PUBLISHED
from threedis_ldm3d.training.examples import DataSource
from threedis_train.engine import Settings

MODEL_OPTIONS = ("model", "unet", "adapter")


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", protected_namespaces=())


class ValidationConfig(_Part):
    """How a training shows what it has learnt.

    Args:
        every: Steps between validations; null: only at the end.
        examples: The last so many examples are never trained on: their loss is measured, and
            their layouts are drawn.
        pictures: How many of them are drawn.
        steps: Denoising steps of each depth map.
        guidance: Their classifier-free guidance scale.
        seed: Their seed.
    """

    every: int | None = Field(1000, ge=1)
    examples: int = Field(64, ge=0)
    pictures: int = Field(8, ge=0, le=64)
    steps: int = Field(30, ge=1, le=1000)
    guidance: float = Field(6.5, ge=0, allow_inf_nan=False)
    seed: int = Field(0, ge=0)


class TrainingConfig(_Part):
    """Everything a training of the depth stage can be told; the defaults are the adapter's.

    Paths are relative to the file.

    Args:
        train: ``adapter``: the layout adapter, the U-Net stays as it is. ``unet``: the U-Net
            becomes a text-to-depth one, the stage before.
        model: Folder or hub id of a pipeline whose VAE makes pictures of 4 channels (red, green,
            blue, depth) or 1 (depth).
        unet: Weights for its U-Net: a file, a folder or a hub id; null: its own, which is where
            training the U-Net starts unless this says otherwise.
        adapter: Layout adapter to start from; null: a new one.
        box_width: Width of a new adapter's box encoder.
        data: Where the examples are.
        depth_estimator: What makes the depth of pictures without a depth map, with its options.
        size: Side of the training pictures in pixels, a multiple of 8; pictures are stretched to a
            square.
        most_bad: Greatest share of examples that may be unusable.
        steps: Optimiser steps.
        batch_size: Examples of each process in each forward pass.
        accumulation: Forward passes of each step.
        learning_rate: Greatest learning rate.
        warmup: Steps over which it grows from 0.
        schedule: What it does after that.
        weight_decay: AdamW's.
        max_grad_norm: Greatest norm of the gradient.
        ema: Decay of the averaged weights, which are the result.
        precision: bf16 and fp16 compute in 16 bits and keep weights in 32.
        timesteps: First and last timestep that noise is drawn for; null: 500 to 999 for the
            adapter, which works while the layout is made, and all of them for the U-Net.
        pyramid_noise: Strength of the multi-resolution noise; 0: plain noise.
        most_instances: Phases: the adapter is told of at most so many instances an example.
        caption_dropout: Share of examples whose caption is left out.
        fusion: The adapter is trained with the regional fusion in the other layers, as it is used.
        repeat_prompt: Nouns are repeated as in the published scripts.
        checkpoint_every: Steps between checkpoints; the newest is kept.
        log_every: Steps that a point of the loss curve is the mean of.
        validation: How the training shows what it has learnt.
        seed: Seed of weights, batches and noise.
        cache: Folder of labels and latents; null: ``cache`` in ``out``.
        out: Folder of the training; one that it holds goes on.
    """

    train: Literal["adapter", "unet"] = "adapter"
    model: str = Field("Intel/ldm3d-4c", min_length=1)
    unet: str | None = Field(PUBLISHED, min_length=1)
    adapter: str | None = Field(None, min_length=1)
    box_width: int = Field(512, ge=8)
    data: DataSource
    depth_estimator: Choice | None = Choice(name="depth-anything")
    size: int = Field(512, ge=32, le=4096, multiple_of=8)
    most_bad: float = Field(0.05, ge=0, le=1)
    steps: int = Field(50_000, ge=1)
    batch_size: int = Field(4, ge=1)
    accumulation: int = Field(8, ge=1)
    learning_rate: float = Field(1e-4, gt=0, allow_inf_nan=False)
    warmup: int = Field(2000, ge=0)
    schedule: Literal["constant", "cosine"] = "constant"
    weight_decay: float = Field(0.01, ge=0, allow_inf_nan=False)
    max_grad_norm: float = Field(1.0, gt=0, allow_inf_nan=False)
    ema: float = Field(0.9999, ge=0, lt=1)
    precision: Literal["no", "fp16", "bf16"] = "no"
    timesteps: tuple[int, int] | None = None
    pyramid_noise: float = Field(0.3, ge=0, lt=1)
    most_instances: int = Field(7, ge=1, le=29)
    caption_dropout: float = Field(0.1, ge=0, le=1)
    fusion: bool = True
    repeat_prompt: bool = False
    checkpoint_every: int = Field(1000, ge=1)
    log_every: int = Field(10, ge=1)
    validation: ValidationConfig = ValidationConfig()
    seed: int = Field(0, ge=0, le=2**31 - 1)
    cache: Path | None = None
    out: Path

    @model_validator(mode="before")
    @classmethod
    def _unet_starts_from_the_model(cls, value: Any) -> Any:
        """The published text-to-depth U-Net is what training it arrives at, not its start."""
        if isinstance(value, Mapping) and value.get("train") == "unet":
            return {"unet": None, **value}
        return value

    @model_validator(mode="after")
    def _timesteps_in_order(self) -> TrainingConfig:
        first, last = self.noise_range
        if not 0 <= first <= last <= 999:
            raise ValueError(
                f"timesteps are {[first, last]}; expected two whole numbers from 0 to 999, the "
                "smaller first"
            )
        if self.train == "unet" and self.adapter is not None:
            raise ValueError("adapter names a layout adapter, but train is unet; leave it out")
        return self

    @property
    def noise_range(self) -> tuple[int, int]:
        """First and last timestep that noise is drawn for."""
        usual = (500, 999) if self.train == "adapter" else (0, 999)
        return usual if self.timesteps is None else self.timesteps

    @property
    def cache_folder(self) -> Path:
        """Where labels and latents are kept."""
        return self.out / "cache" if self.cache is None else self.cache

    def settings(self) -> Settings:
        """What the training loop is told."""
        return Settings(
            steps=self.steps,
            batch=self.batch_size,
            lr=self.learning_rate,
            seed=self.seed,
            warmup=self.warmup,
            schedule=self.schedule,
            ema=self.ema,
            clip=self.max_grad_norm,
            weight_decay=self.weight_decay,
            accumulation=self.accumulation,
            precision=self.precision,
            save_every=self.checkpoint_every,
            watch_every=self.validation.every,
            log_every=self.log_every,
        )

    @classmethod
    def load(cls, path: str | Path, changes: tuple[str, ...] = ()) -> TrainingConfig:
        """Read a YAML or JSON file.

        Args:
            path: The file.
            changes: "field=value" or "part.field=value", which replace what the file says; values
                are YAML. Paths among them are relative to the file as well.
        Raises:
            OptionError: The file cannot be read, or a field is unknown or wrong.
        """
        path = Path(path)
        document: Any = read_document(path, OptionError)
        if not isinstance(document, Mapping):
            raise OptionError(f"{path}: expected a mapping of training settings")
        document = dict(cast("Mapping[str, Any]", document))
        for change in changes:
            _change(document, change)
        config = validate_options(cls, document, f"config {path}")
        return config.model_copy(update=_resolved(config, path.parent))


def _change(document: dict[str, Any], change: str) -> None:
    """Put "part.field=value" into ``document``."""
    key, equals, text = change.partition("=")
    *parts, field = key.strip().split(".")
    if not equals or not field:
        raise OptionError(f"--set {change!r} is not valid; expected field=value")
    try:
        value: Any = parse_yaml(text) if text.strip() else ""
    except PlainYamlError as error:
        raise OptionError(f"--set {key}: {error}") from None
    for part in parts:
        inner = document.get(part)
        document[part] = dict(inner) if isinstance(inner, Mapping) else {}
        document = document[part]
    document[field] = value


def _resolved(config: TrainingConfig, folder: Path) -> dict[str, Any]:
    """The fields that hold paths, relative to ``folder``."""
    data = config.data
    files = {name: value for name, value in data if isinstance(value, Path)}
    changed: dict[str, Any] = {
        "out": folder / config.out,
        "cache": None if config.cache is None else folder / config.cache,
        "data": data.model_copy(update={name: folder / file for name, file in files.items()}),
    }
    for name in MODEL_OPTIONS:
        changed[name] = _beside(getattr(config, name), folder)
    estimator = config.depth_estimator
    if estimator is not None and isinstance(estimator.options.get("model"), str):
        options = {**estimator.options, "model": _beside(estimator.options["model"], folder)}
        changed["depth_estimator"] = estimator.model_copy(update={"options": options})
    return changed


def _beside(name: str | None, folder: Path) -> str | None:
    """A path relative to ``folder``; what is neither there nor the name of a file is a hub id."""
    if name is None:
        return None
    local = folder / Path(name).expanduser()
    is_file = local.suffix in (SAFETENSORS, *PICKLES)
    return str(local) if is_file or local.exists() else name
