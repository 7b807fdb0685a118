"""Lines of files that the command line takes, a JSON object each: questions to be answered, and labelled ones."""

import json
from typing import Annotated, Any, Literal, Self

from pydantic import ConfigDict, Field, TypeAdapter, model_validator

from qa_service.errors import BadField
from qa_service.model import Request, Text
from qa_service.schemas import allowed
from qa_service.schemas.allowed import bad_field
from qa_service.schemas.requests import RequestBody, read_body, read_request

_MAX_TURNS = 50
_TURNS = Text("问题的列表", "a list of questions")
_SENTENCE = Text("一句话（或者给 turns：几句话）", "a sentence (or give turns: several)")
_ITEMS = Text("可接受的题号，只有 kind 为 in 才有", "the accepted items, which only a line of kind in has")
_OBJECT = TypeAdapter(dict[str, Any])
_OPTIONS = ("params", "compare", "seed", "seeds", "entry", "aspect", "run", "context")

_Turns = Annotated[list[str], Field(min_length=1)]


class BatchLine(RequestBody):
    """A line of `ask --batch`: a question or the turns of a conversation, with options of a request.

    Other fields are ignored, so that a file of labelled questions can be asked as it is.
    """

    model_config = ConfigDict(extra="allow")

    turns: Annotated[Annotated[_Turns, Field(max_length=_MAX_TURNS)], _TURNS] = Field(default=[])
    q: Annotated[str | None, allowed.QUESTION] = None
    question: Annotated[str | None, allowed.QUESTION] = None

    def to_requests(self) -> tuple[list[Request], list[str]]:
        """(a request for each turn, the options that the line names). Raises `BadField`."""
        options = {name: value for name, value in (self.model_extra or {}).items() if name in _OPTIONS}
        turns = self.turns or (self.question if self.q is None else self.q,)
        return [read_request({**options, "question": turn}) for turn in turns], list(options)


class EvaluationLine(RequestBody):
    """A line of `numstab eval`: the turns of a conversation, the last of which is evaluated, and what answers it."""

    model_config = ConfigDict(extra="ignore")

    turns: Annotated[_Turns, _TURNS] = Field(default=[])
    q: Annotated[str | None, _SENTENCE] = None
    lang: Annotated[str, allowed.LANG] = Field(default="", description="default: as its characters are")
    kind: Annotated[Literal["in", "near", "out"], Text("in、near 或 out", "in, near or out")] = "in"
    items: Annotated[list[int], _ITEMS] = Field(default=[])
    entries: Annotated[list[str], allowed.ENTRIES] = Field(default=[])
    want: Annotated[str, allowed.QUESTION] = ""
    missing: Annotated[str, allowed.QUESTION] = ""
    params: Annotated[dict[str, Any], allowed.PARAMS] = Field(default={})

    @model_validator(mode="after")
    def _has_question_and_items(self) -> Self:
        """Raises `BadField` unless there is a question, and items if and only if it is of the kind "in"."""
        if not self.turns and self.q is None:
            raise bad_field("q", _SENTENCE)
        if (self.kind == "in") != bool(self.items):
            raise bad_field("items", _ITEMS)
        return self


def read_batch_line(line: bytes) -> tuple[list[Request], list[str]]:
    """The requests of a line, as `BatchLine.to_requests`; raises `BadField`."""
    return read_body(BatchLine, _parse(line)).to_requests()


def read_labelled_line(line: str | bytes, where: str) -> EvaluationLine:
    """A labelled line; raises `BadField`, which names `where` ("FILE:LINE") and the fault."""
    try:
        return read_body(EvaluationLine, _parse(line))
    except BadField as error:
        raise BadField(zh=f"{where}：{error['zh']}", en=f"{where}: {error['en']}", field="file") from None


def _parse(line: str | bytes) -> dict[str, Any]:
    """The JSON object of a line; raises `BadField`."""
    try:
        return _OBJECT.validate_python(json.loads(line))
    except (ValueError, RecursionError):
        zh, en = "每一行应当是一个 JSON 对象", "each line should be a JSON object"
        raise BadField(zh=zh, en=en, field="line") from None
