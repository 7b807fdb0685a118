"""Reads every line of a training log, in time linear in its length: rows of values, events, settings."""

import json
import math
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from qa_service.model.training_run import RunEventKind, TrainingEvent
from qa_service.model.values import Value
from qa_service.parsing.logs.blocks import Boxes, HeaderTable, Lists, cells_of_names, is_number
from qa_service.parsing.logs.configuration import is_configuration, read_settings
from qa_service.parsing.logs.corrections import (
    LEADING,
    TRAINER_STATE,
    drop_noncounting_steps,
    is_setting_alone,
    restore_losses,
)
from qa_service.parsing.logs.formats import PLAIN_FORMAT, LogFormat, format_of, named_groups
from qa_service.parsing.logs.held_out import is_of_validation, is_validation_heading, mark_sections, validation_name
from qa_service.parsing.logs.messages import find_message
from qa_service.parsing.logs.nameless import (
    BareValues,
    is_counted_record,
    is_record,
    rename_objectives_to_loss,
    values_before_names,
)
from qa_service.parsing.logs.names import is_measure, meaning_of
from qa_service.parsing.logs.pairs import Pairs, parse_value, read_pairs
from qa_service.parsing.logs.places import counter_of, epoch_of, own_values, step_of
from qa_service.parsing.logs.prefixes import are_numbered, strip_colours, strip_prefixes
from qa_service.parsing.logs.recurring import RecurringLines
from qa_service.parsing.logs.rows import LogRow
from qa_service.parsing.logs.sentences import changed_setting, is_prose, measure_in_heading, stated_loss, stated_measure
from qa_service.patterns import lazy_pattern

MAX_LINE_CHARS = 8_000
"""Of a longer line, the beginning is read."""
_MAX_FORMAT_CHARS = 1_500
_MAX_EVENTS = 3_000
_MAX_EVENT_CHARS = 300
_MAX_HEAD_CHARS = 200
_MAX_TRIED = 200
_MAX_TRACEBACK_LINES = 120
_MAX_PLAIN_CHARS = 60
_MAX_SINGLE_WORDS = 4
_BARS = ("|", "│", "┃")
_EPOCH_HEADING = lazy_pattern(
    r"^[\W_]*(?:epoch|エポック|epoca|época|эпоха|第)[\s:#\[\-]*(\d{1,7})(?:\s*(?:/|of)\s*\d+)?(?:\s*(?:轮|个epoch)[\u4e00-\u9fff]{0,8})?[\W_]*$",
    re.IGNORECASE,
)
_EXCEPTION = lazy_pattern(
    r"^(?:[A-Za-z_]\w*\.)*([A-Z]\w*(?:Error|Exception|Interrupt|Exit|Failure|Warning|Diverged|Training|Terminated)\w*|Exception)(?::|$)"
)
_WIDE = lazy_pattern(r"\S\s{2,}(?=\S)")
_NAMED_AT_END = lazy_pattern(r"\w=[-+.\w]+\s*$")
_RATE_OF_NOW = lazy_pattern(r"\b(?:current|epoch|step|iter(?:ation)?)\b", re.IGNORECASE)
"""A word that makes a learning rate which is printed once a record, not a setting."""
_PAIR_ALONE = lazy_pattern(
    r"\W{0,6}[^\W\d](?:[^:=]{0,60}[:=]\s*\S{1,24}(?:\s[A-Za-z%]{1,4})?|[\w@/.-]{0,30}\s+[-+\d.naif]{1,24})\s*$"
)
"""A line that is one name and its value."""
_BLOCK_LINES = 3
"""Lines after one with a loss that may belong to its block."""
_TENSOR = lazy_pattern(r"(?:, ?(?:device|dtype|grad_fn|requires_grad)=[^,()]{1,60}){1,4}\)")
"""The attributes that torch prints after the value of a tensor."""
_TRACEBACK = "Traceback (most recent call last)"
_BAR = lazy_pattern(r"(?<!\d)\d{1,3}%\|[^|]*\| *(\d+)/(\d+) ")
_GLUED = lazy_pattern(r"(?<=\])(?=\[(?:\d{4}-\d\d-\d\d[ T]|(?:rank|default)\d{1,5}\]))")
"""The place where another process has written after a progress bar on its line."""
_SHARE = lazy_pattern(r":?\s{0,8}(?<!\d)\d{1,3}%\|")
"""The percentage of a progress bar, which is no value of the words before it."""
_OVERFLOWS = frozenset({"deepspeed_overflow", "deepspeed_overflow_short", "gradient_overflow"})
_SKIPS = _OVERFLOWS | {"gradient_norm_nan"}
_PLACES = frozenset({"step", "epoch", "of", "scale"})


