"""What each process carries. Who may import whom: `make layers`."""

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent


def test_the_command_line_starts_light():
    """Finding the fronts imports neither the web framework nor rich, and no numerics."""
    code = (
        "import sys\n"
        "from qa_service.app import fronts\n"
        "assert len(fronts()) >= 3\n"
        "heavy = {'fastapi', 'rich', 'torch', 'sqlalchemy', 'jinja2', 'faiss'} & set(sys.modules)\n"
        "assert not heavy, heavy\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True, cwd=ROOT, timeout=60)
