r"""How many lines of logs that the reader was not written for are read, with their values.

A file of snippets holds, after the name of its source (`# …`), lines of the form `loss=2.1 lr=1e-4 ||| the line`.
A line is read if every value before the bars stands in the run, at that line; without values, it must give no loss.
`step=` is the step of the line's values; `*NAME=` a value that may have any name in the run; `\\r` is a return.
"""

import math
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from qa_service.diagnosis.reading import read_log_text
from qa_service.model.training_run import TrainingRun

_BARS = " ||| "


class LabelledLine(NamedTuple):
    """A line, and the values that a reader finds in it."""

    text: str
    values: dict[str, float]


class Snippet(NamedTuple):
    """Consecutive lines of one source."""

    source: str
    lines: tuple[LabelledLine, ...]


def read_snippets(path: Path) -> list[Snippet]:
    """The snippets of a file."""
    found: list[tuple[str, list[LabelledLine]]] = []
    for row in path.read_text(encoding="utf-8").splitlines():
        if row.startswith("# "):
            found.append((row[2:], []))
        elif row:
            known, _, text = row.partition(_BARS) if not row.startswith("||| ") else ("", "", row[4:])
            pairs = (each.split("=") for each in known.split())
            text = text.replace("\\r", "\r")
            found[-1][1].append(LabelledLine(text, {key: float(value) for key, value in pairs}))
    return [Snippet(source, tuple(lines)) for source, lines in found]


def unread_lines(snippet: Snippet) -> Iterator[tuple[LabelledLine, str]]:
    """The lines of a snippet that are not read, each with what is missing or too much."""
    run = read_log_text("\n".join(line.text for line in snippet.lines) + "\n")
    for number, line in enumerate(snippet.lines, start=1):
        missing = [key for key, value in line.values.items() if not _has(run, key, value, number)]
        if missing:
            yield line, "missing " + ", ".join(missing)
        elif not line.values and any(point.line == number for point in run.series.get("loss", ())):
            yield line, "a loss that is none"


def _has(run: TrainingRun, key: str, value: float, number: int) -> bool:
    if key == "step":
        return any(point.line == number and point.step == value for points in run.series.values() for point in points)
    if key.startswith("*"):
        return any(_has(run, name, value, number) for name in run.series)
    return any(point.line == number and _same(point.value, value) for point in run.series.get(key, ()))


def _same(read: float, meant: float) -> bool:
    return math.isclose(read, meant, rel_tol=1e-3) or (math.isnan(read) and math.isnan(meant))


def main(*paths: str) -> None:
    """Prints the share of lines that are read, and those that are not."""
    for path in paths:
        snippets = read_snippets(Path(path))
        bad = [(snippet, line, why) for snippet in snippets for line, why in unread_lines(snippet)]
        total = sum(len(snippet.lines) for snippet in snippets)
        print(f"{Path(path).name}: {total - len(bad)} of {total} lines read ({100 * (total - len(bad)) / total:.0f} %)")
        for snippet, line, why in bad:
            print(f"  {snippet.source}: {why}: {line.text[:110]}")
