"""The disk cache of runs: found after a restart, bounded in size, and never a cause of failure."""

import json
import math
import shutil
import sqlite3
import subprocess
import sys
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest
from processes import ROOT, TIMEOUT_SECONDS, running, until

from bench.server import run_server
from qa_service.lab.disk_cache import RunDiskCache
from qa_service.lab.run_json import rows_from_json, run_from_json, run_to_json
from qa_service.lab.single_flight import SharedRunner
from qa_service.model import Run, RunStatus


@pytest.fixture
def counts(toy_experiments):
    return toy_experiments["counts"]


def _run(counts, value: float = 1.0, rows: int = 1) -> Run:
    measured = dict.fromkeys(counts.metrics, value)
    return Run(status=RunStatus.RAN, measured=measured, rows=({"step": 1, "value": value},) * rows, seconds=0.25)


def _run_to_end(runner: SharedRunner, experiment, steps: int):
    stream, rows = runner.stream(experiment, {"steps": steps}, 0), []
    while True:
        try:
            rows.append(next(stream))
        except StopIteration as stop:
            return rows, stop.value


class _CountingRunner:
    def __init__(self, lab):
        self._lab, self.count = lab, 0

    def __getattr__(self, name):
        return getattr(self._lab, name)

    def stream(self, *args):
        self.count += 1
        return self._lab.stream(*args)


def test_run_is_cached_across_restarts(lab, counts, tmp_path):
    """After a restart the run has the same rows and metrics and is marked as cached; with another code hash it runs
    again.
    """
    runner = _CountingRunner(lab)
    rows, first = _run_to_end(SharedRunner(runner, disk_cache=RunDiskCache(tmp_path, 1 << 20)), counts, 5)
    _wait_until_stored(tmp_path, 1)
    again, second = _run_to_end(SharedRunner(runner, disk_cache=RunDiskCache(tmp_path, 1 << 20)), counts, 5)
    assert (runner.count, again, second) == (1, rows, replace(first, cached=True))
    other = replace(counts, hash="0" * 64)
    assert not _run_to_end(SharedRunner(runner, disk_cache=RunDiskCache(tmp_path, 1 << 20)), other, 5)[1].cached
    assert runner.count == 2


@pytest.mark.parametrize("value", [math.inf, -math.inf, math.nan, -0.0, 0.1, 5e-324, None, "NaN"])
def test_every_number_round_trips(counts, tmp_path, value):
    cache = RunDiskCache(tmp_path, 1 << 20)
    cache.put(counts, {}, 0, _run(counts, value))
    found = cache.get(counts, {}, 0)
    assert repr(found.measured) == repr(_run(counts, value).measured)
    assert repr(found.rows[0]["value"]) == repr(value)


@pytest.mark.parametrize(("params", "seed"), [({"steps": 2}, 0), ({"steps": 1.0}, 0), ({"steps": 1}, 1)])
def test_parameters_and_seed_are_part_of_the_key(counts, tmp_path, params, seed):
    cache = RunDiskCache(tmp_path, 1 << 20)
    cache.put(counts, {"steps": 1}, 0, _run(counts))
    assert cache.get(counts, {"steps": 1}, 0) is not None
    assert cache.get(counts, params, seed) is None


def test_environment_is_part_of_the_key(counts, tmp_path):
    cache = RunDiskCache(tmp_path, 1 << 20)
    cache.put(counts, {}, 0, _run(counts))
    assert RunDiskCache(tmp_path, 1 << 20).get(counts, {}, 0) is not None
    assert RunDiskCache(tmp_path, 1 << 20, environments=lambda: [("another torch",)]).get(counts, {}, 0) is None


def test_failed_runs_are_not_cached(counts, tmp_path):
    cache = RunDiskCache(tmp_path, 1 << 20)
    cache.put(counts, {}, 0, Run(status=RunStatus.TIMED_OUT))
    assert cache.get(counts, {}, 0) is None


def test_least_recently_used_runs_are_evicted(counts, tmp_path):
    """Reading a run protects it from eviction; the database file never exceeds twice the limit."""
    limit = 60_000
    cache = RunDiskCache(tmp_path, limit)
    for seed in range(60):
        cache.put(counts, {}, seed, _run(counts, rows=200))
        assert cache.get(counts, {}, 0) is not None
    seeds = [seed for seed in range(60) if cache.get(counts, {}, seed)]
    assert seeds == [0, *range(61 - len(seeds), 60)]
    assert 5 < len(seeds) < 30
    assert (tmp_path / "runs.sqlite").stat().st_size < 2 * limit


def test_corrupt_data_is_removed(counts, tmp_path):
    """Corrupt data are an invalid entry, or a file that is not a database."""
    cache = RunDiskCache(tmp_path, 1 << 20)
    for invalid in ("{", "[]", '{"measured": {}, "rows": 3}', "null"):
        cache.put(counts, {}, 0, _run(counts))
        with sqlite3.connect(tmp_path / "runs.sqlite") as database:
            database.execute("UPDATE runs SET run = ?", (invalid,))
        database.close()
        assert cache.get(counts, {}, 0) is None
        assert _stored_count(tmp_path) == 0
    (tmp_path / "runs.sqlite").write_bytes(b"not a database " * 1000)
    assert cache.get(counts, {}, 0) is None
    cache.put(counts, {}, 0, _run(counts))
    assert cache.get(counts, {}, 0) is not None


KEPT = {
    "status": "ran", "note": {"zh": "", "en": ""}, "measured": {}, "rows": [{"step": 1, "value": "NaN", "on": True}],
    "seconds": 1, "versions": {"torch": "2.13.0"}, "machine": "m", "environment": ["2.13.0", "3.11", "avx2"],
    "random": False, "at": None,
}  # fmt: skip
"""A kept run as it has always been written, but for its metrics."""


