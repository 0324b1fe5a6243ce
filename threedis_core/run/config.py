"""What a run is asked to do: from Python, a YAML file, the command line, or a run.json."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal, TypedDict, cast

from pydantic import ConfigDict, Field, GetJsonSchemaHandler, field_validator, model_validator
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema

from threedis_core.errors import OptionError, retold
from threedis_core.files.documents import read_document
from threedis_core.files.limits import MAX_SIDE
from threedis_core.files.plain_yaml import PlainYamlError, parse_yaml
from threedis_core.files.schemas import WrittenAs, named_by_key, without_key
from threedis_core.formats.layout_files import read_layout
from threedis_core.plugin.options import OptionsModel, validate_options
from threedis_core.plugin.registrations import NAME
from threedis_core.run.record.replay import replayed
from threedis_core.suggest import did_you_mean
from threedis_core.values.depth import DepthMap
from threedis_core.values.layout import Layout, Text
from threedis_core.values.problems import path_of

DEFAULT_DEPTH_MODEL = "pocket-depth"
LABEL_SIGN = "@"
RUN_SIGN = "threedis_run"
"""The key that tells a run.json from a config that a person wrote."""
MAX_TRIES = 64
Side = Annotated[int, Field(ge=1, le=MAX_SIDE)]
Control = Literal["on", "none", "both"]
"""Whether the instances' controls are on: as each renderer's options say, not at all, or a picture
of either kind."""
MAX_STEPS = 1000
OF_EVERY_RENDERER = ("steps", "guidance")
"""Fields that say for all renderers what each one's option of the same name says for it."""
OF_A_DEPTH_MODEL = ("depth_seed", "depth_tries")
"""Fields that have no effect where a depth map is given."""


def registered_name(name: str) -> str:
    """The name a run's renderer is registered under: "sd15" of "sd15@plain"."""
    return name.partition(LABEL_SIGN)[0]


def options_by_name(value: Any, what: str) -> Any:
    """The options of several backends by their names, out of a name, a list of names, or options.

    What is none of these comes out as it is.

    Raises:
        ValueError: A name is there twice.
    """
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
        raise ValueError(f"'{repeated[0]}' is named twice; name each {what} once")
    return {name: dict[str, Any]() for name in names}


def check_labels(names: Iterable[str]) -> None:
    """Refuse labels that fit no file names.

    Raises:
        ValueError: One does not.
    """
    for name in names:
        label = name.removeprefix(registered_name(name))
        if label and not NAME.fullmatch(label.removeprefix(LABEL_SIGN)):
            raise ValueError(
                f"'{name:.80}' has the label '{label[1:]:.80}'; expected renderer@label, the "
                "label of lower-case letters, digits, '-' and '_', at most 64"
            )


class Choice(OptionsModel):
    """A depth model or region refiner by name, with its options; a bare name is enough."""

    name: str = Field(description="As 'threedis plugins' lists it.")
    options: dict[str, Any] = Field(
        default_factory=dict[str, Any], description="Its options by name."
    )

    @model_validator(mode="before")
    @classmethod
    def _from_name(cls, value: object) -> object:
        return {"name": value} if isinstance(value, str) else value

    @classmethod
    def __get_pydantic_json_schema__(
        cls, core_schema: CoreSchema, handler: GetJsonSchemaHandler
    ) -> JsonSchemaValue:
        found = handler(core_schema)
        own = handler.resolve_ref_schema(found)
        name = {"type": "string", "description": own["properties"]["name"]["description"]}
        ways = {"anyOf": [name, dict(own)], "description": own["description"]}
        own.clear()  # it is kept under the model's name: what is said here is said everywhere
        own.update(ways)
        return found


NAMES: tuple[dict[str, Any], ...] = (
    {"type": "string", "description": "One name."},
    {"type": "array", "items": {"type": "string"}, "uniqueItems": True, "description": "Names."},
    {
        "type": "object",
        "additionalProperties": {"type": ["object", "null"]},
        "description": "Options by the name of each.",
    },
)
"""How options by name may be written in a file."""


