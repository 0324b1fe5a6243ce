"""The stable interfaces: depth models and estimators, region refiners and renderers.

Importing this module imports neither torch nor diffusers; an implementation imports them
in its own module, which is loaded only when it is used.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, ClassVar, Self

from PIL import Image
from pydantic import ConfigDict

from threedis_core.plugin.inspection import Inspection, MemoryNeed
from threedis_core.plugin.options import OptionsModel
from threedis_core.plugin.progress import Progress as Progress
from threedis_core.plugin.progress import silent as silent
from threedis_core.plugin.registrations import Kind
from threedis_core.plugin.registrations import TrainedOn as TrainedOn
from threedis_core.values.depth import DepthMap
from threedis_core.values.layout import Layout
from threedis_core.values.regions import Regions
from threedis_core.values.schedule import ControlSchedule


class BackendOptions(OptionsModel):
    """Base of every options model: frozen, unknown names refused."""

    model_config = ConfigDict(protected_namespaces=())

    of_the_work: ClassVar[frozenset[str]] = frozenset()
    """Names of the options that change what is done with a loaded model (steps, guidance), and
    nothing of what is loaded. Backends that differ in no other one share a load."""

    @classmethod
    def work_and(cls, *names: str) -> frozenset[str]:
        """``of_the_work`` and more names, for the class that adds these options."""
        return cls.of_the_work | set(names)


class Backend(ABC):
    """What all backends have in common. Making one is cheap: it loads nothing.

    Attributes:
        kind: Which interface it implements.
        Options: The class of its options, which a class of yours sets.
        trained_on: What its default model has seen; a preset may say something else of its own.
        options: Those it was made with.
    """

    kind: ClassVar[Kind]
    Options: ClassVar[type[BackendOptions]]
    trained_on: ClassVar[TrainedOn] = TrainedOn()

    def __init__(self, options: BackendOptions) -> None:
        self.options = options

    def load_key(self) -> object:
        """What decides what is loaded; equal ones of one class load the same.

        By default all options but those that the options' class names in ``of_the_work``.
        """
        return self.options.model_dump(exclude=set(self.options.of_the_work))

    def take_model(self, other: Self) -> None:
        """Take over what ``other``, whose ``load_key`` is the same, has loaded; it has none then.

        Only called where ``of_the_work`` names options in which the two differ.

        Raises:
            NotImplementedError: The class has not said how.
        """
        raise NotImplementedError(
            f"{type(self).__name__}.Options names options of_the_work; override take_model"
        )

    def close(self) -> None:
        """Free what it has loaded. Working again loads it again."""

    def inspect(self) -> Inspection:
        """What this backend needs with these options, and what of it this machine has.

        Loads nothing and asks no network. Override it if there is anything to need: files, a
        device, memory.

        Raises:
            ThreeDISError: The options cannot work on this machine.
        """
        return Inspection()

    def fetch(self) -> None:
        """Fetch what ``inspect`` says is missing, as far as it can be fetched.

        Raises:
            WeightsError: Something cannot be fetched.
        """

    def memory(self) -> int | None:
        """Bytes of the weights that it holds now, 0 if it has loaded nothing; None: not known.

        An engine with a limit of memory keeps no backend that does not say.
        """
        return None


@dataclass(frozen=True)
class Capabilities:
    """What a renderer can do, known before any weight is loaded.

    Args:
        size_multiple: Width and height must be multiples of this, in pixels.
        default_size: (width, height) in pixels, used when neither layout nor run names one.
        max_size: The largest width and the largest height, in pixels; None: no limit of its own.
        sizes: Each (width, height) that it can draw, if it can draw no others; empty: all sizes
            that ``size_multiple`` and ``max_size`` allow.
        default_steps: Denoising steps used when nothing else is asked for.
        min_steps: The fewest steps that it can take.
        default_guidance: Guidance scale used when nothing else is asked for; None: the model has
            none, and ``guidance`` must be False.
        max_instances: Most instances one layout may have; None means no limit.
        masks: True if an instance's mask, not only its box, is followed.
        negative_prompt: True if a negative prompt has an effect.
        steps: True if a request may say how many steps there are.
        guidance: True if a request may say the guidance scale.
        controls: Names of the controls a ``ControlSchedule`` may switch.
        instance_loras: Names of the LoRAs that instances may name; None: it can confine no LoRA to
            an instance.
    """

    size_multiple: int = 8
    default_size: tuple[int, int] = (512, 512)
    max_size: tuple[int, int] | None = None
    sizes: tuple[tuple[int, int], ...] = ()
    default_steps: int = 50
    min_steps: int = 1
    default_guidance: float | None = 7.5
    max_instances: int | None = None
    masks: bool = True
    negative_prompt: bool = True
    steps: bool = True
    guidance: bool = True
    controls: frozenset[str] = frozenset()
    instance_loras: frozenset[str] | None = None


@dataclass(frozen=True, eq=False)
class RenderRequest:
    """One picture to make. None means "as the backend's options say".

    Args:
        layout: What is where.
        depth: The scene's depth; a backend resizes it to (height, width).
        regions: The instances' regions, same order as ``layout.instances``.
        seed: Seed of the initial noise; the same seed gives the same picture.
        width: Picture width in pixels.
        height: Picture height in pixels.
        steps: Denoising steps.
        guidance: Classifier-free guidance scale; 1 switches guidance off.
        control: When each control is on; ``ControlSchedule()`` is the plain base model.

    The prompt and the negative prompt are the layout's.
    """

    layout: Layout
    depth: DepthMap
    regions: Regions
    seed: int
    width: int
    height: int
    steps: int | None = None
    guidance: float | None = None
    control: ControlSchedule | None = None


@dataclass(frozen=True, eq=False)
class RenderResult:
    """A picture and how it came to be.

    Args:
        image: RGB picture of the request's size.
        provenance: JSON-ready facts that a run does not know: scheduler, device, steps taken.
        warnings: One line each, for a person to read (a prompt that was cut, say).
    """

    image: Image.Image
    provenance: Mapping[str, Any] = field(default_factory=dict[str, Any])
    warnings: tuple[str, ...] = ()


class RenderBackend(Backend):
    """Render depth maps with one base model. Making one is cheap: it loads nothing."""

    kind = "renderer"
    for_cards: ClassVar[Mapping[str, Any]] = MappingProxyType({})
    """Options on any accelerator, for ``threedis setup``."""
    smaller: ClassVar[Sequence[Mapping[str, Any]]] = ()
    """Options that make the model smaller, each more than the one before, likewise."""

    def needs_on_a_card(self) -> Sequence[MemoryNeed]:
        """What each way to place the model needs on an accelerator, whether this machine has one.

        The roomiest first; empty: not known, or nothing.
        """
        return ()

    @property
    def capabilities(self) -> Capabilities:
        """What this backend can do with these options; must not load weights."""
        return Capabilities()

    @abstractmethod
    def render(
        self, requests: Sequence[RenderRequest], progress: Progress = silent
    ) -> list[RenderResult]:
        """Render a batch: one result per request, in order.

        The requests may differ in everything. Each picture is the one the request gives alone.

        Raises:
            InputError: A request this backend cannot serve, before any weight is loaded.
            WeightsError: The model is missing or unreadable.
        """

    def check(self) -> None:
        """See that these options can work on this machine; a run asks all its renderers first.

        Loads no weights. Override it if there is anything to need: a device, a package, files.

        Raises:
            OptionError: An option that this machine cannot serve.
            WeightsError: The model, or a part of it, is missing or of another kind.
        """


@dataclass(frozen=True, eq=False)
class DepthRequest:
    """One depth map to make, of ``height`` x ``width`` pixels, from a layout and a seed."""

    layout: Layout
    seed: int
    width: int
    height: int


class DepthModel(Backend):
    """Turn layouts into depth maps. Making one is cheap: it loads nothing."""

    kind = "depth model"
    usual_tries: ClassVar[int] = 1
    """How many maps a run makes to use the best one, if nobody says how many."""

    @abstractmethod
    def generate(
        self, requests: Sequence[DepthRequest], progress: Progress = silent
    ) -> list[DepthMap]:
        """Make one depth map per request, in order; same seed, same map.

        Raises:
            InputError: A layout this model cannot serve, before any weight is loaded.
            WeightsError: The model is missing or unreadable.
        """

    def check(self, request: DepthRequest) -> None:
        """See that ``generate`` can serve ``request``; a run asks before anything is loaded.

        Loads nothing and looks for no file, which a map from the cache does not need. Override it
        if there are layouts that the model cannot draw.

        Raises:
            InputError: A layout, a seed or an option that this model cannot serve.
        """


class DepthEstimator(Backend):
    """Turn pictures into depth maps. Making one is cheap: it loads nothing."""

    kind = "depth estimator"

    @abstractmethod
    def estimate(
        self, pictures: Sequence[Image.Image], progress: Progress = silent
    ) -> list[DepthMap]:
        """Estimate one depth map per picture, in order, each of its picture's size.

        Pictures may have any mode and differ in size. Each map is the one its picture gives alone.

        Raises:
            OptionError: An option that this machine cannot serve.
            WeightsError: The model is missing or unreadable.
        """


class RegionRefiner(Backend):
    """Turn a layout and its depth into the regions that a renderer uses."""

    kind = "region refiner"

    @abstractmethod
    def refine(self, layout: Layout, depth: DepthMap) -> Regions:
        """Regions of ``layout``, one per instance, in order, of any size in pixels."""

    def check(self, layout: Layout) -> None:
        """See that ``refine`` can serve ``layout``; a run asks before it makes a depth map.

        Loads nothing. Override it if there is anything to need: files, a device.

        Raises:
            InputError: A layout or an option that this refiner cannot serve.
            WeightsError: The model is missing.
        """
