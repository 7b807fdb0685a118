"""Exported notebooks and scripts, which need only torch; receipts and replays; permalinks; runs over several seeds."""

import ast
import json
import math
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from itertools import product
from typing import Any, get_args

import pytest
from checking import each_case
from fastapi.testclient import TestClient

from qa_service.app import create_app
from qa_service.errors import BadRequest
from qa_service.experiments.spec import parse_python
from qa_service.model import Claim, Op, Request, RunStatus, Text, Verdict
from qa_service.model.events import EvidenceReady
from qa_service.model.json_numbers import json_safe
from qa_service.schemas.evidence import evidence_json
from qa_service.schemas.requests import read_query
from qa_service.settings import Settings
from qa_service.tools.notebook import export_entry
from qa_service.tools.replay import ReplayOutcome, read_receipts, replay_run

# Runs scripts and the code cells of notebooks, each in one namespace; importing numstab fails.
_RUN_CELLS = """
import builtins, json, sys
real = builtins.__import__
def import_checked(name, *args, **kwargs):
    assert not name.startswith(("qa_service", "numstab")), name
    return real(name, *args, **kwargs)
builtins.__import__ = import_checked
for name, text in json.load(sys.stdin):
    print("==", name)
    cells = [{"cell_type": "code", "source": text}] if isinstance(text, str) else text["cells"]
    namespace = {"__name__": "__main__"}
    for cell in cells:
        if cell["cell_type"] == "code":
            exec(compile("".join(cell["source"]), name, "exec"), namespace)
"""


@pytest.fixture(scope="module")
def client(service, tmp_path_factory):
    with TestClient(create_app(service, Settings(data=tmp_path_factory.mktemp("data")))) as client:
        yield client


def _run_exported(files: list[tuple[str, Any]]) -> str:
    """The output of exported scripts and notebooks, given as (name, text or cells), run one after the other in a new
    process.
    """
    process = subprocess.run(
        [sys.executable, "-I", "-c", _RUN_CELLS], input=json.dumps(files), capture_output=True, text=True, timeout=110,
        check=False,
    )  # fmt: skip
    assert process.returncode == 0, process.stderr[-2000:]
    return process.stdout


def _printed_metrics(printed: str) -> dict[str, dict[str, str]]:
    found: dict[str, dict[str, str]] = {}
    for part in printed.split("== ")[1:]:
        name, *lines = part.splitlines()
        found[name] = dict(line.split(" = ") for line in lines if " = " in line)
    return found


@pytest.mark.parametrize("part", [0, *(pytest.param(part, marks=pytest.mark.exhaustive) for part in range(1, 144))])
def test_exported_entries_measure_the_same_with_torch_alone(service, part):
    """Every entry is tested: the notebook in Chinese, the script in English."""
    files, expected = [], {}
    for entry_id in list(service.knowledge.library)[part::144]:
        entry, plans = service.plan(Request(question="", entry=entry_id, seed=3))
        files.append((f"{entry_id}.ipynb", json.loads(export_entry(entry, plans, 3, "zh", "ipynb"))))
        files.append((f"{entry_id}.py", export_entry(entry, plans, 3, "en", "py")))
        runs = [(plan.block.id, service.runner.run(plan.experiment, plan.params, 3)) for plan in plans]
        metrics = {f"{block}.{name}": str(value) for block, run in runs for name, value in run.measured.items()}
        expected |= {f"{entry_id}.ipynb": metrics, f"{entry_id}.py": metrics}
    assert _printed_metrics(_run_exported(files)) == expected


@pytest.mark.parametrize("one_in", [8, pytest.param(1, marks=pytest.mark.exhaustive)])
def test_an_export_renames_nothing_that_a_demo_defines(service, one_in):
    """The code between the demos assigns no name that a demo of the same export gives a function or a constant."""
    for entry in list(service.knowledge.library.values())[::one_in]:
        plans = service.plan(Request(question="", entry=entry.id))[1]
        defined = {name for plan in plans for name in _assigned(plan.experiment.source)}
        measured = {f"measured_{plan.block.id.replace('-', '_')}" for plan in plans}
        script = export_entry(entry, plans, 0, "en", "py")
        assert measured <= _assigned(script) and not measured & defined, entry.id


