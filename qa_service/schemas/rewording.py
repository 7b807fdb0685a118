"""What is sent to a language model that rewords an answer (NUMSTAB_WRITER), and what comes back."""

from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

from qa_service.schemas.values import Body


class Material(Body):
    """The question and the sentences that are to be reworded."""

    question: str
    sentences: list[str]


class ModelMessage(Body):
    """A message to the model."""

    role: Literal["system", "user"]
    content: str


class JsonFormat(Body):
    """The request for a reply that is a JSON object."""

    type: Literal["json_object"] = "json_object"


class ModelRequest(Body):
    """The body of POST /chat/completions."""

    model: str
    messages: list[ModelMessage]
    temperature: Literal[0] = 0
    seed: Literal[0] = 0
    stream: Literal[False] = False
    response_format: JsonFormat = JsonFormat()


class _Received(BaseModel):
    model_config = ConfigDict(frozen=True, strict=True, extra="ignore")


class ReplyMessage(_Received):
    """The message of a reply."""

    content: str


class ReplyChoice(_Received):
    """A choice of a reply."""

    message: ReplyMessage


class ModelReply(_Received):
    """The reply of the model; only its first choice is used."""

    choices: Annotated[list[ReplyChoice], Field(min_length=1)]


def _text_or_none(value: Any) -> Any:
    """The text; None for anything else, whose sentence then stays as it was."""
    return value if isinstance(value, str) else None


class RewordedSentences(_Received):
    """The sentences in other words, as many as were given."""

    sentences: list[Annotated[str | None, BeforeValidator(_text_or_none)]]
