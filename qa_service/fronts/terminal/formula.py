"""`numstab formula`: a formula in every float format, its steps, gradient, where it breaks, and stable forms."""

import re
from argparse import ArgumentParser, Namespace
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from qa_service.answering.formula import FormulaStudy
from qa_service.answering.service import Service
from qa_service.errors import BadField
from qa_service.fronts.terminal import options
from qa_service.model import Lang, Text
from qa_service.model.events import EvidenceReady
from qa_service.model.formula import Elements, FormulaRegion, FormulaRequest, FormulaResult
from qa_service.presentation.formula_words import BEYOND_FLOAT64_TEXT, ERROR_MECHANISM_TEXTS, STATUS_TEXTS
from qa_service.presentation.numbers import format_number

if TYPE_CHECKING:
    from qa_service.fronts.terminal.screen import TerminalView

_VARIABLE = re.compile(r"--([^\W\d]\w*)(?:=(.*))?", re.DOTALL)
_WITH_VALUE, _FLAGS = ("--lang", "--dtype"), ("--gradient", "--json", "--no-stable", "-h", "--help")
_WORDS = {
    "format": Text("数据类型", "dtype"), "value": Text("算得", "value"), "ulp": Text("误差（ulp）", "error (ulp)"),
    "status": Text("结果", "status"), "exact": Text("精确值", "exact value"), "at": Text("在", "at"),
    "first": Text("第一个出错的步骤", "the first step that goes wrong"), "steps": Text("步骤", "steps"),
    "gradient": Text("梯度", "gradient"), "breaks": Text("坏掉的输入", "breaks at"),
    "lost": Text("平均丢掉的位数", "bits lost on average"), "stable": Text("稳定的写法", "stable form"),
    "gains": Text("平均多得 {} 位（{}）", "gains {} bits on average ({})"),
    "where": Text("在 {} 到 {} 上", "between {} and {}"), "from_to": Text("{} 到 {}", "{} to {}"),
    "bits": Text("丢掉的位数", "bits lost"), "never": Text("没有找到", "none found"),
    "regions": Text("在哪里失败", "where it fails"), "undefined": Text("那里没有定义", "undefined there"),
    "too_large": Text("结果本身太大", "the result itself is too large"),
    "no_stable": Text("没有找到更稳定的写法。", "No stabler form found."),
}  # fmt: skip


def add_commands(parsers: Any) -> None:
    """Adds the command `formula`; besides its own options it takes any --NAME as a variable: --x 100, --x=-1..1."""
    parser: ArgumentParser = parsers.add_parser(
        "formula",
        help="measure a formula in every float format: values, steps, where it breaks",
        usage="numstab formula EXPRESSION [--NAME VALUE | --NAME=LOW..HIGH]... [--dtype D]... [--gradient] [--json]",
    )
    parser.add_argument("expression", metavar="EXPRESSION", help="such as 'log(1+exp(x))'")
    parser.add_argument(
        "--set", action="append", default=[], metavar="NAME=VALUE", help="a value or range of a variable"
    )
    parser.add_argument("--dtype", action="append", default=[], help="show only this format; repeatable")
    parser.add_argument("--gradient", action="store_true", help="also the gradient, by autograd and exact")
    parser.add_argument("--no-stable", action="store_true", help="do not look for stable forms")
    options.add_lang(parser)
    options.add_json(parser)
    parse = parser.parse_known_args

    def with_variables(args: Any = None, namespace: Any = None) -> Any:
        return parse(list(_split(args or [])), namespace)

    parser.parse_known_args = with_variables  # type: ignore[method-assign]  # argparse must know all names of options
    parser.set_defaults(run_with_service=run_with_service)


