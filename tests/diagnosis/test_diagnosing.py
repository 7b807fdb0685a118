"""A diagnosis as JSON, over HTTP and in the terminal."""

import json
import math
from collections.abc import Iterator
from pathlib import Path

import pytest
from fastapi.testclient import TestClient
from runs_by_hand import NAN, decay, level, run_of

from qa_service.answering import diagnosing
from qa_service.answering.service import Service, never_cancelled
from qa_service.app import create_app
from qa_service.diagnosis.engine import diagnose
from qa_service.model import Evidence, RunStatus
from qa_service.schemas.diagnosis import DiagnosisJson, diagnosis_json
from qa_service.settings import Settings

SICK = "\n".join(
    [f"step: {i} loss: {2.0 * 3.0**i:.4f} lr: 0.5" for i in range(9)]
    + [f"step: {i} loss: nan lr: 0.5" for i in (9, 10)]
)
HEALTHY = "\n".join(f"step: {i} loss: {value:.4f} lr: 0.001" for i, value in enumerate(decay(30)))
RUNS = [
    run_of([*decay(9), NAN, NAN]),
    run_of(decay(40)),
    run_of(level(20, 2.3026, 0.0005)),
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
    """Words for nan and inf; every cause that is named is described; reading it back changes nothing."""
    sent = diagnosis_json(diagnose(run), lang).to_json()
    body = json.loads(sent, parse_constant=lambda word: pytest.fail(f"{word} is not JSON"))
    assert DiagnosisJson.model_validate(body).to_json() == sent
    assert {each["cause"] for each in body["hypotheses"] + body["excluded"]} <= set(body["causes"])
    assert len(body["run"]["series"]["loss"]) == len(run.series["loss"])
    if any(math.isnan(record.value) for record in run.series["loss"]):
        assert "NaN" in {value for _, _, value in body["run"]["series"]["loss"]}


def test_long_series_are_thinned():
    body = diagnosis_json(diagnose(run_of(decay(5000))), "en").to_dict()
    points = body["run"]["series"]["loss"]
    assert len(points) == 400 and points[0][0] == 0 and points[-1][0] == 4999


def test_both_runs_of_the_experiment_are_measured(service):
    """At the reader's rate the experiment diverges; with the cure it does not."""
    evidence: list[Evidence] = []
    found = diagnosing.diagnose_file(SICK.encode())
    for _ in diagnosing.run_experiments(found, service, evidence.append, never_cancelled):
        pass
    as_is, cured = evidence
    assert as_is.run.status is cured.run.status is RunStatus.RAN
    assert as_is.params["lr"] == 0.5 and as_is.run.measured["factor"] > 1 > cured.run.measured["factor"]


def test_over_http_a_log_gets_cause_evidence_and_cure(client):
    response = client.post("/api/v1/diagnose", json={"text": SICK, "lang": "en"})
    body = response.json()
    assert response.status_code == 200 and body["status"] == "sick"
    assert body["hypotheses"][0]["cause"] == "step_too_large"
    assert body["experiment"]["evidence"]["metrics"]["factor"]["value"] > 1
    assert body["experiment"]["cured_evidence"]["metrics"]["factor"]["value"] < 1


def test_over_http_without_a_run(client):
    body = client.post("/api/v1/diagnose", json={"text": SICK, "lang": "zh", "run": False}).json()
    assert body["lang"] == "zh" and "步子太大" in body["summary"] and "evidence" not in body["experiment"]
    healthy = client.post("/api/v1/diagnose", json={"text": HEALTHY}).json()
    assert (healthy["status"], healthy["hypotheses"], healthy["experiment"]) == ("healthy", [], None)


@pytest.mark.parametrize(
    ("body", "status", "code", "field"),
    [
        ({}, 422, "bad_field", "text"),
        ({"text": 3}, 422, "bad_field", "text"),
        ({"text": ""}, 422, "bad_field", "text"),
        ({"text": "x", "file": "y"}, 422, "bad_field", "file"),
        ({"text": "x", "run": "yes"}, 422, "bad_field", "run"),
        ({"text": "x" * (1 << 20)}, 413, "body_too_large", "body"),
    ],
)
@pytest.mark.parametrize("lang", ["zh", "en"])
def test_errors_are_in_the_readers_language(client, body, status, code, field, lang):
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
    return {"NUMSTAB_CACHE": str(settings.cache), "NUMSTAB_SANDBOX": settings.sandbox, "NUMSTAB_DEADLINE": "30"}


def test_the_command_prints_the_report_in_order(terminal, log, env):
    """Verdict, evidence, ruled out, entry, experiment in two columns, patch, what was not seen, the line to add."""
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
    assert done.returncode == 1 and -1 not in places and places == sorted(places), done.stdout + done.stderr


def test_the_command_speaks_chinese_and_runs_nothing_if_told(terminal, log, env):
    done = terminal("diagnose", str(log), "--lang", "zh", "--no-run", env=env)
    assert "步子太大" in done.stdout and "排除了" in done.stdout and "用你的数字" not in done.stdout


def test_exit_status_and_standard_input(terminal, env):
    """0 healthy, 1 sick, 2 what cannot be read."""
    assert terminal("diagnose", "-", "--no-run", env=env, stdin=HEALTHY.encode()).returncode == 0
    assert terminal("diagnose", "-", "--no-run", env=env, stdin=SICK.encode()).returncode == 1
    nothing = terminal("diagnose", "-", "--no-run", "--lang", "en", env=env, stdin=b"hello\n")
    assert nothing.returncode == 2 and nothing.stderr
    missing = terminal("diagnose", "/no/such/file", "--lang", "zh", env=env)
    assert missing.returncode == 2 and "读不了" in missing.stderr
    assert "0 healthy" in terminal("diagnose", "--help", env=env).stdout


def test_json_on_the_command_line(terminal, log, env):
    done = terminal("diagnose", str(log), "--json", "--lang", "en", env=env)
    body = json.loads(done.stdout)
    assert body["status"] == "sick" and body["experiment"]["cured_evidence"]["metrics"]


def test_a_question_with_a_log_is_diagnosed(service):
    """The answer to a question carries the diagnosis of its log; one without a log none."""
    assert diagnosing.diagnose_question(f"为什么 loss 变成 nan？\n{SICK}").hypotheses[0].cause == "step_too_large"
    assert diagnosing.diagnose_question("why is my loss nan?") is None
