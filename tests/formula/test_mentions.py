"""Questions that ask for the value of a formula are told from those that only speak of one."""

import json
import tomllib
from pathlib import Path

import pytest
from checking import each_case
from hypothesis import given
from hypothesis import strategies as st

from qa_service.formula.mentions import MAX_MENTION_CHARACTERS, find_mention
from qa_service.formula.sexpr import to_sexpr
from qa_service.formula.values import values_text
from qa_service.parsing import parse_question
from qa_service.settings import Settings

QUESTIONS = [
    json.loads(line) for line in (Path(__file__).parent / "questions.jsonl").read_text(encoding="utf-8").splitlines()
]
"""A question, the formulas that it asks for, formats, values of variables. The half `held` was written before the
patterns were and looked at once, when they were done.
"""


def read(question: str) -> dict[str, object] | None:
    """The formulas, formats, values and derivative flag found in a question, in the form of the file of expected
    results.
    """
    found = find_mention(question)
    if found is None:
        return None
    return {
        "trees": [to_sexpr(formula) for formula in found.formulas],
        "dtypes": list(found.dtypes),
        "values": values_text(found.values),
        "gradient": found.gradient,
    }


@each_case("line", [line for line in QUESTIONS if line["trees"]])
def test_a_value_that_is_asked_for_is_found(line):
    """Found are the formula, its formats, the values of its variables, and whether its derivative is asked for."""
    expected = {name: line[name] for name in ("trees", "dtypes", "values")} | {"gradient": bool(line["gradient"])}
    assert read(line["q"]) == expected


@each_case("question", [line["q"] for line in QUESTIONS if not line["trees"]])
def test_a_formula_that_is_only_spoken_of_is_not_computed(question):
    """Such mentions are hyperparameters, shapes, dates, versions, logs, losses and reasons."""
    assert read(question) is None


@each_case(
    ("question", "trees", "dtypes"),
    [
        ("float16 里 2048+1 等于多少", ["(add 2048 1)"], ["float16"]),
        ("70000 转成 half 会变成啥", ["70000"], ["float16"]),
        ("exp(89) float32 是多少", ["(exp 89)"], ["float32"]),
        ("log(sigmoid(-200)) 会怎样", ["(log (sigmoid -200))"], []),
        ("softmax of [1000, 0]", ["(softmax (vector 1000 0))"], []),
        ("what is 0.1+0.2 in float32", ["(add 0.1 0.2)"], ["float32"]),
        ("is log(1+exp(x)) safe?", ["(log (add 1 (exp x)))"], []),
        (r"$\sqrt{10^{-46}}$ 在单精度里是多少", ["(sqrt 1e-46)"], ["float32"]),
        ("torch.log(torch.sigmoid(torch.tensor(-200.)))", ["(log (sigmoid -200))"], []),
        ("20! in float32?", ["(factorial 20)"], ["float32"]),
        ("0.1+0.2==0.3?", ["(add 0.1 0.2)"], []),
        ("Let x = 3. What is x**2 in bf16?", ["(pow x 2)"], ["bfloat16"]),
        ("对 [3, 4, 5] 求 softmax，单精度得到什么", ["(softmax (vector 3 4 5))"], ["float32"]),
        ("apply tanh to 30 in half precision", ["(tanh 30)"], ["float16"]),
        ("dot product of [2, 3] and [4, 5]?", ["(dot (vector 2 3) (vector 4 5))"], []),
        ("[2, 3] 和 [4, 5] 的内积是多少", ["(dot (vector 2 3) (vector 4 5))"], []),
        ("log-sum-exp of [7, 8]?", ["(logsumexp (vector 7 8))"], []),
        ("[6, 8] 的模在 fp16 里是多少", ["(norm (vector 6 8))"], ["float16"]),
        ("3的负20次方在fp16里是多少", ["(pow 3 -20)"], ["float16"]),
        ("一千除以七，用 bf16 是多少", ["(div 1000 7)"], ["bfloat16"]),
        ("5加1再减1等于几", ["(sub (add 5 1) 1)"], []),
        ("e5m2 能装下 70000 吗", ["70000"], ["float8_e5m2"]),
        ("can bfloat16 hold 1e39?", ["1e39"], ["bfloat16"]),
        ("cube root of 9 in float16?", ["(mul (sign 9) (pow (abs 9) (div 1 3)))"], ["float16"]),
        ("x-tan(x) 在 x 很小时准不准", ["(sub x (tan x))"], []),
        ("1/(1+exp(x)) 怎么写更稳定？", ["(div 1 (add 1 (exp x)))"], []),
        ("is x*y/(x+y) safe in float16?", ["(div (mul x y) (add x y))"], ["float16"]),
        ("how do I compute log(1+exp(-x)) stably?", ["(log (add 1 (exp (neg x))))"], []),
    ],
)
def test_formulas_and_formats_are_read_from_questions(question, trees, dtypes):
    """In any word order, in questions for a value, for the range of a format, and for a stable form."""
    found = read(question)
    assert found is not None
    assert (found["trees"], found["dtypes"]) == (trees, dtypes)


