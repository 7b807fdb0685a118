"""Reads a training run from the text of a log."""

from dataclasses import replace

from qa_service.model.training_run import Record, RunEvent, TrainingRun
from qa_service.parsing.logs import read_log
from qa_service.parsing.logs.messages import find_message

_SKIPPED = ("deepspeed_overflow", "deepspeed_overflow_short", "gradient_overflow")


def read_run(data: bytes, name: str = "") -> TrainingRun:
    """The run in a file."""
    return replace(read_log_text(data.decode("utf-8", "replace")), name=name)


def read_log_text(text: str) -> TrainingRun:
    """The run in a pasted log; empty if there is none."""
    reading = read_log(text)
    events = []
    for number, line in enumerate(text.splitlines(), start=1):
        if found := find_message(line):
            kind = "skipped_update" if found[0].id in _SKIPPED else "message"
            events.append(RunEvent(kind=kind, name=found[0].id, text=line.strip()[:300], line=number))  # type: ignore[arg-type]
    series = {
        key: tuple(Record(point.step, point.line, point.value) for point in points)
        for key, points in (reading.series.items() if reading else ())
    }
    losses = series.get("loss", ())
    steps = [point.step for point in losses if point.step is not None]
    starts = not steps or steps[0] <= 1 or (len(steps) > 1 and steps[0] <= 1.5 * (steps[1] - steps[0]))
    return TrainingRun(
        source="log",
        format=reading.format if reading else "",
        framework=reading.framework if reading else "",
        series=series,
        events=tuple(events),
        lines=text.count("\n") + 1,
        lines_read=reading.count if reading else 0,
        from_start=bool(losses) and starts,
    )
