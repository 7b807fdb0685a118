"""Takes the README's screenshots: the page with a real answer, in both languages (`make screenshots`)."""

import os
import shutil
import subprocess
import sys
import tempfile
import time
import urllib.request
from pathlib import Path

from playwright.sync_api import sync_playwright

from bench.server import free_port

SCREENSHOTS_FOLDER = Path(__file__).resolve().parent.parent / "docs" / "pictures"
_QUESTIONS = {
    "en": "What do 0.99 and 1.01 become when multiplied 1000 times?",
    "zh": "0.99 或 1.01 连乘 1000 次，结果是多少？",
}
CHROMIUM_FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-background-networking"]


def main() -> int:
    """Starts the service on a free port and takes a screenshot in each language."""
    port = free_port()
    with tempfile.TemporaryDirectory() as folder:
        env = {"NUMSTAB_CACHE": folder, **os.environ, "NUMSTAB_DATA": folder}
        command = [sys.executable, "-m", "qa_service", "serve", "--port", str(port)]
        with subprocess.Popen(command, env=env, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as server:
            try:
                wait_for(f"http://127.0.0.1:{port}/readyz")
                SCREENSHOTS_FOLDER.mkdir(parents=True, exist_ok=True)
                for lang, question in _QUESTIONS.items():
                    take_screenshot(
                        f"http://127.0.0.1:{port}/?lang={lang}", question, SCREENSHOTS_FOLDER / f"page-{lang}.png"
                    )
            finally:
                server.terminate()
    return 0


def take_screenshot(address: str, question: str, path: Path) -> None:
    """Asks the question, waits for the evidence and takes a screenshot 1280 px wide, from the top of the page."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium(), args=CHROMIUM_FLAGS)
        page = browser.new_page(viewport={"width": 1280, "height": 1180})
        page.goto(address)
        page.locator("textarea").first.fill(question)
        page.keyboard.press("Enter")
        page.locator("[data-part=stop]").wait_for(state="hidden", timeout=60_000)
        page.locator("svg.marks").first.wait_for(timeout=60_000)
        page.evaluate("document.activeElement.blur(); window.scrollTo({ top: 0, behavior: 'instant' })")
        page.screenshot(path=path)
        browser.close()
    print(path)


def chromium() -> str:
    """The path of the installed Chromium; exits if there is none."""
    found = shutil.which("chromium") or shutil.which("google-chrome") or shutil.which("chromium-browser")
    if found is None:
        sys.exit("no Chromium on this machine; scripts/browser.sh says how to get one")
    return found


def wait_for(address: str, seconds: float = 300) -> None:
    """Waits until the address answers 200; exits after `seconds`."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        try:
            with urllib.request.urlopen(address, timeout=5):  # noqa: S310  # our own address, built above
                return
        except OSError:
            time.sleep(0.2)
    sys.exit(f"{address} did not answer within {seconds:.0f} s")


if __name__ == "__main__":
    sys.exit(main())
