"""`make test` runs the tests of an experiment that has changed since they last passed, and a sample of the others."""

import json
from dataclasses import replace
from importlib.util import find_spec
from types import SimpleNamespace

import changed_experiments
import pytest
from changed_experiments import (
    CLUSTER,
    EXPERIMENTS,
    FOLDER,
    RECORD,
    Recorder,
    fingerprint,
    has_nothing_to_run,
    mark_unchanged,
)

ITEMS = 80  # of each unit; the chance that a sample of one in sixteen has none of them is below a hundredth
FILES = sorted(path for path in FOLDER.glob("test_*.py") if "qa_service" not in path.read_text("utf-8"))
ORDINARY = ("not exhaustive", ["-n", "4"])  # what `make test` selects, and its arguments


class Item(SimpleNamespace):
    """A stand-in for a pytest item, with the attributes that marking uses."""

    def add_marker(self, name):
        self.marks.append(name)


def items_of(file, **params):
    """Tests of one file of tests/experiments, which differ in one parameter."""
    return [
        Item(
            path=(FOLDER / file).resolve(),
            nodeid=f"tests/experiments/{file}::test[{number}]",
            callspec=SimpleNamespace(params=params | {"number": number}),
            function=test_a_sample_runs_of_what_has_passed,
            user_properties=[],
            marks=[],
        )
        for number in range(ITEMS)
    ]


def share_that_runs(items):
    mark_unchanged(items)
    return sum(not item.marks for item in items) / len(items)


def runs(path):
    """Whether any test of a file runs in `make test`."""
    return not has_nothing_to_run(path, *ORDINARY)


@pytest.fixture
def passed(monkeypatch, tmp_path):
    """The path of a record in which every unit passed with the present code."""
    units = ["test_ics.py", "test_formula.py", "quad_gd", *(path.name for path in FILES)]
    record = tmp_path / "passed.json"
    record.write_text(json.dumps({unit: fingerprint(unit) for unit in units}))
    monkeypatch.setattr(changed_experiments, "RECORD", record)
    yield record
    fingerprint.cache_clear()


def test_a_sample_runs_of_what_has_passed(passed):
    """The sample takes single tests from files that also test our own code, and whole files from the rest."""
    assert 0 < share_that_runs(items_of("test_every_experiment.py", slug="quad_gd")) < 0.5
    assert 0 < share_that_runs(items_of("test_formula.py")) < 0.5
    assert {share_that_runs(items_of(path.name)) for path in FILES} == {0, 1}
    assert 0 < sum(map(runs, FILES)) / len(FILES) < 0.2


def test_only_files_of_which_nothing_would_run_are_not_read(passed):
    assert all(runs(path) == (share_that_runs(items_of(path.name)) > 0) for path in FILES)
    assert all(runs(FOLDER / name) for name in ("test_every_experiment.py", "test_formula.py", "../test_claims.py"))
    unread = next(path for path in FILES if not runs(path))
    for marks, arguments in (
        ("", []),
        ("exhaustive", []),
        ("exhaustive or not exhaustive", []),
        ("not exhaustive", [f"{unread}::test"]),
        ("not exhaustive", [str(FOLDER)]),
    ):
        assert not has_nothing_to_run(unread, marks, arguments)


def test_all_runs_of_an_experiment_that_has_changed(passed, monkeypatch):
    """All tests of a changed experiment run, and all test files that name it."""
    assert not runs(FOLDER / "test_quad_gd.py")
    monkeypatch.setitem(EXPERIMENTS, "quad_gd", replace(EXPERIMENTS["quad_gd"], hash="0" * 64))
    fingerprint.cache_clear()
    assert runs(FOLDER / "test_quad_gd.py")
    assert share_that_runs(items_of("test_quad_gd.py")) == 1
    assert share_that_runs(items_of("test_every_experiment.py", slug="quad_gd")) == 1


def test_all_runs_of_tests_that_have_changed_and_of_another_torch(passed, monkeypatch):
    real = changed_experiments.file_text
    with monkeypatch.context() as patch:
        patch.setattr(
            changed_experiments, "file_text", lambda path: real(path) + ("\n" if path.suffix == ".py" else "")
        )
        fingerprint.cache_clear()
        assert all(map(runs, FILES))
        assert share_that_runs(items_of("test_quad_gd.py")) == 1
    monkeypatch.setattr(changed_experiments, "installed_version", lambda _: "9.9.9")
    fingerprint.cache_clear()
    assert all(map(runs, FILES))
    assert share_that_runs(items_of("test_quad_gd.py")) == 1


@pytest.mark.skipif(find_spec("ray") is None, reason="Ray is not installed")
def test_the_tests_of_a_cluster_run_when_the_lab_has_changed(passed, monkeypatch):
    """They run each time until they have passed with the present code."""
    passed.write_text(json.dumps({CLUSTER.name: fingerprint(CLUSTER.name)}))
    changed_experiments.file_text.cache_clear()
    changed_experiments.recorded.cache_clear()
    assert share_that_runs(items_of("../test_ray_cluster.py")) == 0
    real = changed_experiments.file_text
    monkeypatch.setattr(changed_experiments, "file_text", lambda path: real(path) + "\n" * (path.name == "runner.py"))
    fingerprint.cache_clear()
    assert share_that_runs(items_of("../test_ray_cluster.py")) == 1


def test_another_seed_is_for_the_exhaustive_tests(passed, monkeypatch):
    monkeypatch.setattr(changed_experiments, "SAMPLING_INTERVAL", 1)
    items = [item for seed in range(3) for item in items_of("test_fp_sum.py", seed=seed)]
    for item in items:
        item.callspec.params["seed"], item.callspec.params["number"] = item.callspec.params["number"], 0
    mark_unchanged(items)
    assert sum(not item.marks for item in items) == 1


def test_only_what_has_passed_is_recorded(passed):
    """A unit with a failure is run again the next time, and one that has gone leaves the record."""
    passed.write_text(json.dumps({"test_gone.py": "1", "test_ics.py": "1", "quad_gd": "1", "fp_sum": "1"}))
    changed_experiments.file_text.cache_clear()
    changed_experiments.recorded.cache_clear()
    recorder = Recorder()
    for unit, failed in (("quad_gd", False), ("quad_gd", False), ("test_ics.py", False), ("test_ics.py", True)):
        recorder.pytest_runtest_logreport(SimpleNamespace(user_properties=[("unit", unit)], failed=failed))
    recorder.pytest_sessionfinish(pytest.ExitCode.TESTS_FAILED)
    assert json.loads(passed.read_text()) == {"test_ics.py": "1", "quad_gd": fingerprint("quad_gd"), "fp_sum": "1"}
    changed_experiments.file_text.cache_clear()


def test_the_record_knows_what_is_here():
    units = json.loads(RECORD.read_text(encoding="utf-8"))
    assert all(unit in EXPERIMENTS or unit == CLUSTER.name or (FOLDER / unit).is_file() for unit in units)
