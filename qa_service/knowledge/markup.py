"""Markdown of an entry that is not shown as it was meant: steps that run into a paragraph, an ellipsis in code."""

import re
from collections.abc import Iterator

from qa_service.model import LANGS, PARTS, Entry

_CODE = re.compile(r"```[^\n]*\n.*?```|`[^`\n]+`", re.DOTALL)
_LIST_LINE = re.compile(r"(?:\d+\.|[-*]) ")


def markup_problems(entry: Entry) -> Iterator[str]:
    """A sentence for each such place in the parts of the entry."""
    for lang in LANGS:
        for part in PARTS:
            text = entry.part(part, lang)
            for line in list_lines_in_paragraphs(text):
                yield f"{part}.{lang}: expected a blank line before {line!r}, which follows a paragraph"
            for line in "\n".join(_CODE.findall(text)).split("\n"):
                if "…" in line:  # elsewhere it stands for a number that is not measured yet
                    yield f'{part}.{lang}: expected "..." instead of "…" in the code {line!r}'


def list_lines_in_paragraphs(text: str) -> Iterator[str]:
    """List lines directly below a paragraph that is no list item: Markdown takes a number there for its text."""
    in_code = in_list = False
    previous = ""
    for line in text.split("\n"):
        fence = line.startswith("```")
        starts_item = not in_code and _LIST_LINE.match(line) is not None
        if starts_item and previous and not in_list:
            yield line
        in_code ^= fence
        previous = "" if fence or in_code else line.strip()
        in_list = bool(previous) and (in_list or starts_item)
