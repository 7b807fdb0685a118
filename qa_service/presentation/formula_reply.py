"""The reply to a question for the value of a formula: its value in the formats asked for, and the cause of its error.

All numbers are read from the rows of the experiment `formula`.
"""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction

from qa_service.errors import BadExpression
from qa_service.formula.dtypes import FLOAT_DTYPES
from qa_service.formula.functions import FUNCTIONS
from qa_service.formula.printing import infix, torch_code
from qa_service.formula.sexpr import from_sexpr
from qa_service.formula.tree import Call, Node, Variable
from qa_service.model import Calculation, Cell, Evidence, Lang, Row, RunStatus, Text
from qa_service.presentation.formula_words import STATUS_TEXTS
from qa_service.presentation.numbers import format_number

DEFAULT_DTYPES = ("float32", "float64")
"""The formats for a question that names none: torch's default, and that of Python and numpy."""
_MAX_DIGITS = {"float64": 17, "float32": 9}
_SHORT_DIGITS, _EXACT_DIGITS = 6, 10
_LARGEST_PLAIN = 10**9
"""Integers below this are written with all their digits."""
_LARGEST = {
    "float64": 1.7976931348623157e308, "float32": 3.4028234663852886e38, "bfloat16": 3.3895313892515355e38,
    "float16": 65504.0, "float8_e4m3fn": 448.0, "float8_e5m2": 57344.0,
}  # fmt: skip
_SMALLEST = {
    "float64": 5e-324, "float32": 2.0**-149, "bfloat16": 2.0**-133, "float16": 2.0**-24, "float8_e4m3fn": 2.0**-9,
    "float8_e5m2": 2.0**-16,
}  # fmt: skip
_SIGNIFICAND_BITS = {
    "float64": 53, "float32": 24, "bfloat16": 8, "float16": 11, "float8_e4m3fn": 4, "float8_e5m2": 3,
}  # fmt: skip
_WAITING = Text("`{}` …", "`{}` …")
_NOT_RUN = Text("`{}` 没有算完：{}", "`{}` was not computed: {}")
_RIGHT = Text("{f} 在 {d} 里正好是 {v}。", "In {d}, {f} is exactly {v}.")
_CORRECT = Text("{f} 在 {d} 里{verb} {v}，舍入正确。", "In {d}, {f} {verb} {v}, correctly rounded.")
_ROUNDED = Text(
    "{f} 在 {d} 里{verb} {v}，与精确值 {e} 差 {u} ulp。", "In {d}, {f} {verb} {v}, {u} ulp from the exact value, {e}."
)
_NEAREST = Text(
    "{f} 在 {d} 里{verb} {v}，这就是离精确值 {e} 最近的数。",
    "In {d}, {f} {verb} {v}, the number nearest to the exact value, {e}.",
)
_WRONG = Text("{f} 在 {d} 里{verb} {v}，精确值是 {e}。", "In {d}, {f} {verb} {v}; the exact value is {e}.")
_UNDEFINED = Text(
    "{f} 在 {d} 里{verb} {v}：它在实数里就没有值。", "In {d}, {f} {verb} {v}: it has no value among the real numbers."
)
_INFINITE = Text(
    "{f} 在 {d} 里{verb} {v}，这是它的极限值，不是舍入造成的。",
    "In {d}, {f} {verb} {v}, its limit; no rounding is to blame.",
)
_BEYOND = Text(
    "{f} 在 {d} 里{verb} {v}，精确值连 float64 也装不下。",
    "In {d}, {f} {verb} {v}; the exact value is beyond float64 as well.",
)
_IN_TWO = Text(
    "{f} 在 float32 里得 {v}，在 float64 里得 {w}；精确值是 {e}。",
    "{f} is {v} in float32 and {w} in float64; the exact value is {e}.",
)
_BOTH = Text("float32 和 float64", "float32 and float64 alike")
_GIVES, _IS_STORED = Text("得", "gives"), Text("存成", "is stored as")
_OTHER = Text("{} 得 {}", "{} gives {}")
_CAUSES: Mapping[str, tuple[Text, Text]] = {
    "overflow": (
        Text("这超过了 {d} 的最大值 {largest}，所以溢出。", "That is beyond the largest number of {d}, {largest}."),
        Text(
            "错在 `{s}` 这一步：它等于 {x}，超过了 {d} 的最大值 {largest}。",
            "The step that fails is `{s}`: it is {x}, beyond the largest number of {d}, {largest}.",
        ),
    ),
    "underflow": (
        Text(
            "这太小：{d} 的最小正数是 {smallest}，它被存成 {sv}。",
            "That is too small: the smallest positive number of {d} is {smallest}, and it is stored as {sv}.",
        ),
        Text(
            "错在 `{s}` 这一步：它等于 {x}，而 {d} 的最小正数是 {smallest}，于是存成了 {sv}。",
            "The step that fails is `{s}`: it is {x}, the smallest positive number of {d} is {smallest}, and so it is "
            "stored as {sv}.",
        ),
    ),
    "absorbed": (
        Text(
            "{d} 在这里的相邻两数相隔 {gap}，较小的那个加数被吞掉了。",
            "The numbers of {d} are {gap} apart here, and the smaller addend is absorbed.",
        ),
        Text(
            "错在 `{s}` 这一步：{d} 在那里的相邻两数相隔 {gap}，较小的加数被吞掉，结果是 {sv}。",
            "The step that fails is `{s}`: the numbers of {d} are {gap} apart there, the smaller addend is absorbed, "
            "and the result is {sv}.",
        ),
    ),
    "cancellation": (
        Text(
            "两个相近的数相减，前面的数位抵消了，剩下的是此前的舍入误差。",
            "Two close numbers are subtracted: their leading digits cancel and earlier rounding errors remain.",
        ),
        Text(
            "错在 `{s}` 这一步：相近的数相减，前面的数位抵消，得到 {sv}，本应是 {x}。",
            "The step that fails is `{s}`: numbers that are close are subtracted, their leading digits cancel, and "
            "{sv} remains where it should be {x}.",
        ),
    ),
    "amplification": (
        Text("自变量里的舍入误差在这里被放大了。", "The rounding error of the argument is amplified here."),
        Text(
            "错在 `{s}` 这一步：它把自变量里的舍入误差放大，得到 {sv}，本应是 {x}。",
            "The step that fails is `{s}`: it amplifies the rounding error of its argument and gives {sv} instead "
            "of {x}.",
        ),
    ),
    "pole": (
        Text("那里是极点。", "There is a pole there."),
        Text("`{s}` 这一步得 {sv}。", "The step `{s}` gives {sv}."),
    ),
    "domain": (
        Text("那里没有定义。", "It is not defined there."),
        Text("`{s}` 这一步没有定义，得 nan。", "The step `{s}` is not defined and gives nan."),
    ),
}
"""Fault (`how`) → its sentence if the formula itself has it, and if a step within it has it."""
_DERIVATIVE = Text("{f} 在 {at} 处的导数", "the derivative of {f} at {at}")
_GRADIENT_RIGHT = Text(
    "{name}，autograd 在 {d} 里给出 {v}，与精确值一致。", "In {d}, autograd gives {v} for {name}, as it should be."
)
_GRADIENT_WRONG = Text(
    "{name}，autograd 在 {d} 里给出 {v}，精确值是 {e}。",
    "In {d}, autograd gives {v} for {name}; the exact value is {e}.",
)
_GRADIENT_NONE = Text(
    "{name}不存在，autograd 在 {d} 里给出 {v}。", "In {d}, autograd gives {v} for {name}, which does not exist."
)
_UNTAKEN_BRANCH = Text(
    "前向的值没有问题（{v}），nan 只出现在反向传播里：没有选中的分支也参与求导，0 乘无穷大就是 nan。",
    "The value itself is fine ({v}); nan appears in the backward pass only, where a branch that is not taken is "
    "differentiated too, and 0 times infinity is nan.",
)
_BREAKS = Text("{f} 在 {d} 里{where}{what}{more}。", "In {d}, {f} {what} {where}{more}.")
_BREAKS_WORDS = {
    "overflow": Text("溢出", "overflows"),
    "nan": Text("得 nan", "is nan"),
    "underflow": Text("下溢", "underflows"),
    "cancelled": Text("丢掉一半以上的数位", "loses half of its digits or more"),
}
_MORE_BREAKS = Text("，{where}{what}", ", and {what} {where}")
_BETWEEN = Text("从 {v} = {low} 到 {high} ", "from {v} = {low} to {high}")
_FROM = Text("从 {v} = {low} 起", "from {v} = {low} on")
_UP_TO = Text("到 {v} = {high} 为止", "up to {v} = {high}")
_EVERYWHERE = Text("处处", "everywhere")
_HOLDS = Text("{f} 在 {d} 里从 {v} = {low} 到 {high} 都没有问题。", "In {d}, {f} holds from {v} = {low} to {high}.")
_WITHIN = Text("{v} 从 {low} 到 {high}", "{v} from {low} to {high}")
_NOT_BROKEN = Text(
    "在 {ranges} 的范围里，没有找到让 {f} 在 {d} 里出错的输入。",
    "With {ranges}, no input was found that breaks {f} in {d}.",
)
_BETTER = Text(
    "写成 `{code}` 更稳：在这个范围里平均少丢 {bits} 位。",
    "`{code}` is stabler: over this range it loses {bits} bits fewer on average.",
)


