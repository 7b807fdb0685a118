"""A real Ray cluster of two machines on this host: bit-identical results, cancelled runs, and processes killed during a
run.
"""

import os
import signal
import subprocess
import sys
from contextlib import contextmanager
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path

import pytest
from conftest import CONFINED
from processes import ROOT, TIMEOUT_SECONDS, session_processes, until
from shipped import EXPERIMENTS as SHIPPED

from bench.ray_cluster import START_SECONDS, cluster
from qa_service.experiments.parameters import fill_defaults
from qa_service.experiments.spec import load_specs
from qa_service.lab.cluster import RayRunner
from qa_service.lab.cluster_inspection import inspect_cluster
from qa_service.lab.runner import SERVER_PRELOAD, Cancelled, ProcessRunner, QueuePosition
from qa_service.machine import environment
from qa_service.model import RunStatus

pytestmark = [
    pytest.mark.skipif(find_spec("ray") is None, reason="Ray is not installed: pip install 'numstab[cluster]'"),
    pytest.mark.skipif(not sys.platform.startswith("linux"), reason="processes are found in /proc"),
    pytest.mark.timeout(900),
]
SLEEPS = load_specs(Path(__file__).resolve().parent / "toys" / "demos")["sleeps"]
ROWS = 60  # of a run in which something is killed: three seconds
SAMPLE = sorted(SHIPPED)[:: max(1, len(SHIPPED) // 8)][:8]


@pytest.fixture(scope="module")
def two_machines():
    """A cluster of two machines with one slot each, and a runner connected to both."""
    with cluster() as started, runner_on(started) as (runner, local):
        started.add()
        until(lambda: runner.slots == 2, START_SECONDS)
        yield started, runner, local


@contextmanager
def runner_on(started):
    """A runner on a cluster, and a runner on this machine alone, made as a service makes them."""
    with pytest.MonkeyPatch.context() as env:
        env.setenv("RAY_AUTH_TOKEN", started.token)
        env.setenv("PYTHONPATH", str(ROOT))
        # The deadline ends nothing here: what is gone within a wait was killed.
        local = ProcessRunner(deadline=900.0, memory=2048, slots=1, preload=SERVER_PRELOAD, confined=CONFINED)
        local.warm_up()
        runner = RayRunner.connect(local, started.address)
        try:
            yield runner, local
        finally:
            runner.close()


@contextmanager
def other_network():
    """A network namespace linked to this machine's: our address there, a command prefix that executes in it, and a
    function that cuts or restores the link.
    """
    here, there, ours, theirs = "10.213.7.1", "10.213.7.2", f"nst{os.getpid()}", f"nstp{os.getpid()}"
    name = f"numstab-{os.getpid()}"

    def ip(*words):
        subprocess.run(["ip", *words], check=True, capture_output=True, text=True, timeout=TIMEOUT_SECONDS)

    def set_link(state):
        ip("-n", name, "link", "set", theirs, state)

    try:
        ip("netns", "add", name)
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("network namespaces cannot be made here: that takes root, and iproute2")
    try:
        ip("link", "add", ours, "type", "veth", "peer", "name", theirs, "netns", name)
        ip("addr", "add", f"{here}/30", "dev", ours)
        ip("link", "set", ours, "up")
        ip("-n", name, "addr", "add", f"{there}/30", "dev", theirs)
        ip("-n", name, "link", "set", "lo", "up")
        set_link("up")
        yield here, ("ip", "netns", "exec", name), set_link
    finally:
        ip("netns", "del", name)


@contextmanager
def only_on(runner, node):
    """Makes every run within the block begin on this machine of the cluster."""
    least_busy, node_id = runner.choose_machine, node.id()
    runner.choose_machine = lambda usable: (
        next((each for each in usable if each.id == node_id), None) or least_busy(usable)
    )
    try:
        yield
    finally:
        runner.choose_machine = least_busy


def rows_and_run(stream, after=0, then=lambda: None):
    """The rows and the run of a stream; `then` is called after `after` rows."""
    rows = []
    while True:
        if len(rows) == after:
            then()
        try:
            rows.append(next(stream))
        except StopIteration as end:
            return rows, end.value


def same(run, other):
    """Whether two runs have the same numbers to the bit."""
    return repr((run.status, run.measured, run.rows)) == repr((other.status, other.measured, other.rows))


def measure_everywhere(two_machines, slug):
    """Asserts that an experiment gives the same results on both machines and on this host without the cluster."""
    started, runner, local = two_machines
    experiment = SHIPPED[slug]
    params = fill_defaults(experiment, {})
    at_home = local.run(experiment, params, 3)
    for node in started.nodes:
        with only_on(runner, node):
            rows, run = rows_and_run(runner.stream(experiment, params, 3))
        assert run.status is RunStatus.RAN, run.note
        assert same(run, at_home)
        assert tuple(rows) == run.rows or repr(tuple(rows)) == repr(run.rows)


@pytest.mark.sampled(one_in=4)
@pytest.mark.parametrize("slug", SAMPLE)
def test_an_experiment_gives_the_same_bits_on_every_machine(two_machines, slug):
    """Rows, their order and metrics are those of the answering machine, for a sample of the shipped experiments."""
    measure_everywhere(two_machines, slug)


@pytest.mark.exhaustive
@pytest.mark.parametrize("slug", sorted(SHIPPED))
def test_every_experiment_gives_the_same_bits_on_every_machine(two_machines, slug):
    """Tests all shipped experiments."""
    measure_everywhere(two_machines, slug)


def test_a_client_that_leaves_kills_the_child(two_machines):
    """The process that executes the run is killed on its machine, and its slot is free for the next run."""
    started, runner, _ = two_machines
    node = started.nodes[1]
    source = SLEEPS.source.replace("import time", "import os\nimport time").replace("1.0}", "os.getpid()}", 1)
    says_its_process = replace(SLEEPS, source=source)
    with only_on(runner, node):
        cancelled = []
        stream = runner.stream(says_its_process, {"steps": 100_000}, 0, lambda: bool(cancelled))
        child = next(int(row["value"]) for row in stream if not isinstance(row, QueuePosition))
        assert child in session_processes(node.process.pid)
        cancelled.append(True)
        with pytest.raises(Cancelled):
            list(stream)
        until(lambda: child not in session_processes(node.process.pid), 60)
        assert rows_and_run(runner.stream(SLEEPS, {"steps": 1}, 0))[1].status is RunStatus.RAN


@pytest.mark.sampled(one_in=2)
@pytest.mark.parametrize("killed", ["ray::Node", "/raylet"])
def test_a_run_whose_machine_is_killed_is_finished_elsewhere(two_machines, killed):
    """The actor or Ray's own process is killed with SIGKILL during the run: no row is yielded twice, and the machine
    returns or is replaced.
    """
    started, runner, local = two_machines
    node = started.nodes[-1]
    with only_on(runner, node):
        stream = runner.stream(SLEEPS, {"steps": ROWS}, 0)
        rows, run = rows_and_run(stream, 5, lambda: os.kill(node.pid_of(killed), signal.SIGKILL))
    assert [row["step"] for row in rows] == list(range(ROWS))
    assert same(run, local.run(SLEEPS, {"steps": ROWS}, 0))
    if killed == "/raylet":
        until(
            lambda: not any("forkserver" in line for line in session_processes(node.process.pid).values())
        )  # no orphans
        started.add()
    until(lambda: runner.slots == 2, START_SECONDS)


@pytest.mark.exhaustive
def test_the_doctor_sees_the_machines_and_a_wrong_token(two_machines, monkeypatch):
    """`numstab doctor` connects like a new service, while another service is connected to the same cluster."""
    started, runner, _ = two_machines
    found = inspect_cluster(started.address)
    assert (found.problem, found.refusals) == ("", [])
    assert [(each.slots, each.takes_jobs, each.environment) for each in found.machines] == [
        (1, True, environment())
    ] * 2
    monkeypatch.setenv("RAY_AUTH_TOKEN", "wrong" * 10)
    refused = inspect_cluster(started.address)
    assert refused.problem
    assert refused.machines == ()
    assert runner.slots == 2


@pytest.mark.exhaustive
def test_a_wrong_token_is_refused(two_machines, monkeypatch):
    """The cluster's head rejects a service with another token; services that are connected stay connected."""
    started, runner, _ = two_machines
    monkeypatch.setenv("RAY_AUTH_TOKEN", "wrong" * 10)
    command = [sys.executable, "-m", "qa_service.lab.cluster_driver", started.address]
    env = os.environ | {"RAY_AUTH_MODE": "token"}
    refused = subprocess.run(
        command, cwd=ROOT, env=env, input=b"", capture_output=True, check=False, timeout=600, start_new_session=True
    )
    assert refused.returncode == 1
    assert b'["problem"' in refused.stdout
    assert b'["nodes"' not in refused.stdout
    assert runner.slots == 2


def test_a_lost_head_leaves_the_runs_to_this_machine(two_machines):
    """Must be the last test of this cluster: the head is killed during a run, which this machine finishes; no process
    is left.
    """
    started, runner, local = two_machines
    driver = runner.driver_session_id()
    stream = runner.stream(SLEEPS, {"steps": ROWS}, 0)
    rows, run = rows_and_run(stream, 5, lambda: os.kill(started.head.pid_of("/gcs_server"), signal.SIGKILL))
    assert [row["step"] for row in rows] == list(range(ROWS))
    assert same(run, local.run(SLEEPS, {"steps": ROWS}, 0))
    until(lambda: runner.slots == local.slots)
    runner.close()
    started.end()
    assert not [line for node in started.nodes for line in session_processes(node.process.pid).values()]
    assert not session_processes(driver)


@pytest.mark.exhaustive
def test_a_run_behind_a_cut_link_is_finished_elsewhere():
    """Two machines are in two networks whose link is cut during a run, so that packets vanish without an error. Every
    row comes once. The machine takes jobs again when the link is restored.
    """
    with other_network() as (here, there, set_link), cluster(here) as started, runner_on(started) as (runner, local):
        node = started.add(*there)
        until(lambda: runner.slots == 2, START_SECONDS)
        with only_on(runner, node):
            stream = runner.stream(SLEEPS, {"steps": ROWS}, 0)
            rows, run = rows_and_run(stream, 5, lambda: set_link("down"))
        assert [row["step"] for row in rows] == list(range(ROWS))
        assert same(run, local.run(SLEEPS, {"steps": ROWS}, 0))
        assert runner.slots == 1
        set_link("up")
        until(lambda: runner.slots == 2, START_SECONDS)
        with only_on(runner, node):
            assert rows_and_run(runner.stream(SLEEPS, {"steps": 1}, 0))[1].status is RunStatus.RAN
