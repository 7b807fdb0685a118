"""Shared fixtures: toy demos for every kind of failure, a library of three entries, a word-hash embedder, services."""

import errno
import functools
import gc
import hashlib
import io
import logging
import os
import shutil
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from changed_experiments import Recorder, has_nothing_to_run, mark_unchanged
from hypothesis import HealthCheck
from hypothesis import settings as hypothesis_settings
from processes import shared_server

from bench.server import Server, run_server
from qa_service.__main__ import main
from qa_service.answering.composition import build
from qa_service.answering.knowledge import Knowledge
from qa_service.answering.service import Service
from qa_service.experiments.parameters import fill_defaults
from qa_service.experiments.spec import load_specs
from qa_service.lab import seccomp
from qa_service.lab.disk_cache import RunDiskCache
from qa_service.lab.interpreter import Interpreter, shared_interpreter
from qa_service.lab.runner import CLI_PRELOAD, SERVER_PRELOAD, ProcessRunner, run_to_end
from qa_service.model import Experiment, Params, Run
from qa_service.paths import cache_folder
from qa_service.settings import Settings
from qa_service.telemetry import logging as logs

ROOT = Path(__file__).resolve().parent.parent
TOYS = Path(__file__).resolve().parent / "toys"
CONFINED = not seccomp.why_unsupported()
if not CONFINED:  # macOS, or a kernel without seccomp: the servers that tests start run experiments all the same
    os.environ["NUMSTAB_SANDBOX"] = "off"

# Before torch is loaded, here and in children: its threads wait for one another in a loop, and on busy processors that
# takes ten times the work. `make test` sets it for numpy too, which is loaded already.
os.environ.setdefault("OMP_NUM_THREADS", "1")

# Hypothesis' deadline is off: a machine under load would miss it. `make test` draws the same examples each time, so
# that a failure comes from the change under test; `make test-all` draws new examples, and more of them.
_SUPPRESSED_CHECKS = [HealthCheck.too_slow, HealthCheck.function_scoped_fixture]
hypothesis_settings.register_profile(
    "quick", max_examples=40, derandomize=True, deadline=None, suppress_health_check=_SUPPRESSED_CHECKS
)
hypothesis_settings.register_profile(
    "thorough", max_examples=300, print_blob=True, deadline=None, suppress_health_check=_SUPPRESSED_CHECKS
)
hypothesis_settings.load_profile("quick")
_ONE_BY_ONE = ("experiments", "test_claims")
"""A folder and a module whose tests the workers take one by one: they run experiments, and many where many changed."""
_FIRST = ("mcp", "pages", "formula", "trial", "test_claims", "python_api", "test_terminal", "test_ray_cluster")
"""What takes longest, and is therefore begun first, so that no worker is left with it at the end."""
_WITH_TOY_SERVER = ("mcp", "test_concurrency", "test_deployment", "test_fault_injection")
"""A folder and modules whose tests share a server of the toys: one worker takes them all."""
_SERVER_TEST_TIMEOUT_SECONDS = 600  # per test; the first to use a server also waits for its start


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--record", action="store_true", help="write tests/experiments/passed.json")


