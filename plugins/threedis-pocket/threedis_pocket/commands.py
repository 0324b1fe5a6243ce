"""The pocket's commands: ``demo``, those of ``bench`` and the group ``pocket``."""

from __future__ import annotations

import json
import os
from enum import StrEnum
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Annotated, Any

import typer

from threedis_core.cli import streams
from threedis_core.cli.progress import progress_bars
from threedis_core.cli.state import state_of
from threedis_core.errors import OptionError
from threedis_core.files.atomic import check_writable, write_atomically
from threedis_core.files.png import check_png, write_png
from threedis_diffusers.quiet import quiet
from threedis_train.launch import launch_again

WORK = Path("runs/pocket-training")
JsonFile = Annotated[Path | None, typer.Option("--json", help="Write the figures here.")]
WorkFolder = Annotated[Path, typer.Option(help="Folder for data, checkpoints and models.")]


class RecipeName(StrEnum):
    """What ``threedis pocket train`` can train, in an order in which every part has its needs."""

    vae = "vae"
    text = "text"
    openclip = "openclip"
    t5 = "t5"
    flux_vae = "flux-vae"
    depth_vae = "depth-vae"
    depth_wild = "depth-wild"
    sd15 = "sd15"
    sd15_wild = "sd15-wild"
    sd15_fine = "sd15-fine"
    sd21 = "sd21"
    sd21_wild = "sd21-wild"
    sd21_fine = "sd21-fine"
    sdxl = "sdxl"
    sdxl_wild = "sdxl-wild"
    sdxl_fine = "sdxl-fine"
    flux = "flux"
    flux_guided = "flux-guided"
    flux_wild = "flux-wild"
    flux_wild_guided = "flux-wild-guided"
    flux_controlnet = "flux-controlnet"
    sd35 = "sd35"
    sd35_fine = "sd35-fine"
    qwen = "qwen"
    z_image = "z-image"
    z_image_fine = "z-image-fine"
    qwen_vl = "qwen-vl"
    qwen_vae = "qwen-vae"
    qwen_image = "qwen-image"
    qwen_image_fine = "qwen-image-fine"
    gold = "gold"
    gold_flux = "gold-flux"


class Part(StrEnum):
    """The splits of the pocket world."""

    train = "train"
    validation = "validation"
    test = "test"


class Drawn(StrEnum):
    """The held-out layouts that ``threedis bench pocket`` renders."""

    test = "test"
    wild = "wild"


class Exported(StrEnum):
    """What ``threedis pocket export`` can put together."""

    sd15 = "sd15"
    sd21 = "sd21"
    sdxl = "sdxl"
    flux = "flux"
    flux_controlnet = "flux-controlnet"
    sd35 = "sd35"
    z_image = "z-image"
    qwen_image = "qwen-image"
    depth = "depth"


def add_commands(app: typer.Typer, bench: typer.Typer) -> None:
    """Add the pocket's commands to the command line and to its bench group."""
    app.command("demo")(demo)
    bench.command("pocket")(bench_pocket)
    bench.command("pocket-depth")(bench_depth)
    bench.command("pocket-vae")(bench_vae)
    bench.command("regions")(bench_regions)
    bench.command("presence")(bench_presence)
    bench.command("instance-loras")(bench_loras)
    pocket = typer.Typer(no_args_is_help=True, help="The pocket world: train its models.")
    pocket.command("train")(train)
    pocket.command("depth-base")(depth_base)
    pocket.command("export")(export)
    pocket.command("scenes")(scenes)
    app.add_typer(pocket, name="pocket")


def demo(
    context: typer.Context,
    out: Annotated[Path, typer.Option(help="Folder for the contact sheet.")] = Path("runs/demo"),
    layouts: Annotated[int, typer.Option(min=1, max=32, help="How many layouts.")] = 4,
    seed: Annotated[int, typer.Option(help="Seed of every picture.")] = 0,
    preset: Annotated[
        list[str] | None,
        typer.Option(help="Preset to show; repeat for several. Default: every pocket preset."),
    ] = None,
) -> None:
    """Go the whole way: pocket layouts, their depth maps, every base model, one contact sheet.

    All base models render the same depth map, with their hook off and on. Takes about two minutes
    on a laptop; needs no download.
    """
    from threedis_pocket.bench.pictures import pocket_presets
    from threedis_pocket.demo import make_demo

    check_writable(out, folder=True)
    registry = state_of(context).registry
    presets = preset or pocket_presets(registry)
    with progress_bars() as progress:
        sheet = make_demo(registry, out, presets, layouts, seed, progress)
    for line in sheet.figures.splitlines():
        streams.echo(line)
    streams.echo(sheet.path)


