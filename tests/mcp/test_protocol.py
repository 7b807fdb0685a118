"""MCP in memory, through the official SDK's client in both of its modes: lists, calls, errors, progress, cancelling."""

import asyncio
import json
from collections.abc import Callable, Coroutine
from typing import Any

import anyio
import jsonschema
import pytest
from mcp import Client, MCPError
from processes import TIMEOUT_SECONDS, run_async, until

from qa_service.answering.service import Service
from qa_service.fronts.mcp.server import build_server
from qa_service.lab.runner import Cancelled
from qa_service.parsing import MAX_QUESTION_CHARS

VERSIONS = {"auto": "2026-07-28", "legacy": "2025-11-25"}
TOOLS = ["ask", "diagnose", "compare", "run_experiment", "find_experiments", "formula", "check_claim"]
QUESTION = {"en": "counting numbers one", "zh": "数数甲"}


@pytest.fixture(params=VERSIONS)
def use(request, toy_service: Service) -> Callable[[Callable[[Client], Coroutine[Any, Any, None]]], None]:
    """A function that runs a coroutine function with a client connected to a toy service."""

    def run(test: Callable[[Client], Coroutine[Any, Any, None]]) -> None:
        async def connected() -> None:
            async with Client(build_server(lambda: toy_service), mode=request.param) as client:
                assert client.protocol_version == VERSIONS[request.param]
                await test(client)

        run_async(connected())

    return run


def text(result: Any) -> str:
    return result.content[0].text


def test_tools_are_listed_in_order_as_read_only_with_valid_schemas(use):
    async def test(client: Client) -> None:
        listed = await client.list_tools()
        assert [tool.name for tool in listed.tools] == TOOLS
        assert (await client.list_tools()).tools == listed.tools
        for tool in listed.tools:
            hints = tool.annotations
            assert (hints.read_only_hint, hints.idempotent_hint, hints.open_world_hint) == (True, True, False)
            assert tool.description
            jsonschema.Draft202012Validator.check_schema(tool.input_schema)
            jsonschema.Draft202012Validator.check_schema(tool.output_schema)
        if client.protocol_version == VERSIONS["auto"]:
            assert (listed.ttl_ms, listed.cache_scope) == (3_600_000, "public")

    use(test)


@pytest.mark.parametrize("lang", ["en", "zh"])
def test_an_answer_comes_as_text_and_as_structured_content_with_links(use, lang):
    async def test(client: Client) -> None:
        result = await client.call_tool("ask", {"question": QUESTION[lang]})
        assert not result.is_error
        found = result.structured_content
        assert (found["status"], found["lang"], found["entry"]["entry"]) == ("answered", lang, "counting")
        assert found["runs"][0]["metrics"]["last"]["value"] == 5.0
        assert [claim["verdict"] for claim in found["runs"][0]["claims"]] == ["holds"]
        assert {"en": "It counts to 5", "zh": "数到 5"}[lang] in text(result)
        assert {"en": "- holds: It reaches five", "zh": "- 成立：数到五"}[lang] in text(result)
        links = [part.uri for part in result.content if part.type == "resource_link"]
        assert links == ["numstab://entries/counting", found["runs"][0]["rows"]]
        for link in links:
            assert (await client.read_resource(link)).contents[0].text

    use(test)


def test_a_follow_up_sends_back_the_context(use):
    async def test(client: Client) -> None:
        before = (
            await client.call_tool("ask", {"question": QUESTION["en"], "params": {"steps": 4}, "seed": 3})
        ).structured_content
        after = await client.call_tool("ask", {"question": "and 7 steps?", "context": before["context"]})
        assert after.structured_content["entry"]["entry"] == "counting"
        assert [run["seed"] for run in after.structured_content["runs"]] == [3]

    use(test)


def test_a_question_that_is_not_covered_is_no_error_and_names_candidates(use):
    async def test(client: Client) -> None:
        result = await client.call_tool("ask", {"question": "will it rain"})
        assert not result.is_error
        found = result.structured_content
        assert (found["status"], found["entry"], found["runs"]) == ("not_covered", None, [])
        assert found["candidates"]
        assert all(each["entry"] in text(result) for each in found["candidates"])

    use(test)


def test_compare_shows_each_value_side_by_side(use):
    async def test(client: Client) -> None:
        result = await client.call_tool("compare", {"entry": "counting", "compare": "steps=3,4", "lang": "en"})
        assert [run["metrics"]["last"]["value"] for run in result.structured_content["runs"]] == [3.0, 4.0]
        assert "| the last | 3 | 4 |" in text(result)
        not_covered = await client.call_tool("compare", {"question": "will it rain", "compare": "steps=3,4"})
        assert not_covered.structured_content["status"] == "not_covered"

    use(test)


