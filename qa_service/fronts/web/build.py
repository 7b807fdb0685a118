"""Builds two assets from packages into the cache folder: the Vega-Lite script and the font of formulas."""

import hashlib
import subprocess
import sys
import threading
from importlib.metadata import version
from pathlib import Path

from qa_service.files import write_atomically
from qa_service.fronts.web import math_font

_VEGA_CODE = "import vl_convert; built = vl_convert.javascript_bundle().encode()"
_FONT_CODE = "from qa_service.fronts.web.math_font import subset_font; built = subset_font()"
_FONT_SUBSETTER_SOURCE = Path(math_font.__file__).read_bytes()
_BUILD_LOCK = threading.Lock()


def build_vega_bundle(cache: Path) -> Path:
    """The path of Vega-Lite and vega-embed as one script; builds it first if needed (about 10 s)."""
    return _build_once(vega_bundle_path(cache), _VEGA_CODE)


def build_math_font(cache: Path) -> Path:
    """The path of the font for formulas; builds it first if needed (about 3 s)."""
    return _build_once(math_font_path(cache), _FONT_CODE)


def vega_bundle_path(cache: Path) -> Path:
    """The path of the script in the cache."""
    return cache / f"vega-{version('vl-convert-python')}.js"


def math_font_path(cache: Path) -> Path:
    """The path of the font in the cache; the name holds a hash of the code that subsets it."""
    return cache / f"math-{version('ziamath')}-{hashlib.sha256(_FONT_SUBSETTER_SOURCE).hexdigest()[:8]}.woff"


def _build_once(path: Path, source: str) -> Path:
    """Returns `path`, after running the code `source`, which sets `built`, if the file does not exist.

    The code runs in a subprocess, because the builders hold the GIL while they work.
    """
    with _BUILD_LOCK:
        if not path.is_file():
            command = [sys.executable, "-c", f"import sys; {source}; sys.stdout.buffer.write(built)"]
            process = subprocess.run(command, stdout=subprocess.PIPE, check=True, timeout=120)
            write_atomically(path, lambda file: file.write_bytes(process.stdout))
    return path
