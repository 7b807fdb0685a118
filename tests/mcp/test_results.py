"""Results of MCP tools: their size, the presence in the text of every number of the structured content, addresses of
runs.
"""

import json
import math
import re
import zlib
from base64 import urlsafe_b64encode
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest
from checking import each_case
from hypothesis import given
from hypothesis import strategies as st

from qa_service.answering.diagnosing import diagnose_question
from qa_service.answering.formula import FormulaStudy
from qa_service.answering.service import Service
from qa_service.errors import BadField
from qa_service.fronts.mcp import conversion, results
from qa_service.fronts.mcp.calls import ToolCall
from qa_service.fronts.mcp.experiment_search import find_experiments
from qa_service.fronts.mcp.inputs import CheckInput, CompareInput, DiagnoseInput
from qa_service.fronts.mcp.receipts import CompactReceipt
from qa_service.fronts.mcp.text import render_result
from qa_service.fronts.mcp.tools import TOOLS
from qa_service.model import Request, RunStatus
from qa_service.model.formula import FormulaRequest

LIMIT = 9 * 1024
"""Bytes that a result may have as text, and as JSON."""
EVERY_NTH = 8  # about twenty entries


def values(body: Any) -> Iterator[Any]:
    """Every number, including inf and nan, and every verdict in a parsed JSON document."""
    match body:
        case dict():
            for each in body.values():
                yield from values(each)
        case list():
            for each in body:
                yield from values(each)
        case bool() | None:
            pass
        case int() | float():
            yield body
        case "Infinity" | "-Infinity" | "NaN":
            yield float(body)


def written(value: float) -> str:
    """A number with all its digits, as it can be copied into a program."""
    return repr(value)


def assert_fits(result: results.ToolResult) -> results.ToolResult:
    """The result as it is sent; asserts that it is within the size limit and that its text has every number."""
    fitting, text = results.fit_to_limit(result, render_result)
    assert len(text.encode()) <= LIMIT
    assert len(fitting.to_json()) <= LIMIT
    numbers = set(re.findall(r"[^\s,;:=()\[\]（），；：、|`{}\"]+", text))
    missing = [value for value in values(json.loads(fitting.to_json())) if written(value) not in numbers]
    assert not missing, (missing, text)
    for run in getattr(fitting, "runs", ()):
        for claim in run.claims:
            assert claim.says in text
    return fitting


def ask(service: Service, entry: str, lang: str) -> results.AskResult:
    return conversion.ask_result(service.answer(Request(question="", entry=entry, lang=lang, brief=True)))


def entries(service: Service, step: int) -> list[str]:
    return list(service.knowledge.library)[::step]


@pytest.mark.exhaustive
def test_answers_of_twenty_entries_fit_the_size_limit_with_every_number_in_the_text(service):
    for nth, entry in enumerate(entries(service, EVERY_NTH)):
        fitting = assert_fits(ask(service, entry, ("en", "zh")[nth % 2]))
        assert fitting.runs
        assert fitting.runs[0].status is RunStatus.RAN


@pytest.mark.exhaustive
@pytest.mark.parametrize("part", range(8))
@pytest.mark.parametrize("lang", ["en", "zh"])
def test_answers_of_all_entries_fit_the_size_limit_with_every_number_in_the_text(service, lang, part):
    for entry in entries(service, 1)[part::8]:
        assert assert_fits(ask(service, entry, lang)).runs


def test_a_comparison_of_formats_fits_the_size_limit(service):
    given_ = CompareInput(entry="multiply-vs-add", compare="dtype", lang="zh")
    result, linked = TOOLS["compare"].serve(service, given_, ToolCall("zh"))
    fitting = assert_fits(result)
    assert len(fitting.runs) >= 3
    assert fitting.tables
    assert [entry.id for entry in linked] == ["multiply-vs-add"]


def test_a_check_of_claims_fits_the_size_limit_and_confirms_what_the_entry_states(service):
    result, _ = TOOLS["check_claim"].serve(service, CheckInput(entry="multiply-vs-add", seeds=3), ToolCall("en"))
    assert assert_fits(result).confirmed


