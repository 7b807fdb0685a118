"""What readers take away: notebooks and scripts that need only torch, receipts that repeat a run, links, seeds."""

import json
import subprocess
import sys

import pytest
from fastapi.testclient import TestClient

from qa_service.app import create_app
from qa_service.errors import BadRequest
from qa_service.model import Request, RunStatus
from qa_service.model.events import EvidenceReady
from qa_service.model.json_numbers import json_safe
from qa_service.schemas.evidence import evidence_json
from qa_service.schemas.requests import read_query
from qa_service.settings import Settings
from qa_service.tools.notebook import export_entry
from qa_service.tools.replay import ReplayOutcome, read_receipts, replay_run

# Runs code cells as a notebook does, with numstab out of reach, and prints what they print.
_ALONE = """
import builtins, json, sys
real = builtins.__import__
def only_torch(name, *rest, **more):
    assert not name.startswith(("qa_service", "numstab")), name
    return real(name, *rest, **more)
builtins.__import__ = only_torch
for name, text in json.load(sys.stdin):
    print("==", name)
    cells = [{"cell_type": "code", "source": text}] if isinstance(text, str) else text["cells"]
    space = {"__name__": "__main__"}
    for cell in cells:
        if cell["cell_type"] == "code":
            exec(compile("".join(cell["source"]), name, "exec"), space)
"""


@pytest.fixture(scope="module")
def client(service, tmp_path_factory):
    with TestClient(create_app(service, Settings(data=tmp_path_factory.mktemp("data")))) as client:
        yield client


def _metrics(printed: str) -> dict[str, dict[str, str]]:
    found: dict[str, dict[str, str]] = {}
    for part in printed.split("== ")[1:]:
        name, *lines = part.splitlines()
        found[name] = dict(line.split(" = ") for line in lines if " = " in line)
    return found


@pytest.mark.parametrize("part", [0, *(pytest.param(part, marks=pytest.mark.exhaustive) for part in range(1, 24))])
def test_an_exported_entry_gives_the_same_metrics_with_torch_alone(service, part):
    """Every entry, as a notebook in one language and as a script in the other."""
    files, expected = [], {}
    for entry_id in list(service.knowledge.library)[part::24]:
        entry, plans = service.plan(Request(question="", entry=entry_id, seed=3))
        files.append((f"{entry_id}.ipynb", json.loads(export_entry(entry, plans, 3, "zh", "ipynb"))))
        files.append((f"{entry_id}.py", export_entry(entry, plans, 3, "en", "py")))
        runs = [(plan.block.id, service.runner.run(plan.experiment, plan.params, 3)) for plan in plans]
        metrics = {f"{block}.{name}": str(value) for block, run in runs for name, value in run.measured.items()}
        expected |= {f"{entry_id}.ipynb": metrics, f"{entry_id}.py": metrics}
    done = subprocess.run(
        [sys.executable, "-I", "-c", _ALONE], input=json.dumps(files), capture_output=True, text=True, timeout=110,
        check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-2000:]
    assert _metrics(done.stdout) == expected


def test_an_exported_script_judges_its_claims(service):
    """A claim holds at the entry's parameters and fails at its control, in the script as here."""
    entry = service.knowledge.library["multiply-vs-add"]
    for params, verdict in (({}, "holds"), ({"x": 0.9}, "fails")):
        _, plans = service.plan(Request(question="", entry=entry.id, params=params, blocks=("powers",)))
        script = export_entry(entry, plans, 0, "en", "py")
        done = subprocess.run(
            [sys.executable, "-I", "-c", script], capture_output=True, text=True, timeout=100, check=False
        )
        assert f"product-explodes {verdict}" in done.stdout


def test_a_notebook_is_one(service):
    """Format 4.5: cells with ids, sources as lines, nothing run."""
    entry, plans = service.plan(Request(question="", entry="multiply-vs-add"))
    notebook = json.loads(export_entry(entry, plans, 0, "zh", "ipynb"))
    assert (notebook["nbformat"], notebook["nbformat_minor"]) == (4, 5)
    assert len({cell["id"] for cell in notebook["cells"]}) == len(notebook["cells"])
    assert all(cell["outputs"] == [] for cell in notebook["cells"] if cell["cell_type"] == "code")
    text = "".join(line for cell in notebook["cells"] for line in cell["source"])
    assert "[[" not in text
    assert '`powers["product"]`' in text


def test_export_over_http(client):
    """A file to save; what is wrong is named."""
    got = client.get("/api/v1/entries/multiply-vs-add/export?form=py&n=7&seed=2&lang=en")
    assert got.status_code == 200
    assert 'filename="multiply-vs-add.py"' in got.headers["content-disposition"]
    assert "n=7" in got.text
    assert "SEED = 2" in got.text
    for wrong, status in (("form=exe", 422), ("n=many", 422), ("nope=1", 422), ("seed=-1", 422), ("block=x", 422)):
        assert client.get(f"/api/v1/entries/multiply-vs-add/export?{wrong}").status_code == status, wrong
    assert client.get("/api/v1/entries/none/export").status_code == 404