def bench_pocket(
    context: typer.Context,
    preset: Annotated[
        list[str] | None,
        typer.Option(help="Preset to measure; repeat for several. Default: every pocket preset."),
    ] = None,
    split: Annotated[
        Drawn,
        typer.Option(
            help="test: two to five objects, 128 px, exact depth. wild: as people draw them, one "
            "to eight objects of any size, no labels, by both stages with default settings."
        ),
    ] = Drawn.test,
    layouts: Annotated[int, typer.Option(min=1, help="Held-out layouts.")] = 96,
    seeds: Annotated[int, typer.Option(min=1, help="Seeds per layout: 0, 1, ...")] = 2,
    without: Annotated[
        list[str] | None,
        typer.Option(
            help="Measure also with this control off, such as i2i of pocket-flux; repeat it."
        ),
    ] = None,
    depth_model: Annotated[
        str | None,
        typer.Option(
            help="Model that makes the depth maps, such as pocket-depth, or exact. Default: exact; "
            "with --split wild: the run's."
        ),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(
            help="Folder that keeps pictures, tables and a page of them; the same command goes on "
            "there. Default: nothing is kept."
        ),
    ] = None,
    workers: Annotated[
        int | None, typer.Option(min=1, help="Worker processes. Default: 1, this one.")
    ] = None,
    json_file: JsonFile = None,
) -> None:
    """Measure the hook on held-out pocket layouts: pictures with it on and with it off.

    A comparison underneath: see threedis compare.

    colour: the prompt's colour is the most frequent one on the instance.

    colour + IoU (colour_iou in the JSON): and the box found for that colour has IoU >= 0.5.

    mean IoU (iou): of that box with the layout's, 0 where the colour is wrong.

    shape: the prompt's shape explains the picture best of all four; of instances of which 70 % can
    be seen.

    whole image (image): every instance is right.

    unsaid (with --split wild, hook on alone): it is missing, and no warning of the run says so.

    Shared instances share their shape with another one, so the prompt alone cannot tell them apart.
    """
    from threedis_core.compare import Means
    from threedis_pocket.bench.hook import bench_pocket as measure
    from threedis_pocket.bench.pictures import pocket_presets
    from threedis_pocket.bench.tables import print_table
    from threedis_pocket.bench.wild import EXACT, bench_wild

    _check(json_file)
    for name, value in {"--without": without, "--out": out, "--workers": workers}.items():
        if split is Drawn.wild and value:
            raise OptionError(f"{name} goes with --split test; leave one of them out")
    registry = state_of(context).registry
    presets = preset or pocket_presets(registry)
    with progress_bars() as progress:
        if split is Drawn.wild:
            figures = bench_wild(registry, presets, layouts, seeds, depth_model, progress)
        else:
            model, means = None if depth_model == EXACT else depth_model, Means(workers=workers)
            figures = measure(
                *(registry, presets, layouts, seeds, without or ()), progress, model, out, means
            )
    print_table(figures)
    _write(json_file, figures)


def bench_depth(
    context: typer.Context,
    model: Annotated[str, typer.Option(help="Depth model to measure.")] = "pocket-depth",
    layouts: Annotated[int, typer.Option(min=1, help="Held-out layouts.")] = 96,
    seeds: Annotated[int, typer.Option(min=1, help="Seeds per layout: 0, 1, ...")] = 2,
    json_file: JsonFile = None,
) -> None:
    """Measure the depth stage on held-out pocket layouts: does everything stand in its box?

    An instance is found if the box around a silhouette in the depth map has IoU >= 0.5 with the
    instance's box. Silhouettes are found without knowing the layout; exact depth tells how well.
    """
    from threedis_pocket.bench.depth_maps import bench_depth as measure
    from threedis_pocket.bench.depth_maps import print_depth_table

    _check(json_file)
    with quiet(), progress_bars() as progress:
        figures = measure(state_of(context).registry, model, layouts, seeds, progress)
    print_depth_table(model, figures)
    _write(json_file, figures)


def bench_presence(
    context: typer.Context,
    split: Annotated[
        Drawn, typer.Option(help="wild: as people draw them; test: two to five objects.")
    ] = Drawn.wild,
    model: Annotated[str, typer.Option(help="Depth model to measure.")] = "pocket-depth",
    layouts: Annotated[int, typer.Option(min=1, help="Held-out layouts.")] = 48,
    tries: Annotated[int, typer.Option(min=1, max=64, help="Most tries; 1, 2, 4, ...")] = 4,
    json_file: JsonFile = None,
) -> None:
    """Measure the warnings of missing instances on held-out pocket layouts.

    On exact depth, and on changes of it. false: of what is there; said: of what was left out and
    would be half visible; auc: area under the ROC curve.

    The same of exact pictures, by the colours that the prompts name.

    On maps of a depth model, with several tries. warned; found: a silhouette has IoU >= 0.5 with
    the box; unsaid: not found, and no warning; needless: found, and a warning.
    """
    from threedis_pocket.bench.pictures import SPLIT
    from threedis_pocket.bench.presence import (
        bench_exact,
        bench_model,
        bench_pictures,
        print_presence,
    )
    from threedis_pocket.layouts import sample_layouts, wild_layouts

    _check(json_file)
    sample = wild_layouts if split is Drawn.wild else sample_layouts
    chosen = sample(SPLIT, layouts)
    counts = [2**power for power in range(tries.bit_length())]
    with quiet(), progress_bars() as progress:
        exact, drawn = bench_exact(chosen), bench_pictures(chosen)
        made = bench_model(state_of(context).registry, model, chosen, counts, progress)
    for figures in (exact, drawn, made):
        print_presence(figures)
    _write(json_file, {"exact": exact, "pictures": drawn, "model": made})


