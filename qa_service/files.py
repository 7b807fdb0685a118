"""Atomic writes of files that other processes may read at any time."""

import os
import shutil
import tempfile
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path


def write_atomically(path: Path, save: Callable[[Path], object]) -> None:
    """Has `save` write a temporary file and renames it to `path`: other processes see the whole old or new file.

    Makes the folder. A new file can be read by its owner only, a file that is replaced keeps its permissions. Raises
    what `save` raises, and OSError; nothing is then left behind.
    """
    path = path.resolve()
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.NamedTemporaryFile(dir=path.parent, suffix=path.suffix, delete=False) as unfinished:
        temporary = Path(unfinished.name)
    try:
        save(temporary)
        with suppress(FileNotFoundError):
            shutil.copymode(path, temporary)
        os.replace(temporary, path)
    except BaseException:
        with suppress(OSError):
            temporary.unlink(missing_ok=True)
        raise
