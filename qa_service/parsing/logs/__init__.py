"""Reads training logs: formats, values by step, known messages, signs of trouble.

`formats`, `messages` and `names` are tables to extend; `rules` derives signs. Of a log pasted into a question, `reader`
finds the lines, `harvest` reads the pairs of known keys and numbers, `describe` says in one line what was read. Of a
log that is to be diagnosed, `scan` reads every line: `prefixes` are taken off, `pairs` reads all names and numbers,
`nameless` values without known names, `blocks` what spreads over lines, `configuration` the settings; `rows` makes
series of them.
"""

from qa_service.parsing.logs.describe import describe_log
from qa_service.parsing.logs.reader import read_log
from qa_service.parsing.logs.reading import LogLine, LogReading, Point
from qa_service.parsing.logs.rules import observe_messages

__all__ = ["LogLine", "LogReading", "Point", "describe_log", "observe_messages", "read_log"]
