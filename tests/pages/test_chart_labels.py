"""Labels of the charts that prove entries, as the page draws them: none covers another one, and none is cut off."""

from collections.abc import Callable, Iterator

import pytest
from browsing import wait_until_complete
from playwright.sync_api import Page

from qa_service.answering.service import Service
from qa_service.experiments.parameters import fill_defaults
from qa_service.model import Entry, Evidence, EvidenceBlock, Lang, RunStatus
from qa_service.presentation import chart

PROBLEMS = """
async (spec) => {
  const { drawChart } = await import("/static/chart.js");
  const place = document.querySelector("[data-part=hero] [data-part=chart]");
  await drawChart(place, spec);
  const svg = place.querySelector("svg")?.getBoundingClientRect();
  if (!svg) return ["it is not drawn"];
  const labels = [...place.querySelectorAll(".mark-text.role-mark text")]
    .filter((text) => getComputedStyle(text).opacity !== "0")
    .map((text) => ({ words: text.textContent, box: text.getBoundingClientRect() }))
    .filter(({ box }) => box.width);
  const shared = (a, b, from, to) => Math.min(a.box[to], b.box[to]) - Math.max(a.box[from], b.box[from]); // pixels
  const isOver = (a, b) => shared(a, b, "left", "right") > 1 && shared(a, b, "top", "bottom") > 3;
  const isCut = ({ box }) => box.left < svg.left - 1 || box.right > svg.right + 1 || box.bottom > svg.bottom + 1;
  const pairs = labels.flatMap((one, at) => labels.slice(0, at).map((other) => [one, other]));
  return [
    ...pairs.filter(([one, other]) => isOver(one, other)).map(([one, other]) => `${one.words} over ${other.words}`),
    ...labels.filter(isCut).map(({ words }) => `${words} is cut off`),
  ];
}
"""
ONE_IN = 24
"""Of the entries, in `make test`."""


def test_labels_of_some_proofs_do_not_overlap(visit: Callable[..., Page], service: Service, lang: Lang) -> None:
    assert problems(visit, service, lang, list(service.knowledge.library.values())[::ONE_IN]) == {}


@pytest.mark.exhaustive
@pytest.mark.timeout(3600)
def test_labels_of_all_proofs_do_not_overlap(visit: Callable[..., Page], service: Service, lang: Lang) -> None:
    assert problems(visit, service, lang, list(service.knowledge.library.values())) == {}


@pytest.mark.exhaustive
@pytest.mark.timeout(3600)
def test_the_series_that_an_entry_puts_forward_are_in_its_chart(service: Service) -> None:
    """Every series that an entry selects occurs by this name in the rows; otherwise its chart would lack the series."""
    missing = {}
    for entry in service.knowledge.library.values():
        for block in entry.evidence:
            field = (
                service.knowledge.experiments[block.experiment].chart.get("encoding", {}).get("color", {}).get("field")
            )
            evidence = measured(service, entry, block) if block.series and field else None
            found = {str(row[field]) for row in evidence.run.rows if field in row} if evidence else set()
            if found and not found.issuperset(block.series):
                missing[f"{entry.id}.{block.id}"] = sorted({*block.series} - found)
    assert missing == {}


@pytest.mark.exhaustive
@pytest.mark.timeout(3600)
def test_no_line_needs_a_legend(service: Service) -> None:
    """An entry selects series wherever its experiment has more than the three that a chart can label."""
    many = {}
    for entry in service.knowledge.library.values():
        for block in entry.evidence:
            axes = chart.chart_axes(service.knowledge.experiments[block.experiment])
            if axes is None or block.series:
                continue
            _, fields, field, _ = axes
            rows = measured(service, entry, block).run.rows if field else []
            names = {str(row[field]) for row in rows if field in row} if field else set(fields)
            if len(names) > chart.MAX_LABELLED:
                many[f"{entry.id}.{block.id}"] = sorted(names)
    assert many == {}


def problems(visit: Callable[..., Page], service: Service, lang: Lang, entries: list[Entry]) -> dict[str, list[str]]:
    """The problems with labels of each chart, by "entry.block", for charts that have any."""
    page = visit(f"/e/multiply-vs-add?lang={lang}")
    page.locator("[data-part=hero] [data-part=chart] svg").wait_for()
    wait_until_complete(page)
    found = {proof: page.evaluate(PROBLEMS, spec) for proof, spec in first_charts(service, lang, entries)}
    return {proof: labels for proof, labels in found.items() if labels}


def first_charts(service: Service, lang: Lang, entries: list[Entry]) -> Iterator[tuple[str, dict[str, object]]]:
    """("entry.block", its chart at its own parameters) of each block that an entry or an aspect of it shows first."""
    for entry in entries:
        aspects = (entry, *(entry.focused_on(each.id) for each in entry.aspects))
        for block in {each.evidence[0].id: each.evidence[0] for each in aspects}.values():
            evidence = measured(service, entry, block)
            if evidence.run.status is RunStatus.RAN and evidence.run.rows:
                yield f"{entry.id}.{block.id}", chart.evidence_spec(evidence, lang)


def measured(service: Service, entry: Entry, block: EvidenceBlock) -> Evidence:
    """A block's experiment at its own parameters with seed 0."""
    experiment = service.knowledge.experiments[block.experiment]
    params = fill_defaults(experiment, block.params)
    run = service.runner.run(experiment, params, 0)
    return Evidence(
        block=block.id, experiment=experiment, params=params, seed=0, run=run, entry=entry.id,
        series=block.series, mark=block.mark,
    )  # fmt: skip
