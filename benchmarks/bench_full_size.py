"""What the hooks cost at the published models' own sizes: random weights, one thread of a CPU.

    python benchmarks/bench_full_size.py [--model sd15-attention sdxl] [--instances 4 8 16]

Nothing is downloaded; float32, 5 GB of memory at most, minutes a turn. What is measured:

- sd15: one step at 512 px with guidance, U-Net and ControlNet whole.
- sd15-attention: the 16 cross-attention layers of that step alone, one of each size counted as
  often as the U-Net has it: seconds instead of minutes, and the difference is what the hook adds.
- sdxl: at 1024 px with guidance, one transformer block of each width, counted as often as the U-Net
  has it: its 70 blocks. Convolutions, which the hook leaves alone, are not in it.
- flux: at 1024 px, a FLUX.1-Depth transformer with 1 double and 2 single blocks of 57, 16 tokens a
  prompt, in both phases ("i2i" with every control on, "text" without i2i), with the lowerings that
  attention=auto picks. The stock model reads as many text tokens as the hook.

"ratio" is hook to stock. All take turns in one process, after one that does not count (in it a hook
prepares what it keeps for all later steps); a figure is the median of the processor time.

--tiny runs the same code on tiny models: that checks the command and measures nothing.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from typing import Any

import torch
from architectures import FLUX_DEPTH, UNETS
from bench_gpu import CLIP_TOKENS, PHASES, TINY_FLUX, TINY_SDXL
from diffusers import ControlNetModel, FluxTransformer2DModel, UNet2DConditionModel
from diffusers.models.attention import BasicTransformerBlock
from rows import print_rows
from torch import nn
from turns import take_turns

from threedis_core.attention import FusionPlan, JointPhases, JointRow
from threedis_core.testing.samples import sample_layout
from threedis_core.values.regions import Regions
from threedis_core.values.schedule import ControlSchedule, StepRange
from threedis_diffusers.joint.hook import attached
from threedis_diffusers.joint.lowering import choose
from threedis_diffusers.unet.attention import RegionHook, cross_attention_layers
from threedis_flux.hook import FluxHook
from threedis_flux.options import FluxOptions

CPU = torch.device("cpu")
FLUX_BLOCKS = {"num_layers": 1, "num_single_layers": 2}
TOKENS_PER_PROMPT = 16
TINY_SD15: dict[str, Any] = {**UNETS["sd15"], "block_out_channels": (32, 32, 64, 64)}
TINY_SD15 |= {"cross_attention_dim": 32, "attention_head_dim": 2}
HEADER = (
    f"{'model':<14} {'N':>2} {'phase':>8} {'lowering':>11} {'stock':>10} {'hook':>10} {'ratio':>6}"
)
ROW = (
    "{model:<14} {instances:2d} {phase:>8} {how:>11} {stock_s:8.3f} s {hook_s:8.3f} s {ratio:6.3f}"
)
Row = dict[str, Any]
Step = Callable[[], Any]


def main() -> None:
    """Parse the command line, measure, print a table or JSON."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--model", nargs="+", choices=tuple(MODELS), default=list(MODELS))
    parser.add_argument("--instances", type=int, nargs="+", default=[4, 8, 16], help="N")
    parser.add_argument("--repeats", type=int, default=5, help="turns of each contestant")
    parser.add_argument("--threads", type=int, default=1, help="CPU threads")
    parser.add_argument("--tiny", action="store_true", help="check the command on tiny models")
    parser.add_argument("--json", action="store_true", help="print one JSON document")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    torch.manual_seed(0)
    print_rows(measurements(arguments), HEADER, ROW, arguments.json)


@torch.no_grad()
def measurements(arguments: argparse.Namespace) -> Iterator[Row]:
    """The rows of every model asked for."""
    for model in arguments.model:
        rows = MODELS[model](arguments.instances, arguments.repeats, arguments.tiny)
        for row in rows:
            yield {"model": model, **row, "ratio": row["hook_s"] / row["stock_s"]}


