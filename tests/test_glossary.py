"""The glossary check: wrong terms are reported with the right ones; code, formulas and quotations may contain them."""

import re

import shipped
from checking import each_case

from qa_service.knowledge.glossary import GLOSSARY, entry_problems, experiment_problems, wrong_terms
from qa_service.model import LANGS


@each_case(
    ("lang", "text", "right"),
    [
        ("zh", "今晚先把学习率调低", "怎么做"),
        ("zh", "梯度缩小了一百倍", "降为原来的…"),
        ("zh", "验证精度只有一半", "准确率"),
        ("zh", "海塞矩阵的最大特征值", "海森矩阵"),
        ("zh", "动态损失放大", "损失缩放"),
        ("en", "tonight, lower the rate", "what to do"),
        ("en", "the share of nan outputs", "fraction"),
        ("en", "two decades below", "orders of magnitude"),
        ("en", "a layer in front of the ReLU", "before"),
        ("en", "weights of the same law", "distribution"),
        ("en", "the sum on the trunk grows", "residual stream"),
    ],
)
def test_a_wrong_term_is_named_with_the_right_one(lang, text, right):
    (problem,) = wrong_terms(text, lang)
    assert right in problem


@each_case(
    ("lang", "text"),
    [
        ("zh", "混合精度训练，损失缩放，准确率，坏数据"),
        ("zh", "网友说“今晚再看”，`Hessian` 和 \\(\\text{Hessian}\\) 不算"),
        ("en", "two layers share one matrix; a power law; the law of large numbers; the averages lag behind"),
        ("en", "they say “the share of nan”, `share = 0.5` and [[run.share|percent]]"),
        ("en", "```python\nshare = 1  # the share of them\n```"),
    ],
)
def test_right_terms_code_and_quotations_are_left_alone(lang, text):
    assert list(wrong_terms(text, lang)) == []


def test_every_pattern_compiles_and_matches_no_right_term():
    """Otherwise the glossary would recommend a term that it reports as wrong."""
    for lang in LANGS:
        for term in GLOSSARY[lang]:
            re.compile(term.wrong)
            assert not re.search(term.wrong, term.right.partition("（")[0], re.IGNORECASE), term


def test_entries_and_demos_keep_to_it():
    """All texts of entries and demos that readers see use the glossary's terms."""
    experiments, library = shipped.EXPERIMENTS, shipped.library()
    problems = [f"{entry.id}: {problem}" for entry in library.values() for problem in entry_problems(entry)]
    problems += [f"{one.slug}: {problem}" for one in experiments.values() for problem in experiment_problems(one)]
    assert problems == []
