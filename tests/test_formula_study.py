"""A formula from request to result: the study, the API's route, the command, receipts."""

import json
import math
import os

import jsonschema_rs
import pytest
import torch
from fastapi.testclient import TestClient
from oracles import INF

from qa_service.answering.formula import ALL_DTYPES, FormulaStudy
from qa_service.app import create_app
from qa_service.errors import BadExpression, BadField
from qa_service.model.events import EvidenceReady
from qa_service.model.formula import FormulaRequest, FormulaResult
from qa_service.settings import Settings


@pytest.fixture
def study(service):
    """A function that measures a formula."""

    def measure(expression: str, **options: object) -> FormulaResult:
        study = FormulaStudy.of(FormulaRequest(expression=expression, **options))
        *_, last = study.stream(service)
        assert isinstance(last, EvidenceReady)
        return study.result(last.evidence)

    return measure


@pytest.fixture(scope="module")
def client(service, tmp_path_factory):
    with TestClient(create_app(service, Settings(data=tmp_path_factory.mktemp("data")))) as client:
        yield client


@pytest.fixture
def numstab(terminal, cache, tmp_path):
    """Runs the command in this process."""
    env = {**os.environ, "NUMSTAB_CACHE": str(cache), "NUMSTAB_DATA": str(tmp_path), "NUMSTAB_DEADLINE": "240"}
    return lambda *arguments: terminal(*arguments, env={**env, "LC_ALL": "C.UTF-8", "COLUMNS": "100"})


def test_a_value_in_every_format(study):
    result = study("0.1 + 0.2")
    assert set(result.values) == set(ALL_DTYPES)
    assert result.values["float64"].value == 0.1 + 0.2
    assert result.exact == 0.3
    assert result.values["float16"].value == float(torch.tensor(0.1).half() + torch.tensor(0.2).half())
    assert not result.first_wrong
    assert result.ran


def test_the_steps_are_parts_of_the_formula(study):
    result = study("log(1+exp(x))", at={"x": "100"}, dtypes=("float32",))
    assert [node.text for node in result.nodes] == ["1", "x", "exp(x)", "1 + exp(x)", "log(1 + exp(x))"]
    (wrong,) = (node for node in result.nodes if node.id == result.first_wrong["float32"])
    assert wrong.text == "exp(x)"
    assert wrong.values["float32"].how == "overflow"
    assert result.nodes[3].inputs == (result.nodes[0].id, result.nodes[2].id)


def test_the_elements_of_a_vector(study):
    result = study("softmax([1000, 0])", dtypes=("float16",))
    assert result.values["float16"].value == (1.0, 0.0)
    assert result.exact == (1.0, 0.0)


@pytest.mark.parametrize(
    ("expression", "over", "dtype", "function", "bits"),
    [
        ("log(1+exp(x))", {"x": ("-1000", "1000")}, "float32", "softplus", 1),
        ("exp(x)-1", {"x": ("-1", "1")}, "float64", "expm1", 1),
        ("log(sigmoid(x))", {"x": ("-1000", "1000")}, "float32", "logsigmoid", 1),
        ("log(softmax([x, 0]))", {"x": ("-1000", "1000")}, "float32", "log_softmax", 5),  # near 0 it cancels
    ],
)
def test_the_stable_form_is_found_and_measured(study, expression, over, dtype, function, bits):
    result = study(expression, over=over, dtypes=(dtype,))
    best = result.stable[0]
    assert function in best.functions
    assert best.bits[dtype] < bits
    assert best.bits_gained == pytest.approx(result.bits[dtype] - best.bits[dtype])
    assert best.where


def test_what_is_stable_already_has_no_stabler_form(study):
    assert not study("logaddexp(0, x)", over={"x": ("-100", "100")}).stable


def test_a_variable_without_a_value_gets_a_range(study):
    result = study("exp(x)", stable=False)
    assert result.over == {"x": (-1000.0, 1000.0)}
    assert math.isinf(torch.tensor(result.breaks_at["float32"]).exp())


def test_an_input_of_several_variables_breaks_the_format_asked_for(study):
    """The input makes squares overflow or underflow in float16; the steps are shown at this input."""
    result = study("x/sqrt(x**2+y**2)", over={"x": ("-1000", "1000"), "y": ("-1000", "1000")}, dtypes=("float16",))
    assert result.at == result.breaking["float16"]
    assert result.breaks_at["float16"] == result.breaking["float16"]["x"]
    assert result.values["float16"].status not in ("exact", "rounded")
    assert {node.text for node in result.nodes if node.id == result.first_wrong["float16"]} == {"x**2"}


def test_the_gradient(study):
    result = study("where(x > 0, log(x), 0)", at={"x": "0"}, gradient=True)
    (by_x,) = result.gradient
    assert (by_x.variable, by_x.exact) == ("x", 0.0)
    assert math.isnan(by_x.values["float32"].value)
    assert {node.text for node in result.nodes if node.id == by_x.node["float32"]} == {"log(x)"}


