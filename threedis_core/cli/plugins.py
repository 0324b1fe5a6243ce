"""``threedis plugins``: what is installed, and what is broken."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

import typer

from threedis_core.cli.arguments import AsJson
from threedis_core.cli.state import state_of
from threedis_core.cli.streams import one_line
from threedis_core.files.printable import printable
from threedis_core.plugin.registry import PluginRegistry

HEADINGS = {
    "renderer": "Renderers",
    "depth model": "Depth models",
    "depth estimator": "Depth estimators",
    "region refiner": "Region refiners",
    "instance detector": "Instance detectors",
    "metric": "Metrics",
    "benchmark": "Benchmarks",
}


def plugins_command(
    context: typer.Context,
    as_json: AsJson = False,
) -> None:
    """List what is installed, by kind, presets included; and what fails."""
    document = describe_plugins(state_of(context).registry)
    if as_json:
        typer.echo(json.dumps(document, indent=2))
        return
    entries = document["plugins"]
    width = max((len(entry["name"]) for entry in entries), default=0)
    for kind, heading in HEADINGS.items():
        typer.secho(heading, bold=True)
        rows = [entry for entry in entries if entry["kind"] == kind]
        for entry in rows:
            preset = f" (preset of {entry['backend']})" if entry["backend"] else ""
            summary = printable(entry["summary"])
            typer.echo(f"  {entry['name']:<{width}}  {summary}{preset}  [{_source(entry)}]")
        if not rows:
            typer.echo("  none installed")
    if document["failures"]:
        typer.secho("Failed", bold=True, fg=typer.colors.RED)
        for failure in document["failures"]:
            module = f" ({printable(failure['module'])})" if failure["module"] else ""
            typer.echo(f"  {_source(failure)}{module}: {one_line(failure['reason'])}")


def _source(entry: Mapping[str, Any]) -> str:
    return printable(f"{entry['distribution']} {entry['version']}".strip(), 100)


def describe_plugins(registry: PluginRegistry) -> dict[str, Any]:
    """What is registered and what failed, JSON-ready; imports no plugin's model code."""
    kinds = {entry.name: entry.kind for entry in registry.registrations()}
    entries: list[dict[str, Any]] = [
        {"kind": entry.kind, "name": entry.name, "summary": entry.summary, "backend": None}
        | asdict(entry.source)
        for entry in registry.registrations()
    ]
    entries += [
        {
            "kind": kinds[preset.backend],
            "name": preset.name,
            "summary": preset.summary,
            "backend": preset.backend,
        }
        | asdict(preset.source)
        for preset in registry.presets()
    ]
    failures = [
        {"reason": failure.reason} | asdict(failure.source) for failure in registry.failures
    ]
    return {
        "plugins": sorted(entries, key=lambda entry: (entry["kind"], entry["name"])),
        "failures": failures,
    }
