"""Reads kb/**/*.toml into a `Library` of entries, subjects not covered and clues. Reports all problems at once."""

import hashlib
import re
from collections.abc import Iterator, Mapping
from dataclasses import replace
from difflib import get_close_matches
from functools import partial
from pathlib import Path
from typing import Any, cast

from qa_service.errors import BadLibrary, BadRequest, UnknownEntry
from qa_service.experiments.parameters import fill_defaults
from qa_service.knowledge import checked, clues
from qa_service.knowledge.toml_reader import LineFinder, TomlReader
from qa_service.model import (
    LANGS,
    PARTS,
    PLACEHOLDER,
    Aspect,
    Claim,
    Clue,
    Distinction,
    Entry,
    EvidenceBlock,
    Experiment,
    Lecture,
    Op,
    Params,
    Part,
    Subject,
    Verdict,
)
from qa_service.parse_cache import ParseCache

_CLAIM_OPERATORS = ("<", "<=", ">", ">=", "==", "!=")
_CLAIM_KEYS = {"id", "says", "metric", "op", "bound", "control", "stated", "share", "proves"}
_BLOCK_KEYS = {"id", "experiment", "params", "fixed", "claims", "proves", "visible", "series", "mark"}
_ASPECT_KEYS = {"id", "question", "short", "block", "phrasings"}
_DISTINCTION_KEYS = {"see", "means", "entry", "signs", "excluded_by"}
_ENTRY_KEYS = (
    "item", "expands", "signs", "excluded_by", "question", "lecture", "short", "do", "tell", "why", "scope",
    "aspect", "phrasings", "evidence", "references", "related",
)  # fmt: skip
_ID = re.compile(r"[a-z0-9]+(-[a-z0-9]+)*")
_MIN_ASPECT_PHRASINGS = 3
_SIMILAR_IDS = 3  # named when an id is unknown
MAX_VISIBLE, MAX_SERIES = 2, 3
"""The largest number of parameters that an evidence block shows, and of series in its chart."""
SUBJECTS_FOLDER = "not_covered"
"""The subfolder of kb/ that holds subjects instead of entries."""


class Library(Mapping[str, Entry]):
    """Entry id → entry, sorted by item; `subjects` are topics that people ask about and no entry covers, `clues` what
    follows from signs whatever entry answers.
    """

    def __init__(
        self, entries: Mapping[str, Entry], subjects: tuple[Subject, ...], clues: tuple[Clue, ...] = ()
    ) -> None:
        self.subjects = subjects
        self.clues = clues
        self._entries = dict(sorted(entries.items(), key=lambda pair: (pair[1].item, pair[1].expands or "", pair[0])))
        self.hash = hashlib.sha256("".join(entry.hash for entry in self._entries.values()).encode()).hexdigest()

    @classmethod
    def read(cls, folder: Path, experiments: Mapping[str, Experiment], parsed: ParseCache | None = None) -> "Library":
        """Reads all entries under `folder`, its subjects and clues; raises `BadLibrary` with every problem found.

        What `parsed` holds of the files' texts is not parsed again.
        """
        parsed = parsed or ParseCache()
        entries: dict[str, Entry] = {}
        problems: list[str] = []
        beside = (folder / SUBJECTS_FOLDER, folder / clues.FOLDER)
        paths = sorted(path for path in folder.rglob("*.toml") if path.parent not in beside)
        if not paths:
            problems.append(f"{folder}: expected entries (*.toml), found none")
        records: checked.Records = {}
        try:
            records = checked.read_records(folder, parsed)
        except (ValueError, OSError) as error:
            problems.append(f"{folder / checked.FILE_NAME}: expected {error}")
        ids = {path.stem for path in paths}
        if len(ids) < len(paths):
            duplicates = sorted({path.stem for path in paths if sum(other.stem == path.stem for other in paths) > 1})
            problems.append(f"{folder}: expected a different id for every entry, found twice: {', '.join(duplicates)}")
        for path in paths:
            reader = _EntryReader(path, experiments, ids, parsed)
            entry = reader.entry()
            problems += reader.problems
            if entry is not None:
                entries[path.stem] = _with_record(entry, records, experiments)
        subjects: list[Subject] = []
        for path in sorted((folder / SUBJECTS_FOLDER).glob("*.toml")):
            subject_reader = TomlReader(path, parsed)
            subjects += _read_subject(subject_reader)
            problems += subject_reader.problems
        if not subjects and not problems:
            problems.append(f"{folder / SUBJECTS_FOLDER}: expected subjects that are not covered (*.toml), found none")
        found: list[Clue] = []
        for path in sorted((folder / clues.FOLDER).glob("*.toml")):
            clue_reader = TomlReader(path, parsed)
            clue = clues.read_clue(clue_reader, ids)
            found += [clue] if clue else []
            problems += clue_reader.problems
        if problems:
            raise BadLibrary(tuple(problems))
        return cls(entries, tuple(subjects), tuple(found))

    def __getitem__(self, entry_id: str) -> Entry:
        """One entry; raises `UnknownEntry`, whose message names the ids that are most like it."""
        if entry_id not in self._entries:
            ids = ", ".join(get_close_matches(entry_id, self._entries, n=_SIMILAR_IDS, cutoff=0))
            raise UnknownEntry(
                zh=f"没有编号为 {entry_id!r} 的词条。相近的有：{ids}；共 {len(self)} 个，用 numstab entries 列出",
                en=f"there is no entry {entry_id!r}. Similar: {ids}; `numstab entries` lists all {len(self)}",
                field="entry",
            )
        return self._entries[entry_id]

    def __contains__(self, entry_id: object) -> bool:
        return entry_id in self._entries

    def __iter__(self) -> Iterator[str]:
        return iter(self._entries)

    def __len__(self) -> int:
        return len(self._entries)


