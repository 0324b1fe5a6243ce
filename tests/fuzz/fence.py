"""What a case cannot do, whatever is wrong with the code under test: write outside of its folder.

Linux's Landlock keeps a process, and what it starts, from writing anywhere but in some folders.
Where the system has none, only the cases themselves keep to their folders.
"""

from __future__ import annotations

import ctypes
import os
import struct
from collections.abc import Sequence
from pathlib import Path

NOT_FILES = ("/dev/null", "/dev/zero", "/dev/full", "/dev/tty", "/dev/shm")
"""Where everything that runs may write."""

_LIBC = ctypes.CDLL(None, use_errno=True)
_SYS_CREATE, _SYS_ADD_RULE, _SYS_RESTRICT = 444, 445, 446  # Landlock, on every architecture
_PR_SET_NO_NEW_PRIVS, _PR_CAPBSET_DROP = 38, 24
_WRITE_FILE, _TRUNCATE = 1 << 1, 1 << 14
_REMOVE_AND_MAKE = sum(1 << bit for bit in range(4, 13))
_REFER = 1 << 13
_SYS_CAPSET = {"x86_64": 126, "aarch64": 91}
_CAPSET_VERSION = 0x20080522
_ANYWHERE = (1, 2, 3)
"""CAP_DAC_OVERRIDE, CAP_DAC_READ_SEARCH, CAP_FOWNER: the superuser's right to go anywhere."""


def keep_inside(folders: Sequence[Path]) -> bool:
    """Let this process, for good, write into ``folders`` only; False where that cannot be had."""
    version = _LIBC.syscall(_SYS_CREATE, None, 0, 1)
    if version < 1:
        return False
    handled = _WRITE_FILE | _REMOVE_AND_MAKE
    handled |= _REFER if version >= 2 else 0
    handled |= _TRUNCATE if version >= 3 else 0
    rules = _LIBC.syscall(_SYS_CREATE, struct.pack("Q", handled), 8, 0)
    for folder in folders:
        _allow(rules, folder, handled)
    for path in map(Path, NOT_FILES):
        if path.exists():
            _allow(rules, path, handled if path.is_dir() else handled & (_WRITE_FILE | _TRUNCATE))
    _LIBC.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
    return _LIBC.syscall(_SYS_RESTRICT, rules, 0) == 0


def _allow(rules: int, path: Path, rights: int) -> None:
    place = os.open(path, os.O_PATH)
    if _LIBC.syscall(_SYS_ADD_RULE, rules, 1, struct.pack("=Qi", rights, place), 0) != 0:
        raise OSError(ctypes.get_errno(), f"cannot allow {path}")
    os.close(place)


def obey_permissions() -> None:
    """Let permissions count for the superuser too, in this process and what it becomes."""
    for capability in _ANYWHERE:
        _LIBC.prctl(_PR_CAPBSET_DROP, capability, 0, 0, 0)
    held = int(Path("/proc/self/status").read_text().partition("CapPrm:")[2].split()[0], 16)
    kept = held & ~sum(1 << capability for capability in _ANYWHERE)
    low, high = kept & 0xFFFFFFFF, kept >> 32
    header = struct.pack("Ii", _CAPSET_VERSION, 0)
    sets = struct.pack("6I", low, low, 0, high, high, 0)
    if _LIBC.syscall(_SYS_CAPSET[os.uname().machine], header, sets) != 0:
        raise OSError(ctypes.get_errno(), "capset")