def bench_loras(
    context: typer.Context,
    preset: Annotated[
        list[str] | None,
        typer.Option(help="Preset to measure; repeat for several. Default: those with a LoRA."),
    ] = None,
    lora: Annotated[
        Path | None,
        typer.Option(help="LoRA under which everything is gold. Default: the shipped one."),
    ] = None,
    layouts: Annotated[int, typer.Option(min=1, help="Held-out layouts.")] = 96,
    seeds: Annotated[int, typer.Option(min=1, help="Seeds per layout: 0, 1, ...")] = 1,
    json_file: JsonFile = None,
) -> None:
    """Measure LoRAs of single instances: one of two like objects is to become gold.

    gold: the instance that names the LoRA has its colour. others: the other instances have their
    prompt's colour; others without: and in the same picture without the LoRA.
    """
    from threedis_pocket.bench.instance_loras import SHIPPED, bench_instance_loras
    from threedis_pocket.bench.tables import cell

    _check(json_file)
    chosen = {name: lora or SHIPPED[name] for name in preset or SHIPPED}
    with quiet(), progress_bars() as progress:
        figures = bench_instance_loras(state_of(context).registry, chosen, layouts, seeds, progress)
    for name, found in figures["presets"].items():
        told = ", ".join(f"{what} {cell(figure)}" for what, figure in found.items())
        streams.echo(f"{name}: {told}")
    _write(json_file, figures)


def _check(json_file: Path | None) -> None:
    if json_file is not None:
        check_writable(json_file)


def _write(json_file: Path | None, figures: dict[str, Any]) -> None:
    if json_file is not None:
        json_file.parent.mkdir(parents=True, exist_ok=True)
        document = json.dumps(figures, indent=1, allow_nan=False)
        write_atomically(json_file, (document + "\n").encode())


def bench_vae(
    context: typer.Context,
    preset: Annotated[str, typer.Option(help="Pocket preset whose autoencoder to measure.")] = (
        "pocket-sd15"
    ),
    count: Annotated[int, typer.Option("--pictures", min=1, help="Held-out pictures.")] = 256,
) -> None:
    """Print the mean PSNR, in dB, of an autoencoder's reconstructions of held-out scenes."""
    models = {p.name: p.options.get("model") for p in state_of(context).registry.presets()}
    if models.get(preset) is None:
        known = ", ".join(sorted(name for name, model in models.items() if model))
        raise OptionError(f"preset {preset!r} has no model of its own; expected one of {known}")
    with quiet(), TemporaryDirectory() as folder, progress_bars() as progress:
        from threedis_pocket.training.data import pictures
        from threedis_pocket.training.vae import load_vae, psnr

        data = pictures(Path(folder), "test", count, progress)
        value = psnr(load_vae(Path(models[preset]) / "vae"), data, count)
    streams.echo(f"{preset}: {value:.2f} dB over {count} held-out scenes")


def bench_regions(
    context: typer.Context,
    refiner: Annotated[
        list[str] | None,
        typer.Option(help="Region refiner; repeat for several. Default: boxes and depth-edges."),
    ] = None,
    layouts: Annotated[int, typer.Option(min=1, help="Held-out layouts.")] = 96,
    overlap: Annotated[
        float | None,
        typer.Option(min=0, max=1, help="Most of a box that others may cover. Default: 0.15."),
    ] = None,
    picture: Annotated[
        Path | None, typer.Option(help="Draw the first layouts' regions into this PNG.")
    ] = None,
) -> None:
    """Print the mean IoU of regions with the exact masks of held-out pocket scenes.

    The depth is exact, and again blurred as a learned one is.
    """
    from threedis_pocket.bench.regions import BLURS, draw_regions, held_out, mean_iou

    if picture is not None:
        check_png(picture, "--picture")
    names = refiner or ["boxes", "depth-edges"]
    registry = state_of(context).registry
    refiners = {name: registry.region_refiner(name) for name in names}
    views = held_out(layouts, overlap)
    for name, one in refiners.items():
        for depth, blur in BLURS.items():
            value, count = mean_iou(one, views, blur)
            streams.echo(f"{name}, {depth} depth: {value:.3f} over {count} instances")
    if picture is not None:
        write_png(picture, draw_regions(refiners.values(), views))
        streams.echo(picture)


