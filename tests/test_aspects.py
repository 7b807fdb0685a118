"""Aspects: further questions that an entry answers, each with a short answer and a block of evidence of its own."""

import shutil
from pathlib import Path

import pytest

from qa_service.answering.knowledge import Knowledge
from qa_service.answering.service import Service
from qa_service.errors import BadField, BadLibrary
from qa_service.fronts.web import render
from qa_service.knowledge.lengths import length_problems
from qa_service.knowledge.library import Library, duplicate_phrasings
from qa_service.model import AnswerStatus, Context, Request, Verdict
from qa_service.model.events import AnswerReady, EvidenceReady, Started
from qa_service.presentation import prose
from qa_service.schemas.answers import answer_json
from qa_service.schemas.catalogue import entry_json
from qa_service.schemas.requests import read_query, read_request
from qa_service.settings import Settings
from qa_service.tools.evaluation import aspect_report

TOYS = Path(__file__).resolve().parent / "toys"
ASPECT = """
[[aspect]]
id = "backwards"
block = "down"

[aspect.question]
zh = "能倒着数吗"
en = "can it count down"

[aspect.short]
zh = '''能，数到 [[down.last]]。'''
en = '''Yes, to [[down.last]].'''

[aspect.phrasings]
zh = ["倒数行不行", "反着来一遍", "往回走的数法"]
en = ["reverse order please", "backwards instead", "descending sequence"]

[phrasings]
"""
SECOND_BLOCK = """
[[evidence]]
id = "down"
experiment = "counts"
params = { steps = 7 }
proves = "why"
visible = ["steps"]

[[evidence.claims]]
id = "reaches-seven"
says = { zh = "数到七", en = "It reaches seven" }
metric = "last"
op = ">="
bound = 7
control = { steps = 3 }

[[evidence.claims]]
id = "draws-a-number"
says = { zh = "抽了一个随机数", en = "It draws a random number" }
metric = "random"
op = ">="
bound = 0
control = { steps = 1 }
"""


def with_aspect(folder: Path) -> Path:
    """The folder of the toy entries, one of which has an aspect proved by its second block."""
    path = folder / "counting.toml"
    path.write_text(path.read_text("utf-8").replace("\n[phrasings]\n", ASPECT, 1) + SECOND_BLOCK, "utf-8")
    return folder


@pytest.fixture
def kb_with_aspect(kb_copy):
    """Entries that a test may modify."""
    return with_aspect(kb_copy)


@pytest.fixture(scope="module")
def aspect_service(lab, word_hash, tmp_path_factory):
    """The service of these entries."""
    folder = tmp_path_factory.mktemp("aspects")
    kb = with_aspect(Path(shutil.copytree(TOYS / "kb", folder / "kb")))
    settings = Settings(kb=kb, demos=TOYS / "demos", cache=folder / "cache")
    return Service(Knowledge.read(settings, word_hash()), lab, threshold=0.5)


def test_the_wording_met_decides_which_question_is_answered(aspect_service):
    """The matching aspect's short answer comes first, proved by its own block; everything else is the entry's."""
    own = aspect_service.answer(Request(question="数数甲"))
    other = aspect_service.answer(Request(question="反着来一遍"))
    assert own.status is other.status is AnswerStatus.ANSWERED
    assert own.entry.id == other.entry.id == "counting"
    assert (own.entry.aspect, other.entry.aspect) == ("", "backwards")
    assert [one.block for one in own.evidence] == ["counts", "down"]
    assert [one.block for one in other.evidence] == ["down", "counts"]
    assert prose.answer_text(own).startswith("**数到 5。**")
    assert prose.answer_text(other).startswith("**能，数到 7。**")
    assert own.entry.do == other.entry.do
    assert all(verdict is Verdict.HOLDS for one in other.evidence for verdict in one.verdicts)


def test_the_proof_of_an_aspect_proves_its_short_answer(aspect_service):
    """The aspect's block counts as proof, and the block that proves the entry's own short answer does not."""
    entry = aspect_service.knowledge.library["counting"].focused_on("backwards")
    assert [(block.id, block.proves) for block in entry.evidence] == [("down", "short"), ("counts", "why")]
    assert [claim.proves for block in entry.evidence for claim in block.claims] == ["short", "why", "why"]
    assert entry.focused_on("").evidence == aspect_service.knowledge.library["counting"].evidence