class RunConfig(OptionsModel):
    """Everything a run can be told: a field here is an argument of ``render`` and of the commands.

    In a file, ``layout``, ``depth`` and ``out`` are relative to that file. Paths among the options
    of a backend are relative to the working directory; in a ``run.json`` they are relative to it.
    """

    model_config = ConfigDict(json_schema_extra=named_by_key)

    layout: Path | None = Field(
        default=None, description="Layout file, JSON or YAML; COCO with an image id."
    )
    image_id: int | None = Field(
        default=None,
        ge=0,
        description="Id of a picture in a COCO or COCO-MIG file; its place (0, 1, ...) in one "
        "without ids.",
    )
    depth: Path | None = Field(
        default=None, description="Depth map: PNG, other picture, or .npy; bright is near."
    )
    depth_model: Choice | None = Field(
        default=None, description="Model that makes the depth map; see 'threedis plugins'."
    )
    depth_seed: int = Field(default=0, description="Seed of the depth model.")
    depth_tries: int | None = Field(
        default=None,
        ge=1,
        le=MAX_TRIES,
        description="How many depth maps to make; the one with most instances in place is used. "
        "Default: as many as the depth model wants, mostly 1.",
    )
    depth_cache: bool = Field(
        default=True,
        description="Use a depth map that was made before from the same, and keep new ones.",
    )
    region_refiner: Choice = Field(
        default_factory=lambda: Choice(name="boxes"),
        description="What turns boxes into regions; see 'threedis plugins'.",
    )
    renderers: Annotated[dict[str, dict[str, Any]], WrittenAs(*NAMES)] = Field(
        default_factory=dict[str, dict[str, Any]],
        description=(
            "Options of each renderer or preset by its name; a list of names will do. A label, as "
            "in sd15@plain, tells the same one with other options apart."
        ),
    )
    seeds: tuple[int, ...] = Field(
        default=(0,), min_length=1, description="One picture per renderer and seed."
    )
    width: Side | None = Field(
        default=None,
        description=(
            "Picture width in pixels. Default: the layout's, or the renderer's default area in the "
            "depth map's proportions."
        ),
    )
    height: Side | None = Field(default=None, description="Picture height in pixels.")
    steps: int | None = Field(
        default=None,
        ge=1,
        le=MAX_STEPS,
        description="Denoising steps of every renderer; null: each one's own option.",
    )
    guidance: float | None = Field(
        default=None,
        ge=0,
        allow_inf_nan=False,
        description="Guidance scale of every renderer; null: each one's own option.",
    )
    negative_prompt: Text | None = Field(
        default=None,
        description="What the pictures should not show, instead of what the layout says.",
    )
    control: Annotated[Control, WrittenAs({"enum": ["off", True, False]})] = Field(
        default="on",
        description=(
            "Whether the instances' regions follow their own prompts: on; none, the base model on "
            "the global prompt alone; or both, a picture of either kind."
        ),
    )
    batch_size: int = Field(
        default=4, ge=1, description="Most pictures a renderer works on at once."
    )
    out: Path | None = Field(
        default=None,
        description="New or empty folder of the run. Without one, Python writes nothing.",
    )

    @field_validator("layout", "depth", mode="before")
    @classmethod
    def _is_a_file(cls, value: Any) -> Any:
        if isinstance(value, Layout | DepthMap):
            raise ValueError(
                "expected the name of a file; what is in memory already is an argument of its own: "
                "render_config(config, layout=..., depth=...)"
            )
        return value

    @field_validator("renderers", mode="before")
    @classmethod
    def _renderers_by_name(cls, value: Any) -> Any:
        return options_by_name(value, "renderer")

    @field_validator("renderers")
    @classmethod
    def _labels_fit_file_names(cls, value: dict[str, dict[str, Any]]) -> dict[str, dict[str, Any]]:
        check_labels(value)
        return value

    @field_validator("control", mode="before")
    @classmethod
    def _off_is_none(cls, value: Any) -> Any:
        if isinstance(value, bool):  # what YAML makes of on and off
            return "on" if value else "none"
        return "none" if value == "off" else value

    @field_validator("out", mode="before")
    @classmethod
    def _out_is_a_name(cls, value: Any) -> Any:
        if value == "":  # as a path it would be the working folder
            raise ValueError("expected the name of a folder")
        return value

    @field_validator("seeds")
    @classmethod
    def _seeds_differ(cls, seeds: tuple[int, ...]) -> tuple[int, ...]:
        if len(set(seeds)) != len(seeds):
            raise ValueError("the same seed is there twice; the two pictures would be the same")
        return seeds

    @model_validator(mode="after")
    def _one_value_for_a_renderer(self) -> RunConfig:
        for name, options in self.renderers.items():
            for field in OF_EVERY_RENDERER:
                value = getattr(self, field)
                if value is not None and field in options:
                    raise ValueError(
                        f"{field} is {value} for every renderer, and {options[field]!r:.40} among "
                        f"the options of '{name:.80}'; give one of the two"
                    )
        return self

    @property
    def controls(self) -> tuple[Control, ...]:
        """The kinds of pictures to make: "on", "none", or one after the other."""
        return ("on", "none") if self.control == "both" else (self.control,)

    @classmethod
    def load(cls, path: str | Path, *, new_depth: bool = False) -> RunConfig:
        """Read a YAML or JSON config, or the ``run.json`` of an earlier run to repeat it.

        Args:
            path: The file.
            new_depth: Of a run whose depth map a model has made, take the model, its options and
                its seed instead of the map: to make another one, with another seed.
        Raises:
            OptionError: The file cannot be read, or a field is unknown or wrong.
        """
        path = Path(path)
        document: Any = read_document(path, OptionError)
        if isinstance(document, Mapping) and {"prompt", "instances"} <= document.keys():
            raise OptionError(
                f"{path} is a layout; expected run settings: give a layout without --config"
            )
        if isinstance(document, Mapping) and RUN_SIGN in document:
            document = replayed(cast("Mapping[str, Any]", document), path.parent, new_depth)
        if not isinstance(document, Mapping):
            raise OptionError(f"{path}: expected a mapping of run settings", file=path)
        try:
            config = validate_options(cls, without_key(document), f"config {path}")
        except OptionError as error:
            raise retold(error, OptionError, str(error), file=path) from error
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
                "no layout: give a layout file, or a config that names one (--config)",
                code="missing-field",
                path="layout",
                hint="give a layout file, or a config that names one (--config)",
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

        A renderer that the config has options for keeps them, except those that ``steps`` and
        ``guidance`` replace; ``depth`` and ``depth_model`` replace each other.

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
        depth_is_given = (asked.depth or document["depth"]) is not None
        for name in OF_A_DEPTH_MODEL if depth_is_given else ():
            if name in given:
                where = "; leave one of them out"
                if not asked.depth:
                    where = " in the config: name a --depth-model to make a new one"
                raise OptionError(
                    f"--{name.replace('_', '-')} is for a depth model, but a depth map is given"
                    + where
                )
        document |= asked.model_dump(include=set(given))
        if "renderers" in given:
            document["renderers"] = {name: self.renderers.get(name, {}) for name in asked.renderers}
        replaced = given.keys() & set(OF_EVERY_RENDERER)
        for name, options in document["renderers"].items():
            kept = {option: value for option, value in options.items() if option not in replaced}
            document["renderers"][name] = kept
        return RunConfig.model_validate(document)

    def with_settings(self, settings: Iterable[str]) -> RunConfig:
        """Apply ``option=value`` to every renderer, ``name.option=value`` to one backend.

        ``name`` is a chosen renderer (with its label, if it has one), the depth model, which may
        be the default one, or the region refiner; values are YAML. Whether a backend knows the
        option is for ``plan_run`` to say, which makes the backends.

        Raises:
            OptionError: A setting without "=", a name that was not chosen, a value that is no YAML.
        """
        document = self.model_dump()
        parsed = [parse_setting(setting) for setting in settings]
        by_name = dict(document["renderers"])
        by_default = document["depth_model"] is None and document["depth"] is None
        known = {DEFAULT_DEPTH_MODEL} if by_default else set[str]()
        if known & {name for name, _, _ in parsed}:
            document["depth_model"] = {"name": DEFAULT_DEPTH_MODEL, "options": {}}
        for key in ("depth_model", "region_refiner"):
            if document[key] is not None:
                by_name.setdefault(document[key]["name"], document[key]["options"])
        # Those for all come first, so that one renderer's own value wins in any order.
        for name, option, value in sorted(parsed, key=lambda setting: setting[0] is not None):
            if name is not None and name not in by_name:
                names = sorted({*by_name, *known})
                raise OptionError(
                    f"--set {name}.{option}: '{name}' is not chosen. "
                    f"Chosen: {', '.join(names)}.{did_you_mean(name, names)}",
                    path=path_of((name, option)),
                    hint=did_you_mean(name, names).strip(),
                )
            if name is None and not document["renderers"]:
                raise OptionError(
                    f"--set {option}: no renderer is chosen; name one first",
                    path=path_of((option,)),
                    hint="name one first",
                )
            targets = [by_name[name]] if name is not None else document["renderers"].values()
            for options in targets:
                options[option] = value
        return validate_options(RunConfig, document, "--set")


class RunSettings(TypedDict, total=False):
    """The fields of ``RunConfig`` that ``render`` takes as arguments, in the types that will do."""

    depth_model: str | Choice | None
    depth_seed: int
    depth_tries: int | None
    depth_cache: bool
    region_refiner: str | Choice
    renderers: str | Sequence[str] | Mapping[str, Mapping[str, Any]]
    seeds: Sequence[int]
    width: int | None
    height: int | None
    steps: int | None
    guidance: float | None
    negative_prompt: str | None
    control: Control
    batch_size: int
    out: str | Path | None


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
