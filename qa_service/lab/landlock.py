"""Landlock: a process gives up, for good, every file but those below named folders, and other processes with them.

Where the kernel has it (Linux 5.13 and newer, if it was not switched off), a demo reads the libraries and what the
kernel says of this process and the CPUs, and nothing else; it also cannot trace or read a process outside its domain.
Salaün, linux/Documentation/userspace-api/landlock.rst. The numbers of the calls are the same on all architectures.
"""

import ctypes
import os
import stat
import struct
import sys
from collections.abc import Iterable
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
    "/dev/urandom", "/proc/cpuinfo", "/proc/meminfo", "/proc/self", "/sys/devices/system",
)  # fmt: skip
_PACKAGE_FOLDERS = ("site-packages", "dist-packages")


@cache
def version() -> int:
    """The version of Landlock's interface in this kernel; 0 where it has none or it is switched off."""
    with suppress(OSError, AttributeError):
        return system_call(_CREATE_RULESET, None, 0, _ASK_VERSION) if sys.platform.startswith("linux") else 0
    return 0


@cache
def readable_paths() -> tuple[str, ...]:
    """What every demo may read: Python, installed packages, the system's libraries, and facts about CPUs and itself."""
    packages = [folder for folder in sys.path if Path(folder).name in _PACKAGE_FOLDERS]
    return (*_SYSTEM, sys.prefix, sys.base_prefix, *packages)


class Rules:
    """What may be read; nothing else of files, TCP, signals or abstract sockets is allowed once this is in force.

    Descriptors of the places stay open: the kernel may forget a file of /proc that nobody holds, and with it the rule.
    """

    def __init__(self, readable: Iterable[str]) -> None:
        """Raises OSError where the kernel has no Landlock."""
        known = version()
        rights = (1 << max((count for since, count in _RIGHTS.items() if since <= known), default=0)) - 1
        attributes = struct.pack("QQQ", rights, _NETWORK if known >= 4 else 0, _SCOPES if known >= 6 else 0)
        attributes = attributes[: 8 if known < 4 else 16 if known < 6 else 24]
        buffer = ctypes.create_string_buffer(attributes, len(attributes))
        self._ruleset = system_call(_CREATE_RULESET, buffer, len(attributes), 0)
        for path in dict.fromkeys(readable):
            self.allow_reading(path)

    def allow_reading(self, path: str) -> None:
        """Allow a file, or a folder and all below it; does nothing if there is no such place."""
        with suppress(OSError):
            place = os.open(path, os.O_PATH | os.O_CLOEXEC)
            rule = struct.pack("=Qi", _READ_FILE | (_READ_DIR if stat.S_ISDIR(os.fstat(place).st_mode) else 0), place)
            system_call(_ADD_RULE, self._ruleset, _PATH_BENEATH, ctypes.create_string_buffer(rule, len(rule)), 0)

    def enforce(self) -> None:
        """Confine this thread, and those it starts, for good; needs no_new_privs. Raises OSError."""
        system_call(_RESTRICT_SELF, self._ruleset, 0)
        os.close(self._ruleset)