def test_experiments_are_found_by_words_and_run(use):
    async def test(client: Client) -> None:
        found = (await client.call_tool("find_experiments", {"query": "counts", "limit": 2})).structured_content
        assert found["experiments"][0]["experiment"] == "counts"
        assert len(found["experiments"]) <= 2
        assert found["of"] > 10
        ran = await client.call_tool("run_experiment", {"experiment": "counts", "params": {"steps": 9}, "seed": 3})
        run = ran.structured_content["runs"][0]
        assert (run["metrics"]["last"]["value"], run["seed"]) == (9.0, 3)
        rows = json.loads((await client.read_resource(run["rows"])).contents[0].text)
        assert [row["step"] for row in rows["rows"]] == list(range(1, 10))
        assert rows["metrics"]["random"]["value"] == run["metrics"]["random"]["value"]
        svg = (await client.read_resource(f"{run['rows']}/chart.svg")).contents[0]
        assert (svg.mime_type, svg.text[:4]) == ("image/svg+xml", "<svg")

    use(test)


def test_claims_are_checked_at_their_parameters_and_at_their_controls(use):
    async def test(client: Client) -> None:
        result = await client.call_tool("check_claim", {"entry": "counting", "seeds": 3})
        found = result.structured_content
        assert found["confirmed"]
        assert [(claim["at"], claim["expected"], claim["as_expected"]) for claim in found["claims"]] == [
            ("params", "holds", 3), ("control", "fails", 3),
        ]  # fmt: skip

    use(test)


@pytest.mark.parametrize(
    ("tool", "arguments", "named"),
    [
        ("ask", {}, "question"),
        ("ask", {"question": " "}, "empty_question"),
        ("ask", {"question": "x" * (MAX_QUESTION_CHARS + 1)}, "question_too_long"),
        ("ask", {"question": "x", "colour": 1}, "one of the fields lang, question, entry"),
        ("ask", {"question": 3}, "question"),
        ("ask", {"entry": "nowhere"}, "Similar:"),
        ("ask", {"question": QUESTION["en"], "params": {"steps": -1}}, "from 1 to 100000"),
        ("ask", {"question": "怎样数数", "params": {"stepz": 1}}, "是不是 steps"),
        ("compare", {"entry": "counting", "compare": "steps=1=2"}, "NAME=A,B"),
        ("run_experiment", {"experiment": "nowhere"}, "There are: bad_rows, coins, counts"),
        ("run_experiment", {"experiment": "nowhere", "lang": "zh"}, "现有：bad_rows"),
        ("check_claim", {"entry": "counting", "claim": "nothing"}, "reaches-five"),
        ("check_claim", {"entry": "counting", "seeds": 1000}, "from 1 to 20"),
        ("formula", {"expression": "log("}, "bad_expression"),
        ("diagnose", {"text": ""}, "the text of a log"),
        ("diagnose", {"lang": "zh"}, "日志的全文"),
    ],
)
def test_wrong_arguments_are_a_result_that_says_what_is_allowed(use, tool, arguments, named):
    async def test(client: Client) -> None:
        result = await client.call_tool(tool, arguments)
        assert result.is_error
        assert named in text(result)
        assert "Traceback" not in text(result)

    use(test)


def test_an_experiment_that_fails_is_a_result_with_its_status(use):
    async def test(client: Client) -> None:
        result = await client.call_tool("run_experiment", {"experiment": "raises"})
        assert not result.is_error
        run = result.structured_content["runs"][0]
        assert run["status"] == "raised"
        assert run["note"] in text(result)

    use(test)


def test_unknown_names_are_errors_of_the_protocol(use):
    async def test(client: Client) -> None:
        for call in (
            client.call_tool("nothing", {}),
            client.read_resource("numstab://entries/nowhere"),
            client.read_resource("numstab://experiments/../../etc/passwd"),
            client.read_resource("numstab://runs/AAAA"),
            client.read_resource("file:///etc/passwd"),
            client.get_prompt("nothing", {}),
            client.get_prompt("teach", {}),
        ):
            with pytest.raises(MCPError) as raised:
                await call
            assert raised.value.error.code == -32602
            assert raised.value.error.message

    use(test)


