"""Reading entries and demos: every problem is reported at once, with path and line."""

from pathlib import Path

import pytest
from oracles import ALL_FORMATS

from qa_service.errors import BadExperiment, BadLibrary
from qa_service.experiments.spec import load_specs
from qa_service.fronts.web.themes import THEMES, by_theme
from qa_service.knowledge.library import Library
from qa_service.settings import Settings

TOYS = Path(__file__).resolve().parent / "toys"


def problems(folder, toy_experiments) -> str:
    with pytest.raises(BadLibrary) as raised:
        Library.read(folder, toy_experiments)
    return "\n".join(raised.value.problems)


def test_entries_are_read(toy_service):
    """Entries are in the order of their items, in both languages, each with its own hash."""
    library = toy_service.knowledge.library
    assert list(library) == ["counting", "raising", "hanging"]
    assert library["counting"].question.zh == "怎样数数"
    assert len({entry.hash for entry in library.values()}) == 3


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ('experiment = "counts"', 'experiment = "conts"', "experiment: one of"),
        ("params = { steps = 5 }", "params = { stepz = 5 }", "did you mean steps"),
        ("params = { steps = 5 }", "params = { steps = 0 }", "from 1 to 100000"),
        ('metric = "last"', 'metric = "lats"', "metric: one of last"),
        ('op = ">="', 'op = "=>"', "op: one of"),
        ("bound = 5", 'bound = "five"', "bound: a number"),
        ("control = { steps = 2 }", "", "control: parameters"),
        ("control = { steps = 2 }", "control = { steps = -1 }", "control that counts takes"),
        ("[[counts.last]]", "[[counts.lsat]]", "[[counts.lsat]]"),
        ('related = ["raising", "hanging"]', 'related = ["razing"]', "'razing'"),
        ("item = 1", "item = 17", "1 to 16"),
        ("item = 1", "itme = 1", "no key 'itme'"),
        ('en = "how to count"', 'en = ""', "question with text in zh and en"),
        ("[phrasings]", "[phrasing]", "10 different phrasings"),
        ("item = 1", "item = ", "TOML"),
    ],
)
def test_invalid_entry_is_reported_with_its_line(kb_copy, toy_experiments, old, new, message):
    """The message has path, line and what was expected."""
    path = kb_copy / "counting.toml"
    source = path.read_text()
    assert old in source
    path.write_text(source.replace(old, new, 1))
    reported = problems(kb_copy, toy_experiments)
    assert message in reported
    line = source[: source.index(old)].count("\n") + 1
    lines = [int(problem.removeprefix(f"{path}:").split(":")[0]) for problem in reported.splitlines()]
    assert any(abs(number - line) <= 6 for number in lines), (lines, line)


def test_all_invalid_entries_are_reported_at_once(kb_copy, toy_experiments):
    """A file that is not text is reported with them."""
    (kb_copy / "counting.toml").write_bytes(b"\xff\xfe\x00")
    (kb_copy / "raising.toml").write_text("item = 99")
    (kb_copy / "hanging.toml").write_text("[[[")
    reported = problems(kb_copy, toy_experiments)
    for name in ("counting", "raising", "hanging"):
        assert f"{name}.toml:" in reported


def test_empty_folder_is_an_error(tmp_path, toy_experiments):
    assert "found none" in problems(tmp_path, toy_experiments)


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("def run(:", "not Python"),
        ("x = 1", "docstring"),
        ('"""Doc."""\nTITLE = {"zh": "a", "en": "b"}', "COLUMNS"),
        ('"""Doc."""\nTITLE = open("/etc/passwd")', "plain literal"),
    ],
)
def test_invalid_demo_is_reported_without_running_it(tmp_path, source, message):
    """The server parses demos and never executes them."""
    (tmp_path / "broken.py").write_text(source)
    with pytest.raises(BadExperiment, match=r"broken\.py:\d+: ") as raised:
        load_specs(tmp_path)
    assert message in raised.value.problems[0]


def test_slugs_are_unique_across_folders(tmp_path):
    """Links and receipts name an experiment by its slug, without the folder."""
    source = (TOYS / "demos" / "counts.py").read_text("utf-8")
    for folder in ("one", "two"):
        (tmp_path / folder).mkdir()
    (tmp_path / "one" / "counts.py").write_text(source, "utf-8")
    assert load_specs(tmp_path)["counts"].file == "one/counts.py"
    (tmp_path / "two" / "counts.py").write_text(source, "utf-8")
    with pytest.raises(BadExperiment, match=r"two.counts\.py:1: .*one.counts\.py"):
        load_specs(tmp_path)


def test_every_demo_folder_is_a_theme():
    """A demo outside the themes would be missing from the list of experiments."""
    experiments = load_specs(Settings().demos).values()
    themes = {theme.slug.replace("-", "_") for theme in THEMES}
    assert {experiment.file.partition("/")[0] for experiment in experiments} <= themes
    assert sum(len(group) for _, group in by_theme(experiments)) == len(experiments)


@pytest.mark.parametrize(
    ("table", "message"),
    [
        ('[{"parameter": "dtype", "experiment": "nowhere", "params": {}}]', "not 'nowhere'"),
        ('[{"parameter": "dtype"}]', "parameter, experiment and params"),
    ],
)
def test_invalid_companion_is_reported(tmp_path, table, message):
    source = (TOYS / "demos" / "counts.py").read_text("utf-8")
    (tmp_path / "counts.py").write_text(source.replace("CHART =", f"BESIDE = {table}\nCHART ="), "utf-8")
    with pytest.raises(BadExperiment) as raised:
        load_specs(tmp_path)
    assert message in raised.value.problems[0]


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ('{"steps": ["stepz"]}', "numbers of its own that there is, not 'stepz'"),
        ('{"stepz": 3}', "a parameter of counts that there is, not 'stepz'"),
    ],
)
def test_unknown_parameter_of_a_companion_is_reported(tmp_path, params, message):
    table = f'[{{"parameter": "steps", "experiment": "counts", "params": {params}}}]'
    source = (TOYS / "demos" / "counts.py").read_text("utf-8")
    (tmp_path / "counts.py").write_text(source.replace("CHART =", f"BESIDE = {table}\nCHART ="), "utf-8")
    with pytest.raises(BadExperiment) as raised:
        load_specs(tmp_path)
    assert message in raised.value.problems[0]


def test_every_experiment_with_a_dtype_has_a_companion_for_all_formats():
    """It measures the first overflow, the first lost digit and the error in ulp of each of the eight formats."""
    experiments = load_specs(Settings().demos)
    metrics = {f"{kind}_{name}" for kind in ("overflow", "lost", "ulps") for name in ALL_FORMATS}
    in_all_formats = {one.slug for one in experiments.values() if metrics <= set(one.metrics)} | {
        "formula"
    }  # by its rows
    assert {one.slug for one in experiments.values() if "dtype" in one.params and one.slug not in in_all_formats} == {
        one.slug
        for one in experiments.values()
        if any(other.parameter == "dtype" and other.experiment in in_all_formats for other in one.companions)
    }
