"""Parses request bodies into conversations. Unknown fields are ignored, as clients send options of other models."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from qa_service.errors import BadField, BadRequest, UnknownModel
from qa_service.model import Lang, Request
from qa_service.parsing import check_text
from qa_service.parsing.language import language_shown
from qa_service.schemas.allowed import check_seed

MODELS = ("numstab", "numstab-text")
"""The models: one runs experiments, the other answers with text only."""
MAX_TURNS = 20
"""The number of turns of the user, the last ones, that are the context of a follow-up; each is matched again."""
_TEXT_PARTS = ("text", "input_text")
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
        """The turns after the one of `opening`."""
        return self._askable[1:]

    @property
    def _askable(self) -> list[str]:
        """The last `MAX_TURNS` turns that are valid as questions."""
        return [turn for turn in self.turns if _is_text(turn)][-MAX_TURNS:]


def read_chat(body: Any) -> Conversation:
    """The body of POST /v1/chat/completions; raises `BadField` or `UnknownModel`."""
    table = _object(body)
    messages = table.get("messages")
    if not isinstance(messages, list) or not messages:
        raise BadField(
            zh="messages 应当是消息的列表", en="messages should be a list of messages", field="messages"
        )  # fmt: skip
    options = table.get("stream_options")
    include_usage = isinstance(options, dict) and options.get("include_usage") is True
    return _conversation(table, messages, "messages", include_usage=include_usage)


def read_responses(body: Any) -> Conversation:
    """The body of POST /v1/responses; raises `BadField` or `UnknownModel`."""
    table = _object(body)
    said = table.get("input")
    if isinstance(said, str):
        said = [{"role": "user", "content": said}]
    if not isinstance(said, list) or not said:
        raise BadField(
            zh="input 应当是一段文字或消息的列表", en="input should be a text or a list of messages", field="input"
        )
    return _conversation(table, said, "input")


def _object(body: Any) -> dict[str, Any]:
    if not isinstance(body, dict):
        raise BadField(zh="请求体应当是一个 JSON 对象", en="the body should be a JSON object", field="body")
    return body


def _conversation(
    table: dict[str, Any], messages: list[Any], name: str, *, include_usage: bool = False
) -> Conversation:  # fmt: skip
    """The conversation of these messages; `name` is their field in `table`. Raises `BadField` and `UnknownModel`."""
    said = [
        (message.get("role"), content_text(message.get("content"))) for message in messages if isinstance(message, dict)
    ]
    turns = tuple(_question(text) for role, text in said if role == "user")
    if not turns:
        raise BadField(
            zh=f"{name} 里没有用户（role: user）的消息",
            en=f"{name} has no message of the user (role: user)",
            field=name,
        )
    instructions = table.get("instructions")
    system = [text for role, text in said if role in ("system", "developer")]
    metadata = table.get("metadata")
    return Conversation(
        model=check_model(MODELS[0] if table.get("model") is None else table["model"]),
        turns=turns,
        instructions="\n".join([*system, instructions if isinstance(instructions, str) else ""]),
        seed=check_seed(0 if table.get("seed") is None else table["seed"]),
        stream=table.get("stream") is True,
        include_usage=include_usage,
        characters=sum(len(text) for _, text in said),
        metadata={key: value for key, value in metadata.items() if isinstance(value, str)}
        if isinstance(metadata, dict)
        else {},
    )


def content_text(content: Any) -> str:
    """The text of a message's content, which is a text or a list of parts; images, audio and files are ignored."""
    if isinstance(content, str):
        return content
    texts = []
    for part in content if isinstance(content, list) else ():
        if isinstance(part, str):
            texts.append(part)
        elif isinstance(part, dict) and part.get("type") in _TEXT_PARTS and isinstance(part.get("text"), str):
            texts.append(part["text"])
    return "\n".join(texts)


def _question(text: str) -> str:
    """The user's own text, without the retrieved documents that Open WebUI puts before it."""
    if text.lstrip().startswith(_CONTEXT_BEGINS) and _CONTEXT_ENDS in text:
        return text.rpartition(_CONTEXT_ENDS)[2].strip()
    return text


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


def _is_text(turn: str) -> bool:
    """Whether a turn is valid as a question (`check_text`)."""
    try:
        check_text(turn)
    except BadRequest:
        return False
    return True