def _assigned(source: str) -> set[str]:
    """The names that a script binds at its top level."""
    names = set()
    for node in ast.parse(source).body:
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            names.add(node.name)
        elif isinstance(node, ast.Assign | ast.AnnAssign):
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            names |= {each.id for target in targets for each in ast.walk(target) if isinstance(each, ast.Name)}
    return names


def test_exported_script_judges_its_claims(service):
    """A claim holds at the entry's parameters and fails at its control, in the script as in the service."""
    entry = service.knowledge.library["multiply-vs-add"]
    files = []
    for verdict, params in (("holds", {}), ("fails", {"x": 0.9})):
        _, plans = service.plan(Request(question="", entry=entry.id, params=params, blocks=("powers",)))
        files.append((verdict, export_entry(entry, plans, 0, "en", "py")))
    _, *printed = _run_exported(files).split("== ")
    assert [part.partition("\n")[0] for part in printed] == ["holds", "fails"]
    assert ["product-explodes holds" in part for part in printed] == [True, False]
    assert ["product-explodes fails" in part for part in printed] == [False, True]


def test_exported_code_judges_claims_as_the_service_does(service):
    """Tested for each operator, with inf, nan and None as values and bounds."""
    entry = service.knowledge.library["multiply-vs-add"]
    cells = json.loads(export_entry(entry, (), 0, "en", "ipynb"))["cells"]
    namespace: dict[str, Any] = {}
    exec("".join(cells[1]["source"]), namespace)
    numbers = (-1.0, 0, 1.0, math.inf, -math.inf, math.nan)
    for op, bound, value in product(get_args(Op), numbers, (*numbers, None)):
        claim = Claim(id="c", says=Text("是", "is"), metric="m", op=op, bound=bound, control={})
        holds = claim.judge({"m": value}) is Verdict.HOLDS
        assert namespace["claim_holds"](value, op, bound) == holds, (value, op, bound)


def test_exported_notebook_is_valid(service):
    """Format 4.5: cells have ids, sources are lists of lines, there are no outputs."""
    entry, plans = service.plan(Request(question="", entry="multiply-vs-add"))
    notebook = json.loads(export_entry(entry, plans, 0, "zh", "ipynb"))
    assert (notebook["nbformat"], notebook["nbformat_minor"]) == (4, 5)
    assert len({cell["id"] for cell in notebook["cells"]}) == len(notebook["cells"])
    assert all(cell["outputs"] == [] for cell in notebook["cells"] if cell["cell_type"] == "code")
    text = "".join(line for cell in notebook["cells"] for line in cell["source"])
    assert "[[" not in text
    assert '`measured_powers["product"]`' in text


def test_export_over_http(client):
    """The export is a download; invalid parameters are 422, unknown entries 404."""
    response = client.get("/api/v1/entries/multiply-vs-add/export?form=py&n=7&seed=2&lang=en")
    assert response.status_code == 200
    assert 'filename="multiply-vs-add.py"' in response.headers["content-disposition"]
    assert "n=7" in response.text
    assert "SEED = 2" in response.text
    for query, status in (("form=exe", 422), ("n=many", 422), ("nope=1", 422), ("seed=-1", 422), ("block=x", 422)):
        assert client.get(f"/api/v1/entries/multiply-vs-add/export?{query}").status_code == status, query
    assert client.get("/api/v1/entries/none/export").status_code == 404


def _evidence(service, slug, seed=0, **params):
    *_, last = service.run(slug, params, seed)
    assert isinstance(last, EvidenceReady)
    return evidence_json(last.evidence, "en").to_dict()


@pytest.mark.parametrize(
    ("slug", "params"),
    [("pow_vs_sum", {"n": 300}), ("quad_gd", {"lr": 2.5}), ("ieee_table", {}), ("residual_depth", {"layers": 10})],
)
def test_replay_is_identical(service, fresh_lab, slug, params):
    """Executed again, without a cache, the metrics are equal bit for bit, among them inf, nan and None."""
    (receipt,) = read_receipts([_evidence(service, slug, seed=5, **params)])
    again = replay_run(receipt, service.knowledge.experiments, fresh_lab)
    assert again.outcome is ReplayOutcome.IDENTICAL
    assert not again.changed
    assert not again.changed_versions


