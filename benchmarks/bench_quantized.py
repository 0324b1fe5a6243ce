"""What quantised weights cost in quality: the pocket FLUX, packed in several ways.

    python benchmarks/bench_quantized.py [--layouts 96] [--seeds 2]

The pocket FLUX renders held-out layouts with exact depth, its hook on, as it is and with its
weights stored otherwise: a GGUF file in Q8_0 or Q4_0, an FP8 file, quantised by torchao or quanto
while loading, and its T5 as GGUF. Everything is the renderer's own options; the files are written
first. "colour" is the share of instances with the right colour in the right place, "difference" is
that to the first row of the same number format, "changed" counts instances that became right or
wrong, "MB" are the bytes of all weights as they are held.

A way whose package is not installed is left out, and said so.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Mapping
from contextlib import closing
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch
from gguf import GGMLQuantizationType
from quantized_files import write_fp8, write_gguf, write_t5_gguf
from rows import print_rows

from threedis_core.errors import OptionError
from threedis_core.plugin.discovery import load_plugins
from threedis_pocket.bench.measure import Judgement
from threedis_pocket.bench.pictures import SPLIT, measure_backend
from threedis_pocket.layouts import sample_layouts

PRESET = "pocket-flux"
PLAIN = "as it is"
HEADER = f"{'format':<9} {'weights':<26} {'MB':>5} {'colour':>7} {'difference':>10} {'changed':>9}"
ROW = (
    "{dtype:<9} {weights:<26} {megabytes:5.1f} {colour:7.4f} {difference:+10.4f}"
    " {changed:4d}/{instances}"
)


def main() -> None:
    """Parse the command line, measure, print a table or JSON."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--layouts", type=int, default=96)
    parser.add_argument("--seeds", type=int, default=2)
    parser.add_argument("--only", nargs="+", help="ways whose names hold one of these words")
    parser.add_argument("--dtype", nargs="+", default=["float32", "bfloat16"])
    parser.add_argument("--threads", type=int, default=1, help="CPU threads")
    parser.add_argument("--json", action="store_true", help="print one JSON document")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    print_rows(measurements(arguments), HEADER, ROW, arguments.json)


def measurements(arguments: argparse.Namespace) -> Iterator[dict[str, Any]]:
    """One row for each number format and way."""
    layouts, seeds = sample_layouts(SPLIT, arguments.layouts), range(arguments.seeds)
    with TemporaryDirectory() as folder:
        options = ways(Path(folder))
        for dtype in arguments.dtype:
            plain: list[Judgement] = []
            for name, given in options.items():
                chosen = arguments.only is None or any(word in name for word in arguments.only)
                if name != PLAIN and not chosen:
                    continue
                with closing(load_plugins().renderer(PRESET, {"dtype": dtype, **given})) as backend:
                    try:
                        backend.check()
                    except OptionError as error:
                        print(f"left out: {name} ({error})", flush=True)
                        continue
                    judged = measure_backend(backend, layouts, seeds, None)
                    held = backend.memory() or 0
                plain = plain or judged
                yield {"dtype": dtype, "weights": name, **figures(judged, plain, held)}


def figures(judged: list[Judgement], plain: list[Judgement], held: int) -> dict[str, Any]:
    """What a row says."""
    right = [one.colour for one in judged]
    before = [one.colour for one in plain]
    return {
        "megabytes": held / 1e6,
        "colour": sum(right) / len(right),
        "difference": (sum(right) - sum(before)) / len(right),
        "changed": sum(a != b for a, b in zip(right, before, strict=True)),
        "instances": len(right),
    }


def ways(folder: Path) -> Mapping[str, dict[str, Any]]:
    """The renderer's options for each way; the files that they name are written into ``folder``."""
    from diffusers import FluxTransformer2DModel
    from transformers import T5EncoderModel

    model: str = load_plugins().renderer(PRESET).options.model  # pyright: ignore
    transformer = FluxTransformer2DModel.from_pretrained(model, subfolder="transformer")
    encoder = T5EncoderModel.from_pretrained(model, subfolder="text_encoder_2")
    weights = transformer.state_dict()
    eight, four = GGMLQuantizationType.Q8_0, GGMLQuantizationType.Q4_0
    q8 = str(write_gguf(weights, folder / "flux-Q8_0.gguf", kind=eight))
    q4 = str(write_gguf(weights, folder / "flux-Q4_0.gguf", kind=four))
    t5 = str(write_t5_gguf(encoder, folder / "t5-Q8_0.gguf"))
    fp8 = str(write_fp8(weights, folder / "flux-fp8.safetensors"))
    quanto = {"quant_backend": "quanto", "quant_kwargs": {"weights": "int8"}}
    return {
        PLAIN: {},
        "GGUF Q8_0": {"transformer": q8},
        "GGUF Q8_0, T5 too": {"transformer": q8, "text_encoder_2": t5},
        "GGUF Q4_0": {"transformer": q4},
        "FP8 file": {"transformer": fp8},
        "fp8": {"quantization": "fp8"},
        "int8 (torchao)": {"quantization": "int8"},
        "int8 (quanto)": {"quantization": quanto},
    }


if __name__ == "__main__":
    main()
