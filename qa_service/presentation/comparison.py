"""Runs side by side: of a comparison, which metrics differ and how; over seeds, how often a claim holds."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby

from qa_service.model import Evidence, Lang, Params, RunStatus, Spread, Text
from qa_service.presentation.numbers import format_number
from qa_service.presentation.precision import precision_losses

_DTYPE_ROW_TITLES = {
    Text("{column}：首次溢出（{key}）", "{column}: first overflow ({key})"): "overflow",
    Text("{column}：首次丢掉一位（{key}）", "{column}: first lost digit ({key})"): "first_wrong_digit",
    Text("{column}：最后的误差，以 float64 为准（ulp）", "{column}: error in the end, from float64 (ulp)"): "ulps",
}


@dataclass(frozen=True, slots=True)
class ComparisonTable:
    """A table: `heads` name the runs; each row is a metric's title and its value in every run."""

    block: str
    title: str
    column_titles: tuple[str, ...]
    rows: tuple[tuple[str, tuple[str, ...]], ...]


def comparison_tables(evidence: Sequence[Evidence], lang: Lang) -> list[ComparisonTable]:
    """One table for each block that was run more than once; metrics that are the same in all its runs are left out."""
    tables = []
    for block, group in groupby(evidence, key=lambda one: one.block):
        runs = [one for one in group if one.run.status is RunStatus.RAN]
        if len(runs) < 2:
            continue
        metrics = runs[0].experiment.metrics
        rows = []
        for name in runs[0].run.measured:
            values = tuple(format_number(one.run.measured.get(name), lang) for one in runs)
            if len(set(values)) > 1:
                rows.append((metrics[name].title[lang], values))
        rows += _dtype_rows(runs, lang)
        heads = tuple(format_params(one.compared, lang) for one in runs)
        tables.append(ComparisonTable(block, runs[0].experiment.title[lang], heads, tuple(rows)))
    return tables


def _dtype_rows(runs: Sequence[Evidence], lang: Lang) -> list[tuple[str, tuple[str, ...]]]:
    """Where only the format differs: for each column where it first overflows and loses a digit, and by how much."""
    columns, rungs = runs[0].experiment.columns, precision_losses(runs)
    key = next(iter(columns.values())).title[lang]
    rows = []
    for column in dict.fromkeys(rung.column for rung in rungs):
        found = {rung.dtype: rung for rung in rungs if rung.column == column}
        for words, part in _DTYPE_ROW_TITLES.items():
            values = [getattr(found.get(str(one.params["dtype"])), part, None) for one in runs]
            if any(values):
                title = words[lang].format(column=columns[column].title[lang], key=key)
                digits = tuple("" if value is None else format_number(value, lang, 3) for value in values)
                rows.append((title, digits))
    return rows


def format_params(params: Params, lang: Lang) -> str:
    """Such as x=0.99, n=365."""
    return ", ".join(f"{name}={format_number(value, lang)}" for name, value in params.items())


def format_spread(spread: Spread, lang: Lang) -> str:
    """How often a claim held over seeds, and between which values its metric lay."""
    low, middle, high = (format_number(value, lang, 3) for value in (spread.lowest, spread.median, spread.highest))
    share = f"{spread.share:.0%}"
    if lang == "zh":
        return f"{spread.seeds} 个种子里有 {spread.held} 个成立（{share}）；最小 {low}，中位 {middle}，最大 {high}"
    return f"holds for {spread.held} of {spread.seeds} seeds ({share}); lowest {low}, median {middle}, highest {high}"
