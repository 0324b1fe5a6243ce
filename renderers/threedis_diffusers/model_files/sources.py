"""Where a model's files are: a local folder or a hub repository, asked without loading."""

from __future__ import annotations

import json
import logging
import re
import shlex
from collections.abc import Iterable, Iterator
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
HALF = ".fp16.safetensors"
"""The ending of the files that hold the same weights in float16."""
HUB_ID = re.compile(r"\w[\w.-]*/[\w.-]+(@[\w./-]+)?")
"""owner/name, or owner/name@revision: a branch, a tag or a commit."""


@dataclass(frozen=True)
class ModelSource:
    """A model as ``save_pretrained`` writes it: a local folder or a hub repository.

    Args:
        name: The folder's path or the repository's id, with "@revision" after it if it is not main.
        subfolder: Where the model lies inside; "" for the top.
        library: Whose format it is in, for the messages.
        half: True to prefer the files that hold the weights in float16.
    """

    name: str
    subfolder: str = ""
    library: str = field(default="diffusers", kw_only=True)
    half: bool = field(default=False, kw_only=True)

    @property
    def is_local(self) -> bool:
        """True for a folder that is there."""
        return self.path.is_dir()

    @property
    def repository(self) -> str:
        """The repository's id, without the revision."""
        return self.name.partition("@")[0]

    @property
    def revision(self) -> str | None:
        """The branch, tag or commit of the repository; None: main."""
        return self.name.partition("@")[2] or None

    @property
    def endings(self) -> tuple[str, ...]:
        """What a weights file may end with, in the order of preference."""
        return (HALF, *ENDINGS[:-1]) if self.half else ENDINGS

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
        return _is_on_hub(self._on_hub, self._inside(file))

    def find(self, stem: str) -> str:
        """The ending of the safetensors file that holds the weights ``stem``.

        What lies in the hub's cache comes first, so that a cached model needs no network.

        Raises:
            WeightsError: There is none.
        """
        for is_there in (self.on_this_machine, self.has):
            for ending in self.endings:
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
        names = _list_hub(self._on_hub)
        return sorted(name for name in names if name.endswith(".safetensors") and "/" not in name)

    def listed(self) -> list[str]:
        """The names of all files of the repository.

        Raises:
            WeightsError: The hub cannot be asked.
        """
        return _list_hub(self._on_hub)

    def cached_safetensors(self) -> list[str]:
        """The names of the safetensors files at the top of the repository that were fetched."""
        from huggingface_hub import snapshot_download
        from huggingface_hub.errors import LocalEntryNotFoundError

        try:
            folder = snapshot_download(
                self.repository, revision=self.revision, local_files_only=True
            )
        except LocalEntryNotFoundError:
            return []
        return sorted(path.name for path in Path(folder).glob("*.safetensors"))

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
        here = self.on_this_machine(file)
        if here is None:
            self.require(file)
            here = Path(_fetch(self._on_hub, self._inside(file)))
        return here

    def get_all(self, files: Iterable[str]) -> Path:
        """The folder of ``files`` on this machine; what is not here yet is fetched from the hub.

        Files of a repository that has changed since some of them were fetched are fetched anew.

        Returns:
            What their paths inside the source start from.
        Raises:
            WeightsError: One is not there, or the hub cannot be asked.
        """
        files = list(files)
        if len(homes := {_home(self.get(file), file) for file in files}) > 1:
            fetched = (Path(_fetch(self._on_hub, self._inside(file))) for file in files)
            homes = {_home(path, file) for path, file in zip(fetched, files, strict=True)}
        return homes.pop()

    def require(self, file: str) -> None:
        """See that ``file`` is there.

        Raises:
            WeightsError: It is not, or the hub cannot be asked.
        """
        if not self.has(file):
            raise self.missing(file)

    def on_this_machine(self, file: str) -> Path | None:
        """Where ``file`` is in the folder or in the hub's cache; None if it is in neither."""
        inside = self._inside(file)
        if not self.is_local:
            return _cached(self._on_hub, inside) if HUB_ID.fullmatch(self.name) else None
        path = self.path / inside
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

    @property
    def _on_hub(self) -> tuple[str, str | None]:
        return self.repository, self.revision

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


