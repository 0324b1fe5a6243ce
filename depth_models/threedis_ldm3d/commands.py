"""``threedis convert layout-adapter`` and ``threedis train layout-depth``."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

import typer

from threedis_core.cli import streams
from threedis_core.cli.progress import progress_bars
from threedis_core.cli.state import state_of
from threedis_diffusers.quiet import quiet


def convert_app() -> typer.Typer:
    """The command group ``convert``."""
    app = typer.Typer(no_args_is_help=True, help="Convert weights to safetensors.")
    app.callback()(_group)
    app.command("layout-adapter")(layout_adapter_command)
    return app


def layout_adapter_command(
    source: Annotated[Path, typer.Argument(help="Layout adapter: .ckpt, .pt or .safetensors.")],
    target: Annotated[Path, typer.Argument(help="The .safetensors file to write.")],
) -> None:
    """Write a layout adapter as safetensors; the header says where it comes from."""
    from threedis_ldm3d.checkpoint import convert_adapter

    count = convert_adapter(source, target)
    streams.echo(f"{target}: {count} weights")


def _group() -> None:
    """Convert weights to safetensors."""


def train_app() -> typer.Typer:
    """The command group ``train``."""
    app = typer.Typer(no_args_is_help=True, help="Train the depth stage.")
    app.callback()(_train_group)
    app.command("layout-depth")(layout_depth_command)
    return app


def layout_depth_command(
    context: typer.Context,
    config: Annotated[Path, typer.Argument(help="Training settings, YAML; see docs/training.md.")],
    changes: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="FIELD=VALUE", help="Change a setting; values are YAML."),
    ] = None,
    processes: Annotated[
        int, typer.Option(min=1, help="Processes that average their gradients.")
    ] = 1,
    threads: Annotated[
        int | None, typer.Option(min=1, help="CPU threads of each process. Default: torch's.")
    ] = None,
) -> None:
    """Train the layout adapter, or (train: unet) the text-to-depth U-Net before it.

    Run it again after a kill, and it goes on from the newest checkpoint with the very same steps.
    Depth labels and latents are made once and kept. Pictures of what the model has learnt, the
    loss curve, TensorBoard's files and a report of unusable data lie in the folder "out".

    Uses the GPU if there is one. For several GPUs or machines: --processes N, or
    accelerate launch -m threedis_core.cli train layout-depth CONFIG.
    """
    from threedis_ldm3d.training.config import TrainingConfig

    training = TrainingConfig.load(config, tuple(changes or ()))
    if processes > 1 and "LOCAL_RANK" not in os.environ:
        from threedis_train.launch import launch_again

        launch_again(processes)
    import torch

    from threedis_ldm3d.training.train import train_layout_depth

    if threads is not None:
        torch.set_num_threads(threads)
    registry = state_of(context).registry
    try:
        with quiet(), progress_bars() as progress:
            weights = train_layout_depth(training, registry, progress, streams.tell)
    except KeyboardInterrupt:
        streams.tell(
            f"stopped; the same command goes on from the newest checkpoint in {training.out}, "
            "if there is one"
        )
        raise
    if os.environ.get("RANK", "0") == "0":
        streams.echo(weights)


def _train_group() -> None:
    """Train the depth stage."""
