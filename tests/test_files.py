"""A file is written whole or not at all, and nobody else may read what only its owner could."""

import stat
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from qa_service.files import write_atomically
from qa_service.retrieval.matcher import Matcher


def test_a_file_is_written_whole_or_not_at_all(tmp_path):
    """A failure in the middle leaves the old text, and no temporary file."""
    path = tmp_path / "new folder" / "keys.json"
    write_atomically(path, lambda file: file.write_text("old"))

    def fails(file):
        file.write_text("ne")
        raise ValueError("no more")

    with pytest.raises(ValueError, match="no more"):
        write_atomically(path, fails)
    assert path.read_text() == "old"
    assert [one.name for one in path.parent.iterdir()] == ["keys.json"]


def test_nobody_sees_half_a_file(tmp_path):
    """Read all the time while it is written many times, it is always one of the two."""
    path, texts = tmp_path / "file", ["a" * 100_000, "b" * 90_000]
    write_atomically(path, lambda file: file.write_text(texts[0]))
    ended = threading.Event()
    seen: set[str] = set()

    def read() -> None:
        while not ended.is_set():
            seen.add(path.read_text())

    reader = threading.Thread(target=read)
    reader.start()
    for at in range(200):
        text = texts[at % 2]
        write_atomically(path, lambda file, text=text: file.write_text(text))
    ended.set()
    reader.join(30)
    assert seen <= set(texts)


def test_a_new_file_is_private_and_a_replaced_one_keeps_its_permissions(tmp_path):
    new, shared = tmp_path / "new", tmp_path / "shared"
    shared.write_text("old")
    shared.chmod(0o664)
    for path in (new, shared):
        write_atomically(path, lambda file: file.write_text("text"))
    assert [stat.S_IMODE(path.stat().st_mode) for path in (new, shared)] == [0o600, 0o664]


def test_a_link_stays_one(tmp_path):
    """What it points to is replaced."""
    (tmp_path / "file").write_text("old")
    (tmp_path / "link").symlink_to("file")
    write_atomically(tmp_path / "link", lambda file: file.write_text("new"))
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "file").read_text() == "new"


def test_a_cache_that_cannot_be_written_costs_time_only(toy_service, word_hash, tmp_path):
    """Where a file stands in the folder's place, the matcher builds all it needs and keeps nothing."""
    (tmp_path / "cache").write_text("a file")
    matcher = Matcher(toy_service.knowledge.library, word_hash(), name="word-hash", cache=tmp_path / "cache")
    assert matcher.match("counting numbers one").matches[0].entry.id == "counting"
    assert (tmp_path / "cache").read_text() == "a file"


def test_of_several_processes_one_trains(tmp_path):
    """The others wait for it and load: three at once say once that they train."""
    code = f"""
import sys
from pathlib import Path
sys.path[:0] = [{str(Path(__file__).parent)!r}]
from conftest import TOYS, WordHash
from qa_service.experiments.spec import load_specs
from qa_service.knowledge.library import Library
from qa_service.retrieval import matcher, training

train = training.train
training.train = lambda corpus: (print("trained", flush=True), train(corpus))[1]
library = Library.read(TOYS / "kb", load_specs(TOYS / "demos"))
cache = Path({str(tmp_path)!r})
print(matcher.Matcher(library, WordHash(), name="word-hash", cache=cache).match("counting").matches[0].entry.id)
"""
    started = [subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True) for _ in range(3)]
    try:
        said = [process.communicate(timeout=120)[0].split() for process in started]
    finally:
        for process in started:
            process.kill()
    assert sorted(map(len, said)) == [1, 1, 2], said
