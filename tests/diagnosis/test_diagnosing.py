"""A diagnosis as JSON, over HTTP and in the terminal."""

import gzip
import json
import math
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from fastapi.testclient import TestClient
from runs_by_hand import NAN, constant_level, decay, run_of

from qa_service.answering import diagnosing, diagnosis_runs
from qa_service.answering.service import Service, never_cancelled
from qa_service.app import create_app
from qa_service.diagnosis.engine import diagnose
from qa_service.errors import UnreadableRun
from qa_service.fronts.terminal.diagnosis_report import print_report
from qa_service.model import Evidence, RunStatus
from qa_service.model.events import EvidenceReady
from qa_service.schemas.diagnosis import DiagnosisJson, diagnosis_json
from qa_service.settings import Settings

SICK = "\n".join(
    [f"step: {i} loss: {2.0 * 3.0**i:.4f} lr: 0.5" for i in range(9)]
    + [f"step: {i} loss: nan lr: 0.5" for i in (9, 10)]
)
HEALTHY = "\n".join(f"step: {i} loss: {value:.4f} lr: 0.001" for i, value in enumerate(decay(30)))
UNCLEAR = "\n".join(f"step: {i} loss: {value}" for i, value in enumerate((2.3, 2.2, 2.1, 2.0, "nan", "nan", "nan")))
"""Its cause is only possible."""
PROMISED = {
    "verdict", "summary", "causes", "facts", "ruled_out", "ask", "patch", "next", "evidence", "format", "receipt",
}  # fmt: skip
RUNS = [
    run_of([*decay(9), NAN, NAN]),
    run_of(decay(40)),
    run_of(constant_level(20, 2.3026, 0.0005)),
    run_of([2.3, 2.4, 3.0, 6.0, 20.0, 90.0, math.inf, NAN], lr=[1.0] * 8),
    run_of([0.0] * 5, grad_norm=[0.0] * 5),
]


@pytest.fixture(scope="module")
def client(service: Service, tmp_path_factory: pytest.TempPathFactory) -> Iterator[TestClient]:
    folder = tmp_path_factory.mktemp("diagnose")
    with TestClient(create_app(service, Settings(data=folder / "data", cache=folder, rate=""))) as client:
        yield client


@pytest.mark.parametrize("run", RUNS)
@pytest.mark.parametrize("lang", ["zh", "en"])
def test_the_json_is_strict_and_comes_back_the_same(run, lang):
    """Nan and inf are words, the JSON has the documented shape, and parsing and serialising it again changes
    nothing.
    """
    sent = diagnosis_json(diagnose(run), lang).to_json()
    body = json.loads(sent, parse_constant=lambda word: pytest.fail(f"{word} is not JSON"))
    assert DiagnosisJson.model_validate(body).to_json() == sent
    assert set(body) >= PROMISED
    assert body["verdict"] in ("sick", "healthy", "not_numerics", "cannot_tell")
    for cause in body["causes"]:
        assert set(cause) >= {"entry", "probability", "word", "because", "cure"}
        assert cause["because"] and set(cause["because"]) <= {fact["text"] for fact in body["facts"]}
    assert all(set(fact) >= {"line", "step", "layer", "text"} for fact in body["facts"])
    assert all(set(each) >= {"entry", "because"} for each in body["ruled_out"])
    assert body["patch"] == (body["causes"][0]["patch"] if body["causes"] else "")
    assert len(body["receipt"]["code_hash"]) == 64
    assert len(body["run"]["series"]["loss"]) == len(run.series["loss"])
    if any(math.isnan(record.value) for record in run.series["loss"]):
        assert "NaN" in {value for _, _, value in body["run"]["series"]["loss"]}


def test_what_is_undecided_cannot_be_told_and_what_is_unreadable_is_an_error():
    """The verdict of an undecided run is "cannot_tell"; a run without any series raises UnreadableRun."""
    found = diagnose(RUNS[0])
    body = diagnosis_json(replace(found, status="undecided"), "en")
    assert body.verdict == "cannot_tell"
    assert diagnosing.require_readable(found) is found
    with pytest.raises(UnreadableRun):
        diagnosing.require_readable(diagnose(run_of([])))


