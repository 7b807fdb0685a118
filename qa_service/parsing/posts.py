"""Reduces a post to what it asks: without pasted code, addresses and the answers to an issue tracker's form.

Of the 300 words of a post some 40 ask. The others, the same in every post of a project, mislead the matcher: a question
about LoRA is matched by the device in its list of the environment. Short questions are left as they are.
"""

import re
from collections.abc import Iterable
from itertools import groupby

from qa_service.patterns import lazy_pattern

_MIN_CHARS = 160
"""A shorter text is left as it is: a line of code in it may be what is asked about."""
_MIN_LEFT = 12
"""If fewer characters are left, the whole text is the question."""
_MAX_CODE = 4000
_KEPT_LINES = 3
"""The number of lines that are kept of a block of code: the last ones that report something, as a traceback does."""
_COMMENT = lazy_pattern(r"<!--.{0,300}?-->|<details>|</details>|</?summary>", re.DOTALL)
_LINK = lazy_pattern(r"!?\[([^\[\]\n]{0,300})\]\([^()\n]{0,500}\)")
_ADDRESS = lazy_pattern(r"https?://[^\s<>\"'，。；）]+")
_BLOCK = lazy_pattern(r"(?:```|~~~)[\w+-]*[ \t]*\n(.*?)(?:```|~~~|\Z)", re.DOTALL)
_REPORTS = lazy_pattern(
    r"nan\b|\binf\b|overflow|underflow|error|warning|loss|explod|gradient|invalid value|not positive|溢出|损失|梯度",
    re.IGNORECASE,
)
_CODE = lazy_pattern(
    r"\s*(?:(?:import|from|def|class|for|while|if|elif|else|return|with|try|except|export|print|assert|super|lambda)\b.*"
    r"|(?:--?\w|#|//|@|\)|\]|\}|\"\"\").*"
    r"|[^(\n]*\([^()]*[(\[{,\\]|[\w.\[\]'\"]+\s*=\s*\S.*|[\w.]+\(.*\),?|[\w.'\"]+:\s*\S+,|\S.*[,({\[]|[\w ().]*:)\s*",
    re.ASCII,
)
"""A line of a program, as far as it can be told from prose."""
_MIN_RUN = 4
"""So many lines of a program in a row are left out without a mark around them."""
_COMMAND = lazy_pattern(
    r"\s*(?:--\w[\w-]*|\$ |>>> |\.\.\. |CUDA_VISIBLE_DEVICES=|python3? (?:-m )?[\w./-]+|export \w+=|pip3? install"
    r"|torchrun |accelerate launch|deepspeed |bash |sh |nohup |import \w+|from [\w.]+ import ).*"
)
_HEADINGS = frozenset(
    {
        "additional", "additional context", "before submitting", "bug", "bug description", "checklist", "code",
        "current behavior", "describe the bug", "description", "env", "environment", "expected behavior",
        "help needed", "how to reproduce", "issue type", "log", "logs", "misc", "notes", "operating system",
        "platform", "question", "relevant files", "reproduction", "screenshots", "search before asking",
        "steps to reproduce", "system info", "system information", "to reproduce", "version", "versions",
        "your question",
        "描述", "截图", "环境", "环境信息", "版本", "补充信息", "补充说明", "其他信息", "期望结果", "期望行为",
        "预期结果", "预期行为", "日志", "问题", "问题描述", "系统信息", "相关代码", "详细描述", "复现步骤",
        "重现步骤", "运行环境",
    }
)  # fmt: skip
"""Headings of the forms that issue trackers ask to fill in."""
_FIELD = lazy_pattern(
    r"\s*(?:[-*]\s+)?(?:\*\*)?(?=[^:：\n]{0,40}(?:version|gpu|cuda|driver|cudnn|nccl|operating|python|pytorch|tensorflow"
    r"|transformers|platform|os\b|版本|系统|显卡|驱动))[^:：\n]{1,40}[:：]\s*\**\s*`?[^\s`][^`\n]{0,40}`?\s*",
    re.IGNORECASE,
)
"""A line of the environment: "**CUDA Version**: 12.3"."""
_CHECKBOX = lazy_pattern(r"\s*[-*]\s*\[[ xX]\].*")
_LEFT_OUT = (_COMMAND, _FIELD, _CHECKBOX)
_MAX_LINE = 400
"""Characters of a line that is looked at: longer ones are prose, or no human wrote them."""


def read_post(text: str) -> str:
    """The lines of a post that ask or report; a text that is short, or of which nothing would be left, as it is."""
    if len(text) < _MIN_CHARS:
        return text
    said = _COMMENT.sub(" ", text)
    said = _ADDRESS.sub(" ", _LINK.sub(r"\1", said))
    said = _BLOCK.sub(_reported, said)
    lines = [line for line in said.splitlines() if not _is_heading(line) and not _is_one_of(line, _LEFT_OUT)]
    left = "\n".join(_without_programs(lines))
    return left if len("".join(left.split())) >= _MIN_LEFT else text


def _is_heading(line: str) -> bool:
    return line.strip(" #*:：").lower() in _HEADINGS


def _is_one_of(line: str, patterns: Iterable[re.Pattern[str]]) -> bool:
    return len(line) <= _MAX_LINE and any(each.fullmatch(line.strip()) for each in patterns)


def _is_program(line: str) -> bool:
    return _is_one_of(line, (_CODE,)) and not _REPORTS.search(line)


def _without_programs(lines: list[str]) -> list[str]:
    """The lines without runs that are a program, but with those that report something."""
    left: list[str] = []
    for is_code, group in groupby(lines, key=_is_program):
        run = list(group)
        left += [] if is_code and len(run) >= _MIN_RUN else run
    return left


def code_of_post(text: str) -> str:
    """The blocks of code that `read_post` leaves out of a post, at most `_MAX_CODE` characters; "" if none."""
    code = "\n".join(block[1] for block in _BLOCK.finditer(text)) if len(text) >= _MIN_CHARS else ""
    return code[:_MAX_CODE] if code and read_post(text) != text else ""


def _reported(block: re.Match[str]) -> str:
    """The last lines of a block of code that report something."""
    reporting = [line for line in block[1].splitlines() if _REPORTS.search(line) and not _is_one_of(line, (_CODE,))]
    return "\n".join(["", *reporting[-_KEPT_LINES:], ""])
