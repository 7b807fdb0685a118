"""Reads training logs: formats, values by step, known messages, signs of trouble.

`formats`, `messages` and `names` are tables to extend; `rules` derives signs. In a log pasted into a question, `reader`
finds the lines, `harvest` reads the pairs of known keys and numbers, `describe` sums them up in one line. In a log that
is to be diagnosed, `scan` reads every line: `prefixes` strips what loggers prepend, `notation` normalises numbers and
names, `pairs` reads all names and numbers, `sentences` values in prose, `nameless` values without known names, `blocks`
records over several lines, `recurring` lines of one repeated form that nothing else has read, `configuration` the
settings; `held_out` tells the part of the data, `places` the step, `corrections` repairs what only all lines show,
`rows` makes series. A name that is in no table of `names` is known by its parts, see `morphemes`.
"""

from qa_service.parsing.logs.describe import describe_log
from qa_service.parsing.logs.reader import read_log
from qa_service.parsing.logs.reading import LogLine, LogReading, Point
from qa_service.parsing.logs.rules import observe_messages

__all__ = ["LogLine", "LogReading", "Point", "describe_log", "observe_messages", "read_log"]
