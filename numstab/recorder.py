"""Finds the recorder of training runs, `numstab_watch`: the installed one, else the copy that is shipped."""

import importlib
import sys
from types import ModuleType

from qa_service.paths import bundled

_PACKAGE = "numstab_watch"


def load_recorder() -> ModuleType:
    """The module `numstab_watch`; raises `ImportError` where torch is missing."""
    try:
        return importlib.import_module(_PACKAGE)
    except ModuleNotFoundError as missing:
        shipped = bundled("watch")
        if missing.name != _PACKAGE or not (shipped / _PACKAGE).is_dir():
            raise
    sys.path.append(str(shipped))  # last: an installed one takes precedence
    return importlib.import_module(_PACKAGE)
