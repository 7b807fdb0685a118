"""The page in Chromium on loopback with an empty cache: first paint, bytes, layout shift, requests elsewhere."""

import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

EXAMPLE_QUESTIONS = {"zh": "100 个 1.5 连乘会怎样？", "en": "What happens when 100 factors of 1.5 are multiplied?"}
VIEWPORTS = {"telephone": {"width": 375, "height": 800}, "desk": {"width": 1280, "height": 900}}
_ROUNDS = 5
LAYOUT_SHIFT_OBSERVER = """
window.moved = 0;
new PerformanceObserver((list) => {
  for (const entry of list.getEntries()) if (!entry.hadRecentInput) window.moved += entry.value;
}).observe({ type: "layout-shift", buffered: true });
"""
"""Adds up layout shifts, except those within half a second of user input."""


def page_load() -> None:
    """First contentful paint, bytes before the first question and after an answer, layout shift, other origins."""
    from playwright.sync_api import sync_playwright

    path = shutil.which("chromium") or shutil.which("google-chrome")
    if path is None:
        print("no Chromium; scripts/browser.sh says how to get one")
        return
    with _server() as address, sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=["--no-sandbox"])
        for lang, question in EXAMPLE_QUESTIONS.items():
            for size, viewport in VIEWPORTS.items():
                seen = [_measure_visit(browser, address, lang, question, viewport) for _ in range(_ROUNDS)]
                paints = sorted(each["paint"] for each in seen)
                first = f"{statistics.median(paints):.0f} ms ({paints[0]:.0f} to {paints[-1]:.0f})"
                loaded = seen[0]["before"] / 1e3, seen[0]["after"] / 1e3
                print(
                    f"{lang} {size:9}  first paint {first}"
                    f"   {loaded[0]:.1f} kB before the first question, {loaded[1]:.0f} kB after the answer"
                    f"   layout shift {max(each['moved'] for each in seen):.4f}"
                    f"   text after {statistics.median(each['text'] for each in seen):.0f} ms"
                    f"   requests elsewhere {sum(each['elsewhere'] for each in seen)}",
                    flush=True,
                )
        browser.close()


def _measure_visit(browser: Any, address: str, lang: str, question: str, viewport: dict[str, int]) -> dict[str, float]:
    context = browser.new_context(viewport=viewport, locale="zh-CN" if lang == "zh" else "en-GB")
    context.add_init_script(LAYOUT_SHIFT_OBSERVER)
    page = context.new_page()
    sizes: list[int] = []
    elsewhere = []
    page.on("requestfinished", lambda sent: sizes.append(sum(sent.sizes().values())))
    page.on("request", lambda sent: elsewhere.append(sent.url) if not _is_same_origin(sent.url, address) else None)
    page.goto(f"{address}/?lang={lang}", wait_until="networkidle")
    paint = page.evaluate("performance.getEntriesByName('first-contentful-paint')[0].startTime")
    before = sum(sizes)
    page.locator("[data-part=question]").fill(question)
    started = time.perf_counter()
    page.locator("[data-part=ask]").click()
    page.locator("[data-part=reply] [data-part=prose]").first.wait_for(timeout=60_000)
    text = (time.perf_counter() - started) * 1e3
    page.locator("[data-part=stop]").wait_for(state="hidden", timeout=60_000)
    page.locator("[data-part=card] [data-part=chart] svg").last.wait_for(timeout=60_000)
    page.wait_for_timeout(600)
    seen = {
        "paint": paint,
        "before": before,
        "after": sum(sizes),
        "moved": page.evaluate("window.moved"),
        "text": text,
        "elsewhere": len(elsewhere),
    }
    context.close()
    return seen


def _is_same_origin(url: str, address: str) -> bool:
    return url.startswith((address, "data:", "blob:"))


@contextmanager
def _server() -> Iterator[str]:
    """The address of a `numstab serve` on a free port, ready to answer."""
    import socket

    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    address = f"http://127.0.0.1:{port}"
    with tempfile.TemporaryDirectory() as folder:
        env = {"NUMSTAB_DATA": folder, **os.environ}
        command = [sys.executable, "-m", "qa_service", "serve", "--port", str(port)]
        with subprocess.Popen(command, env=env, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as server:
            try:
                deadline = time.monotonic() + 300
                while not _ready(address):
                    if time.monotonic() > deadline or server.poll() is not None:
                        sys.exit("the server did not start")
                    time.sleep(0.2)
                yield address
            finally:
                server.kill()  # else leaving the block waits for it


def _ready(address: str) -> bool:
    try:
        with urllib.request.urlopen(f"{address}/readyz", timeout=5):  # noqa: S310  # our own address, built above
            return True
    except OSError:
        return False
