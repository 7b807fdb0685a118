"""What chat programs send, as they send it: housekeeping prompts, fields we ignore, keys, hostile bodies."""

import json
from contextlib import closing
from http.client import HTTPConnection

import httpx
import pytest
from hostile_strings import HOSTILE_BODIES, HOSTILE_STRINGS
from hypothesis import given
from hypothesis import strategies as st
from processes import until

from qa_service.fronts.openai_api import reply_stream
from qa_service.model.events import Done
from qa_service.server.api_keys import ApiKeyStore

CHAT = "/chat/completions"
EN, ZH = "counting numbers two", "数数甲"


def user(*turns: str) -> list[dict]:
    return [{"role": "user", "content": turn} for turn in turns]


LONG = user("sleeping again one", "what about 1000?")
"""A conversation whose run takes most of a minute."""


def content(response: httpx.Response) -> str:
    assert response.status_code == 200, response.text
    return response.json()["choices"][0]["message"]["content"]


def data(text: str) -> list[dict]:
    """The data of a stream of chunks; comments are ignored, as they must be."""
    lines = [line.removeprefix("data: ") for line in text.splitlines() if line.startswith("data: ")]
    assert lines.pop() == "[DONE]"
    return [json.loads(line) for line in lines]


def written(chunks: list[dict]) -> str:
    return "".join(chunk["choices"][0]["delta"].get("content") or "" for chunk in chunks)


@pytest.mark.parametrize(
    "body",
    [
        {"model": "numstab", "messages": user("ping"), "max_tokens": 5},
        {"messages": user("ping"), "max_completion_tokens": 16},
        {
            "model": "numstab", "messages": [{"role": "system", "content": "You are helpful."}, *user(EN)],
            "user": "66", "temperature": 1, "top_p": 1, "presence_penalty": 0, "frequency_penalty": 0, "stop": ["END"],
        },
        {
            "model": "numstab", "messages": [{"role": "user", "content": [
                {"type": "text", "text": EN},
                {"type": "image_url", "image_url": {"url": "data:image/png;base64,iVBORw0KGgo="}},
            ]}], "tools": [{"type": "function", "function": {"name": "f", "parameters": {}}}], "tool_choice": "auto",
            "response_format": {"type": "json_object"}, "n": 3, "reasoning_effort": "low",
        },
        {"model": "numstab", "messages": [*user(EN), {"role": "assistant", "content": None, "tool_calls": []},
                                          {"role": "tool", "content": "x", "tool_call_id": "y"}], "options": None},
    ],
    ids=["Dify", "Dify, new", "LibreChat", "parts and tools", "tool messages"],
)  # fmt: skip
def test_fields_that_mean_nothing_here_are_ignored(http, body):
    response = http.post(CHAT, json=body)
    assert response.headers["content-type"] == "application/json"
    assert content(response)


@pytest.mark.parametrize(
    "ignored",
    [{"stream": 1}, {"stream": "true"}, {"stream_options": [True], "metadata": {"a": 1, "b": "c"}},
     {"metadata": [1], "instructions": {}}, {"messages": [*user(EN), 7, {"role": 3, "content": {"text": "x"}}]},
     {"messages": [{"role": "user", "content": [EN, 3, {"type": "text"}, {"type": "text", "text": 1}]}]},
     {"x" * 1000: ["y"] * 10_000}],
)  # fmt: skip
def test_options_of_a_wrong_type_are_ignored(http, ignored):
    """Only messages, model and seed are refused; what cannot be read in an option or a part is as if it were absent."""
    sent = {"model": "numstab-text", "messages": user(EN)}
    response = http.post(CHAT, json=sent | ignored)
    assert response.headers["content-type"] == "application/json"
    assert content(response) == content(http.post(CHAT, json=sent))


def test_a_stream_is_read_without_knowing_its_events(http):
    """Chatbox's library reads it so: every chunk has choices, and usage is not sent unless requested."""
    response = http.post(CHAT, json={"model": "numstab", "messages": user(ZH), "stream": True})
    assert response.headers["content-type"].startswith("text/event-stream")
    chunks = data(response.text)
    assert all(chunk["object"] == "chat.completion.chunk" and len(chunk["choices"]) == 1 for chunk in chunks)
    assert len({(chunk["id"], chunk["created"], chunk["model"]) for chunk in chunks}) == 1
    assert written(chunks).startswith("**数到 5。**")


