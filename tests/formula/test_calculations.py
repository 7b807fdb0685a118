"""A question that asks for the value of a formula is answered with what the experiment measures, in every front."""

import json
import math
from collections.abc import Callable
from dataclasses import replace
from fractions import Fraction

import pytest
from fastapi.testclient import TestClient
from oracles import EXPERIMENTS, FORMATS

from qa_service.answering.service import Service
from qa_service.app import create_app
from qa_service.errors import BadExpression
from qa_service.experiments.parameters import clamp, describe_allowed, fill_defaults, schema, validate
from qa_service.fronts.terminal.ask import print_answer
from qa_service.model import AnswerStatus, Parameter, Request, Text
from qa_service.presentation.formula_reply import values_by_format
from qa_service.presentation.prose import answer_text
from qa_service.schemas.answers import answer_json
from qa_service.schemas.requests import read_request
from qa_service.settings import Settings


@pytest.fixture(scope="module")
def calculating(new_toy_service: Callable[[], Service]) -> Service:
    """The toy service with the experiment `formula`, and one that has a parameter `dtype`."""
    service = new_toy_service()
    known = service.knowledge
    service.replace_knowledge(
        replace(
            known, experiments={**known.experiments, **{name: EXPERIMENTS[name] for name in ("formula", "ieee_table")}}
        )
    )
    return service


def reply(service: Service, question: str) -> str:
    return answer_text(service.answer(Request(question=question)))


def test_the_answer_is_the_value_and_its_evidence(calculating):
    """2048 + 1 gives 2048 in float16, whose numbers are 2 apart there; the answer has the value and the run as
    evidence.
    """
    answer = calculating.answer(Request(question="float16 里 2048+1 等于多少"))
    assert answer.status is AnswerStatus.ANSWERED
    assert answer.entry is None
    assert answer.calculation.formulas == ("2048 + 1",)
    (evidence,) = answer.evidence
    assert evidence.experiment.slug == "formula"
    assert evidence.run.measured["value_float16"] == float(FORMATS["float16"].rounded(Fraction(2049)))
    text = answer_text(answer)
    assert text.startswith("`2048 + 1` 在 float16 里得 2048，精确值是 2049。")
    assert "相隔 2" in text


@pytest.mark.parametrize(
    ("question", "parts"),
    [
        ("is x/sqrt(x**2+y**2) safe in float16?", ["`x / sqrt(x**2 + y**2)` at x =", "In float16", "hypot"]),
        ("sqrt(x**2+y**2) 在 fp16 下稳定吗", ["（x = 181.5，y = 181.5）", "inf", "65504", "hypot"]),
        ("is max(x, y) accurate in float32?", ["no input was found that breaks `max(x, y)`", "from −1000 to 1000"]),
    ],
)
def test_a_formula_of_several_variables_is_shown_at_an_input_that_breaks_it(calculating, question, parts):
    text = reply(calculating, question)
    assert all(part in text for part in parts), text


@pytest.mark.parametrize(
    ("question", "parts"),
    [
        ("exp(89) in float32", ["inf", "4.489612819×10³⁸", "3.4×10³⁸"]),
        ("70000 转成 half 会变成啥", ["存成 inf", "65504"]),
        ("log(sigmoid(-200)) 会怎样", ["float32 里得 −inf", "float64 里得 −200", "`sigmoid(-200)`"]),
        ("softmax of [1000, 0]", ["[1, 0]"]),
        ("what is 0.1+0.2", ["0.300000012", "0.30000000000000004", "exact value is 0.3"]),
        ("1e-8 in fp16", ["stored as 0", "5.96×10⁻⁸"]),
        ("inf - inf", ["nan", "no value"]),
        ("1/0 是多少", ["inf"]),
        ("what is (1e8+1)-1e8 in float32?", ["gives 0", "`1e8 + 1`", "8 apart"]),
        ("x=100 时 log(1+exp(x)) 是多少", ["x = 100", "`exp(x)`"]),
        ("gradient of where(x>0, log(x), 0) at x=0", ["nan", "backward"]),
        ("derivative of log(1+exp(x)) at x=100", ["nan", "exact value is 1", "`exp(x)`"]),
        ("sigmoid(40) 的导数是多少", ["给出 0", "4.248354255×10⁻¹⁸"]),
        ("is log(1+exp(x)) safe?", ["from x = 88.7 on", "softplus"]),
        ("exp(88) 和 exp(89) 在 float32 里分别是多少", ["1.65163627×10³⁸", "inf"]),
        ("9**9**9", ["inf", "beyond float64"]),
    ],
)
def test_replies_say_what_and_why(calculating, question, parts):
    """Replies are in the question's language and contain the numbers of this run."""
    text = reply(calculating, question)
    for part in parts:
        assert part in text, text
    assert "{" not in text.replace("torch.stack", "")


def test_every_format_is_listed_against_exact_rounding(calculating):
    """The values in the four formats that the reference can round rational numbers to are those of exact rounding."""
    for question, exact in (("1/3 in bf16", Fraction(1, 3)), ("what is 65504 + 16 in float16", Fraction(65520))):
        (evidence,) = calculating.answer(Request(question=question)).evidence
        shown = {row.dtype: row for row in values_by_format(evidence, "en")}
        for dtype, form in FORMATS.items():
            rounded = form.rounded(exact)
            value = evidence.run.measured[f"value_{dtype}"]
            assert value == (math.inf if rounded is None else float(rounded))
            assert shown[dtype].value
        assert next(iter(shown)) == "float64"