@pytest.mark.parametrize(
    "request_",
    [
        FormulaRequest(expression="log(1+exp(x))", at={"x": "100"}, gradient=True),
        FormulaRequest(expression="sqrt(x+1)-sqrt(x)", over={"x": ("0", "1e6")}, dtypes=("float32", "float16")),
    ],
)
@pytest.mark.parametrize("lang", ["en", "zh"])
def test_a_formula_fits_the_size_limit_with_the_step_that_goes_wrong_and_a_stable_form(service, request_, lang):
    study = FormulaStudy.of(request_)
    *_, last = study.stream(service)
    fitting = assert_fits(conversion.formula_result(study.result(last.evidence), lang))
    assert fitting.values
    assert fitting.first_wrong
    assert fitting.stable


@pytest.mark.parametrize("lang", ["en", "zh"])
def test_a_diagnosis_fits_the_size_limit_with_its_lines_its_cause_and_its_runs(service, lang):
    """Tested on a loss that grows until it is nan, and on one that falls."""
    losses = [2.3, 2.2, 2.4, 3.1, 5.0, 11.0, 42.0, 310.0, 9.1e3, 4.0e6, "inf", *["nan"] * 8]
    sick = "\n".join(f"step: {10 * nth} loss: {loss} lr: 0.5" for nth, loss in enumerate(losses))
    result, linked = TOOLS["diagnose"].serve(service, DiagnoseInput(text=sick), ToolCall(lang))
    fitting = assert_fits(result)
    assert (fitting.verdict, fitting.lang) == ("sick", lang)
    assert fitting.causes[0].because
    assert {fact.text for fact in fitting.facts} >= set(fitting.causes[0].because)
    assert re.search(r"line \d+|第 \d+", render_result(fitting))
    assert [entry.id for entry in linked] == [cause.entry for cause in fitting.causes if cause.entry]
    assert fitting.summary in render_result(fitting)
    well = "\n".join(f"step: {10 * nth} loss: {2.3 * 0.97**nth:.4f} lr: 0.001" for nth in range(60))
    result, _ = TOOLS["diagnose"].serve(service, DiagnoseInput(text=well), ToolCall(lang))
    assert assert_fits(result).verdict == "healthy"


@pytest.mark.parametrize(("lang", "note"), [("en", "Call diagnose with it"), ("zh", "用 diagnose 看")])
def test_an_answer_to_a_question_with_a_log_names_its_diagnosis(toy_service, lang, note):
    log = "\n".join(f"step: {nth} loss: {loss}" for nth, loss in enumerate([2.3, 2.4, 9.0, 80.0, "inf", "nan", "nan"]))
    answer = toy_service.answer(Request(question="", entry="counting", lang=lang))
    found = conversion.ask_result(replace(answer, diagnosis=diagnose_question(log)))
    assert any(note in each for each in found.notes)
    assert note in render_result(found)


def test_a_result_has_the_whole_context_of_its_answer(service):
    """The context includes aspect and seed, so that a follow-up keeps them, as with the context that the API sends."""
    entry = next(entry for entry in service.knowledge.library.values() if entry.aspects)
    asked = Request(question="", entry=entry.id, aspect=entry.aspects[0].id, seed=3, lang="en", run=False)
    context = conversion.ask_result(service.answer(asked)).to_dict()["context"]
    assert (context["entry"], context["aspect"], context["seed"]) == (entry.id, entry.aspects[0].id, 3)


def test_experiments_found_fit_the_size_limit(service):
    known = list(service.knowledge.experiments.values())
    for at in range(0, len(known), 10):
        assert_fits(conversion.find_result(known[at : at + 10], service, "zh"))


def test_a_search_finds_by_the_experiments_own_words(toy_service):
    assert find_experiments(toy_service, "coins", 3)[0].slug == "coins"
    assert find_experiments(toy_service, "?!", 3) == []


