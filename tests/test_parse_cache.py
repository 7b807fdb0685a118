"""The cache of parsed files: the library is the same with it as without it, and a changed text is parsed again."""

import math
import shutil
import tomllib
from pathlib import Path

import pytest

from qa_service.experiments import spec
from qa_service.experiments.spec import load_specs
from qa_service.knowledge import toml_reader
from qa_service.knowledge.library import Library
from qa_service.parse_cache import ParseCache
from qa_service.paths import bundled

TOYS = Path(__file__).resolve().parent / "toys"


def read(kb: Path, demos: Path, cache: Path) -> tuple[object, object]:
    """Experiments and entries, with the cache of that folder."""
    parsed = ParseCache(cache, "toys")
    experiments = load_specs(demos, parsed)
    library = Library.read(kb, experiments, parsed)
    parsed.save()
    return experiments, dict(library)


def test_the_library_is_the_same_and_nothing_is_parsed_twice(tmp_path, monkeypatch):
    """Every value and its type is compared, for the toys and for all shipped experiments."""
    cold = read(TOYS / "kb", TOYS / "demos", tmp_path)
    shipped = ParseCache(tmp_path, "shipped")
    experiments = load_specs(bundled("demos"), shipped)
    shipped.save()

    def parsed_again(*_: object) -> None:
        raise AssertionError

    spec.read_outline.cache_clear()
    toml_reader.parse_toml.cache_clear()
    monkeypatch.setattr(tomllib, "loads", parsed_again)
    monkeypatch.setattr(spec, "parse_python", parsed_again)
    assert repr(read(TOYS / "kb", TOYS / "demos", tmp_path)) == repr(cold)
    assert repr(load_specs(bundled("demos"), ParseCache(tmp_path, "shipped"))) == repr(experiments)


def test_a_text_that_has_changed_is_parsed_again(tmp_path):
    """Values are found by the text, not by the name or the date of a file."""
    kb, demos = (Path(shutil.copytree(TOYS / name, tmp_path / name)) for name in ("kb", "demos"))
    read(kb, demos, tmp_path)
    demo = demos / "counts.py"
    demo.write_text(demo.read_text().replace('"""', '"""Anew: ', 1))
    experiments, _ = read(kb, demos, tmp_path)
    assert experiments["counts"].doc.startswith("Anew: ")  # type: ignore[index]


@pytest.mark.parametrize("content", [b"", b"[1]", b"\xff\x00", b'{"a": '])
def test_what_is_no_cache_is_not_used(tmp_path, content):
    """A damaged cache file is ignored and replaced."""
    cold = read(TOYS / "kb", TOYS / "demos", tmp_path)
    (file,) = tmp_path.glob("parsed-*.json")
    kept = file.read_bytes()
    file.write_bytes(content)
    assert repr(read(TOYS / "kb", TOYS / "demos", tmp_path)) == repr(cold)
    assert file.read_bytes() == kept


def test_only_what_json_gives_back_exactly_is_kept(tmp_path):
    """A tuple is not stored, as it would come back as a list."""
    for value, is_kept in (({"a": [1, 2.0, True, None, "x"]}, True), ({"a": (1, 2)}, False), ({1: 2}, False)):
        cache = ParseCache(tmp_path, repr(value))
        assert cache.get("x", "text", lambda _, value=value: value) is value
        cache.save()
        again = ParseCache(tmp_path, repr(value)).get("x", "text", lambda _: "parsed")
        assert again == (value if is_kept else "parsed")


def test_it_holds_what_was_used_last(tmp_path):
    """Saving drops values that were not requested, so that those of deleted files do not accumulate."""
    for texts in (("a", "b"), ("b", "c")):
        cache = ParseCache(tmp_path, "x")
        for text in texts:
            cache.get("x", text, str.upper)
        cache.save()
    parsed: list[str] = []
    cache = ParseCache(tmp_path, "x")
    for text in "abc":
        cache.get("x", text, lambda text: parsed.append(text) or text)
    assert parsed == ["a"]


def test_what_has_a_nan_is_kept_and_what_json_would_change_is_not(tmp_path):
    """A bound of a claim may be nan, which is not equal to itself; a tuple would come back as a list."""
    values = {"bound = nan": {"bound": math.nan, "n": 3}, "a tuple": (1, 2), "numbers as names": {1: 2}}
    first = ParseCache(tmp_path)
    for text in values:
        first.get("toy", text, values.__getitem__)
    first.save()
    parsed: list[str] = []
    later = ParseCache(tmp_path)
    found = {text: later.get("toy", text, lambda text: parsed.append(text) or values[text]) for text in values}
    assert repr(found) == repr(values)
    assert parsed == ["a tuple", "numbers as names"]
