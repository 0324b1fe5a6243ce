"""Single-file checkpoints, the format of community models: looked into, then loaded.

Such a file holds the weights of a U-Net, a VAE and the text encoders under their original names. A
folder or repository in diffusers format, its *configuration*, says how the parts are built, how
text becomes tokens and what the scheduler is; of its weights none is read.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from threedis_core.errors import WeightsError, retold
from threedis_diffusers.loading import left_out
from threedis_diffusers.model_files.checks import check_configuration, fetch_model
from threedis_diffusers.model_files.sources import ModelSource
from threedis_diffusers.quiet import quiet
from threedis_diffusers.readable import readable

TEXT_ENCODERS: Mapping[str, tuple[str, ...]] = {
    "sd15": ("cond_stage_model.transformer.",),
    "sd21": ("cond_stage_model.model.",),
    "sdxl": ("conditioner.embedders.0.transformer.", "conditioner.embedders.1.model."),
}
"""By renderer, how the names of its text encoders' weights start: that tells families apart."""
COMPARED_PARTS = {"unet": "UNet2DConditionModel", "vae": "AutoencoderKL"}
"""The parts whose every weight is looked for, and their classes in diffusers."""


@dataclass(frozen=True)
class SingleFile:
    """A checkpoint in one file.

    Args:
        path: The file.
        config: The folder or repository in diffusers format that describes it.
    """

    path: Path
    config: ModelSource

    def check(
        self,
        family: str,
        classes: Sequence[str],
        needed: Sequence[str],
        replaced: Collection[str] = (),
    ) -> None:
        """See that the file is of a family and holds what its configuration says; loads nothing.

        Args:
            family: One of ``TEXT_ENCODERS``.
            classes: The pipeline classes that will do.
            needed: Parts without which such a pipeline does not work.
            replaced: Parts that come from elsewhere.
        Raises:
            WeightsError: It is another kind of model, something is missing, or is unreadable.
        """
        self._check_family(family)
        try:
            check_configuration(self.config, classes, needed)
        except WeightsError as error:
            raise retold(
                error,
                WeightsError,
                f"'{self.path}' is one file; what describes it, the option config, is not usable: "
                f"{error}",
            ) from error
        for part, kind in COMPARED_PARTS.items():
            if part not in replaced:
                self._check_part(part, kind)

    def load(self, pipeline_class: Any, dtype: torch.dtype, **parts: Any) -> Any:
        """Load a pipeline on the CPU, without a safety checker.

        Args:
            pipeline_class: A pipeline class of diffusers.
            dtype: Number format of the weights.
            **parts: Parts that are loaded already.
        Raises:
            WeightsError: The file is damaged or does not fit its configuration.
        """
        folder = fetch_model(self.config, {})
        with readable(self._source), quiet():
            pipeline = pipeline_class.from_single_file(
                str(self.path),
                config=str(folder),
                dtype=dtype,
                **left_out(pipeline_class),
                **parts,
            )
        self._check_text_encoders(pipeline)
        pipeline.set_progress_bar_config(disable=True)
        return pipeline

    @property
    def _source(self) -> ModelSource:
        return ModelSource(str(self.path))

    @cached_property
    def _weights(self) -> dict[str, Tensor]:
        """The file's weights as to names and shapes, without their numbers."""
        from safetensors import safe_open

        if not self.path.is_file():
            raise WeightsError(
                f"model file '{self.path}' is not there; name a .safetensors file, a local folder "
                "in diffusers format or a hub id like 'owner/name'",
                code="weights-not-found",
                file=self.path,
                hint="name a .safetensors file, a local folder in diffusers format or a hub id",
            )
        if self.path.suffix != ".safetensors":
            raise WeightsError(
                f"model file '{self.path}' is no .safetensors file; convert it first (a torch "
                "pickle is never read)",
                file=self.path,
                hint="convert it to .safetensors first",
            )
        with readable(self._source), safe_open(self.path, "pt") as file:
            return {
                name: torch.empty(file.get_slice(name).get_shape(), device="meta")
                for name in file.keys()  # noqa: SIM118 (it is no mapping)
            }

    def _check_family(self, family: str) -> None:
        there = [
            name
            for name, prefixes in TEXT_ENCODERS.items()
            if all(any(key.startswith(prefix) for key in self._weights) for prefix in prefixes)
        ]
        if family in there:
            return
        wanted = " and ".join(f"'{prefix}'" for prefix in TEXT_ENCODERS[family])
        advice = f"use renderer '{there[0]}'" if there else "name a checkpoint of a whole model"
        raise WeightsError(
            f"'{self.path}' holds no weights whose names start with {wanted}, so it is no "
            f"checkpoint for renderer '{family}'; {advice}",
            file=self.path,
            hint=advice,
        )

    def _check_part(self, part: str, kind: str) -> None:
        """Compare names and shapes, converted as diffusers does, with the configuration's."""
        import diffusers
        from diffusers.loaders.single_file_model import SINGLE_FILE_LOADABLE_CLASSES

        config = self.config.read(f"{part}/config.json")
        with readable(self._source), quiet():
            with torch.device("meta"):
                wanted = getattr(diffusers, kind).from_config(config).state_dict()
            convert = SINGLE_FILE_LOADABLE_CLASSES[kind]["checkpoint_mapping_fn"]
            found = convert(checkpoint=dict(self._weights), config=config)
        wrong = [name for name, weight in wanted.items() if _shape(found.get(name)) != weight.shape]
        if wrong:
            got = _shape(found.get(wrong[0])) or "nothing"
            raise WeightsError(
                f"'{self.path}': {len(wrong)} of {len(wanted)} weights of the {part} are not as "
                f"'{self.config.name}' says (first: {wrong[0]}, got {got}, expected "
                f"{tuple(wanted[wrong[0]].shape)}); name the folder or repository that describes "
                "this model with the option config, or get the file again"
            )

    def _check_text_encoders(self, pipeline: Any) -> None:
        """What diffusers did not find it leaves without numbers, and says nothing."""
        for part in ("text_encoder", "text_encoder_2"):
            encoder = getattr(pipeline, part, None)
            named = [] if encoder is None else encoder.named_parameters()
            empty = [name for name, parameter in named if parameter.is_meta]
            if empty:
                raise WeightsError(
                    f"'{self.path}': {len(empty)} weights of the {part} are missing (first: "
                    f"{empty[0]}); get the file again"
                )


def _shape(weight: Tensor | None) -> tuple[int, ...] | None:
    return None if weight is None else tuple(weight.shape)
