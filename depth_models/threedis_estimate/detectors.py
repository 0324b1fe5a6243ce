"""The estimators ``midas``, ``zoe`` and ``leres``: detectors of the package controlnet-aux."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, redirect_stdout
from dataclasses import replace
from functools import partial
from importlib.util import find_spec
from io import StringIO
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from PIL import Image
from pydantic import Field

from threedis_core.errors import OptionError, WeightsError
from threedis_core.plugin.inspection import Inspection
from threedis_core.plugin.interfaces import DepthEstimator
from threedis_core.plugin.progress import Progress, silent
from threedis_core.values.depth import DepthMap
from threedis_diffusers.lazy_model import LazyModel
from threedis_diffusers.model_files.sources import ModelSource
from threedis_diffusers.options import ModelOptions
from threedis_diffusers.readable import readable
from threedis_estimate.pictures import to_rgb

if TYPE_CHECKING:
    import torch

PACKAGE = "controlnet_aux"
EXTRA = "threedis[controlnet-aux]"


class DetectorOptions(ModelOptions):
    """Options of a detector."""

    model: str = Field(
        default="lllyasviel/Annotators",
        min_length=1,
        description="Where the detector's .pt or .pth files are: a local folder or a hub id.",
    )
    dtype: Literal["auto", "float32"] = Field(
        default="auto",
        description="Number format; the detectors compute in float32 only, as auto says.",
    )
    resolution: int = Field(
        default=512,
        ge=64,
        le=4096,
        description="Shorter side in pixels that a picture is resized to before its depth is "
        "estimated, 64 to 4096. The map has the picture's own size.",
    )


class Detector(LazyModel[Any], DepthEstimator):
    """Estimate depth with one detector of controlnet-aux, called as it is.

    Its result is a picture with 256 levels, near is bright. That is resized to the picture's size
    and stretched so that the least value is 0 and the greatest 1.
    """

    Options = DetectorOptions
    options: DetectorOptions
    detector_class: ClassVar[str]
    files: ClassVar[tuple[str, ...]]

    def find(self) -> Callable[[], Any]:
        """Check package, device and files."""
        from threedis_diffusers.devices import find_device  # brings torch

        detector_class = import_detector(self.name, self.detector_class)
        device = find_device(self.options.device)
        source = ModelSource(self.options.model, library="controlnet-aux")
        return partial(self._load, detector_class, source, find_files(source, self.files), device)

    def inspect(self) -> Inspection:
        """The package and the files, without loading them and without a network."""
        import torch

        from threedis_diffusers.devices import find_device
        from threedis_diffusers.model_files.requirements import NeededModel, inspect_model

        source = ModelSource(self.options.model, library="controlnet-aux")

        def look(source: ModelSource) -> None:
            for file in self.files:
                source.require(file)

        device = find_device(self.options.device)
        found = inspect_model([NeededModel(source, look, "detector")], device, torch.float32)
        try:
            import_detector(self.name, self.detector_class)
        except OptionError as error:
            found = replace(found, problems=(*found.problems, str(error)))
        return found

    def _load(
        self, detector_class: Any, source: ModelSource, folder: Path, device: torch.device
    ) -> Any:
        weights = [read_tensors(folder / file) for file in self.files]
        # Some print what they do on stdout, where a command's result belongs.
        with readable(source), no_arguments(), redirect_stdout(StringIO()):
            detector = detector_class.from_pretrained(str(folder))
            self.check_loaded(detector, folder, weights[0])
            return detector.to(device)

    def check_loaded(self, detector: Any, folder: Path, stored: Any) -> None:
        """See that ``detector`` got all its weights; most loaders see to that themselves.

        Args:
            detector: The detector.
            folder: Where its files are.
            stored: What its first file holds; the tensors are without their numbers.
        Raises:
            WeightsError: Some are missing.
        """

    def estimate(
        self, pictures: Sequence[Image.Image], progress: Progress = silent
    ) -> list[DepthMap]:
        """Estimate one depth map per picture.

        Raises:
            InputError: A picture that is hardly more than a line, or has values out of range.
            OptionError: controlnet-aux is not installed, or the device is not there.
            WeightsError: A file is missing or damaged.
            RenderError: This estimator is at work already.
        """
        colours = to_rgb(pictures)
        if find_spec(PACKAGE) is None:  # said before anything is imported that takes seconds
            import_detector(self.name, self.detector_class)
        maps: list[DepthMap] = []
        with self.in_use() as detector:
            for picture in colours:
                maps.append(self._estimate(detector, picture))
                progress("depth", len(maps), len(colours))
        return maps

    def _estimate(self, detector: Any, picture: Image.Image) -> DepthMap:
        side = self.options.resolution
        drawn = detector(picture, detect_resolution=side, image_resolution=side, output_type="pil")
        depth = DepthMap.normalise(drawn.convert("L")).resize(picture.width, picture.height)
        return DepthMap.normalise(depth.values)


class Midas(Detector):
    """MiDaS 3, DPT-Hybrid."""

    name = "midas"
    detector_class = "MidasDetector"
    files = ("dpt_hybrid-midas-501f0c75.pt",)


class Zoe(Detector):
    """ZoeDepth."""

    name = "zoe"
    detector_class = "ZoeDetector"
    files = ("ZoeD_M12_N.pt",)

    def check_loaded(self, detector: Any, folder: Path, stored: Any) -> None:
        """Compare the names: the loader of ZoeDepth takes any file, whatever it lacks."""
        from threedis_diffusers.loading import first_of

        # Made anew from the sizes, and kept in files by some versions of timm only.
        named = (n for n in detector.model.state_dict() if "relative_position_index" not in n)
        if missing := sorted(set(named) - set(stored["model"])):
            raise WeightsError(
                f"'{folder / self.files[0]}' lacks {first_of(missing)} of the weights of "
                "ZoeDepth; it is damaged or of another kind: get it again"
            )


class Leres(Detector):
    """LeReS; its loader wants the second file too, though only "boost" would use it."""

    name = "leres"
    detector_class = "LeresDetector"
    files = ("res101.pth", "latest_net_G.pth")


def import_detector(name: str, detector_class: str) -> Any:
    """The class of a detector, imported now.

    Raises:
        OptionError: controlnet-aux is not installed, or does not work here.
    """
    try:
        package = importlib.import_module(PACKAGE)
    except ModuleNotFoundError as error:
        raise OptionError(
            f"depth estimator '{name}' needs a package that is not installed ({error}); install "
            f"it with: pip install '{EXTRA}'. Without it, 'depth-anything' and 'dpt' work",
            code="package-missing",
            hint=f"pip install '{EXTRA}'",
        ) from error
    except (ImportError, RuntimeError) as error:
        reason = " ".join(str(error).split())[:200]
        raise OptionError(
            f"depth estimator '{name}' needs controlnet-aux, which cannot be imported ({reason}); "
            "install builds of torch and torchvision that belong together"
        ) from error
    return getattr(package, detector_class)


def find_files(source: ModelSource, files: Sequence[str]) -> Path:
    """The folder of ``files`` on this machine, fetched from the hub if they are not here yet.

    Raises:
        WeightsError: One is not there, or the hub cannot be asked.
    """
    for file in files:
        if not source.has(file):
            raise WeightsError(
                f"'{source.name}' has no file '{file}'; set model to a folder or a repository "
                f"that has {' and '.join(files)}, such as lllyasviel/Annotators"
            )
    first, *_ = [source.get(file) for file in files]
    return first.parent


def read_tensors(file: Path) -> Any:
    """What a torch pickle holds, its tensors without their numbers, if it is nothing but data.

    The detectors' own loaders leave it to torch, and so to the environment, whether code in such a
    file runs; a file that was read like this has none.

    Raises:
        WeightsError: It is damaged, or holds anything else.
    """
    import torch

    try:
        return torch.load(file, map_location="meta", weights_only=True)
    except Exception as error:  # whatever a damaged or a made-up pickle raises
        reason = f"{type(error).__name__}: {' '.join(str(error).split())[:160]}"
        raise WeightsError(
            f"'{file}' cannot be loaded as tensors only ({reason}); it is damaged or holds code, "
            "which is never run: get it again"
        ) from error


@contextmanager
def no_arguments() -> Iterator[None]:
    """Hide the command line, which the loader of LeReS would read as its own."""
    arguments = sys.argv
    sys.argv = arguments[:1]
    try:
        yield
    finally:
        sys.argv = arguments
