"""What is read from a question: language, normalised text, parameters, ordinals."""

import cn2an
import pytest
from checking import each_case
from hypothesis import given
from hypothesis import strategies as st

from qa_service.errors import BadRequest, BadText, EmptyQuestion, QuestionTooLong
from qa_service.parsing import MAX_QUESTION_CHARS, normalise, parse_question


@each_case(
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
        ("multiply 1.3 six hundred times", {"n": 600, "x": 1.3, "op": "multiply"}),
        ("sum 0.2 up three thousand times in fp16", {"n": 3000, "x": 0.2, "op": "add", "dtype": "float16"}),
        ("一百二十个一点二连乘", {"n": 120, "x": 1.2, "op": "multiply"}),
        ("把 0.1 累加两万次", {"n": 20000, "x": 0.1, "op": "add"}),
        ("一般来说为什么会溢出", {}),
        ("lr 已经降到 10^-5 了", {"lr": 1e-5}),
        ("lr is already 3 x 10^-4", {"lr": 3e-4}),
        ("loss is nan after 3 epochs, what about the lr", {}),
        ("sequence length 200", {"n": 200}),
        ("第 5 层的输出是 nan", {"layer": 5}),
        ("layer 12 outputs nan", {"layer": 12}),
        ("each of my 30 layers doubles, well, multiplies by 2.5", {"layers": 30, "n": 30, "x": 2.5}),
        ("每层放大 2 倍，一共 50 层", {"layers": 50, "n": 50, "x": 2.0}),
        ("approximate x² on [-1, 3]", {"target": "x^2", "lo": -1.0, "hi": 3.0}),
        ("用 relu 拟合正弦函数，区间 0 到 3", {"act": "relu", "target": "sin", "lo": 0.0, "hi": 3.0}),
        ("He or Xavier for tanh", {"init": ("kaiming", "xavier"), "act": "tanh"}),
        ("normal_(0, 0.02) init with batch=1", {"std": 0.02, "batch": 1}),
        ("clip 1.0 还是爆", {"clip": 1.0}),
        ("what does 0.99 become when multiplied 1000 times", {"n": 1000, "x": 0.99, "op": "multiply"}),
        ("the gradient shrinks over 50 layers", {"layers": 50}),
    ],
)
def test_parameters_are_read_from_both_languages(question, params):
    """Parameters have the names that experiments share; values to compare are a tuple."""
    assert parse_question(question).params == params


@each_case(
    ("question", "lang"),
    [
        ("为什么 loss 变成 nan 了", "zh"), ("why is my loss nan", "en"), ("梯度爆炸", "zh"),
        ("BatchNorm 的 gamma", "zh"), ("float16 呢", "zh"),
        ("loss 是 nan", "zh"), ("batch norm 的 gamma 和 beta", "zh"),
        ("loss nan after I switched to the 昇腾 device", "en"), ("CUDA out of memory in my training loop怎么办", "zh"),
        ("LSTM 為什麼穩定", "zh"), ("what does 爆 mean here", "en"), ("nan?", "en"),
    ],
)  # fmt: skip
def test_language_of_mixed_sentences_is_detected(question, lang):
    """Technical terms do not decide the language, nor does a Chinese word that an English sentence quotes; the language
    of the request takes precedence.
    """
    assert parse_question(question).lang == lang
    assert parse_question(question, "zh").lang == "zh"


@each_case(
    ("question", "error"),
    [
        ("", EmptyQuestion), ("  \n\t　", EmptyQuestion), ("?!。", EmptyQuestion), ("a\0b", BadText),
        ("a\ud800b", BadText),
        ("x" * (MAX_QUESTION_CHARS + 1), QuestionTooLong),
    ],
)  # fmt: skip
def test_empty_or_invalid_questions_are_rejected(question, error):
    """The error names the field, and has a message in each language."""
    with pytest.raises(error) as raised:
        parse_question(question)
    assert raised.value.field == "question"
    assert raised.value["zh"] != raised.value["en"]


