"""What a run is asked to do: from Python, a YAML file, the command line, or a run.json."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, cast

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from threedis_core.errors import OptionError
from threedis_core.files.documents import read_document
from threedis_core.files.plain_yaml import PlainYamlError, parse_yaml
from threedis_core.formats.layout_files import read_layout
from threedis_core.plugin.options import validate_options
from threedis_core.plugin.registrations import NAME
from threedis_core.suggest import did_you_mean
from threedis_core.values.depth import DepthMap
from threedis_core.values.layout import Layout

Pixels = Annotated[int, Field(ge=1)]


LABEL_SIGN = "@"


def registered_name(name: str) -> str:
    """The name a run's renderer is registered under: "sd15" of "sd15@plain"."""
    return name.partition(LABEL_SIGN)[0]


class Choice(BaseModel):
    """A depth model or region refiner by name, with its options; a bare name is enough."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    options: dict[str, Any] = Field(default_factory=dict[str, Any])

    @model_validator(mode="before")
    @classmethod
    def _from_name(cls, value: object) -> object:
        return {"name": value} if isinstance(value, str) else value


class RunConfig(BaseModel):
    """Everything a run can be told.

    In a file, ``layout``, ``depth`` and ``out`` are relative to that file. Paths among the options
    of a backend are the backend's own affair, relative to the working directory: repeat a run with
    a local model from the folder it was made in, or give such paths in full.

    Args:
        layout: Layout file; not needed where a layout is at hand.
        image_id: Which picture of a COCO file, or which layout (0, 1, ...) of a COCO-MIG file.
        depth: Depth map file. Give this or ``depth_model``.
        depth_model: Depth model and its options.
        depth_seed: Seed of the depth model.
        depth_cache: Use a depth map that was made before from the same, and keep new ones.
        region_refiner: Region refiner and its options.
        renderers: Options of each renderer by its name; a list of names will do. ``sd15@plain``
            is ``sd15`` once more, under the label ``plain``, with options of its own.
        seeds: One picture per renderer and seed.
        width: Picture width in pixels; None: the layout's, or the renderer's default area in
            the depth map's proportions.
        height: Picture height in pixels.
        batch_size: Most pictures a renderer works on at once.
        out: Folder of the run; None: nothing is written from Python, and the command line uses
            ``runs/<timestamp>-<prompt>``.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    layout: Path | None = None
    image_id: int | None = None
    depth: Path | None = None
    depth_model: Choice | None = None
    depth_seed: int = 0
    depth_cache: bool = True
    region_refiner: Choice = Choice(name="boxes")
    renderers: dict[str, dict[str, Any]] = Field(default_factory=dict[str, dict[str, Any]])
    seeds: tuple[int, ...] = Field(default=(0,), min_length=1)
    width: Pixels | None = None
    height: Pixels | None = None
    batch_size: int = Field(default=4, ge=1)
    out: Path | None = None

    @field_validator("renderers", mode="before")
    @classmethod
    def _renderers_by_name(cls, value: Any) -> Any:
        if isinstance(value, str):
            value = [value]
        if isinstance(value, Mapping):
            by_name = cast("Mapping[str, Any]", value)
            return {name: options or dict[str, Any]() for name, options in by_name.items()}
        if not isinstance(value, list | tuple):
            return value
        names = [str(name) for name in cast("Sequence[Any]", value)]
        repeated = sorted({name for name in names if names.count(name) > 1})
        if repeated:
            raise ValueError(f"'{repeated[0]}' is named twice; name each renderer once")
        return {name: dict[str, Any]() for name in names}

    @field_validator("renderers")
    @classmethod
    def _labels_fit_file_names(cls, value: dict[str, dict[str, Any]]) -> dict[str, dict[str, Any]]:
        for name in value:
            _, at, label = name.partition(LABEL_SIGN)
            if at and not NAME.fullmatch(label):
                raise ValueError(
                    f"'{name:.80}' has the label '{label:.80}'; expected renderer@label, the label "
                    "of lower-case letters, digits, '-' and '_', at most 64"
                )
        return value

    @field_validator("seeds")
    @classmethod
    def _seeds_differ(cls, seeds: tuple[int, ...]) -> tuple[int, ...]:
        if len(set(seeds)) != len(seeds):
            raise ValueError("the same seed is there twice; the two pictures would be the same")
        return seeds

    @classmethod
    def load(cls, path: str | Path) -> RunConfig:
        """Read a YAML or JSON config, or the ``run.json`` of an earlier run to repeat it.

        Raises:
            OptionError: The file cannot be read, or a field is unknown or wrong.
        """
        path = Path(path)
        document: Any = read_document(path, OptionError)
        if isinstance(document, Mapping) and "threedis_run" in document:
            document = cast("Mapping[str, Any]", document).get("config")
        if not isinstance(document, Mapping):
            raise OptionError(f"{path}: expected a mapping of run settings")
        config = validate_options(cls, cast("Mapping[str, Any]", document), f"config {path}")
        return config.model_copy(
            update={
                name: path.parent / file
                for name in ("layout", "depth", "out")
                if (file := getattr(config, name)) is not None
            }
        )

    def read_layout(self) -> Layout:
        """Read the layout that the config names.

        Raises:
            InputError: It names none, or the file cannot be read.
        """
        if self.layout is None:
            raise OptionError(
                "no layout: give a layout file, or a config that names one (--config)"
            )
        return read_layout(self.layout, self.image_id)

    def read_depth(self) -> DepthMap | None:
        """Read the depth map that the config names, if it names one.

        Raises:
            DepthError: The file cannot be read.
        """
        return None if self.depth is None else DepthMap.load(self.depth)

    def overridden(self, flags: Mapping[str, Any]) -> RunConfig:
        """Replace fields by those of ``flags`` that are not None.

        A renderer that the config has options for keeps them; ``depth`` and ``depth_model``
        replace each other.

        Raises:
            OptionError: A value that does not fit.
        """
        given = {name: value for name, value in flags.items() if value is not None}
        asked = validate_options(RunConfig, given, "the command line")
        document = self.model_dump()
        if asked.depth is not None or asked.depth_model is not None:
            document |= {"depth": None, "depth_model": None}
        if asked.layout is not None:
            document["image_id"] = None
        document |= asked.model_dump(include=set(given))
        if "renderers" in given:
            document["renderers"] = {name: self.renderers.get(name, {}) for name in asked.renderers}
        return RunConfig.model_validate(document)

    def with_settings(self, settings: Iterable[str]) -> RunConfig:
        """Apply ``option=value`` to every renderer, ``name.option=value`` to one backend.

        ``name`` is a chosen renderer (with its label, if it has one), the depth model or the
        region refiner; values are YAML. Whether a backend knows the option is for ``plan_run``
        to say, which makes the backends.

        Raises:
            OptionError: A setting without "=", a name that was not chosen, a value that is no YAML.
        """
        document = self.model_dump()
        by_name = dict(document["renderers"])
        for key in ("depth_model", "region_refiner"):
            if document[key] is not None:
                by_name.setdefault(document[key]["name"], document[key]["options"])
        parsed = [parse_setting(setting) for setting in settings]
        # Those for all come first, so that one renderer's own value wins in any order.
        for name, option, value in sorted(parsed, key=lambda setting: setting[0] is not None):
            if name is not None and name not in by_name:
                raise OptionError(
                    f"--set {name}.{option}: '{name}' is not chosen. "
                    f"Chosen: {', '.join(sorted(by_name))}.{did_you_mean(name, by_name)}"
                )
            if name is None and not document["renderers"]:
                raise OptionError(f"--set {option}: no renderer is chosen; name one first")
            targets = [by_name[name]] if name is not None else document["renderers"].values()
            for options in targets:
                options[option] = value
        return RunConfig.model_validate(document)


def parse_setting(setting: str) -> tuple[str | None, str, Any]:
    """Split "sd15.steps=30" into ("sd15", "steps", 30), "steps=30" into (None, "steps", 30).

    Raises:
        OptionError: No "=", no option, or a value that is no YAML.
    """
    key, equals, text = setting.partition("=")
    name, dot, option = key.strip().rpartition(".")
    if not equals or not option or (dot and not name):
        raise OptionError(
            f"--set {setting!r} is not valid; expected option=value or renderer.option=value"
        )
    try:
        return (name if dot else None), option, parse_yaml(text) if text.strip() else ""
    except PlainYamlError as error:
        raise OptionError(f"--set {key}: {error}") from None