def train(
    recipe: Annotated[
        RecipeName, typer.Argument(help="What to train; it says which other part it needs first.")
    ],
    work: WorkFolder = WORK,
    processes: Annotated[
        int, typer.Option(min=1, help="Processes that average their gradients.")
    ] = 1,
    threads: Annotated[int, typer.Option(min=1, help="CPU threads of each process.")] = 1,
    steps: Annotated[
        int | None, typer.Option(min=1, help="Other number of steps than the recipe's.")
    ] = None,
    seed: Annotated[int | None, typer.Option(help="Other seed than the recipe's.")] = None,
) -> None:
    """Train one of the pocket models; run again after a kill, and it goes on where it was.

    pocket-sd15: vae, text, sd15, sd15-wild, sd15-fine. pocket-sd21 and pocket-sdxl go on from
    its weights: openclip, then sd21, -wild, -fine or sdxl, -wild, -fine. pocket-flux: text, t5,
    flux-vae, flux, flux-guided, flux-wild, flux-wild-guided. pocket-depth: text, depth-vae, then
    what threedis pocket depth-base prints, depth-wild. What learns from the shipped pocket-flux:
    pocket-flux-controlnet: flux-controlnet; pocket-sd35: sd35, sd35-fine; pocket-z-image: qwen,
    z-image, z-image-fine; pocket-qwen-image: qwen-vl, qwen-vae, qwen-image. gold, gold-flux:
    LoRAs on the shipped pocket-sd15 and pocket-flux; they need nothing but the package peft.

    The shipped weights: vae, flux-vae and the first training of each model with --processes 2,
    the others with one. Uses the GPU if there is one. On a CPU two processes of one thread beat
    one process of two.
    """
    if processes > 1 and "LOCAL_RANK" not in os.environ:
        launch_again(processes)
    import torch

    torch.set_num_threads(threads)
    with quiet(), progress_bars() as progress:
        from threedis_pocket.training.recipes import run_recipe

        folder = run_recipe(recipe.value, work, steps=steps, seed=seed, progress=progress)
    if os.environ.get("LOCAL_RANK", "0") == "0":
        streams.echo(folder)


def depth_base(work: WorkFolder = WORK) -> None:
    """Prepare the training of pocket-depth: an untrained pipeline, and the configs of both stages.

    Before it: threedis pocket train text, threedis pocket train depth-vae, and
    threedis pocket scenes WORK/scenes. After it, for each config that it prints:
    threedis train layout-depth CONFIG --processes 2 --threads 1.
    """
    with quiet():
        from threedis_pocket.training.depth_base import make_depth_base

        configs = make_depth_base(work)
    for config in configs:
        streams.echo(config)


def export(
    preset: Annotated[Exported, typer.Argument(help="What to put together.")],
    to: Annotated[Path, typer.Option(help="Folder of the pipeline; new or empty.")],
    work: WorkFolder = WORK,
    shared: Annotated[
        bool,
        typer.Option(help="With the weights of parts that another pocket model's folder holds."),
    ] = True,
) -> None:
    """Put trained parts together as one diffusers pipeline folder, float16 safetensors.

    Use it with: threedis render LAYOUT --renderer pocket-sd15 --set model=FOLDER, or, for depth,
    --depth-model pocket-depth --set pocket-depth.model=FOLDER --set pocket-depth.adapter=FOLDER
    """
    if to.exists() and any(to.iterdir()):
        raise OptionError(f"{to} is not empty; name a new folder")
    with quiet():
        from threedis_pocket.training.export import export as put_together

        put_together(preset.value, work, to, shared)
    streams.echo(to)


def scenes(
    out: Annotated[Path, typer.Argument(help="Folder to write; one that is begun goes on.")],
    split: Annotated[Part, typer.Option(help="Which scenes; no two splits share one.")] = (
        Part.train
    ),
    count: Annotated[int, typer.Option(min=1, help="How many: the first ones of the split.")] = (
        12288
    ),
    size: Annotated[int, typer.Option(min=16, max=1024, help="Side in pixels.")] = 128,
) -> None:
    """Write scenes with layouts and exact depth, to train the depth stage on.

    The folder is data of the format "folder" for: threedis train layout-depth
    """
    from threedis_pocket.training_folder import write_scenes

    check_writable(out, folder=True)
    with progress_bars() as progress:
        written = write_scenes(out, split.value, count, size, progress)
    streams.echo(written)
