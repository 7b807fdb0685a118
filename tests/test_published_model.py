"""The trained classifier as a wheel: exported, checked when it is read, and used instead of training."""

import base64
import csv
import hashlib
import io
import shutil
import subprocess
import sys
import threading
import zipfile
from functools import cache, partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest

from qa_service.answering.knowledge import Knowledge
from qa_service.errors import BadModel, MissingPackage
from qa_service.retrieval import matcher as matching
from qa_service.retrieval import published, training
from qa_service.retrieval.embedder import Embedder, load_embedder
from qa_service.settings import Settings

TOYS = Path(__file__).resolve().parent / "toys"
QUESTION = "counting numbers two"


@pytest.fixture(autouse=True)
def nothing_installed():
    """Clears the cached result of the search for an installed model package before and after each test."""
    published.installed_file.cache_clear()
    yield
    published.installed_file.cache_clear()


@cache
def embedder() -> Embedder:
    """The default encoder, unpacked once for all tests."""
    return load_embedder(Settings().encoder)


def matcher_at(folder: Path, kb: Path = TOYS / "kb"):
    """A matcher of the toy entries whose cache is in this folder."""
    return Knowledge.read(Settings(kb=kb, demos=TOYS / "demos", cache=folder), embedder()).matcher


@pytest.fixture(scope="module")
def exported(tmp_path_factory) -> tuple[Path, float]:
    """The wheel of the toys' classifier, and the score of a question before the export."""
    matcher = matcher_at(tmp_path_factory.mktemp("cache"))
    wheel = matcher.export(tmp_path_factory.mktemp("dist"))
    return wheel, matcher.match(QUESTION).matches[0].score


@pytest.fixture
def no_training(monkeypatch):
    """Makes the test fail if a classifier is trained."""

    def train(*_):
        pytest.fail("it trained")

    monkeypatch.setattr(training, "train_classifier", train)


@pytest.mark.usefixtures("no_training")
def test_an_unpacked_model_answers_as_the_one_that_was_trained(exported, tmp_path):
    """Scores are equal to the last bit, and neither FAISS nor training is needed."""
    wheel, score = exported
    matcher = matcher_at(tmp_path)
    digest = matcher.unpack(str(wheel))
    assert digest == hashlib.sha256(wheel.read_bytes()).hexdigest()
    for _ in range(2):  # the second question would be looked up by FAISS
        found = matcher_at(tmp_path).match(QUESTION)
        assert (found.matches[0].score, found.matches[0].entry.id) == (score, "counting")
        assert found.matches[0].phrasing == QUESTION
    assert matcher_at(tmp_path).is_cached


def test_the_rounded_vectors_of_a_published_model_train_nothing(exported, tmp_path):
    """They only serve to find the nearest wording; training starts from newly computed vectors."""
    wheel, _ = exported
    trained_with = matcher_at(wheel.parent.parent / "cache0").corpus.vectors
    matcher = matcher_at(tmp_path)
    matcher.unpack(str(wheel))
    assert np.array_equal(matcher.corpus.vectors, trained_with)


@pytest.mark.usefixtures("no_training")
def test_an_installed_model_is_found(exported, tmp_path, monkeypatch):
    """Pip installs it like any wheel; it is used in place and not copied into the cache."""
    install(exported[0], tmp_path / "site")
    monkeypatch.syspath_prepend(tmp_path / "site")
    matcher = matcher_at(tmp_path / "cache")
    assert matcher.is_cached
    assert matcher.match(QUESTION).matches[0].score == exported[1]
    assert not list((tmp_path / "cache").glob("classifier-*"))


def install(wheel: Path, target: Path) -> None:
    subprocess.run(
        [sys.executable, "-m", "pip", "--disable-pip-version-check", "install", "--quiet", "--no-deps", "--no-index",
         "--target", str(target), str(wheel)], check=True, timeout=120,
    )  # fmt: skip