@dataclass(slots=True)
class LogScan:
    """The contents of a log."""

    rows: list[LogRow] = field(default_factory=list)
    events: list[TrainingEvent] = field(default_factory=list)
    settings: dict[str, Value] = field(default_factory=dict)
    messages: dict[int, str] = field(default_factory=dict)
    """Number of a line → id of the known message that it is."""
    texts: dict[int, str] = field(default_factory=dict)
    """Number of a line that is an event → its text."""
    lines_read: int = 0


def scan_log(lines: Sequence[tuple[int, str]]) -> LogScan:
    """Reads the lines of a log, given with their numbers from 1; takes time linear in their length."""
    scanner = _Scanner(numbered=are_numbered([text[:_MAX_PLAIN_CHARS] for _, text in lines[:_MAX_TRIED]]))
    for number, whole in lines:
        for piece in _pieces(whole):
            scanner.read(number, piece)
    return scanner.finish()


def _pieces(line: str) -> Iterable[str]:
    """The parts of a line, of which a progress bar has overwritten one with the next; empty ones are left out."""
    if "%|" in line:
        line = _GLUED.sub("\r", line)
    if "\r" not in line and "\b" not in line:
        return (line,) if line and not line.isspace() else ()
    return (piece for piece in re.split(r"[\r\b]+", line) if piece and not piece.isspace())


