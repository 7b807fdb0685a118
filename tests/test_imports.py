"""Which modules the command line imports. The layers are checked by `make layers`."""

import os
import subprocess
import sys
from pathlib import Path

from processes import TIMEOUT_SECONDS

ROOT = Path(__file__).resolve().parent.parent


def test_command_line_imports_nothing_heavy():
    """Finding the fronts imports no web framework, database, rich, torch, network, event loop or diagnosis of runs."""
    code = (
        "import sys\n"
        "from qa_service.app import fronts\n"
        "assert len(fronts()) >= 3\n"
        "heavy = {'fastapi', 'rich', 'torch', 'sqlalchemy', 'jinja2', 'faiss', 'asyncio', 'ssl'} & set(sys.modules)\n"
        "heavy |= {name for name in sys.modules if name.startswith('qa_service.diagnosis.')}\n"
        "assert not heavy, heavy\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True, cwd=ROOT, timeout=TIMEOUT_SECONDS)


def test_an_answer_without_runs_imports_nothing_that_it_does_not_need(cache):
    """A first question imports neither FAISS, nor the diagnosis of runs, nor a web framework, nor a database."""
    code = (
        "import sys\n"
        "from qa_service.__main__ import main\n"
        "main(['ask', '--no-run', 'why is my loss nan in float16?'])\n"
        "heavy = {'faiss', 'torch', 'pydantic', 'fastapi', 'sqlalchemy', 'jinja2', 'ssl'} & set(sys.modules)\n"
        "heavy |= {name for name in sys.modules if name.startswith('qa_service.diagnosis.')}\n"
        "assert not heavy, heavy\n"
    )
    env = {
        **os.environ,
        "NUMSTAB_CACHE": str(cache),
        "NUMSTAB_KB": "tests/toys/kb",
        "NUMSTAB_DEMOS": "tests/toys/demos",
    }
    subprocess.run([sys.executable, "-c", code], check=True, cwd=ROOT, timeout=120, env=env, capture_output=True)


def test_a_log_is_read_without_the_schemas_of_traces():
    code = (
        "import sys\n"
        "from qa_service.diagnosis.reading import read_training_run\n"
        "assert read_training_run(b'step: 1 loss: 2.5\\n').series\n"
        "assert 'pydantic' not in sys.modules\n"
        "assert read_training_run(b'{\"schema\": \"numstab-trace/1\"}\\n').source == 'trace'\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True, cwd=ROOT, timeout=TIMEOUT_SECONDS)
