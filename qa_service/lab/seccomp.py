"""A seccomp filter that allows only the system calls that a computation needs; all others fail with EPERM.

A demo reads files, takes private memory, looks at clocks and writes to descriptors that are open. It gets no network,
no other process or thread, no memory that outlives it or is not counted, no descriptor or signal of another process.
The filter is an allow-list, so a call that a later kernel adds is denied. Drewry 2012, "Dynamic seccomp policies (using
BPF filters)"; linux/Documentation/userspace-api/seccomp_filter.rst.
"""

import ctypes
import errno
import os
import struct
from collections.abc import Iterator, Sequence
from functools import cache

from qa_service.lab.kernel import CpuArchitecture, cpu_architecture, system_call

Instruction = tuple[int, int, int, int]
"""(opcode, instructions to skip if true, if false, operand)."""

_INSTRUCTION, _OPERAND, _OPERAND_OFFSET = struct.Struct("HBBI"), struct.Struct("I"), 4
_OWN_PID = 0xFFFFFFFE  # a placeholder for the process id, which no process can have
_LOAD, _EQUAL, _ANY_BIT, _AT_LEAST, _RETURN = 0x20, 0x15, 0x45, 0x35, 0x06  # BPF_LD|W|ABS, JMP|JEQ|K, JSET, JGE, RET|K
_NUMBER_OFFSET, _ARCH_OFFSET, _ARGUMENTS_OFFSET = 0, 4, 16  # bytes, in struct seccomp_data; arguments are 8 bytes each
_ALLOW, _ERRNO = 0x7FFF0000, 0x00050000
_DENY = _ERRNO | errno.EPERM
_X32_BIT = 0x40000000  # set in the numbers of the x32 ABI on x86-64, which is denied as a whole
_WRITE_FLAGS = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND
_NOT_COUNTED = 0x1 | 0x100 | 0x40000  # MAP_SHARED, MAP_GROWSDOWN, MAP_HUGETLB: memory that RLIMIT_DATA does not count
_FCNTL_COMMANDS = (
    0,
    1,
    2,
    3,
    1030,
)  # F_DUPFD, F_GETFD, F_SETFD, F_GETFL, F_DUPFD_CLOEXEC; F_SETOWN would signal others
_PRCTL_OPTIONS = (3, 15, 16, 0x53564D41)  # PR_GET_DUMPABLE, PR_SET_NAME, PR_GET_NAME, PR_SET_VMA
_SECCOMP = (317, 277)
_SET_MODE_FILTER, _GET_ACTION_AVAILABLE = 1, 2
_TSYNC = 1  # the filter holds for every thread of the process

_ALLOWED = {  # name: number on x86-64, on aarch64
    "read": (0, 63), "write": (1, 64), "close": (3, 57), "stat": (4, None), "fstat": (5, 80), "lstat": (6, None),
    "poll": (7, None), "lseek": (8, 62), "mprotect": (10, 226), "munmap": (11, 215), "brk": (12, 214),
    "rt_sigaction": (13, 134), "rt_sigprocmask": (14, 135), "rt_sigreturn": (15, 139), "pread64": (17, 67),
    "readv": (19, 65), "writev": (20, 66), "access": (21, None), "select": (23, None), "sched_yield": (24, 124),
    "mremap": (25, 216), "madvise": (28, 233), "dup": (32, 23), "dup2": (33, None), "nanosleep": (35, 101),
    "getpid": (39, 172), "exit": (60, 93), "uname": (63, 160), "getcwd": (79, 17), "readlink": (89, None),
    "gettimeofday": (96, 169), "getrlimit": (97, 163), "getrusage": (98, 165), "sysinfo": (99, 179),
    "times": (100, 153), "getuid": (102, 174), "getgid": (104, 176), "geteuid": (107, 175), "getegid": (108, 177),
    "getppid": (110, 173), "getpgrp": (111, None), "getgroups": (115, 158), "getpgid": (121, 155),
    "getsid": (124, 156), "sigaltstack": (131, 132),
    "arch_prctl": (158, None),  # asks for the tile registers of matrix products
    "gettid": (186, 178), "time": (201, None), "futex": (202, 98), "sched_getaffinity": (204, 123),
    "getdents64": (217, 61), "set_tid_address": (218, 96), "restart_syscall": (219, 128), "clock_gettime": (228, 113),
    "clock_getres": (229, 114), "clock_nanosleep": (230, 115), "exit_group": (231, 94), "newfstatat": (262, 79),
    "readlinkat": (267, 78), "faccessat": (269, 48), "pselect6": (270, 72), "ppoll": (271, 73),
    "set_robust_list": (273, 99), "dup3": (292, 24), "preadv": (295, 69), "getcpu": (309, 168),
    "getrandom": (318, 278), "membarrier": (324, 283), "statx": (332, 291), "rseq": (334, 293),
    "faccessat2": (439, 439),
}  # fmt: skip
_IOCTL = (16, 29)  # fails as on anything that is no terminal
_ABSENT = ((435, 435), (437, 437))  # clone3, openat2: the C library falls back to calls whose arguments can be read
_OPEN, _OPENAT, _MMAP, _FCNTL, _PRCTL, _PRLIMIT = (2, None), (257, 56), (9, 222), (72, 25), (157, 167), (302, 261)
_OWN_SIGNALS = ((62, 129), (234, 131))  # kill, tgkill: the first argument is a process


