"""What pages load when they need it, built from packages once: Vega-Lite as a script, and the font of formulas."""

import hashlib
import subprocess
import sys
import threading
from importlib.metadata import version
from pathlib import Path

from qa_service.files import write_atomically
from qa_service.fronts.web import math_font as mathfont

_VEGA = "import vl_convert; built = vl_convert.javascript_bundle().encode()"
_FONT = "from qa_service.fronts.web.math_font import font; built = font()"
_CUT = Path(mathfont.__file__).read_bytes()
_building = threading.Lock()


def vega_bundle(cache: Path) -> Path:
    """Vega-Lite and vega-embed as one script (some 10 s)."""
    return _built(vega_path(cache), _VEGA)


def math_font(cache: Path) -> Path:
    """The font that formulas are set in (some 3 s)."""
    return _built(font_path(cache), _FONT)


def vega_path(cache: Path) -> Path:
    """Where the script lies once it is built."""
    return cache / f"vega-{version('vl-convert-python')}.js"


def font_path(cache: Path) -> Path:
    """Where the font lies once it is built; cut otherwise it is another font."""
    return cache / f"math-{version('ziamath')}-{hashlib.sha256(_CUT).hexdigest()[:8]}.woff"


def _built(path: Path, source: str) -> Path:
    """Built if it is not there, never twice at once.

    In a process of its own, because the builders keep the interpreter to themselves while they work.
    """
    with _building:
        if not path.is_file():
            command = [sys.executable, "-c", f"import sys; {source}; sys.stdout.buffer.write(built)"]
            built = subprocess.run(command, stdout=subprocess.PIPE, check=True, timeout=120)
            write_atomically(path, lambda file: file.write_bytes(built.stdout))
    return path