class _Scanner:
    def __init__(self, *, numbered: bool) -> None:
        self._numbered = numbered
        self._scan = LogScan()
        self._last_read = 0
        self._table: HeaderTable | None = None
        self._above: list[str] = []
        """The cells of the line before, if it may be the first of a header of two lines."""
        self._boxes = Boxes()
        self._lists = Lists()
        self._traceback = 0
        self._traceback_line = 0
        self._epoch: float | None = None
        self._bar: tuple[float, float] | None = None
        self._bar_line = (-1, 0.0)
        """The line of the last bar, and its step."""
        self._rank = ""
        self._skipped = 0.0
        self._singles: dict[str, list[LogRow]] = {}
        self._validation_line = -1
        self._bare = BareValues()
        self._recurring = RecurringLines()
        self._changes: list[LogRow] = []
        self._headed = (-1, "")
        """The last line that ends with the name of a measure and has no number, and that name."""

    def read(self, number: int, piece: str) -> None:
        text = strip_colours(piece[:MAX_LINE_CHARS])
        text, rank = strip_prefixes(_unwrap(text), numbered=self._numbered)
        if not text or text.isspace():
            return
        if "tensor(" in text:
            text = _TENSOR.sub(")", text)
        text = mark_sections(text)
        if rank:
            self._rank = self._rank or rank
        other = bool(rank) and rank != self._rank
        if self._read_traceback(number, text):
            return
        if self._read_message(number, text, other=other):
            pass
        elif other:
            self._mark_other(number, text)
            return
        if not other:
            self._read_values(number, text)

    def finish(self) -> LogScan:
        self._add_rows(self._boxes.close())
        if self._traceback:
            self._add_event("traceback", self._traceback_line, _TRACEBACK)
        losses = [row.number for row in self._scan.rows if any(meaning_of(name) == "loss" for name in row.values)]
        for rows in [*self._singles.values(), [] if losses else self._bare.rows()]:
            first = losses[0] if losses else self._scan.rows[0].number if self._scan.rows else math.inf
            beside = any(
                row.number > first or (losses and (_RATE_OF_NOW.search(row.text) or self._is_in_block(row)))
                for row in rows
            )
            if len(rows) > 1 or beside:
                self._add_rows(rows)
                self._scan.lines_read += len(rows)
        if self._scan.rows or len(self._changes) > 1:
            self._add_rows(self._changes)
            self._scan.lines_read += len(self._changes)
        self._add_recurring()
        rename_objectives_to_loss(self._scan.rows)
        for row in self._scan.rows:
            if is_setting_alone(row):
                self._scan.settings.setdefault("lr", row.values["learning_rate"])
        self._scan.rows = [row for row in self._scan.rows if not is_setting_alone(row)]
        self._scan.rows.sort(key=lambda row: row.number)
        drop_noncounting_steps(self._scan.rows)
        restore_losses(self._scan.rows)
        return self._scan

    def _is_in_block(self, row: LogRow) -> bool:
        """Whether a row of one name and its value stands right above another such row."""
        below = (each for each in self._scan.rows if each.number == row.number + 1)
        return any(_PAIR_ALONE.match(each.text) for each in below) and bool(_PAIR_ALONE.match(row.text))

    def _add_recurring(self) -> None:
        """Adds the rows of recurring lines, except of lines that another reader has taken since."""
        taken = {row.number for row in self._scan.rows}
        losses = [row.number for row in self._scan.rows if any(meaning_of(name) == "loss" for name in row.values)]
        begins = min((row.number for row in self._scan.rows), default=None)
        rows = self._recurring.rows(begins, has_loss=bool(losses))
        fresh = [row for row in rows if row.number not in taken]
        self._scan.rows += [self._place(row) for row in fresh]
        self._scan.lines_read += len({row.number for row in fresh})

    # what a line is

    def _read_traceback(self, number: int, text: str) -> bool:
        """Whether a line belongs to a traceback; its exception is an event, and may be a known message too."""
        if _TRACEBACK in text:
            self._traceback, self._traceback_line = 1, number
            self._mark(number)
            return True
        if not self._traceback:
            match = _EXCEPTION.match(text[:_MAX_HEAD_CHARS])
            if match and not match[1].endswith("Warning"):
                self._mark(number)
                self._add_event("traceback", number, text, name=match[1])
            return False
        self._traceback += 1
        match = _EXCEPTION.match(text[:_MAX_HEAD_CHARS])
        if match is None:
            if self._traceback > _MAX_TRACEBACK_LINES:
                self._traceback = 0
            return True
        self._traceback = 0
        self._mark(number)
        self._add_event("traceback", number, text, name=match[1])
        self._read_message(number, text, other=False)
        return True

    def _read_message(self, number: int, text: str, *, other: bool) -> bool:
        known = find_message(text[:_MAX_FORMAT_CHARS])
        if known is None:
            return False
        message = known[0].id
        self._mark(number)
        if other and message in _OVERFLOWS:
            return True
        self._scan.messages[number] = message
        step = self._scan.rows[-1].step if self._scan.rows else None
        kind: RunEventKind = "skipped_update" if message in _SKIPS else "message"
        self._add_event(kind, number, text, step=step, name=message)
        return True

    def _mark_other(self, number: int, text: str) -> None:
        """Counts a record of another process as read; its values are left out, as the first process shows the run."""
        if any(is_measure(name) for name in read_pairs(text[:_MAX_FORMAT_CHARS]).values):
            self._mark(number)

    def _read_values(self, number: int, text: str) -> None:
        kinds = (self._read_blocks, self._read_format, self._read_heading, self._read_plain, self._read_below)
        for read in (*kinds, self._bare.take):
            if read(number, text):
                return
        self._recurring.keep(number, text)
        if settings := read_settings(text):
            for key, value in settings.items():
                self._scan.settings.setdefault(key, value)

    def _read_blocks(self, number: int, text: str) -> bool:
        for block in (self._boxes, self._lists):
            rows = block.read(number, text)
            if rows is not None:
                self._mark(number)
                self._add_rows(rows)
                return True
        if self._table is not None and (row := self._table.read(number, text)):
            self._mark(number)
            self._add_rows([row])
            return True
        table = HeaderTable.of(text) if _may_be_header(text) else None
        above, self._above = self._above, cells_of_names(text)
        if table is None and above and self._above:
            table = HeaderTable.of_two(above, self._above)
        if table is not None:
            self._table = table
            self._mark(number)
            return True
        return False

    def _read_format(self, number: int, text: str) -> bool:
        found = format_of(text[:_MAX_FORMAT_CHARS])
        bar = _BAR.search(text[:_MAX_FORMAT_CHARS]) if "%|" in text else None
        if bar and (self._bar is None or float(bar[2]) >= self._bar[1]):
            self._bar = float(bar[1]), float(bar[2])
        if bar:
            self._bar_line = number, float(bar[1])
        if found is None:
            if bar:
                self._mark(number)
            return False
        form, match = found
        self._mark(number)
        pairs = read_pairs(_SHARE.sub("|", text) if bar else text)
        row = self._row_of_format(number, text, form, named_groups(match), pairs)
        if form.id == TRAINER_STATE:
            self._join_state(row)
        elif row.values:
            self._add_rows([row])
        if form.in_bits:
            self._scan.settings["log2"] = True
        if form.running_mean:
            self._scan.settings["running_mean"] = True
        return True

    def _row_of_format(self, number: int, text: str, form: LogFormat, named: dict[str, str], pairs: Pairs) -> LogRow:
        values = own_values(pairs)
        for name in named.keys() - _PLACES:
            values.setdefault(name, parse_value(named[name]))
        if "scale" in named:
            values.clear()
            values["loss_scale"] = parse_value(named["scale"])
        elif form.id == "deepspeed":  # the scale that was attempted, where the line names no new one
            attempted = next((value for name, value in values.items() if meaning_of(name) == "loss_scale"), None)
            change = changed_setting(text) if attempted is None else ("loss_scale", attempted)
            values = dict([change]) if change else {}
        step = parse_value(named["step"]) if "step" in named else None
        of = parse_value(named["of"]) if "of" in named else None
        updates = pairs.values.get("num_updates")
        counter = form.id
        if form.id == "tqdm":
            counter = f"bar {named.get('of', '')}"
        if updates is not None:
            step, of, counter = updates, None, f"{form.id} updates"
        if step is None:
            step, of = step_of(pairs)
            if step is None and form.id == "hf_trainer":
                step, counter = self._step_of_bar(), "bar of the trainer"
        if step is None and form.id == "deepspeed" and self._bar_line[0] == number:  # behind the bar on its line
            step, counter = self._bar_line[1], "bar"
        epoch = parse_value(named["epoch"]) if "epoch" in named else epoch_of(pairs)
        if "train_runtime" in text:
            values = {f"final_{name}" if name == "train_loss" else name: value for name, value in values.items()}
        row = LogRow(number, form.id, text, values, step=step, steps_per_epoch=of, epoch=epoch, counter=counter)
        in_epoch = form.step_in_epoch and updates is None and (of is not None or "epoch" in named)
        row.in_epoch = in_epoch or counter.startswith("bar ")
        return self._place(row)

    def _place(self, row: LogRow) -> LogRow:
        """Completes a row by the lines around it: the epoch of a heading, and whether it is of a validation."""
        text = row.text
        if is_of_validation(text) or row.number == self._validation_line + 1:
            row.validation = True
            row.values = {validation_name(name): value for name, value in row.values.items()}
        if row.epoch is None and (row.steps_per_epoch is not None or row.step is None or row.in_epoch):
            row.epoch = self._epoch
        return row

    def _step_of_bar(self) -> float | None:
        bar, self._bar = self._bar, None
        return bar[0] if bar else None

    def _join_state(self, row: LogRow) -> None:
        """The lines of an indented trainer_state.json belong to one record until a name repeats."""
        last = self._scan.rows[-1] if self._scan.rows else None
        if (
            last is not None
            and last.form == TRAINER_STATE
            and not last.values.keys() & row.values.keys()
            and (row.step is None or last.step is None)
            and (row.epoch is None or last.epoch is None)
        ):
            last.values.update(row.values)
            last.number = row.number
            last.step = row.step if row.step is not None else last.step
            last.epoch = row.epoch if row.epoch is not None else last.epoch
        else:
            self._scan.rows.append(row)

    def _read_heading(self, number: int, text: str) -> bool:
        match = _EPOCH_HEADING.match(text) if len(text) < _MAX_PLAIN_CHARS else None
        if match is None and is_validation_heading(text[:_MAX_PLAIN_CHARS]):
            self._validation_line = number
        if match is None:
            return False
        self._mark(number)
        self._epoch = float(match[1])
        self._add_event("epoch", number, text, name=match[1])
        return True

    def _read_below(self, number: int, text: str) -> bool:
        """Whether a line holds the number of a measure whose name ends the line above."""
        line, name = self._headed
        if name and number == line + 1 and is_number(text.strip()):
            self._mark(number)
            self._add_rows(
                [self._place(LogRow(number, PLAIN_FORMAT.id, text, {name: parse_value(text.strip())}, counter="below"))]
            )
            return True
        self._headed = (number, measure_in_heading(text))
        return False

    def _read_plain(self, number: int, text: str) -> bool:
        pairs = read_pairs(text)
        values = own_values(pairs)
        if not pairs.known and (behind := values_before_names(text)):
            values = behind
        if (change := changed_setting(text)) and (len(values) < 2 or not any(map(_is_result, values))):
            return self._keep_change(number, text, *change, step_of(pairs)[0], epoch_of(pairs))
        measures = [name for name in values if is_measure(name)]
        said = None if measures else stated_loss(text)
        if not measures and not said and (told := stated_measure(text)):
            self._singles.setdefault(told[0], []).append(
                LogRow(number, PLAIN_FORMAT.id, text, dict([told]), counter="plain")
            )
            return False
        if said:
            values = dict([said])
            measures = list(values)
        if not measures and is_counted_record(pairs, values):
            measures = list(values)
        if not measures and values and is_record(text):
            self._singles.setdefault(" ".join(values), []).append(
                LogRow(number, PLAIN_FORMAT.id, text, values, counter="plain")
            )
            return False
        if len(values) == 1 and not measures and meaning_of(next(iter(values))) == "lr":
            step, of = step_of(pairs)
            row = LogRow(number, PLAIN_FORMAT.id, text, values, step=step, steps_per_epoch=of, epoch=epoch_of(pairs))
            row.counter = counter_of(pairs)
            self._keep_single(number, self._place(row))
            return False  # it may be a setting too
        if not measures or is_prose(text, max(len(pairs.values), len(values))) or self._is_settings(text, measures):
            return False
        step, of = step_of(pairs)
        counter = counter_of(pairs)
        if step is None and pairs.leading is not None:
            step, counter = pairs.leading, LEADING
        row = LogRow(
            number, PLAIN_FORMAT.id, text, values, step=step, steps_per_epoch=of, epoch=epoch_of(pairs), counter=counter
        )
        row.in_epoch = row.counter == "plain counter" and (row.epoch is not None or self._epoch is not None)
        row = self._place(row)
        if len(pairs.values) == 1 and step is None and not said:
            return self._keep_single(number, row)
        self._mark(number)
        self._add_rows([row])
        return True

    def _keep_change(
        self, number: int, text: str, name: str, value: float, step: float | None, epoch: float | None
    ) -> bool:
        """Keeps a line that says what the rate or the scale becomes, which counts if it is not the only record.

        Returns whether no other reader needs the line; one with a learning rate may be a setting too.
        """
        row = LogRow(number, PLAIN_FORMAT.id, text, {name: value}, step=step, epoch=epoch, counter="change")
        self._changes.append(self._place(row))
        return name == "loss_scale"

    def _keep_single(self, number: int, row: LogRow) -> bool:
        """Keeps a line with one value, which counts at once if it is a measure, else if its name recurs.

        Returns whether no other reader needs the line.
        """
        name = next(iter(row.values))
        words = len([word for word in row.text.split() if word not in _BARS])
        if words > _MAX_SINGLE_WORDS and not re.search(r"[:=]|\bto [-+.\d]", row.text):
            return False
        some_loss = "loss" in name and not meaning_of(name)
        alone = _NAMED_AT_END.search(row.text) or _PAIR_ALONE.match(row.text)
        if (len(row.text) > _MAX_PLAIN_CHARS and not alone) or "?" in row.text:
            return False
        if meaning_of(name) in ("loss_scale", "") and not some_loss:
            block = (row.text[:1].isspace() or _PAIR_ALONE.match(row.text)) and self._follows(number, row)
            if (is_measure(name) and (row.text[:1].isspace() or _PAIR_ALONE.match(row.text))) or block:
                self._singles.setdefault(name, []).append(row)
            return False
        measure = some_loss or meaning_of(name) in ("loss", "val_loss", "accuracy", "val_accuracy", "perplexity")
        if measure or self._continues(number, row.text):
            self._mark(number)
            self._add_rows([row])
        else:
            self._singles.setdefault(name, []).append(row)
        return True

    def _follows(self, number: int, row: LogRow) -> bool:
        """Whether a value with decimals and no known name stands right below a record or another single value."""
        kept = (self._scan.rows[-1:], *self._singles.values())
        above = any(rows and rows[-1].number == number - 1 for rows in kept)
        return above and not is_configuration(row.text) and not read_settings(row.text) and not _are_whole(row)

    def _continues(self, number: int, text: str) -> bool:
        """Whether a line belongs to the block of the line before it: it is indented, or begins with the same word."""
        last = self._scan.rows[-1] if self._scan.rows else None
        if last is None or not 0 <= number - last.number <= _BLOCK_LINES:
            return False
        first, colon, _ = text.partition(":")
        return text[:1].isspace() or (bool(colon) and first.isalpha() and last.text.startswith(f"{first}:"))

    @staticmethod
    def _is_settings(text: str, measures: list[str]) -> bool:
        losses = [name for name in measures if meaning_of(name) in ("loss", "val_loss", "accuracy", "val_accuracy")]
        return is_configuration(text) and not losses

    # what is kept

    def _mark(self, number: int) -> None:
        """Counts a line as read, once."""
        if number != self._last_read:
            self._last_read = number
            self._scan.lines_read += 1

    def _add_rows(self, rows: Iterable[LogRow]) -> None:
        for row in rows:
            skipped = next((row.values[name] for name in row.values if meaning_of(name) == "skipped"), 0.0)
            if row.form == "deepspeed_step":  # counts all since the start
                skipped, self._skipped = max(0.0, skipped - self._skipped), skipped
            if skipped >= 1:
                self._add_event("skipped_update", row.number, row.text, step=row.step, name="skipped")
            if row.epoch is not None and math.isfinite(row.epoch) and int(row.epoch) != int(self._epoch or -1):
                self._epoch = float(int(row.epoch))
                self._add_event("epoch", row.number, row.text, step=row.step, name=str(int(row.epoch)))
            self._scan.rows.append(row)

    def _add_event(
        self, kind: RunEventKind, number: int, text: str, *, step: float | None = None, name: str = ""
    ) -> None:
        if len(self._scan.events) >= _MAX_EVENTS:
            return
        whole = int(step) if step is not None and math.isfinite(step) else None
        words = " ".join(text.split())[:_MAX_EVENT_CHARS]
        self._scan.events.append(TrainingEvent(kind=kind, text=words, step=whole, line=number, name=name))
        self._scan.texts.setdefault(number, words)


def _is_result(name: str) -> bool:
    """Whether a name is that of a measure other than the learning rate and the loss scale."""
    return is_measure(name) and meaning_of(name) not in ("loss_scale", "lr")


def _are_whole(row: LogRow) -> bool:
    return all(value.is_integer() for value in row.values.values())


def _unwrap(text: str) -> str:
    """The line inside a record of Docker's JSON logs."""
    if text.startswith('{"log":'):
        try:
            inner = json.loads(text).get("log", "")
        except (ValueError, AttributeError, RecursionError):
            return text
        return strip_colours(inner.rstrip("\n")) if isinstance(inner, str) else text
    return text


def _may_be_header(text: str) -> bool:
    lower = text.lower()
    if text.lstrip().startswith("#"):
        return "step" in lower or "epoch" in lower or "iter" in lower
    return (("loss" in lower or "gpu_mem" in lower or "images" in lower or "acc" in lower) and "epoch" in lower) or (
        "loss" in lower
        and (
            "step" in lower
            or "iter" in lower
            or "," in lower
            or "\t" in lower
            or ("|" not in text and len(_WIDE.findall(text)) > 1)
        )
    )
