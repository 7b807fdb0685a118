"""Landlock: a process permanently gives up access to other processes and to all files outside named folders.

Where the kernel has it (Linux 5.13 and newer, if it was not switched off), a demo reads the libraries and what the
kernel says of this process and the CPUs, and nothing else; it also cannot trace or read a process outside its domain.
Salaün, linux/Documentation/userspace-api/landlock.rst. The numbers of the calls are the same on all architectures.
"""

import os
import stat
import struct
import sys
from contextlib import suppress
from functools import cache
from pathlib import Path

from qa_service.lab.kernel import system_call

_CREATE_RULESET, _ADD_RULE, _RESTRICT_SELF = 444, 445, 446
_ASK_VERSION, _PATH_BENEATH = 1, 1
_READ_FILE, _READ_DIR = 1 << 2, 1 << 3
_RIGHTS = {1: 13, 2: 14, 3: 15, 5: 16}
"""Version → the number of rights to files that it knows."""
_NETWORK, _SCOPES = 0b11, 0b11  # binding and connecting TCP; abstract sockets and signals
_SYSTEM = (
    "/usr", "/lib", "/lib64", "/etc/ld.so.cache", "/etc/localtime", "/dev/null", "/dev/zero", "/dev/random",
    "/dev/urandom", "/proc/cpuinfo", "/proc/meminfo", "/sys/devices/system",
)  # fmt: skip
_THIS_PROCESS = "/proc/self"
_PACKAGE_FOLDERS = ("site-packages", "dist-packages")


@cache
def landlock_version() -> int:
    """The version of Landlock's interface in this kernel; 0 where it has none or it is switched off."""
    with suppress(OSError, AttributeError):
        return system_call(_CREATE_RULESET, None, 0, _ASK_VERSION) if sys.platform.startswith("linux") else 0
    return 0


@cache
def readable_paths() -> tuple[str, ...]:
    """The paths that every demo may read: Python, installed packages, the system's libraries, and facts about CPUs."""
    packages = [folder for folder in sys.path if Path(folder).name in _PACKAGE_FOLDERS]
    return (*_SYSTEM, sys.prefix, sys.base_prefix, *packages)


@cache
def readable_path_rules() -> dict[int, bytes]:
    """Descriptor → rule of each place that every demo may read, but for this process in /proc.

    A fork server opens them once for all its children. They stay open: the kernel may forget a file of /proc that
    nobody holds, and with it the rule. Nothing can be read or written through them.
    """
    return dict(filter(None, map(_rule, dict.fromkeys(readable_paths()))))


class Ruleset:
    """A ruleset of readable paths; once enforced, all other files, TCP, signals and abstract sockets are denied."""

    def __init__(self) -> None:
        """Raises OSError where the kernel has no Landlock."""
        attributes = _attributes()
        self._ruleset = system_call(_CREATE_RULESET, attributes, len(attributes), 0)
        for rule in readable_path_rules().values():
            self._add(rule)
        self.allow_reading(_THIS_PROCESS)

    def allow_reading(self, path: str) -> None:
        """Allow to read a file, or a folder and all below it; does nothing if there is no such place. Its descriptor
        stays open.
        """
        if opened := _rule(path):
            self._add(opened[1])

    def _add(self, rule: bytes) -> None:
        with suppress(OSError):  # of a place that the kernel does not take, nothing is allowed
            system_call(_ADD_RULE, self._ruleset, _PATH_BENEATH, rule, 0)

    def enforce(self) -> None:
        """Confine this thread, and those it starts, for good; needs no_new_privs. Raises OSError."""
        system_call(_RESTRICT_SELF, self._ruleset, 0)
        os.close(self._ruleset)


@cache
def _attributes() -> bytes:
    """The attributes of a ruleset: it denies every right that this kernel knows of, unless a rule allows it."""
    known = landlock_version()
    rights = (1 << max((count for since, count in _RIGHTS.items() if since <= known), default=0)) - 1
    attributes = struct.pack("QQQ", rights, _NETWORK if known >= 4 else 0, _SCOPES if known >= 6 else 0)
    return attributes[: 8 if known < 4 else 16 if known < 6 else 24]


def _rule(path: str) -> tuple[int, bytes] | None:
    """A descriptor of the place and the rule that it may be read, with all below it; None if there is no such place."""
    try:
        place = os.open(path, os.O_PATH | os.O_CLOEXEC)
        rights = _READ_FILE | (_READ_DIR if stat.S_ISDIR(os.fstat(place).st_mode) else 0)
    except OSError:
        return None
    return place, struct.pack("=Qi", rights, place)
