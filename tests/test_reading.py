"""What a question says besides its meaning."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from qa_service.errors import BadRequest, BadText, EmptyQuestion, QuestionTooLong
from qa_service.reading import LONGEST, read


@pytest.mark.parametrize(
    ("question", "params"),
    [
        ("300 个 0.7 连乘会怎样", {"n": 300, "x": 0.7, "op": "multiply"}),
        ("３００个０．７相加", {"n": 300, "x": 0.7, "op": "add"}),
        ("0.7 连乘 300 次", {"n": 300, "x": 0.7, "op": "multiply"}),
        ("multiply 0.7 300 times in half precision", {"n": 300, "x": 0.7, "op": "multiply", "dtype": "float16"}),
        ("how small is 0.7 multiplied 300 times", {"n": 300, "x": 0.7, "op": "multiply"}),
        ("0.7 added to itself 300 times", {"n": 300, "x": 0.7, "op": "add"}),
        ("40 factors of 1.25", {"n": 40, "x": 1.25}),
        ("how big is 1.25^40 in bf16", {"n": 40, "x": 1.25, "dtype": "bfloat16"}),
        ("1.25 的 40 次方", {"n": 40, "x": 1.25}),
        ("学习率设成 3e-4 还是 nan", {"lr": 3e-4}),
        ("loss=nan with lr=2", {"lr": 2.0}),
        ("a 30-layer tanh network", {"layers": 30, "act": "tanh"}),
        ("50 层 relu 用 kaiming 初始化", {"layers": 50, "act": "relu", "init": "kaiming"}),
        ("xavier or kaiming?", {"init": ("xavier", "kaiming")}),
        ("fp16 还是 bf16", {"dtype": ("float16", "bfloat16")}),
        ("width 256, batch size 8", {"width": 256, "batch": 8}),
        ("fit x**3 with 20 hidden units", {"target": "x^3", "hidden": 20}),
        ("what is nan", {}),
    ],
)
def test_parameters_by_their_shared_names(question, params):
    """Numbers and names in either language; a comparison names all its values."""
    assert read(question).params == params


@pytest.mark.parametrize(
    ("question", "lang"),
    [
        ("为什么 loss 变成 nan 了", "zh"), ("why is my loss nan", "en"), ("梯度爆炸", "zh"),
        ("BatchNorm 的 gamma", "en"),
        ("LSTM 為什麼穩定", "zh"), ("what does 爆 mean here", "en"), ("nan?", "en"),
    ],
)  # fmt: skip
def test_language_of_mixed_sentences(question, lang):
    """The sentence's own language, whatever terms are in it; the request's choice wins."""
    assert read(question).lang == lang
    assert read(question, "zh").lang == "zh"


@pytest.mark.parametrize(
    ("question", "error"),
    [
        ("", EmptyQuestion), ("  \n\t　", EmptyQuestion), ("?!。", EmptyQuestion), ("a\0b", BadText),
        ("a\ud800b", BadText),
        ("x" * (LONGEST + 1), QuestionTooLong),
    ],
)  # fmt: skip
def test_no_question_is_said_so(question, error):
    """In both languages, naming the field."""
    with pytest.raises(error) as raised:
        read(question)
    assert raised.value.field == "question"
    assert raised.value["zh"] != raised.value["en"]


def test_long_pastes_are_cut_to_where_people_ask():
    """A log of thousands of lines is matched by its head and tail."""
    reading = read("why is this nan? " + "step 1 loss 0.1\n" * 1000 + "loss: nan")
    assert len(reading.text) < 1000
    assert reading.text.startswith("why is this nan")
    assert reading.text.endswith("loss: nan")


@given(st.text(max_size=300))
def test_any_text_is_read_or_refused(question):
    """Nothing a reader types raises anything but an error meant for him."""
    try:
        reading = read(question)
    except BadRequest:
        return
    assert reading.lang in ("zh", "en")