def test_a_kept_run_of_before_is_read_and_one_with_more_fields(counts):
    """Runs stored by earlier versions are read and written the same; unknown fields of later versions are ignored."""
    measured = dict.fromkeys(counts.metrics, math.inf)
    for more in ({}, {"since": [1]}):
        run = run_from_json(counts, json.dumps(KEPT | {"measured": measured} | more))
        assert (run.measured, run.rows) == (measured, ({"step": 1, "value": "NaN", "on": True},))
        assert json.loads(run_to_json(run)) == KEPT | {"measured": measured}


@pytest.mark.parametrize(
    "wrong",
    [{"status": "run"}, {"status": 1}, {"note": {"zh": ""}}, {"note": None},
     {"measured": {"other": 1.0}}, {"measured": []},
     {"rows": 3}, {"rows": [3]}, {"rows": [{"step": [1]}]}, {"rows": [{"step": {}}]}, {"seconds": "1"},
     {"versions": {"torch": 2}}, {"machine": None}, {"environment": "x"}, {"environment": [1]}, {"random": 0},
     {"at": "now"}, {"at": True}],
    ids=str,
)  # fmt: skip
def test_a_kept_run_with_a_wrong_field_is_measured_again(counts, tmp_path, wrong):
    """A stored run that lacks a field is measured again too."""
    cache = RunDiskCache(tmp_path, 1 << 20)
    good = KEPT | {"measured": dict.fromkeys(counts.metrics, 1.0)}
    (name,) = wrong
    lacking = {field: value for field, value in good.items() if field != name}
    for kept, is_read in ((good, True), (good | wrong, False), (lacking, False)):
        cache.put(counts, {}, 0, _run(counts))
        with closing(sqlite3.connect(tmp_path / "runs.sqlite")) as database, database:
            database.execute("UPDATE runs SET run = ?", (json.dumps(kept),))
        assert (cache.get(counts, {}, 0) is not None) == is_read


@pytest.mark.parametrize("text", ["", "{}", "null", "[1]", '[{"a": []}]', '[{"a": "\\ud800"}]', "[" * 100_000])
def test_rows_that_were_not_written_as_rows_are_refused(text):
    with pytest.raises(ValueError, match="validation error"):
        rows_from_json(text)


def test_unwritable_folder_is_not_an_error(counts, tmp_path):
    (tmp_path / "file").write_text("not a folder")
    cache = RunDiskCache(tmp_path / "file", 1 << 20)
    cache.put(counts, {}, 0, _run(counts))
    assert cache.get(counts, {}, 0) is None


def test_full_disk_is_not_an_error(counts, tmp_path):
    """Nothing more is stored and nothing is raised; what was stored before is still found."""
    code = (
        "import resource, signal\nfrom pathlib import Path\nfrom qa_service.lab.disk_cache import RunDiskCache\n"
        "from qa_service.experiments.spec import load_specs\nfrom qa_service.model import Run, RunStatus\n"
        f"counts = load_specs(Path({str(Path(counts.path).parent)!r}))['counts']\n"
        f"cache = RunDiskCache(Path({str(tmp_path)!r}), 1 << 24)\n"
        "def run(rows): return Run(status=RunStatus.RAN, measured=dict.fromkeys(counts.metrics, 1.0),\n"
        "                          rows=({'step': 1, 'value': 1.0},) * rows)\n"
        "cache.put(counts, {}, 0, run(1))\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (30_000, 30_000))\n"
        "cache.put(counts, {}, 1, run(5000))\n"
        "print(cache.get(counts, {}, 0) is not None, cache.get(counts, {}, 1) is None)\n"
    )
    process = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, timeout=TIMEOUT_SECONDS, check=False
    )
    assert (process.stdout, process.stderr) == ("True True\n", "")


def test_two_processes_store_at_once(counts, tmp_path):
    """All runs of both are found afterwards."""
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
    cache = RunDiskCache(tmp_path, 1 << 20)
    assert [seed for seed in range(80) if cache.get(counts, {}, seed) is None] == []


@pytest.mark.exhaustive
@pytest.mark.server
@pytest.mark.skipif(sys.platform == "darwin", reason="processes are watched through /proc")
def test_restarted_server_finds_cached_runs(cache, tmp_path):
    """It finds them if NUMSTAB_RUNS_ON_DISK is set; otherwise the run is executed again."""
    shutil.copytree(cache, tmp_path / "cache", ignore=shutil.ignore_patterns("runs"))  # what is trained, and no run
    toys = ROOT / "tests" / "toys"
    env = {"NUMSTAB_KB": str(toys / "kb"), "NUMSTAB_DEMOS": str(toys / "demos"), "NUMSTAB_DEADLINE": "240",
           "NUMSTAB_CACHE": str(tmp_path / "cache"), "NUMSTAB_RUNS_ON_DISK": "1"}  # fmt: skip
    cached = []
    for on_disk in ("1", "1", "0"):
        with run_server(env | {"NUMSTAB_RUNS_ON_DISK": on_disk}) as server:
            status, body = server.post("/experiments/counts/runs", {"params": {"steps": 3}})
            assert status == 200
            cached.append(body["cached"])
            if on_disk == "1":
                _wait_until_stored(tmp_path / "cache", 1)
    assert cached == [False, True, False]


def _stored_count(folder: Path) -> int:
    database = sqlite3.connect(folder / "runs.sqlite")
    count = database.execute("SELECT count(*) FROM runs").fetchone()[0]
    database.close()
    return count


def _wait_until_stored(folder: Path, count: int) -> None:
    until(lambda: (folder / "runs.sqlite").exists() and _stored_count(folder) >= count)
