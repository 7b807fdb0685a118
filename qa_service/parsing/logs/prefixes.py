"""Strips what containers, launchers and loggers put before a line (times, ranks, levels), and colours."""

from collections.abc import Sequence
from typing import NamedTuple

from qa_service.patterns import lazy_pattern

_ANSI = lazy_pattern(
    r"\x1b\][^\x07\x1b]{0,200}(?:\x07|\x1b\\)|(?:\x1b|␛|\^\[|\\x1b|\\033)?\[\d{1,3}(?:;\d{1,3}){0,4}m"
    r"|\x1b\[[0-9;?]*[A-Za-z]|\x1b[()][A-Z0-9]"
)
_COLOURED = ("\x1b", "[0m", "[1m", "[3", "[9")
_TIME = r"\d\d?:\d\d:\d\d(?:[.,]\d{1,9})?"
_DAY = r"(?:\d{4}[-/.]\d\d?[-/.]\d\d?|\d\d[-/]\d\d[-/]\d{2,4}|\d\d/\d\d|\d\d-\d\d)"
_LEVEL = r"(?:TRACE|DEBUG|INFO|NOTICE|WARN(?:ING)?|ERROR|CRITICAL|FATAL)"
_PREFIX = lazy_pattern(
    rf"\s*(?:"
    rf"\[?{_DAY}[T _]{_TIME}(?:\s?[AP]M)?(?:Z|\s?[+-]\d\d:?\d\d)?(?: std(?:out|err) [FP])?\]?:?"  # a time, also of k8s
    rf"|\[{_DAY}[T ]{_TIME}[^\]]{{0,60}}\]:?"  # [04/12 10:00:00 d2.utils.events]:
    rf"|\[?{_TIME}\]?(?=\s)(?!\s*<)"
    rf"|[A-Z][a-z]{{2}} +\d\d? {_TIME} [\w.-]+ [\w./-]+(?:\[\d+\])?:"  # syslog
    rf"|[IWEF]\d{{4,8}} {_TIME} +\d+ [\w./-]+:\d+\]"  # glog
    rf"|\[(?P<rank>(?:rank|default|local_rank|gpu)[\s=:]?\d+)\]:?"
    rf"|(?P<rank2>(?:rank|default|local_rank|gpu)[\s=]?\d+)(?::|\s*\|)(?=[\s\[])"
    rf"|[\w.-]+[-_]\d+ +\|(?=\s)"  # docker compose
    rf"|\[?\b{_LEVEL}\b\s*\]?(?::[\w.]+:|:|\||-|>)?(?=[\s\[{{(\w])"
    rf"|\[ *{_LEVEL} *[:|] *{_DAY}[T _]{_TIME} *\]"
    rf"|\[ *(?:{_LEVEL}|[\w./]+(?:\.py)?:\d+(?::\w+)?)\s*\]:?"
    rf"|\((?:[a-z_]\w*\.)*[a-z_]\w*:\d+\)"  # (trainer:762) of ESPnet
    rf"|(?:ray::)?\([\w.:]+ ?pid=\d+(?:, ip=[\d.]+)?\)"  # Ray
    rf"|(?:root|lightning|torch|mmengine|mmdet|mmseg|mmcv|mmpretrain|tensorflow|absl|__main__)"
    rf"(?::\d+)?(?:\s*[-|:]|\s+{_LEVEL}:?)(?=\s)"
    rf"|[a-z_]+\.[\w.]+(?::\d+)?(?:\s*[-|]|\s+{_LEVEL}:?)(?=\s)"
    rf")",
)  # fmt: skip
_NUMBERED = lazy_pattern(r"\s*(?P<rank>\d{1,4}): ?")
"""What `srun --label` puts before each line: the number of its process."""
_MIN_NUMBERED = 5
_JOINT = lazy_pattern(r"\s*[-|:>](?=\s)")
"""Between the parts of a prefix."""
_MAX_PREFIXES = 8


class Stripped(NamedTuple):
    """A line without its prefixes."""

    text: str
    rank: str
    """The process that wrote it, as the prefix names it; "" for none."""


def strip_colours(text: str) -> str:
    """The text without ANSI sequences, also those that lost their escape character in a copy."""
    return _ANSI.sub("", text) if any(mark in text for mark in _COLOURED) else text


def are_numbered(lines: Sequence[str]) -> bool:
    """Whether lines begin with the numbers of processes, "3: ": all do, and the numbers repeat."""
    numbers = [match["rank"] for line in lines if (match := _NUMBERED.match(line))]
    written = sum(1 for line in lines if line.strip())
    return len(numbers) >= _MIN_NUMBERED and len(numbers) >= 0.9 * written and 2 * len(set(numbers)) <= len(numbers)


def strip_prefixes(text: str, *, numbered: bool = False) -> Stripped:
    """The line from its first own word on; leading white space stays where there is no prefix.

    `numbered` says that the number of a process stands first, see `are_numbered`.
    """
    position, rank = 0, ""
    if numbered and (first := _NUMBERED.match(text)):
        position, rank = first.end(), first["rank"]
    start = position
    for _ in range(_MAX_PREFIXES):
        match = _PREFIX.match(text, position)
        if match is None or match.end() == position:
            break
        rank = rank or match["rank"] or match["rank2"] or ""
        position = match.end()
        joint = _JOINT.match(text, position)
        position = joint.end() if joint else position
    text = text[position:]
    return Stripped(text.lstrip() if position > start else text, rank.lower())