def test_a_fact_says_for_which_causes_it_speaks():
    """Each fact is listed once, with its weight for every cause; a cause refers to the facts that have positive weight
    for it.
    """
    found = diagnose(RUNS[3])
    body = diagnosis_json(found, "en")
    told = {fact.text: fact.weights for fact in body.facts}
    assert len(told) == len(body.facts)
    for cause, hypothesis in zip(body.causes, found.hypotheses, strict=True):
        assert [cause.id, cause.word] == [hypothesis.cause, hypothesis.certainty]
        assert all(told[text][cause.id] > 0 for text in cause.because)
        assert sum(len(hypothesis.findings) for hypothesis in found.hypotheses) >= len(body.facts)


def test_long_series_are_thinned():
    body = diagnosis_json(diagnose(run_of(decay(5000))), "en").to_dict()
    points = body["run"]["series"]["loss"]
    assert len(points) == 400 and points[0][0] == 0 and points[-1][0] == 4999


def test_a_brief_report_has_no_curves_and_no_lines():
    body = diagnosis_json(diagnosing.diagnose_file(SICK.encode()), "en", brief=True)
    assert (body.run.series, body.run.excerpt) == ({}, {})
    assert body.causes and body.facts and len(body.to_json()) < 9_000


def test_both_runs_of_the_experiment_are_measured(service):
    """At the learning rate of the log the experiment diverges; with the cure it does not."""
    evidence: list[Evidence] = []
    found = diagnosing.diagnose_file(SICK.encode())
    for _ in diagnosis_runs.run_experiments(found, service, evidence.append, never_cancelled):
        pass
    as_is, cured = evidence
    assert as_is.run.status is cured.run.status is RunStatus.RAN
    assert as_is.params["lr"] == 0.5 and as_is.run.measured["factor"] > 1 > cured.run.measured["factor"]


def test_over_http_a_log_gets_cause_evidence_and_cure(client):
    response = client.post("/api/v1/diagnose", json={"text": SICK, "lang": "en"})
    body = response.json()
    assert response.status_code == 200 and body["verdict"] == "sick"
    assert (body["causes"][0]["id"], body["causes"][0]["word"]) == ("step_too_large", "certain")
    as_is, cured = body["evidence"]
    assert as_is["metrics"]["factor"]["value"] > 1 > cured["metrics"]["factor"]["value"]
    assert all(fact["line"] in fact["lines"] for fact in body["facts"] if fact["lines"])


def test_over_http_without_a_run(client):
    body = client.post("/api/v1/diagnose", json={"text": SICK, "lang": "zh", "run": False}).json()
    assert body["lang"] == "zh" and "步子太大" in body["summary"] and body["evidence"] == []
    healthy = client.post("/api/v1/diagnose", json={"text": HEALTHY}).json()
    assert (healthy["verdict"], healthy["causes"], healthy["experiment"]) == ("healthy", [], None)


PACKED = gzip.compress(SICK.encode())
BOMB = gzip.compress(bytes(61_000_000), 1)
HALVES = gzip.compress(SICK[:100].encode()) + gzip.compress(SICK[100:].encode())


@pytest.mark.parametrize(
    ("body", "headers"),
    [
        (SICK.encode(), {"Content-Type": "text/plain; charset=utf-8"}),
        (SICK.encode(), {"Content-Type": "application/octet-stream"}),
        (PACKED, {"Content-Type": "application/gzip"}),
        (PACKED, {"Content-Type": "application/octet-stream"}),
        (HALVES, {"Content-Type": "application/x-gzip"}),
        (PACKED, {"Content-Type": "text/plain", "Content-Encoding": "gzip"}),
        (gzip.compress(PACKED), {"Content-Type": "application/gzip", "Content-Encoding": "gzip"}),
        (gzip.compress(json.dumps({"text": SICK}).encode()), {"Content-Encoding": "gzip"}),
        (json.dumps({"text": SICK, "lang": "en"}).encode(), {"Content-Type": "application/json"}),
    ],
)
def test_a_log_comes_in_several_forms(client, body, headers):
    """A log sent as text, as a file, compressed or in JSON gets the same diagnosis."""
    response = client.post("/api/v1/diagnose?run=false&lang=en", content=body, headers=headers)
    assert response.status_code == 200, response.text
    found = response.json()
    expected = client.post("/api/v1/diagnose", json={"text": SICK, "lang": "en", "run": False}).json()
    assert found == expected and found["causes"][0]["id"] == "step_too_large"


