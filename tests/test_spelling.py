"""Correction of misspelt technical terms in a question."""

import pytest
from checking import each_case

from qa_service.model import Request
from qa_service.parsing import parse_question
from qa_service.parsing.spelling import correct_spelling


@each_case(
    ("text", "meant"),
    [
        ("xaiver 初始化和 kaming 初始化有什么区别", "xavier 初始化和 kaiming 初始化有什么区别"),
        ("why does bacth norm allow a larger learing rate", "why does batch norm allow a larger learning rate"),
        ("批归一划为什么有用", "批归一化为什么有用"),
        ("梯度暴炸", "梯度爆炸"),
        ("Graident and sofmax", "gradient and softmax"),
    ],
)
def test_a_term_with_one_wrong_letter_is_read_as_the_term(text, meant):
    assert correct_spelling(text)[0] == meant


@each_case(
    "text",
    ["later match patch", "gradients learned learnings", "explore the scheduler", "层归一化 正向传播 反向传播",
     "批归一的时候", "grad_norm=0.1 model.gradent_x", "my optimizer is optimized", "x" * 500 + " sofmax"],
)  # fmt: skip
def test_other_words_and_names_are_left_alone(text):
    assert correct_spelling(text) == (text, {})


def test_parameters_are_read_from_the_corrected_text():
    assert parse_question("xaiver 和 kaming 哪个好").params == {"init": ("xavier", "kaiming")}


@pytest.mark.parametrize("question", ["xaiver 初始化和 kaming 初始化有什么区别", "is xaiver or kaming better?"])
def test_the_answer_says_what_was_corrected(service, question):
    answer = service.ask(Request(question=question, run=False))
    assert answer.entry.item in (11, 12)
    assert any("xavier" in note.en and "xaiver" in note.zh for note in answer.notes)