def _evidence(service, slug, seed=0, **params):
    *_, last = service.run(slug, params, seed)
    assert isinstance(last, EvidenceReady)
    return evidence_json(last.evidence, "en").to_dict()


@pytest.mark.parametrize(
    ("slug", "params"),
    [("pow_vs_sum", {"n": 300}), ("quad_gd", {"lr": 2.5}), ("ieee_table", {}), ("residual_depth", {"layers": 10})],
)
def test_a_replay_is_identical(service, fresh_lab, slug, params):
    """The same numbers bit for bit, inf, nan and "never" among them, whatever has run in between."""
    (receipt,) = read_receipts([_evidence(service, slug, seed=5, **params)])
    again = replay_run(receipt, service.knowledge.experiments, fresh_lab)
    assert again.outcome is ReplayOutcome.IDENTICAL
    assert not again.changed
    assert not again.changed_versions


def test_a_replay_says_what_differs(service):
    """A last digit is equal, another number different; another code or version is named beside."""
    evidence = _evidence(service, "pow_vs_sum", n=100)
    product = evidence["metrics"]["product"]
    measured = product["value"]
    product["value"] = measured * (1 + 1e-9)
    assert (
        replay_run(next(read_receipts(evidence)), service.knowledge.experiments, service.runner).outcome
        is ReplayOutcome.EQUAL
    )
    product["value"] = measured * 1.01
    evidence["receipt"] |= {"code_hash": "0" * 64, "versions": evidence["receipt"]["versions"] | {"torch": "1.0"}}
    again = replay_run(next(read_receipts(evidence)), service.knowledge.experiments, service.runner)
    assert again.outcome is ReplayOutcome.DIFFERENT
    assert list(again.changed) == ["product"]
    assert set(again.changed_versions) == {"code", "torch"}
    product["value"] = "Infinity"
    assert (
        replay_run(next(read_receipts(evidence)), service.knowledge.experiments, service.runner).outcome
        is ReplayOutcome.DIFFERENT
    )
    evidence["params"]["n"] = 10
    assert "sum" in replay_run(next(read_receipts(evidence)), service.knowledge.experiments, service.runner).changed


@pytest.mark.parametrize(
    "wrong",
    [{}, 3, [{}], {"evidence": [1]}, {"experiment": "x", "params": [], "seed": 0, "metrics": {}, "receipt": {}}],
)
def test_what_is_no_receipt_is_refused(wrong):
    """With a clear error, whatever it is."""
    with pytest.raises(BadRequest):
        list(read_receipts(wrong))


def test_a_link_sets_parameters_and_seed(client, service):
    """The page of a link holds its parameters and runs them; the same request by the API measures what it shows."""
    page = client.get("/e/multiply-vs-add?n=200&x=0.9&seed=3&lang=en")
    assert page.status_code == 200
    assert "data-runs-at-once" in page.text
    assert 'name="n" data-kind="int" data-own="100" value="200"' in page.text
    assert 'value="3" required' in page.text
    assert "data-runs-at-once" not in client.get("/entries/multiply-vs-add?lang=en").text
    assert client.get("/e/multiply-vs-add?n=-1").status_code == 422
    assert client.get("/e/none").status_code == 404
    link = read_query("multiply-vs-add", {"n": "200", "x": "0.9", "seed": "3", "block": "powers"})
    answer = service.answer(link)
    assert (answer.evidence[0].params["n"], answer.evidence[0].seed, len(answer.evidence)) == (200, 3, 1)


def test_seeds_say_how_often_a_claim_holds(service):
    """Each seed is a run of its own; the spread is that of those runs."""
    request = Request(question="", entry="multiply-vs-add", seed=2, seeds=4, blocks=("residual",), lang="en")
    (evidence,) = service.answer(request).evidence
    alone = [
        service.answer(Request(question="", entry="multiply-vs-add", seed=seed, blocks=("residual",))).evidence[0]
        for seed in range(2, 6)
    ]
    for at, spread in enumerate(evidence.spreads):
        values = sorted(one.run.measured[one.claims[at].metric] for one in alone)
        assert (spread.seeds, spread.lowest, spread.highest) == (4, values[0], values[-1])
        assert spread.median == (values[1] + values[2]) / 2
        assert spread.held == sum(one.verdicts[at] == "holds" for one in alone)
    said = evidence_json(evidence, "en").to_dict()["claims"][0]["spread"]
    assert said["held"] == evidence.spreads[0].held
    assert alone[0].spreads == ()


def test_a_claim_that_cannot_be_seen_says_where_it_can(service):
    """Only where the reader's own parameters hide it."""
    own, other = (
        service.answer(Request(question="", entry="multiply-vs-add", params=params, blocks=("powers",))).evidence[0]
        for params in ({}, {"x": 0.9})
    )
    assert own.run.status is RunStatus.RAN
    assert own.not_testable_here == ()
    assert other.not_testable_here[0].id == "product-explodes"
    claims = {claim["id"]: claim for claim in evidence_json(other, "zh").to_dict()["claims"]}
    assert claims["product-explodes"]["visible_at"] == json_safe(dict(other.entry_params))
    assert claims["sum-is-exact"]["visible_at"] is None