def test_resources_templates_and_prompts(use):
    async def test(client: Client) -> None:
        listed = (await client.list_resources()).resources
        assert [each.uri for each in listed] == [
            "numstab://entries", "numstab://experiments", "ui://numstab/evidence.html",
        ]  # fmt: skip
        assert "numstab://entries/counting" in (await client.read_resource("numstab://entries")).contents[0].text
        templates = [each.uri_template for each in (await client.list_resource_templates()).resource_templates]
        assert templates == [
            "numstab://entries/{id}", "numstab://experiments/{slug}", "numstab://runs/{receipt}",
            "numstab://runs/{receipt}/chart.svg",
        ]  # fmt: skip
        entry = (await client.read_resource("numstab://entries/counting")).contents[0].text
        assert "怎样数数" in entry
        assert "how to count" in entry
        assert "[[" not in entry
        source = (await client.read_resource("numstab://experiments/counts")).contents[0].text
        assert source.startswith('"""A well-behaved demo')
        assert [each.name for each in (await client.list_prompts()).prompts] == ["diagnose_nan", "teach"]
        prompt = await client.get_prompt("diagnose_nan", {"symptom": "第 200 步 loss 变成 nan {}"})
        assert "第 200 步 loss 变成 nan {}" in prompt.messages[0].content.text
        assert "请用 numstab 的工具" in prompt.messages[0].content.text

    use(test)


def test_ids_are_completed(use):
    async def test(client: Client) -> None:
        from mcp.types import ResourceTemplateReference

        reference = ResourceTemplateReference(type="ref/resource", uri="numstab://entries/{id}")
        found = await client.complete(reference, {"name": "id", "value": "coun"})
        assert found.completion.values == ["counting"]

    use(test)


def test_the_page_is_advertised_and_needs_nothing_from_elsewhere(use):
    async def test(client: Client) -> None:
        tools = {tool.name: tool for tool in (await client.list_tools()).tools}
        assert tools["ask"].meta == {"ui": {"resourceUri": "ui://numstab/evidence.html"}}
        page = (await client.read_resource("ui://numstab/evidence.html")).contents[0]
        assert page.mime_type == "text/html;profile=mcp-app"
        assert len(page.text) < 10_000
        for foreign in ("http://", "https://", "src=", "@import", "fetch(", "innerHTML"):
            assert foreign not in page.text

    use(test)


def test_progress_tells_of_rows_in_the_language_of_the_call(use):
    async def test(client: Client) -> None:
        told: list[tuple[float, str]] = []

        async def listen(progress: float, _total: float | None, message: str | None) -> None:
            told.append((progress, message or ""))

        arguments = {"experiment": "sleeps", "params": {"steps": 20}, "lang": "zh"}
        await client.call_tool("run_experiment", arguments, progress_callback=listen)
        assert len(told) >= 3
        assert [progress for progress, _ in told] == sorted({progress for progress, _ in told})
        assert "sleeps：第 " in told[-1][1]

    use(test)


def test_cancelling_a_call_ends_its_run(use, toy_service, monkeypatch):
    async def test(client: Client) -> None:
        ended = asyncio.Event()
        errors: list[BaseException] = []
        stream = toy_service.runner.stream
        loop = asyncio.get_running_loop()

        def watched(*arguments: Any) -> Any:
            try:
                return (yield from stream(*arguments))
            except BaseException as error:
                errors.append(error)
                raise
            finally:
                loop.call_soon_threadsafe(ended.set)

        monkeypatch.setattr(toy_service.runner, "stream", watched)
        started = asyncio.Event()

        async def listen(_progress: float, _total: float | None, message: str | None) -> None:
            if "row" in (message or ""):
                started.set()

        async def call() -> None:
            await client.call_tool(
                "run_experiment", {"experiment": "sleeps", "params": {"steps": 100_000}}, progress_callback=listen
            )

        async with anyio.create_task_group() as group:
            group.start_soon(call)
            await started.wait()
            group.cancel_scope.cancel()
        async with asyncio.timeout(TIMEOUT_SECONDS):
            await ended.wait()
        assert isinstance(errors[0], Cancelled | GeneratorExit)  # at its deadline it would end without an error
        assert toy_service.runner.waiting == 0

    use(test)


def test_fifty_calls_at_once_are_all_answered(use):
    async def test(client: Client) -> None:
        calls = [client.call_tool("run_experiment", {"experiment": "counts", "seed": seed}) for seed in range(25)]
        calls += [client.call_tool("ask", {"question": "will it rain"}) for _ in range(25)]
        results = await asyncio.gather(*calls)
        assert not any(result.is_error for result in results)
        assert [result.structured_content["runs"][0]["seed"] for result in results[:25]] == list(range(25))

    use(test)


def test_an_unexpected_error_is_logged_and_told_without_detail(toy_service, monkeypatch, caplog):
    def broken(*_arguments: Any) -> Any:
        raise ZeroDivisionError("secret")

    monkeypatch.setattr(toy_service, "stream", broken)

    async def test() -> None:
        async with Client(build_server(lambda: toy_service)) as client:
            result = await client.call_tool("ask", {"question": "数数"})
            assert result.is_error
            assert "内部出错" in text(result)
            assert "secret" not in text(result)

    run_async(test())
    until(lambda: "tool failed: ask" in caplog.text)