def test_open_webui_gets_progress_sources_and_follow_ups(http):
    response = http.post(CHAT, json={"model": "numstab", "messages": user(ZH), "stream": True})
    chunks = data(response.text)
    events = [chunk["event"] for chunk in chunks if "event" in chunk]
    assert [event["type"] for event in events] == ["status", "status", "chat:message:follow_ups"]
    assert [event["data"]["done"] for event in events[:2]] == [False, True]
    assert events[0]["data"]["description"].startswith("正在测：")
    assert events[2]["data"]["follow_ups"] == ["为什么报错", "为什么卡住"]
    cited = [each for chunk in chunks for each in chunk["choices"][0]["delta"].get("annotations", ())]
    assert [each["type"] for each in cited] == ["url_citation"] * 2
    assert ": measuring counts\n\n" in response.text


HISTORY = f"### Chat History:\n<chat_history>\nUSER: {EN}\nASSISTANT: It counts to 5.\n</chat_history>"
_WANTED = "\n### Output:\nJSON format: "
HOUSEKEEPING = {
    "title": (
        f"""### Task:\nGenerate a concise title.{_WANTED}{{ "title": "your concise title here" }}
### Examples:\n- {{ "title": "Stock Trends" }}\n{HISTORY}""",
        {"title": "how to count"},
    ),
    "tags": (
        f"""### Task:\nGenerate 1-3 broad tags.{_WANTED}{{ "tags": ["tag1", "tag2", "tag3"] }}\n{HISTORY}""",
        {"tags": ["Numerical stability", "counting"]},
    ),
    "follow-ups": (
        f"""### Task:\nPredict 3-5 useful messages.\n- Response must be a JSON object with a "follow_ups" key
{_WANTED}{{ "follow_ups": ["Suggested next message 1"] }}\n{HISTORY}""",
        {"follow_ups": ["why does it raise", "why does it hang"]},
    ),
    "queries": (
        f"""### Task:\nAnalyze the chat history.{_WANTED}{{ "queries": ["query1", "query2"] }}\n{HISTORY}""",
        {"queries": []},
    ),
    "autocomplete": (
        """### Task:\nYou are an autocompletion system. If unsure, return: `{ "text": "" }`.\n<text>count</text>""",
        {"text": ""},
    ),
    "image": (
        """### Task:\nGenerate a detailed prompt.\n{ "prompt": "Your detailed description here." }""",
        {"prompt": ""},
    ),
    "another": ("### Task:\nSummarize the conversation history that will be compacted", {}),
    "Dify": (
        f"""Human: {EN}\nAssistant: 5
Please help me predict the three most likely questions that human would ask, and keep each under 20 characters.""",
        [],
    ),
}


@pytest.mark.parametrize("name", HOUSEKEEPING)
@pytest.mark.parametrize("stream", [False, True])
def test_housekeeping_is_raw_json_runs_nothing_and_is_not_recorded(http, toys, name, stream):
    prompt, wanted = HOUSEKEEPING[name]
    seen, started = [], toys.runner.started
    unsubscribe = toys.subscribe(seen.append)
    try:
        response = http.post(CHAT, json={"model": "numstab", "messages": user(prompt), "stream": stream})
    finally:
        unsubscribe()
    assert json.loads(written(data(response.text)) if stream else content(response)) == wanted
    assert seen == []
    assert toys.runner.started == started


def test_other_programs_ask_for_titles_too(http, toys):
    seen = []
    unsubscribe = toys.subscribe(seen.append)
    try:
        libre = user(
            f"Provide a concise, 5-word-or-less title for the conversation.\n\nConversation:\nUser: {EN}\nAI: 5"
        )
        assert content(http.post(CHAT, json={"messages": libre})) == "how to count"
        tools = [{"role": "system", "content": 'Available Tools: []\n\nreturn {"tool_calls": []}'}, *user("Query: x")]
        assert json.loads(content(http.post(CHAT, json={"messages": tools}))) == {"tool_calls": []}
    finally:
        unsubscribe()
    assert seen == []


def test_a_question_with_documents_is_the_question(http):
    """Open WebUI puts retrieved documents before the question, in a prompt that begins like its housekeeping
    prompts.
    """
    wrapped = (
        "### Task:\nRespond to the user query using the provided context, incorporating inline citations.\n<context>\n"
        f'<source id="1">raising things one</source>\n</context>\n\n{EN}'
    )
    assert content(http.post(CHAT, json={"messages": user(wrapped)})).startswith("**It counts to 5.**")


