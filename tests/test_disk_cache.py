"""Runs kept on disk: found again after a restart, bounded, and never in anybody's way."""

import math
import shutil
import sqlite3
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from processes import ROOT, TIMEOUT_SECONDS, running, until

from bench.server import run_server
from qa_service.lab.disk_cache import RunDiskCache
from qa_service.lab.single_flight import SharedRunner
from qa_service.model import Run, RunStatus


@pytest.fixture
def counts(toy_experiments):
    return toy_experiments["counts"]


def _run(counts, value: float = 1.0, rows: int = 1) -> Run:
    measured = dict.fromkeys(counts.metrics, value)
    return Run(status=RunStatus.RAN, measured=measured, rows=({"step": 1, "value": value},) * rows, seconds=0.25)


def _listen(sharing: SharedRunner, experiment, steps: int):
    stream, rows = sharing.stream(experiment, {"steps": steps}, 0), []
    while True:
        try:
            rows.append(next(stream))
        except StopIteration as end:
            return rows, end.value


class _Counted:
    def __init__(self, lab):
        self._lab, self.ran = lab, 0

    def __getattr__(self, name):
        return getattr(self._lab, name)

    def stream(self, *what):
        self.ran += 1
        return self._lab.stream(*what)


def test_a_run_is_found_after_a_restart_and_says_so(lab, counts, tmp_path):
    """The same rows and numbers, marked as what memory gives; other code is measured anew."""
    counted = _Counted(lab)
    rows, first = _listen(SharedRunner(counted, disk_cache=RunDiskCache(tmp_path, 1 << 20)), counts, 5)
    _until_kept(tmp_path, 1)
    again, second = _listen(SharedRunner(counted, disk_cache=RunDiskCache(tmp_path, 1 << 20)), counts, 5)
    assert (counted.ran, again, second) == (1, rows, replace(first, cached=True))
    other = replace(counts, hash="0" * 64)
    assert not _listen(SharedRunner(counted, disk_cache=RunDiskCache(tmp_path, 1 << 20)), other, 5)[1].cached
    assert counted.ran == 2


@pytest.mark.parametrize("value", [math.inf, -math.inf, math.nan, -0.0, 0.1, 5e-324, None])
def test_every_number_comes_back(counts, tmp_path, value):
    kept = RunDiskCache(tmp_path, 1 << 20)
    kept.put(counts, {}, 0, _run(counts, value))
    found = kept.get(counts, {}, 0)
    assert repr(found.measured) == repr(_run(counts, value).measured)
    assert repr(found.rows[0]["value"]) == repr(value)


@pytest.mark.parametrize(("params", "seed"), [({"steps": 2}, 0), ({"steps": 1.0}, 0), ({"steps": 1}, 1)])
def test_other_parameters_and_seeds_are_other_runs(counts, tmp_path, params, seed):
    kept = RunDiskCache(tmp_path, 1 << 20)
    kept.put(counts, {"steps": 1}, 0, _run(counts))
    assert kept.get(counts, {"steps": 1}, 0) is not None
    assert kept.get(counts, params, seed) is None


def test_another_version_or_machine_is_another_run(counts, tmp_path):
    kept = RunDiskCache(tmp_path, 1 << 20)
    kept.put(counts, {}, 0, _run(counts))
    assert RunDiskCache(tmp_path, 1 << 20).get(counts, {}, 0) is not None
    assert RunDiskCache(tmp_path, 1 << 20, environment=("another torch",)).get(counts, {}, 0) is None


def test_a_run_that_failed_is_not_kept(counts, tmp_path):
    kept = RunDiskCache(tmp_path, 1 << 20)
    kept.put(counts, {}, 0, Run(status=RunStatus.TIMED_OUT))
    assert kept.get(counts, {}, 0) is None


def test_the_least_recently_used_go_first(counts, tmp_path):
    """What is asked for stays; together they never take more bytes than they may, on the disk neither."""
    most = 60_000
    kept = RunDiskCache(tmp_path, most)
    for seed in range(60):
        kept.put(counts, {}, seed, _run(counts, rows=200))
        assert kept.get(counts, {}, 0) is not None
    seeds = [seed for seed in range(60) if kept.get(counts, {}, seed)]
    assert seeds == [0, *range(61 - len(seeds), 60)]
    assert 5 < len(seeds) < 30
    assert (tmp_path / "runs.sqlite").stat().st_size < 2 * most


