"""Selects the tests of experiments that `make test` runs: those of what has changed since they last passed, and a
sample.

tests/experiments/passed.json records, for each test file and for each experiment in the tests of all experiments, the
fingerprint (code and version of torch) with which it passed. Tests whose fingerprint is still the same are marked as
exhaustive, except every sixteenth file and every sixteenth test of all experiments; files of which no test would run
are not even read. The tests of a real cluster, which takes longer to start than they run, are selected in the same way
by the code of the lab. `make test ARGS=--record` writes the record: docs/decisions/0019-tests-of-what-changed.md.
"""

import functools
import hashlib
import json
import re
import zlib
from collections.abc import Sequence
from importlib import metadata
from importlib.util import find_spec
from pathlib import Path

import pytest
from oracles import EXPERIMENTS

FOLDER = Path(__file__).resolve().parent / "experiments"
RECORD = FOLDER / "passed.json"
EVERY_EXPERIMENT_FILE = FOLDER / "test_every_experiment.py"
"""The file with tests whose parameter `slug` or `case` says of which experiment they are."""
ORACLES = FOLDER.parent / "oracles.py"
CLUSTER = FOLDER.parent / "test_ray_cluster.py"
SAMPLING_INTERVAL = 16  # of what has not changed, one file or test in so many runs all the same


def sha256_of(*parts: str) -> str:
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()[:24]


@functools.cache
def file_text(path: Path) -> str:
    return path.read_text(encoding="utf-8")


@functools.cache
def installed_version(package: str) -> str:
    """The installed version of a package; cached, as reading it takes longer than the rest of a fingerprint."""
    return metadata.version(package)


@functools.cache
def fingerprint(unit: str) -> str:
    """What the outcome of a unit's tests depends on: the tests, the experiments that they name, the version of torch.

    A unit is a file of tests, by its name, or an experiment, by its slug. Those of a cluster depend on all of the lab.
    """
    torch = installed_version("torch").partition("+")[0]
    if unit == CLUSTER.name:
        lab = sorted((FOLDER.parent.parent / "qa_service" / "lab").glob("*.py"))
        started_by = FOLDER.parent.parent / "bench" / "ray_cluster.py"
        return sha256_of(torch, installed_version("ray"), *map(file_text, (CLUSTER, started_by, *lab)))
    if unit in EXPERIMENTS:
        return sha256_of(torch, EXPERIMENTS[unit].hash, file_text(ORACLES), file_text(EVERY_EXPERIMENT_FILE))
    tests = file_text(FOLDER / unit)
    named = sorted(EXPERIMENTS.keys() & set(re.findall(r"\w+", tests)))
    return sha256_of(torch, tests, *(EXPERIMENTS[slug].hash for slug in named), file_text(ORACLES))


@functools.cache
def recorded(path: Path) -> dict[str, str]:
    """The record: unit → the fingerprint with which it passed."""
    found: dict[str, str] = json.loads(file_text(path))
    return found


def is_unchanged(unit: str) -> bool:
    """Whether the unit's current fingerprint is the one with which its tests last passed."""
    return recorded(RECORD).get(unit) == fingerprint(unit)


def is_sampled(name: str) -> bool:
    """Whether the file or test with this name is in the sample that runs even if nothing has changed."""
    return zlib.crc32(name.encode()) % SAMPLING_INTERVAL == 0


def is_sampled_by_test(file: Path) -> bool:
    """Whether the sample takes single tests of the file, not the whole file: so where it also tests our own code."""
    return file == EVERY_EXPERIMENT_FILE or "qa_service" in file_text(file)


def has_nothing_to_run(path: Path, marks: str, arguments: Sequence[str]) -> bool:
    """Whether a file of tests need not be read: all its tests would be marked as exhaustive, which `-m` leaves out.

    Where the file or its folder is named on the command line, it is read.
    """
    if path.parent != FOLDER or path.suffix != ".py" or is_sampled_by_test(path):
        return False
    named = {Path(argument.partition("::")[0]).resolve() for argument in arguments}
    if not re.fullmatch(r"not exhaustive( and (not )?\w+)*", marks) or named & {FOLDER, path}:
        return False
    return is_unchanged(path.name) and not is_sampled(path.name)


def unit_of(item: pytest.Item) -> str | None:
    """The unit that a test of this folder belongs to; None for a test of all experiments together."""
    if item.path != EVERY_EXPERIMENT_FILE:
        return item.path.name
    params = item.callspec.params if hasattr(item, "callspec") else {}
    slug = params["case"]["experiment"] if "case" in params else params.get("slug")
    return slug if slug in EXPERIMENTS else None


def mark_unchanged(items: list[pytest.Item]) -> None:
    """Marks as exhaustive the tests of units that passed with the present code, except for a sample; also marks
    repetitions of a test with further seeds.
    """
    seen = set()
    for item in items:
        if item.path == CLUSTER and find_spec("ray"):
            item.user_properties.append(("unit", CLUSTER.name))
            if is_unchanged(CLUSTER.name):
                item.add_marker("exhaustive")
        if item.path.parent != FOLDER:
            continue
        if unit := unit_of(item):
            item.user_properties.append(("unit", unit))
            if is_unchanged(unit) and not is_sampled(item.nodeid if is_sampled_by_test(item.path) else unit):
                item.add_marker("exhaustive")
        params = dict(item.callspec.params) if hasattr(item, "callspec") else {}
        if params.pop("seed", None) is not None:
            test = (item.path, item.function.__name__, repr(sorted(params.items())))
            if test in seen:
                item.add_marker("exhaustive")
            seen.add(test)


class Recorder:
    """Pytest plugin that writes the record at the end of a run, for units of which every test that ran has passed."""

    def __init__(self) -> None:
        self.outcomes: dict[str, bool] = {}  # unit → whether its tests have passed so far

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        for name, unit in report.user_properties:
            if name == "unit":
                self.outcomes[unit] = self.outcomes.get(unit, True) and not report.failed

    def pytest_sessionfinish(self, exitstatus: int) -> None:
        """Writes the record unless the run was stopped; units whose file or experiment no longer exists are dropped."""
        if exitstatus in (pytest.ExitCode.OK, pytest.ExitCode.TESTS_FAILED):
            kept = {
                unit: old
                for unit, old in recorded(RECORD).items()
                if unit in EXPERIMENTS or unit == CLUSTER.name or (FOLDER / unit).is_file()
            }
            passed = {unit: fingerprint(unit) for unit, passed in self.outcomes.items() if passed}
            RECORD.write_text(json.dumps(kept | passed, indent=0, sort_keys=True) + "\n", encoding="utf-8")