def test_text_that_cannot_wait_gets_its_numbers_at_the_end(http, monkeypatch):
    """Words stand in for numbers that are not measured yet, and a numbered list below the text has the values."""
    monkeypatch.setattr(reply_stream, "PATIENCE_SECONDS", 0.0)
    response = http.post(CHAT, json={"messages": user("sleeping again two"), "stream": True, "seed": 11})
    text = written(data(response.text))
    assert text.startswith(
        "**It sleeps until (still being measured, see 1 at the end), (still being measured, see 2 at the end) steps.**"
    )
    assert text.index("1. Wait.") < text.index("✓ holds: It wakes") < text.index("1. the last: **1**\n2. steps: **4**")
    assert "…" not in text
    response = http.post(CHAT, json={"messages": user("睡着了甲"), "stream": True, "seed": 12})
    text = written(data(response.text))
    assert text.startswith("**睡到（还在测，见文末第 1 项），共（还在测，见文末第 2 项）步。**")
    assert text.index("✓ 成立：会醒") < text.index("1. 最后一个：**1**\n2. 步数：**4**")


def test_a_run_that_did_not_finish_is_said(http):
    """The text says that a run did not finish, instead of showing numbers for it."""
    for lang, question, words in (("en", "raising things two", "did not finish"), ("zh", "报错丙", "没有跑完")):
        text = content(http.post(CHAT, json={"messages": user(question)}, headers={"Accept-Language": lang}))
        assert words in text
        assert "…" not in text


@pytest.mark.parametrize("path", [CHAT, "/responses"])
def test_a_client_that_leaves_ends_the_run(http, toys, path):
    said = {"messages": LONG, "input": LONG}
    before = len(toys.runner.ended)
    with http.stream("POST", path, json={**said, "model": "numstab", "stream": True, "seed": before + 100}) as response:
        for line in response.iter_lines():
            if line == ": measuring sleeps":
                break
    until(lambda: len(toys.runner.ended) > before)
    assert toys.runner.ended[before:] == [True]


def test_leaving_a_plain_request_ends_the_run(address, toys):
    before, started = len(toys.runner.ended), toys.runner.started
    body = json.dumps({"model": "numstab", "messages": LONG, "seed": before + 300})
    with closing(HTTPConnection(address.removeprefix("http://"))) as connection:
        connection.request("POST", f"/v1{CHAT}", body, {"Content-Type": "application/json"})
        until(lambda: toys.runner.started > started)
    until(lambda: len(toys.runner.ended) > before)
    assert toys.runner.ended[before:] == [True]


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize(
    ("body", "status", "param"),
    [({"messages": []}, 400, "messages"), ({"messages": "x"}, 400, "messages"), ([], 400, "body"),
     ({"messages": [1, "x"]}, 400, "messages"), ({}, 400, "messages"),
     ({"messages": user(EN), "seed": -1}, 400, "seed"),
     ({"messages": user(EN), "model": ["numstab"]}, 404, "model"),
     ({"messages": [{"role": "assistant", "content": "x"}]}, 400, "messages"),
     ({"messages": user(" ")}, 400, "question"),
     ({"messages": user(EN), "model": "gpt-5"}, 404, "model"), ({"messages": user(EN), "seed": "1"}, 400, "seed"),
     ({"messages": user("x" * 200_001)}, 400, "question"), ({"messages": user("x" * 2_000_000)}, 413, "body")],
)  # fmt: skip
def test_errors_have_their_status_and_are_no_stream(http, body, status, param, stream):
    response = http.post(CHAT, json=body | {"stream": stream} if isinstance(body, dict) else body)
    assert response.status_code == status
    assert response.headers["content-type"] == "application/json"
    error = response.json()["error"]
    assert set(error) == {"message", "type", "param", "code"}
    assert error["param"] == param


def test_errors_are_in_the_language_of_the_request(http):
    assert (
        "没有名为" in http.post(CHAT, json={"model": "x", "messages": user(ZH)}, headers={"Accept-Language": "zh"}).text
    )
    assert "there is no model" in http.get("/models/x").text
    assert "个字符" in http.post(CHAT, json={"messages": user("为什么" * 70_000)}).text
    assert http.get("/nothing").json()["error"]["code"] == "unknown_url"
    assert http.put(CHAT).json()["error"]["code"] == "method_not_allowed"


