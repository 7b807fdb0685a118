"""kb/checked.json records checks of entries over several seeds; records are shown with the entry, and expire when
evidence changes.
"""

import json
import math
import shutil
import subprocess
import sys
from argparse import Namespace
from dataclasses import replace
from pathlib import Path

import pytest

from qa_service.errors import BadField, BadLibrary
from qa_service.experiments.spec import load_specs
from qa_service.fronts.terminal import check
from qa_service.knowledge import checked
from qa_service.knowledge.library import Library
from qa_service.model import LANGS, CheckRecord
from qa_service.presentation.prose import checked_text
from qa_service.settings import Settings

TOYS = Path(__file__).parent / "toys"
RECORD = {"on": "2026-11-29", "seeds": 20, "versions": {"torch": "2.13.0"}, "evidence": "0" * 64}


@pytest.fixture
def kb(kb_copy):
    """A writable copy of the toy entries."""
    return kb_copy


def read(kb, demos=TOYS / "demos"):
    return Library.read(kb, load_specs(demos))["counting"]


def record(service, kb, seeds="3"):
    """Run `numstab check counting --record`."""
    arguments = Namespace(
        entries=["counting"], seeds=seeds, report=None, json=True, record=True, settings=replace(Settings(), kb=kb)
    )
    return check.run_with_service(arguments, service, "en")


def test_a_check_is_recorded_and_read(toy_service, kb):
    """With date, seeds and versions; entries that are not in the library are dropped from the file."""
    checked.write_records(kb, {"gone": RECORD})
    assert read(kb).checked is None
    assert record(toy_service, kb) == 0
    assert list(json.loads((kb / checked.FILE_NAME).read_text("utf-8"))) == ["counting"]
    found = read(kb).checked
    assert (found.seeds, found.current) == (3, True)
    assert set(found.versions) == {"torch", "python", "numstab"}


def test_too_few_seeds_are_not_recorded(toy_service, kb):
    with pytest.raises(BadField, match="--record"):
        record(toy_service, kb, seeds="2")


def test_words_leave_a_record_current_evidence_does_not(toy_service, kb, tmp_path):
    """After a change of a text or of a claim's wording the record is current; after one of bound, parameter or code it
    is not.
    """
    record(toy_service, kb)
    path = kb / "counting.toml"
    source = path.read_text("utf-8")
    path.write_text(source.replace('says = { zh = "', 'says = { zh = "换句话说，'), "utf-8")
    assert read(kb).checked.current
    changed = source.replace("bound = ", "bound = 1", 1)
    assert changed != source
    path.write_text(changed, "utf-8")
    assert not read(kb).checked.current
    path.write_text(source, "utf-8")
    demos = Path(shutil.copytree(TOYS / "demos", tmp_path / "demos"))
    demo = demos / "counts.py"
    demo.write_text(demo.read_text("utf-8") + "\n# changed\n", "utf-8")
    assert read(kb).checked.current
    assert not read(kb, demos).checked.current


def test_an_entry_that_differs_loses_its_record(toy_service, kb):
    """A record exists only if every claim came out as stated, so a failed check removes it."""
    record(toy_service, kb)
    knowledge = toy_service.knowledge
    entry = knowledge.library["counting"]
    block = entry.evidence[0]
    wrong = replace(block, claims=tuple(replace(claim, bound=1e9, op=">") for claim in block.claims))
    entries = {**knowledge.library, "counting": replace(entry, evidence=(wrong,))}
    library = Library(entries, knowledge.library.subjects, knowledge.library.clues)
    toy_service.replace_knowledge(replace(knowledge, library=library))
    assert record(toy_service, kb) == 1
    assert read(kb).checked is None


@pytest.mark.parametrize(
    "text",
    ["[1]", "{", '{"counting": {"on": 3}}', '{"counting": null}', "[" * 100_000, '{"counting": NaN}',
     *(json.dumps({"counting": RECORD | wrong})
       for wrong in ({"seeds": "20"}, {"seeds": 2.5}, {"seeds": math.nan}, {"versions": ["torch"]},
                     {"versions": {"torch": 2}}, {"evidence": None}, {"on": 20261129})),
     *(json.dumps({"counting": {name: value for name, value in RECORD.items() if name != gone}}) for gone in RECORD)],
    ids=lambda text: text[:60],
)  # fmt: skip
def test_a_broken_file_is_a_problem_of_the_library(kb, text):
    (kb / checked.FILE_NAME).write_text(text, "utf-8")
    with pytest.raises(BadLibrary, match=r"checked\.json"):
        read(kb)


def test_a_field_of_a_later_version_is_kept(kb):
    """Recording another entry rewrites the file and keeps unknown fields."""
    records = {"counting": RECORD | {"machine": "x"}}
    checked.write_records(kb, records)
    assert checked.read_records(kb) == records
    assert read(kb).checked == CheckRecord(on="2026-11-29", seeds=20, versions={"torch": "2.13.0"}, current=False)


def test_records_that_were_read_before_are_read_without_pydantic(kb, tmp_path):
    """Importing pydantic would take longer than reading all entries."""
    checked.write_records(kb, {"counting": RECORD})
    code = (
        "import sys; from pathlib import Path\n"
        "from qa_service.knowledge.checked import read_records\n"
        "from qa_service.parse_cache import ParseCache\n"
        f"parsed = ParseCache(Path({str(tmp_path / 'cache')!r}))\n"
        f"records = read_records(Path({str(kb)!r}), parsed)\n"
        "parsed.save()\n"
        "print(records['counting']['seeds'], 'pydantic' in sys.modules)\n"
    )
    seen = [
        subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True, timeout=60).stdout
        for _ in range(2)
    ]
    assert seen == ["20 True\n", "20 False\n"]


def test_what_is_shown():
    """Both languages show whether an entry was never checked, has been checked, or has changed since."""
    record_of = CheckRecord(on="2026-11-29", seeds=20, versions={"torch": "2.13.0"}, current=True)
    for lang in LANGS:
        text = checked_text(record_of, lang)
        assert all(part in text for part in ("2026-11-29", "20", "torch 2.13.0"))
        stale = checked_text(replace(record_of, current=False), lang)
        assert stale.startswith(text) and len(stale) > len(text)
        assert checked_text(None, lang) not in ("", text)