def test_replay_reports_differences(service):
    """A relative difference of 1e-9 counts as equal, one of 1% as different; changed code and versions are listed."""
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


@each_case(
    "document",
    [{}, 3, [{}], {"evidence": [1]}, {"experiment": "x", "params": [], "seed": 0, "metrics": {}, "receipt": {}}],
)
def test_invalid_receipts_are_rejected(document):
    with pytest.raises(BadRequest):
        list(read_receipts(document))


def test_permalink_sets_parameters_and_seed(client, service):
    """The page of a permalink is filled with them and runs at once; the API reads the same query."""
    page = client.get("/e/multiply-vs-add?n=200&x=0.9&seed=3&lang=en")
    assert page.status_code == 200
    assert "data-runs-at-once" in page.text
    assert 'name="n" data-kind="int" data-own="100" value="200"' in page.text
    assert 'value="3" required' in page.text
    assert "data-runs-at-once" not in client.get("/entries/multiply-vs-add?lang=en").text
    assert client.get("/e/multiply-vs-add?n=-1").status_code == 422
    assert client.get("/e/none").status_code == 404
    request = read_query("multiply-vs-add", {"n": "200", "x": "0.9", "seed": "3", "block": "powers"})
    answer = service.answer(request)
    assert (answer.evidence[0].params["n"], answer.evidence[0].seed, len(answer.evidence)) == (200, 3, 1)


def test_several_seeds_give_the_spread_of_their_runs(service):
    """Lowest, median and highest value, and in how many seeds the claim holds."""
    request = Request(question="", entry="multiply-vs-add", seed=2, seeds=4, blocks=("residual",), lang="en")
    (evidence,) = service.answer(request).evidence
    single = [
        service.answer(Request(question="", entry="multiply-vs-add", seed=seed, blocks=("residual",))).evidence[0]
        for seed in range(2, 6)
    ]
    for index, spread in enumerate(evidence.spreads):
        values = sorted(each.run.measured[each.claims[index].metric] for each in single)
        assert (spread.seeds, spread.lowest, spread.highest) == (4, values[0], values[-1])
        assert spread.median == (values[1] + values[2]) / 2
        assert spread.held == sum(each.verdicts[index] == "holds" for each in single)
    spread_json = evidence_json(evidence, "en").to_dict()["claims"][0]["spread"]
    assert spread_json["held"] == evidence.spreads[0].held
    assert single[0].spreads == ()


def test_untestable_claim_names_parameters_where_it_is_testable(service):
    """It does so only if the user's parameters make the claim untestable."""
    at_entry, at_other = (
        service.answer(Request(question="", entry="multiply-vs-add", params=params, blocks=("powers",))).evidence[0]
        for params in ({}, {"x": 0.9})
    )
    assert at_entry.run.status is RunStatus.RAN
    assert at_entry.not_testable_here == ()
    assert at_other.not_testable_here[0].id == "product-explodes"
    claims = {claim["id"]: claim for claim in evidence_json(at_other, "zh").to_dict()["claims"]}
    assert claims["product-explodes"]["visible_at"] == json_safe(dict(at_other.entry_params))
    assert claims["sum-is-exact"]["visible_at"] is None


def test_demos_are_parsed_in_one_thread_at_a_time(monkeypatch):
    """In Python 3.11 two overlapping calls of `ast.parse` raise SystemError, which made an export a 500."""
    inside: list[str] = []
    most_inside = []

    def parse(source: str) -> ast.Module:
        inside.append(source)
        for _ in range(20):  # lets the other threads come in, if they can
            time.sleep(0)
            most_inside.append(len(inside))
        inside.remove(source)
        return ast.Module([], [])

    with monkeypatch.context() as patched, ThreadPoolExecutor(8) as pool:
        patched.setattr(ast, "parse", parse)
        assert len(list(pool.map(parse_python, map(str, range(40))))) == 40
    assert max(most_inside) == 1
