"""What is sent under /v1: the objects and events of OpenAI's protocols, as far as numstab fills them.

Fields that clients expect and that mean nothing here have the only value that they ever have as their default.
"""

from collections.abc import Sequence
from typing import Literal

from qa_service.fronts.openai_api.text import Citation
from qa_service.schemas.values import Body, omitted_if_none

CHARACTERS_PER_TOKEN = 4
"""The number of characters that count as one token in `usage`: an estimate, as nothing here has a tokeniser."""


def estimated_tokens(characters: int) -> int:
    """The estimated number of tokens of a text with that many characters, at least one."""
    return max(1, round(characters / CHARACTERS_PER_TOKEN))


class ModelObject(Body):
    """A model that clients can choose."""

    id: str
    object: Literal["model"] = "model"
    created: int
    owned_by: Literal["numstab"] = "numstab"
    name: str
    context_length: int


class ModelListObject(Body):
    """The list of all models."""

    object: Literal["list"] = "list"
    data: list[ModelObject]


class CitedPlace(Body):
    """A source and the characters of the text that come from it."""

    start_index: int
    end_index: int
    title: str
    url: str


class ChatAnnotation(Body):
    """A citation as an annotation of a chat message."""

    type: Literal["url_citation"] = "url_citation"
    url_citation: CitedPlace

    @classmethod
    def of(cls, citation: Citation) -> "ChatAnnotation":
        """The annotation for a citation."""
        place = CitedPlace(start_index=citation.start, end_index=citation.end, title=citation.title, url=citation.url)
        return cls(url_citation=place)


class ChatUsage(Body):
    """The estimated size of a request and its reply."""

    prompt_tokens: int
    completion_tokens: int
    total_tokens: int

    @classmethod
    def estimate(cls, prompt: int, completion: int) -> "ChatUsage":
        """The usage for that many characters."""
        before, after = estimated_tokens(prompt), estimated_tokens(completion)
        return cls(prompt_tokens=before, completion_tokens=after, total_tokens=before + after)


class _ChatObject(Body):
    id: str
    created: int
    model: str
    system_fingerprint: str


class AssistantMessage(Body):
    """A whole reply."""

    role: Literal["assistant"] = "assistant"
    content: str
    refusal: None = None
    annotations: list[ChatAnnotation]


class MessageChoice(Body):
    """The only choice of a whole reply."""

    index: Literal[0] = 0
    message: AssistantMessage
    logprobs: None = None
    finish_reason: Literal["stop"] = "stop"


class ChatCompletionObject(_ChatObject):
    """A reply as one object."""

    object: Literal["chat.completion"] = "chat.completion"
    choices: list[MessageChoice]
    usage: ChatUsage


class FirstDelta(Body):
    """The beginning of a reply in pieces."""

    role: Literal["assistant"] = "assistant"
    content: str
    refusal: None = None


class TextDelta(Body):
    """A further piece of a reply, possibly empty."""

    content: str | None = omitted_if_none("the text that is added")
    annotations: list[ChatAnnotation] | None = omitted_if_none("the citations in it")


class DeltaChoice(Body):
    """The only choice of a piece."""

    index: Literal[0] = 0
    delta: FirstDelta | TextDelta
    logprobs: None = None
    finish_reason: Literal["stop"] | None


class StatusData(Body):
    """The data of a report of progress, in words."""

    description: str
    done: bool


class StatusEvent(Body):
    """A report of progress, which Open WebUI shows."""

    type: Literal["status"] = "status"
    data: StatusData


class FollowUpsData(Body):
    """The data of `FollowUpsEvent`: the suggested questions."""

    follow_ups: list[str]


class FollowUpsEvent(Body):
    """Suggested questions, which Open WebUI shows."""

    type: Literal["chat:message:follow_ups"] = "chat:message:follow_ups"
    data: FollowUpsData


ChatEvent = StatusEvent | FollowUpsEvent


class ChatChunk(_ChatObject):
    """A piece of a reply."""

    object: Literal["chat.completion.chunk"] = "chat.completion.chunk"
    choices: list[DeltaChoice]
    event: ChatEvent | None = omitted_if_none("for Open WebUI; other clients ignore it")


class ChatChunkWithUsage(ChatChunk):
    """A piece of a reply to a client that asked for the usage, which is in the last piece and null in the others."""

    usage: ChatUsage | None


