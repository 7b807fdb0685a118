"""The events of the page's streams: those of the API with HTML fragments and formatted numbers added."""

from collections.abc import Mapping

from qa_service.schemas.answers import AnswerJson
from qa_service.schemas.events import RowJson, StartedJson
from qa_service.schemas.evidence import EvidenceJson, MetricJson
from qa_service.schemas.values import JsonObject


class PageAnswer(AnswerJson):
    """`html` is the whole turn of the conversation, `log` a one-line description of a pasted log or ""."""

    log: str
    html: str


class PageStarted(StartedJson):
    """`html` is the evidence card with an empty chart. `alone` is true if the run belongs to no block of the entry,
    `hero` if it is the proof of the short answer.
    """

    alone: bool
    hero: bool
    html: str
    chart: JsonObject
    columns: dict[str, str]
    words: dict[str, str]


class PageRow(RowJson):
    """`shown` maps each column to its cell as formatted text."""

    shown: dict[str, str]


class PageMetric(MetricJson):
    """`shown` is the value as formatted text."""

    shown: str


class PageEvidence(EvidenceJson):
    """`html` is the evidence card, `shown` maps placeholders of the entry's text to formatted numbers.

    `outcome_html` is the line with the verdicts on the short answer, "" unless this run is its proof.
    """

    metrics: Mapping[str, PageMetric]
    html: str
    outcome_html: str
    shown: dict[str, str]


class PageDone(AnswerJson):
    """`parts_html` maps each part to its HTML with numbers; `comparison_html` has the tables of comparisons, or ""."""

    parts_html: dict[str, str]
    comparison_html: str
