"""Real parts made tiny: toy demos with every way to fail, a three-entry library, a word-hash embedder."""

import functools
import hashlib
import io
import logging
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Generator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck
from hypothesis import settings as hypothesis_settings

from qa_service.__main__ import main
from qa_service.answering.knowledge import Knowledge
from qa_service.answering.service import Service, build
from qa_service.experiments.parameters import fill_defaults
from qa_service.experiments.spec import load_specs
from qa_service.lab.disk_cache import RunDiskCache
from qa_service.lab.runner import SERVER_PRELOAD, ProcessRunner
from qa_service.model import Experiment, Params, Run
from qa_service.paths import cache_folder
from qa_service.settings import Settings
from qa_service.telemetry import logging as logs

ROOT = Path(__file__).resolve().parent.parent
TOYS = Path(__file__).resolve().parent / "toys"

# No deadline for an example: a machine under load would miss it. `make test` draws the same examples each time, so that
# what turns red is what was changed; `make test-all` draws others, and more.
_ALLOWED = [HealthCheck.too_slow, HealthCheck.function_scoped_fixture]
hypothesis_settings.register_profile(
    "quick", max_examples=40, derandomize=True, deadline=None, suppress_health_check=_ALLOWED
)
hypothesis_settings.register_profile(
    "thorough", max_examples=300, print_blob=True, deadline=None, suppress_health_check=_ALLOWED
)
hypothesis_settings.load_profile("quick")
_SHARE_A_SERVER = ("test_store", "test_fault_injection", "test_concurrency", "test_deployment")
_SERVER_SECONDS = 600  # for a test that starts a server or a browser, or is the first to use one


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Marks what needs a browser or a server by its fixtures, and gives it more time."""
    for item in items:
        fixtures = set(getattr(item, "fixturenames", ()))
        if "chromium" in fixtures:
            item.add_marker("browser")
        if fixtures & {"live_server", "server", "two_workers", "behind_nginx"}:
            item.add_marker("server")
        if item.get_closest_marker("server") or item.get_closest_marker("browser"):
            item.add_marker(pytest.mark.timeout(_SERVER_SECONDS))


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """Any test to any worker that is free; but the tests of a module that share a server go to one worker, first."""
    from xdist.scheduler import LoadScopeScheduling

    class OneServerPerModule(LoadScopeScheduling):
        def _split_scope(self, nodeid: str) -> str:
            path = nodeid.partition("::")[0]
            return path if Path(path).stem in _SHARE_A_SERVER else nodeid

    return OneServerPerModule(config, log)


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
    """A lab with a small memory; its deadline is for a busy machine."""
    return ProcessRunner(deadline=20.0, memory=1024, slots=2)


@pytest.fixture(scope="session")
def toy(lab: ProcessRunner, toy_experiments: dict[str, Experiment]) -> Callable[..., Run]:
    """Runs a toy demo once."""

    def run(slug: str, seed: int = 0, **params: object) -> Run:
        experiment = toy_experiments[slug]
        return lab.run(experiment, fill_defaults(experiment, params), seed)

    return run


@pytest.fixture(scope="session")
def new_toy_service(lab: ProcessRunner, tmp_path_factory: pytest.TempPathFactory) -> Callable[[], Service]:
    """Makes a service of three entries, the toy experiments and the word-hash embedder; trained once."""
    settings = Settings(kb=TOYS / "kb", demos=TOYS / "demos", cache=tmp_path_factory.mktemp("toys"))
    return lambda: Service(Knowledge.read(settings, WordHash()), lab, threshold=0.5)


@pytest.fixture
def toy_service(new_toy_service: Callable[[], Service]) -> Service:
    """A service of the toys for one test, which may change it."""
    return new_toy_service()


def whole_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder that all workers of this test run have in common."""
    base = tmp_path_factory.getbasetemp()
    return base.parent if "PYTEST_XDIST_WORKER" in os.environ else base


@pytest.fixture(scope="session")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One cache for the whole test run, whatever worker asks: matcher and chart bundle are built once."""
    cache = whole_run(tmp_path_factory) / "cache"
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


class RememberingRunner:
    """A lab that runs each (code, parameters, seed) once in a test run, whichever worker asks first."""

    def __init__(self, runner: ProcessRunner, folder: Path) -> None:
        self._runner = runner
        self._known = RunDiskCache(folder, 1 << 30)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._runner, name)

    def run(self, experiment: Experiment, params: Params, seed: int = 0) -> Run:
        """One run from beginning to end."""
        rows = self.stream(experiment, params, seed)
        while True:
            try:
                next(rows)
            except StopIteration as finished:
                return finished.value

    def stream(
        self, experiment: Experiment, params: Params, seed: int, stopped: Callable[[], bool] = lambda: False
    ) -> Generator[Any, None, Run]:
        """Rows, then the run, as if it had just been measured."""
        known = self._known.get(experiment, params, seed)
        if known is not None:
            yield from known.rows
            return replace(known, cached=False)
        run = yield from self._runner.stream(experiment, params, seed, stopped)
        self._known.put(experiment, params, seed, run)
        return run


@pytest.fixture(scope="session")
def fresh_lab(settings: Settings) -> ProcessRunner:
    """The shipped experiments in a lab that remembers nothing."""
    runner = ProcessRunner(deadline=settings.deadline, preload=SERVER_PRELOAD)
    runner.warm_up()
    return runner


@pytest.fixture(scope="session")
def service(settings: Settings, fresh_lab: ProcessRunner, cache: Path) -> Service:
    """The real thing; what several tests ask of its lab is measured once."""
    service = build(settings, warm=SERVER_PRELOAD)
    service.runner = RememberingRunner(fresh_lab, cache / "runs")
    return service


@pytest.fixture(scope="session")
def built() -> Callable[..., Service]:
    """As `build`, but of entries that no test changes the same settings give the same service."""
    once = functools.cache(build)

    def build_once(settings: Settings, **how: Any) -> Service:
        return (once if settings.kb in (Settings().kb, TOYS / "kb") else build)(settings, **how)

    return build_once


@pytest.fixture
def terminal(capsys, monkeypatch, built) -> Callable[..., subprocess.CompletedProcess[str]]:
    """`numstab` in this process: what it prints and its exit status, with these settings and this standard input."""
    monkeypatch.setattr("qa_service.answering.service.build", built)

    def run(*words: str, env: dict[str, str], stdin: bytes = b"") -> subprocess.CompletedProcess[str]:
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(stdin), encoding="utf-8"))
        capsys.readouterr()
        try:
            status = main(list(words), env)
        except SystemExit as ended:  # argparse's --help
            status = int(ended.code or 0)
        out, err = capsys.readouterr()
        return subprocess.CompletedProcess(words, status, out, err)

    return run


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
