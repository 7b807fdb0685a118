"""Puts the package of the recorder, which only needs torch, on the path."""

import sys
from pathlib import Path

WATCH = str(Path(__file__).resolve().parent.parent.parent / "watch")
if WATCH not in sys.path:
    sys.path.insert(0, WATCH)