@dataclass(frozen=True, slots=True)
class ValueInFormat:
    """A formula in one format, as texts: its value, the exact value, the error in ulp, and the status."""

    dtype: str
    value: str
    exact: str
    ulps: str
    status: str
    """One of exact, rounded, overflow, underflow, cancelled and nan."""
    outcome: str
    """The status in words."""


def formula_reply(calculation: Calculation, evidence: Sequence[Evidence], lang: Lang) -> str:
    """The reply as Markdown, a paragraph for each formula; "…" for one that is not measured yet."""
    return "\n\n".join(
        _paragraph(formula, calculation, evidence[index], lang)
        if index < len(evidence)
        else _WAITING[lang].format(formula)
        for index, formula in enumerate(calculation.formulas)
    )


def values_by_format(evidence: Evidence, lang: Lang) -> list[ValueInFormat]:
    """The formula in every format, from the widest to the narrowest."""
    found = []
    for dtype in FLOAT_DTYPES:
        steps = _steps(evidence, dtype)
        if steps:
            last = steps[-1]
            ulps = last.get("ulps")
            found.append(
                ValueInFormat(
                    dtype=dtype,
                    value=_value_text(last.get("value"), dtype, lang),
                    exact=_exact_text(last.get("exact"), lang),
                    ulps=format_number(ulps, lang, 3) if isinstance(ulps, int | float) else "",
                    status=str(last.get("status", "")),
                    outcome=STATUS_TEXTS.get(str(last.get("status")), STATUS_TEXTS["rounded"])[lang],
                )
            )
    return found


