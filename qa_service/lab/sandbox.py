"""The sandbox of child processes: no network, no writing of files, no new processes or programs.

On Linux it is a seccomp filter (Drewry 2012, "Dynamic seccomp policies (using BPF filters)"; system calls have the
numbers of the kernel's tables). Without seccomp only the resource limits of `worker` and the deadline remain.
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
_NUMBER_OFFSET, _ARCH_OFFSET, _ARGUMENTS_OFFSET = 0, 4, 16  # bytes, in struct seccomp_data; arguments are 8 bytes each
_ALLOW, _DENY, _NOT_IMPLEMENTED = 0x7FFF0000, 0x00050000 | errno.EPERM, 0x00050000 | errno.ENOSYS
_X32_BIT = 0x40000000  # set in the numbers of the x32 ABI on x86-64, which is denied as a whole
_WRITE_FLAGS = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND
_CLONE_THREAD = 0x00010000
_NO_NEW_PRIVS, _SET_SECCOMP, _FILTER_MODE, _DEATH_SIGNAL = 38, 22, 2, 1  # options and a mode of prctl(2)


@dataclass(frozen=True, slots=True)
class _SyscallTable:
    """The numbers of system calls on one architecture (`arch` is its AUDIT_ARCH value).

    `denied` fail with EPERM; so do `open` and `openat` for writing, `clone` unless it makes a thread, and `kill` and
    its like for other processes. `absent` fail with ENOSYS, so that the C library falls back to calls whose arguments
    the filter can read.
    """

    arch: int
    denied: tuple[int, ...]
    open: int | None
    openat: int
    clone: int
    kill: tuple[int, ...]
    absent: tuple[int, ...]


_SYSCALL_TABLES = {
    # socket, connect, accept, sendto, bind, listen, fork, vfork, execve, truncate, rename, mkdir, rmdir, creat, link,
    # unlink, symlink, chmod, chown, lchown, ptrace, mknod, mount, umount2, accept4, mkdirat, mknodat, fchownat,
    # unlinkat, renameat, linkat, symlinkat, fchmodat, renameat2, execveat, process_vm_writev, io_uring_setup, bpf
    "x86_64": _SyscallTable(
        arch=0xC000003E,
        denied=(41, 42, 43, 44, 49, 50, 57, 58, 59, 76, 82, 83, 84, 85, 86, 87, 88, 90, 92, 94, 101, 133, 165, 166,
                 258, 259, 260, 263, 264, 265, 266, 268, 288, 311, 316, 321, 322, 425),
        open=2, openat=257, clone=56, kill=(62, 200, 234), absent=(435, 437),
    ),
    "aarch64": _SyscallTable(
        arch=0xC00000B7,
        denied=(198, 200, 201, 202, 203, 206, 221, 45, 117, 33, 34, 35, 36, 37, 38, 40, 39, 53, 54, 242, 276, 281,
                 271, 280, 425),
        open=None, openat=56, clone=220, kill=(129, 130, 131), absent=(435, 437),
    ),
}  # fmt: skip


def apply_seccomp() -> bool:
    """Install the filter for this thread and those it starts; it cannot be removed.

    Returns False where the platform has no seccomp or the kernel refuses.
    """
    table = _SYSCALL_TABLES.get(platform.machine())
    if not sys.platform.startswith("linux") or table is None:
        return False
    instructions = _bpf_program(table, os.getpid())
    code = b"".join(struct.pack("HBBI", *instruction) for instruction in instructions)
    buffer = ctypes.create_string_buffer(code, len(code))
    program = ctypes.create_string_buffer(struct.pack("HxxxxxxP", len(instructions), ctypes.addressof(buffer)))
    prctl = ctypes.CDLL(None, use_errno=True).prctl
    prctl.argtypes = [ctypes.c_int, *[ctypes.c_ulong] * 4]
    no_new_privs = prctl(_NO_NEW_PRIVS, 1, 0, 0, 0) == 0
    return no_new_privs and bool(prctl(_SET_SECCOMP, _FILTER_MODE, ctypes.addressof(program), 0, 0) == 0)


def die_with_parent() -> None:
    """Have the kernel kill this process when its parent, the fork server, exits. Does nothing but on Linux."""
    if sys.platform.startswith("linux"):
        ctypes.CDLL(None).prctl(_DEATH_SIGNAL, int(signal.SIGKILL), 0, 0, 0)


def _bpf_program(table: _SyscallTable, own_pid: int) -> list[tuple[int, int, int, int]]:
    """The filter as BPF instructions (opcode, jump if true, jump if false, operand); a jump skips that many."""
    instructions = [
        (_LOAD, 0, 0, _ARCH_OFFSET), (_EQUAL, 1, 0, table.arch), (_RETURN, 0, 0, _DENY),
        (_LOAD, 0, 0, _NUMBER_OFFSET), (_AT_LEAST, 0, 1, _X32_BIT), (_RETURN, 0, 0, _DENY),
    ]  # fmt: skip
    for number in table.denied:
        instructions += [(_EQUAL, 0, 1, number), (_RETURN, 0, 0, _DENY)]
    for number in table.absent:
        instructions += [(_EQUAL, 0, 1, number), (_RETURN, 0, 0, _NOT_IMPLEMENTED)]
    conditional = [(table.openat, 2, _ANY_BIT, _WRITE_FLAGS, False), (table.clone, 0, _ANY_BIT, _CLONE_THREAD, True)]
    conditional += [(number, 0, _EQUAL, own_pid, True) for number in table.kill]
    if table.open is not None:
        conditional.append((table.open, 1, _ANY_BIT, _WRITE_FLAGS, False))
    for number, argument, test, operand, allow_if in conditional:
        if_true, if_false = (_ALLOW, _DENY) if allow_if else (_DENY, _ALLOW)
        instructions += [
            (_EQUAL, 0, 4, number), (_LOAD, 0, 0, _ARGUMENTS_OFFSET + 8 * argument),
            (test, 0, 1, operand), (_RETURN, 0, 0, if_true), (_RETURN, 0, 0, if_false),
        ]  # fmt: skip
    return [*instructions, (_RETURN, 0, 0, _ALLOW)]