def test_the_json_says_which_question_is_answered(aspect_service):
    answered = answer_json(aspect_service.ask(Request(question="descending sequence"))).to_dict()
    assert answered["entry"]["aspect"] == answered["context"]["aspect"] == "backwards"
    assert answered["entry"]["question"] == "can it count down"
    assert answered["entry"]["url"] == "/entries/counting?aspect=backwards"
    own = answer_json(aspect_service.ask(Request(question="counting numbers two"))).to_dict()
    assert "aspect" not in own["entry"]
    assert "aspect" not in own["context"]
    shorts = [each["parts"]["short"] for each in (answered, own)]
    assert shorts == ["Yes, to ….", "It counts to …."]
    again = answer_json(aspect_service.ask(Request(question="reverse order please"))).to_dict()
    assert again["parts"] == answered["parts"]
    listed = entry_json(aspect_service.knowledge.library["counting"]).to_dict()
    assert [one["id"] for one in listed["aspects"]] == ["backwards"]
    assert "reverse order please" in listed["phrasings"]["en"]


def test_a_follow_up_stays_with_the_aspect_and_a_question_does_not(aspect_service):
    """A number alone changes a parameter of its block; a whole question is matched anew."""
    first = aspect_service.ask(Request(question="反着来一遍"))
    changed = aspect_service.ask(Request(question="那 9 呢？", context=first.context))
    assert changed.entry.aspect == "backwards"
    assert changed.params["steps"] == 9
    whole = aspect_service.ask(Request(question="数数乙", context=first.context))
    assert (whole.entry.id, whole.entry.aspect) == ("counting", "")


def test_a_request_names_an_aspect(aspect_service):
    """It does so in JSON, or in the address of a permalink, which shows the same run."""
    asked = aspect_service.ask(read_request({"entry": "counting", "aspect": "backwards", "lang": "en"}))
    assert asked.entry.question.en == "can it count down"
    entry, plans = aspect_service.plan(read_query("counting", {"aspect": "backwards", "block": "down", "steps": "4"}))
    assert entry.aspect == "backwards"
    assert [(plan.block.id, plan.params["steps"]) for plan in plans] == [("down", 4)]
    context = Context(entry="counting", aspect="backwards", params={}, lang="en")
    read = read_request({"question": "why?", "context": answer_json(asked).to_dict()["context"]})
    assert read.context == context


@pytest.mark.parametrize(
    ("body", "named"),
    [
        ({"entry": "counting", "aspect": "sideways"}, "backwards"),
        ({"entry": "raising", "aspect": "backwards"}, "none"),
        ({"question": "数数甲", "aspect": "backwards"}, "entry"),
        ({"entry": "counting", "aspect": 7}, "aspect"),
    ],
)
def test_an_unknown_aspect_is_refused_by_name(aspect_service, body, named):
    """The error names the field and what is allowed."""
    with pytest.raises(BadField) as raised:
        aspect_service.ask(read_request(body))
    assert raised.value.field == "aspect"
    assert named in raised.value.en


def test_the_page_shows_the_proof_of_the_aspect_and_offers_the_other_questions(aspect_service):
    """The hero is the aspect's block; the entry's own question stands among what it also answers."""
    experiments = aspect_service.knowledge.experiments
    events = list(aspect_service.stream(Request(question="reverse order please")))
    answer = next(event for event in events if isinstance(event, AnswerReady)).answer
    _, shown = render.page_event(events[0], "en", experiments, answer.entry)
    assert "Yes, to" in shown.html
    assert 'data-entry="counting" data-aspect="" data-question="how to count"' in shown.html
    started = [event for event in events if isinstance(event, Started)]
    pages = [render.page_event(event, "en", experiments, answer.entry)[1] for event in started]
    assert [(page.id, page.hero) for page in pages] == [("down", True), ("counts", False)]
    evidence = next(event for event in events if isinstance(event, EvidenceReady))
    _, measured = render.page_event(evidence, "en", experiments, answer.entry)
    assert measured.shown["down.last"] == "7"
    assert "aspect=backwards" in measured.html


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ('block = "down"', 'block = "up"', "block: one of counts, down"),
        ('id = "backwards"', 'id = "Back wards"', "lower-case words"),
        ("[[down.last]]", "[[down.lsat]]", "[[down.lsat]]"),
        ('en = "can it count down"', 'en = ""', "question with text in zh and en"),
        ('zh = ["倒数行不行", "反着来一遍", "往回走的数法"]', 'zh = ["倒数行不行"]', "3 different phrasings in zh"),
        ("倒数行不行", "数数甲", "one question of the entry only"),
        ('block = "down"', 'bolck = "down"', "no key 'bolck'"),
    ],
)
def test_an_invalid_aspect_is_reported_with_its_line(kb_with_aspect, toy_experiments, old, new, message):
    path = kb_with_aspect / "counting.toml"
    source = path.read_text("utf-8")
    assert old in source
    path.write_text(source.replace(old, new, 1), "utf-8")
    with pytest.raises(BadLibrary) as raised:
        Library.read(kb_with_aspect, toy_experiments)
    problem = next(each for each in raised.value.problems if message in each)
    line = source[: source.index(old)].count("\n") + 1
    assert abs(int(problem.removeprefix(f"{path}:").split(":")[0]) - line) <= 12


