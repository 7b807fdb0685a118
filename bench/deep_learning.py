"""Formulas of losses and layers: whether an input that breaks each is found, and a form as good as the known one."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench.running import import_demo
from qa_service.answering.formula import FormulaStudy
from qa_service.formula.grammar import parse_formula
from qa_service.formula.sexpr import to_sexpr
from qa_service.model.formula import FormulaRequest
from qa_service.paths import bundled

_FOLDER = Path(__file__).parent.parent / "tests" / "formula"
_DTYPE = "float32"
_TOLERATED = 1.0
"""Bits that a form may lose more, on average, than the known one."""


@dataclass(frozen=True, slots=True)
class _Measured:
    """The measurements of a formula and of its other forms."""

    breaks_at: float | None
    before: float | None
    ours: float | None
    known: float | None
    form: str

    @property
    def is_stable(self) -> bool:
        """Whether the best form found loses as few bits as the known one, within `_TOLERATED`."""
        return self.ours is not None and self.known is not None and self.ours <= self.known + _TOLERATED


def formulas() -> None:
    """40 formulas of deep learning, and the kinds of operation that break in programs (GRIST 2021), in float32."""
    found: dict[int, list[tuple[bool, bool]]] = {1: [], 2: []}
    for line in _lines("deep_learning.jsonl"):
        measured = _measure(line["expression"], line["values"], line["stable"])
        found[line["part"]].append((measured.breaks_at is not None, measured.is_stable))
        print(
            f"{line['name']:36} breaks at {_shown(measured.breaks_at):>9}  bits {_shown(measured.before):>6} → "
            f"{_shown(measured.ours):>6} (known {_shown(measured.known):>6}) {'✓' if measured.is_stable else '✗'}  "
            f"{measured.form}",
            flush=True,
        )
    for part, results in found.items():
        print(
            f"part {part}: an input that breaks it found for {sum(breaks for breaks, _ in results)} of {len(results)}, "
            f"a stable form for {sum(stable for _, stable in results)} of {len(results)}"
        )
    operations = _lines("operations.jsonl")
    broken = [line for line in operations if _measure(line["expression"], line["values"]).breaks_at is not None]
    missing = [line["operation"] for line in operations if line not in broken]
    print(f"operations: {len(broken)} of {len(operations)} broken{'; not ' + ', '.join(missing) if missing else ''}")


def _lines(name: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (_FOLDER / name).read_text("utf-8").splitlines()]


def _shown(value: float | None) -> str:
    return "–" if value is None else f"{value:.3g}"


def _measure(expression: str, values: str, known: str = "") -> _Measured:
    """Runs the experiment as the service does, with the known form behind those proposed."""
    study = FormulaStudy.of(_request(expression, values))
    params = dict(study.params)
    forms = [line for line in str(params["alternatives"]).splitlines() if line] if known else []
    if known:
        forms.append(to_sexpr(parse_formula(known).tree))
    params["alternatives"] = "\n".join(forms)
    rows, metrics = _run(**params)
    bits = {row["form"]: row["bits"] for row in rows if row["kind"] == "form" and row["dtype"] == _DTYPE}
    ours = [(bits[form], form) for form in range(len(forms)) if bits.get(form) is not None]
    best, which = min(ours, default=(None, 0))
    return _Measured(
        breaks_at=metrics.get(f"breaks_at_{_DTYPE}"),
        before=bits.get(0),
        ours=best,
        known=bits.get(len(forms)),
        form=forms[which - 1] if which else "as written",
    )


def _request(expression: str, values: str) -> FormulaRequest:
    at, over = {}, {}
    for pair in values.split():
        name, _, value = pair.partition("=")
        low, dots, high = value.partition("..")
        if dots:
            over[name] = (low, high)
        else:
            at[name] = value
    return FormulaRequest(expression=expression, at=at, over=over)


def _run(**params: Any) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    demo = import_demo(str(bundled("demos") / "formula" / "formula.py"))
    steps = demo.run(**params)
    rows: list[dict[str, Any]] = []
    while True:
        try:
            rows.append(next(steps))
        except StopIteration as ended:
            return rows, ended.value
