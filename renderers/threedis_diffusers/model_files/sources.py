"""Where a model's files are: a local folder or a hub repository, asked without loading."""

from __future__ import annotations

import json
import logging
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from os.path import expanduser  # leaves the home of nobody as it is; Path's own raises
from pathlib import Path
from typing import Any

from threedis_core.errors import WeightsError
from threedis_diffusers.model_files.hub import check_hub_answers

_log = logging.getLogger("threedis_core.models")

SHARD_INDEX = ".safetensors.index.json"
ENDINGS = (".safetensors", SHARD_INDEX, ".fp16.safetensors")
"""What a weights file may end with, in the order of preference."""
ONE_FILE = (".safetensors", ".ckpt", ".pt", ".pth", ".bin")
"""What a model's name ends with if it is one file; only the first kind is ever read."""
HUB_ID = re.compile(r"\w[\w.-]*/[\w.-]+")


@dataclass(frozen=True)
class ModelSource:
    """A model as ``save_pretrained`` writes it: a local folder or a hub repository.

    Args:
        name: The folder's path or the repository's id.
        subfolder: Where the model lies inside; "" for the top.
        library: Whose format it is in, for the messages.
    """

    name: str
    subfolder: str = ""
    library: str = field(default="diffusers", kw_only=True)

    @property
    def is_local(self) -> bool:
        """True for a folder that is there."""
        return self.path.is_dir()

    @property
    def location(self) -> str | Path:
        """What diffusers is to load from: the local folder or the repository's id."""
        return self.path if self.is_local else self.name

    @property
    def path(self) -> Path:
        """The local folder, there or not, without the subfolder."""
        return Path(expanduser(self.name))

    def has(self, file: str) -> bool:
        """True if ``file`` is there: in the folder, in the hub's cache, or on the hub.

        Raises:
            WeightsError: No such folder, or the hub cannot be asked.
        """
        if self.on_this_machine(file) is not None:
            return True
        if self.is_local:
            return False
        self._check_repository(file)
        return _is_on_hub(self.name, self._inside(file))

    def find(self, stem: str) -> str:
        """The ending of the safetensors file that holds the weights ``stem``.

        What lies in the hub's cache comes first, so that a cached model needs no network.

        Raises:
            WeightsError: There is none.
        """
        for is_there in (self.on_this_machine, self.has):
            for ending in ENDINGS:
                if is_there(stem + ending):
                    return ending
        raise self.missing(stem + ENDINGS[0])

    def safetensors(self) -> list[str]:
        """The names of all safetensors files at the top of the folder or repository.

        Raises:
            WeightsError: The hub cannot be asked.
        """
        if self.is_local:
            return sorted(path.name for path in self.path.glob("*.safetensors"))
        names = _list_hub(self.name)
        return sorted(name for name in names if name.endswith(".safetensors") and "/" not in name)

    def read(self, file: str) -> dict[str, Any]:
        """The JSON object in ``file``.

        Raises:
            WeightsError: It is not there or not a JSON object.
        """
        return self._parse(file, self.get(file))

    def get(self, file: str) -> Path:
        """Where ``file`` is on this machine, fetched from the hub if it is not here yet.

        Raises:
            WeightsError: It is not there, or the hub cannot be asked.
        """
        self.require(file)
        inside = self._inside(file)
        return self.path / inside if self.is_local else Path(_fetch(self.name, inside))

    def require(self, file: str) -> None:
        """See that ``file`` is there.

        Raises:
            WeightsError: It is not, or the hub cannot be asked.
        """
        if not self.has(file):
            raise self.missing(file)

    def on_this_machine(self, file: str) -> Path | None:
        """Where ``file`` is in the folder or in the hub's cache; None if it is in neither."""
        inside, location = self._inside(file), self.location
        if isinstance(location, str):
            return _cached(location, inside)
        path = location / inside
        return path if path.is_file() else None

    def _parse(self, file: str, path: str | Path) -> dict[str, Any]:
        try:
            value = json.loads(Path(path).read_text("utf-8"))
        except (OSError, ValueError) as error:
            raise WeightsError(
                f"{self.name}: {file} cannot be read as JSON: {error}", file=path
            ) from error
        if not isinstance(value, dict):
            raise WeightsError(
                f"{self.name}: {file} holds no JSON object; get the file again",
                file=path,
                hint="get the file again",
            )
        return value

    def missing(self, file: str) -> WeightsError:
        """The error for a file that is not there."""
        file = self._inside(file)
        if self.is_local:
            return WeightsError(
                f"folder '{self.name}' has no file '{file}'; expected a model in {self.library} "
                "format with safetensors weights (a torch pickle is never read): save it with "
                "save_pretrained(folder) and name that folder",
                code="weights-not-found",
                file=self.path / file,
                hint="save the model with save_pretrained(folder) and name that folder",
            )
        return WeightsError(
            f"repository '{self.name}' has no file '{file}'; expected a model in {self.library} "
            "format with safetensors weights: name another repository or a local folder",
            code="weights-not-found",
            hint="name another repository or a local folder",
        )

    def _inside(self, file: str) -> str:
        return f"{self.subfolder}/{file}" if self.subfolder else file

    def _check_repository(self, file: str) -> None:
        if not HUB_ID.fullmatch(self.name):
            raise WeightsError(
                f"model folder '{self.name}' is not there (wanted: {self._inside(file)}); name a "
                f"local folder in {self.library} format or a hub id like 'owner/name'",
                code="weights-not-found",
                file=self.name,
                hint=f"name a local folder in {self.library} format or a hub id like 'owner/name'",
            )


