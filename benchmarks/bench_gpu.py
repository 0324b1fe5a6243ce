"""One step of the full-size models on a GPU, random weights: time and memory, hook and stock.

    python benchmarks/bench_gpu.py [--family flux sdxl] [--instances 4 8 16] [--json]

A FLUX.1-Depth transformer and an SDXL U-Net (without its ControlNet, which the hook leaves alone)
are made with random weights in bfloat16; nothing is downloaded. A step is one call of the model for
a picture of 1024 px: FLUX's reads 512 text tokens as in the stock pipeline, with the hook 200 a
prompt; SDXL's has guidance, so a batch of two. FLUX has two phases: "i2i" with every control on, as
in the first steps, and "text" without i2i.

Contestants take turns, after one that does not count, and a figure is the median. In each turn a
first step is not timed: in it a hook prepares what it keeps for all later ones. "peak GB" is
torch.cuda.max_memory_allocated of the turn, weights included; "MB held" is what FLUX's hook holds.

--tiny runs the same code on tiny models on the CPU: that checks the command and measures nothing.
"""

from __future__ import annotations

import argparse
import json
import statistics
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from architectures import FLUX_DEPTH, UNETS
from diffusers import FluxTransformer2DModel, UNet2DConditionModel
from torch import Tensor, nn
from turns import now

from threedis_core.attention import FusionPlan, JointPhases, JointRow
from threedis_core.testing.samples import sample_layout
from threedis_core.values.regions import Regions
from threedis_core.values.schedule import ControlSchedule, StepRange
from threedis_diffusers.joint.hook import attached as joint_hook_attached
from threedis_diffusers.joint.lowering import always
from threedis_diffusers.joint.schedule import TEXTS
from threedis_diffusers.quiet import quiet
from threedis_diffusers.unet.attention import RegionHook
from threedis_diffusers.unet.attention import attached as region_hook_attached
from threedis_flux.hook import FluxHook

PHASES = {"i2i": ("i2i", "i2t", "t2i", "t2t", TEXTS), "text": ("i2t", "t2i", "t2t", TEXTS)}
LOWERINGS = ("dense", "segments", "block_mask")
CLIP_TOKENS = 77
TINY_FLUX: dict[str, Any] = {**FLUX_DEPTH, "num_layers": 1, "num_single_layers": 1}
TINY_FLUX |= {"attention_head_dim": 16, "num_attention_heads": 2, "axes_dims_rope": (4, 6, 6)}
TINY_FLUX |= {"joint_attention_dim": 32, "pooled_projection_dim": 16}
TINY_SDXL: dict[str, Any] = {**UNETS["sdxl"], "block_out_channels": (32, 32, 64)}
TINY_SDXL |= {"attention_head_dim": (1, 2, 4), "transformer_layers_per_block": (1, 1, 1)}
TINY_SDXL |= {"cross_attention_dim": 32, "addition_time_embed_dim": 8}
TINY_SDXL |= {"projection_class_embeddings_input_dim": 64}
LINE = (
    "{family:<6} {instances:>3} {phase:>8} {how:>11} {ratio:>8} {ms:>10} {peak_gb:>8} {held_mb:>8}"
)
TITLES = {"family": "model", "instances": "N", "phase": "phase", "how": "how", "ratio": "/ stock"}
TITLES |= {"ms": "ms", "peak_gb": "peak GB", "held_mb": "MB held"}


