"""Reads training logs pasted into a question: formats, values by step, known messages, signs of trouble.

`formats` and `messages` are tables to extend; `harvest` reads pairs of keys and numbers, `reader` finds the lines of a
log, `rules` derives signs, `describe` says in one line what was read.
"""

from qa_service.parsing.logs.describe import describe_log
from qa_service.parsing.logs.reader import read_log
from qa_service.parsing.logs.reading import LogLine, LogReading, Point
from qa_service.parsing.logs.rules import observe_messages

__all__ = ["LogLine", "LogReading", "Point", "describe_log", "observe_messages", "read_log"]