class OutputAnnotation(CitedPlace):
    """A citation as an annotation of a part of a response."""

    type: Literal["url_citation"] = "url_citation"

    @classmethod
    def of(cls, citation: Citation) -> "OutputAnnotation":
        """The annotation for a citation."""
        return cls(start_index=citation.start, end_index=citation.end, title=citation.title, url=citation.url)


class OutputText(Body):
    """The only part of a response's message: its text."""

    type: Literal["output_text"] = "output_text"
    text: str
    annotations: Sequence[OutputAnnotation]
    logprobs: Sequence[None] = ()


class OutputMessage(Body):
    """The only item of a response's output."""

    type: Literal["message"] = "message"
    id: str
    status: Literal["in_progress", "completed"]
    role: Literal["assistant"] = "assistant"
    content: Sequence[OutputText]


class CachedTokens(Body):
    """How many tokens of the request came from a cache: always 0."""

    cached_tokens: Literal[0] = 0


class ReasoningTokens(Body):
    """How many tokens were spent on reasoning: always 0."""

    reasoning_tokens: Literal[0] = 0


class ResponseUsage(Body):
    """The estimated size of a request and its response."""

    input_tokens: int
    input_tokens_details: CachedTokens = CachedTokens()
    output_tokens: int
    output_tokens_details: ReasoningTokens = ReasoningTokens()
    total_tokens: int

    @classmethod
    def estimate(cls, prompt: int, output: int) -> "ResponseUsage":
        """The usage for that many characters."""
        before, after = estimated_tokens(prompt), estimated_tokens(output)
        return cls(input_tokens=before, output_tokens=after, total_tokens=before + after)


class ResponseFault(Body):
    """Why a response has failed."""

    code: Literal["server_error"] = "server_error"
    message: str


class PlainText(Body):
    """The format of the text, which is always plain text."""

    type: Literal["text"] = "text"


class TextFormat(Body):
    """The setting `text` of a response."""

    format: PlainText = PlainText()


class ResponseObject(Body):
    """A response: in progress, completed or failed."""

    id: str
    object: Literal["response"] = "response"
    created_at: int
    status: Literal["in_progress", "completed", "failed"]
    model: str
    output: Sequence[OutputMessage] = ()
    usage: ResponseUsage | None = None
    error: ResponseFault | None = None
    incomplete_details: None = None
    instructions: None = None
    metadata: dict[str, str]
    parallel_tool_calls: Literal[False] = False
    previous_response_id: None = None
    store: Literal[False] = False
    temperature: None = None
    text: TextFormat = TextFormat()
    tool_choice: Literal["none"] = "none"
    tools: Sequence[None] = ()
    top_p: None = None


class ResponseEvent(Body):
    """An event of a response: what happens to it as a whole. Every event has the next number."""

    type: Literal["response.created", "response.in_progress", "response.completed", "response.failed"]
    sequence_number: int
    response: ResponseObject


class ItemEvent(Body):
    """The event that the item of the output is begun or complete."""

    type: Literal["response.output_item.added", "response.output_item.done"]
    sequence_number: int
    output_index: Literal[0] = 0
    item: OutputMessage


class _InPart(Body):
    sequence_number: int
    item_id: str
    output_index: Literal[0] = 0
    content_index: Literal[0] = 0


class PartEvent(_InPart):
    """The event that the part of the message is begun or complete."""

    type: Literal["response.content_part.added", "response.content_part.done"]
    part: OutputText


class TextAdded(_InPart):
    """The event of a further piece of the text."""

    type: Literal["response.output_text.delta"] = "response.output_text.delta"
    delta: str
    logprobs: Sequence[None] = ()


class AnnotationAdded(_InPart):
    """The event of a citation in the text so far."""

    type: Literal["response.output_text.annotation.added"] = "response.output_text.annotation.added"
    annotation_index: int
    annotation: OutputAnnotation


class TextDone(_InPart):
    """The event that the text is complete, with all of it."""

    type: Literal["response.output_text.done"] = "response.output_text.done"
    text: str
    logprobs: Sequence[None] = ()


class StreamFault(Body):
    """The event of an error in the middle of a stream."""

    type: Literal["error"] = "error"
    sequence_number: int
    code: str
    message: str
    param: str | None


AnyResponseEvent = ResponseEvent | ItemEvent | PartEvent | TextAdded | AnnotationAdded | TextDone | StreamFault
