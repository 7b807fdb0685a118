"""Reads observations from prose: what is seen, where, when, in what setting, and what was tried in vain."""

import re
import unicodedata
from bisect import bisect_left, bisect_right
from collections.abc import Iterator
from functools import cache
from typing import Any, Literal

from qa_service.model.observation import Observation, ObservationKind, Sign
from qa_service.parsing import signs
from qa_service.parsing.logs import LogReading, observe_messages, read_log
from qa_service.parsing.required import grams
from qa_service.parsing.tables import Table
from qa_service.parsing.text import simplify_chinese
from qa_service.patterns import lazy_pattern

MAX_PROSE_CHARS = 3_000
"""Of longer prose, the beginning and the end are read, where people say what they see."""
_MAX_FRAGMENT_CHARS = 60
_FIRST_STEP = Sign("when", "first_step")
_FINITE = Sign("what", "finite")
_DTYPES = frozenset({"float16", "bfloat16", "float32"})  # in use by themselves, they are settings
_NARROW = frozenset({"amp", "float16"})  # without them, it is float32
_MAX_LIST = 500  # characters of a list of what was tried
_NEAR = 40  # characters between a symptom and its place, a setting and how it works there
_CURED_NEAR = 50  # characters between a remedy and the words that say that it helped
_CLAUSE_END = lazy_pattern(
    r"[,;!?。、\n](?=\s|[^\x00-\x7f]|$)|[,;。]|\.(?=\s|$)|但是?|可是|不过|然而|(?<![a-z])(?:but|however|while"
    r"|whereas|although|though)(?![a-z])"
)
_SENTENCE_END = lazy_pattern(r"[。;!?\n]|\.(?=\s|$)")
_DONE = lazy_pattern(r"[过了]|ed(?![a-z])")
_CONJOINED = lazy_pattern(r"\s*(?:和|与|及|以及|、|,|/|&|and|or)?\s*")
_PLACES = Table(signs.PLACES.items())
_SYMPTOMS = Table((symptom, symptom.pattern) for symptom in signs.SYMPTOMS)
_TIMES = Table(signs.TIMES.items())
_SETTINGS = Table(signs.SETTINGS.items())
_FORMATS = Table((value, pattern) for value, pattern in signs.SETTINGS.items() if value in _DTYPES)
_ACTIONS = Table(signs.ACTIONS.items())
SIGN_TABLES: tuple[Table[Any], ...] = (_PLACES, _SYMPTOMS, _TIMES, _SETTINGS, _FORMATS, _ACTIONS)
_Found = tuple[str, re.Match[str]]


def observe(text: str) -> tuple[Observation, ...]:
    """The observations of a question, each sign once: first those of its prose, then those of a log in it."""
    return observe_question(text, read_log(text))


def observe_question(text: str, log: LogReading | None) -> tuple[Observation, ...]:
    """The same for a text whose log has been read."""
    prose = text if log is None else log.prose
    found = (*_Prose(prose).observations(), *observe_messages(_beginning_and_end(prose)))
    found = (*found, *log.observations) if log else found
    observed = {each.sign: each for each in reversed(found)}
    if log and log.begins_finite:
        observed.pop(_FIRST_STEP, None)
    if log and log.stays_finite:
        observed.setdefault(_FINITE, Observation(sign=_FINITE, text=log.lines[-1].text))
    return tuple(observed.values())[::-1]


def speaks_of_training(text: str) -> bool:
    """Whether a text, in lower case, names a part or a setting of a training run."""
    return any(signs.matches(table, text) for table in (_PLACES, _SETTINGS))


