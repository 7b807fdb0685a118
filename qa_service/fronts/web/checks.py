"""What `numstab doctor` looks at for the page."""

import shutil
from importlib.metadata import version
from pathlib import Path

from qa_service.doctor import Check
from qa_service.model import Text


def bundle(cache: Path) -> Check:
    """The script that draws charts."""
    path = cache / f"vega-{version('vl-convert-python')}.js"
    if path.is_file():
        return Check("charts", "ok", Text("图表脚本已就绪", "the script that draws charts is built"))
    return Check(
        "charts", "note", Text("图表脚本还没有生成：第一张图多等十秒", "no script of charts yet: ten seconds, once"),
        Text("运行 numstab prepare", "run numstab prepare"),
    )  # fmt: skip


def chromium() -> Check:
    """Only who tests the page needs one."""
    if shutil.which("chromium") or shutil.which("google-chrome"):
        return Check("browser", "ok", Text("有 Chromium，可以测试页面", "there is a Chromium to test the page with"))
    return Check(
        "browser", "note", Text("没有 Chromium：只有测试页面时才需要", "no Chromium: only tests of the page need one"),
        Text("Debian：apt-get install chromium fonts-noto-cjk", "on Debian: apt-get install chromium fonts-noto-cjk"),
    )  # fmt: skip
