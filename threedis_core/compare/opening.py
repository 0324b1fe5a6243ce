"""Open a comparison: plan what is asked, and take the folder that holds the same plan, or none."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from threedis_core.compare.folder import CompareFolder
from threedis_core.compare.plan.config import CompareConfig
from threedis_core.compare.plan.drift import refuse_drift, with_metrics_of
from threedis_core.compare.plan.freeze import make_plan
from threedis_core.compare.plan.manifest import OtherPicture, read_manifest
from threedis_core.compare.plan.models import ComparePlan
from threedis_core.compare.plan.sources import read_sources
from threedis_core.compare.work.claim import LOCKS
from threedis_core.errors import OptionError
from threedis_core.files.atomic import check_writable, write_atomically
from threedis_core.plugin.options import validate_options
from threedis_core.plugin.registry import PluginRegistry
from threedis_core.run.folder import ANOTHER, folder_taken, not_empty, told_as_not_written
from threedis_core.run.record.portable_paths import at_home


@dataclass(frozen=True, eq=False)
class Asked:
    """What is asked of a comparison, and the folder for it.

    Args:
        folder: Where it is, or will be.
        now: The plan of what is asked now; None: the folder alone was named.
    """

    folder: CompareFolder
    now: ComparePlan | None

    def there(self) -> ComparePlan | None:
        """The plan to go on with, if there is one; it is not written.

        Raises:
            OptionError: The folder holds another comparison.
        """
        if not self.folder.plan.exists():
            return None
        frozen = self.folder.read_plan()
        if self.now is None:
            return frozen
        refuse_drift(self.folder, frozen, self.now)
        return with_metrics_of(frozen, self.now)

    def frozen(self) -> ComparePlan:
        """The plan to go on with, which is in the folder now; the caller holds the guard.

        Raises:
            OptionError: The folder holds another comparison.
            RenderError: The plan cannot be written.
        """
        plan = self.there() or self.now
        assert plan is not None
        content = (plan.model_dump_json(indent=1) + "\n").encode()
        place = self.folder.plan
        if not place.exists() or place.read_bytes() != content:
            with told_as_not_written(place):
                write_atomically(place, content)
        return plan


def asked_by(config: CompareConfig, registry: PluginRegistry) -> Asked:
    """Plan what a config asks; writes nothing and loads no weights.

    Raises:
        InputError: A name, an option, a file or a folder that does not fit.
        PluginError: A backend's class cannot be used.
    """
    if config.out is None:
        raise OptionError(
            "a comparison needs a folder; name one with out",
            code="missing-field",
            path="out",
            hint="name one with out",
        )
    folder = CompareFolder(config.out.absolute())
    check_compare_folder(config.out)
    layouts = read_sources(config.layouts, registry)
    pictures: list[OtherPicture] = []
    if config.pictures is not None:
        ids = [one.id for one in layouts]
        pictures = read_manifest(config.pictures, ids, list(config.renderers))
    return Asked(folder, make_plan(config, layouts, pictures, registry, folder.path))


def asked_again(path: Path, registry: PluginRegistry, planned: bool) -> Asked:
    """What the comparison in a folder was asked.

    Args:
        path: The folder.
        registry: The plugins.
        planned: Plan it again, to see whether versions and weights are still the same.
    Raises:
        InputError: It holds none, or what it names is not there any more.
    """
    folder = CompareFolder(path.absolute())
    frozen = folder.read_plan()
    if not planned:
        return Asked(folder, None)
    told = {**at_home(frozen.config, folder.path), "layouts": [{"benchmark": "frozen"}]}
    others = [one for one in frozen.systems if one.renderer is None]
    if not set(told.get("renderers", {})):
        return Asked(folder, None)  # pictures of other tools alone: nothing is rendered
    config = validate_options(CompareConfig, told, f"{folder.plan}")
    now = make_plan(config, frozen.layouts, (), registry, folder.path)
    jobs = tuple(job for job in frozen.jobs if job.depth is None)
    update = {"systems": (*now.systems, *others), "jobs": (*now.jobs, *jobs)}
    if frozen.baseline in {one.name for one in others}:
        update |= {"baseline": frozen.baseline}
    return Asked(folder, now.model_copy(update=update))


def check_compare_folder(path: Path) -> None:
    """Refuse a folder that holds something else than a comparison, or that cannot be written.

    Raises:
        OptionError: It does.
    """
    check_writable(path, folder=True)
    if not path.is_dir() or CompareFolder(path).plan.exists():
        return
    found = {one.name for one in path.iterdir()} - {LOCKS}
    if "run.json" in found:
        raise folder_taken(path, "holds a run", ANOTHER)
    if any(not name.startswith(".") for name in found):
        raise not_empty(path)
