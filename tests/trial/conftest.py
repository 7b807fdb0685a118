"""Adds numstab-watch, the package of the recorder, which only needs torch, to the import path."""

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

WATCH = str(Path(__file__).resolve().parent.parent.parent / "watch")
if WATCH not in sys.path:
    sys.path.insert(0, WATCH)


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """Limits torch to one thread: with more threads than free cores, small models are slower."""
    import torch

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)