def pytest_configure(config: pytest.Config) -> None:
    """With --record, installs the recorder in the main process, which gets the reports of all xdist workers."""
    if config.getoption("record") and not hasattr(config, "workerinput"):
        config.pluginmanager.register(Recorder())


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Marks tests whose fixtures need a server or a browser and raises their timeout, marks unchanged tests, and puts
    the slowest tests first.
    """
    mark_unchanged(items)
    items.sort(key=lambda item: not {item.path.stem, item.path.parent.name} & set(_FIRST))
    cases: Counter[tuple[Path, str]] = Counter()
    for item in items:
        for marker in item.iter_markers("sampled"):
            test = (item.path, item.function.__name__)
            if cases[test] % marker.kwargs["one_in"]:
                item.add_marker("exhaustive")
            cases[test] += 1
    for item in items:
        fixtures = set(getattr(item, "fixturenames", ()))
        if "chromium" in fixtures:
            item.add_marker("browser")
        if fixtures & {"live_server", "toy_server", "server", "two_workers", "behind_nginx"}:
            item.add_marker("server")
        if item.get_closest_marker("server") or item.get_closest_marker("browser"):
            item.add_marker(pytest.mark.timeout(_SERVER_TEST_TIMEOUT_SECONDS))


@pytest.hookimpl(tryfirst=True)
def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """Skips reading test files of which no test would run: reading them took most of the collection time."""
    arguments = config.invocation_params.args
    return has_nothing_to_run(collection_path, config.option.markexpr, arguments) or None


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Generator[None, object, object]:
    """Excludes the objects made by collection from garbage collection, as they live until the end of the run."""
    gc.disable()
    try:
        return (yield)
    finally:
        gc.freeze()
        gc.enable()


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_auto_num_workers() -> int:
    """What `-n auto` means: two workers more than there are processors, as some wait for a deadline, and at most four.

    Each worker reads all tests, and starts a browser, fork servers and a service of its own: 15 seconds of CPU time.
    """
    return min(4, (os.cpu_count() or 1) + 2)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """Give modules, and folders of them, to the workers as a whole: fixtures are made and libraries imported once."""
    from xdist.scheduler import LoadScopeScheduling

    class OneWorkerPerScope(LoadScopeScheduling):
        def _split_scope(self, nodeid: str) -> str:
            return scope_of(nodeid)

    config.option.loadscopereorder = False  # by the number of tests, which says little of their time
    return OneWorkerPerScope(config, log)


def scope_of(nodeid: str) -> str:
    """The group of tests that one worker runs one after the other, by a test's id: a folder, the tests that share a
    server, a module outside the folders, or a single test. Starting a browser, with a window for each language, costs
    as much as ten tests.
    """
    path = Path(nodeid.partition("::")[0])
    if path.stem in _ONE_BY_ONE or path.parent.name in _ONE_BY_ONE:
        return nodeid
    if {path.stem, path.parent.name} & set(_WITH_TOY_SERVER):
        return "with toy server"
    return str(path if path.parent.name == "tests" else path.parent)


class WordHash:
    """Embedder without weights: counts hashed words and characters, so texts that share them have near vectors."""

    def encode_query(self, sentences: list[str]) -> np.ndarray:
        vectors = np.zeros((len(sentences), 256), dtype=np.float32)
        for row, sentence in enumerate(sentences):
            for word in sentence.lower().split() + list(sentence):
                vectors[row, int.from_bytes(hashlib.blake2b(word.encode(), digest_size=2).digest()) % 256] += 1
        return vectors

    encode_document = encode_query


def pytest_make_parametrize_id(val: object) -> str | None:
    """Names a long parameter by its length: compressed bytes hold the time, and all workers must see the same names."""
    return f"{len(val)}-bytes" if isinstance(val, bytes) and len(val) > 16 else None


@pytest.fixture(scope="session")
def word_hash() -> type[WordHash]:
    """The class of the word-hash embedder."""
    return WordHash


@pytest.fixture(scope="session")
def toy_experiments() -> dict[str, Experiment]:
    """The toy experiments by slug."""
    return load_specs(TOYS / "demos")


@pytest.fixture(scope="session", autouse=True)
def kept_fork_servers() -> list[Interpreter]:
    """Keeps the fork servers of this process alive between tests: once started, one serves all runners of all tests.

    Otherwise each would end with its last runner, and importing torch again takes two seconds of CPU time.
    """
    return [shared_interpreter("", preload) for preload in (CLI_PRELOAD, SERVER_PRELOAD)]


@pytest.fixture(scope="session")
def lab() -> ProcessRunner:
    """A runner for the toy demos: 1024 MiB a run, two slots, and a deadline long enough for a machine under load."""
    return ProcessRunner(deadline=120.0, memory=1024, slots=2, confined=CONFINED)


@pytest.fixture(scope="session")
def toy(lab: ProcessRunner, toy_experiments: dict[str, Experiment]) -> Callable[..., Run]:
    """A function that runs a toy demo with default parameters, except those given, and returns the run."""

    def run(slug: str, seed: int = 0, **params: object) -> Run:
        experiment = toy_experiments[slug]
        return lab.run(experiment, fill_defaults(experiment, params), seed)

    return run


@pytest.fixture(scope="session")
def new_toy_service(lab: ProcessRunner, tmp_path_factory: pytest.TempPathFactory) -> Callable[[], Service]:
    """A function that makes a service of the toy entries and demos; the services share one trained classifier."""
    settings = Settings(kb=TOYS / "kb", demos=TOYS / "demos", cache=tmp_path_factory.mktemp("toys"))
    return lambda: Service(Knowledge.read(settings, WordHash()), lab, threshold=0.5)


@pytest.fixture
def toy_service(new_toy_service: Callable[[], Service]) -> Service:
    """A toy service that the test may modify."""
    return new_toy_service()


def shared_temp_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The temporary folder shared by all xdist workers of this test run."""
    base = tmp_path_factory.getbasetemp()
    return base.parent if "PYTEST_XDIST_WORKER" in os.environ else base