def test_an_error_in_the_middle_of_a_stream_ends_it(http, toys, monkeypatch):
    def breaks(*_args):
        raise RuntimeError("detail")
        yield

    monkeypatch.setattr(toys.runner, "stream", breaks)
    text = http.post(CHAT, json={"messages": user(EN), "stream": True}).text
    assert json.loads(text.strip().splitlines()[-1].removeprefix("data: "))["error"]["type"] == "server_error"
    assert "detail" not in text
    events = http.post("/responses", json={"input": EN, "stream": True}).text
    assert "event: error\n" in events
    assert "event: response.failed\n" in events


def test_keys_need_their_scopes(serve, tmp_path):
    """Listing models needs the scope to read, and questions the scope to ask."""
    keys = ApiKeyStore(tmp_path)
    reader, asker = keys.add("reader", ("read",)), keys.add("asker", ("read", "ask"))
    with serve(is_public=False, data=tmp_path) as address:
        for key, models, chat in ((reader, 200, 403), (asker, 200, 200), ("sk-none", 401, 401)):
            headers = {"Authorization": f"Bearer {key}"}
            assert httpx.get(f"{address}/v1/models", headers=headers).status_code == models
            asked = httpx.post(f"{address}/v1{CHAT}", json={"messages": user(EN)}, headers=headers)
            assert asked.status_code == chat
            assert chat == 200 or asked.json()["error"]["type"] == "invalid_request_error"


def test_pages_of_other_origins_are_refused_unless_named(http, serve):
    ours = {"Origin": "https://chat.example", "Sec-Fetch-Site": "cross-site"}
    refused = http.post(CHAT, json={"messages": user(EN)}, headers=ours)
    assert (refused.status_code, refused.json()["error"]["code"]) == (403, "permission_denied")
    with serve(origins="https://chat.example") as address:
        allowed = httpx.post(f"{address}/v1{CHAT}", json={"messages": user(EN)}, headers=ours)
        assert allowed.headers["access-control-allow-origin"] == "https://chat.example"


def test_links_lead_to_the_address_that_is_set(serve):
    with serve(url="https://numstab.example/") as address:
        text = content(httpx.post(f"{address}/v1{CHAT}", json={"messages": user(EN)}))
    assert "](https://numstab.example/entries/" in text
    assert "127.0.0.1" not in text


def test_asked_questions_are_recorded(http, toys):
    seen = []
    unsubscribe = toys.subscribe(seen.append)
    try:
        content(http.post(CHAT, json={"messages": user(ZH, "还是不行")}))
    finally:
        unsubscribe()
    assert [event.answer.question for event in seen if isinstance(event, Done)] == ["还是不行"]


@pytest.mark.parametrize("name", HOSTILE_STRINGS)
def test_hostile_questions_do_no_harm(http, name):
    raw = json.dumps({"model": "numstab-text", "messages": user(HOSTILE_STRINGS[name])}).encode()
    response = http.post(CHAT, content=raw)
    assert response.status_code in (200, 400)
    assert response.json()


@pytest.mark.parametrize("name", HOSTILE_BODIES)
@pytest.mark.parametrize("path", [CHAT, "/responses"])
def test_hostile_bodies_are_refused(http, name, path):
    response = http.post(path, content=HOSTILE_BODIES[name])
    assert response.status_code in (400, 413)
    assert response.json()["error"]["message"]


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda each: st.lists(each, max_size=4) | st.dictionaries(st.text(max_size=10), each, max_size=4),
    max_leaves=12,
)
_MESSAGE = st.fixed_dictionaries({"role": st.sampled_from(["user", "system", "x"]) | _JSON, "content": _JSON})
_BODY = st.fixed_dictionaries(
    {},
    optional={
        "messages": st.lists(_MESSAGE | _JSON, max_size=4) | _JSON,
        "input": st.lists(_MESSAGE | _JSON, max_size=4) | _JSON,
        "model": st.sampled_from(["numstab-text"]) | _JSON,
        **dict.fromkeys(("stream", "stream_options", "seed", "metadata", "instructions", "tools", "n"), _JSON),
    },
)


@given(body=_BODY, path=st.sampled_from([CHAT, "/responses"]))
def test_any_body_gets_a_reply_or_an_error_that_says_what_is_wrong(http, body, path):
    response = http.post(path, content=json.dumps(body).encode())
    assert response.status_code in (200, 400, 404)
    if response.status_code != 200:
        assert response.json()["error"]["message"]
