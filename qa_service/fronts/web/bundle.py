"""Vega-Lite and vega-embed as one script of our own origin, built when the first chart asks for it."""

import os
import subprocess
import sys
import tempfile
import threading
from importlib.metadata import version
from pathlib import Path

_BUILD = "import sys, vl_convert; sys.stdout.buffer.write(vl_convert.javascript_bundle().encode())"
_building = threading.Lock()


def vega_bundle(cache: Path) -> Path:
    """The script's path in the cache folder; builds it if it is not there (some 10 s), never twice at once.

    It is built in a process of its own, because the builder keeps the interpreter to itself while it works.
    """
    path = cache / f"vega-{version('vl-convert-python')}.js"
    with _building:
        if not path.is_file():
            cache.mkdir(parents=True, exist_ok=True)
            built = subprocess.run([sys.executable, "-c", _BUILD], stdout=subprocess.PIPE, check=True, timeout=120)
            with tempfile.NamedTemporaryFile(dir=cache, delete=False) as half:
                half.write(built.stdout)
            os.replace(half.name, path)  # whole or not at all, whichever worker is faster
    return path
