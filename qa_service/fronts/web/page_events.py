"""The events that the page's scripts read: the API's, with the fragments of the page that they fill."""

from collections.abc import Mapping

from qa_service.schemas.answers import AnswerJson
from qa_service.schemas.events import RowJson, StartedJson
from qa_service.schemas.evidence import EvidenceJson, MetricJson
from qa_service.schemas.values import JsonObject


class PageAnswer(AnswerJson):
    """`html` is the turn of the conversation, `answer_html` the text in it."""

    answer_html: str
    html: str


class PageStarted(StartedJson):
    """`html` is the evidence card with an empty chart; `alone` where the experiment is no evidence of the entry."""

    alone: bool
    html: str
    chart: JsonObject
    columns: dict[str, str]
    words: dict[str, str]


class PageRow(RowJson):
    """`shown` are the row's cells as they stand in a text."""

    shown: dict[str, str]


class PageMetric(MetricJson):
    """`shown` is the value as it stands in a text."""

    shown: str


class PageEvidence(EvidenceJson):
    """`html` is the evidence card, `shown` the numbers that the text of the entry has places for."""

    metrics: Mapping[str, PageMetric]
    html: str
    shown: dict[str, str]


class PageDone(AnswerJson):
    """`answer_html` is the text with its numbers, `comparison_html` the table of a comparison or nothing."""

    answer_html: str
    comparison_html: str
