"""Real parts made tiny: toy demos with every way to fail, a three-entry library, a word-hash embedder."""

import hashlib
import logging
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from qa_service.answering.knowledge import Knowledge
from qa_service.answering.service import Service, build
from qa_service.experiments.parameters import fill_defaults
from qa_service.experiments.spec import load_specs
from qa_service.lab.runner import SERVER_PRELOAD, ProcessRunner
from qa_service.model import Experiment, Run
from qa_service.paths import cache_folder
from qa_service.settings import Settings
from qa_service.telemetry import logging as logs

ROOT = Path(__file__).resolve().parent.parent
TOYS = Path(__file__).resolve().parent / "toys"


class WordHash:
    """Texts sharing words or characters are near: a real embedder without weights."""

    def encode_query(self, sentences: list[str]) -> np.ndarray:
        vectors = np.zeros((len(sentences), 256), dtype=np.float32)
        for row, sentence in enumerate(sentences):
            for word in sentence.lower().split() + list(sentence):
                vectors[row, int.from_bytes(hashlib.blake2b(word.encode(), digest_size=2).digest()) % 256] += 1
        return vectors

    encode_document = encode_query


@pytest.fixture(scope="session")
def word_hash() -> type[WordHash]:
    """The toy embedder."""
    return WordHash


@pytest.fixture(scope="session")
def toy_experiments() -> dict[str, Experiment]:
    """The toy experiments by slug."""
    return load_specs(TOYS / "demos")


@pytest.fixture(scope="session")
def lab() -> ProcessRunner:
    """A lab with a short deadline and a small memory."""
    return ProcessRunner(deadline=1.0, memory=1024, slots=2)


@pytest.fixture(scope="session")
def toy(lab: ProcessRunner, toy_experiments: dict[str, Experiment]) -> Callable[..., Run]:
    """Runs a toy demo once."""

    def run(slug: str, seed: int = 0, **params: object) -> Run:
        experiment = toy_experiments[slug]
        return lab.run(experiment, fill_defaults(experiment, params), seed)

    return run


@pytest.fixture
def toy_service(lab: ProcessRunner, tmp_path: Path) -> Service:
    """Three entries, the toy experiments, the word-hash embedder."""
    settings = Settings(kb=TOYS / "kb", demos=TOYS / "demos", cache=tmp_path)
    return Service(Knowledge.read(settings, WordHash()), lab, threshold=0.5)


@pytest.fixture(scope="session")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One cache for the whole test run, whatever worker asks: matcher and chart bundle are built once."""
    base = tmp_path_factory.getbasetemp()
    cache = (base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / "cache"
    cache.mkdir(exist_ok=True)
    for built in cache_folder().glob("*-*.np[yz]"):  # named by what they were made of: set-up has built them already
        half = cache / f"{built.name}.{os.getpid()}"
        shutil.copy(built, half)
        half.replace(cache / built.name)
    return cache


@pytest.fixture(scope="session")
def settings(tmp_path_factory: pytest.TempPathFactory, cache: Path) -> Settings:
    """The shipped knowledge and demos, with data of the test's own."""
    return Settings(data=tmp_path_factory.mktemp("numstab") / "data", cache=cache, deadline=30.0)


@pytest.fixture(scope="session")
def service(settings: Settings) -> Service:
    """The real thing."""
    return build(settings, warm=SERVER_PRELOAD)


@pytest.fixture
def broken_kb(tmp_path: Path) -> Path:
    """A copy of the toy entries to break."""
    return Path(shutil.copytree(TOYS / "kb", tmp_path / "kb"))


@pytest.fixture
def log(capsys):
    """Sets the log up as a server does, and gives its lines so far."""
    before = logging.getLogger("numstab").handlers[:]

    def lines() -> list[str]:
        return [line for line in capsys.readouterr().err.splitlines() if line]

    def set_up(**settings: object):
        logs.configure_logging(Settings(**settings))
        return lines

    yield set_up
    logging.getLogger("numstab").handlers[:] = before
    for name in ("uvicorn", "uvicorn.error"):
        logging.getLogger(name).handlers[:] = []
        logging.getLogger(name).propagate = True
