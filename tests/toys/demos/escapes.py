"""Tries to get out of its process: at the memory, descriptors, signals, limits or files of others, or at more memory.

`pid` is the process to reach, `address` where its secret lies in its memory.
"""

import ctypes
import mmap
import os
import resource
from typing import Literal

TITLE = {"zh": "escapes", "en": "escapes"}
PARAMS = {
    "what": {"zh": "什么", "en": "what"},
    "pid": {"zh": "进程", "en": "process", "ge": 0, "le": 4194304},
    "address": {"zh": "地址", "en": "address", "ge": 0, "le": 281474976710656},
}
COLUMNS = {"step": {"zh": "步", "en": "step"}}
METRICS = {"escaped": {"zh": "出去了", "en": "escaped"}}
CHART = {"mark": "point", "encoding": {"x": {"field": "step", "type": "quantitative"}}}
SECRET = b"a stranger's key"
_LIBC = ctypes.CDLL(None, use_errno=True)


def _call(number: int, *arguments: int) -> int:
    result = _LIBC.syscall(ctypes.c_long(number), *[ctypes.c_long(each) for each in arguments])
    if result < 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
    return result


def _read_memory(pid: int, address: int) -> int:
    with open(f"/proc/{pid}/mem", "rb", buffering=0) as memory:
        memory.seek(address)
        return memory.read(len(SECRET)) == SECRET


def _process_vm_readv(pid: int, address: int) -> int:
    found = ctypes.create_string_buffer(len(SECRET))
    local = (ctypes.c_size_t * 2)(ctypes.addressof(found), len(SECRET))
    remote = (ctypes.c_size_t * 2)(address, len(SECRET))
    number = {"x86_64": 310, "aarch64": 270}[os.uname().machine]
    _call(number, pid, ctypes.addressof(local), 1, ctypes.addressof(remote), 1, 0)
    return found.raw == SECRET


def _take_descriptor(pid: int, _address: int) -> int:
    taken = _call(438, os.pidfd_open(pid), 1, 0)
    return os.write(taken, b"forged\n") > 0


def _send_signal(pid: int, _address: int) -> int:
    return _call(424, os.pidfd_open(pid), 15, 0, 0) == 0


def _keep_memory(_pid: int, _address: int) -> int:
    number = {"x86_64": 29, "aarch64": 194}[os.uname().machine]
    return _call(number, 0, 1 << 22, 0o1600) + 1  # a segment may have the id 0


def _limit_another(pid: int, _address: int) -> int:
    resource.prlimit(pid, resource.RLIMIT_NOFILE, (64, 64))
    return 1


def _raise_own_limit(_pid: int, _address: int) -> int:
    resource.setrlimit(resource.RLIMIT_DATA, (1 << 40, 1 << 40))
    return 1


def _new_namespace(_pid: int, _address: int) -> int:
    return _call({"x86_64": 272, "aarch64": 97}[os.uname().machine], 0x10000000) == 0


def _shared_mapping(_pid: int, _address: int) -> int:
    return len(mmap.mmap(-1, 2 << 30))


def _growing_mapping(_pid: int, _address: int) -> int:
    return len(mmap.mmap(-1, 2 << 30, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS | 0x100))


def _read_file(_pid: int, _address: int) -> int:
    with open("/etc/passwd", encoding="utf-8") as file:
        return len(file.read())


def _read_environment(_pid: int, _address: int) -> int:
    with open("/proc/self/stat", encoding="ascii") as file:
        fields = file.read().rpartition(")")[2].split()
    start, end = int(fields[47]), int(fields[48])
    return b"NUMSTAB_TEST_SECRET" in ctypes.string_at(start, end - start) or "NUMSTAB_TEST_SECRET" in os.environ


def run(
    what: Literal[
        "read_memory", "process_vm_readv", "take_descriptor", "send_signal", "keep_memory", "limit_another",
        "raise_own_limit", "new_namespace", "shared_mapping", "growing_mapping", "read_file", "read_environment",
    ] = "read_memory",
    pid: int = 0,
    address: int = 0,
):  # fmt: skip
    return {"escaped": int(globals()[f"_{what}"](pid, address))}