def sd15_rows(counts: Sequence[int], repeats: int, tiny: bool) -> Iterator[Row]:
    """A step of the whole U-Net and its ControlNet."""
    config, side = (TINY_SD15, 64) if tiny else (UNETS["sd15"], 512)
    unet = random_model(lambda: UNet2DConditionModel(**config))
    controlnet = random_model(
        lambda: ControlNetModel.from_unet(
            UNet2DConditionModel(**config), load_weights_from_unet=False
        )
    )
    latents, depth = torch.randn(2, 4, side // 8, side // 8), torch.rand(2, 3, side, side)
    text, timestep = torch.randn(2, CLIP_TOKENS, config["cross_attention_dim"]), torch.tensor(500)

    def step() -> None:
        down, mid = controlnet(latents, timestep, text, depth, return_dict=False)
        unet(
            latents,
            timestep,
            text,
            down_block_additional_residuals=down,
            mid_block_additional_residual=mid,
        )

    yield from unet_rows(take_hooked_turns(unet, step, side, counts, repeats), counts)


def sd15_attention_rows(counts: Sequence[int], repeats: int, tiny: bool) -> Iterator[Row]:
    """The cross-attention layers of such a step: one of each size, as often as it is there."""
    config, side = (TINY_SD15, 64) if tiny else (UNETS["sd15"], 512)
    with torch.device("meta"):
        unet = UNet2DConditionModel(**config)
    seconds = dict.fromkeys(["stock", *map(str, counts)], 0.0)
    last = len(unet.down_blocks) - 1
    ways = (enumerate(unet.down_blocks), zip(range(last, -1, -1), unet.up_blocks, strict=True))
    stages = [*(pair for way in ways for pair in way), (last, unet.mid_block)]
    found = [(level, layer) for level, stage in stages for layer in cross_attention_layers(stage)]
    for level in sorted({level for level, _ in found}):
        layers = [layer for one, layer in found if one == level]
        layer = nn.ModuleList([materialised(layers[0])])
        hidden = torch.randn(2, (side // 8 // 2**level) ** 2, layers[0].query_dim)
        text = torch.randn(2, CLIP_TOKENS, config["cross_attention_dim"])
        step = partial(layer[0], hidden, encoder_hidden_states=text)
        for name, one in take_hooked_turns(layer, step, side, counts, repeats).items():
            seconds[name] += one * len(layers)
    yield from unet_rows(seconds, counts)


def sdxl_rows(counts: Sequence[int], repeats: int, tiny: bool) -> Iterator[Row]:
    """All transformer blocks: one of each width, as often as it is there."""
    config, side = (TINY_SDXL, 128) if tiny else (UNETS["sdxl"], 1024)
    with torch.device("meta"):
        unet = UNet2DConditionModel(**config)
    seconds = dict.fromkeys(["stock", *map(str, counts)], 0.0)
    # A level of the U-Net has half the side of the one before it.
    for level, stage in enumerate(unet.down_blocks):
        blocks = [one for one in stage.modules() if isinstance(one, BasicTransformerBlock)]
        if not blocks:
            continue
        same = [one for one in unet.modules() if alike(one, blocks[0])]
        block = materialised(blocks[0])
        tokens = (side // 8 // 2**level) ** 2
        hidden = torch.randn(2, tokens, block.dim)
        text = torch.randn(2, CLIP_TOKENS, config["cross_attention_dim"])
        step = partial(block, hidden, encoder_hidden_states=text)
        for name, one in take_hooked_turns(block, step, side, counts, repeats).items():
            seconds[name] += one * len(same)
    yield from unet_rows(seconds, counts)


def alike(module: nn.Module, block: BasicTransformerBlock) -> bool:
    """Whether it is a transformer block of the same width."""
    return isinstance(module, BasicTransformerBlock) and module.dim == block.dim


def take_hooked_turns(
    model: nn.Module, step: Step, side: int, counts: Sequence[int], repeats: int
) -> dict[str, float]:
    """Median seconds of ``step`` alone ("stock") and with the region hook in ``model``, by N."""
    width = next(cross_attention_layers(model)).cross_attention_dim
    calls: dict[str, Step] = {"stock": step}
    for instances in counts:
        plan = FusionPlan(
            [torch.from_numpy(regions(instances, side).pixel_masks(side, side))],
            (side // 8, side // 8),
        )
        hook = RegionHook(model, plan, torch.randn(2 + instances, CLIP_TOKENS, width))
        calls[str(instances)] = partial(hooked, hook, step)
    return take_turns(calls, repeats, CPU)


def hooked(hook: RegionHook, step: Step) -> None:
    """A step with the hook in the model."""
    hook.switch(on=True)
    step()
    hook.detach()


def unet_rows(seconds: Mapping[str, float], counts: Sequence[int]) -> Iterator[Row]:
    """A row for each N."""
    for instances in counts:
        yield {
            "instances": instances,
            "phase": "regions",
            "how": "-",
            "stock_s": seconds["stock"],
            "hook_s": seconds[str(instances)],
        }


def flux_rows(counts: Sequence[int], repeats: int, tiny: bool) -> Iterator[Row]:
    """A transformer of a few blocks, per N and phase."""
    config: dict[str, Any] = TINY_FLUX if tiny else FLUX_DEPTH | FLUX_BLOCKS
    grid = 8 if tiny else 64
    transformer = random_model(lambda: FluxTransformer2DModel(**config))
    positions = torch.cartesian_prod(torch.arange(1), torch.arange(grid), torch.arange(grid))
    width = config["joint_attention_dim"]
    given = {
        "hidden_states": torch.randn(1, grid * grid, config["in_channels"]),
        "pooled_projections": torch.randn(1, config["pooled_projection_dim"]),
        "timestep": torch.rand(1),
        "guidance": torch.rand(1),
        "img_ids": positions.float(),
    }
    for instances in counts:
        texts = torch.randn(1 + instances, TOKENS_PER_PROMPT, width)
        given["encoder_hidden_states"] = texts.flatten(0, 1)[None]
        given["txt_ids"] = torch.zeros(len(texts) * TOKENS_PER_PROMPT, 3)
        step = partial(transformer, **given)
        masks = regions(instances, grid * 16).token_masks(grid, grid)
        how = choose(FluxOptions(), CPU, texts.dtype, config["attention_head_dim"], True)
        rows = [JointRow(texts, masks)]
        hooks = {
            phase: FluxHook(transformer, JointPhases(rows, always(*controls), how, CPU))
            for phase, controls in PHASES.items()
        }
        calls = {phase: partial(jointly_hooked, hook, step) for phase, hook in hooks.items()}
        seconds = take_turns({"stock": step, **calls}, repeats, CPU)
        for phase, hook in hooks.items():
            (chosen,) = hook.phases.chosen.values()
            facts = {"instances": instances, "phase": phase, "how": chosen.name}
            yield facts | {"stock_s": seconds["stock"], "hook_s": seconds[phase]}


def always(*controls: str) -> ControlSchedule:
    """A schedule with these controls on at every step."""
    return ControlSchedule({control: StepRange() for control in controls})


def jointly_hooked(hook: FluxHook, step: Step) -> None:
    """A step with the hook in the transformer."""
    with attached(hook):
        step()


MODELS = {
    "sd15": sd15_rows,
    "sd15-attention": sd15_attention_rows,
    "sdxl": sdxl_rows,
    "flux": flux_rows,
}


def random_model(build: Callable[[], nn.Module]) -> Any:
    """A model with random weights, of which there is only one set in memory."""
    with torch.device("meta"):
        model = build()
    return materialised(model)


def materialised(model: nn.Module) -> Any:
    """``model``, made on the meta device, with random weights."""
    model = model.to_empty(device=CPU).eval()
    for parameter in model.parameters():
        nn.init.normal_(parameter, std=0.02)
    return model


def regions(instances: int, side: int) -> Regions:
    """Boxes in rows of four that do not touch."""
    return Regions.from_layout(sample_layout(instances), side, side)


if __name__ == "__main__":
    main()