def test_an_event_file_is_read_as_it_is(client, tmp_path):
    from tensorboardX import SummaryWriter

    with SummaryWriter(str(tmp_path)) as writer:
        for step, value in enumerate([2.0, 2.5, 4.0, 9.0, 40.0, 900.0, math.inf, NAN, NAN]):
            writer.add_scalar("loss", value, step)
    (file,) = tmp_path.iterdir()
    for data in (file.read_bytes(), gzip.compress(file.read_bytes())):
        sent = client.post(
            "/api/v1/diagnose?run=0", content=data, headers={"Content-Type": "application/octet-stream"}
        ).json()
        assert (sent["format"], sent["verdict"]) == ("event_file", "sick")


@pytest.mark.parametrize(
    ("body", "headers", "query", "status", "code"),
    [
        (b"x" * 5_000_001, {"Content-Type": "text/plain"}, "", 413, "body_too_large"),
        (BOMB, {"Content-Type": "application/gzip"}, "", 413, "body_too_large"),
        (BOMB, {"Content-Encoding": "gzip"}, "", 413, "body_too_large"),
        (PACKED[:40], {"Content-Encoding": "gzip"}, "", 422, "unreadable_run"),
        (b"not compressed", {"Content-Encoding": "gzip"}, "", 422, "unreadable_run"),
        (b"\x1f\x8bdamaged", {"Content-Type": "application/gzip"}, "", 422, "unreadable_run"),
        (b"", {"Content-Type": "text/plain"}, "", 422, "bad_field"),
        (b"hello", {"Content-Type": "text/plain"}, "", 422, "unreadable_run"),
        (b"\0\1\2\3" * 50, {"Content-Type": "application/octet-stream"}, "", 422, "unreadable_run"),
        (SICK.encode(), {"Content-Encoding": "br"}, "", 422, "bad_field"),
        (SICK.encode(), {"Content-Type": "application/x-www-form-urlencoded"}, "", 422, "bad_field"),
        (SICK.encode(), {"Content-Type": "text/plain"}, "run=perhaps", 422, "bad_field"),
        (SICK.encode(), {"Content-Type": "text/plain"}, "oops=1", 422, "bad_field"),
    ],
)
@pytest.mark.parametrize("lang", ["zh", "en"])
def test_what_cannot_be_read_is_refused_with_a_reason(client, body, headers, query, status, code, lang):
    """So is compressed data that inflates to far more than its size; the reason is in the user's language."""
    sent = {**headers, "Accept-Language": lang}
    problem = client.post(f"/api/v1/diagnose?{query}", content=body, headers=sent)
    assert (problem.status_code, problem.json()["code"]) == (status, code), problem.text
    assert any("\u4e00" <= letter <= "\u9fff" for letter in problem.json()["detail"]) == (lang == "zh")


@pytest.mark.parametrize(
    ("body", "status", "code", "field"),
    [
        ({}, 422, "bad_field", "text"),
        ({"text": 3}, 422, "bad_field", "text"),
        ({"text": ""}, 422, "bad_field", "text"),
        ({"text": "x", "file": "y"}, 422, "bad_field", "file"),
        ({"text": "x", "run": "yes"}, 422, "bad_field", "run"),
        ({"text": "x" * 5_000_000}, 413, "body_too_large", "body"),
        ({"text": "no log"}, 422, "unreadable_run", "file"),
    ],
)
@pytest.mark.parametrize("lang", ["zh", "en"])
def test_errors_are_in_the_users_language(client, body, status, code, field, lang):
    problem = client.post("/api/v1/diagnose", json=body, headers={"Accept-Language": lang})
    assert (problem.status_code, problem.json()["code"], problem.json()["field"]) == (status, code, field)
    assert any("\u4e00" <= letter <= "\u9fff" for letter in problem.json()["detail"]) == (lang == "zh")


