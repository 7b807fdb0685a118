"""Files that can be built again: written whole or not at all, as two processes may build the same."""

import os
import tempfile
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path


def write_atomically(path: Path, save: Callable[[Path], None]) -> None:
    """A cache that cannot be written costs seconds only."""
    with suppress(OSError):
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(dir=path.parent, suffix=path.suffix, delete=False) as half:
            save(Path(half.name))
        os.replace(half.name, path)
