"""``threedis setup``: what has to be fetched for a card, and the config that then works."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated

import typer

from threedis_core.cli import streams
from threedis_core.cli.state import state_of

if TYPE_CHECKING:
    from threedis_core.plugin.inspection import Download
    from threedis_core.setup import Setup

EXAMPLES = """
Examples:
  threedis setup --renderer sdxl --card 8GB
  threedis setup --renderer flux --card 12GB --do --out flux.yaml
  threedis render layout.yaml --config flux.yaml
"""


def setup_command(
    context: typer.Context,
    renderer: Annotated[str, typer.Option(help="Renderer or preset.")],
    card: Annotated[str, typer.Option(metavar="SIZE", help="The GPU's memory, such as 12GB.")],
    depth_model: Annotated[
        str | None,
        typer.Option(
            help="What makes the depth maps. Default: ldm3d; with a pocket renderer pocket-depth."
        ),
    ] = None,
    region_refiner: Annotated[
        str | None,
        typer.Option(help="What makes the regions. Default: sam; with a pocket renderer boxes."),
    ] = None,
    out: Annotated[
        str | None,
        typer.Option(metavar="FILE", help="Config to write. Default: RENDERER.yaml, with --do."),
    ] = None,
    do: Annotated[
        bool, typer.Option("--do", help="Fetch what is missing and write the config.")
    ] = False,
) -> None:
    """Set up everything from layout to picture for a GPU: what to fetch, and how to run it.

    Prints the exact files with their sizes and licences, and the config for a card of that size.
    With --do it fetches them (again, it goes on where it was stopped), writes the config, and ends
    as 'threedis doctor' does.
    """
    from threedis_core.cli.doctor import print_report
    from threedis_core.doctor import examine, first_obstacle
    from threedis_core.files.atomic import check_writable, write_atomically
    from threedis_core.setup import parse_card, set_up

    registry = state_of(context).registry
    file = out or (f"{renderer}.yaml" if do else None)
    if file is not None:
        check_writable(file)
    with streams.plugins_print_to_stderr():
        setup = set_up(registry, renderer, parse_card(card), depth_model, region_refiner)
        downloads = setup.downloads()
    _print_choice(setup, renderer, card)
    _print_downloads(downloads)
    if file is not None:
        write_atomically(file, _yaml(setup).encode())
        streams.echo(f"Config: {file}")
    else:
        streams.echo("Config:")
        typer.echo(_yaml(setup))
    if not do:
        streams.echo("Fetch it all and write the config: the same command with --do")
        return
    with streams.plugins_print_to_stderr():
        for who, backend in setup.backends.items():
            streams.note(f"{who}: fetching what is missing")
            backend.fetch()
        report = examine(setup.config, registry)
    print_report(report, detailed=False)
    for examined in report.examined:
        if obstacle := first_obstacle(examined):
            raise obstacle
    streams.echo(f"All is there. A picture: threedis render LAYOUT --config {file}")


def _print_choice(setup: Setup, renderer: str, card: str) -> None:
    need = setup.need
    if need is None:
        streams.echo(f"{renderer} on a card of {card}: what it needs is not known")
        return
    enough = "" if setup.fits else ", which is more than the card has"
    streams.echo(
        f"{renderer} on a card of {card}: {need.device / 2**30:.1f} GiB of it{enough}, and "
        f"{need.main / 2**30:.1f} GiB of main memory (computed, not measured); offload=auto "
        f"takes: {need.offload}"
    )


def _print_downloads(downloads: Sequence[Download]) -> None:
    if not downloads:
        streams.echo("Nothing has to be fetched.")
        return
    for one in downloads:
        size = "unknown" if one.size is None else f"{one.size / 1e9:.2f} GB"
        gate = "; gated: accept it on its page, then log in with: hf auth login"
        streams.echo(f"{one.source}: {size}, licence: {one.licence}{gate if one.gated else ''}")
        for name in one.files:
            streams.echo(f"  {name}")
    total = sum(one.size or 0 for one in downloads)
    streams.echo(f"In all: {total / 1e9:.2f} GB")


def _yaml(setup: Setup) -> str:
    import yaml

    document = setup.document()
    return yaml.safe_dump(document, sort_keys=False)  # pyright: ignore[reportUnknownMemberType]
