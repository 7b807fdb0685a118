"""Reads the clues of kb/clues/*.toml."""

from collections.abc import Collection, Iterator, Sequence
from functools import partial

from qa_service.knowledge.glossary import wrong_terms
from qa_service.knowledge.lengths import MAX_CLUE_WORDS, length
from qa_service.knowledge.toml_reader import TomlReader
from qa_service.model import LANGS, PLACEHOLDER, Clue, Sign

FOLDER = "clues"
"""The subfolder of kb/ that holds clues instead of entries."""
_KEYS = ("signs", "excluded_by", "below", "says", "entry")
_SENTENCE_END = {"zh": "。！？", "en": ".!?"}


def read_clue(reader: TomlReader, entries: Collection[str]) -> Clue | None:
    """The clue of a file, None if it has any problem; `entries` are the ids of all entries."""
    table = reader.read_table(_KEYS)
    if table is None:
        return None
    signs, excluded_by = reader.signs(table, "signs"), reader.signs(table, "excluded_by")
    if not signs:
        reader.add_problem(partial(reader.line, "signs"), "signs: at least one")
    for sign in sorted(set(signs) & set(excluded_by)):
        reader.add_problem(
            partial(reader.line, "excluded_by"), f"excluded_by: other signs than those of the clue, not {sign}"
        )
    entry = table.get("entry", "")
    if entry and entry not in entries:
        reader.add_problem(partial(reader.line, "entry"), f"entry: the id of the entry that shows it, not {entry!r}")
    below = tuple(dict.fromkeys(reader.list_of(table, "below", str)))
    for each in below:
        if each not in entries:
            reader.add_problem(partial(reader.line, "below"), f"below: ids of entries, not {each!r}")
    clue = Clue(
        id=reader.path.stem,
        signs=signs,
        excluded_by=excluded_by,
        says=reader.bilingual_text(table, "says"),
        entry=str(entry),
        below=below,
    )
    return None if reader.problems else clue


def clue_problems(clue: Clue) -> Iterator[str]:
    """The faults of the sentence of a clue: too long, more than one, with a live number, or with a wrong term."""
    for lang in LANGS:
        says = clue.says[lang]
        if (found := length(says, lang)) > MAX_CLUE_WORDS[lang]:
            yield f"says.{lang}: expected at most {MAX_CLUE_WORDS[lang]}, found {found}"
        ends = [
            place for place, character in enumerate(says) if character in _SENTENCE_END[lang] and _ends(says, place)
        ]
        if ends != [len(says) - 1]:
            yield f"says.{lang}: expected one sentence with its full stop"
        if PLACEHOLDER.search(says):
            yield f"says.{lang}: expected no live number: nothing is measured for a clue"
        yield from (f"says.{lang}: {problem}" for problem in wrong_terms(says, lang))


def duplicate_clues(clues: Sequence[Clue]) -> list[str]:
    """A sentence for each clue whose signs are another one's: only one of them could ever be shown."""
    owners: dict[tuple[frozenset[Sign], frozenset[Sign], frozenset[str]], str] = {}
    keys = [(clue.id, (frozenset(clue.signs), frozenset(clue.excluded_by), frozenset(clue.below))) for clue in clues]
    return [
        f"{owner}: expected other signs than those of {owners[key]}"
        for owner, key in keys
        if owners.setdefault(key, owner) != owner
    ]


def _ends(says: str, place: int) -> bool:
    """Whether a full stop ends a sentence: one between digits or letters does not."""
    return not says[place + 1 : place + 2].strip() or says[place] in _SENTENCE_END["zh"]
