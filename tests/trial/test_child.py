"""`numstab_watch.trial` in its child process: models that misbehave end in a clear error and leave nothing behind."""

import functools
import json
import math
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from checking import each_case
from processes import until
from trial.hostile_models import MARK
from trial.reported import run_of_report

from qa_service.diagnosis.engine import diagnose
from qa_service.errors import TrialFailed
from qa_service.model.training_run import TrainingRun
from qa_service.tools.trial import try_model

HERE = Path(__file__).resolve().parent
HOSTILE = HERE / "hostile_models.py"
BROKEN = HERE / "broken_models.py"


def failure(name: str, **options) -> TrialFailed:
    with pytest.raises(TrialFailed) as caught:
        try_model(f"{HOSTILE}:{name}", steps=5, **options)
    error = caught.value
    assert error["zh"] != error["en"]
    assert any("\u4e00" <= character <= "\u9fff" for character in error["zh"])
    return error


def processes_with(word: str) -> list[int]:
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            if word.encode() in (folder / "cmdline").read_bytes().split(b"\0"):
                found.append(int(folder.name))
        except OSError:
            continue
    return found


@pytest.mark.parametrize(
    ("name", "kind", "word"),
    [
        ("exits", "exited", "3"),
        pytest.param("exits_at_once", "exited", "0", marks=pytest.mark.exhaustive),
        ("raises", "raised", "hostile_models.py:"),
        ("segfaults", "killed", "SIGSEGV"),
        pytest.param("returns_too_little", "bad_shape", "2 values", marks=pytest.mark.exhaustive),
        pytest.param("loss_is_a_vector", "bad_loss", "one number", marks=pytest.mark.exhaustive),
        pytest.param("shapes_do_not_fit", "raised", "RuntimeError", marks=pytest.mark.exhaustive),
        pytest.param("nothing_of_this_name", "no_make", "nothing_of_this_name", marks=pytest.mark.exhaustive),
    ],
)
def test_says_how_it_ended(name, kind, word):
    """The error tells exits, exceptions with their line, signals, and values of `make` that are not accepted."""
    error = failure(name)
    assert error.kind == kind
    assert word in error["en"]


@pytest.mark.exhaustive
@pytest.mark.parametrize(
    ("name", "word"),
    [("returns_a_number", "int"), ("returns_no_module", "Module"), ("returns_unknown_keys", "criterion")],
)
def test_says_which_shapes_are_accepted(name, word):
    error = failure(name)
    assert error.kind == "bad_shape"
    assert word in error["en"]
    assert "(model, batch, loss_fn" in error["en"]


def test_an_exception_that_names_its_cause_is_diagnosed():
    """Batch norm over one value: torch's message says what is wrong, so the report does too."""
    found = diagnose(try_model(f"{HOSTILE}:normalises_a_single_sample", steps=5))
    assert found.hypotheses[0].cause == "batch_norm"
    assert any("torch.Size([1, 4])" in event.text for event in found.run.events)


def test_a_model_that_hangs_is_stopped():
    error = failure("hangs", deadline=8)
    assert error.kind == "deadline"
    assert "8 s" in error["en"]


@pytest.mark.exhaustive
def test_what_a_model_forks_is_ended():
    """Processes that left the process group are ended too; the trial succeeds although they hold its descriptors
    open.
    """
    run = try_model(f"{HOSTILE}:forks", steps=5)
    assert len(run.series["loss"]) == 5
    until(lambda: not processes_with(MARK), seconds=60)


@pytest.mark.exhaustive
def test_megabytes_of_output_are_bounded():
    run = try_model(f"{HOSTILE}:prints_megabytes", steps=5)
    assert len(run.series["loss"]) == 5


def test_too_much_memory_is_told():
    error = failure("takes_memory", memory=512)
    assert error.kind == "memory"
    assert "512 MiB" in error["en"]


@pytest.mark.exhaustive
@pytest.mark.parametrize("name", ["writes_a_report", "writes_deep_json"])
def test_a_forged_report_is_refused(name):
    assert failure(name).kind == "bad_report"


def test_a_missing_file_and_a_missing_interpreter_are_told():
    assert failure_of("nowhere.py:make").kind == "no_file"
    assert failure_of(f"{HOSTILE}:ordinary", python="/no/such/python").kind == "no_python"