def test_a_formula_that_is_none_is_refused_before_it_runs():
    with pytest.raises(BadExpression):
        FormulaStudy.of(FormulaRequest(expression="log(1+"))
    with pytest.raises(BadField, match="float7"):
        FormulaStudy.of(FormulaRequest(expression="1+1", dtypes=("float7",)))
    with pytest.raises(BadExpression):
        FormulaStudy.of(FormulaRequest(expression="x", at={"x": "much"}))


def test_an_s_expression_is_the_same_formula(study):
    assert study("(add 2048 1)").sexpr == study("2048 + 1").sexpr == "(add 2048 1)"


# --- the API ---


def test_the_route_answers_as_its_schema_says(client):
    body = {"expression": "log(1+exp(x))", "over": {"x": [-1000, 1000]}, "gradient": True, "dtypes": ["float32"]}
    answer = client.post("/api/v1/formula", json=body)
    assert answer.status_code == 200
    sent = answer.json()
    document = client.get("/openapi.json").json()
    schema = {"$ref": "#/components/schemas/FormulaJson", "components": document["components"]}
    jsonschema_rs.validate(schema, sent)
    assert sent["values"]["float32"]["status"] == "overflow"
    assert sent["breaks_at"] == {"float32": 88.72283935546875}
    assert sent["breaking"] == {"float32": {"x": 88.72283935546875}}
    assert sent["stable"][0]["torch"] == "F.softplus(x)"
    assert sent["gradient"]["x"]["exact"] == 1
    assert sent["map"]
    assert sent["receipt"]["code_hash"]


def test_numbers_are_read_as_they_are_written(client):
    sent = client.post("/api/v1/formula", json={"expression": "x + y", "at": {"x": 0.1, "y": "1/3"}}).json()
    assert sent["exact"] == 13 / 30
    assert sent["map"] == []


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"expression": "log(1+"}, "expression"),
        ({"expression": "a" * 10_001}, "expression"),
        ({}, "expression"),
        ({"expression": "x", "over": {"x": [1]}}, "over"),
        ({"expression": "x", "at": {"x": "much"}}, "at.x"),
        ({"expression": "x", "over": {"x": [2, 1]}}, "over.x"),
        ({"expression": "x", "dtypes": ["float7"]}, "dtypes"),
        ({"expression": "x", "values": "x=1"}, "values"),
    ],
)
def test_what_is_wrong_is_named(client, body, field):
    answer = client.post("/api/v1/formula", json=body)
    assert answer.status_code == 422
    assert answer.json()["field"] == field


# --- the command ---


def test_the_command_prints_the_values(numstab):
    done = numstab("formula", "log(1+exp(x))", "--x", "100", "--lang", "en")
    assert done.returncode == 0
    assert "exp(x) overflows here" in done.stdout
    assert "F.softplus(x)" in done.stdout


def test_the_command_takes_ranges_negative_values_and_formulas_with_a_sign(numstab):
    done = numstab("formula", "-log(y) * x", "--x=-1e3..1e3", "--y", "-2", "--dtype", "float32", "--gradient", "--json")
    assert done.returncode == 0, done.stderr
    sent = json.loads(done.stdout)
    assert sent["over"] == {"x": [-1000.0, 1000.0]}
    assert sent["at"]["y"] == -2
    assert list(sent["values"]) == ["float32"]
    assert sent["values"]["float32"]["value"] == "NaN"


def test_the_command_in_chinese(numstab):
    done = numstab("formula", "2048+1", "--dtype", "float16", "--lang", "zh")
    assert "精确值" in done.stdout
    assert "2048" in done.stdout


@pytest.mark.parametrize("arguments", [("log(1+",), ("x", "--x"), ("x", "--x", "high"), ("1+1", "--dtype", "int7"), ()])
def test_wrong_usage_is_status_2(numstab, arguments):
    done = numstab("formula", *arguments)
    assert done.returncode == 2
    assert done.stderr.startswith("numstab: ")


def test_a_receipt_is_replayed(numstab, tmp_path):
    receipt = tmp_path / "receipt.json"
    receipt.write_text(numstab("formula", "exp(x)-1", "--x=-1..1", "--json").stdout)
    done = numstab("replay", str(receipt))
    assert done.returncode == 0, done.stdout


def test_infinite_values_are_taken(numstab):
    done = numstab("formula", "exp(-x)", "--x", "inf", "--json")
    sent = json.loads(done.stdout)
    assert sent["at"]["x"] == "Infinity"
    assert sent["exact"] == 0
    assert float(sent["at"]["x"]) == INF


@pytest.mark.parametrize(
    ("expression", "beyond"),
    [("9**9**9", True), ("-exp(1000)", True), ("1/0", False), ("exp(inf)", False), ("2", False)],
)
def test_a_finite_value_beyond_float64_is_told_from_infinity(study, expression, beyond):
    assert study(expression).exceeds_float64 == beyond
