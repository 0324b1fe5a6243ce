"""The base of every renderer whose model has joint attention: a stock pipeline plus the hook.

A family sets the class attributes and writes ``encode``; see ``threedis_flux/backend.py``.

Shapes: B pictures; R rows of the transformer's batch, B or, with negative prompts, 2 B.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, nullcontext
from dataclasses import dataclass
from functools import cached_property, partial
from typing import Any, ClassVar, Literal

import torch
from torch import Tensor

from threedis_core.attention import (
    ChosenLowering,
    JointPhases,
    JointRow,
    TokenOrder,
)
from threedis_core.attention.joint_phases import arrange_texts
from threedis_core.errors import OptionError
from threedis_core.plugin.interfaces import Capabilities, RenderRequest
from threedis_core.values.schedule import ControlSchedule
from threedis_diffusers.attention_kernel import attention_kernel
from threedis_diffusers.backend import LoadedPipeline
from threedis_diffusers.batch import Batch, Drawn
from threedis_diffusers.instance_loras.layers import everywhere
from threedis_diffusers.instance_loras.placed import PlacedLoRAs, place_loras, text_encoders
from threedis_diffusers.joint.hook import (
    JointHook,
    TwoPassHook,
    attached,
    everywhere_joint,
)
from threedis_diffusers.joint.lowering import choose
from threedis_diffusers.joint.model import JointModel
from threedis_diffusers.joint.options import JointOptions
from threedis_diffusers.joint.processor import Sites
from threedis_diffusers.joint.schedule import SCHEDULED, control_schedule
from threedis_diffusers.joint.texts import Encoded, PictureText, Reader, read_picture
from threedis_diffusers.model_files.facts import model_facts, read_if_local
from threedis_diffusers.model_files.sources import ModelSource
from threedis_diffusers.steps import OnStep, step_callback

MARK = "prompt"
"""What stands in a template for a prompt."""


@dataclass(frozen=True, eq=False)
class DrawnBatch:
    """What a batch came to.

    Args:
        images: The pipeline's images.
        texts: Per picture what the model read, and what it did not.
        lowerings: How the plan was carried out, by the controls of each phase, in order.
        warnings: Of the batch, one line each.
    """

    images: Any
    texts: list[PictureText]
    lowerings: Mapping[frozenset[str], ChosenLowering]
    warnings: Sequence[str] = ()


class JointRenderer(JointModel):
    """Render depth maps with a model in which text and image attend to each other.

    Attributes:
        tokenizer: The part whose tokens ``tokens_per_prompt`` counts.
        summarisers: Tokenizers of what reads the global prompt besides, by what it makes of it.
        order: Where the transformer keeps its tokens.
        lists_texts: True if the pipeline takes a list of texts, each as long as it is.
        guided_above: The guidance above which the pipeline reads negative prompts.
        masks_texts: True if the pipeline takes masks of its texts' padding.
        negative_rows: Where the rows of negative prompts are in the transformer's batch; "apart":
            in a call of their own, after the prompts'; "none": the pipeline reads no negative
            prompts.
        no_negative: What is told of a negative prompt that is not read.
        pads_to_most: True if prompts are padded as 3DIS-FLUX published; see ``Reader``.
        patch: Latent pixels on a side of an image token.
        heads: Attention heads of the published transformer, and channels of a head.
        positions: Image tokens on a side of a model's table of positions, where its files do not
            say it; None: it has no such table.
    """

    Options: ClassVar[type[JointOptions]]
    options: JointOptions
    tokenizer: ClassVar[str] = "tokenizer_2"
    summarisers: ClassVar[Mapping[str, str]] = {"CLIP's summary of the prompt": "tokenizer"}
    order: ClassVar[TokenOrder] = TokenOrder()
    lists_texts: ClassVar[bool] = False
    masks_texts: ClassVar[bool] = False
    negative_rows: ClassVar[Literal["none", "before", "after", "apart"]] = "none"
    guided_above: ClassVar[float] = 1.0
    no_negative: ClassVar[str] = "the negative prompt has no effect"
    pads_to_most: ClassVar[bool] = True
    patch: ClassVar[int] = 2
    heads: ClassVar[tuple[int, int]] = (24, 128)
    positions: ClassVar[int | None] = None

    @abstractmethod
    def encode(self, pipeline: Any, prompts: list[str], tokens: int) -> Encoded:
        """Embed P prompts as the stock pipeline does, the text of each padded to ``tokens``."""

    def token_order(self, grid: tuple[int, int]) -> TokenOrder:
        """Where the transformer keeps its tokens if (rows, columns) of them are the image's."""
        return self.order

    def special_tokens(self, tokenizer: Any) -> int:
        """Tokens that are not the prompt's, of those that ``tokens_per_prompt`` counts.

        Of a template those in front of the prompt: what is behind it is cut off before the prompt.
        """
        if not self.templated:
            return tokenizer.num_special_tokens_to_add()
        message = [{"role": "user", "content": MARK}]
        text = tokenizer.apply_chat_template(message, tokenize=False, add_generation_prompt=True)
        return len(tokenizer(text.partition(MARK)[0]).input_ids)

    def fixed_tokens(self, pipeline: Any) -> int:
        """Text tokens of each prompt in front of those that ``tokens_per_prompt`` counts."""
        return 0

    def most_tokens(self, pipeline: Any) -> int:
        """Counted tokens that the model reads of a prompt at most, and that one is padded to."""
        return self.options.most_tokens

    def keep(
        self, pipeline: Any, prompts: list[str], hidden: Tensor | Sequence[Tensor], tokens: int
    ) -> Sequence[Tensor]:
        """Of prompts and their embeddings, (T, C) each, what is read: (L_i, C) each.

        By default as many tokens of each: those that are not counted, and ``tokens``; all, where
        the texts are a list.
        """
        if not isinstance(hidden, Tensor):
            return hidden
        # Cloned to free what was cut off.
        return list(hidden[:, : self.fixed_tokens(pipeline) + tokens].clone())

    def arguments(self, pipeline: Any, batch: Batch) -> dict[str, Any]:
        """What the pipeline is called with beside what every one is, or instead of that."""
        return {}

    def around(self, pipeline: Any, batch: Batch) -> AbstractContextManager[Any]:
        """What is to hold while the pipeline is called."""
        return nullcontext()

    def site(self, name: str) -> Sites:
        """Which tokens an attention of the transformer sees, by its name."""
        return everywhere_joint(name)

    def hook(self, pipeline: Any, phases: JointPhases, loras: PlacedLoRAs | None) -> JointHook:
        """The transformer's hook for a batch."""
        kind = TwoPassHook if self.negative_rows == "apart" else JointHook
        return kind(pipeline.transformer, phases, self.site)

    def other_hooks(self, pipeline: Any, phases: JointPhases) -> Sequence[JointHook]:
        """Hooks of other models that read the batch's texts."""
        return ()

    def placeless(self, loras: PlacedLoRAs, pipeline: Any) -> Iterator[tuple[str, str]]:
        """The layers that LoRAs of instances change but that see no tokens; see ``left_out``."""
        return iter(())

    def most_positions(self) -> int | None:
        """Image tokens on a side of the largest picture; None: there is no limit."""
        config = read_if_local(ModelSource(self.options.model), "transformer/config.json")
        table = min(config.get("axes_lens", (self.positions,))[1:], default=self.positions)
        return config.get("pos_embed_max_size", table)

    @cached_property
    def capabilities(self) -> Capabilities:
        """What this backend can do.

        Raises:
            OptionError: ``default_side`` is not a multiple of what the model needs.
        """
        side = self.options.default_side
        multiple = self.patch * model_facts(ModelSource(self.options.model)).vae_factor
        if side % multiple:
            raise OptionError(
                f"default_side is {side}, but this model needs multiples of {multiple}; "
                f"use {max(multiple, round(side / multiple) * multiple)}"
            )
        most = self.most_positions()
        return Capabilities(
            size_multiple=multiple,
            default_size=(side, side),
            max_size=None if most is None else (most * multiple, most * multiple),
            default_steps=self.options.steps,
            default_guidance=self.options.guidance,
            negative_prompt=self.negative_rows != "none"
            and self.options.guidance > self.guided_above,
            controls=SCHEDULED,
            instance_loras=frozenset(self.options.instance_loras)
            if self.options.places_loras
            else None,
        )

    def default_schedule(self, request: RenderRequest, steps: int) -> ControlSchedule:
        """The options' step counts, scaled to ``steps``."""
        return control_schedule(self.options, request.width, request.height, steps)

    def is_guided(self, batch: Batch) -> bool:
        """True if the pipeline reads negative prompts, each in a row of its own."""
        return self.negative_rows != "none" and batch.guidance > self.guided_above

    def draw(self, loaded: LoadedPipeline, batch: Batch, on_step: OnStep) -> list[Drawn]:
        """Draw one batch with the joint-attention hook in the transformer."""
        made = self.draw_batch(loaded, batch, on_step)
        attention = [
            {"controls": sorted(controls), "lowering": chosen.name, "reason": chosen.reason}
            for controls, chosen in made.lowerings.items()
        ]
        return [
            Drawn(
                image,
                (*text.warnings, *made.warnings),
                {"tokens_per_prompt": text.tokens, "attention": attention},
            )
            for text, image in zip(made.texts, made.images, strict=True)
        ]

    def draw_batch(
        self, loaded: LoadedPipeline, batch: Batch, on_step: OnStep, **arguments: Any
    ) -> DrawnBatch:
        """Call the stock pipeline with the hook in its place.

        Args:
            loaded: The loaded pipeline.
            batch: What to render.
            on_step: Told after each time step; what it raises ends the run.
            **arguments: Passed on to the pipeline (``latents``, ``output_type``).
        """
        pipeline, options = loaded.pipeline, self.options
        width, height = batch.size
        token = pipeline.vae_scale_factor * self.patch
        grid = height // token, width // token
        kernel = "native" if options.attention_backend == "flex" else options.attention_backend
        # Whether any instance is heard at any step.
        heard = any(phase.controls for phase in batch.schedule.phases(batch.steps))
        masks = [request.regions.token_masks(*grid) for request in batch.requests]
        found = loaded.instance_loras
        loras = place_loras(found if heard else None, batch, [*map(torch.from_numpy, masks)])
        whole = {} if loras is None else loras.places.least()
        with torch.no_grad(), attention_kernel(kernel), ExitStack() as stack:
            with everywhere(found, whole, *text_encoders(pipeline)):
                texts = self._read(pipeline, batch, heard)
            dtype = texts[0].hidden[0].dtype
            head = head_width(pipeline.transformer.config)
            how = choose(options, loaded.device, dtype, head, options.reorders)
            rows = self._rows(texts, masks)
            phases = JointPhases(rows, batch.schedule, how, loaded.device, self.token_order(grid))
            own = self.hook(pipeline, phases, loras)
            hooks = [own, *self.other_hooks(pipeline, phases)]
            for hook in hooks:
                stack.enter_context(attached(hook))
            stack.enter_context(self.around(pipeline, batch))

            def step(index: int) -> None:
                for hook in hooks:
                    hook.step(index)

            given = {
                **self._given(texts),
                **_shared(batch),
                "callback_on_step_end": step_callback(pipeline, step, on_step),
                **self.arguments(pipeline, batch),
            }
            images = pipeline(**{**given, **arguments}).images
        unplaced = [] if loras is None else loras.left_out(self.placeless(loras, pipeline))
        return DrawnBatch(images, texts, phases.summary(batch.steps), unplaced)

    def _read(self, pipeline: Any, batch: Batch, heard: bool) -> list[PictureText]:
        """Per picture its prompts."""
        guided = self.is_guided(batch)
        tokenizer = getattr(pipeline, self.tokenizer) or pipeline.tokenizer
        reader = Reader(
            partial(self.encode, pipeline),
            tokenizer,
            min(self.most_tokens(pipeline), int(tokenizer.model_max_length)),
            partial(self.keep, pipeline),
            self.pads_to_most,
            {name: getattr(pipeline, part) for name, part in self.summarisers.items()},
            self.special_tokens(tokenizer),
        )
        unread = None if guided else self.no_negative
        tokens = self.options.tokens_per_prompt
        return [
            read_picture(reader, one.layout, heard and len(one.regions) > 0, guided, tokens, unread)
            for one in batch.requests
        ]

    def _given(self, texts: Sequence[PictureText]) -> dict[str, Any]:
        """The global and negative prompts, as the pipeline takes them."""
        if self.masks_texts:
            return _masked(texts)
        return _read_by_pipeline(texts, self.lists_texts)

    def _rows(self, texts: Sequence[PictureText], masks: Sequence[Any]) -> list[JointRow]:
        """The rows of the transformer's batch."""
        positive = [
            JointRow(text.hidden, mask[: len(text.hidden) - 1])
            for text, mask in zip(texts, masks, strict=True)
        ]
        if self.negative_rows == "apart":
            return positive
        grid = masks[0].shape[1:]
        negative = [
            JointRow.unhooked(text.negative.hidden[0], grid)
            for text in texts
            if text.negative is not None
        ]
        first, last = (
            (negative, positive) if self.negative_rows == "before" else (positive, negative)
        )
        return [*first, *last]


