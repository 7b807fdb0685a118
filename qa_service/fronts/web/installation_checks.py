"""The checks of the web front for `numstab doctor`."""

import shutil
from pathlib import Path

from qa_service.fronts.web.build import math_font_path, vega_bundle_path
from qa_service.model import Text
from qa_service.tools.doctor import DoctorCheck


def check_build(cache: Path) -> DoctorCheck:
    """Whether the chart script and the font of formulas are built."""
    if vega_bundle_path(cache).is_file() and math_font_path(cache).is_file():
        return DoctorCheck(
            "charts", "ok", Text("图表脚本和公式字体已就绪", "the chart script and the font of formulas are built")
        )
    return DoctorCheck(
        "charts",
        "note",
        Text(
            "图表脚本或公式字体还没有生成：第一次多等十秒",
            "the chart script or the font is not built yet: the first use takes ten seconds longer",
        ),
        Text("运行 numstab prepare", "run numstab prepare"),
    )


def check_chromium() -> DoctorCheck:
    """Whether a Chromium is installed; only tests of the page need one."""
    if shutil.which("chromium") or shutil.which("google-chrome"):
        return DoctorCheck(
            "browser", "ok", Text("有 Chromium，可以测试页面", "there is a Chromium to test the page with")
        )
    return DoctorCheck(
        "browser",
        "note",
        Text("没有 Chromium：只有测试页面时才需要", "no Chromium: only tests of the page need one"),
        Text("Debian：apt-get install chromium fonts-noto-cjk", "on Debian: apt-get install chromium fonts-noto-cjk"),
    )
