"""The metric ``clip``: how like a picture and its prompts are to CLIP.

Importing this module imports no torch.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from PIL import Image

from threedis_core.plugin.judging.interfaces import Figure, Metric, PictureScore, ScoreRequest
from threedis_core.plugin.progress import Progress, silent
from threedis_core.values.box import Box
from threedis_core.values.box_rounding import box_tokens
from threedis_detect.options import ClipOptions
from threedis_diffusers.lazy_model import LazyModel

if TYPE_CHECKING:
    from threedis_transformers.loading import LoadedVisionModel


class Clip(LazyModel["LoadedVisionModel"], Metric):
    """100 times the cosine of CLIP's embeddings: of the picture and the global prompt, and of each
    box cut out and its instance's prompt.

    The picture is RGB, one prompt is one text, and a crop keeps its proportions as CLIP's own
    processor does: what papers print as CLIP score often differs in all three.
    """

    Options = ClipOptions
    options: ClipOptions
    name = "clip"
    figures = (
        Figure(
            "global",
            "CLIP",
            "100 x cosine of picture and global prompt.",
            per="picture",
            share=False,
        ),
        Figure(
            "local",
            "local CLIP",
            "100 x cosine of each box, cut out, and its prompt.",
            share=False,
        ),
    )
    note = (
        "100 x cosine, RGB, one text per prompt; not comparable with CLIP scores printed in papers."
    )

    def find(self) -> Callable[[], LoadedVisionModel]:
        """Check device and files."""
        from threedis_transformers.loading import find_model
        from threedis_transformers.words import CLIP

        return find_model(
            self.options, "clip", "CLIPModel", "CLIPImageProcessorPil", words=CLIP
        ).load

    def check(self) -> None:
        """See that the device and the model's files are there.

        Raises:
            OptionError: The device is not there.
            WeightsError: A file is missing, or it is another kind of model.
        """
        self.check_model()

    def score(
        self, requests: Sequence[ScoreRequest], progress: Progress = silent
    ) -> list[PictureScore]:
        """Score every picture.

        Raises:
            OptionError: The device is not there.
            WeightsError: A file is missing or damaged, or it is another kind of model.
            RenderError: This metric is at work already, or the model makes no numbers.
        """
        scores: list[PictureScore] = []
        with self.in_use(progress) as loaded:
            for request in requests:
                scores.append(self._score(loaded, request))
                progress("score", len(scores), len(requests))
        return scores

    def _score(self, loaded: LoadedVisionModel, request: ScoreRequest) -> PictureScore:
        from threedis_detect.likeness import cosines

        layout = request.layout
        picture = request.open_picture().convert("RGB")
        crops = [cut_out(picture, instance.box) for instance in layout.instances]
        texts = [layout.prompt, *(instance.prompt for instance in layout.instances)]
        whole, *parts = cosines(loaded, [picture, *crops], texts, self.options.batch_size)
        return PictureScore(tuple({"local": 100 * part} for part in parts), {"global": 100 * whole})


def cut_out(picture: Image.Image, box: Box) -> Image.Image:
    """The part of a picture inside a box: every pixel that it touches."""
    rows, columns = box_tokens(box, picture.height, picture.width)
    return picture.crop((columns.start, rows.start, columns.stop, rows.stop))
