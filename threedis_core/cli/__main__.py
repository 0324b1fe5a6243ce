"""``python -m threedis_core.cli`` is the ``threedis`` command."""

from threedis_core.cli import main

main()