@each_case(
    ("variant", "normalised"),
    [
        ("梯度消失怎麼辦，學習率該調多少", "梯度消失怎么办,学习率该调多少"),
        ("ｌｏｓｓ　是　ｎａｎ？", "loss 是 nan?"),
        ("拟合 x²", "拟合 x^2"),
        ("why\n\n  nan", "why nan"),
    ],
)
def test_spelling_variants_are_normalised_alike(variant, normalised):
    """Variants are traditional characters, full-width forms, superscripts and line breaks."""
    assert parse_question(variant).text == parse_question(normalised).text == normalise(normalised) == normalised


def test_a_pasted_log_is_reduced_to_its_distinct_lines():
    """Lines that differ only in numbers count once at each end; the question and the failure stay."""
    log = "\n".join(f"epoch {epoch} step {step} loss {step / 7:.4f}" for epoch in range(6) for step in range(90))
    text = parse_question(
        f"training started\n{log}\nRuntimeWarning: overflow encountered in exp\nwhy does this happen?"
    ).text
    assert "overflow encountered in exp" in text
    assert "why does this happen?" in text
    assert len(text) < 1000


def test_long_pastes_keep_their_beginning_and_end():
    """A log of thousands of lines is matched by its head and tail, where people ask."""
    parsed = parse_question("why is this nan? " + "step 1 loss 0.1\n" * 1000 + "loss: nan")
    assert len(parsed.text) < 1000
    assert parsed.text.startswith("why is this nan")
    assert parsed.text.endswith("loss: nan")


@given(st.text(max_size=300))
def test_any_text_is_parsed_or_rejected(question):
    """No text raises anything but BadRequest."""
    try:
        parsed = parse_question(question)
    except BadRequest:
        return
    assert parsed.lang in ("zh", "en")


_ONES = [
    "zero", "one", "two", "three", "four", "five", "six",
    "seven", "eight", "nine", "ten", "eleven", "twelve", "thirteen",
    "fourteen", "fifteen", "sixteen", "seventeen", "eighteen", "nineteen",
]  # fmt: skip
_TENS = ["twenty", "thirty", "forty", "fifty", "sixty", "seventy", "eighty", "ninety"]