def test_a_result_that_is_too_long_says_what_it_leaves_out(toy_service):
    answer = toy_service.answer(Request(question="", entry="counting", lang="en"))
    run = conversion.ask_result(answer).runs[0]
    metric = next(iter(run.metrics.values()))
    many = {f"other_{nth}": metric.model_copy(update={"title": "a metric " * 20}) for nth in range(50)}
    long = run.model_copy(update={"metrics": {**run.metrics, **many}})
    result = conversion.ask_result(answer).model_copy(update={"runs": [long] * 30, "answer": "word " * 1000})
    fitting = assert_fits(result)
    assert fitting.left_out
    assert set(fitting.runs[0].metrics) == {claim.metric for claim in run.claims}
    assert "Left out for length: charts, metrics" in render_result(fitting)


def test_numbers_that_json_cannot_hold_stand_in_text_and_content(toy_service):
    *_, last = toy_service.run("nonfinite", {})
    fitting = assert_fits(
        results.RunOnlyResult(left_out=[], lang="en", runs=[conversion.run_result(last.evidence, "en")])
    )
    measured = [value for value in values(fitting.to_dict()) if not math.isfinite(value)]
    assert {written(value) for value in measured} >= {"inf", "nan"}


@given(
    experiment=st.text(max_size=20),
    params=st.dictionaries(st.text(max_size=9), st.integers() | st.floats(allow_nan=False) | st.text() | st.booleans()),
    seed=st.integers(0, 2**63 - 1),
    lang=st.sampled_from(["zh", "en"]),
)
def test_a_receipt_is_read_as_it_was_written(experiment, params, seed, lang):
    receipt = CompactReceipt(experiment, params, seed, "0123456789abcdef", lang)
    found = CompactReceipt.decode(receipt.encode())
    assert found == receipt
    assert {name: type(value) for name, value in found.params.items()} == {
        name: type(value) for name, value in params.items()
    }


def test_a_receipt_of_before_is_read_and_written_as_it_was():
    """Receipts of earlier versions, with numbers that JSON cannot represent, are read and written byte for byte the
    same.
    """
    params = {"x": math.inf, "n": 100, "dtype": "float16", "lr": 1e-7, "nan": math.nan, "on": True}
    fields = ["counts", params, 2**63 - 1, "0123456789abcdef", "zh"]
    text = json.dumps(fields, ensure_ascii=False, separators=(",", ":"), sort_keys=True)
    address = urlsafe_b64encode(zlib.compress(text.encode(), 9)).decode().rstrip("=")
    found = CompactReceipt.decode(address)
    assert repr(dict(found.params)) == repr(dict(sorted(params.items())))
    assert (found.seed, found.lang, found.encode()) == (2**63 - 1, "zh", address)


@given(st.text(max_size=40) | st.binary(max_size=40).map(lambda data: urlsafe_b64encode(data).decode()))
def test_any_other_text_is_no_receipt(text):
    with pytest.raises(BadField):
        CompactReceipt.decode(text)


@each_case(
    "data",
    [
        b"[" * 5000,
        b"{}",
        b'["a",{},-1,"","en"]',
        b'["a",{},0,"","fr"]',
        b'["a",{},true,"","en"]',
        b"[0,0,0,0,0]",
        b'["a",{},0,"","en",1]',
        b'["a",{},0,""]',
        b'["a",{},9223372036854775808,"","en"]',
        b'["a",{},1.0,"","en"]',
        b'["a",{},NaN,"","en"]',
        b'["a",{"x":[1]},0,"","en"]',
        b'["a",{"x":null},0,"","en"]',
        b'["a",{},0,"","en"' + b" " * (1 << 20) + b"]",
    ],
)
def test_no_receipt_is_read_from_other_json_or_from_much_of_it(data):
    with pytest.raises(BadField):
        CompactReceipt.decode(urlsafe_b64encode(zlib.compress(data)).decode())


def test_a_run_is_not_repeated_with_other_code(toy_service):
    *_, last = toy_service.run("counts", {})
    receipt = CompactReceipt.of(last.evidence, "en")
    experiment = last.evidence.experiment
    receipt.check(experiment)
    with pytest.raises(BadField, match="has changed since"):
        receipt.check(replace(experiment, hash="0" * 64))
