"""Files that several processes share: atomic writes, and eviction of the least recently used files of a cache."""

import os
import shutil
import tempfile
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path


def write_atomically(path: Path, save: Callable[[Path], object]) -> None:
    """Has `save` write a temporary file and renames it to `path`: other processes see the whole old or new file.

    Creates the folder. A new file has mode 0600; a file that is replaced keeps its permissions. Raises `OSError` and
    whatever `save` raises; the temporary file is then removed.
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
    """Deletes the files matching `pattern` that were last used (`mark_used`) more than `days` ago.

    The `keep` (at least 1) most recently used ones stay. Stops without an error at a file that cannot be deleted.
    """
    with suppress(OSError):
        oldest_first = sorted((file.stat().st_mtime, file) for file in folder.glob(pattern))
        for used, file in oldest_first[:-keep]:
            if time.time() - used > days * 86400:
                file.unlink(missing_ok=True)


def mark_used(path: Path) -> None:
    """Sets the modification time of a cached file to now, for `delete_unused`; does nothing if that is not allowed."""
    with suppress(OSError):
        os.utime(path)