def _in_english(n: int) -> str:
    if n < 20:
        return _ONES[n]
    if n < 100:
        return _TENS[n // 10 - 2] + (f"-{_ONES[n % 10]}" if n % 10 else "")
    if n < 1000:
        return f"{_ONES[n // 100]} hundred" + (f" and {_in_english(n % 100)}" if n % 100 else "")
    return f"{_in_english(n // 1000)} thousand" + (f" {_in_english(n % 1000)}" if n % 1000 else "")


def _in_chinese(n: int) -> str:
    return str(cn2an.an2cn(n, "low"))


@given(st.integers(2, 9999), st.sampled_from(["0.9", "1.5", "-0.5"]))
def test_counts_in_any_notation_are_parsed(n, x):
    """Notations are digits, full-width digits, thousands separators, Chinese numerals and English words."""
    full_width = str(n).translate({ord("0") + digit: 0xFF10 + digit for digit in range(10)})
    for written in (str(n), full_width, f"{n:,}", _in_chinese(n)):
        assert parse_question(f"{written} 个 {x} 连乘").params == {"n": n, "x": float(x), "op": "multiply"}, written
    for written in (str(n), f"{n:,}", _in_english(n)):
        assert parse_question(f"what is the product of {written} factors of {x}").params["n"] == n, written


@given(st.floats(1e-6, 1e6), st.integers(2, 500))
def test_floats_are_parsed_exactly(x, n):
    """They are equal to the last bit, as repr writes them, with an exponent, and negated."""
    for sign, written in ((1, repr(x)), (1, f"{x:.17e}"), (-1, f"-{x!r}"), (-1, f"负 {x!r}")):
        assert parse_question(f"{n} 个 {written} 连乘").params["x"] == sign * x, written
    assert parse_question(f"multiply minus {x!r} {n} times").params["x"] == -x


@given(st.integers(1, 99), st.integers(2, 99), st.integers(2, 500))
def test_fractions_are_parsed(numerator, denominator, n):
    """Fractions are written as 1/3 and as 三分之一."""
    for written in (f"{numerator}/{denominator}", f"{_in_chinese(denominator)}分之{_in_chinese(numerator)}"):
        assert parse_question(f"{written} 连乘 {n} 次").params["x"] == numerator / denominator, written


@each_case(
    ("question", "params"),
    [
        ("1.01 的 365 次方和 0.99 的 365 次方", {"x": (1.01, 0.99), "n": 365}),
        ("0.9 和 1.1 连乘 100 次有什么不同", {"x": (0.9, 1.1), "n": 100, "op": "multiply"}),
        ("multiply 0.9, 1 or 1.1 100 times", {"x": (0.9, 1.0, 1.1), "n": 100, "op": "multiply"}),
        ("100 个 1.5 和 200 个 0.9 连乘", {"n": (100, 200), "x": (1.5, 0.9), "op": "multiply"}),
        ("100 个 1.5 或 0.5 连乘会怎样", {"n": 100, "x": (1.5, 0.5), "op": "multiply"}),
        ("100 个 1.5、0.5 连乘", {"n": 100, "x": (1.5, 0.5), "op": "multiply"}),
        ("100 个 1.5 或者 0.5 相加", {"n": 100, "x": (1.5, 0.5), "op": "add"}),
        ("一百个一点五或零点五连乘", {"n": 100, "x": (1.5, 0.5), "op": "multiply"}),
        ("100 个 1.5、1 和 0.5 连乘", {"n": 100, "x": (1.5, 1.0, 0.5), "op": "multiply"}),
        ("100 或 200 个 1.5 连乘", {"n": (100, 200), "x": 1.5, "op": "multiply"}),
        ("1.5 和 0.5 分别连乘 100 次", {"n": 100, "x": (1.5, 0.5), "op": "multiply"}),
        ("1.5 和 0.5 各 100 个相乘", {"n": 100, "x": (1.5, 0.5), "op": "multiply"}),
        ("the product of 100 factors of 1.5 or 0.5", {"n": 100, "x": (1.5, 0.5), "op": "multiply"}),
        ("multiply 100 1.5s or 0.5s", {"n": 100, "x": (1.5, 0.5), "op": "multiply"}),
        ("1.5 vs 0.5, each multiplied 100 times", {"n": 100, "x": (1.5, 0.5), "op": "multiply"}),
        ("the 100th power of 1.5 and 0.5", {"n": 100, "x": (1.5, 0.5)}),
        ("100个1.5或0.5连乘", {"n": 100, "x": (1.5, 0.5), "op": "multiply"}),
        ("100 个 1.5（或 0.5）连乘", {"n": 100, "x": (1.5, 0.5), "op": "multiply"}),
        ("1.5 或 0.5，连乘 100 次", {"n": 100, "x": (1.5, 0.5), "op": "multiply"}),
        ("100 factors of either 1.5 or of 0.5", {"n": 100, "x": (1.5, 0.5)}),
        (
            "What do 0.99 and 1.01 become when multiplied 1000 times?",
            {"n": 1000, "x": (0.99, 1.01), "op": "multiply"},
        ),
        ("学习率 0.1、0.01、0.001 哪个好", {"lr": (0.1, 0.01, 0.001)}),
        ("a learning rate of 0.1 or 0.01", {"lr": (0.1, 0.01)}),
        ("an MLP of 20 or 50 layers", {"layers": (20, 50)}),
        ("lr 0.1 and 50 layers", {"lr": 0.1, "layers": 50}),
        ("学习率 0.1 和 50 层", {"lr": 0.1, "layers": 50}),
        ("100 factors of 1.5 or 200 factors of 0.5", {"n": (100, 200), "x": (1.5, 0.5)}),
        ("compare 50 layers and 100 layers", {"layers": (50, 100)}),
        ("fit x^2 between 0 and 1", {"lo": 0.0, "hi": 1.0, "target": "x^2"}),
        ("epoch 3/10 loss 0.5", {}),
        ("100 个 1.5 连乘，0.5 呢", {"n": 100, "x": (1.5, 0.5), "op": "multiply"}),
        ("1.5 连乘 100 次会怎样？那换成 0.5 的话呢？", {"n": 100, "x": (1.5, 0.5), "op": "multiply"}),
        ("1.5 连乘 100 次，200 呢？", {"n": (100, 200), "x": 1.5, "op": "multiply"}),
        ("0.9 和 1.1 连乘 100 次，1.5 呢", {"n": 100, "x": (0.9, 1.1, 1.5), "op": "multiply"}),
        ("lr=0.1 diverges, and what about 0.01?", {"lr": (0.1, 0.01)}),
        ("50 layers with lr 0.1, and with 0.01?", {"layers": 50, "lr": (0.1, 0.01)}),
        ("那 0.5 呢？", {}),
        ("学习率 0.01 呢", {"lr": 0.01}),
        ("那 lr=0.1 呢？", {"lr": 0.1}),
        ("lr 0.1. 0.01 呢", {"lr": (0.1, 0.01)}),
        ("lr=0.1,0.01 呢", {"lr": (0.1, 0.01)}),
        ("lr=0.01, batch 32, and nan at step 500", {"lr": 0.01, "batch": 32}),
    ],
)
def test_several_values_make_a_comparison(question, params):
    """Values keep the question's order; intervals, counters and numbers with a name each are no comparison."""
    assert parse_question(question).params == params


@each_case(
    ("reply", "choice"),
    [
        ("第二个", 2), ("我选第3个", 3), ("最后一个", -1), ("2", 2), ("the second one", 2),
        ("I meant the first question.", 1), ("option 3", 3), ("第二层梯度消失", None),
        ("why is the first layer nan", None), ("12", None),
    ],
)  # fmt: skip
def test_ordinals_choose_a_candidate(reply, choice):
    """A reply with an ordinal chooses one only if it says nothing else."""
    assert parse_question(reply).choice == choice


@each_case(
    ("text", "reports_failure"),
    [
        ("降低学习率到 1e-5 还是没用", True), ("换成 relu 也不行", True), ("I lowered the lr, that didn't help", True),
        ("clipping had no effect", True), ("换成 relu 行不行", False), ("为什么裁剪没有用", False),
        ("why does clipping not help", False), ("loss 是 nan", False),
    ],
)  # fmt: skip
def test_reports_of_failed_attempts_are_recognised(text, reports_failure):
    """They belong to the previous question; a sentence that asks is a question by itself."""
    assert parse_question(text).reports_failure is reports_failure


def test_questions_of_a_hundred_kilobytes_are_parsed():
    """A long paste is reduced to a short text."""
    log = "".join(f"[{n}] step {n} grad_norm {n * 0.37:.4f} lr 1e-4\n" for n in range(2800))
    assert len(log) > 100_000
    assert len(parse_question(f"why is my loss nan?\n{log}").text) < 2000
    assert len(parse_question(" ".join(str(n / 7) for n in range(10_000))).text) < 2000


@each_case("question", ["零十一层的网络会怎样", "学习率零亿一", "零十分之一"])
def test_numerals_that_are_no_number_are_words(question):
    """Questions with such words, for which the numeral library raises different errors, are parsed all the same."""
    assert parse_question(question).lang == "zh"


TRACEBACK = """Traceback (most recent call last):
  File "train.py", line 10, in <module>
    loss.backward()
RuntimeError: Function 'LogBackward0' returned nan values in its 0th output."""


@each_case(
    ("question", "conversation", "lang"),
    [
        (TRACEBACK, "zh", "zh"),
        (TRACEBACK, None, "en"),
        ("step 3: the loss is nan at step 4", "zh", "en"),
        ("why does this happen?\n" + TRACEBACK, "zh", "en"),
        ("反向传播报错\n" + TRACEBACK, "en", "zh"),
        ("Epoch 1: loss 2.3\nEpoch 2: loss nan", "zh", "zh"),
    ],
)
def test_a_pasted_traceback_or_log_does_not_change_the_language(question, conversation, lang):
    assert parse_question(question, None, conversation).lang == lang
