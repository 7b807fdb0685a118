"""Replies to the housekeeping prompts of chat programs: titles, tags, follow-ups, search queries, completions.

Programs send such prompts to the same model after a question, and expect raw JSON or a line of text. They are not
treated as questions: nothing is run for them or recorded. Sources: Open WebUI's `config.py`, LibreChat's agents, the
prompts of Chatbox, Cherry Studio and Dify.
"""

import json
import re
from collections.abc import Callable
from typing import Any, Literal

from pydantic import OnErrorOmit, TypeAdapter
from typing_extensions import TypedDict

from qa_service.answering.knowledge import Knowledge
from qa_service.answering.service import Service
from qa_service.errors import BadRequest
from qa_service.fronts.openai_api.conversation import MAX_TURNS, Conversation
from qa_service.fronts.openai_api.text import follow_ups
from qa_service.model import Answer, Request, Text
from qa_service.parsing import detect_language

_TASK = re.compile(r"\s*### Task:")
_KEYS = re.compile(r'"(title|tags|follow_ups|queries|text|prompt)"\s*:')
_TITLE = re.compile(
    r"5-word-or-less title for the conversation|Based on the chat history, give this conversation a name"
    r"|[Gg]enerate a concise title for the following conversation"
    r"|Summarize the given session as a 10-word title"
    r"|总结给出的会话，将其总结为.{1,40}字内标题|将给定的对话总结为一个10字以内的标题"
)
_TITLE_AND_LANGUAGE = re.compile(r"\s*Analyze this conversation and provide:.*\bconcise title", re.DOTALL)
_SUGGESTIONS = re.compile(r"Please help me predict the three most likely questions that human would ask")
_TOOLS = re.compile(r"\s*Available Tools:.*\"tool_calls\"", re.DOTALL)
_EMOJI = re.compile(r"\s*Your task is to reflect the speaker's likely facial expression through a fitting emoji")
_SPOKEN = re.compile(r"^[ \t]*(USER|User|user|ASSISTANT|Assistant|AI|assistant):[ \t]*", re.MULTILINE)
_HISTORY_BEGINS, _HISTORY_ENDS = "<chat_history>", "</chat_history>"
_MAX_TITLE_CHARS = 100


class _QuotedMessage(TypedDict):
    """A message of the user in a conversation that Cherry Studio quotes as JSON."""

    role: Literal["user"]
    mainText: str


_QUOTED = TypeAdapter(list[OnErrorOmit[_QuotedMessage]])
_TAG = Text("数值稳定性", "Numerical stability")
_NO_TITLE = Text("数值问题", "A question about numerics")


def housekeeping_reply(service: Service, knowledge: Knowledge, conversation: Conversation) -> str | None:
    """The reply to a housekeeping prompt, None for a question. Blocks for milliseconds, to match entries."""
    prompt, system = conversation.turns[-1], conversation.instructions
    if _TASK.match(prompt):
        # The prompt has examples after the output format, so the first key is that of the format.
        key = _KEYS.search(prompt)
        wanted = key[1] if key else ""
        return json.dumps(_TASKS[wanted](service, knowledge, prompt), ensure_ascii=False) if wanted in _TASKS else "{}"
    if _TITLE_AND_LANGUAGE.match(prompt):
        said = _user_turns(prompt)
        language = "Chinese" if detect_language(said[0] if said else prompt) == "zh" else "English"
        return json.dumps({"language": language, "title": _title(service, knowledge, prompt)}, ensure_ascii=False)
    if _TITLE.search(prompt) or (_TITLE.search(system) and len(conversation.turns) == 1):
        return _title(service, knowledge, prompt)
    if _SUGGESTIONS.search(prompt) or _SUGGESTIONS.search(system):
        return json.dumps(_follow_ups(service, knowledge, prompt), ensure_ascii=False)
    if _TOOLS.match(system):
        return json.dumps({"tool_calls": []})
    return "🔢" if _EMOJI.match(prompt) else None


def _title(service: Service, knowledge: Knowledge, prompt: str) -> str:
    said = _user_turns(prompt)
    answer = _answer(service, knowledge, said[:1])
    title = answer.entry.question[answer.lang] if answer and answer.entry else (said or [""])[0].strip()
    title = " ".join(title.split())
    if not title:
        return _NO_TITLE[detect_language(prompt)]
    return title[:_MAX_TITLE_CHARS].rstrip()


def _tags(service: Service, knowledge: Knowledge, prompt: str) -> list[str]:
    answer = _answer(service, knowledge, _user_turns(prompt))
    tags = [_TAG[answer.lang if answer else "en"]]
    return [*tags, answer.entry.id] if answer and answer.entry else tags


def _follow_ups(service: Service, knowledge: Knowledge, prompt: str) -> list[str]:
    answer = _answer(service, knowledge, _user_turns(prompt))
    return follow_ups(answer) if answer else []


_TASKS: dict[str, Callable[[Service, Knowledge, str], dict[str, Any]]] = {
    "title": lambda *asked: {"title": _title(*asked)},
    "tags": lambda *asked: {"tags": _tags(*asked)},
    "follow_ups": lambda *asked: {"follow_ups": _follow_ups(*asked)},
    "queries": lambda *_asked: {"queries": []},
    "text": lambda *_asked: {"text": ""},
    "prompt": lambda *_asked: {"prompt": ""},
}


def _user_turns(prompt: str) -> list[str]:
    """The user's last `MAX_TURNS` turns, oldest first, in the conversation that the prompt quotes."""
    if (said := _turns_in_json(prompt)) is not None:
        return said[-MAX_TURNS:]
    _, begins, quoted = prompt.partition(_HISTORY_BEGINS)
    quoted, ends, _ = quoted.partition(_HISTORY_ENDS)
    _, *pieces = _SPOKEN.split(quoted if begins and ends else prompt)
    speakers, texts = pieces[::2], pieces[1::2]
    said = [text.strip() for who, text in zip(speakers, texts, strict=True) if who.lower() == "user" and text.strip()]
    return said[-MAX_TURNS:]


def _turns_in_json(prompt: str) -> list[str] | None:
    """The user's turns in a prompt that is a JSON list of messages, as of Cherry Studio; None for any other prompt."""
    if not prompt.lstrip().startswith("["):
        return None
    try:
        messages, _ = json.JSONDecoder().raw_decode(prompt.lstrip())  # an instruction to the model may follow it
    except (ValueError, RecursionError):
        return None
    said = _QUOTED.validate_python(messages)
    return [text for each in said if (text := each["mainText"]).strip()]


def _answer(service: Service, knowledge: Knowledge, turns: list[str]) -> Answer | None:
    """The answer to the last of these turns, without evidence; None if there are none or they are not valid."""
    if not turns:
        return None
    first = Request(question=turns[0], run=False)
    try:
        return service.ask(service.fold_turns(first, turns[1:], knowledge), knowledge)
    except BadRequest:
        return None
