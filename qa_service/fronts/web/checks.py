"""What `numstab doctor` looks at for the page."""

import shutil
from pathlib import Path

from qa_service.fronts.web.build import font_path, vega_path
from qa_service.model import Text
from qa_service.tools.doctor import Check


def bundle(cache: Path) -> Check:
    """The script that draws charts, and the font of formulas."""
    if vega_path(cache).is_file() and font_path(cache).is_file():
        return Check(
            "charts", "ok", Text("图表脚本和公式字体已就绪", "script of charts and font of formulas are built")
        )
    return Check(
        "charts", "note",
        Text("图表脚本或公式字体还没有生成：第一次多等十秒", "no script of charts or no font yet: ten seconds, once"),
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