def _paragraph(formula: str, calculation: Calculation, evidence: Evidence, lang: Lang) -> str:
    if evidence.run.status is not RunStatus.RAN:
        return _NOT_RUN[lang].format(formula, evidence.run.note[lang])
    if calculation.over:
        sentences = list(_range_sentences(formula, calculation, evidence, lang))
    elif calculation.gradient:
        sentences = list(_gradient_sentences(formula, calculation, evidence, lang))
    else:
        sentences = list(_value_sentences(formula, calculation, evidence, lang))
    return ("" if lang == "zh" else " ").join(sentences).replace("） 在", "）在")


def _steps(evidence: Evidence, dtype: str) -> list[Row]:
    """The rows of the steps in a format, in the order of computation; the last is the formula itself."""
    return [row for row in evidence.run.rows if row.get("kind") == "node" and row.get("dtype") == dtype]


# Values


def _value_sentences(formula: str, calculation: Calculation, evidence: Evidence, lang: Lang) -> Iterator[str]:
    """The sentences on the value in the formats asked for, and the cause of its error; without an error, on the values
    in half precision.
    """
    written = _with_values(formula, calculation, lang)
    dtypes = calculation.dtypes or DEFAULT_DTYPES
    found = {dtype: steps for dtype in dtypes if (steps := _steps(evidence, dtype))}
    if calculation.dtypes:
        yield from (_value_sentence(written, steps, dtype, dtype, lang) for dtype, steps in found.items())
    else:
        yield _common_sentence(written, found, lang)
    causes = (_cause(steps, dtype, lang) for dtype, steps in found.items())
    explained = next(filter(None, causes), "")
    if explained:
        yield explained
    elif not calculation.dtypes:
        yield from _narrower_formats(evidence, lang)