def test_what_is_broken_is_removed(counts, tmp_path):
    """An entry that is nonsense, and a file that is no database."""
    kept = RunDiskCache(tmp_path, 1 << 20)
    for nonsense in ("{", "[]", '{"measured": {}, "rows": 3}', "null"):
        kept.put(counts, {}, 0, _run(counts))
        with sqlite3.connect(tmp_path / "runs.sqlite") as store:
            store.execute("UPDATE runs SET run = ?", (nonsense,))
        store.close()
        assert kept.get(counts, {}, 0) is None
        assert _kept(tmp_path) == 0
    (tmp_path / "runs.sqlite").write_bytes(b"no database " * 1000)
    assert kept.get(counts, {}, 0) is None
    kept.put(counts, {}, 0, _run(counts))
    assert kept.get(counts, {}, 0) is not None


def test_a_folder_that_cannot_be_written_is_no_failure(counts, tmp_path):
    (tmp_path / "file").write_text("no folder")
    kept = RunDiskCache(tmp_path / "file", 1 << 20)
    kept.put(counts, {}, 0, _run(counts))
    assert kept.get(counts, {}, 0) is None


def test_a_full_disk_is_no_failure(counts, tmp_path):
    """Nothing is kept, nothing raised; what was kept is still found."""
    code = (
        "import resource, signal\nfrom pathlib import Path\nfrom qa_service.lab.disk_cache import RunDiskCache\n"
        "from qa_service.experiments.spec import load_specs\nfrom qa_service.model import Run, RunStatus\n"
        f"counts = load_specs(Path({str(Path(counts.path).parent)!r}))['counts']\n"
        f"kept = RunDiskCache(Path({str(tmp_path)!r}), 1 << 24)\n"
        "def run(rows): return Run(status=RunStatus.RAN, measured=dict.fromkeys(counts.metrics, 1.0),\n"
        "                          rows=({'step': 1, 'value': 1.0},) * rows)\n"
        "kept.put(counts, {}, 0, run(1))\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (30_000, 30_000))\n"
        "kept.put(counts, {}, 1, run(5000))\n"
        "print(kept.get(counts, {}, 0) is not None, kept.get(counts, {}, 1) is None)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, timeout=TIMEOUT_SECONDS, check=False
    )
    assert (done.stdout, done.stderr) == ("True True\n", "")


def test_two_processes_keep_at_once(counts, tmp_path):
    """Each finds what the other kept."""
    code = (
        "import sys\nfrom pathlib import Path\nfrom qa_service.lab.disk_cache import RunDiskCache\n"
        "from qa_service.experiments.spec import load_specs\nfrom qa_service.model import Run, RunStatus\n"
        f"counts = load_specs(Path({str(Path(counts.path).parent)!r}))['counts']\n"
        "run = Run(status=RunStatus.RAN, measured=dict.fromkeys(counts.metrics, 1.0),\n"
        "          rows=({'step': 1, 'value': 1.0},))\n"
        "for seed in range(int(sys.argv[1]), 80, 2):\n"
        f"    RunDiskCache(Path({str(tmp_path)!r}), 1 << 20).put(counts, {{}}, seed, run)\n"
    )
    command = [sys.executable, "-c", code]
    with running([*command, "0"], cwd=ROOT) as one, running([*command, "1"], cwd=ROOT) as other:
        assert (one.wait(TIMEOUT_SECONDS), other.wait(TIMEOUT_SECONDS)) == (0, 0)
    kept = RunDiskCache(tmp_path, 1 << 20)
    assert [seed for seed in range(80) if kept.get(counts, {}, seed) is None] == []


@pytest.mark.exhaustive
@pytest.mark.server
@pytest.mark.skipif(sys.platform == "darwin", reason="processes are watched through /proc")
def test_a_server_that_starts_again_remembers(cache, tmp_path):
    """Told to by the operator; by default it measures anew."""
    shutil.copytree(cache, tmp_path / "cache")
    toys = ROOT / "tests" / "toys"
    env = {"NUMSTAB_KB": str(toys / "kb"), "NUMSTAB_DEMOS": str(toys / "demos"), "NUMSTAB_DEADLINE": "60",
           "NUMSTAB_CACHE": str(tmp_path / "cache"), "NUMSTAB_RUNS_ON_DISK": "1"}  # fmt: skip
    cached = []
    for on_disk in ("1", "1", "0"):
        with run_server(env | {"NUMSTAB_RUNS_ON_DISK": on_disk}) as server:
            status, body = server.post("/experiments/counts/runs", {"params": {"steps": 3}})
            assert status == 200
            cached.append(body["cached"])
            if on_disk == "1":
                _until_kept(tmp_path / "cache", 1)
    assert cached == [False, True, False]


def _kept(folder: Path) -> int:
    store = sqlite3.connect(folder / "runs.sqlite")
    count = store.execute("SELECT count(*) FROM runs").fetchone()[0]
    store.close()
    return count


def _until_kept(folder: Path, count: int) -> None:
    until(lambda: (folder / "runs.sqlite").exists() and _kept(folder) >= count)
