"""The page of a comparison: one file that needs no network.

``reading`` makes plain values (``page``) of what lies in the folder; ``tables`` and ``gallery`` lay
them out; ``writing`` fills the templates, with thumbnails, charts, styles and scripts inside.
"""

from __future__ import annotations

from pathlib import Path

from threedis_core.plugin.progress import Progress, silent


def write_report(folder: Path, progress: Progress = silent) -> Path:
    """Write the page of a comparison, from all that lies in its folder by now.

    Args:
        folder: The comparison's folder; beside ``plan.json`` everything in it may be missing.
        progress: Told of each picture under the stage "report".
    Returns:
        ``report.html`` in it; ``report/index.html`` if there are more than 5,000 pictures.
    Raises:
        OptionError: The folder holds no comparison.
        OSError: The page cannot be written; nothing is left behind, an earlier page stays.
    """
    from threedis_core.compare.report.reading import read_report
    from threedis_core.compare.report.writing import write_page

    return write_page(read_report(folder), lambda done, total: progress("report", done, total))
