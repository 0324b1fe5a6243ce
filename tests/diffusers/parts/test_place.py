"""Where a part is, in every spelling that people have for it."""

from __future__ import annotations

from pathlib import Path

import pytest

from threedis_diffusers.model_files.sources import ModelSource
from threedis_diffusers.parts.place import PartPlace, folder_of, part_place

HUB = "https://hub.example/owner/name"


@pytest.mark.parametrize(
    ("name", "revision", "folder", "file"),
    [
        ("owner/name", None, "", ""),
        ("owner/name@v1", "v1", "", ""),
        ("owner/name@refs/pr/5", "refs/pr/5", "", ""),
        ("owner/name/transformer", None, "transformer", ""),
        ("owner/name/deep/unet@v1", "v1", "deep/unet", ""),
        ("owner/name/flux1-dev-Q8_0.gguf", None, "", "flux1-dev-Q8_0.gguf"),
        ("owner/name/a/x.safetensors@451f4fe", "451f4fe", "", "a/x.safetensors"),
        (f"{HUB}/blob/main/a.b/x.gguf", None, "", "a.b/x.gguf"),
        (f"{HUB}/resolve/v1/x.gguf?download=true", "v1", "", "x.gguf"),
        (f"{HUB}/tree/main/transformer", None, "transformer", ""),
    ],
)
def test_a_place_on_the_hub_is_understood(
    name: str, revision: str | None, folder: str, file: str
) -> None:
    place = part_place(name)
    source = place.source
    assert (source.repository, source.revision) == ("owner/name", revision)
    assert (source.subfolder, place.file) == (folder, file)
    assert not source.is_local


def test_what_is_on_this_machine_comes_first(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    folder = Path("models/flux/transformer")
    folder.mkdir(parents=True)
    (folder / "x.gguf").touch()
    assert part_place(str(folder)) == PartPlace(ModelSource(str(folder)))
    assert part_place(f"{folder}/x.gguf") == PartPlace(ModelSource(str(folder)), "x.gguf")
    missing = part_place(f"{folder}/y.gguf")
    assert missing == PartPlace(ModelSource(str(folder)), "y.gguf"), "its folder is here"
    assert part_place("x.gguf").source.is_local
    assert not part_place("/nowhere/x.gguf").source.is_local
    assert part_place("/nowhere/x.gguf").file == "x.gguf"


def test_a_part_may_lie_in_the_folder_that_a_pipeline_has_for_it(tmp_path: Path) -> None:
    source = ModelSource(str(tmp_path))
    inside = tmp_path / "transformer"
    inside.mkdir()
    assert folder_of(source, "transformer") == source, "which is then said to be missing"
    (inside / "config.json").touch()
    assert folder_of(source, "transformer").subfolder == "transformer"
    (tmp_path / "config.json").touch()
    assert folder_of(source, "transformer") == source
