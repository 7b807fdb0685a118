"""A child gives up what no experiment needs: the network, writing files, other processes, other programs.

On Linux the kernel refuses it with a seccomp filter (Drewry 2012, "Dynamic seccomp policies (using BPF filters)"; the
numbers are those of the kernel's syscall tables). Where there is none, the limits of `worker` and the deadline remain.
"""

import ctypes
import errno
import os
import platform
import signal
import struct
import sys
from dataclasses import dataclass

_LOAD, _EQUAL, _ANY_BIT, _AT_LEAST, _RETURN = 0x20, 0x15, 0x45, 0x35, 0x06  # BPF_LD|W|ABS, JMP|JEQ|K, JSET, JGE, RET|K
_NUMBER, _ARCH, _ARGUMENT = 0, 4, 16  # offsets in struct seccomp_data; the arguments are 8 bytes each
_ALLOW, _REFUSE, _ABSENT = 0x7FFF0000, 0x00050000 | errno.EPERM, 0x00050000 | errno.ENOSYS
_X32 = 0x40000000  # a second table of numbers on x86-64: refused as a whole
_WRITES = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND
_CLONE_THREAD = 0x00010000
_NO_NEW_PRIVS, _SET_SECCOMP, _FILTER, _DEATH_SIGNAL = 38, 22, 2, 1  # prctl


@dataclass(frozen=True, slots=True)
class _Table:
    """System calls by number. `open` and `openat` are refused for writing, `clone` but for threads, `kill` for others;
    `absent` look as if the kernel had them not, so that the C library falls back to those we can judge.
    """

    arch: int
    refused: tuple[int, ...]
    open: int | None
    openat: int
    clone: int
    kill: tuple[int, ...]
    absent: tuple[int, ...]


_TABLES = {
    # socket, connect, accept, sendto, bind, listen, fork, vfork, execve, truncate, rename, mkdir, rmdir, creat, link,
    # unlink, symlink, chmod, chown, lchown, ptrace, mknod, mount, umount2, accept4, mkdirat, mknodat, fchownat,
    # unlinkat, renameat, linkat, symlinkat, fchmodat, renameat2, execveat, process_vm_writev, io_uring_setup, bpf
    "x86_64": _Table(
        arch=0xC000003E,
        refused=(41, 42, 43, 44, 49, 50, 57, 58, 59, 76, 82, 83, 84, 85, 86, 87, 88, 90, 92, 94, 101, 133, 165, 166,
                 258, 259, 260, 263, 264, 265, 266, 268, 288, 311, 316, 321, 322, 425),
        open=2, openat=257, clone=56, kill=(62, 200, 234), absent=(435, 437),
    ),
    "aarch64": _Table(
        arch=0xC00000B7,
        refused=(198, 200, 201, 202, 203, 206, 221, 45, 117, 33, 34, 35, 36, 37, 38, 40, 39, 53, 54, 242, 276, 281,
                 271, 280, 425),
        open=None, openat=56, clone=220, kill=(129, 130, 131), absent=(435, 437),
    ),
}  # fmt: skip


def apply_seccomp() -> bool:
    """Gives it all up, for this thread and those it will start; whether this platform could."""
    table = _TABLES.get(platform.machine())
    if not sys.platform.startswith("linux") or table is None:
        return False
    steps = _program(table, os.getpid())
    code = b"".join(struct.pack("HBBI", *step) for step in steps)
    buffer = ctypes.create_string_buffer(code, len(code))
    program = ctypes.create_string_buffer(struct.pack("HxxxxxxP", len(steps), ctypes.addressof(buffer)))
    prctl = ctypes.CDLL(None, use_errno=True).prctl
    prctl.argtypes = [ctypes.c_int, *[ctypes.c_ulong] * 4]
    no_more = prctl(_NO_NEW_PRIVS, 1, 0, 0, 0) == 0
    return no_more and bool(prctl(_SET_SECCOMP, _FILTER, ctypes.addressof(program), 0, 0) == 0)


def die_with_parent() -> None:
    """Has the kernel end this process when the one that forked it ends; that one ends with the service (Linux)."""
    if sys.platform.startswith("linux"):
        ctypes.CDLL(None).prctl(_DEATH_SIGNAL, int(signal.SIGKILL), 0, 0, 0)


def _program(table: _Table, own: int) -> list[tuple[int, int, int, int]]:
    """Steps (operation, jump if true, jump if false, operand) that decide on one system call; jumps count steps."""
    steps = [
        (_LOAD, 0, 0, _ARCH), (_EQUAL, 1, 0, table.arch), (_RETURN, 0, 0, _REFUSE),
        (_LOAD, 0, 0, _NUMBER), (_AT_LEAST, 0, 1, _X32), (_RETURN, 0, 0, _REFUSE),
    ]  # fmt: skip
    for number in table.refused:
        steps += [(_EQUAL, 0, 1, number), (_RETURN, 0, 0, _REFUSE)]
    for number in table.absent:
        steps += [(_EQUAL, 0, 1, number), (_RETURN, 0, 0, _ABSENT)]
    judged = [(table.openat, 2, _ANY_BIT, _WRITES, False), (table.clone, 0, _ANY_BIT, _CLONE_THREAD, True)]
    judged += [(number, 0, _EQUAL, own, True) for number in table.kill]
    if table.open is not None:
        judged.append((table.open, 1, _ANY_BIT, _WRITES, False))
    for number, argument, test, operand, allowed_if in judged:
        yes, no = (_ALLOW, _REFUSE) if allowed_if else (_REFUSE, _ALLOW)
        steps += [
            (_EQUAL, 0, 4, number), (_LOAD, 0, 0, _ARGUMENT + 8 * argument),
            (test, 0, 1, operand), (_RETURN, 0, 0, yes), (_RETURN, 0, 0, no),
        ]  # fmt: skip
    return [*steps, (_RETURN, 0, 0, _ALLOW)]
