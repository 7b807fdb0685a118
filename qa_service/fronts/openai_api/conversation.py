"""Parses request bodies into conversations. Unknown fields are ignored, as clients send options of other models."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, ConfigDict, Field, OnErrorOmit

from qa_service.errors import BadField, BadRequest, UnknownModel
from qa_service.field_defaults import or_else
from qa_service.model import Lang, Request, Text
from qa_service.parsing import check_text
from qa_service.parsing.language import language_shown
from qa_service.schemas import allowed
from qa_service.schemas.requests import RequestBody, Seed, read_body

MODELS = ("numstab", "numstab-text")
"""The models: one runs experiments, the other answers with text only."""
MAX_TURNS = 20
"""The number of turns of the user, the last ones, that are the context of a follow-up; each is matched again."""
_CONTEXT_BEGINS, _CONTEXT_ENDS = "### Task:\nRespond to the user query using the provided context", "</context>"


@dataclass(frozen=True, slots=True, kw_only=True)
class Conversation:
    """A request: the turns of the user and the options that are supported."""

    model: str
    turns: tuple[str, ...]
    """The messages of the user, oldest first; at least one."""
    instructions: str = ""
    """The messages of system and developer; they are only searched for housekeeping prompts."""
    seed: int = 0
    stream: bool = False
    include_usage: bool = False
    characters: int = 0
    """The total length of all messages, for the estimated usage."""
    metadata: dict[str, str] = field(default_factory=dict)

    @property
    def lang(self) -> Lang | None:
        """The language of the last turn whose language can be detected; None if there is none."""
        return next(filter(None, map(language_shown, reversed(self.turns))), None)

    @property
    def runs(self) -> bool:
        """Whether experiments are run for the reply."""
        return self.model != "numstab-text"

    def first_request(self, reader_lang: Lang | None) -> Request:
        """The request of the first turn; the later ones are folded in by the service.

        Raises `BadRequest` if the last turn is not valid as a question; earlier turns that are not are left out.
        """
        check_text(self.turns[-1])
        return Request(
            question=self._askable[0],
            reader_lang=reader_lang,
            seed=self.seed,
            run=self.runs,
            brief=True,
        )

    @property
    def later_turns(self) -> Sequence[str]:
        """The turns after the one of `first_request`."""
        return self._askable[1:]

    @property
    def _askable(self) -> list[str]:
        """The last `MAX_TURNS` turns that are valid as questions."""
        return [turn for turn in self.turns if _is_text(turn)][-MAX_TURNS:]


def check_model(name: Any) -> str:
    """The name if it is one of `MODELS`; raises `UnknownModel`."""
    if name not in MODELS:
        shown = str(name)[:60]
        raise UnknownModel(
            zh=f"没有名为 {shown!r} 的模型。现有：{'、'.join(MODELS)}",
            en=f"there is no model {shown!r}. There are: {', '.join(MODELS)}",
            field="model",
        )
    return str(name)


class _Lenient(RequestBody):
    model_config = ConfigDict(extra="ignore")


class _TextPart(_Lenient):
    type: Literal["text", "input_text"]
    text: str


class _Message(_Lenient):
    """A message. Of its parts only texts are read; images, audio and files are left out."""

    role: Annotated[str, or_else("")] = ""
    content: Annotated[str | list[OnErrorOmit[str | _TextPart]], or_else("")] = ""

    @property
    def text(self) -> str:
        """Its text, or the texts of its parts on lines of their own."""
        parts = [self.content] if isinstance(self.content, str) else self.content
        return "\n".join(part if isinstance(part, str) else part.text for part in parts)


_Messages = Annotated[list[OnErrorOmit[_Message]], Field(min_length=1)]


class _StreamOptions(_Lenient):
    include_usage: Annotated[bool, or_else(default=False)] = False


class _Options(_Lenient):
    """The fields that requests of both protocols have."""

    model: Annotated[Any, AfterValidator(lambda name: MODELS[0] if name is None else check_model(name))] = MODELS[0]
    seed: Annotated[Seed | None, allowed.SEED] = None
    stream: Annotated[bool, or_else(default=False)] = False
    metadata: Annotated[dict[str, OnErrorOmit[str]], or_else({})] = Field(default={})
    instructions: Annotated[str, or_else("")] = ""


class _ChatRequest(_Options):
    messages: Annotated[_Messages, Text("消息的列表", "a list of messages")]
    stream_options: Annotated[_StreamOptions, or_else(_StreamOptions())] = _StreamOptions()


class _ResponsesRequest(_Options):
    input: Annotated[str | _Messages, Text("一段文字或消息的列表", "a text or a list of messages")]


def read_chat(body: Any) -> Conversation:
    """The body of POST /v1/chat/completions; raises `BadField` or `UnknownModel`."""
    sent = read_body(_ChatRequest, body)
    return _conversation(sent, sent.messages, "messages", include_usage=sent.stream_options.include_usage)


def read_responses(body: Any) -> Conversation:
    """The body of POST /v1/responses; raises `BadField` or `UnknownModel`."""
    sent = read_body(_ResponsesRequest, body)
    messages = [_Message(role="user", content=sent.input)] if isinstance(sent.input, str) else sent.input
    return _conversation(sent, messages, "input")


def _conversation(
    sent: _Options, messages: Sequence[_Message], name: str, *, include_usage: bool = False
) -> Conversation:
    """The conversation of these messages, which are in the field `name`. Raises `BadField` without one of the user."""
    turns = tuple(_question(message.text) for message in messages if message.role == "user")
    if not turns:
        raise BadField(
            zh=f"{name} 里没有用户（role: user）的消息",
            en=f"{name} has no message of the user (role: user)",
            field=name,
        )
    system = [message.text for message in messages if message.role in ("system", "developer")]
    return Conversation(
        model=sent.model,
        turns=turns,
        instructions="\n".join([*system, sent.instructions]),
        seed=sent.seed or 0,
        stream=sent.stream,
        include_usage=include_usage,
        characters=sum(len(message.text) for message in messages),
        metadata=sent.metadata,
    )


def _question(text: str) -> str:
    """The user's own text, without the retrieved documents that Open WebUI puts before it."""
    if text.lstrip().startswith(_CONTEXT_BEGINS) and _CONTEXT_ENDS in text:
        return text.rpartition(_CONTEXT_ENDS)[2].strip()
    return text


def _is_text(turn: str) -> bool:
    """Whether a turn is valid as a question (`check_text`)."""
    try:
        check_text(turn)
    except BadRequest:
        return False
    return True