class _Prose:
    """A text with the mentions of places, symptoms, settings and remedies in it.

    `folded` has a character for each of `text`, so that a match gives the verbatim fragment.
    """

    def __init__(self, text: str) -> None:
        self.text = _beginning_and_end(text)
        self.folded = fold_case_and_width(self.text)
        self.clauses = [0, *(match.end() for match in _CLAUSE_END.finditer(self.folded))]
        self.sentences = [0, *(match.end() for match in _SENTENCE_END.finditer(self.folded))]
        self.grams = grams(self.folded)
        self.places = signs.matches(_PLACES, self.folded, self.grams)
        self.place_starts = [match.start() for _, match in self.places]
        self.symptoms: list[_Found] = []
        self.attempts: list[tuple[int, int]] = []
        self.found: dict[Sign, tuple[int, int]] = {}

    def observations(self) -> tuple[Observation, ...]:
        """What the text states, by position."""
        self._read_remedies()
        self._read_symptoms()
        self._read_times()
        self._read_settings()
        ordered = sorted(self.found.items(), key=lambda each: each[1])
        return tuple(Observation(sign=sign, text=self._fragment(*span)) for sign, span in ordered)

    def _add(self, kind: ObservationKind, value: str, start: int, end: int) -> None:
        span = self.found.get(sign := Sign(kind, value))
        self.found[sign] = min(span, (start, end)) if span else (start, end)

    def _fragment(self, start: int, end: int) -> str:
        return " ".join(self.text[start : min(end, start + _MAX_FRAGMENT_CHARS)].split())

    def _clause(self, position: int) -> int:
        return bisect_right(self.clauses, position) - 1

    def _clause_bounds(self, index: int) -> tuple[int, int]:
        end = self.clauses[index + 1] if index + 1 < len(self.clauses) else len(self.folded)
        return self.clauses[index], end

    def _sentence_start(self, position: int) -> int:
        return self.sentences[bisect_right(self.sentences, position) - 1]

    # What and where

    def _read_symptoms(self) -> None:
        for symptom, match in signs.matches(_SYMPTOMS, self.folded, self.grams):
            if self._is_negated(match):
                if symptom.value in ("nan", "inf") and not self._speaks_of_data(match.start()):
                    self._add_symptom("finite", self._places_of(symptom, match), match)
            elif self._is_stated(symptom, match):
                self._add_symptom(symptom.value, self._places_of(symptom, match), match)
        if stated := signs.UNQUALIFIED_FINITE.search(self.folded):
            self._add("what", "finite", *stated.span())

    def _is_stated(self, symptom: signs.Symptom, match: re.Match[str]) -> bool:
        """Whether the words state this symptom of a place where it may be seen, or of none where none is needed."""
        nearest = self._nearest(match)
        if nearest and nearest[-1][0] and symptom.places:
            return nearest[-1][0] in symptom.places
        return not symptom.needs_place

    def _add_symptom(self, value: str, places: list[_Found], match: re.Match[str]) -> None:
        start = min((place.start() for _, place in places), default=match.start())
        self._add("what", value, min(start, match.start()), match.end())
        if value != "finite" or places:
            self.symptoms.append((value, match))
        for place, where in places:
            self._add("where", place, min(where.start(), match.start()), max(where.end(), match.end()))

    def _is_negated(self, match: re.Match[str]) -> bool:
        start = max(self.clauses[self._clause(match.start())], match.start() - 24)
        return bool(signs.NEGATED.search(self.folded, start, match.start()))

    def _speaks_of_data(self, position: int) -> bool:
        start = self._sentence_start(position)
        return any(
            start <= place.start() < position + 12 for value, place in self.places if value in ("input", "label")
        ) or any(abs(span[0] - position) < _NEAR for sign, span in self.found.items() if sign.value == "data_check")

    def _places_of(self, symptom: signs.Symptom, match: re.Match[str]) -> list[_Found]:
        """The places of a symptom: the nearest, with those conjoined to it."""
        vague = signs.VAGUE_PLACES if symptom.value in ("nan", "inf") else frozenset()
        return [each for each in self._nearest(match) if each[0] in symptom.places and each[1][0] not in vague]

    def _nearest(self, symptom: re.Match[str]) -> list[_Found]:
        """The nearest mention before a symptom with those conjoined to it, else the nearest after it; [] if none."""
        start, end = self._clause_bounds(self._clause(symptom.start()))
        near = self._places_between(max(start, symptom.start() - 2 * _NEAR), min(end, symptom.end() + _NEAR // 2))
        before = [each for each in near if each[1].end() <= symptom.end() + 1]
        before = [each for each in before if symptom.start() - each[1].end() <= _NEAR]
        if len(before) > 1 and before[-2][0] and before[-1][1][0] in ("输出", "output"):
            before = before[:-1]  # "loss 一直输出 nan": a verb
        after = [each for each in near if symptom.end() <= each[1].start()]
        if after and (not before or not before[-1][0] or after[0][1].start() - symptom.end() <= 1):
            return after[:1]
        return self._with_conjoined(before[-1:], before) if before else self._earlier_place(symptom)

    def _with_conjoined(self, nearest: list[_Found], before: list[_Found]) -> list[_Found]:
        together = list(nearest)
        for each in reversed(before[:-1]):
            if not _CONJOINED.fullmatch(self.folded, each[1].end(), together[0][1].start()):
                break
            together.insert(0, each)
        return together

    def _earlier_place(self, symptom: re.Match[str]) -> list[_Found]:
        """The place in the clause before, in the same sentence, if that clause states no symptom of it."""
        clause = self._clause(symptom.start())
        start = max(self._sentence_start(symptom.start()), self.clauses[max(0, clause - 2)])
        if self.symptoms and self.symptoms[-1][1].start() >= start:
            return []
        before = self._places_between(max(start, symptom.start() - 2 * _NEAR), symptom.start())
        return [each for each in before if each[0] and each[1].end() <= symptom.start()][-1:]

    def _places_between(self, start: int, end: int) -> list[_Found]:
        """The mentions of places that begin between two positions."""
        return self.places[bisect_left(self.place_starts, start) : bisect_left(self.place_starts, end)]

    # When

    def _read_times(self) -> None:
        sick = {self._clause(match.start()) for value, match in self.symptoms if value != "finite"}
        sick |= {self._clause(match.start()) for match in signs.ONSET.finditer(self.folded)}
        stated = sick | {self._clause(match.start()) for _, match in self.symptoms}
        tried = [span for sign, span in self.found.items() if sign.kind == "tried"]
        if alone := signs.ONLY_A_TIME.fullmatch(self.folded.strip(" .,!?。\n")):
            first = (alone["en"] or alone["zh"]) in ("0", "1")
            self._add("when", "first_step" if first else "later", 0, len(self.folded))
        if sick and (start := signs.HEALTHY_START.search(self.folded)):
            self._add("when", "later", *start.span())
        for value, match in signs.matches(_TIMES, self.folded, self.grams):
            clause = self._clause(match.start())
            if value == "first_step" and signs.HEALTHY_AT_FIRST.search(self.folded, *self._clause_bounds(clause)):
                self._add("when", "later", *match.span())
                continue
            nearby = sick & {clause, clause + 1} or (clause not in stated and clause - 1 in sick)
            if value == "after_change":
                nearby = sick & {clause, clause + 1} and not any(
                    start < match.end() and match.start() < end for start, end in tried
                )
            if value == "later" and self._is_duration(match, clause):
                continue
            if nearby and (clause in sick or clause not in stated):
                self._add("when", value, *match.span())

    def _is_duration(self, time: re.Match[str], clause: int) -> bool:
        """Whether a time says how long a symptom has lasted, not when it came."""
        near = {value for value, match in self.symptoms if abs(self._clause(match.start()) - clause) <= 1}
        if not near or not near <= signs.LASTING:
            return False
        if signs.EVEN_BEFORE.search(self.folded, max(0, time.start() - 8), time.start()):
            return True
        return bool(signs.DURATION.match(time.group())) and not signs.SINCE.match(self.folded, time.end())

    # In what setting

    def _read_settings(self) -> None:
        tried = [span for sign, span in self.found.items() if sign.kind == "tried"]
        for value, match in signs.matches(_SETTINGS, self.folded, self.grams):
            if any(start <= match.start() < end for start, end in tried):
                continue
            for kind, sign in self._use_of(value, match):
                self._add(kind, sign, *match.span())

    def _use_of(self, value: str, match: re.Match[str]) -> tuple[tuple[ObservationKind, str], ...]:
        """The signs of a mention of a setting: it is in use or asked about ("in"), it works there ("fine"), or none."""
        start, end = self._clause_bounds(self._clause(match.start()))
        if signs.ABSENT.search(self.folded, start, match.start()) or signs.REPLACED.match(self.folded, match.end()):
            return ()
        off = signs.SWITCHED_OFF.search(self.folded, start, match.start()) or signs.SWITCHED_OFF_AFTER.match(
            self.folded, match.end()
        )
        if off:
            if not signs.CURE_STATED.search(self.folded, match.end(), min(len(self.folded), match.end() + _NEAR)):
                return ()
            return (("in", value), ("fine", "float32")) if value in _NARROW else (("in", value),)
        if not self._works_with(match, start, end):
            return (("in", value),)
        return (("fine", value),) if value in signs.SETTINGS_THAT_HELP else ()

    def _works_with(self, match: re.Match[str], start: int, end: int) -> bool:
        """Whether the clause of a setting says that it works there, and names no symptom in between."""
        start, end = max(start, match.start() - 2 * _NEAR), min(end, match.end() + 2 * _NEAR)
        before = self._clause_before(match.start(), match.start())
        if signs.ASKS_WHY.search(before) or signs.UNSTATED.search(before) or signs.FORMERLY_BEFORE.search(before):
            return False
        for cured in signs.CURE_STATED.finditer(self.folded, start, end):
            low, high = sorted(((match.start(), match.end()), cured.span()))
            between = self.folded[low[1] : high[0]]
            sick = any(low[1] <= each.start() < high[0] for value, each in self.symptoms if value != "finite")
            named = any(
                low[1] <= place.start() < high[0]
                for value, place in self.places
                if value and place[0] not in signs.VAGUE_PLACES
            )
            if len(between) <= _NEAR and not sick and not named:
                asked = signs.QUESTION_PARTICLE.match(self.folded, cured.end()) or signs.COMPARED.search(
                    self.folded, start, high[1]
                )
                return not asked
        return False

    # What was tried

    def _read_remedies(self) -> None:
        mentions = signs.matches(_ACTIONS, self.folded, self.grams)
        mentions = sorted([*mentions, *self._lowered_rates()], key=lambda each: each[1].start())
        self.attempts = list(self._attempt_lists())
        for index, (value, match) in enumerate(mentions):
            later = [other.start() for _, other in mentions[index + 1 : index + 9]]
            outcome = self._outcome(value, match, later)
            if outcome == "tried" or (outcome == "fine" and value in signs.SETTINGS_THAT_HELP):
                self._add(outcome, value, *match.span())
        if sound := signs.CLEAN_DATA.search(self.folded):
            self._add("tried", "data_check", *sound.span())

    def _lowered_rates(self) -> Iterator[_Found]:
        """Where a learning rate is given that is at most half of one given before: "lr 2e-4 … then 2e-7"."""
        largest = 0.0
        for match in signs.RATE_VALUE.finditer(self.folded):
            value = _number(match["value"] or match["then"] or match["to"])
            if 0 < value <= largest / 2:
                yield "lower_lr", match
            elif match["value"]:
                largest = max(largest, value)

    def _attempt_lists(self) -> Iterator[tuple[int, int]]:
        """(start, end) of each list of remedies that have been tried."""
        for match in signs.ATTEMPT_LIST.finditer(self.folded):
            if self._is_unstated(match.start(), match.end()):
                continue
            announced = signs.LIST_ANNOUNCED.match(self.folded, match.end())
            ends = signs.LIST_END if announced else _SENTENCE_END
            start = announced.end() if announced else match.end()
            while self.folded[start : start + 1] == "\n":
                start += 1
            end = ends.search(self.folded, start)
            yield match.start(), min(end.start() if end else len(self.folded), start + _MAX_LIST)

    def _is_unstated(self, start: int, end: int) -> bool:
        """Whether what is said from `start` on is asked, wished for or negated, as its clause says before `end`."""
        return bool(signs.UNSTATED.search(self._clause_before(start, end)))

    def _clause_before(self, start: int, end: int) -> str:
        """The clause of what is said at `start`, up to `end`."""
        return self.folded[self.clauses[self._clause(start)] : end]

    def _outcome(self, value: str, match: re.Match[str], later: list[int]) -> Literal["tried", "fine"] | None:
        """The outcome of a remedy: "tried" if the text says that it failed, was tried or is in use; "fine" if it says
        that it helped; None if it says neither. A list of remedies shares the outcome after it.
        """
        if self._is_unstated(match.start(), match.start()):
            return None
        if value in _DTYPES and signs.REPLACED.match(self.folded, match.end()):
            return None
        listed = [end for start, end in self.attempts if start <= match.start() < end]
        reach = match.end() + _NEAR
        for start in later:
            if start > reach + _NEAR // 2:
                break
            reach = start + _NEAR
        failed = signs.FAILED.search(self.folded, match.start(), min(len(self.folded), max(reach, *listed, 0)))
        if failed and value in _DTYPES and not listed and not self._is_next_said(match, failed):
            failed = None
        cured = signs.CURE_STATED.search(
            self.folded, match.end(), min(len(self.folded), max(reach, match.end() + _CURED_NEAR))
        )
        if cured and self._names_dtype(match.end(), cured.start()):
            cured = None
        if value == "data_check" and _DONE.search(self.folded, match.start(), match.end() + 1):
            return "tried"  # what a check found is no cure
        if failed and (cured is None or failed.start() <= cured.start()):
            return "tried"
        if cured:
            return "fine" if self._has_helped(match, cured, later) else None
        if value in _DTYPES:
            return None
        attempted = signs.ATTEMPTED.search(
            self.folded, max(self._sentence_start(match.start()), match.start() - 30), match.end() + 6
        )
        in_use = signs.IN_USE.match(self.folded, match.end())
        return "tried" if attempted or in_use or listed else None

    def _is_next_said(self, remedy: re.Match[str], outcome: re.Match[str]) -> bool:
        """Whether an outcome is told in the clause of a number format or in the next, with no other format between."""
        clauses = self._clause(outcome.start()) - self._clause(remedy.start())
        return clauses <= 1 and not self._names_dtype(remedy.end(), outcome.start())

    def _names_dtype(self, start: int, end: int) -> bool:
        return any(each.pattern.search(self.folded, start, end) for each in _FORMATS)

    def _has_helped(self, remedy: re.Match[str], cured: re.Match[str], later: list[int]) -> bool:
        """Whether the words that say that it works are about this remedy, in its sentence, and do not ask."""
        same = self._sentence_start(remedy.start()) == self._sentence_start(cured.start())
        between = self.folded[remedy.end() : cured.start()]
        sick = any(symptom.value != "finite" for symptom, _ in signs.matches(_SYMPTOMS, between))
        once = signs.FORMERLY_BEFORE.search(self._clause_before(remedy.start(), remedy.start()))
        told = (
            not once
            and not signs.HOW_MUCH.search(between)
            and not signs.QUESTION_PARTICLE.match(self.folded, cured.end())
            and not self._is_unstated(cured.start(), cured.start())
        )
        return same and told and not sick and not any(start < cured.start() for start in later)


def _number(text: str) -> float:
    try:
        return float(text.rstrip("."))
    except ValueError:  # "1.2.3"
        return 0.0


def _beginning_and_end(text: str) -> str:
    if len(text) <= MAX_PROSE_CHARS:
        return text
    return f"{text[: MAX_PROSE_CHARS * 2 // 3]}\n{text[-MAX_PROSE_CHARS // 3 :]}"


def fold_case_and_width(text: str) -> str:
    """Lower case, half-width forms, simplified characters; a character for each character."""
    narrow = "".join(map(_fold_character, text))
    simplified = simplify_chinese(narrow)
    return simplified if len(simplified) == len(narrow) else "".join(map(simplify_chinese, narrow))


@cache
def _fold_character(character: str) -> str:
    folded = unicodedata.normalize("NFKC", character).lower()
    return folded if len(folded) == 1 else character
