"""Atomic writes of files that other processes may read at any time."""

import os
import shutil
import tempfile
import time
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


def delete_unused(folder: Path, pattern: str, *, keep: int, days: float) -> None:
    """Deletes the files of a pattern that were last used (`mark_used`) so many days ago, but for the newest `keep`.

    What cannot be deleted stays.
    """
    with suppress(OSError):
        oldest_first = sorted((file.stat().st_mtime, file) for file in folder.glob(pattern))
        for used, file in oldest_first[:-keep]:
            if time.time() - used > days * 86400:
                file.unlink(missing_ok=True)


def mark_used(path: Path) -> None:
    """Notes that a cached file is in use, in its time of modification; does nothing where that is not allowed."""
    with suppress(OSError):
        os.utime(path)
