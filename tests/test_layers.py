"""Who may import whom, and what each process carries."""

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent


def test_layers_are_kept():
    """Every contract of pyproject.toml."""
    command = [str(Path(sys.executable).parent / "lint-imports"), "--no-cache"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stdout


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


def test_files_stay_small():
    """About 300 lines at most, one idea each."""
    for path in [*ROOT.glob("qa_service/**/*.py"), *ROOT.glob("demos/**/*.py"), *ROOT.glob("scripts/*.py")]:
        lines = len(path.read_text(encoding="utf-8").splitlines())
        assert lines <= 300, f"{path.name} has {lines} lines"