@dataclass(frozen=True)
class Setting:
    """The sizes of what is measured, and where.

    Args:
        flux, sdxl: Configurations of the two models.
        side: The picture's side in pixels.
        stock_tokens: Text tokens that FLUX reads in the stock pipeline.
        tokens: Text tokens of each prompt that FLUX reads with the hook.
        device, dtype: Of everything.
    """

    flux: dict[str, Any]
    sdxl: dict[str, Any]
    side: int
    stock_tokens: int
    tokens: int
    device: torch.device
    dtype: torch.dtype

    def noise(self, *shape: int) -> Tensor:
        """Normal noise."""
        return torch.randn(shape, device=self.device, dtype=self.dtype)

    def random_model(self, build: Callable[..., nn.Module], config: dict[str, Any]) -> nn.Module:
        """A model with random weights, made in its own dtype so that no more memory is taken."""
        with torch.device("meta"), quiet():  # to() warns of casting weights; there are none yet
            model = build(**config).to(self.dtype)
        model = model.to_empty(device=self.device).eval()
        for parameter in model.parameters():
            nn.init.normal_(parameter, std=0.02)
        return model


FULL = Setting(FLUX_DEPTH, UNETS["sdxl"], 1024, 512, 200, torch.device("cuda"), torch.bfloat16)
TINY = Setting(TINY_FLUX, TINY_SDXL, 128, 16, 8, torch.device("cpu"), torch.float32)
Attach = Callable[[], AbstractContextManager[int | None]]
"""Has a hook in the model, once entered, and gives the bytes that it says it holds."""