def _shared(batch: Batch) -> dict[str, Any]:
    """What every pipeline is told of a batch."""
    width, height = batch.size
    return {
        "control_image": [one.depth.resize(width, height).to_image() for one in batch.requests],
        "width": width,
        "height": height,
        "num_inference_steps": batch.steps,
        "guidance_scale": batch.guidance,
        "generator": [torch.Generator().manual_seed(one.seed) for one in batch.requests],
    }


def head_width(config: Any) -> int:
    """The channels of an attention head, however a transformer's configuration says it."""
    return config.get("attention_head_dim") or config["dim"] // config["n_heads"]


def _read_by_pipeline(texts: Sequence[PictureText], listed: bool) -> dict[str, Any]:
    """The global and negative prompts, as a pipeline takes them."""
    negative = [text.negative for text in texts if text.negative is not None]
    if listed:
        return {
            "prompt_embeds": [text.hidden[0] for text in texts],
            "negative_prompt_embeds": [one.hidden[0] for one in negative],
        }
    # Pipelines take as many tokens of both; what is padding the hooks hide.
    lines = arrange_texts([text.hidden[:1] for text in texts] + [one.hidden for one in negative])
    given = {"prompt_embeds": lines[: len(texts)]}
    pooled = [text.pooled for text in texts if text.pooled is not None]
    if pooled:
        given["pooled_prompt_embeds"] = torch.cat(pooled)
    if negative:
        given["negative_prompt_embeds"] = lines[len(texts) :]
    pooled = [one.pooled for one in negative if one.pooled is not None]
    if pooled:
        given["negative_pooled_prompt_embeds"] = torch.cat(pooled)
    return given


def _masked(texts: Sequence[PictureText]) -> dict[str, Any]:
    """The same as a pipeline takes them that is told which tokens are padding."""
    read = {
        "prompt": [text.hidden[:1] for text in texts],
        "negative_prompt": [one.negative.hidden for one in texts if one.negative is not None],
    }
    given: dict[str, Any] = {}
    for kind, own in read.items():
        if own:
            lines = given[f"{kind}_embeds"] = arrange_texts(own)
            lengths = torch.tensor([[len(one[0])] for one in own])
            mask = torch.arange(lines.shape[1]) < lengths
            given[f"{kind}_embeds_mask"] = mask.long().to(lines.device)
    return given