Place = tuple[str, str | None]
"""A repository's id, and its revision; None: main."""


def _home(path: Path, file: str) -> Path:
    """What is before ``file`` in ``path``."""
    return path.parents[file.count("/")]


def _cached(place: Place, file: str) -> Path | None:
    from huggingface_hub import try_to_load_from_cache

    repository, revision = place
    found = try_to_load_from_cache(repository, file, revision=revision)
    return Path(found) if isinstance(found, str) else None


def _is_on_hub(place: Place, file: str) -> bool:
    from huggingface_hub import get_hf_file_metadata, hf_hub_url
    from huggingface_hub.errors import EntryNotFoundError

    repository, revision = place
    try:
        with _reachable(place, file):
            get_hf_file_metadata(hf_hub_url(repository, file, revision=revision))
    except EntryNotFoundError:
        return False
    return True


def _list_hub(place: Place) -> list[str]:
    from huggingface_hub import list_repo_files

    repository, revision = place
    with _reachable(place, "*.safetensors"):
        return list_repo_files(repository, revision=revision)


def _fetch(place: Place, file: str) -> str:
    from huggingface_hub import hf_hub_download

    repository, revision = place
    with _reachable(place, file):
        _log.info("getting '%s' of '%s' from the hub", file, repository)
        return hf_hub_download(repository, file, revision=revision)


def download_command(name: str, files: Iterable[str]) -> str:
    """What to type to fetch exactly ``files`` of a repository, which may be patterns.

    Args:
        name: The repository's id, with "@revision" if it is not main.
        files: Paths inside of it.
    """
    repository, _, revision = name.partition("@")
    at = f" --revision {shlex.quote(revision)}" if revision else ""
    asked = " ".join(f"--include {shlex.quote(file)}" for file in files)
    return f"hf download {repository}{at} {asked}"


@contextmanager
def _reachable(place: Place, file: str) -> Iterator[None]:
    """Turn the hub's refusals into one clear line."""
    from huggingface_hub.errors import EntryNotFoundError, LocalEntryNotFoundError

    try:
        check_hub_answers()
        yield
    except EntryNotFoundError as error:
        if not isinstance(error, LocalEntryNotFoundError):
            raise
        raise _unreachable(place, file, error) from error
    except Exception as error:
        # What a failed connection raises depends on the HTTP library the hub's client uses.
        raise _unreachable(place, file, error) from error


class NotFetchedError(WeightsError):
    """A file of a repository is not here, and the hub does not give it.

    Args:
        name: The repository's id, with its revision if it has one.
        wanted: The file.
        reason: Why, in words.
        command: What fetches all files of the repository that are wanted; "" if only this one is
            known.
    """

    def __init__(self, name: str, wanted: str, reason: str, command: str = "") -> None:
        command = command or download_command(name, [wanted])
        super().__init__(
            f"cannot get '{wanted}' of repository '{name}' ({reason}); download it once while "
            f"online with `{command}` (log in first where a licence must be accepted), or set the "
            "option to a local folder with these files",
            code="weights-not-found",
            hint=f"download it once while online with `{command}`",
        )
        self._facts = name, wanted, reason

    def with_one_of(self, commands: Iterable[str]) -> NotFetchedError:
        """The same with the command that fetches from this repository, if there is one."""
        repository, _, _ = self._facts[0].partition("@")
        start = f"hf download {repository} "
        return NotFetchedError(
            *self._facts, next((one for one in commands if one.startswith(start)), "")
        )


def _unreachable(place: Place, file: str, error: Exception) -> NotFetchedError:
    repository, revision = place
    name = repository if revision is None else f"{repository}@{revision}"
    reason = f"{type(error).__name__}: {' '.join(str(error).split())[:160]}"
    return NotFetchedError(name, file, reason)