def _common_sentence(written: str, found: Mapping[str, list[Row]], lang: Lang) -> str:
    """One sentence for float32 and float64 together, for a question that names no format."""
    both = _BOTH[lang]
    sentences = {_value_sentence(written, steps, dtype, both, lang) for dtype, steps in found.items()}
    if len(sentences) == 1:
        return sentences.pop()
    values = [_value_text(steps[-1].get("value"), dtype, lang) for dtype, steps in found.items()]
    exact = [_exact_text(steps[-1].get("exact"), lang) for steps in found.values()]
    return _IN_TWO[lang].format(f=written, v=values[0], w=values[-1], e=exact[0])


def _value_sentence(written: str, steps: Sequence[Row], dtype: str, where: str, lang: Lang) -> str:
    """The sentence about the value in a format, which it calls `where`."""
    last = steps[-1]
    value, exact, ulps = (last.get(name) for name in ("value", "exact", "ulps"))
    shown, true = _value_text(value, dtype, lang), _exact_text(exact, lang)
    return _template(last, shown == true)[lang].format(
        f=written,
        d=where,
        v=shown,
        e=true,
        u=format_number(ulps, lang, 2) if isinstance(ulps, int | float) else "",
        verb=(_IS_STORED if len(steps) == 1 else _GIVES)[lang],
    )


def _template(last: Row, looks_exact: bool) -> Text:
    """The sentence for a result; `looks_exact` if the value and the exact one are written the same."""
    if last.get("status") == "exact":
        return _RIGHT
    if _is_nan(last.get("exact")):
        return _UNDEFINED
    if _is_inf(last.get("exact")):
        return _INFINITE if last.get("how") == "pole" else _BEYOND
    ulps = last.get("ulps")
    if last.get("status") != "rounded" or not isinstance(ulps, int | float) or last.get("how") == "absorbed":
        return _WRONG
    if ulps > 0.5:
        return _ROUNDED
    return _CORRECT if looks_exact else _NEAREST


def _with_values(formula: str, calculation: Calculation, lang: Lang) -> str:
    """The formula with the values of its variables: `log(x)` at x = 3."""
    at = _values(calculation, lang)
    return f"`{formula}`" + ((f"（{at}）" if lang == "zh" else f" at {at}") if at else "")


def _values(calculation: Calculation, lang: Lang) -> str:
    separator = "，" if lang == "zh" else ", "
    return separator.join(f"{name} = {value}" for name, value in calculation.at.items()).replace("-", "−")


def _cause(steps: Sequence[Row], dtype: str, lang: Lang) -> str:
    """The sentence about the first wrong step; "" if no step is wrong, or the sentence before has said it."""
    is_absorbed = steps[-1].get("how") == "absorbed"
    first = next((row for row in steps if row.get("first")), steps[-1] if is_absorbed else None)
    if first is None:
        return ""
    is_whole = first is steps[-1]
    how = str(first.get("how", ""))
    if how not in _CAUSES or (is_whole and how in ("pole", "domain")):
        return ""
    step = _step_text(steps, first)
    return _CAUSES[how][0 if is_whole else 1][lang].format(
        d=dtype,
        s=step,
        x=_exact_text(first.get("exact"), lang, 3),
        sv=_value_text(first.get("value"), dtype, lang),
        largest=format_number(_LARGEST[dtype], lang, 3 if dtype in ("float64", "float32", "bfloat16") else 5),
        smallest=format_number(_SMALLEST[dtype], lang, 3),
        gap=_spacing(first.get("exact"), dtype, lang),
    )


def _spacing(value: Cell, dtype: str, lang: Lang) -> str:
    """The distance between neighbouring numbers of a format at a value."""
    size = abs(float(value)) if isinstance(value, int | float) and math.isfinite(value) else 0.0
    exponent = math.frexp(size)[1] if size else 0
    return format_number(math.ldexp(1.0, exponent - _SIGNIFICAND_BITS[dtype]), lang, 3)


def _narrower_formats(evidence: Evidence, lang: Lang) -> Iterator[str]:
    """The values in bfloat16 and float16, if they differ from float32's, for a question that names no format."""
    values = {
        dtype: _value_text(steps[-1].get("value"), dtype, lang)
        for dtype in ("float32", "bfloat16", "float16")
        if (steps := _steps(evidence, dtype))
    }
    wide = values.pop("float32", "")
    parts = [_OTHER[lang].format(dtype, value) for dtype, value in values.items() if value != wide]
    if parts:
        yield ("，" if lang == "zh" else ", ").join(parts) + ("。" if lang == "zh" else ".")


