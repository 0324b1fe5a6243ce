"""Write the tables of a comparison from what lies in its folder; no model is needed."""

from __future__ import annotations

from threedis_core.compare.folder import CompareFolder
from threedis_core.compare.plan.models import ComparePlan
from threedis_core.compare.scoring.presence import presence_of_depths
from threedis_core.compare.scoring.results import picture_states, read_results
from threedis_core.compare.tables.figures import figure_rows
from threedis_core.compare.tables.markup import latex, markdown
from threedis_core.compare.tables.rows import csv_bytes, parquet_bytes, result_rows
from threedis_core.compare.tables.summary import summary_bytes, summary_document
from threedis_core.compare.tables.times import times_of
from threedis_core.files.atomic import write_atomically
from threedis_core.plugin.discovery import load_plugins
from threedis_core.plugin.progress import Progress, silent
from threedis_core.plugin.registry import PluginRegistry


def write_tables(
    folder: CompareFolder,
    plan: ComparePlan,
    progress: Progress = silent,
    registry: PluginRegistry | None = None,
) -> None:
    """Write ``results.csv``, ``results.parquet``, ``summary.json``, ``table.md``, ``table.tex``.

    What is pending is left out and counted. The same scores give the same bytes, but for the times
    that events tell.

    Args:
        folder: The comparison's folder.
        plan: Its plan.
        progress: Told how far it is.
        registry: The plugins; None: those that are installed.
    Raises:
        PluginError: A metric cannot be made.
        OSError: A file cannot be written.
    """
    plugins = registry or load_plugins()
    metrics = {
        name: (metric, read_results(folder, plan, name, metric))
        for name, options in plan.metrics.items()
        for metric in [plugins.metric(name, options)]
    }
    presence = presence_of_depths(folder, plan, progress)
    states = picture_states(folder, plan)
    found = {name: results for name, (_, results) in metrics.items()}
    columns, rows = result_rows(plan, found, states, presence)
    write_atomically(folder.results_csv, csv_bytes(columns, rows))
    if (parquet := parquet_bytes(columns, rows)) is not None:
        write_atomically(folder.results_parquet, parquet)
    figures = figure_rows(plan, metrics, presence, progress)
    times = times_of(plan, folder.read_events())
    summary = summary_document(plan, metrics, states, times, figures)
    write_atomically(folder.summary, summary_bytes(summary))
    write_atomically(folder.table_md, markdown(summary).encode())
    write_atomically(folder.table_tex, latex(summary).encode())
