"""Reads training logs: formats, values by step, known messages, signs of trouble.

`formats`, `messages` and `names` are tables to extend; `rules` derives signs. Of a log pasted into a question, `reader`
finds the lines, `harvest` reads the pairs of known keys and numbers, `describe` says in one line what was read. Of a
log that is to be diagnosed, `scan` reads every line: `prefixes` are taken off, `notation` rewrites what is written
otherwise, `pairs` reads all names and numbers,
`sentences` values said in words, `nameless` values without known names, `blocks` what spreads over lines, `recurring`
what a program prints again and again and nothing else has read, `configuration` the settings; `held_out` and `places`
say of which part of the data and of which step they are, `mending` repairs what only the whole log tells, `rows` makes
series of them. A name that is in no table of `names` is known by its parts, see `morphemes`.
"""

from qa_service.parsing.logs.describe import describe_log
from qa_service.parsing.logs.reader import read_log
from qa_service.parsing.logs.reading import LogLine, LogReading, Point
from qa_service.parsing.logs.rules import observe_messages

__all__ = ["LogLine", "LogReading", "Point", "describe_log", "observe_messages", "read_log"]
