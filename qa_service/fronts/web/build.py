"""What pages load when they need it, built from packages once: Vega-Lite as a script, and the font of formulas."""

import hashlib
import os
import subprocess
import sys
import tempfile
import threading
from importlib.metadata import version
from pathlib import Path

from qa_service.fronts.web import math_font

_VEGA_CODE = "import vl_convert; built = vl_convert.javascript_bundle().encode()"
_FONT_CODE = "from qa_service.fronts.web.math_font import subset_font; built = subset_font()"
_FONT_SUBSETTER_SOURCE = Path(math_font.__file__).read_bytes()
_build_lock = threading.Lock()


def build_vega_bundle(cache: Path) -> Path:
    """Vega-Lite and vega-embed as one script (some 10 s)."""
    return _build_once(vega_bundle_path(cache), _VEGA_CODE)


def build_math_font(cache: Path) -> Path:
    """The font that formulas are set in (some 3 s)."""
    return _build_once(math_font_path(cache), _FONT_CODE)


def vega_bundle_path(cache: Path) -> Path:
    """Where the script lies once it is built."""
    return cache / f"vega-{version('vl-convert-python')}.js"


def math_font_path(cache: Path) -> Path:
    """Where the font lies once it is built; cut otherwise it is another font."""
    return cache / f"math-{version('ziamath')}-{hashlib.sha256(_FONT_SUBSETTER_SOURCE).hexdigest()[:8]}.woff"


def _build_once(path: Path, source: str) -> Path:
    """Built if it is not there, never twice at once.

    In a process of its own, because the builders keep the interpreter to themselves while they work.
    """
    with _build_lock:
        if not path.is_file():
            path.parent.mkdir(parents=True, exist_ok=True)
            command = [sys.executable, "-c", f"import sys; {source}; sys.stdout.buffer.write(built)"]
            built = subprocess.run(command, stdout=subprocess.PIPE, check=True, timeout=120)
            with tempfile.NamedTemporaryFile(dir=path.parent, delete=False) as half:
                half.write(built.stdout)
            os.replace(half.name, path)  # whole or not at all, whichever worker is faster
    return path
