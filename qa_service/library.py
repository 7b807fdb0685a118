"""kb/*.toml → the library of entries. Every problem of every file is reported at once, with path and line."""

import hashlib
import re
import tomllib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, cast

from qa_service.errors import BadLibrary, BadRequest, UnknownEntry
from qa_service.model import (
    LANGS,
    PLACEHOLDER,
    Claim,
    Entry,
    EvidenceBlock,
    Experiment,
    Lang,
    Lecture,
    Op,
    Params,
    Text,
    Verdict,
)
from qa_service.parameters import complete

_OPS = ("<", "<=", ">", ">=", "==", "!=")
_FEWEST_PHRASINGS = 10


class Library(Mapping[str, Entry]):
    """The entries by id, in the order of their items."""

    def __init__(self, entries: Mapping[str, Entry]) -> None:
        self._entries = dict(sorted(entries.items(), key=lambda pair: (pair[1].item, pair[1].expands or "", pair[0])))
        self.hash = hashlib.sha256("".join(entry.hash for entry in self._entries.values()).encode()).hexdigest()

    @classmethod
    def read(cls, folder: Path, experiments: Mapping[str, Experiment]) -> "Library":
        """Reads every `*.toml`; raises `BadLibrary` with all problems."""
        entries: dict[str, Entry] = {}
        problems: list[str] = []
        paths = sorted(folder.glob("*.toml"))
        if not paths:
            problems.append(f"{folder}: expected entries (*.toml), found none")
        ids = {path.stem for path in paths}
        for path in paths:
            page = _Page(path, experiments, ids)
            entry = page.entry()
            problems += page.problems
            if entry is not None:
                entries[path.stem] = entry
        if problems:
            raise BadLibrary(tuple(problems))
        return cls(entries)

    def __getitem__(self, entry_id: str) -> Entry:
        """One entry; raises `UnknownEntry`, which names what there is."""
        if entry_id not in self._entries:
            ids = ", ".join(self._entries)
            raise UnknownEntry(
                zh=f"没有编号为 {entry_id!r} 的词条。现有：{ids}",
                en=f"there is no entry {entry_id!r}. There are: {ids}",
                field="entry",
            )
        return self._entries[entry_id]

    def __contains__(self, entry_id: object) -> bool:
        return entry_id in self._entries

    def __iter__(self) -> Iterator[str]:
        return iter(self._entries)

    def __len__(self) -> int:
        return len(self._entries)


