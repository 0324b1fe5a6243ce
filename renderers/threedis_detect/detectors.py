"""The detectors ``grounding-dino`` and ``mm-grounding-dino``: boxes by words, masks by boxes.

Importing this module imports no torch.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from PIL import Image

from threedis_core.errors import WeightsError
from threedis_core.metrics.coco_mig import colour_facts
from threedis_core.metrics.resizing import stretch
from threedis_core.plugin.judging.interfaces import (
    DetectRequest,
    InstanceDetector,
    InstanceFinding,
)
from threedis_core.plugin.progress import Progress, silent
from threedis_core.values.layout import Layout
from threedis_detect.options import (
    DetectorOptions,
    GroundingDinoOptions,
    MMGroundingDinoOptions,
)
from threedis_diffusers.lazy_model import LazyModel
from threedis_diffusers.model_files.checks import read_configuration
from threedis_diffusers.model_files.sources import ModelSource
from threedis_diffusers.options import ModelOptions

if TYPE_CHECKING:
    from threedis_transformers.loading import CheckedVisionModel, LoadedVisionModel

PARTS = {"backbone_config": "swin", "text_config": "bert"}
"""The models inside one, and what type each must be: no others are made."""


@dataclass(frozen=True, eq=False)
class LoadedJudges:
    """The two models of a detector: one finds boxes, one makes masks."""

    finder: LoadedVisionModel
    segmenter: LoadedVisionModel


class GroundedDetector(LazyModel[LoadedJudges], InstanceDetector):
    """Ask for the boxes of each noun alone, and for the masks of the layout's own boxes.

    Nothing is suppressed: the boxes are the model's queries above ``least_score``. Each box of the
    layout gets Segment Anything's three masks with their scores. The colours that they cover are
    kept among the facts, so that ``coco-mig`` need not open the picture again.
    """

    options: DetectorOptions
    kind_of_model: ClassVar[str]
    model_class: ClassVar[str]

    def find(self) -> Callable[[], LoadedJudges]:
        """Check device and files of both models."""
        from threedis_transformers.loading import find_model
        from threedis_transformers.words import BERT

        _check_parts(ModelSource(self.options.model, library="transformers"), self.kind_of_model)
        finder = find_model(
            self.options,
            self.kind_of_model,
            self.model_class,
            "GroundingDinoImageProcessorPil",
            words=BERT,
        )
        segmenting = ModelOptions(
            model=self.options.segmenter, dtype=self.options.dtype, device=self.options.device
        )
        segmenter = find_model(segmenting, "sam", "SamModel", "SamImageProcessorPil")
        return lambda: _loaded(finder, segmenter)

    def check(self) -> None:
        """See that the device and the files of both models are there.

        Raises:
            OptionError: The device is not there.
            WeightsError: A file is missing, or it is another kind of model.
        """
        self.check_model()

    def detect(
        self, requests: Sequence[DetectRequest], progress: Progress = silent
    ) -> list[tuple[InstanceFinding, ...]]:
        """Look at every picture.

        Raises:
            OptionError: The device is not there.
            WeightsError: A file is missing or damaged, or it is another kind of model.
            RenderError: This detector is at work already, or a model makes no numbers.
        """
        answers: list[tuple[InstanceFinding, ...]] = []
        with self.in_use(progress) as loaded:
            for request in requests:
                answers.append(self._find(loaded, request.layout, self._seen(request.image)))
                progress("detect", len(answers), len(requests))
        return answers

    def _seen(self, image: Image.Image) -> Image.Image:
        picture, side = image.convert("RGB"), self.options.side
        return picture if side in (None, picture.height) else stretch(picture, side, side)

    def _find(
        self, loaded: LoadedJudges, layout: Layout, picture: Image.Image
    ) -> tuple[InstanceFinding, ...]:
        from threedis_detect.looking import boxes_of_noun, masks_of_boxes

        if not layout.instances:
            return ()
        nouns = dict.fromkeys(instance.noun for instance in layout.instances)
        least = self.options.least_score
        boxes = {noun: boxes_of_noun(loaded.finder, picture, noun, least) for noun in nouns}
        own = [instance.box for instance in layout.instances]
        masks = masks_of_boxes(loaded.segmenter, picture, own)
        return tuple(
            InstanceFinding(boxes[instance.noun], some, colour_facts(some, picture))
            for instance, some in zip(layout.instances, masks, strict=True)
        )


class GroundingDino(GroundedDetector):
    """GroundingDINO (arXiv 2303.05499)."""

    Options = GroundingDinoOptions
    name = "grounding-dino"
    kind_of_model = "grounding-dino"
    model_class = "GroundingDinoForObjectDetection"


class MMGroundingDino(GroundedDetector):
    """MM-Grounding-DINO (arXiv 2401.02361), trained anew on open data: a second judge."""

    Options = MMGroundingDinoOptions
    name = "mm-grounding-dino"
    kind_of_model = "mm-grounding-dino"
    model_class = "MMGroundingDinoForObjectDetection"


def _loaded(finder: CheckedVisionModel, segmenter: CheckedVisionModel) -> LoadedJudges:
    return LoadedJudges(finder.load(), segmenter.load())


def _check_parts(source: ModelSource, kind: str) -> None:
    """Refuse a model that is made of others than are known: some would fetch weights."""
    config = read_configuration(source, "config.json")
    if config.get("model_type") != kind:
        return  # which is said with what was expected, below
    for part, wanted in PARTS.items():
        found = (config.get(part) or {}).get("model_type", wanted)
        if found != wanted:
            raise WeightsError(
                f"'{source.name}': config.json says {part} is of type {found!r:.60}; expected "
                f"{wanted!r}: name another model"
            )