@each_case(
    ("value", "text"), [("10^{-8}", "1e-8"), ("2**-3", "0.125"), ("10⁻⁸", "1e-8"), ("1/3", "1/3"), ("(2)", None)]
)
def test_the_value_of_a_variable_may_be_a_power_or_a_quotient(value, text):
    """Such as x = 10⁻⁸, which counts as one number."""
    found = read(f"what is log(1+x) at x = {value}?")
    assert (found and found["values"]) == (text and f"x={text}")


@each_case(
    "question",
    [
        "x / (x + 1e-6) is nan in half precision",
        "1.7 的 900 次方 float32 装不下，怎么表示",
        "x**2 怎么拟合",
        "how do I fit x**2",
    ],
)
def test_complaints_and_ways_out_are_left_to_entries(question):
    """Questions about half precision that ask for no range, or for a way to represent a number, trigger no
    calculation.
    """
    assert read(question) is None


@each_case(
    ("question", "values", "gradient"),
    [
        ("x=100 时 log(1+exp(x)) 是多少", "x=100", False),
        ("derivative of gelu at -3", "x=-3", True),
        ("tanh 在 x=20 处的导数是多少", "x=20", True),
        ("what is the gradient of sqrt(x**2 + y**2) at x=0, y=0", "x=0 y=0", True),
        ("sigmoid at -200 in float16", "x=-200", False),
    ],
)
def test_values_of_variables_and_derivatives(question, values, gradient):
    """The values and the point of a derivative are read from the question."""
    found = read(question)
    assert found is not None
    assert (found["values"], found["gradient"]) == (values, gradient)


@each_case(
    "question",
    [
        "why is exp(89) inf in float32?",
        "为什么 0.1+0.2 不等于 0.3",
        "0.99 的 1000 次方是多少？这对 1000 层网络意味着什么",
        "my loss is 0.1+0.2 now, what should I do?",
        "log(x) 的梯度是多少",
        "x + 1 是多少",
        "what is (3, 224, 224)?",
        "float16 65504",
        "1.01 的 365 次方和 0.99 的 365 次方",
        "梯度在半精度下会不会下溢成 0",
        "exp(89) 在 float32 里是多少，我的网络第 3 层就是这样炸的，怎么改？",
    ],
)
def test_reasons_stories_and_unknown_values_are_left_to_entries(question):
    """Such questions are answered by an entry; nothing is computed."""
    assert read(question) is None


@pytest.mark.parametrize("one_in", [8, pytest.param(1, marks=pytest.mark.exhaustive)])
def test_the_knowledge_bases_phrasings_are_left_to_their_entries(one_in):
    """Of the thousands of phrasings only some dozens that ask for a plain value trigger a calculation, none about
    training.
    """
    phrasings = [
        phrasing
        for path in Settings().kb.rglob("*.toml")
        for wordings in tomllib.loads(path.read_text(encoding="utf-8")).get("phrasings", {}).values()
        for phrasing in wordings
    ]
    assert len(phrasings) > 10_000
    phrasings = phrasings[::one_in]
    found = [phrasing for phrasing in phrasings if find_mention(phrasing)]
    assert len(found) < 0.005 * len(phrasings)
    for word in ("loss", "训练", "网络", "learning rate", "学习率", "epoch", "why", "为什么"):
        assert not [phrasing for phrasing in found if word in phrasing.lower()]


def test_a_question_carries_its_mention():
    """The parsed question has the mentioned formula, in traditional characters too; a log or a choice of a candidate
    has none.
    """
    assert parse_question("exp(89) 等於多少").mention is not None
    assert parse_question("第二个").mention is None
    log = "\n".join(f"step {step} loss {1 / step:.4f} lr 1e-4" for step in range(1, 9))
    assert parse_question(f"{log}\nexp(89) = ?").mention is None


@given(
    st.text(max_size=80)
    | st.text(alphabet="0123456789.+-*/^()[]=,? xe的是多少什么里floatgradientof", max_size=MAX_MENTION_CHARACTERS)
)
def test_any_text_is_searched_without_an_error(text):
    find_mention(text)


@pytest.mark.sampled(one_in=3)
@pytest.mark.parametrize(
    "text",
    ["1+" * 199, "x=1 " * 100, "(" * 400, "what is " + "1 " * 190, "[" + "1," * 190 + "]", "log " * 100, "的" * 400,
     "1.1" * 130, "e" * 400, "次方" * 200, "零" * 400, "a.b." * 100, "\\frac" * 80],
)  # fmt: skip
def test_hostile_questions_are_searched_to_their_end(text):
    """Texts of maximal length on which the patterns might backtrack; if they do, this test never ends.

    To measure how long it takes: `python -m bench hostile`.
    """
    find_mention(text)
