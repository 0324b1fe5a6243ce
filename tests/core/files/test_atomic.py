"""Where files can be written, and that no half ones are left."""

from __future__ import annotations

import os
import socket
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from threedis_core.errors import OptionError
from threedis_core.files.atomic import check_writable, write_atomically


def test_a_failed_write_leaves_nothing(tmp_path: Path) -> None:
    (tmp_path / "taken").mkdir()
    with pytest.raises(OSError, match="taken"):
        write_atomically(tmp_path / "taken", b"x")
    assert os.listdir(tmp_path) == ["taken"]


def test_places_that_can_be_written_pass_and_stay_as_they_are(tmp_path: Path) -> None:
    (tmp_path / "there.json").write_text("{}")
    check_writable(tmp_path / "there.json")
    check_writable(tmp_path / "new.json")
    check_writable(tmp_path / "deep" / "er" / "new.json")
    check_writable(tmp_path, folder=True)
    check_writable(tmp_path / "deep" / "er", folder=True)
    assert os.listdir(tmp_path) == ["there.json"]


def test_a_relative_path_is_looked_for_here(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    check_writable("new.json")
    check_writable("runs/new", folder=True)


def test_places_that_cannot_be_written_are_refused_in_one_line(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    for path, folder, said in [
        (tmp_path, False, "is a folder; expected a file"),
        (tmp_path / "file", True, "is a file; expected a folder"),
        (tmp_path / "file" / "run", True, "file is no folder; choose another place"),
        (tmp_path / "file" / "deep" / "a.json", False, "file is no folder"),
        (tmp_path / ("x" * 300), True, "cannot be written: File name too long"),
        ("a\0b.json", False, "cannot be written: "),
    ]:
        with pytest.raises(OptionError, match=said) as caught:
            check_writable(path, folder=folder)
        assert "\n" not in str(caught.value)


def test_a_folder_without_permission_is_refused(tmp_path: Path, monkeypatch) -> None:
    # The superuser may write everywhere, so the system's answer is given here.
    monkeypatch.setattr(os, "access", lambda *_: False)
    with pytest.raises(OptionError, match="no permission to write in"):
        check_writable(tmp_path / "new.json")


def test_a_link_stays_and_what_it_leads_to_is_written(tmp_path: Path) -> None:
    (tmp_path / "real.json").write_text("old")
    (tmp_path / "link.json").symlink_to("real.json")
    (tmp_path / "dangling.json").symlink_to("made.json")
    for name in ("link.json", "dangling.json"):
        check_writable(tmp_path / name)
        write_atomically(tmp_path / name, b"new")
        assert (tmp_path / name).is_symlink()
        assert (tmp_path / name).read_text() == "new"
    assert sorted(os.listdir(tmp_path)) == ["dangling.json", "link.json", "made.json", "real.json"]


def test_a_link_to_where_nothing_can_be_made_is_refused_before_the_work(tmp_path: Path) -> None:
    (tmp_path / "far").symlink_to(tmp_path / "missing" / "made.json")
    (tmp_path / "runs").symlink_to(tmp_path / "gone")
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    for name, folder, said in [
        ("far", False, "is a link to .*made.json, which is not there; remove the link"),
        ("runs", True, "is a link to .*gone, which is not there"),
        ("loop", False, "cannot be written: Too many levels"),
    ]:
        with pytest.raises(OptionError, match=said):
            check_writable(tmp_path / name, folder=folder)


def test_a_named_pipe_gets_the_bytes_and_stays(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe.json"
    os.mkfifo(pipe)
    check_writable(pipe)
    with pytest.raises(OSError, match=r"pipe\.json"):  # nobody reads: it does not wait
        write_atomically(pipe, b"x")
    reader = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
    write_atomically(pipe, b"x" * 1000)
    with open(reader, "rb") as file:
        assert file.read() == b"x" * 1000
    assert stat.S_ISFIFO(pipe.stat().st_mode)


def test_a_device_gets_the_bytes_and_stays(tmp_path: Path) -> None:
    (tmp_path / "null.json").symlink_to(os.devnull)
    for path in (Path(os.devnull), tmp_path / "null.json"):
        check_writable(path)
        write_atomically(path, b"x")
    assert stat.S_ISCHR(os.stat(os.devnull).st_mode)
    assert (tmp_path / "null.json").is_symlink()


def test_the_standard_output_can_be_named_even_where_it_is_a_file(tmp_path: Path) -> None:
    code = (
        "import threedis_core.files.atomic as a; print('first', flush=True);"
        "a.check_writable('/dev/stdout'); a.write_atomically('/dev/stdout', b'second')"
    )
    with open(tmp_path / "out", "w") as file:
        subprocess.run([sys.executable, "-c", code], stdout=file, check=True)
    assert (tmp_path / "out").read_text() == "first\nsecond"


def test_a_socket_is_refused_and_stays(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)  # a socket's path must be short
    with socket.socket(socket.AF_UNIX) as made:
        made.bind("socket.json")
        with pytest.raises(OptionError, match="is a socket; expected a file to write"):
            check_writable("socket.json")
        with pytest.raises(OSError, match="it is a socket"):
            write_atomically("socket.json", b"x")
    assert stat.S_ISSOCK(os.stat("socket.json").st_mode)


def test_a_full_disk_is_reported_with_the_files_name_and_leaves_nothing(tmp_path: Path) -> None:
    # What a limit on the size of files does, a full disk does too: writing fails half way.
    code = (
        "import resource, signal, sys, threedis_core.files.atomic as a;"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN);"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000));"
        "a.write_atomically(sys.argv[1], b'x' * 5000)"
    )
    path = tmp_path / "big.json"
    path.write_text("old")
    done = subprocess.run(
        [sys.executable, "-c", code, str(path)], capture_output=True, text=True, check=False
    )
    assert done.stderr.splitlines()[-1].endswith(f"File too large: '{path}'")
    assert path.read_text() == "old"
    assert os.listdir(tmp_path) == ["big.json"]


def test_a_full_device_is_reported_with_its_name() -> None:
    if not Path("/dev/full").exists():
        pytest.skip("this system has no device that is always full")
    with pytest.raises(OSError, match="No space left on device: '/dev/full'"):
        write_atomically("/dev/full", b"x")


def test_a_long_name_of_any_letters_can_be_written(tmp_path: Path) -> None:
    path = tmp_path / ("\N{LARGE RED CIRCLE}" * 62)
    write_atomically(path, b"x")
    assert path.read_bytes() == b"x"


def test_a_name_that_would_act_on_a_terminal_is_written_out(tmp_path: Path) -> None:
    (tmp_path / "a\x1b[31m\nb").mkdir()
    with pytest.raises(OptionError) as caught:
        check_writable(tmp_path / "a\x1b[31m\nb")
    assert str(caught.value).isprintable()