def duplicate_phrasings(library: Library) -> list[str]:
    """A sentence for each phrasing that two entries or subjects share, whatever its case."""
    owners: dict[str, str] = {}
    owned = [(entry.id, entry.all_phrasings) for entry in library.values()]
    owned += [(subject.id, subject.wordings) for subject in library.subjects]
    return [
        f"{owner}: {wording!r} is a phrasing of {owners[wording.lower()]}, too"
        for owner, phrasings in owned
        for lang in LANGS
        for wording in phrasings(lang)
        if owners.setdefault(wording.lower(), owner) != owner
    ]


def _with_record(entry: Entry, records: checked.Records, experiments: Mapping[str, Experiment]) -> Entry:
    """The entry with its record of kb/checked.json, if there is one."""
    if entry.id not in records:
        return entry
    evidence = checked.evidence_hash(entry.evidence, experiments)
    return replace(entry, checked=checked.to_checked(records[entry.id], evidence))


def _read_subject(reader: TomlReader) -> list[Subject]:
    table = reader.read_table(("name", "phrasings"))
    if table is None:
        return []
    return [Subject(id=reader.path.stem, name=reader.bilingual_text(table, "name"), phrasings=reader.phrasings(table))]


class _EntryReader(TomlReader):
    """Reads the file of one entry. `ids` are those of all entries, to check references to others."""

    def __init__(self, path: Path, experiments: Mapping[str, Experiment], ids: set[str], parsed: ParseCache) -> None:
        super().__init__(path, parsed)
        self.experiments = experiments
        self.ids = ids

    def entry(self) -> Entry | None:
        """The entry, or None if the file has any problem."""
        table = self.read_table(_ENTRY_KEYS)
        if table is None:
            return None
        evidence = tuple(self._block(block, nth) for nth, block in enumerate(self.list_of(table, "evidence", dict)))
        entry = Entry(
            id=self.path.stem,
            item=self._item(table.get("item")),
            expands=self._id(table["expands"], "expands") if "expands" in table else None,
            question=self.bilingual_text(table, "question"),
            lecture=self._lecture(table["lecture"]) if "lecture" in table else None,
            short=self.bilingual_text(table, "short"),
            do=self.bilingual_text(table, "do") if "do" in table else None,
            tell=tuple(self._distinction(row, nth) for nth, row in enumerate(self.list_of(table, "tell", dict))),
            why=self.bilingual_text(table, "why"),
            scope=self.bilingual_text(table, "scope") if "scope" in table else None,
            signs=self.signs(table, "signs"),
            excluded_by=self.signs(table, "excluded_by"),
            phrasings=self.phrasings(table),
            evidence=tuple(block for block in evidence if block),
            references=tuple(self._cite(reference) for reference in self.list_of(table, "references", dict)),
            related=tuple(self._id(related, "related") for related in self.list_of(table, "related", str)),
            hash=hashlib.sha256(self.raw).hexdigest(),
            aspects=tuple(self._aspect(one, nth) for nth, one in enumerate(self.list_of(table, "aspect", dict))),
        )
        self._check_placeholders(entry)
        self._check_aspects(entry)
        if not entry.evidence and not self.problems:
            self.add_problem(1, "at least one [[evidence]] block")
        return None if self.problems else entry

    def _claim_line(self, claim_id: Any, nth_block: int) -> int:
        """The line of a claim's id, looked for after the header of the nth evidence block."""
        line = self.line("experiment", "evidence", nth_block)
        found = self.source.find(f'"{claim_id}"', len("\n".join(self.source.split("\n")[:line])))
        return self.source.count("\n", 0, found) + 1 if found >= 0 else line

    def _item(self, item: Any) -> int:
        if isinstance(item, int) and 1 <= item <= 16:
            return item
        self.add_problem(self.line("item"), "item = the number of the source item, 1 to 16")
        return 0

    def _id(self, entry_id: Any, key: str, line: LineFinder | None = None) -> str:
        if entry_id not in self.ids:
            self.add_problem(line or partial(self.line, key), f"{key}: the id of an entry, not {entry_id!r}")
        return str(entry_id)

    def _lecture(self, table: Any) -> Lecture | None:
        if not isinstance(table, dict):
            self.add_problem(self.line("lecture"), "lecture: question, answer, netizens")
            return None
        optional = {
            key: self.bilingual_text(table, key, f"lecture.{key}") if key in table else None
            for key in ("question", "netizens", "verdicts")
        }
        return Lecture(
            question=optional["question"],
            answer=self.bilingual_text(table, "answer", "lecture"),
            netizens=optional["netizens"],
            verdicts=optional["verdicts"],
        )

    def _distinction(self, row: Mapping[str, Any], nth: int) -> Distinction:
        line = partial(self.line, "see", "tell", nth)
        for key in row.keys() - _DISTINCTION_KEYS:
            self.add_problem(line, f"no key {key!r} in [[tell]]; allowed are {', '.join(sorted(_DISTINCTION_KEYS))}")
        return Distinction(
            see=self.bilingual_text(row, "see", "tell", nth),
            means=self.bilingual_text(row, "means", "tell", nth),
            entry=self._id(row["entry"], "entry", line) if "entry" in row else None,
            signs=self.signs(row, "signs", line),
            excluded_by=self.signs(row, "excluded_by", line),
        )

    def _aspect(self, aspect: Mapping[str, Any], nth: int) -> Aspect:
        line = partial(self.line, "id", "aspect", nth)
        for key in aspect.keys() - _ASPECT_KEYS:
            self.add_problem(line, f"no key {key!r} in [[aspect]]; allowed are {', '.join(sorted(_ASPECT_KEYS))}")
        block = aspect.get("block")
        if not (block is None or isinstance(block, str)):
            self.add_problem(line, f"block: the id of an evidence block, not {block!r}")
        if not _ID.fullmatch(str(aspect.get("id"))):
            self.add_problem(line, f"id: lower-case words with hyphens, not {aspect.get('id')!r}")
        return Aspect(
            id=str(aspect.get("id")),
            question=self.bilingual_text(aspect, "question", "aspect", nth),
            short=self.bilingual_text(aspect, "short", "aspect", nth),
            block=block,
            phrasings=self.phrasings(aspect, at_least=_MIN_ASPECT_PHRASINGS, header="aspect", nth=nth),
        )

    def _check_aspects(self, entry: Entry) -> None:
        """Adds a problem for an id that aspects share, an unknown block, or a wording that belongs to two of the
        entry's questions.
        """
        blocks = {block.id for block in entry.evidence}
        ids: set[str] = set()
        wordings = {text for lang in LANGS for text in (entry.question[lang], *entry.phrasings[lang])}
        for nth, one in enumerate(entry.aspects):
            line = partial(self.line, "id", "aspect", nth)
            if one.id in ids:
                self.add_problem(line, f"different ids for the aspects, found {one.id!r} twice")
            if one.block is not None and one.block not in blocks:
                self.add_problem(line, f"block: one of {', '.join(sorted(blocks))}; not {one.block!r}")
            own = {text for lang in LANGS for text in one.wordings(lang)}
            for wording in sorted(own & wordings):
                self.add_problem(line, f"{wording!r} to be a wording of one question of the entry only")
            ids.add(one.id)
            wordings |= own

    def _part(self, table: Mapping[str, Any], line: LineFinder, default: Part) -> Part:
        """The part of the answer that a block or a claim says it proves."""
        part = table.get("proves", default)
        if part not in PARTS:
            self.add_problem(line, f"proves: one of {', '.join(PARTS)}, not {part!r}")
            return default
        return cast("Part", part)

    def _cite(self, reference: Mapping[str, Any]) -> str:
        cite = reference.get("cite")
        if not isinstance(cite, str) or not cite:
            self.add_problem(self.line("references"), 'each reference as cite = "…"')
        return str(cite)

    def _block(self, block: Mapping[str, Any], nth: int) -> EvidenceBlock | None:
        experiment = self.experiments.get(str(block.get("experiment")))
        if experiment is None:
            names = ", ".join(self.experiments)
            found = f"not {block.get('experiment')!r}"
            self.add_problem(self.line("experiment", "evidence", nth), f"experiment: one of {names}; {found}")
            return None
        params, fixed = block.get("params", {}), block.get("fixed", [])
        if not self._check_params(experiment, params, "params", nth):
            return None
        if not (isinstance(fixed, list) and all(name in experiment.params for name in fixed)):
            self.add_problem(self.line("fixed", "evidence", nth), f"fixed: names among {', '.join(experiment.params)}")
        visible, series, mark = block.get("visible", []), block.get("series", []), block.get("mark")
        line = partial(self.line, "experiment", "evidence", nth)
        if not _are_names(visible, MAX_VISIBLE) or not all(name in experiment.params for name in visible):
            self.add_problem(line, f"visible: at most {MAX_VISIBLE} names among {', '.join(experiment.params)}")
        if not _are_names(series, MAX_SERIES):
            self.add_problem(line, f"series: the names of at most {MAX_SERIES} series")
        if mark is not None and mark not in experiment.metrics:
            self.add_problem(line, f"mark: one of {', '.join(experiment.metrics)}; not {mark!r}")
        part = self._part(block, line, "short")
        for key in block.keys() - _BLOCK_KEYS:
            self.add_problem(self.line(key, "evidence", nth), f"no key {key!r} in an evidence block")
        claims = tuple(self._claim(claim, experiment, params, nth, part) for claim in block.get("claims", []))
        return EvidenceBlock(
            id=str(block.get("id", experiment.slug)),
            experiment=experiment.slug,
            params=params,
            fixed=frozenset(fixed),
            claims=tuple(claim for claim in claims if claim),
            proves=part,
            visible=tuple(visible),
            series=tuple(series),
            mark=mark,
        )

    def _check_params(self, experiment: Experiment, params: Any, key: str, nth_block: int) -> bool:
        try:
            fill_defaults(experiment, params if isinstance(params, dict) else {"": params})
        except BadRequest as error:
            self.add_problem(self.line(key, "evidence", nth_block), f"{key} that {experiment.slug} takes: {error.en}")
            return False
        return True

    def _claim(
        self, claim: Mapping[str, Any], experiment: Experiment, params: Any, nth_block: int, part: Part
    ) -> Claim | None:
        problems_before = len(self.problems)
        line = partial(self._claim_line, claim.get("id"), nth_block)
        metric, op, bound = claim.get("metric"), claim.get("op"), claim.get("bound")
        if metric not in experiment.metrics:
            self.add_problem(line, f"metric: one of {', '.join(experiment.metrics)}; not {metric!r}")
        if op not in _CLAIM_OPERATORS:
            self.add_problem(line, f"op: one of {' '.join(_CLAIM_OPERATORS)}; not {op!r}")
        if isinstance(bound, bool) or not isinstance(bound, int | float):
            self.add_problem(line, f"bound: a number, not {bound!r}")
        if claim.get("stated", "holds") not in ("holds", "fails"):
            self.add_problem(line, "stated: holds or fails")
        share = claim.get("share", 1.0)
        if isinstance(share, bool) or not isinstance(share, int | float) or not 0.5 <= share <= 1:
            self.add_problem(
                line, f"share: the least share of seeds with which it comes out so, 0.5 to 1, not {share!r}"
            )
        for key in claim.keys() - _CLAIM_KEYS:
            self.add_problem(line, f"no key {key!r} in a claim")
        control = claim.get("control")
        if not isinstance(control, dict) or not control:
            self.add_problem(line, "control: parameters at which the claim must fail")
        else:
            self._check_params(experiment, params | control, "control", nth_block)
        if not isinstance(claim.get("id"), str):
            self.add_problem(line, "an id for every claim")
        says = self.bilingual_text(claim, "says", "evidence", nth_block)
        if len(self.problems) > problems_before:
            return None
        return Claim(
            id=claim["id"],
            says=says,
            metric=str(metric),
            op=cast("Op", op),
            bound=float(cast("float", bound)),
            control=cast("Params", control),
            expected_verdict=Verdict(claim.get("stated", "holds")),
            min_share=float(share),
            proves=self._part(claim, line, part),
        )

    def _check_placeholders(self, entry: Entry) -> None:
        blocks = {block.id: block for block in entry.evidence}
        if len(blocks) < len(entry.evidence):
            self.add_problem(self.line("evidence"), "different ids for the evidence blocks")
        for lang in LANGS:
            texts = [entry.text(lang), *(one.short[lang] for one in entry.aspects)]
            for block_id, name, form in PLACEHOLDER.findall("\n".join(texts)):
                block = blocks.get(block_id)
                experiment = self.experiments[block.experiment] if block else None
                if experiment is None or (name not in experiment.metrics and name not in experiment.params):
                    line = (
                        self.source.count("\n", 0, self.source.find(f"[[{block_id}.{name}{form and '|' + form}]]")) + 1
                    )
                    self.add_problem(line, f"[[{block_id}.{name}]] to be a metric or parameter of an evidence block")


def _are_names(value: Any, count: int) -> bool:
    """Whether this is a list of at most `count` strings."""
    return isinstance(value, list) and all(isinstance(name, str) for name in value) and len(value) <= count
