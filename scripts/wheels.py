"""Builds what is published, into a folder: the whole wheel, the light one, and the trained classifier for both.

    .venv/bin/python scripts/wheels.py FOLDER

The classifier is trained first if the cache has none for these entries, which takes minutes.
"""

import hashlib
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PROJECTS = tuple(ROOT / "wheels" / name for name in ("whole", "core"))


def main(folder: Path) -> int:
    """Prints each wheel with its size and SHA-256; returns exit status 0."""
    folder.mkdir(parents=True, exist_ok=True)
    for project in PROJECTS:
        build = ["-m", "build", "--no-isolation", "--wheel", "--outdir", str(folder), str(project)]
        subprocess.run([sys.executable, "-P", *build], check=True, cwd=folder, stdout=subprocess.DEVNULL)
    export = ["-m", "qa_service", "prepare", "--export", str(folder)]
    subprocess.run([sys.executable, *export], check=True, cwd=ROOT, stdout=subprocess.DEVNULL)
    for wheel in sorted(folder.glob("*.whl")):
        content = wheel.read_bytes()
        print(f"{wheel.name}  {len(content) / 1e6:.1f} MB  sha256={hashlib.sha256(content).hexdigest()}")
    return 0


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]).resolve()))
