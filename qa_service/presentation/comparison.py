"""Tables of runs that differ in one parameter; the result of a claim over several seeds in words."""

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
    """A table of formatted values: one column for each run; a row is a metric's title and its value in every run."""

    block: str
    title: str
    column_titles: tuple[str, ...]
    rows: tuple[tuple[str, tuple[str, ...]], ...]


def comparison_tables(evidence: Sequence[Evidence], lang: Lang) -> list[ComparisonTable]:
    """One table for each evidence block with at least two finished runs; metrics equal in all its runs are left out."""
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
        column_titles = tuple(format_params(one.compared, lang) for one in runs)
        tables.append(ComparisonTable(block, runs[0].experiment.title[lang], column_titles, tuple(rows)))
    return tables


def _dtype_rows(runs: Sequence[Evidence], lang: Lang) -> list[tuple[str, tuple[str, ...]]]:
    """Rows for runs that differ only in dtype: first overflow, first wrong digit, final error (ulp) of each column."""
    columns, losses = runs[0].experiment.columns, precision_losses(runs)
    key = next(iter(columns.values())).title[lang]
    rows = []
    for column in dict.fromkeys(loss.column for loss in losses):
        by_dtype = {loss.dtype: loss for loss in losses if loss.column == column}
        for title_pattern, attribute in _DTYPE_ROW_TITLES.items():
            values = [getattr(by_dtype.get(str(one.params["dtype"])), attribute, None) for one in runs]
            if any(values):
                title = title_pattern[lang].format(column=columns[column].title[lang], key=key)
                formatted = tuple("" if value is None else format_number(value, lang, 3) for value in values)
                rows.append((title, formatted))
    return rows


def format_params(params: Params, lang: Lang) -> str:
    """Parameters as text, such as "x=0.99, n=365"."""
    return ", ".join(f"{name}={format_number(value, lang)}" for name, value in params.items())


def format_spread(spread: Spread, lang: Lang) -> str:
    """How often a claim held over seeds, and the lowest, median and highest value of its metric."""
    low, middle, high = (format_number(value, lang, 3) for value in (spread.lowest, spread.median, spread.highest))
    share = f"{spread.share:.0%}"
    if lang == "zh":
        return f"{spread.seeds} 个种子里有 {spread.held} 个成立（{share}）；最小 {low}，中位 {middle}，最大 {high}"
    return f"holds for {spread.held} of {spread.seeds} seeds ({share}); lowest {low}, median {middle}, highest {high}"
