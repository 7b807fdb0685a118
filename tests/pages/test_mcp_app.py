"""The page that a chat client shows beside the result of an MCP tool, in a sandboxed frame; the test plays the
client.
"""

import json
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from mcp import Client, MCPError
from playwright.sync_api import Browser, BrowserContext, FrameLocator, Page, expect
from processes import run_async

from qa_service.answering.service import Service
from qa_service.fronts.mcp.resources import app_html
from qa_service.fronts.mcp.server import build_server

POLICY = "default-src 'none'; script-src 'unsafe-inline'; style-src 'unsafe-inline'; img-src data:"
"""What the specification of MCP Apps allows a page that names no origins."""
HOST = """
<!doctype html><html lang="en"><title>host</title><iframe sandbox="allow-scripts" style="width: 600px"></iframe>
<script>
const frame = document.querySelector("iframe");
window.sizes = [];
addEventListener("message", async ({ source, data }) => {
  if (source !== frame.contentWindow) return;
  const reply = (message) => frame.contentWindow.postMessage({ jsonrpc: "2.0", ...message }, "*");
  if (data.method === "ui/initialize") {
    reply({ id: data.id, result: { protocolVersion: "2026-01-26", hostInfo: { name: "test", version: "1" },
                                   hostCapabilities: CAPABILITIES, hostContext: { theme: "dark" } } });
  } else if (data.method === "ui/notifications/initialized") {
    reply({ method: "ui/notifications/tool-input", params: { arguments: {} } });
    reply({ method: "ui/notifications/tool-result", params: RESULT });
  } else if (data.method === "ui/notifications/size-changed") {
    sizes.push(data.params);
  } else {
    reply({ id: data.id, ...JSON.parse(await serve(data.method, JSON.stringify(data.params))) });
  }
});
frame.srcdoc = PAGE;
</script>
"""
ALL = {"serverTools": {}, "serverResources": {}}


@pytest.fixture
def call(toy_service: Service) -> Callable[[str, str], str]:
    """A function that sends a request to the server and returns its reply, as a chat client does for the page."""

    def serve(method: str, params: str) -> str:
        reply: dict[str, Any] = {}

        async def ask() -> None:
            given = json.loads(params)
            async with Client(build_server(lambda: toy_service)) as client:
                try:
                    sent = (
                        client.call_tool(given["name"], given["arguments"])
                        if method == "tools/call"
                        else client.read_resource(given["uri"])
                    )
                    reply["result"] = (await sent).model_dump(mode="json", by_alias=True, exclude_none=True)
                except MCPError as error:
                    reply["error"] = {"code": error.error.code, "message": error.error.message}

        run_async(ask())
        return json.dumps(reply)

    return serve


@pytest.fixture(scope="module")
def host_window(chromium: Browser) -> Iterator[BrowserContext]:
    """The browser window of the chat client, whose pages store nothing."""
    context = chromium.new_context()
    yield context
    context.close()


@pytest.fixture
def show(host_window: BrowserContext, call) -> Callable[..., tuple[Page, FrameLocator]]:
    """A function that shows the result of a tool in the page; returns the host's page and the frame in it."""

    def open_page(
        name: str, arguments: dict[str, Any], capabilities: dict[str, Any] | None = None
    ) -> tuple[Page, FrameLocator]:
        result = json.loads(call("tools/call", json.dumps({"name": name, "arguments": arguments})))["result"]
        html = app_html().replace(
            "<meta charset", f'<meta http-equiv="Content-Security-Policy" content="{POLICY}"><meta charset', 1
        )
        host = HOST.replace("CAPABILITIES", json.dumps(ALL if capabilities is None else capabilities))
        host = host.replace("RESULT", _in_script(result)).replace("PAGE", _in_script(html))
        page = host_window.new_page()
        failures: list[str] = []
        page.on("pageerror", lambda error: failures.append(str(error)))
        page.on("console", lambda message: failures.append(message.text) if message.type == "error" else None)
        page.on("request", lambda request: failures.append(request.url) if request.url.startswith("http") else None)
        page.failures = failures  # type: ignore[attr-defined]
        page.expose_function("serve", call)
        page.set_content(host)
        return page, page.frame_locator("iframe")

    return open_page


def _in_script(value: Any) -> str:
    return json.dumps(value).replace("<", "\\u003c")


@pytest.mark.sampled(one_in=2)
@pytest.mark.parametrize(
    ("lang", "again", "holds"), [("en", "Run again", "holds: It"), ("zh", "再运行", "成立：数到五")]
)
def test_a_result_is_shown_with_its_chart_and_run_again_with_other_parameters(show, lang, again, holds):
    page, frame = show("ask", {"entry": "counting", "lang": lang})
    expect(frame.locator("li")).to_contain_text(holds)
    expect(frame.locator("td", has_text="5").first).to_be_visible()
    image = frame.locator("img")
    expect(image).to_be_visible()
    assert image.evaluate("(each) => each.decode().then(() => each.naturalWidth)") > 100
    assert image.get_attribute("alt")
    frame.get_by_label("steps").fill("9")
    frame.get_by_role("button", name=again).click()
    expect(frame.locator("td", has_text="9").first).to_be_visible()
    expect(frame.get_by_label("steps")).to_have_value("9")
    assert page.evaluate("sizes.at(-1).height") > 100
    assert page.failures == []
    page.close()


def test_what_the_server_refuses_is_said_beside_the_form(show):
    page, frame = show("run_experiment", {"experiment": "counts"})
    frame.get_by_label("steps").fill("-1")
    frame.get_by_label("steps").press("Enter")
    expect(frame.get_by_role("alert")).to_contain_text("from 1 to 100000")
    expect(frame.get_by_role("button")).to_be_enabled()
    page.close()


def test_where_the_host_offers_nothing_the_numbers_are_shown_alone(show):
    """A chat client that offers the page no calls of tools still gets the numbers, without a form."""
    page, frame = show("ask", {"entry": "counting", "lang": "en"}, {})
    expect(frame.locator("li")).to_contain_text("holds")
    expect(frame.get_by_role("button")).to_have_count(0)
    expect(frame.locator("img")).to_be_hidden()
    page.close()


def test_a_result_without_runs_is_shown_as_its_text(show):
    page, frame = show("ask", {"question": "will it rain"})
    expect(frame.locator("main")).to_contain_text("numstab does not cover")
    page.close()