def _step_text(steps: Sequence[Row], step: Row) -> str:
    """A step as a formula, rebuilt from the operations that lead to it."""
    trees: dict[str, Node] = {}
    for row in steps:
        inputs = [trees[name] for name in str(row.get("inputs", "")).split() if name in trees]
        trees[str(row.get("node"))] = _node(str(row.get("operation")), inputs)
        if row is step:
            break
    return infix(trees[str(step.get("node"))])


def _node(operation: str, inputs: Sequence[Node]) -> Node:
    """The tree of an operation: a function with its inputs, a number, or a variable."""
    if operation in FUNCTIONS:
        return Call(operation, tuple(inputs))
    try:
        return from_sexpr(operation)
    except BadExpression:
        return Variable(operation)


# Gradients


def _gradient_sentences(formula: str, calculation: Calculation, evidence: Evidence, lang: Lang) -> Iterator[str]:
    """The derivative with respect to each variable in the formats asked for, and the cause of its error."""
    rows = [row for row in evidence.run.rows if row.get("kind") == "gradient"]
    for dtype in calculation.dtypes or DEFAULT_DTYPES[:1]:
        for row in rows:
            if row.get("dtype") != dtype:
                continue
            name = _DERIVATIVE[lang].format(f=f"`{formula}`", at=_values(calculation, lang))
            if len(calculation.at) > 1:
                name += f"（对 {row.get('operation')}）" if lang == "zh" else f" by {row.get('operation')}"
            exists = not _is_nan(row.get("exact"))
            right = row.get("status") in ("exact", "rounded")
            template = _GRADIENT_RIGHT if right else _GRADIENT_WRONG if exists else _GRADIENT_NONE
            yield template[lang].format(
                name=name,
                d=dtype,
                v=_value_text(row.get("value"), dtype, lang),
                e=_exact_text(row.get("exact"), lang),
            )
            if not right:
                yield from _cause_of_gradient(row, _steps(evidence, dtype), dtype, lang)


def _cause_of_gradient(row: Row, steps: Sequence[Row], dtype: str, lang: Lang) -> Iterator[str]:
    """The cause of a wrong derivative: a branch that is not taken, or a step of the formula itself."""
    if not steps:
        return
    value = steps[-1].get("value")
    branches = any(step.get("operation") == "where" for step in steps)
    if branches and _is_nan(row.get("value")) and not _is_nan(value) and not _is_inf(value):
        yield _UNTAKEN_BRANCH[lang].format(v=_value_text(value, dtype, lang))
    elif cause := _cause(steps, dtype, lang):
        yield cause


# Ranges


def _range_sentences(formula: str, calculation: Calculation, evidence: Evidence, lang: Lang) -> Iterator[str]:
    """The sentences on where the formula breaks in the formats asked for, and on a form that loses fewer bits."""
    written = f"`{formula}`"
    if len(calculation.over) > 1:
        yield from _breaking_input(written, calculation, evidence, lang)
        yield from _better_form(evidence, (*calculation.dtypes, *DEFAULT_DTYPES)[0], lang)
        return
    name, ends = next(iter(calculation.over.items()))
    for dtype in calculation.dtypes or DEFAULT_DTYPES[:1]:
        regions = [
            {"where": _region_text(row, name, ends, lang), "what": _BREAKS_WORDS[str(row.get("status"))][lang]}
            for row in evidence.run.rows
            if row.get("kind") == "region"
            and row.get("dtype") == dtype
            and not row.get("form")
            and row.get("status") in _BREAKS_WORDS
        ]
        if not regions:
            yield _HOLDS[lang].format(f=written, d=dtype, v=name, low=ends[0], high=ends[1]).replace("-", "−")
            continue
        more = "".join(_MORE_BREAKS[lang].format(**region) for region in regions[1:2])
        yield _BREAKS[lang].format(f=written, d=dtype, more=more, **regions[0])
    yield from _better_form(evidence, (*calculation.dtypes, *DEFAULT_DTYPES)[0], lang)


