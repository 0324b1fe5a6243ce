"""What a training of the depth stage is asked to do: a YAML file."""

from __future__ import annotations

from collections.abc import Mapping
from os.path import expanduser  # leaves the home of nobody as it is; Path's own raises
from pathlib import Path
from typing import Any, Literal, cast

from pydantic import Field, model_validator

from threedis_core.errors import OptionError
from threedis_core.files.documents import read_document
from threedis_core.files.plain_yaml import PlainYamlError, parse_yaml
from threedis_core.plugin.options import validate_options
from threedis_core.run.config import Choice
from threedis_diffusers.weight_files import PICKLES, SAFETENSORS
from threedis_ldm3d.options import PUBLISHED
from threedis_ldm3d.training.examples import DataSource
from threedis_train.settings import (
    Accumulation,
    BatchSize,
    CheckpointEvery,
    Decay,
    LearningRate,
    LogEvery,
    Schedule,
    Steps,
    TrainingSettings,
    ValidateEvery,
    ValidationSettings,
    Warmup,
)

MODEL_OPTIONS = ("model", "unet", "adapter")


class ValidationConfig(ValidationSettings):
    """How a training shows what it has learnt."""

    every: ValidateEvery = 1000
    examples: int = Field(
        default=64,
        ge=0,
        description="The last so many examples are never trained on: their loss is measured, and "
        "their layouts are drawn.",
    )
    pictures: int = Field(default=8, ge=0, le=64, description="How many of them are drawn.")
    steps: int = Field(default=30, ge=1, le=1000, description="Denoising steps of each depth map.")
    guidance: float = Field(
        default=6.5, ge=0, allow_inf_nan=False, description="Their classifier-free guidance scale."
    )
    seed: int = Field(default=0, ge=0, description="Their seed.")


class TrainingConfig(TrainingSettings):
    """Everything a training of the depth stage can be told; the defaults are the adapter's.

    Paths are relative to the file.
    """

    steps: Steps = 50_000
    batch_size: BatchSize = 4
    accumulation: Accumulation = 8
    learning_rate: LearningRate = 1e-4
    warmup: Warmup = 2000
    schedule: Schedule = "constant"
    ema: Decay = 0.9999
    checkpoint_every: CheckpointEvery = 1000
    log_every: LogEvery = 10
    validation: ValidationConfig = Field(
        default=ValidationConfig(), description="How the training shows what it has learnt."
    )
    train: Literal["adapter", "unet"] = Field(
        default="adapter",
        description="adapter: the layout adapter, the U-Net stays as it is. unet: the U-Net "
        "becomes a text-to-depth one, the stage before.",
    )
    model: str = Field(
        default="Intel/ldm3d-4c",
        min_length=1,
        description="Folder or hub id of a pipeline whose VAE makes pictures of 4 channels (red, "
        "green, blue, depth) or 1 (depth).",
    )
    unet: str | None = Field(
        default=PUBLISHED,
        min_length=1,
        description="Weights for its U-Net: a file, a folder or a hub id; null: its own, which is "
        "where training the U-Net starts unless this says otherwise.",
    )
    adapter: str | None = Field(
        default=None, min_length=1, description="Layout adapter to start from; null: a new one."
    )
    box_width: int = Field(default=512, ge=8, description="Width of a new adapter's box encoder.")
    data: DataSource = Field(description="Where the examples are.")
    depth_estimator: Choice | None = Field(
        default=Choice(name="depth-anything"),
        description="What makes the depth of pictures without a depth map, with its options.",
    )
    size: int = Field(
        default=512,
        ge=32,
        le=4096,
        multiple_of=8,
        description="Side of the training pictures in pixels, a multiple of 8; pictures are "
        "stretched to a square.",
    )
    most_bad: float = Field(
        default=0.05, ge=0, le=1, description="Greatest share of examples that may be unusable."
    )
    timesteps: tuple[int, int] | None = Field(
        default=None,
        description="First and last timestep that noise is drawn for; null: 500 to 999 for the "
        "adapter, which works while the layout is made, and all of them for the U-Net.",
    )
    pyramid_noise: float = Field(
        default=0.3,
        ge=0,
        lt=1,
        description="Strength of the multi-resolution noise; 0: plain noise.",
    )
    most_instances: int = Field(
        default=7,
        ge=1,
        le=29,
        description="Phases: the adapter is told of at most so many instances an example.",
    )
    caption_dropout: float = Field(
        default=0.1, ge=0, le=1, description="Share of examples whose caption is left out."
    )
    fusion: bool = Field(
        default=True,
        description="The adapter is trained with the regional fusion in the other layers, as it "
        "is used.",
    )
    repeat_prompt: bool = Field(
        default=False, description="Nouns are repeated as in the published scripts."
    )
    cache: Path | None = Field(
        default=None, description="Folder of labels and latents; null: cache in out."
    )
    out: Path = Field(description="Folder of the training; one that it holds goes on.")

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
    local = folder / Path(expanduser(name))
    is_file = local.suffix in (SAFETENSORS, *PICKLES)
    return str(local) if is_file or local.exists() else name