def _split(words: Sequence[str]) -> Iterator[str]:
    """The command line with each --NAME VALUE as --set=NAME=VALUE, and the positional arguments after --."""
    rest = []
    pending = iter(words)
    for word in pending:
        name = word.partition("=")[0]
        if name in _FLAGS or (name in _WITH_VALUE and "=" in word):
            yield word
        elif name in (*_WITH_VALUE, "--set"):
            yield from (word, next(pending, ""))
        elif found := _VARIABLE.fullmatch(word):
            value = found[2] if found[2] is not None else next(pending, "")
            yield f"--set={found[1]}={value}"
        elif word != "--":
            rest.append(word)
    yield from ("--", *rest)


def run_with_service(arguments: Namespace, service: Service, lang: Lang) -> int:
    """Measures the formula; returns exit status 0, or 3 if the run failed."""
    study = FormulaStudy.of(_request(arguments))
    *_, last = study.stream(service)
    assert isinstance(last, EvidenceReady)
    result = study.result(last.evidence)
    if arguments.json:
        from qa_service.schemas.formula import formula_json

        options.print_json(formula_json(result, lang).to_dict())
    else:
        from qa_service.fronts.terminal.screen import TerminalView

        FormulaView(TerminalView(lang), lang, result).show()
    return options.EXIT_OK if result.ran else options.EXIT_EXPERIMENT_FAILED


def _request(arguments: Namespace) -> FormulaRequest:
    """The request of the command line; raises `BadField` for a variable without a value."""
    at: dict[str, str] = {}
    over: dict[str, tuple[str, str]] = {}
    for pair in arguments.set:
        name, _, value = pair.partition("=")
        low, dots, high = value.partition("..")
        if not value.strip():
            raise BadField(
                zh=f"--{name} 后面要有一个值或范围", en=f"--{name} needs a value or a range", field=f"--{name}"
            )
        if dots:
            over[name] = low, high
        else:
            at[name] = value
    return FormulaRequest(
        expression=arguments.expression,
        at=at,
        over=over,
        dtypes=tuple(arguments.dtype),
        gradient=arguments.gradient,
        stable=not arguments.no_stable,
    )