def _breaking_input(written: str, calculation: Calculation, evidence: Evidence, lang: Lang) -> Iterator[str]:
    """The sentences for a formula of several variables: its value at an input that breaks it, and the cause."""
    dtype = (*calculation.dtypes, *DEFAULT_DTYPES)[0]
    rows = [row for row in evidence.run.rows if row.get("kind") == "break" and row.get("dtype") == dtype]
    steps = _steps(evidence, dtype)
    if not rows or not steps:
        ranges = (_WITHIN[lang].format(v=name, low=low, high=high) for name, (low, high) in calculation.over.items())
        text = _NOT_BROKEN[lang].format(f=written, d=dtype, ranges=("，" if lang == "zh" else ", ").join(ranges))
        yield text.replace("-", "−")
        return
    at = {str(row.get("operation")): _value_text(row.get("value"), dtype, lang) for row in rows}
    yield _value_sentence(
        _with_values(written.strip("`"), replace(calculation, at=at), lang), steps, dtype, dtype, lang
    )
    if cause := _cause(steps, dtype, lang):
        yield cause


def _region_text(region: Row, name: str, ends: tuple[str, str], lang: Lang) -> str:
    """A part of the range in words: from … on, up to …, or from … to …."""
    low, high = region.get("low"), region.get("high")
    at_start = isinstance(low, int | float) and low <= float(Fraction(ends[0]))
    at_end = isinstance(high, int | float) and high >= float(Fraction(ends[1]))
    template = _EVERYWHERE if at_start and at_end else _FROM if at_end else _UP_TO if at_start else _BETWEEN
    return template[lang].format(v=name, low=_exact_text(low, lang, 3), high=_exact_text(high, lang, 3))


def _better_form(evidence: Evidence, dtype: str, lang: Lang) -> Iterator[str]:
    """The alternative that loses the fewest bits, if it gains more than half a bit on average."""
    lost = {
        int(row["form"] or 0): float(row["bits"] or 0)
        for row in evidence.run.rows
        if row.get("kind") == "form" and row.get("dtype") == dtype and isinstance(row.get("form"), int)
    }
    forms = str(evidence.params.get("alternatives", "")).splitlines()
    if 0 not in lost or len(lost) < 2 or not forms:
        return
    best = min((index for index in lost if index), key=lambda index: lost[index])
    gained = lost[0] - lost[best]
    if gained > 0.5 and best <= len(forms):
        code = torch_code(from_sexpr(forms[best - 1]))
        yield _BETTER[lang].format(code=code, bits=format_number(gained, lang, 2))


# Numbers


def _value_text(value: Cell, dtype: str, lang: Lang) -> str:
    """A value with as many digits as distinguish it from its neighbours in the format; a vector element by element."""
    if isinstance(value, str):
        return _vector_text(value, lambda number: _value_text(number, dtype, lang))
    if not isinstance(value, int | float):
        return ""
    return _shortest(float(value), _MAX_DIGITS.get(dtype, _SHORT_DIGITS), lang)


def _exact_text(value: Cell, lang: Lang, digits: int = _EXACT_DIGITS) -> str:
    if isinstance(value, str):
        return _vector_text(value, lambda number: _exact_text(number, lang, digits))
    if not isinstance(value, int | float):
        return "?"
    return _shortest(float(value), digits, lang)


def _vector_text(elements: str, text: Callable[[float], str]) -> str:
    """A vector, given as the rows hold it ("[1.0, nan]"), with each element formatted by `text`."""
    return f"[{', '.join(text(float(each)) for each in elements.strip('[]').split(',') if each.strip())}]"


def _shortest(value: float, digits: int, lang: Lang) -> str:
    """The shortest decimal that equals the number, of at most `digits` digits; with the minus sign −."""
    if value.is_integer() and abs(value) < _LARGEST_PLAIN:
        text = "-0" if value == 0 and math.copysign(1, value) < 0 else str(int(value))
    else:
        exact = (each for each in range(1, digits) if float(f"{value:.{each}g}") == value)
        text = format_number(value, lang, next(exact, digits))
    return text.replace("-", "−")


def _is_nan(value: Cell) -> bool:
    return isinstance(value, float) and math.isnan(value)


def _is_inf(value: Cell) -> bool:
    return isinstance(value, float) and math.isinf(value)