def failure_of(target: str, **options) -> TrialFailed:
    with pytest.raises(TrialFailed) as caught:
        try_model(target, **options)
    return caught.value


@each_case(
    "report",
    [
        b"null",
        b"[]",
        b"{}",
        b'{"schema": 2}',
        b'{"schema": 1, "loss": [NaN]}',
        b'{"schema": 1, "loss": ["nan"]}',
        b'{"schema": 1, "loss": [true]}',
        b'{"schema": 1, "fault": {"operation": 3}}',
        b"\xff\xfe",
        b"[" * 100_000,
        b'{"schema": 1, "fault": {"operation": "log", "phase": "sideways", "value": "NaN"}}',
        b'{"schema": 1, "settings": {"a": {"b": 1}}}',
        b'{"schema": 1, "error": {"code": "../../x"}}',
        b'{"schema": 1, "interventions": [{"id": "x"}]}',
        b'{"schema": 1}' + b" " * (4 << 20),
    ],
)
def test_what_is_no_report_is_refused(report):
    with pytest.raises(TrialFailed) as refused:
        run_of_report(report, f"{HOSTILE}:ordinary")
    assert refused.value.kind == "bad_report"


def test_a_child_that_writes_no_report_has_exited():
    with pytest.raises(TrialFailed) as failed:
        run_of_report(b"", f"{HOSTILE}:ordinary")
    assert failed.value.kind == "exited"


def test_a_valid_report_becomes_a_run():
    report = {
        "schema": 1, "loss": [1.5, "Infinity"], "grad_norm": [2.0],
        "fault": {"operation": "l\x1b[31mog", "phase": "forward", "value": "-Infinity", "step": 1, "operands": ["a"]},
        "interventions": [{"id": "lr/10", "healthy": True, "losses": [1.0], "detail": "lr"}],
        "settings": {"lr": 0.1, "optimizer": "SGD", "unknown": True}, "more": 1,
    }  # fmt: skip
    run = run_of_report(json.dumps(report).encode(), f"{HOSTILE}:ordinary")
    assert run.source == "trial"
    assert [record.value for record in run.series["loss"]] == [1.5, math.inf]
    assert run.fault.value == -math.inf
    assert "\x1b" not in run.fault.operation
    assert run.interventions[0].healthy
    assert run.settings["lr"] == 0.1


@pytest.fixture(scope="module")
def tried_once() -> Callable[..., TrainingRun]:
    """`try_model` with a cache: each model is trained once, however often it is tried."""
    return functools.cache(try_model)


def test_a_trial_as_a_whole(tried_once, terminal, monkeypatch):
    """Checks the run, the printed report, with what only a trial knows, and the JSON of a single training."""
    target = f"{BROKEN}:pooler_with_an_empty_sentence"
    tried = []

    def try_it(target: str, **options: object) -> TrainingRun:
        tried.append(tried_once(target, **options))
        return tried[-1]

    monkeypatch.setattr("qa_service.tools.trial.try_model", try_it)
    env = {"NUMSTAB_PYTHON": sys.executable}
    result = terminal("try", target, "--lang", "en", env=env)
    assert result.returncode == 0, result.stderr
    places = [result.stdout.find(part) for part in ("Evidence", "comes from", "trained again", "What to do")]
    assert -1 not in places and places == sorted(places), result.stdout
    result = terminal("try", target, "--json", env=env)
    body = json.loads(result.stdout)
    assert (result.returncode, body["verdict"], body["format"]) == (0, "sick", "trial")
    assert body["causes"][0]["id"] == "zero_over_zero"
    assert body["run"]["fault"]["operation"] == "div"
    assert body["run"]["interventions"]
    assert tried[0] is tried[1]
    run = tried[0]
    assert (run.fault.operation, run.fault.phase, run.fault.step) == ("div", "forward", 0)
    assert run.fault.code.endswith("# here")
    assert next(each for each in run.interventions if each.id == "skip_sample").healthy
    assert not next(each for each in run.interventions if each.id == "lr/100").healthy


def test_the_command_refuses_what_cannot_be(terminal):
    assert terminal("try", "nowhere.py", env={}).returncode == 2
    assert terminal("try", str(HOSTILE), "--steps", "many", env={}).returncode == 2