def test_a_reason_is_left_to_the_entries(calculating):
    """A question that asks for a reason is answered by an entry, even if it contains the same formula."""
    answer = calculating.ask(Request(question="why is exp(89) inf in float32"))
    assert answer.calculation is None


def test_an_entry_that_is_named_is_not_replaced(calculating):
    """An entry that the request names answers, even if the question asks for a value."""
    assert calculating.ask(Request(question="exp(89) = ?", entry="counting")).entry.id == "counting"


def test_other_numbers_for_the_entry_before_stay_with_it(calculating):
    """A follow-up that changes a parameter of the previous entry is answered by that entry, not by a calculation."""
    context = calculating.ask(Request(question="", entry="counting")).context
    asked = Request(question="那 1.1 的 100 次方呢", context=context)
    assert calculating.ask(replace(asked, context=None)).calculation is not None
    assert calculating.ask(asked).calculation is None


def test_a_format_can_be_set_by_the_request(calculating):
    """`params` sets the format as for any experiment; a format that the question names takes precedence."""
    assert calculating.ask(Request(question="exp(89) = ?", params={"dtype": "float16"})).calculation.dtypes == (
        "float16",
    )
    named = calculating.ask(Request(question="exp(89) in bf16", params={"dtype": "float16"}))
    assert named.calculation.dtypes == ("bfloat16",)


def test_a_follow_up_names_another_format_or_value(calculating):
    """After a calculation, a follow-up that names only a format or a value is computed with the same formula."""
    first = calculating.answer(Request(question="x=3 时 exp(x) 在 float32 里是多少"))
    later = calculating.answer(Request(question="那 float16 呢", context=first.context))
    assert later.calculation.dtypes == ("float16",)
    assert later.calculation.formulas == first.calculation.formulas
    other = calculating.answer(Request(question="那 12 呢", context=first.context))
    assert other.calculation.at == {"x": "12"}
    assert other.calculation.dtypes == ("float32",)
    slope = calculating.answer(Request(question="那梯度呢", context=first.context))
    assert slope.calculation.gradient
    assert "导数" in answer_text(slope)
    sent_back = read_request({"question": "and in bf16?", "context": answer_json(first).to_dict()["context"]})
    assert calculating.answer(sent_back).calculation.dtypes == ("bfloat16",)


def test_the_api_and_the_terminal_give_it(calculating, tmp_path, capsys):
    """The calculation is returned as JSON, as a stream, and as text with a table of formats."""
    with TestClient(create_app(calculating, Settings(data=tmp_path, cache=tmp_path, rate=""))) as client:
        told = client.post("/api/v1/ask", json={"question": "exp(89) in float32", "brief": True}).json()
        assert told["status"] == "answered"
        assert told["entry"] is None
        assert told["calculation"] == {
            "formulas": ["exp(89)"], "dtypes": ["float32"], "at": {}, "over": {}, "gradient": False,
        }  # fmt: skip
        assert told["parts"]["short"] == told["answer"]
        assert told["evidence"][0]["metrics"]["value_float32"]["value"] == "Infinity"
        assert told["evidence"][0]["receipt"]["code_hash"] == EXPERIMENTS["formula"].hash
        page = client.post("/page/ask", json={"question": "exp(89) in float32"}).text
        done = json.loads(page.split("event: done\ndata: ")[1].split("\n")[0])
        assert "float8_e5m2" in done["parts_html"]["values"]
        assert "inf" in done["parts_html"]["short"]
        assert "/formula?expression=exp%2889%29" in page
        refused = client.post(
            "/api/v1/experiments/formula/runs", json={"params": {"expression": "expp(1)"}, "lang": "en"}
        )
        assert refused.status_code == 422
        assert refused.json()["code"] == "bad_expression"
        assert "exp" in refused.json()["detail"]
    print_answer(Request(question="exp(89) in float32"), calculating)
    printed = capsys.readouterr().out
    assert "In float32, exp(89) gives inf" in printed
    assert "bfloat16" in printed


def test_text_parameters_reach_the_experiment_as_s_expressions():
    """Formulas are accepted as people write them or as a receipt stores them; anything else is refused, naming the
    parameter.
    """
    experiment = EXPERIMENTS["formula"]
    written = fill_defaults(experiment, {"expression": "log(1+e^x)", "alternatives": "softplus(x)\n\nlogaddexp(x, 0)",
                                         "values": "x=-1e3..1e3, y=1/3"})  # fmt: skip
    assert written["expression"] == "(log (add 1 (exp x)))"
    assert written["alternatives"] == "(softplus x)\n(logaddexp x 0)"
    assert written["values"] == "x=-1000..1000 y=1/3"
    assert fill_defaults(experiment, written) == written
    for name, text in (
        ("expression", "log(1+"),
        ("alternatives", "x\n)"),
        ("alternatives", "x\n" * 51),
        ("values", "x="),
    ):
        with pytest.raises(BadExpression) as raised:
            fill_defaults(experiment, {name: text})
        assert raised.value.field == f"params.{name}"
    spec = Parameter(name="f", kind="text", default="x", title=Text("公式", "formula"), le=20, grammar="formula")
    assert clamp(spec, "x+1") is None
    assert validate(spec, "x+1") == "(add x 1)"
    assert "20" in describe_allowed(spec, "en")
    assert "20" in describe_allowed(spec, "zh")
    assert schema(experiment)["properties"]["expression"]["type"] == "string"
