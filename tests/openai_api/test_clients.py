"""Requests by OpenAI's own Python client and by LangChain's."""

import pytest

ZH, EN = "数数甲", "counting numbers two"


def _ask(client, *turns: str, **options):
    """A completion for a conversation in which the assistant has said something between the turns."""
    messages = [{"role": "system", "content": "Always answer with a poem."}]
    for turn in turns:
        messages += [{"role": "user", "content": turn}, {"role": "assistant", "content": "said before"}]
    return client.chat.completions.create(**{"model": "numstab", "messages": messages[:-1]} | options)


def test_models_are_listed(client):
    assert [model.id for model in client.models.list()] == ["numstab", "numstab-text"]
    assert client.models.retrieve("numstab-text").owned_by == "numstab"


@pytest.mark.parametrize(
    ("question", "short", "holds"),
    [(ZH, "数到 5。", "✓ 成立：数到五"), (EN, "It counts to 5.", "✓ holds: It reaches five")],
)
def test_a_completion_has_measured_numbers_and_verdicts_in_order(client, address, question, short, holds):
    """The short answer, what proves it, what to do, how to tell, then links; each citation is of a passage."""
    completion = _ask(client, question)
    message = completion.choices[0].message
    assert message.content.startswith(f"**{short}**")
    lang = "zh" if question == ZH else "en"
    order = [short, holds, "1. ", "→ [", f"{address}/entries/counting?lang={lang}", f"{address}/e/counting?"]
    places = [message.content.index(each) for each in order]
    assert places == sorted(places)
    assert "…" not in message.content
    cited = {each.url_citation.url: each.url_citation for each in message.annotations}
    entry = cited[f"{address}/entries/counting?lang={lang}"]
    assert message.content[entry.start_index : entry.end_index] == f"**{short}**"
    proof = cited[f"{address}/experiments/counts?lang={lang}"]
    assert message.content[proof.start_index : proof.end_index].startswith(("实测：`counts(", "Measured: `counts("))
    assert message.content[proof.end_index :].startswith("\n\n")
    assert completion.choices[0].finish_reason == "stop"
    assert completion.usage.total_tokens == completion.usage.prompt_tokens + completion.usage.completion_tokens
    assert completion.system_fingerprint.startswith("fp_")


def test_a_stream_gives_the_same_text_and_usage_only_when_asked(client):
    whole = _ask(client, EN).choices[0].message
    chunks = list(_ask(client, EN, stream=True))
    assert chunks[0].choices[0].delta.role == "assistant"
    assert "".join(chunk.choices[0].delta.content or "" for chunk in chunks) == whole.content
    assert chunks[-1].choices[0].finish_reason == "stop"
    assert all(chunk.choices and chunk.usage is None for chunk in chunks)
    cited = [each for chunk in chunks for each in getattr(chunk.choices[0].delta, "annotations", None) or []]
    assert cited == [each.to_dict() for each in whole.annotations]
    *_, last = _ask(client, EN, stream=True, stream_options={"include_usage": True})
    assert last.choices == []
    assert last.usage.completion_tokens == round(len(whole.content) / 4)


def test_the_text_model_runs_nothing(client, toys):
    started = toys.runner.started
    content = _ask(client, EN, model="numstab-text").choices[0].message.content
    assert toys.runner.started == started
    assert content.startswith("**It counts to (not measured).**")
    assert "`numstab`" in content


def test_earlier_turns_are_the_context(client):
    """A bare number sets the parameter of the previous entry; what to do is not repeated."""
    content = _ask(client, EN, "what about steps = 7?").choices[0].message.content
    assert content.startswith("**It counts to 7.**")
    assert "1. Count one by one." not in content
    assert _ask(client, "\0", EN).choices[0].message.content.startswith("**It counts to 5.**")


