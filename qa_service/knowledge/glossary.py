"""The glossary: a wrong term, the right one, in both languages; `numstab kb lint` holds every text to it."""

import re
from collections.abc import Iterator
from dataclasses import dataclass

from qa_service.model import LANGS, PARTS, PLACEHOLDER, Entry, Experiment, Lang, Text
from qa_service.patterns import lazy_pattern


@dataclass(frozen=True, slots=True)
class Term:
    """A pattern of wrong wordings, and the term to be written instead."""

    wrong: str
    right: str


GLOSSARY: dict[Lang, tuple[Term, ...]] = {
    "zh": (
        Term("今晚", "怎么做"),
        Term("限度", "适用范围"),
        Term("存不下(?!内存|显存)", "无法精确表示（只有溢出才说存不下）"),
        Term("坏数(?!据)", "非有限值"),
        Term("朴素的", "朴素实现"),
        Term("对数范数|范数对数", "范数的对数"),
        Term("换一?种写法", "重参数化"),
        Term("逻辑斯[蒂谛]?回归|对数几率回归", "逻辑回归"),
        Term("偏斜", "偏态"),
        Term("权重的?规律", "权重的分布"),
        Term("咬人", "在哪里出问题"),
        Term("按位相同|逐?比特相同|一位[都也]?不差", "逐位相同"),
        Term("缩小[^。，；：、]{0,8}倍", "降为原来的…"),
        Term("批量?标准化|批归一化", "批量归一化"),
        Term("运行(?:统计量|均值|方差)|移动平均", "滑动统计量、滑动平均"),
        Term("(?<!把)损失放大", "损失缩放"),
        Term("热身", "预热"),
        Term("海塞|黑塞|Hessian(?! ?-)", "海森矩阵"),
        Term("(?:训练|验证|测试|分类)精度|掉精度|精度大?跌", "准确率"),
    ),
    "en": (
        Term(r"\btonight\b", "what to do"),
        Term(r"\bdecades?\b", "orders of magnitude"),
        Term(r"\bshares?\b(?! ?[=·)]| (?:an?|one|the|their|its|no|with)\b)", "fraction"),  # the noun, not the verb
        Term(r"(?<!power )\blaws?\b(?!=| of large numbers)", "distribution"),
        Term(r"(?<!lag )\bbehind\b(?! (?:the|a) mask)", "after"),
        Term(r"\bin front of\b", "before"),
        Term(r"\bright,? with limits\b", "right, provided …"),
        Term(r"\bwritten differently\b", "reparameterised"),
        Term(r"\btrunks?\b", "residual stream"),
        Term(r"\blearn(?:s|t|ed|ing)? by heart\b", "memorise"),
        Term(r"\bpiecewise-linear\b", "piecewise linear"),
        Term(r"\bputs? out\b", "outputs"),
        Term(r"\b(?:double|two times) (?:the )?He\b", "twice the He scale"),
    ),
}
_QUOTED = lazy_pattern(r"“[^”]*”|「[^」]*」|‘[^’]*’")
_NO_PROSE = lazy_pattern(r"```.*?```|`[^`]*`|\\\(.*?\\\)|\$\$.*?\$\$", re.DOTALL)


def wrong_terms(text: str, lang: Lang) -> Iterator[str]:
    """A sentence for each wrong term of a text; code, formulas, live numbers and quotations are left out."""
    prose = _QUOTED.sub(" ", PLACEHOLDER.sub(" ", _NO_PROSE.sub(" ", text)))
    for term in GLOSSARY[lang]:
        for found in re.finditer(term.wrong, prose, re.IGNORECASE):
            around = " ".join(prose[max(0, found.start() - 20) : found.end() + 20].split())
            yield f"expected {term.right!r}, found {found[0]!r} in {around!r}"


def entry_problems(entry: Entry) -> Iterator[str]:
    """The wrong terms of an entry's texts, except its phrasings, references and the lecture's own words."""
    texts: dict[str, Text] = {
        "question": entry.question,
        **{part: Text(entry.part(part, "zh"), entry.part(part, "en")) for part in PARTS if part != "tell"},
        **{
            f"aspect {one.id}, {name}": text
            for one in entry.aspects
            for name, text in (("question", one.question), ("short", one.short))
        },
        **{f"claim {claim.id}": claim.says for block in entry.evidence for claim in block.claims},
    }
    for nth, row in enumerate(entry.tell, 1):
        texts |= {f"tell {nth}, see": row.see, f"tell {nth}, means": row.means}
    yield from _problems(texts)


def experiment_problems(experiment: Experiment) -> Iterator[str]:
    """The wrong terms of a demo's title, parameters, columns, metrics and words, and of its docstring."""
    texts = {"title": experiment.title, **experiment.words}
    texts |= {name: parameter.title for name, parameter in experiment.params.items()}
    texts |= {name: field.title for name, field in (*experiment.columns.items(), *experiment.metrics.items())}
    yield from _problems(texts)
    yield from (f"docstring: {problem}" for problem in wrong_terms(experiment.doc.partition("Source:")[0], "en"))


def _problems(texts: dict[str, Text]) -> Iterator[str]:
    for where, text in texts.items():
        for lang in LANGS:
            yield from (f"{where}.{lang}: {problem}" for problem in wrong_terms(text[lang], lang))