def test_an_installed_model_that_was_changed_is_refused(exported, tmp_path, monkeypatch):
    """Its hash is compared with RECORD before it is read."""
    install(exported[0], tmp_path / "site")
    monkeypatch.syspath_prepend(tmp_path / "site")
    (classifier,) = (tmp_path / "site" / "numstab_model").glob("*.npz")
    content = bytearray(classifier.read_bytes())
    content[len(content) // 2] ^= 1
    classifier.write_bytes(content)
    with pytest.raises(BadModel, match="sha256"):
        matcher_at(tmp_path / "cache").match(QUESTION)


def test_the_wheel_is_reproducible_and_sound(exported, tmp_path):
    """The same model gives the same bytes, and RECORD lists every file with its hash and size."""
    again = matcher_at(exported[0].parent.parent / "cache0").export(tmp_path)
    assert again.name == exported[0].name
    with zipfile.ZipFile(exported[0]) as archive:
        (record,) = [name for name in archive.namelist() if name.endswith("RECORD")]
        rows = list(csv.reader(io.StringIO(archive.read(record).decode())))
        assert {name for name, *_ in rows} == set(archive.namelist())
        for name, digest, size in rows:
            content = archive.read(name)
            encoded = base64.urlsafe_b64encode(hashlib.sha256(content).digest()).decode().rstrip("=")
            assert name == record or (digest, int(size)) == (f"sha256={encoded}", len(content))


def rewritten(wheel: Path, path: Path, change) -> Path:
    """A copy of the wheel in which `change` gives each file's new contents, or None to leave the file out."""
    with zipfile.ZipFile(wheel) as archive, zipfile.ZipFile(path, "w") as copy:
        for name in archive.namelist():
            if (content := change(name, archive.read(name))) is not None:
                copy.writestr(name, content)
    return path


@pytest.mark.parametrize(
    "change",
    [
        lambda name, content: content[:-1] + b"!" if name.endswith(".npz") else content,
        lambda name, content: content[:-1] + b"!" if name.endswith(".npy") else content,
        lambda name, content: None if name.endswith("RECORD") else content,
        lambda name, content: b"\xff\xfe" if name.endswith("RECORD") else content,
        lambda name, content: content.replace(b"sha256=", b"md5=") if name.endswith("RECORD") else content,
        lambda name, content: None if name.endswith(".npz") else content,
    ],
)
def test_a_damaged_wheel_is_refused_and_nothing_unpacked(exported, tmp_path, change):
    wheel = rewritten(exported[0], tmp_path / "bad.whl", change)
    cache = tmp_path / "cache"
    with pytest.raises(BadModel) as error:
        matcher_at(cache).unpack(str(wheel))
    assert str(wheel) in error.value.zh
    assert not list(cache.glob("*.np*"))


def test_a_model_of_other_entries_is_refused(exported, tmp_path):
    """The model's key depends on the entries: one more phrasing gives another key."""
    shutil.copytree(TOYS / "kb", tmp_path / "kb")
    (entry,) = (tmp_path / "kb").rglob("counting.toml")
    entry.write_text(
        entry.read_text("utf-8").replace(f'"{QUESTION}"', f'"{QUESTION}", "and one phrasing more"'), "utf-8"
    )
    with pytest.raises(BadModel, match="other entries"):
        matcher_at(tmp_path / "cache", tmp_path / "kb").unpack(str(exported[0]))


@pytest.mark.parametrize("junk", [b"", b"PK\x03\x04", b"no zip at all"])
def test_what_is_no_wheel_is_refused(junk, tmp_path):
    (tmp_path / "x.whl").write_bytes(junk)
    with pytest.raises(BadModel):
        matcher_at(tmp_path).unpack(str(tmp_path / "x.whl"))


def test_a_wheel_is_fetched_by_its_address_and_hash(exported, tmp_path):
    """The hash is required and compared with the downloaded file; the address must be https or on this machine."""
    wheel = exported[0]
    handler = partial(SimpleHTTPRequestHandler, directory=str(wheel.parent))
    handler.log_message = lambda *_: None  # type: ignore[attr-defined]
    digest = hashlib.sha256(wheel.read_bytes()).hexdigest()
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            address = f"http://127.0.0.1:{server.server_port}/{wheel.name}"
            matcher = matcher_at(tmp_path)
            for wrong in (
                address,
                f"{address}#sha256={'0' * 64}",
                f"{address}x#sha256={digest}",
                f"http://example.org/{wheel.name}#sha256={digest}",
                f"ftp://localhost/x#sha256={digest}",
            ):
                with pytest.raises(BadModel):
                    matcher.unpack(wrong)
            assert not matcher.is_cached
            assert matcher.unpack(f"{address}#sha256={digest}") == digest
        finally:
            server.shutdown()
            thread.join()
    assert matcher_at(tmp_path).is_cached


def test_without_model_and_without_scipy_it_says_what_to_install(tmp_path, monkeypatch):
    """Such an installation is numstab-core with other entries than the model's."""
    monkeypatch.setattr(matching, "find_spec", lambda _name: None)
    with pytest.raises(MissingPackage) as error:
        matcher_at(tmp_path).match(QUESTION)
    assert "numstab-core[train]" in error.value.en
    assert "numstab-model" in error.value.zh
