"""What the region hook costs: U-Net renderers against their stock pipelines, in one process.

    python benchmarks/bench_unet_hook.py --model pocket-sd15 pocket-sd21 pocket-sdxl

For each model and number of instances the same picture is rendered with the hook on and with the
stock pipeline, alternating, and the ratio of the medians is printed. Both sides embed their own
texts and decode the picture. A model is a preset, or a local folder for --renderer; without one a
tiny random SD1.5 is made.
"""

from __future__ import annotations

import argparse
import json
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import torch

from threedis_core.interfaces import RenderRequest
from threedis_core.plugins import load_plugins
from threedis_core.testing.samples import sample_request
from threedis_sd.backend import UNetRenderer
from threedis_sd.controlnets import depth_arguments

CLOCKS = {"cpu": time.process_time}
HEADER = f"{'model':<16} {'instances':>9} {'stock s':>9} {'hook s':>9} {'ratio':>7}"
ROW = "{model:<16} {instances:9d} {stock:9.3f} {hook:9.3f} {ratio:7.2f}"


def main() -> None:
    """Parse the command line, measure, print a table or JSON."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--model", nargs="*", help="presets or local folders")
    parser.add_argument("--renderer", default="sd15", help="the renderer of a local folder")
    parser.add_argument("--instances", type=int, nargs="+", default=[0, 2, 4, 8])
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--repeats", type=int, default=7)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--json", action="store_true", help="print one JSON document")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    with tempfile.TemporaryDirectory() as folder:
        rows = measurements(arguments, Path(folder))
        if arguments.json:
            print(json.dumps(list(rows)))
            return
        print(HEADER, flush=True)
        for row in rows:
            print(ROW.format(**row), flush=True)


def measurements(arguments: argparse.Namespace, folder: Path) -> Iterator[dict[str, Any]]:
    """One row for each model and number of instances."""
    models = arguments.model
    if not models:
        save_random_pipeline(folder)
        models = [str(folder)]
    for model in models:
        renderer = make_renderer(model, arguments.renderer, arguments.steps)
        name = Path(model).name if arguments.model else "random"
        for instances in arguments.instances:
            yield {"model": name, **measure(renderer, instances, arguments.repeats)}
        renderer.close()


def make_renderer(model: str, renderer: str, steps: int) -> UNetRenderer:
    """The renderer to measure: of a preset, or of a local folder."""
    options: dict[str, Any] = {"steps": steps}
    if Path(model).is_dir():
        name, options = renderer, {**options, "model": model}
    else:
        name = model
    backend = load_plugins().renderer(name, options)
    if not isinstance(backend, UNetRenderer):
        raise SystemExit(f"'{name}' is not a U-Net renderer")
    return backend


def measure(renderer: UNetRenderer, instances: int, repeats: int) -> dict[str, Any]:
    """Median seconds of both sides for a layout of ``instances``."""
    size = renderer.capabilities.default_size
    request = sample_request(instances, size=size)
    result = renderer.render([request])[0]
    # The stock side needs the very same loaded model.
    loaded = renderer.load()
    pipeline, clock = loaded.pipeline, CLOCKS.get(loaded.device.type, time.perf_counter)
    steps, guidance = result.provenance["steps"], result.provenance["guidance"]
    times: dict[str, list[float]] = {"stock": [], "hook": []}
    for _ in range(repeats):
        stock_side = partial(stock_picture, pipeline, request, steps, guidance)
        times["stock"].append(seconds(stock_side, clock))
        times["hook"].append(seconds(partial(renderer.render, [request]), clock))
    stock, hook = (statistics.median(times[side]) for side in ("stock", "hook"))
    return {"instances": instances, "stock": stock, "hook": hook, "ratio": hook / stock}


def stock_picture(pipeline: Any, request: RenderRequest, steps: int, guidance: float) -> Any:
    """The stock pipeline's picture of a request."""
    return pipeline(
        request.layout.prompt,
        **depth_arguments(pipeline.controlnet, [request.depth.to_image()]),
        negative_prompt=request.layout.negative_prompt,
        num_inference_steps=steps,
        guidance_scale=guidance,
        generator=torch.Generator().manual_seed(request.seed),
    ).images[0]


def seconds(work: Callable[[], Any], clock: Callable[[], float]) -> float:
    """Time of one call."""
    start = clock()
    work()
    return clock() - start


def save_random_pipeline(folder: Path) -> None:
    """Save a tiny SD1.5-style pipeline of 128 px with random weights, ControlNet inside."""
    from diffusers import (
        AutoencoderKL,
        ControlNetModel,
        EulerDiscreteScheduler,
        StableDiffusionControlNetPipeline,
        UNet2DConditionModel,
    )
    from transformers import CLIPTextConfig, CLIPTextModel

    torch.manual_seed(0)
    unet = UNet2DConditionModel(
        sample_size=16,
        down_block_types=("CrossAttnDownBlock2D", "CrossAttnDownBlock2D"),
        up_block_types=("CrossAttnUpBlock2D", "CrossAttnUpBlock2D"),
        block_out_channels=(48, 96),
        layers_per_block=1,
        norm_num_groups=8,
        cross_attention_dim=64,
        attention_head_dim=4,
    )
    vae = AutoencoderKL(
        down_block_types=("DownEncoderBlock2D",) * 4,
        up_block_types=("UpDecoderBlock2D",) * 4,
        block_out_channels=(16, 16, 32, 32),
        layers_per_block=1,
        norm_num_groups=8,
    )
    tokenizer = byte_tokenizer()
    text = CLIPTextConfig(
        vocab_size=len(tokenizer),
        hidden_size=64,
        intermediate_size=128,
        num_hidden_layers=2,
        num_attention_heads=4,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )
    StableDiffusionControlNetPipeline(
        vae=vae.eval(),
        text_encoder=CLIPTextModel(text).eval(),
        tokenizer=tokenizer,
        unet=unet.eval(),
        controlnet=ControlNetModel.from_unet(
            unet, conditioning_embedding_out_channels=(8, 8, 16, 16)
        ).eval(),
        scheduler=EulerDiscreteScheduler(beta_schedule="scaled_linear", steps_offset=1),
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    ).save_pretrained(folder)


def byte_tokenizer() -> Any:
    """A CLIP tokenizer that knows single bytes and no merges."""
    from tokenizers.pre_tokenizers import ByteLevel
    from transformers import CLIPTokenizer

    letters = sorted(ByteLevel.alphabet())
    tokens = [*letters, *(letter + "</w>" for letter in letters)]
    tokens += ["<|startoftext|>", "<|endoftext|>"]
    vocabulary = {token: index for index, token in enumerate(tokens)}
    return CLIPTokenizer(vocab=vocabulary, merges=[], model_max_length=77)


if __name__ == "__main__":
    main()