def test_a_number_of_a_short_answer_has_a_claim(kb_with_aspect, toy_experiments):
    """Lint requires a claim about each number that an aspect's short answer quotes, in the aspect's block."""
    path = kb_with_aspect / "counting.toml"

    def is_unproved() -> bool:
        entry = Library.read(kb_with_aspect, toy_experiments)["counting"]
        return any("expected a claim of block down" in each for each in length_problems(entry))

    assert not is_unproved()
    path.write_text(path.read_text("utf-8").replace("[[down.last]]", "[[down.steps]]"), "utf-8")
    assert is_unproved()


def test_aspects_keep_to_the_lengths_of_a_short_answer(kb_with_aspect, toy_experiments):
    """Lint also reports a phrasing of an aspect that another entry has too."""
    path = kb_with_aspect / "counting.toml"
    too_long = path.read_text("utf-8").replace("Yes, to", "Yes, " + "again " * 40 + "to", 1)
    path.write_text(too_long.replace("descending sequence", "raising one", 1), "utf-8")
    library = Library.read(kb_with_aspect, toy_experiments)
    assert any(each.startswith("aspect backwards.en: expected") for each in length_problems(library["counting"]))
    taken = library["raising"].phrasings["en"][0]
    path.write_text(too_long.replace("descending sequence", taken, 1), "utf-8")
    assert any(taken in each for each in duplicate_phrasings(Library.read(kb_with_aspect, toy_experiments)))


def test_left_out_wordings_are_compared_with_the_others_of_their_entry(aspect_service):
    """Each wording of an entry with aspects, and of no other, has its own aspect and that of its nearest neighbour."""
    pairs = aspect_service.knowledge.matcher.left_out_aspects()
    entry = aspect_service.knowledge.library["counting"]
    assert len(pairs) == sum(len(entry.wordings(lang)) for lang in ("zh", "en"))
    report = aspect_report(pairs)
    assert report["aspect"]["n"] == 8  # three phrasings and the question in each language
    assert report["own"]["first"] > 0.9  # "counting numbers one" is nearest to "counting numbers two"
    assert report["aspect"]["first"] < report["own"]["first"]  # its wordings share no word


def test_the_terminal_lists_the_other_questions(terminal, tmp_path):
    """With `--full`, each with the options that ask it; `--aspect` answers it."""
    kb = with_aspect(Path(shutil.copytree(TOYS / "kb", tmp_path / "kb")))
    env = {
        "NUMSTAB_KB": str(kb),
        "NUMSTAB_DEMOS": str(TOYS / "demos"),
        "NUMSTAB_CACHE": str(tmp_path),
        "LANG": "C.UTF-8",
    }
    listed = terminal("ask", "--entry", "counting", "--full", "--no-run", "--lang", "en", env=env)
    assert "--entry counting --aspect backwards" in " ".join(listed.stdout.split())
    answered = terminal("ask", "--entry", "counting", "--aspect", "backwards", "--lang", "en", env=env)
    assert answered.returncode == 0, answered.stderr
    assert "Yes, to 7." in answered.stdout
    refused = terminal("ask", "--entry", "counting", "--aspect", "sideways", "--lang", "zh", env=env)
    assert refused.returncode == 2
    assert "backwards" in refused.stderr
