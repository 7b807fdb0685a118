"""The library is sound or it does not start; every problem is told at once, with path and line."""

from pathlib import Path

import pytest
from oracles import ALL

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


def test_toy_entries_are_read(toy_service):
    """Ordered by item, with both languages and hashes."""
    library = toy_service.knowledge.library
    assert list(library) == ["counting", "raising", "hanging"]
    assert library["counting"].question.zh == "怎样数数"
    assert len({entry.hash for entry in library.values()}) == 3


@pytest.mark.parametrize(
    ("old", "new", "said"),
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
def test_a_broken_file_is_reported_with_its_line(kb_copy, toy_experiments, old, new, said):
    """Path, line and what was expected."""
    path = kb_copy / "counting.toml"
    source = path.read_text()
    assert old in source
    path.write_text(source.replace(old, new, 1))
    found = problems(kb_copy, toy_experiments)
    assert said in found
    line = source[: source.index(old)].count("\n") + 1
    lines = [int(each.removeprefix(f"{path}:").split(":")[0]) for each in found.splitlines()]
    assert any(abs(each - line) <= 6 for each in lines), (lines, line)


def test_all_broken_files_at_once(kb_copy, toy_experiments):
    """Three broken files give problems of three files, binary rubbish included."""
    (kb_copy / "counting.toml").write_bytes(b"\xff\xfe\x00")
    (kb_copy / "raising.toml").write_text("item = 99")
    (kb_copy / "hanging.toml").write_text("[[[")
    found = problems(kb_copy, toy_experiments)
    for name in ("counting", "raising", "hanging"):
        assert f"{name}.toml:" in found


def test_an_empty_folder_is_no_library(tmp_path, toy_experiments):
    """Starting without knowledge is an error, not an empty answer."""
    assert "found none" in problems(tmp_path, toy_experiments)


@pytest.mark.parametrize(
    ("source", "said"),
    [
        ("def run(:", "not Python"),
        ("x = 1", "docstring"),
        ('"""Doc."""\nTITLE = {"zh": "a", "en": "b"}', "COLUMNS"),
        ('"""Doc."""\nTITLE = open("/etc/passwd")', "plain literal"),
    ],
)
def test_a_broken_demo_is_reported_without_running_it(tmp_path, source, said):
    """A demo is read, never executed, by the parent."""
    (tmp_path / "broken.py").write_text(source)
    with pytest.raises(BadExperiment, match=r"broken\.py:\d+: ") as raised:
        load_specs(tmp_path)
    assert said in raised.value.problems[0]


def test_experiments_lie_in_folders_and_no_two_share_a_name(tmp_path):
    """A link names an experiment without its folder."""
    source = (TOYS / "demos" / "counts.py").read_text("utf-8")
    for folder in ("one", "two"):
        (tmp_path / folder).mkdir()
    (tmp_path / "one" / "counts.py").write_text(source, "utf-8")
    assert load_specs(tmp_path)["counts"].file == "one/counts.py"
    (tmp_path / "two" / "counts.py").write_text(source, "utf-8")
    with pytest.raises(BadExperiment, match=r"two.counts\.py:1: .*one.counts\.py"):
        load_specs(tmp_path)


def test_every_shipped_experiment_has_a_theme():
    """Every folder of demos/ is called as a theme of the page, so that no experiment is left over there."""
    experiments = load_specs(Settings().demos).values()
    themes = {theme.slug.replace("-", "_") for theme in THEMES}
    assert {one.file.partition("/")[0] for one in experiments} <= themes
    assert sum(len(shelf) for _, shelf in by_theme(experiments)) == len(experiments)


@pytest.mark.parametrize(
    ("table", "said"),
    [
        ('[{"parameter": "dtype", "experiment": "nowhere", "params": {}}]', "not 'nowhere'"),
        ('[{"parameter": "dtype"}]', "parameter, experiment and params"),
    ],
)
def test_what_stands_beside_an_experiment_exists(tmp_path, table, said):
    source = (TOYS / "demos" / "counts.py").read_text("utf-8")
    (tmp_path / "counts.py").write_text(source.replace("CHART =", f"BESIDE = {table}\nCHART ="), "utf-8")
    with pytest.raises(BadExperiment) as raised:
        load_specs(tmp_path)
    assert said in raised.value.problems[0]


@pytest.mark.parametrize(
    ("params", "said"),
    [
        ('{"steps": ["stepz"]}', "numbers of its own that there is, not 'stepz'"),
        ('{"stepz": 3}', "a parameter of counts that there is, not 'stepz'"),
    ],
)
def test_what_stands_beside_an_experiment_takes_parameters_that_there_are(tmp_path, params, said):
    table = f'[{{"parameter": "steps", "experiment": "counts", "params": {params}}}]'
    source = (TOYS / "demos" / "counts.py").read_text("utf-8")
    (tmp_path / "counts.py").write_text(source.replace("CHART =", f"BESIDE = {table}\nCHART ="), "utf-8")
    with pytest.raises(BadExperiment) as raised:
        load_specs(tmp_path)
    assert said in raised.value.problems[0]


def test_beside_every_experiment_with_a_dtype_stands_one_with_all_eight_formats():
    """It reports of each format the first overflow, the first lost digit and the error in ulp."""
    experiments = load_specs(Settings().demos)
    figures = {f"{what}_{name}" for what in ("overflow", "lost", "ulps") for name in ALL}
    ladders = {one.slug for one in experiments.values() if figures <= set(one.metrics)}
    assert {one.slug for one in experiments.values() if "dtype" in one.params and one.slug not in ladders} == {
        one.slug
        for one in experiments.values()
        if any(other.parameter == "dtype" and other.experiment in ladders for other in one.companions)
    }
