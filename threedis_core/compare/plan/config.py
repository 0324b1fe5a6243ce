"""What a comparison is asked: from Python, or a YAML file."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, cast

from pydantic import ConfigDict, Field, field_validator, model_validator

from threedis_core.errors import OptionError, retold
from threedis_core.files.documents import read_document
from threedis_core.files.schemas import WrittenAs, named_by_key, without_key
from threedis_core.plugin.options import OptionsModel, validate_options
from threedis_core.run.config import (
    DEFAULT_DEPTH_MODEL,
    MAX_STEPS,
    MAX_TRIES,
    NAMES,
    Choice,
    Control,
    Side,
    check_labels,
    options_by_name,
)
from threedis_core.values.layout import Text

OF_A_SYSTEM = ("control", "region_refiner", "batch_size")
"""What stands among a renderer's options in a comparison and is none: a variant's own settings."""
ByName = dict[str, dict[str, Any]]


class LayoutSource(OptionsModel):
    """Where layouts come from; the name of a file, or a pattern such as scenes/*.yaml, is enough.

    A file may hold one layout, COCO annotations, or a COCO-MIG benchmark.
    """

    file: str | None = Field(default=None, description="A file, or a pattern of several.")
    benchmark: str | None = Field(
        default=None, description="A registered set of layouts; see 'threedis plugins'."
    )
    options: dict[str, Any] = Field(
        default_factory=dict[str, Any], description="The benchmark's options."
    )
    images: tuple[int, ...] | None = Field(
        default=None, description="Ids of pictures in a file of many; null: all."
    )
    limit: int | None = Field(default=None, ge=1, description="Take the first so many.")

    @model_validator(mode="before")
    @classmethod
    def _from_name(cls, value: object) -> object:
        return {"file": str(value)} if isinstance(value, str | Path) else value

    @model_validator(mode="after")
    def _one_kind(self) -> LayoutSource:
        if (self.file is None) == (self.benchmark is None):
            raise ValueError("name either a file or a benchmark")
        if self.benchmark is None and self.options:
            raise ValueError("options are a benchmark's; a file has none")
        if self.benchmark is not None and self.images is not None:
            raise ValueError("images are those of a file; a benchmark has options")
        return self


class CompareConfig(OptionsModel):
    """Everything a comparison can be told: a field here is an argument of ``compare``.

    In a file, the layouts' files, ``pictures`` and ``out`` are relative to that file. Paths among
    the options of a backend are relative to the working directory.
    """

    model_config = ConfigDict(json_schema_extra=named_by_key)

    layouts: tuple[LayoutSource, ...] = Field(
        min_length=1, description="Files, patterns, benchmarks."
    )
    depth_models: Annotated[ByName, WrittenAs(*NAMES)] = Field(
        default_factory=lambda: {DEFAULT_DEPTH_MODEL: dict[str, Any]()},
        description="Options of each model that makes depth maps, by its name.",
    )
    depth_seeds: tuple[int, ...] = Field(
        default=(0,), min_length=1, description="One depth map per layout, depth model and seed."
    )
    depth_tries: int | None = Field(
        default=None,
        ge=1,
        le=MAX_TRIES,
        description="How many maps to make to use the best one. Default: each model's own.",
    )
    renderers: Annotated[ByName, WrittenAs(*NAMES)] = Field(
        default_factory=dict[str, dict[str, Any]],
        description="Options of each renderer or preset by its name, with a label for each variant "
        "(sd15@off). Beside a renderer's own options: control (on, off), region_refiner, "
        "batch_size.",
    )
    seeds: tuple[int, ...] = Field(
        default=(0,), min_length=1, description="One picture per system, depth map and seed."
    )
    pictures: Path | None = Field(
        default=None,
        description="Pictures of other tools: a CSV file with the columns layout, seed, system and "
        "file.",
    )
    width: Side | None = Field(default=None, description="Picture width in pixels.")
    height: Side | None = Field(default=None, description="Picture height in pixels.")
    steps: int | None = Field(
        default=None, ge=1, le=MAX_STEPS, description="Denoising steps of every renderer."
    )
    guidance: float | None = Field(
        default=None, ge=0, allow_inf_nan=False, description="Guidance scale of every renderer."
    )
    negative_prompt: Text | None = Field(
        default=None, description="Instead of what each layout says."
    )
    region_refiner: Choice = Field(
        default_factory=lambda: Choice(name="boxes"),
        description="What turns boxes into regions, where a system says nothing else.",
    )
    metrics: Annotated[ByName, WrittenAs(*NAMES)] = Field(
        default_factory=dict[str, dict[str, Any]],
        description="Options of each metric by its name; see 'threedis plugins'.",
    )
    detectors: Annotated[ByName, WrittenAs(*NAMES)] = Field(
        default_factory=dict[str, dict[str, Any]],
        description="Options of detectors by name: those of the metrics, and further judges.",
    )
    primary: str | None = Field(
        default=None,
        description="The one figure that is tested: metric.figure. Default: the first metric's "
        "first one.",
    )
    baseline: str | None = Field(
        default=None, description="The system that others are compared with. Default: the first."
    )
    batch_size: int = Field(
        default=4, ge=1, description="Most pictures a renderer works on at once."
    )
    threads: int = Field(
        default=1, ge=1, description="torch's threads in every worker; pixels depend on them."
    )
    out: Path | None = Field(
        default=None, description="The comparison's folder. Default: runs/<name of the config>."
    )

    @field_validator("layouts", mode="before")
    @classmethod
    def _one_is_a_list(cls, value: Any) -> Any:
        return [value] if isinstance(value, str | Path | Mapping | LayoutSource) else value

    @field_validator("renderers", "depth_models", "metrics", "detectors", mode="before")
    @classmethod
    def _by_name(cls, value: Any) -> Any:
        return options_by_name(value, "one")

    @field_validator("renderers")
    @classmethod
    def _labels_fit(cls, value: ByName) -> ByName:
        check_labels(value)
        for name, settings in value.items():
            SystemSettings.of(settings, name)
        return value

    @field_validator("seeds", "depth_seeds")
    @classmethod
    def _seeds_differ(cls, seeds: tuple[int, ...]) -> tuple[int, ...]:
        if len(set(seeds)) != len(seeds):
            raise ValueError("the same seed is there twice; the two would be the same")
        return seeds

    @model_validator(mode="after")
    def _something_to_compare(self) -> CompareConfig:
        if not self.renderers and self.pictures is None:
            raise ValueError("name renderers, or a file of pictures of other tools, to compare")
        return self

    @classmethod
    def load(cls, path: str | Path) -> CompareConfig:
        """Read a YAML or JSON config.

        Raises:
            OptionError: The file cannot be read, or a field is unknown or wrong.
        """
        path = Path(path)
        document: Any = read_document(path, OptionError)
        if not isinstance(document, Mapping) or {"prompt", "instances"} <= document.keys():
            raise OptionError(
                f"{path}: expected the config of a comparison: a mapping with layouts and "
                "renderers",
                file=path,
            )
        try:
            config = validate_options(
                cls, without_key(cast("Mapping[str, Any]", document)), f"config {path}"
            )
        except OptionError as error:
            raise retold(error, OptionError, str(error), file=path) from error
        return config.beside(path.parent).model_copy(
            update={"out": _beside(path.parent, config.out) or Path("runs") / path.stem}
        )

    def beside(self, folder: Path) -> CompareConfig:
        """The same config with the files that it names looked for in ``folder``."""
        layouts = tuple(
            source
            if source.file is None
            else source.model_copy(update={"file": str(folder / Path(source.file).expanduser())})
            for source in self.layouts
        )
        pictures = _beside(folder, self.pictures)
        return self.model_copy(update={"layouts": layouts, "pictures": pictures})


class SystemSettings(OptionsModel):
    """What a variant of a renderer is asked beside its options."""

    control: Control = "on"
    region_refiner: Choice | None = None
    batch_size: int | None = Field(default=None, ge=1)
    options: dict[str, Any] = Field(default_factory=dict[str, Any])

    @field_validator("control", mode="before")
    @classmethod
    def _off_is_none(cls, value: Any) -> Any:
        if isinstance(value, bool):  # what YAML makes of on and off
            return "on" if value else "none"
        return "none" if value == "off" else value

    @field_validator("control")
    @classmethod
    def _one_of_two(cls, value: Control) -> Control:
        if value == "both":
            raise ValueError("expected on or off; name the renderer twice, with a label, for both")
        return value

    @classmethod
    def of(cls, settings: Mapping[str, Any], name: str) -> SystemSettings:
        """Take the settings of one system out of what stands among its renderer's options.

        Raises:
            OptionError: One of them does not fit.
        """
        own = {key: value for key, value in settings.items() if key in OF_A_SYSTEM}
        rest = {key: value for key, value in settings.items() if key not in OF_A_SYSTEM}
        return validate_options(cls, {**own, "options": rest}, f"'{name}'")


def _beside(folder: Path, file: Path | None) -> Path | None:
    return None if file is None else folder / file.expanduser()
