"""Models that misbehave: each function is a `make` for `numstab try`."""

import os
import sys
import time

import torch
from torch import nn

MARK = "numstab-hostile-sleeper"


def ordinary():
    return nn.Linear(3, 1), (torch.randn(8, 3), torch.randn(8, 1)), nn.MSELoss()


def hangs():
    while True:
        time.sleep(1)


def forks():
    """Leaves child processes behind, one of them in its own session, that keep its descriptors open."""
    for number in range(6):
        if os.fork() == 0:
            if number % 2:
                os.setsid()
            os.execv(sys.executable, [sys.executable, "-c", "import time; time.sleep(600)", MARK])
    return ordinary()


def prints_megabytes():
    for _ in range(40):
        sys.stdout.write("x" * (1 << 20))
        sys.stderr.write("\x1b[31m" + "y" * (1 << 16))
    return ordinary()


def exits():
    sys.exit(3)


def exits_at_once():
    os._exit(0)


def raises():
    raise KeyError("no such layer")


def segfaults():
    import ctypes

    ctypes.string_at(0)


def takes_memory():
    kept = [torch.ones(64 << 20) for _ in range(100)]
    return nn.Linear(len(kept), 1), torch.zeros(1, 1), None


def returns_a_number():
    return 7


def returns_too_little():
    return nn.Linear(3, 1), torch.randn(2, 3)


def returns_no_module():
    return "model", torch.randn(2, 3), nn.MSELoss()


def returns_unknown_keys():
    return {"model": nn.Linear(3, 1), "batch": torch.randn(2, 3), "criterion": nn.MSELoss()}


def loss_is_a_vector():
    return nn.Linear(3, 1), (torch.randn(8, 3), torch.randn(8, 1)), nn.MSELoss(reduction="none")


def shapes_do_not_fit():
    return nn.Linear(4, 1), (torch.randn(8, 3), torch.randn(8, 1)), nn.MSELoss()


def writes_a_report():
    """Writes to every descriptor that it finds."""
    for descriptor in range(3, 64):
        try:
            os.write(descriptor, b'{"schema": 1, "loss": [1e999], "settings": {"x": [')
        except OSError:
            continue
    os._exit(0)


def writes_deep_json():
    for descriptor in range(3, 64):
        try:
            os.write(descriptor, b"[" * 60_000)
        except OSError:
            continue
    os._exit(0)


def normalises_a_single_sample():
    return nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4)), (torch.randn(1, 3), torch.randn(1, 4)), nn.MSELoss()
