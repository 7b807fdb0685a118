"""Which modules the command line imports. The layers are checked by `make layers`."""

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent


def test_command_line_imports_nothing_heavy():
    """Finding the fronts imports no web framework, database, rich, torch, network or event loop."""
    code = (
        "import sys\n"
        "from qa_service.app import fronts\n"
        "assert len(fronts()) >= 3\n"
        "heavy = {'fastapi', 'rich', 'torch', 'sqlalchemy', 'jinja2', 'faiss', 'asyncio', 'ssl'} & set(sys.modules)\n"
        "assert not heavy, heavy\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True, cwd=ROOT, timeout=60)
