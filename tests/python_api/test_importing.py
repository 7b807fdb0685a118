"""`import numstab` in a program: which modules it imports, and a script that uses it without a main guard."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from processes import TIMEOUT_SECONDS

ROOT = Path(__file__).resolve().parent.parent.parent
TOYS = ROOT / "tests" / "toys"
HEAVY = ("torch", "numpy", "scipy", "pydantic", "fastapi", "rich", "jinja2", "sqlalchemy", "faiss", "pandas", "IPython")
SCRIPT = """
import threading
import numstab

runs = {}

def measure(n):
    runs[n] = numstab.run("counts", steps=n).metrics["last"]

threads = [threading.Thread(target=measure, args=(n,)) for n in (10, 20, 30)]
for each in threads:
    each.start()
for each in threads:
    each.join()
assert runs == {10: 10.0, 20: 20.0, 30: 30.0}, runs
print(numstab.ask(entry="counting", lang="zh"))
"""


def run_python(code: str, folder: Path, **env: str) -> subprocess.CompletedProcess[str]:
    """Runs a script file, as its author would."""
    script = folder / "script.py"
    script.write_text(code, "utf-8")
    return subprocess.run(
        [sys.executable, str(script)], cwd=folder, env={**os.environ, "PYTHONPATH": str(ROOT), **env},
        capture_output=True, text=True, check=False, timeout=240,
    )  # fmt: skip


@pytest.mark.parametrize("use", ["", "numstab.connect('http://127.0.0.1:9')"])
def test_importing_numstab_imports_nothing_heavy(tmp_path: Path, use: str) -> None:
    """Neither importing numstab nor making a client of a server imports a heavy module."""
    code = f"import sys\nimport numstab\n{use}\nprint(*sorted({set(HEAVY)!r} & set(sys.modules)))\n"
    done = run_python(code, tmp_path)
    assert (done.returncode, done.stdout.strip(), done.stderr) == (0, "", "")


def test_a_script_needs_no_guard_and_leaves_no_noise(tmp_path: Path, cache: Path) -> None:
    """It runs experiments from several threads; its child processes do not run it again, and all end with it."""
    env = {"NUMSTAB_CACHE": str(cache), "NUMSTAB_DATA": str(tmp_path), "NUMSTAB_DEADLINE": "240",
           "NUMSTAB_KB": str(TOYS / "kb"), "NUMSTAB_DEMOS": str(TOYS / "demos")}  # fmt: skip
    done = run_python(SCRIPT, tmp_path, **env)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.count("数到 5") == 1


@pytest.mark.exhaustive
def test_a_script_that_fails_leaves_only_its_own_traceback(tmp_path: Path, cache: Path) -> None:
    env = {"NUMSTAB_CACHE": str(cache), "NUMSTAB_DATA": str(tmp_path), "NUMSTAB_DEADLINE": "240"}
    done = run_python("import numstab\nnumstab.run('pow_vs_sum')\nnumstab.run('pow_vs_sum', n=-1)\n", tmp_path, **env)
    assert done.returncode == 1
    assert done.stderr.count("Traceback") == 1
    assert "Exception ignored" not in done.stderr
    assert "参数 n 不能是 -1" in done.stderr, "the note in Chinese"


def test_a_name_that_is_not_there_is_an_attribute_error() -> None:
    import numstab

    with pytest.raises(AttributeError, match="nothing_such"):
        _ = numstab.nothing_such


def test_the_recorder_is_the_installed_one_or_the_shipped_copy(tmp_path: Path) -> None:
    """`numstab.watch` comes from the package `numstab_watch`; if neither it nor a copy exists, the error names it."""
    shipped = tmp_path / "watch"
    (shipped / "numstab_watch").mkdir(parents=True)
    (shipped / "numstab_watch" / "__init__.py").write_text("def watch():\n    return 'shipped'\n")
    code = (
        "import sys, numstab, numstab.recorder\nfrom pathlib import Path\n"
        "numstab.recorder.bundled = lambda name: Path(sys.argv[1]) / name\n"
        "class Hidden:\n    def find_spec(self, name, *_):\n"
        "        if name == 'numstab_watch' and not any('watch' in each for each in sys.path):\n"
        "            raise ModuleNotFoundError(name, name=name)\n"
        "sys.meta_path.insert(0, Hidden())\n"
        "print(numstab.watch())\n"
    )
    script = tmp_path / "script.py"
    script.write_text(code)
    for folder, expected in ((tmp_path, (0, "shipped")), (tmp_path / "nothing", (1, ""))):
        done = subprocess.run(
            [sys.executable, "-P", str(script), str(folder)], env={**os.environ, "PYTHONPATH": str(ROOT)},
            capture_output=True, text=True, check=False, timeout=TIMEOUT_SECONDS,
        )  # fmt: skip
        assert (done.returncode, done.stdout.strip()) == expected, done.stderr
    assert "numstab_watch" in done.stderr