def main() -> None:
    """Parse the command line, measure, print a table or JSON."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--family", nargs="+", choices=tuple(FAMILIES), default=list(FAMILIES))
    parser.add_argument("--instances", type=int, nargs="+", default=[4, 8, 16], help="N")
    parser.add_argument("--repeats", type=int, default=5, help="turns of each contestant")
    parser.add_argument("--tiny", action="store_true", help="check the command on the CPU")
    parser.add_argument("--json", action="store_true", help="print one JSON document")
    arguments = parser.parse_args()
    if not (arguments.tiny or torch.cuda.is_available()):
        raise SystemExit(
            "torch sees no CUDA GPU, and this benchmark measures one; --tiny checks the command "
            "on the CPU"
        )
    setting = TINY if arguments.tiny else FULL
    if not arguments.json:
        name = "cpu, tiny models" if arguments.tiny else torch.cuda.get_device_name()
        print(f"{name}, {setting.dtype}, {setting.side} px", LINE.format(**TITLES), sep="\n")
    found: list[dict[str, Any]] = []
    for family in arguments.family:
        for row in FAMILIES[family](setting, arguments.instances, arguments.repeats):
            found.append({"family": family, **row})
            if not arguments.json:
                print(LINE.format(**shown(found[-1])), flush=True)
    if arguments.json:
        print(json.dumps(found))


def flux_rows(setting: Setting, counts: Sequence[int], repeats: int) -> Iterator[dict[str, Any]]:
    """A FLUX transformer: per N and phase the stock call and every lowering."""
    config, grid = setting.flux, setting.side // 16
    transformer = setting.random_model(FluxTransformer2DModel, config)
    positions = torch.cartesian_prod(torch.arange(1), torch.arange(grid), torch.arange(grid))
    step = partial(
        transformer,
        hidden_states=setting.noise(1, grid * grid, config["in_channels"]),
        encoder_hidden_states=setting.noise(1, setting.stock_tokens, config["joint_attention_dim"]),
        pooled_projections=setting.noise(1, config["pooled_projection_dim"]),
        timestep=setting.noise(1).abs(),
        guidance=setting.noise(1).abs(),
        img_ids=positions.to(setting.device, setting.dtype),
        txt_ids=torch.zeros(setting.stock_tokens, 3, device=setting.device, dtype=setting.dtype),
    )
    for instances in counts:
        masks = regions(instances, setting).token_masks(grid, grid)
        texts = setting.noise(1 + instances, setting.tokens, config["joint_attention_dim"])
        for phase, controls in PHASES.items():
            schedule = ControlSchedule({control: StepRange() for control in controls})
            rows = [JointRow(texts, masks)]
            hooks = {
                name: partial(
                    joint_hook,
                    FluxHook(
                        transformer, JointPhases(rows, schedule, always(name), setting.device)
                    ),
                )
                for name in LOWERINGS
            }
            for row in turns(step, hooks, repeats, setting.device):
                yield {"instances": instances, "phase": phase, **row}


@contextmanager
def joint_hook(hook: FluxHook) -> Iterator[int]:
    """The hook in the transformer, as the ``flux`` renderer has it."""
    with joint_hook_attached(hook):
        yield hook.memory


def sdxl_rows(setting: Setting, counts: Sequence[int], repeats: int) -> Iterator[dict[str, Any]]:
    """An SDXL U-Net: per N the stock call and the hook."""
    config, grid = setting.sdxl, setting.side // 8
    unet = setting.random_model(UNet2DConditionModel, config)
    width = config["cross_attention_dim"]
    pooled = config["projection_class_embeddings_input_dim"] - 6 * config["addition_time_embed_dim"]
    step = partial(
        unet,
        setting.noise(2, 4, grid, grid),
        torch.tensor(500, device=setting.device),
        encoder_hidden_states=setting.noise(2, CLIP_TOKENS, width),
        added_cond_kwargs={
            "text_embeds": setting.noise(2, pooled),
            "time_ids": setting.noise(2, 6),
        },
    )
    for instances in counts:
        pixels = regions(instances, setting).pixel_masks(setting.side, setting.side)
        plan = FusionPlan([torch.from_numpy(pixels)], (grid, grid))
        text = setting.noise(2 + instances, CLIP_TOKENS, width)  # the negative, the global, N
        hooks = {"hook": partial(region_hook, unet, plan, text)}
        for row in turns(step, hooks, repeats, setting.device):
            yield {"instances": instances, "phase": "regions", **row}


@contextmanager
def region_hook(unet: nn.Module, plan: FusionPlan, text: Tensor) -> Iterator[None]:
    """The hook in the U-Net, as the Stable Diffusion renderers have it."""
    hook = RegionHook(unet, plan, text)
    with region_hook_attached(hook):
        hook.switch(on=True)
        yield


FAMILIES = {"flux": flux_rows, "sdxl": sdxl_rows}


def regions(instances: int, setting: Setting) -> Regions:
    """Boxes in rows of four that do not touch."""
    return Regions.from_layout(sample_layout(instances), setting.side, setting.side)


@torch.no_grad()
def turns(
    step: Callable[[], Any], hooks: Mapping[str, Attach], repeats: int, device: torch.device
) -> list[dict[str, Any]]:
    """One row per contestant, the stock step first: its median time, ratio and memory."""
    contestants: dict[str, Attach] = {"stock": partial(nullcontext, None), **hooks}
    times: dict[str, list[float]] = {name: [] for name in contestants}
    memory: dict[str, tuple[float | None, float | None]] = {}
    for _ in range(repeats + 1):
        for name, attach in contestants.items():
            reset_peak(device)
            with attach() as held:
                step()
                start = now(device)
                step()
                times[name].append(now(device) - start)
            memory[name] = peak_gb(device), None if held is None else held / 1e6
    medians = {name: statistics.median(found[1:]) for name, found in times.items()}
    return [
        {
            "how": name,
            "ratio": seconds / medians["stock"],
            "ms": seconds * 1e3,
            "peak_gb": memory[name][0],
            "held_mb": memory[name][1],
        }
        for name, seconds in medians.items()
    ]


def reset_peak(device: torch.device) -> None:
    """Forget the most memory taken so far."""
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)


def peak_gb(device: torch.device) -> float | None:
    """The most memory taken since, in GB; None where torch does not count it."""
    return torch.cuda.max_memory_allocated(device) / 1e9 if device.type == "cuda" else None


def shown(row: dict[str, Any]) -> dict[str, Any]:
    """A row as the table shows it."""
    figures = {"ratio": ".2f", "ms": ".1f", "peak_gb": ".2f", "held_mb": ".2f"}
    texts = {name: "-" if row[name] is None else f"{row[name]:{f}}" for name, f in figures.items()}
    return row | texts


if __name__ == "__main__":
    main()