def is_single_file(model: str) -> bool:
    """True if ``model`` names a file, there or not, instead of a folder or a hub id."""
    path = Path(expanduser(model))
    return path.suffix in ONE_FILE and not path.is_dir()


def _cached(repository: str, file: str) -> Path | None:
    from huggingface_hub import try_to_load_from_cache

    if not HUB_ID.fullmatch(repository):
        return None
    found = try_to_load_from_cache(repository, file)
    return Path(found) if isinstance(found, str) else None


def _is_on_hub(repository: str, file: str) -> bool:
    from huggingface_hub import get_hf_file_metadata, hf_hub_url
    from huggingface_hub.errors import EntryNotFoundError

    try:
        with _reachable(repository, file):
            get_hf_file_metadata(hf_hub_url(repository, file))
    except EntryNotFoundError:
        return False
    return True


def _list_hub(repository: str) -> list[str]:
    from huggingface_hub import list_repo_files

    with _reachable(repository, "*.safetensors"):
        return list_repo_files(repository)


def _fetch(repository: str, file: str) -> str:
    from huggingface_hub import hf_hub_download

    with _reachable(repository, file):
        _log.info("getting '%s' of '%s' from the hub", file, repository)
        return hf_hub_download(repository, file)


@contextmanager
def _reachable(repository: str, file: str) -> Iterator[None]:
    """Turn the hub's refusals into one clear line."""
    from huggingface_hub.errors import EntryNotFoundError, LocalEntryNotFoundError

    try:
        check_hub_answers()
        yield
    except EntryNotFoundError as error:
        if not isinstance(error, LocalEntryNotFoundError):
            raise
        raise _unreachable(repository, file, error) from error
    except Exception as error:
        # What a failed connection raises depends on the HTTP library the hub's client uses.
        raise _unreachable(repository, file, error) from error


def _unreachable(repository: str, file: str, error: Exception) -> WeightsError:
    reason = f"{type(error).__name__}: {' '.join(str(error).split())[:160]}"
    return WeightsError(
        f"cannot get '{file}' of repository '{repository}' ({reason}); download it once while "
        f"online with `hf download {repository}` (log in first where a licence must be "
        "accepted), or set the option to a local folder with these files",
        code="weights-not-found",
        hint=f"download it once while online with `hf download {repository}`",
    )