class _Page:
    """One file being read: collects problems instead of stopping at the first."""

    def __init__(self, path: Path, experiments: Mapping[str, Experiment], ids: set[str]) -> None:
        self.path = path
        self.experiments = experiments
        self.ids = ids
        self.problems: list[str] = []
        self.source = ""

    def entry(self) -> Entry | None:
        """The entry, or None when anything is wrong with it."""
        try:
            raw = self.path.read_bytes()
            self.source = raw.decode("utf-8")
            table = tomllib.loads(self.source)
        except UnicodeDecodeError as error:
            self._wrong(raw[: error.start].count(b"\n") + 1, "text in UTF-8")
            return None
        except tomllib.TOMLDecodeError as error:
            found = re.search(r"line (\d+)", str(error))
            self._wrong(int(found.group(1)) if found else self.source.count("\n") + 1, f"TOML: {error}")
            return None
        known = ["item", "expands", "question", "lecture", "answer", "phrasings", "evidence", "references", "related"]
        for key in table.keys() - set(known):
            self._wrong(self._line(key), f"no key {key!r}; allowed are {', '.join(known)}")
        evidence = tuple(self._block(block, at) for at, block in enumerate(self._list(table, "evidence", dict)))
        entry = Entry(
            id=self.path.stem,
            item=self._item(table.get("item")),
            expands=self._id(table["expands"], "expands") if "expands" in table else None,
            question=self._text(table, "question"),
            lecture=self._lecture(table["lecture"]) if "lecture" in table else None,
            answer=self._text(table, "answer"),
            phrasings={lang: self._phrasings(table, lang) for lang in LANGS},
            evidence=tuple(block for block in evidence if block),
            references=tuple(self._cite(reference) for reference in self._list(table, "references", dict)),
            related=tuple(self._id(related, "related") for related in self._list(table, "related", str)),
            hash=hashlib.sha256(raw).hexdigest(),
        )
        self._check_placeholders(entry)
        if not entry.evidence and not self.problems:
            self._wrong(1, "at least one [[evidence]] block")
        return None if self.problems else entry

    def _wrong(self, line: int, expected: str) -> None:
        self.problems.append(f"{self.path}:{line}: expected {expected}")

    def _line(self, key: str, table: str | None = None, nth: int = 0) -> int:
        """The line of `key`, looked for from the nth header [table] or [[table]] on; 1 if it is not there."""
        start = 0
        if table:
            headers = list(re.finditer(rf"^\[\[?{re.escape(table)}\]\]?", self.source, re.MULTILINE))
            if nth < len(headers):
                start = headers[nth].start()
        found = re.compile(rf"^\s*\[*(?:[\w.]+\.)?{re.escape(key)}\b", re.MULTILINE).search(self.source, start)
        return self.source.count("\n", 0, found.start() if found else start) + 1

    def _claim_line(self, claim_id: Any, at: int) -> int:
        line = self._line("experiment", "evidence", at)
        found = self.source.find(f'"{claim_id}"', len("\n".join(self.source.split("\n")[:line])))
        return self.source.count("\n", 0, found) + 1 if found >= 0 else line

    def _item(self, item: Any) -> int:
        if isinstance(item, int) and 1 <= item <= 16:
            return item
        self._wrong(self._line("item"), "item = the number of the source item, 1 to 16")
        return 0

    def _id(self, entry_id: Any, key: str) -> str:
        if entry_id not in self.ids:
            self._wrong(self._line(key), f"{key}: the id of an entry, not {entry_id!r}")
        return str(entry_id)

    def _text(self, table: Mapping[str, Any], key: str, header: str | None = None, nth: int = 0) -> Text:
        value = table.get(key)
        if isinstance(value, dict) and all(isinstance(value.get(lang), str) and value[lang].strip() for lang in LANGS):
            return Text(value["zh"].strip(), value["en"].strip())
        self._wrong(self._line(key, header, nth), f"{key} with text in zh and en")
        return Text("", "")

    def _list(self, table: Mapping[str, Any], key: str, kind: type) -> list[Any]:
        value = table.get(key, [])
        if isinstance(value, list) and all(isinstance(element, kind) for element in value):
            return value
        self._wrong(self._line(key), f"{key}: a list of {'tables' if kind is dict else 'strings'}")
        return []

    def _lecture(self, table: Any) -> Lecture | None:
        if not isinstance(table, dict):
            self._wrong(self._line("lecture"), "lecture: question, answer, netizens")
            return None
        optional = {key: self._text(table, key, f"lecture.{key}") if key in table else None
                    for key in ("question", "netizens")}  # fmt: skip
        return Lecture(
            question=optional["question"], answer=self._text(table, "answer", "lecture"), netizens=optional["netizens"]
        )

    def _phrasings(self, table: Mapping[str, Any], lang: Lang) -> tuple[str, ...]:
        phrasings = table.get("phrasings")
        wordings = phrasings.get(lang) if isinstance(phrasings, dict) else None
        words = isinstance(wordings, list) and all(isinstance(each, str) and each.strip() for each in wordings)
        if wordings and words and len(set(wordings)) >= _FEWEST_PHRASINGS:
            return tuple(dict.fromkeys(wordings))
        self._wrong(self._line(lang, "phrasings"), f"at least {_FEWEST_PHRASINGS} different phrasings in {lang}")
        return ()

    def _cite(self, reference: Mapping[str, Any]) -> str:
        cite = reference.get("cite")
        if not isinstance(cite, str) or not cite:
            self._wrong(self._line("references"), 'each reference as cite = "…"')
        return str(cite)

    def _block(self, block: Mapping[str, Any], at: int) -> EvidenceBlock | None:
        experiment = self.experiments.get(str(block.get("experiment")))
        if experiment is None:
            names = ", ".join(self.experiments)
            found = f"not {block.get('experiment')!r}"
            self._wrong(self._line("experiment", "evidence", at), f"experiment: one of {names}; {found}")
            return None
        params, fixed = block.get("params", {}), block.get("fixed", [])
        if not self._params_fit(experiment, params, "params", at):
            return None
        if not (isinstance(fixed, list) and all(name in experiment.params for name in fixed)):
            self._wrong(self._line("fixed", "evidence", at), f"fixed: names among {', '.join(experiment.params)}")
        for key in block.keys() - {"id", "experiment", "params", "fixed", "claims"}:
            self._wrong(self._line(key, "evidence", at), f"no key {key!r} in an evidence block")
        claims = tuple(self._claim(claim, experiment, params, at) for claim in block.get("claims", []))
        return EvidenceBlock(
            id=str(block.get("id", experiment.slug)),
            experiment=experiment.slug,
            params=params,
            fixed=frozenset(fixed),
            claims=tuple(claim for claim in claims if claim),
        )

    def _params_fit(self, experiment: Experiment, params: Any, key: str, at: int) -> bool:
        try:
            complete(experiment, params if isinstance(params, dict) else {"": params})
        except BadRequest as error:
            self._wrong(self._line(key, "evidence", at), f"{key} that {experiment.slug} takes: {error.en}")
            return False
        return True

    def _claim(self, claim: Mapping[str, Any], experiment: Experiment, params: Any, at: int) -> Claim | None:
        before = len(self.problems)
        line = self._claim_line(claim.get("id"), at)
        metric, op, bound = claim.get("metric"), claim.get("op"), claim.get("bound")
        if metric not in experiment.metrics:
            self._wrong(line, f"metric: one of {', '.join(experiment.metrics)}; not {metric!r}")
        if op not in _OPS:
            self._wrong(line, f"op: one of {' '.join(_OPS)}; not {op!r}")
        if isinstance(bound, bool) or not isinstance(bound, int | float):
            self._wrong(line, f"bound: a number, not {bound!r}")
        if claim.get("stated", "holds") not in ("holds", "fails"):
            self._wrong(line, "stated: holds or fails")
        control = claim.get("control")
        if not isinstance(control, dict) or not control:
            self._wrong(line, "control: parameters at which the claim must fail")
        else:
            self._params_fit(experiment, params | control, "control", at)
        if not isinstance(claim.get("id"), str):
            self._wrong(line, "an id for every claim")
        says = self._text(claim, "says", "evidence", at)
        if len(self.problems) > before:
            return None
        return Claim(
            id=claim["id"],
            says=says,
            metric=str(metric),
            op=cast("Op", op),
            bound=float(cast("float", bound)),
            control=cast("Params", control),
            stated=Verdict(claim.get("stated", "holds")),
        )

    def _check_placeholders(self, entry: Entry) -> None:
        blocks = {block.id: block for block in entry.evidence}
        if len(blocks) < len(entry.evidence):
            self._wrong(self._line("evidence"), "different ids for the evidence blocks")
        for lang in LANGS:
            for block_id, name in PLACEHOLDER.findall(entry.answer[lang]):
                block = blocks.get(block_id)
                experiment = self.experiments[block.experiment] if block else None
                if experiment is None or (name not in experiment.metrics and name not in experiment.params):
                    line = self.source.count("\n", 0, self.source.find(f"[[{block_id}.{name}]]")) + 1
                    self._wrong(line, f"[[{block_id}.{name}]] to be a metric or parameter of an evidence block")
