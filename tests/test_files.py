"""Atomic writes, their permissions, and the cache of the trained classifier."""

import os
import stat
import threading
import time
from pathlib import Path

import pytest
from processes import run_in_forks, running_threads

from qa_service.files import delete_unused, mark_used, write_atomically
from qa_service.retrieval.matcher import Matcher


def test_failed_write_leaves_the_old_file(tmp_path):
    """No temporary file remains either."""
    path = tmp_path / "new folder" / "keys.json"
    write_atomically(path, lambda file: file.write_text("old"))

    def write_and_fail(file):
        file.write_text("ne")
        raise ValueError("no more")

    with pytest.raises(ValueError, match="no more"):
        write_atomically(path, write_and_fail)
    assert path.read_text() == "old"
    assert [file.name for file in path.parent.iterdir()] == ["keys.json"]


def test_cached_files_that_were_not_used_for_long_are_deleted(tmp_path):
    """The newest file, files of other kinds, and those used again are kept."""
    for days, name in ((30, "a-1"), (20, "a-2"), (20, "a-3"), (9, "a-4"), (1, "a-5"), (40, "b-1")):
        (tmp_path / name).touch()
        os.utime(tmp_path / name, (time.time() - days * 86400,) * 2)
    mark_used(tmp_path / "a-2")
    delete_unused(tmp_path, "a-*", keep=2, days=7)
    assert sorted(file.name for file in tmp_path.iterdir()) == ["a-2", "a-5", "b-1"]
    delete_unused(tmp_path, "b-*", keep=2, days=7)
    delete_unused(tmp_path / "none", "b-*", keep=2, days=7)
    assert (tmp_path / "b-1").exists()


def test_a_new_classifier_replaces_those_of_other_versions(tmp_path, toy_service):
    """Each file has 75 MB, and every change of a phrasing produces a new one."""
    for number in range(10):
        for name in (f"classifier-{number}.npz", f"phrasings-{number}.faiss"):
            (tmp_path / name).touch()
            os.utime(tmp_path / name, (number, number))
    knowledge = toy_service.knowledge
    Matcher(knowledge.library, knowledge.matcher.embedder, name="toy", cache=tmp_path).match("nan")
    for pattern in ("classifier-*.npz", "phrasings-*.faiss"):
        assert len(list(tmp_path.glob(pattern))) == 4
        assert max(tmp_path.glob(pattern), key=lambda file: file.stat().st_mtime).stat().st_size


def test_concurrent_reads_never_see_a_partial_file(tmp_path):
    path, texts = tmp_path / "file", ["a" * 100_000, "b" * 90_000]
    write_atomically(path, lambda file: file.write_text(texts[0]))
    finished = threading.Event()
    seen: set[str] = set()

    def read() -> None:
        while not finished.is_set():
            seen.add(path.read_text())

    with running_threads([threading.Thread(target=read)], finished.set):
        for number in range(200):
            text = texts[number % 2]
            write_atomically(path, lambda file, text=text: file.write_text(text))
    assert seen <= set(texts)


def test_new_file_is_private_and_replaced_file_keeps_its_mode(tmp_path):
    new, shared = tmp_path / "new", tmp_path / "shared"
    shared.write_text("old")
    shared.chmod(0o664)
    for path in (new, shared):
        write_atomically(path, lambda file: file.write_text("text"))
    assert [stat.S_IMODE(path.stat().st_mode) for path in (new, shared)] == [0o600, 0o664]


def test_symlink_is_kept_and_its_target_replaced(tmp_path):
    (tmp_path / "file").write_text("old")
    (tmp_path / "link").symlink_to("file")
    write_atomically(tmp_path / "link", lambda file: file.write_text("new"))
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "file").read_text() == "new"


def test_matcher_works_without_a_writable_cache(toy_service, word_hash, tmp_path):
    """With a file in place of the cache folder, the matcher builds everything and stores nothing."""
    (tmp_path / "cache").write_text("a file")
    matcher = Matcher(toy_service.knowledge.library, word_hash(), name="word-hash", cache=tmp_path / "cache")
    assert matcher.match("counting numbers one").matches[0].entry.id == "counting"
    assert (tmp_path / "cache").read_text() == "a file"


@pytest.mark.skipif(os.name != "posix", reason="the processes are forked")
def test_one_of_several_processes_trains(tmp_path):
    """The others wait for its lock and load the result."""
    setup = f"""
from pathlib import Path
sys.path[:0] = [{str(Path(__file__).parent)!r}]
from conftest import TOYS, WordHash
from qa_service.experiments.spec import load_specs
from qa_service.knowledge.library import Library
from qa_service.retrieval import matcher, training

train_classifier = training.train_classifier
say = lambda word: os.write(1, word.encode() + b" ")  # at once: the processes share the pipe
training.train_classifier = lambda corpus: (say("trained"), train_classifier(corpus))[1]
library = Library.read(TOYS / "kb", load_specs(TOYS / "demos"))
cache = Path({str(tmp_path)!r})
"""
    body = """
found = matcher.Matcher(library, WordHash(), name="word-hash", cache=cache).match("counting").matches[0]
say(found.entry.id)
"""
    said = run_in_forks(setup, body, 3).split()
    assert sorted(said) == ["counting", "counting", "counting", "trained"]