@pytest.fixture
def log(tmp_path: Path) -> Path:
    path = tmp_path / "run.log"
    path.write_text(SICK)
    return path


@pytest.fixture
def env(settings: Settings) -> dict[str, str]:
    return {"NUMSTAB_CACHE": str(settings.cache), "NUMSTAB_SANDBOX": settings.sandbox, "NUMSTAB_DEADLINE": "240"}


def test_the_command_prints_the_report_in_order(terminal, log, env):
    """The order is: verdict, evidence, excluded causes, entry, experiment in two columns, patch, what the log lacks,
    line to add.
    """
    done = terminal("diagnose", str(log), "--lang", "en", env=env)
    parts = [
        "The steps are too large",
        "Evidence",
        "Ruled out",
        "The entry",
        "The experiment at your numbers",
        "as it is",
        "What to do",
        "Not seen",
        "numstab.watch",
    ]
    places = [done.stdout.find(part) for part in parts]
    assert done.returncode == 0 and -1 not in places and places == sorted(places), done.stdout + done.stderr


def test_the_command_speaks_chinese_and_runs_nothing_if_told(terminal, log, env):
    done = terminal("diagnose", str(log), "--lang", "zh", "--no-run", env=env)
    assert "步子太大" in done.stdout and "排除了" in done.stdout and "用你的数字" not in done.stdout


def test_exit_status_and_standard_input(terminal, env):
    """The status is 0 with a verdict, 1 if it cannot tell, and 2 if the input cannot be read."""
    for log, status in ((HEALTHY, 0), (SICK, 0), (UNCLEAR, 0)):
        done = terminal("diagnose", "-", "--no-run", env=env, stdin=log.encode())
        assert done.returncode == status, done.stdout + done.stderr
    nothing = terminal("diagnose", "-", "--no-run", "--lang", "en", env=env, stdin=b"hello\n")
    assert nothing.returncode == 2 and nothing.stderr
    missing = terminal("diagnose", "/no/such/file", "--lang", "zh", env=env)
    assert missing.returncode == 2 and "读不了" in missing.stderr
    shown = " ".join(terminal("diagnose", "--help", env=env).stdout.split())
    assert "0 diagnosed (healthy included), 1 undecided" in shown


def test_an_experiment_that_fails_is_status_3(service, capsys, monkeypatch):
    """The report is printed all the same."""
    found = diagnosing.diagnose_file(SICK.encode())

    def fail(diagnosis, service, measured, is_cancelled):
        for event in run_experiments(diagnosis, service, lambda _: None, is_cancelled):
            if isinstance(event, EvidenceReady):
                run = replace(event.evidence.run, status=RunStatus.TIMED_OUT)
                measured(replace(event.evidence, run=run))
            yield event

    run_experiments = diagnosis_runs.run_experiments
    monkeypatch.setattr(diagnosis_runs, "run_experiments", fail)
    for as_json in (True, False):
        assert print_report(found, "en", as_json=as_json, service=service, run=True) == 3
    printed = capsys.readouterr().out
    assert '"timed_out"' in printed and "What to do" in printed


def test_json_on_the_command_line(terminal, log, env):
    done = terminal("diagnose", str(log), "--json", "--lang", "en", env=env)
    body = json.loads(done.stdout)
    assert body["verdict"] == "sick" and len(body["evidence"]) == 2


def test_a_question_with_a_log_is_diagnosed(service):
    """The answer to a question with a log contains the log's diagnosis; without a log it has none."""
    assert diagnosing.diagnose_question(f"为什么 loss 变成 nan？\n{SICK}").hypotheses[0].cause == "step_too_large"
    assert diagnosing.diagnose_question("why is my loss nan?") is None