@cache
def why_unsupported() -> str:
    """Why no filter can be installed here; "" if one can."""
    known = cpu_architecture()
    if known is None:
        return "seccomp needs Linux on x86-64 or aarch64"
    try:
        action = ctypes.create_string_buffer(_ERRNO.to_bytes(4, "little"), 4)
        system_call(_SECCOMP[known.column], _GET_ACTION_AVAILABLE, 0, action)
    except OSError as error:
        return f"the kernel has no seccomp filters ({error.strerror})"
    return ""


class SeccompFilter:
    """The filter, assembled for the process `own_pid`."""

    def __init__(self, own_pid: int) -> None:
        """Raises OSError where none can be installed."""
        known = cpu_architecture()
        if known is None:
            raise OSError(errno.ENOSYS, why_unsupported())
        code, self._program, places = _assembled(known)
        self._number = _SECCOMP[known.column]
        for place in places:
            _OPERAND.pack_into(code, place, own_pid)

    def install(self) -> None:
        """Install it for all threads of this process, for good; needs no_new_privs. Raises OSError."""
        if other := system_call(self._number, _SET_MODE_FILTER, _TSYNC, self._program):
            raise OSError(errno.ESRCH, f"thread {other} does not take the filter")


@cache
def _assembled(
    known: CpuArchitecture,
) -> "tuple[ctypes.Array[ctypes.c_char], ctypes.Array[ctypes.c_char], tuple[int, ...]]":
    """The filter's code, made once for all children of a fork server; what the kernel takes, which has its address; and
    where in it the process id is missing. Each process writes into its own copy.
    """
    instructions = list(_program(known))
    code = b"".join(_INSTRUCTION.pack(*instruction) for instruction in instructions)
    places = (
        place * _INSTRUCTION.size + _OPERAND_OFFSET
        for place, (*_, operand) in enumerate(instructions)
        if operand == _OWN_PID
    )
    buffer = ctypes.create_string_buffer(code, len(code))
    program = struct.pack("HxxxxxxP", len(instructions), ctypes.addressof(buffer))
    return buffer, ctypes.create_string_buffer(program, len(program)), tuple(places)


def _program(known: CpuArchitecture) -> Iterator[Instruction]:
    """The filter. It begins with what is called most; each test of a number skips what follows if it differs."""
    yield from [
        (_LOAD, 0, 0, _ARCH_OFFSET),
        (_EQUAL, 1, 0, known.audit_arch),
        (_RETURN, 0, 0, _DENY),
        (_LOAD, 0, 0, _NUMBER_OFFSET),
        (_AT_LEAST, 0, 1, _X32_BIT),
        (_RETURN, 0, 0, _DENY),
    ]
    for numbers in _ALLOWED.values():
        yield from _if_called(known, numbers, [(_RETURN, 0, 0, _ALLOW)])
    yield from _if_called(known, _IOCTL, [(_RETURN, 0, 0, _ERRNO | errno.ENOTTY)])
    for numbers in _ABSENT:
        yield from _if_called(known, numbers, [(_RETURN, 0, 0, _ERRNO | errno.ENOSYS)])
    yield from _if_called(known, _OPEN, _unless_any_bit(1, _WRITE_FLAGS))
    yield from _if_called(known, _OPENAT, _unless_any_bit(2, _WRITE_FLAGS))
    yield from _if_called(known, _MMAP, _unless_any_bit(3, _NOT_COUNTED))
    yield from _if_called(known, _FCNTL, _if_one_of(1, _FCNTL_COMMANDS))
    yield from _if_called(known, _PRCTL, _if_one_of(0, _PRCTL_OPTIONS))
    for numbers in _OWN_SIGNALS:
        yield from _if_called(known, numbers, _if_one_of(0, (_OWN_PID,)))
    yield from _if_called(known, _PRLIMIT, _reading_own_limits())
    yield _RETURN, 0, 0, _DENY


def _if_called(
    known: CpuArchitecture, numbers: Sequence[int | None], then: Sequence[Instruction]
) -> Iterator[Instruction]:
    number = numbers[known.column]
    if number is not None:
        yield _EQUAL, 0, len(then), number
        yield from then


def _argument(index: int, half: int = 0) -> Instruction:
    """Loads the lower (0) or the upper (1) 32 bits of an argument."""
    return _LOAD, 0, 0, _ARGUMENTS_OFFSET + 8 * index + 4 * half


def _unless_any_bit(index: int, bits: int) -> list[Instruction]:
    return [_argument(index), (_ANY_BIT, 0, 1, bits), (_RETURN, 0, 0, _DENY), (_RETURN, 0, 0, _ALLOW)]


def _if_one_of(index: int, values: Sequence[int]) -> list[Instruction]:
    tests = [(_EQUAL, len(values) - place, 0, value) for place, value in enumerate(values)]
    return [_argument(index), *tests, (_RETURN, 0, 0, _DENY), (_RETURN, 0, 0, _ALLOW)]


def _reading_own_limits() -> list[Instruction]:
    """Instructions that allow prlimit(0, which, NULL, …), which only reads: the process is this one, and the address of
    new limits is zero in both halves.
    """
    zero = [
        (argument, (_EQUAL, 1, 0, 0), (_RETURN, 0, 0, _DENY))
        for argument in (_argument(0), _argument(2), _argument(2, half=1))
    ]
    return [*(instruction for test in zero for instruction in test), (_RETURN, 0, 0, _ALLOW)]