_REUSED = 3
"""Files of a kind that a test run takes from the user's cache: the newest are of this version, if any are."""


def _link_or_copy(file: Path, target: Path) -> None:
    """Gives the file a second name, or copies it where that is on another disk; raises FileExistsError."""
    try:
        target.hardlink_to(file)
    except OSError as error:
        if error.errno != errno.EXDEV:
            raise
        partial = target.with_name(f"{file.name}.{os.getpid()}")
        shutil.copy(file, partial)
        partial.replace(target)


@pytest.fixture(scope="session")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A cache folder shared by all xdist workers: matcher and chart bundle are built once per test run."""
    cache = shared_temp_folder(tmp_path_factory) / "cache"
    cache.mkdir(exist_ok=True)
    for kind in ("phrasings-*", "classifier-*", "prose-*", "encoder-*.npy", "encoder-*.npz", "vega-*", "math-*"):
        newest = sorted(cache_folder().glob(kind), key=lambda file: file.stat().st_mtime)[-_REUSED:]
        for file in newest:  # what set-up has built; the names hash the sources
            with suppress(FileExistsError):
                _link_or_copy(file, cache / file.name)
    return cache


@pytest.fixture(scope="session")
def settings(tmp_path_factory: pytest.TempPathFactory, cache: Path) -> Settings:
    """Settings with the shipped knowledge base and demos, and a temporary data folder."""
    return Settings(data=tmp_path_factory.mktemp("numstab") / "data", cache=cache, deadline=240.0)


class CachedRunner:
    """A runner with a disk cache shared by all xdist workers: each (code, parameters, seed) runs once per test run."""

    def __init__(self, runner: ProcessRunner, folder: Path) -> None:
        self._runner = runner
        self._cache = RunDiskCache(folder, 1 << 30)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._runner, name)

    def run(self, experiment: Experiment, params: Params, seed: int = 0) -> Run:
        """Run to completion, without the rows in between."""
        return run_to_end(self.stream(experiment, params, seed))

    def run_seeds(self, experiment: Experiment, params: Params, seeds: Sequence[int]) -> list[Run]:
        """A run for each seed; only the first if that draws no random number."""
        first = self.run(experiment, params, seeds[0])
        return [first, *(self.run(experiment, params, seed) for seed in seeds[1:] if first.used_rng)]

    def stream(
        self, experiment: Experiment, params: Params, seed: int, stopped: Callable[[], bool] = lambda: False
    ) -> Generator[Any, None, Run]:
        """Yield the rows and return the run; a run from the cache is not marked as cached."""
        hit = self._cache.get(experiment, params, seed)
        if hit is not None:
            yield from hit.rows
            return replace(hit, cached=False)
        run = yield from self._runner.stream(experiment, params, seed, stopped)
        self._cache.put(experiment, params, seed, run)
        return run


@pytest.fixture(scope="session")
def fresh_lab(settings: Settings) -> ProcessRunner:
    """A runner without any cache, whose fork server is preloaded as in a server and starts with the first run."""
    return ProcessRunner(deadline=settings.deadline, preload=SERVER_PRELOAD, confined=CONFINED)


@pytest.fixture(scope="session")
def service(settings: Settings, fresh_lab: ProcessRunner, cache: Path) -> Service:
    """The service of the shipped knowledge base; identical runs of several tests are executed once."""
    service = build(settings, warm=None)
    service.runner = CachedRunner(fresh_lab, cache / "runs")
    return service


@pytest.fixture(scope="session")
def cached_build(settings: Settings, request: pytest.FixtureRequest) -> Callable[..., Service]:
    """A replacement for `build` that reads the shipped and the toy entries only once, as no test modifies them.

    The data folder is no part of a service. The fork server starts with the first run, as many commands run nothing.
    Identical runs of several commands are executed once.
    """
    memoised = functools.cache(build)

    @functools.cache
    def shipped() -> Service:
        own = request.getfixturevalue("service")
        return Service(own.knowledge, own.runner, threshold=settings.threshold, queue=settings.queue)

    def build_service(given: Settings, **options: Any) -> Service:
        own = {**options, "warm": None}
        if replace(given, data=settings.data, deadline=settings.deadline) == settings:
            return shipped()
        if given.kb in (settings.kb, TOYS / "kb"):
            return memoised(replace(given, data=settings.data), **own)
        return build(given, **own)

    return build_service


@pytest.fixture
def terminal(capsys, monkeypatch, cached_build) -> Callable[..., subprocess.CompletedProcess[str]]:
    """A function that runs `numstab` in this process with the given arguments, environment and standard input."""
    monkeypatch.setattr("qa_service.answering.composition.build", cached_build)

    def run(*arguments: str, env: dict[str, str], stdin: bytes = b"") -> subprocess.CompletedProcess[str]:
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(stdin), encoding="utf-8"))
        capsys.readouterr()
        try:
            status = main(list(arguments), env)
        except SystemExit as exited:  # argparse's --help
            status = int(exited.code or 0)
        out, err = capsys.readouterr()
        return subprocess.CompletedProcess(arguments, status, out, err)

    return run


@pytest.fixture(scope="session")
def live_server(tmp_path_factory: pytest.TempPathFactory, cache: Path) -> Iterator[str]:
    """The address of one `numstab serve` shared by all workers; pages at 127.0.0.1 may embed its entries."""
    env = {"NUMSTAB_CACHE": str(cache), "NUMSTAB_DATA": str(cache.parent / "server-data"), "NUMSTAB_DEADLINE": "240",
           "NUMSTAB_RATE": "", "NUMSTAB_EMBED": "http://127.0.0.1:*"}  # fmt: skip
    with shared_server(env, cache.parent / "server") as address:
        yield address


@pytest.fixture(scope="session")
def toy_server(tmp_path_factory: pytest.TempPathFactory, cache: Path) -> Iterator[Server]:
    """`numstab serve` of the toy entries and demos, for tests that watch its processes; these all run in one worker.

    A proxy on this machine may state the addresses of its clients; each may make 100,000 requests an hour.
    """
    env = {"NUMSTAB_KB": str(TOYS / "kb"), "NUMSTAB_DEMOS": str(TOYS / "demos"), "NUMSTAB_CACHE": str(cache),
           "NUMSTAB_DATA": str(tmp_path_factory.mktemp("toy-server")), "NUMSTAB_RATE": "100000/hour",
           "NUMSTAB_PROXIES": "127.0.0.1", "NUMSTAB_QUEUE": "100", "NUMSTAB_DEADLINE": "100",
           "NUMSTAB_MEMORY": "1024"}  # fmt: skip
    with run_server(env) as server:
        yield server


@pytest.fixture
def kb_copy(tmp_path: Path) -> Path:
    """A copy of the toy entries that a test may modify."""
    return Path(shutil.copytree(TOYS / "kb", tmp_path / "kb"))


@pytest.fixture(autouse=True)
def restored_log_handlers() -> Iterator[None]:
    """Restores the log handlers after a test that configures logging as a server does: its captured stream is
    closed.
    """
    loggers = [logging.getLogger(name) for name in ("numstab", "uvicorn", "uvicorn.error", "asyncio")]
    before = [logger.handlers[:] for logger in loggers]
    yield
    for logger, handlers in zip(loggers, before, strict=True):
        logger.handlers[:] = handlers


@pytest.fixture
def log(capsys):
    """A function that configures logging as a server does and returns a function for the lines logged since."""
    before = logging.getLogger("numstab").handlers[:]

    def lines() -> list[str]:
        return [line for line in capsys.readouterr().err.splitlines() if line]

    def configure(**settings: object):
        logs.configure_logging(Settings(**settings))
        return lines

    yield configure
    logging.getLogger("numstab").handlers[:] = before
    for name in ("uvicorn", "uvicorn.error", "asyncio"):
        logging.getLogger(name).handlers[:] = []
        logging.getLogger(name).filters[:] = []
        logging.getLogger(name).propagate = True
