"""Measurements in the user's cache folder: one JSON file for all devices and versions."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterable
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

from pydantic import Field, TypeAdapter, ValidationError

from threedis_core.attention.tuning.race import Race, Setting
from threedis_core.cache_home import cache_home
from threedis_core.files.atomic import write_atomically

Seconds = Annotated[float, Field(gt=0, allow_inf_nan=False)]
_RACES = TypeAdapter(list[tuple[Setting, dict[str, Seconds]]])
log = logging.getLogger(__name__)


class Records:
    """The measurements that are kept.

    Args:
        file: Where; None: this user has no place for a cache, and nothing is kept.
    """

    def __init__(self, file: Path | None) -> None:
        self.file = file

    @classmethod
    def of_the_user(cls) -> Records:
        """``lowerings.json`` in the user's cache folder; see ``cache_home``."""
        home = cache_home()
        return cls(None if home is None else home / "lowerings.json")

    def all(self) -> list[Race]:
        """Every measurement; none where the file is damaged, which a warning tells."""
        if self.file is None or not self.file.is_file():
            return []
        try:
            found = _RACES.validate_json(self.file.read_bytes())
        except (OSError, ValidationError) as error:
            reason = str(error).splitlines()[0]
            log.warning("%s is not used (%s); run threedis tune again", self.file, reason)
            return []
        return [Race(setting, seconds) for setting, seconds in found if seconds]

    def nearest(self, wanted: Setting) -> Race | None:
        """The measurement that is most like ``wanted``; None if none is alike."""
        races = [(wanted.distance(race.setting), race) for race in self.all()]
        alike = [(far, race) for far, race in races if far is not None]
        return min(alike, key=lambda pair: pair[0])[1] if alike else None

    def keep(self, races: Iterable[Race]) -> None:
        """Add measurements; one of the same setting goes.

        Raises:
            OSError: The file cannot be written.
        """
        if self.file is None:
            raise OSError("there is no home folder for a cache; set THREEDIS_CACHE to a folder")
        known = {race.setting: race for race in (*self.all(), *races)}
        data = [[asdict(race.setting), dict(race.seconds)] for race in known.values()]
        self.file.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(self.file, f"{json.dumps(data, indent=1)}\n".encode())

    def clear(self) -> int:
        """Forget everything; how many measurements there were."""
        count = len(self.all())
        if self.file is not None:
            self.file.unlink(missing_ok=True)
        return count