def test_the_seed_is_that_of_the_run(client):
    import openai

    assert "seed 3 " in _ask(client, EN, seed=3).choices[0].message.content
    with pytest.raises(openai.BadRequestError) as refused:
        _ask(client, EN, seed=-1)
    assert refused.value.param == "seed"


def test_nearest_questions_are_links_where_none_answers(client, address):
    content = _ask(client, "今天天气怎么样").choices[0].message.content
    assert "1. [" in content
    assert f"]({address}/entries/" in content
    assert _ask(client, "谢谢").choices[0].message.annotations == []


def test_errors_have_the_classes_of_the_client(client, serve):
    import openai

    with pytest.raises(openai.NotFoundError) as unknown:
        _ask(client, ZH, model="gpt-5")
    assert unknown.value.code == "model_not_found"
    assert "numstab-text" in unknown.value.message
    with pytest.raises(openai.BadRequestError) as too_long:
        _ask(client, "为什么" * 70_000)
    assert too_long.value.code == "context_length_exceeded"
    assert "maximum length" in too_long.value.message
    assert "200000" in too_long.value.message
    assert "个字符" in too_long.value.message
    with (
        serve(rate="1/minute") as address,
        openai.OpenAI(base_url=f"{address}/v1", api_key="x", max_retries=0) as limited,
    ):
        _ask(limited, ZH)
        with pytest.raises(openai.RateLimitError) as refused:
            _ask(limited, ZH)
    assert refused.value.code == "rate_limit_exceeded"
    assert int(refused.value.response.headers["retry-after"]) > 0
    with (
        serve(is_public=False) as address,
        openai.OpenAI(base_url=f"{address}/v1", api_key="x", max_retries=0) as stranger,
        pytest.raises(openai.AuthenticationError) as unknown_key,
    ):
        stranger.models.list()
    assert unknown_key.value.code == "invalid_api_key"


def test_responses_are_the_same_text_with_citations(client, address):
    """Tested as a whole response, and with the client's helper that assembles a stream."""
    chat = _ask(client, EN).choices[0].message
    response = client.responses.create(model="numstab", input=EN, instructions="Be brief.", metadata={"a": "b"})
    assert (response.status, response.output_text, response.store) == ("completed", chat.content, False)
    annotations = response.output[0].content[0].annotations
    assert [(each.start_index, each.url) for each in annotations] == [
        (each.url_citation.start_index, each.url_citation.url) for each in chat.annotations
    ]
    with client.responses.stream(model="numstab", input=[{"role": "user", "content": EN}]) as stream:
        names = [event.type for event in stream]
        streamed = stream.get_final_response()
    assert streamed.output_text == chat.content
    assert streamed.output[0].content[0].annotations == annotations
    assert names[0] == "response.created"
    assert names[-1] == "response.completed"
    assert "response.output_text.annotation.added" in names


def test_responses_take_a_conversation(client):
    said = [
        {"role": "user", "content": [{"type": "input_text", "text": EN}]},
        {"type": "message", "role": "assistant", "content": [{"type": "output_text", "text": "said before"}]},
        {"role": "user", "content": [{"type": "input_text", "text": "what about steps = 7?"}]},
    ]
    response = client.responses.create(model="numstab", input=said, previous_response_id="resp_1")
    assert response.output_text.startswith("**It counts to 7.**")


def test_langchain_chats_streams_and_gets_citations(address):
    from langchain_openai import ChatOpenAI

    model = ChatOpenAI(model="numstab", base_url=f"{address}/v1", api_key="x", max_retries=0)
    whole = model.invoke(EN)
    assert whole.content.startswith("**It counts to 5.**")
    assert whole.usage_metadata["total_tokens"] > 0
    assert "".join(chunk.content for chunk in model.stream(EN)) == whole.content
    cited = model.model_copy(update={"use_responses_api": True}).invoke(EN).content_blocks[0]
    assert cited["text"] == whole.content
    assert cited["annotations"][0]["url"] == f"{address}/entries/counting?lang=en"