class FormulaView:
    """Prints one result of `numstab formula`, part by part."""

    def __init__(self, view: "TerminalView", lang: Lang, result: FormulaResult) -> None:
        self._view, self._lang, self._result = view, lang, result

    def show(self) -> None:
        result = self._result
        place = ", ".join(f"{name} = {self._number(value, 17)}" for name, value in result.at.items())
        self._line(f"{result.expression}" + (f"   {self._word('at')} {place}" if place else ""))
        if not result.ran:
            self._line(f"{result.evidence.run.status.value}: {result.evidence.run.note[self._lang]}")
            return
        exact = BEYOND_FLOAT64_TEXT[self._lang] if result.exceeds_float64 else self._elements(result.exact, 17)
        self._line(f"{self._word('exact')}: {exact}")
        self._view.print_table(
            [self._word(name) for name in ("format", "value", "ulp", "status")],
            [
                (dtype, self._elements(each.value, 17), self._number(each.ulp), STATUS_TEXTS[each.status][self._lang])
                for dtype, each in result.values.items()
            ],
        )
        self._show_steps()
        self._show_gradient()
        if result.over:
            self._show_regions()
            self._view.plot_curves(*self._map())
        self._show_stable()

    def _show_steps(self) -> None:
        """Prints the first wrong step of each format, and all steps in one of these formats; nothing if all are right.

        That is the format in which forms are compared, if it is among them, else the first.
        """
        result = self._result
        if not result.first_wrong:
            return
        dtype = result.dtype if result.dtype in result.first_wrong else next(iter(result.first_wrong))
        by_id = {node.id: node for node in result.nodes}
        for name, number in result.first_wrong.items():
            node = by_id.get(number)
            if node:
                self._line(f"{name}: {node.text} {ERROR_MECHANISM_TEXTS[node.values[name].how][self._lang]}")
        self._line(f"\n{self._word('steps')} ({dtype})")
        rows = [
            (
                "→" if node.id == result.first_wrong[dtype] else "",
                node.text,
                self._elements(node.values[dtype].value, 9),
                self._elements(node.exact, 9),
                STATUS_TEXTS[node.values[dtype].status][self._lang],
            )
            for node in result.nodes
            if node.inputs or node.values[dtype].status != "exact"
        ]
        self._view.print_table(("", *(self._word(name) for name in ("steps", "value", "exact", "status"))), rows)

    def _show_gradient(self) -> None:
        for each in self._result.gradient:
            self._line(
                f"{self._word('gradient')} {each.variable}: {self._word('exact')} {self._number(each.exact, 17)}"
            )
            self._view.print_table(
                [self._word(name) for name in ("format", "value", "ulp", "status")],
                [
                    (
                        dtype,
                        self._elements(value.value, 17),
                        self._number(value.ulp),
                        STATUS_TEXTS[value.status][self._lang],
                    )
                    for dtype, value in each.values.items()
                ],
            )

    def _show_regions(self) -> None:
        result = self._result
        rows = []
        for dtype, at in result.breaks_at.items():
            regions = dict.fromkeys(self._region(each) for each in result.regions if each.dtype == dtype)
            shown = self._word("never") if at is None else self._input(result.breaking.get(dtype, {}))
            rows.append((dtype, shown, self._number(result.bits.get(dtype), 3), "; ".join(regions)))
        self._view.print_table([self._word(name) for name in ("format", "breaks", "lost", "regions")], rows)

    def _input(self, values: Mapping[str, float]) -> str:
        """The values of the variables as text; a single value without its name."""
        numbers = [self._number(value, 9 if len(values) == 1 else 5) for value in values.values()]
        return ", ".join(
            f"{name} = {each}" if len(values) > 1 else each for name, each in zip(values, numbers, strict=True)
        )

    def _region(self, region: FormulaRegion) -> str:
        """The interval and the kind of failure; only the latter if several variables have ranges."""
        span = self._word("from_to").format(self._number(region.low), self._number(region.high))
        span = self._number(region.low) if region.low == region.high else span
        why = {"overflow": self._word("too_large"), "domain": self._word("undefined")}.get(region.how, "")
        words = [STATUS_TEXTS[region.status][self._lang], *([why] if why else [])]
        return f"{span}: {', '.join(words)}" if len(self._result.over) == 1 else ", ".join(words)

    def _map(self) -> tuple[str, str, dict[str, list[tuple[float, float]]]]:
        """(title of x, title of y, format → points) of the lost bits of the formula, without the float8 formats."""
        curves: dict[str, list[tuple[float, float]]] = {}
        for point in self._result.points:
            if point.form == 0 and point.bits is not None and not point.dtype.startswith("float8"):
                curves.setdefault(point.dtype, []).append((point.x, point.bits))
        return next(iter(self._result.over)), self._word("bits"), curves

    def _show_stable(self) -> None:
        result = self._result
        for form in result.stable[:2]:
            self._line(f"{self._word('stable')}: {form.torch}")
            gained = self._word("gains").format(self._number(form.bits_gained, 3), result.dtype)
            spans = (
                self._word("where").format(self._number(w.low, 3), self._number(w.high, 3)) for w in form.where[:3]
            )
            self._line(f"  {gained} {'; '.join(spans)}".rstrip())
        if not result.stable and result.over:
            self._line(self._word("no_stable"))

    def _elements(self, value: Elements, digits: int) -> str:
        if isinstance(value, tuple):
            shown = [self._number(each, digits) for each in value]
            return f"[{', '.join(shown[:8])}{', …' if len(shown) > 8 else ''}]"
        return self._number(value, digits)

    def _number(self, value: float | None, digits: int = 5) -> str:
        """A number with at most `digits` digits; for 17, the shortest that identifies it in float64."""
        if value is None:
            return "–"
        return repr(value) if digits == 17 else format_number(value, self._lang, digits)

    def _word(self, name: str) -> str:
        return _WORDS[name][self._lang]

    def _line(self, text: str) -> None:
        self._view.print_line(text)
