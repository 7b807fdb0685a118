"""The runner of a cluster, with a stand-in process for Ray's driver: whichever machine is lost, no row is shown
twice.
"""

import json
import math
import socket
import sys
import threading
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest
from checking import each_case
from conftest import CONFINED
from processes import ROOT, TIMEOUT_SECONDS, running_threads, until

from qa_service import machine
from qa_service.errors import BadField
from qa_service.experiments.spec import load_specs
from qa_service.lab import cluster_start
from qa_service.lab.cluster import RayRunner
from qa_service.lab.cluster_messages import ClusterJob, decode_cluster_line, encode_cluster_message
from qa_service.lab.disk_cache import RunDiskCache
from qa_service.lab.queue import FairQueue
from qa_service.lab.run_json import run_from_json, run_to_json
from qa_service.lab.runner import Cancelled, ProcessRunner
from qa_service.lab.single_flight import SharedRunner
from qa_service.model import Evidence, RunStatus
from qa_service.schemas.evidence import evidence_json

EXPERIMENTS = load_specs(Path(__file__).resolve().parent / "toys" / "demos")
FAKE = Path(__file__).resolve().parent / "fake_cluster_driver.py"
COUNTS, SLEEPS = EXPERIMENTS["counts"], EXPERIMENTS["sleeps"]


@pytest.fixture(scope="module")
def at_home(lab, tmp_path_factory):
    """A file with the results of runs on this machine, which every machine of the fake cluster replays."""
    runs = {}
    for experiment, steps, seeds in ((COUNTS, 40, range(8)), (COUNTS, 1, range(31)), (SLEEPS, 1, range(1))):
        for seed, run in zip(seeds, lab.run_seeds(experiment, {"steps": steps}, seeds), strict=True):
            runs[f"{experiment.slug} {steps} {seed}"] = run_to_json(run)
    file = tmp_path_factory.mktemp("cluster") / "runs.json"
    file.write_text(json.dumps(runs))
    return file


@pytest.fixture
def cluster(at_home, tmp_path, monkeypatch):
    """A function that makes a runner on fake machines (arguments as for `fake_cluster_driver`); returns it and its
    log's path.
    """
    log = tmp_path / "log"
    log.touch()
    for variable, value in (("RAY_TEST_LOG", log), ("RAY_TEST_RUNS", at_home), ("PYTHONPATH", ROOT)):
        monkeypatch.setenv(variable, str(value))
    local = ProcessRunner(deadline=120.0, memory=1024, slots=1, confined=CONFINED)
    runners = []

    def connect(*machines):
        runner = RayRunner(local, (sys.executable, str(FAKE), *machines))
        runners.append(runner)
        assert runner.wait_until_connected(TIMEOUT_SECONDS)
        return runner, log

    yield connect
    for runner in runners:
        runner.close()


def rows_and_run(runner, experiment=COUNTS, steps=40, seed=7):
    """The rows of a stream, and its run."""
    rows, stream = [], runner.stream(experiment, {"steps": steps}, seed)
    while True:
        try:
            rows.append(next(stream))
        except StopIteration as end:
            return rows, end.value


def same(run, other):
    """Whether two runs have the same numbers to the bit."""
    return repr((run.status, run.measured, run.rows)) == repr((other.status, other.measured, other.rows))


def test_a_run_on_a_machine_is_the_run_at_home(cluster, lab):
    """All rows come in order, and the metrics are equal to the bit; the machine executes the run once."""
    runner, log = cluster("a=runs")
    rows, run = rows_and_run(runner)
    assert same(run, lab.run(COUNTS, {"steps": 40}, 7))
    assert tuple(rows) == run.rows
    assert log.read_text() == "run a [7]\n"


@pytest.mark.parametrize("lost", [["a=dies", "b=runs"], ["a=dies", "b=dies"], ["head=dies"]])
def test_a_lost_machines_run_is_finished_elsewhere_with_no_row_twice(cluster, lab, lost):
    """It is finished on another machine, or on this one if none is left or the whole cluster is lost."""
    runner, _ = cluster(*lost)
    for seed in range(2):  # each machine is the first once
        rows, run = rows_and_run(runner, seed=seed)
        assert [row["step"] for row in rows] == list(range(1, 41))
        assert same(run, lab.run(COUNTS, {"steps": 40}, seed))


def test_a_machine_that_sends_no_valid_run_is_as_one_that_is_lost(cluster, lab):
    runner, log = cluster("wrong=wrong", "sound=runs")
    runner.choose_machine = lambda usable: min(usable, key=lambda each: each.id != "wrong")
    rows, run = rows_and_run(runner)
    assert rows == rows_and_run(lab)[0]
    assert same(run, lab.run(COUNTS, {"steps": 40}, 7))
    assert [line for line in log.read_text().splitlines() if line.startswith("run")] == [
        "run wrong [7]",
        "run sound [7]",
    ]
    seeds = [each.status for each in runner.run_seeds(COUNTS, {"steps": 1}, range(3))]
    assert seeds == [RunStatus.RAN] * 3


@each_case(
    "line",
    [
        b"", b"x", b"7", b"7 ", b'x ["end"]', b"7 {}", b"7 []", b'7 ["end",1]', b'7 ["lost"]', b'7 ["lost",1]',
        b'7 ["else",1]', b'7 ["rows",{}]', b'7 ["rows",[1]]',
        b'7 ["rows",[{"step":[1]}]]', b'7 ["position",1.5]', b'7 ["position",NaN]',
        b'7 ["run",{}]', b'7 ["nodes",[]]', b"7 " + b"[" * 100_000,
        b'0 ["end"]', b'0 ["nodes",{}]', b'0 ["nodes",[{}]]',
        b'0 ["nodes",[{"id":"a","slots":0,"numstab":"1","environment":[]}]]',
        b'0 ["nodes",[{"id":"a","slots":true,"numstab":"1","environment":[]}]]',
        b'0 ["nodes",[{"id":"a","slots":1,"numstab":"1","environment":[1]}]]', b'0 ["problem"]', b'0 ["refused",null]',
    ],
)  # fmt: skip
def test_a_line_that_is_no_message_is_refused(line):
    with pytest.raises(ValueError, match=r"validation error|invalid literal"):
        decode_cluster_line(line)


def test_messages_are_read_as_they_were_sent():
    """Messages may contain inf, nan, the word "NaN", numbers of any size, and unknown fields."""
    rows = [{"step": 2**70, "value": math.inf, "x": math.nan, "word": "NaN", "on": True, "none": None, "zero": -0.0}]
    node = {"id": "a", "slots": 2, "numstab": "1", "environment": ["x"], "gpus": 3}
    for message in (("rows", rows), ("position", 3), ("run", '{"a":\n1}'), ("end",), ("lost", "为什么")):
        data = encode_cluster_message(message)
        assert b"\n" not in data
        assert repr(decode_cluster_line(b"7 " + data)) == repr((7, message))
    _, (_, (listed,)) = decode_cluster_line(b"0 " + json.dumps(["nodes", [node]]).encode())
    assert (listed.id, listed.slots, listed.environment) == ("a", 2, ("x",))


@each_case(
    "wrong",
    [{"seeds": []}, {"seeds": [1.5]}, {"seeds": "1"}, {"params": {"x": [1]}}, {"params": None}, {"source": 1},
     {"deadline": "1"}, {"memory": math.nan}, {"metrics": {}}, {"clients": [1]}],
)  # fmt: skip
def test_a_job_with_a_wrong_field_is_refused(wrong):
    job = {
        "slug": "a", "path": "a.py", "source": "", "metrics": ["m"], "params": {"x": math.inf, "n": 2, "dtype": "NaN"},
        "seeds": [2**63 - 1, 1], "deadline": 5, "memory": 100, "clients": ["c"],
    }  # fmt: skip
    sent = ClusterJob.model_validate_json(json.dumps(job | {"more": 1}))
    assert repr(sent.params) == repr(job["params"])
    assert repr(ClusterJob.model_validate_json(sent.model_dump_json())) == repr(sent)
    with pytest.raises(ValueError, match="validation error"):
        ClusterJob.model_validate_json(json.dumps(job | wrong))


def test_a_run_begins_on_the_machine_that_is_chosen(cluster):
    """Whichever machine is chosen first, one that has lost a run is not asked to execute it again."""
    runner, log = cluster("a=dies", "b=runs", "c=runs")
    runner.choose_machine = lambda usable: min(usable, key=lambda each: each.id)
    for _ in range(2):
        assert rows_and_run(runner)[1].status is RunStatus.RAN
    assert log.read_text().splitlines() == ["run a [7]", "run b [7]"] * 2


def test_what_ends_three_machines_is_not_tried_on_this_one(cluster):
    """The run is reported as crashed, with the rows that were shown, and the runner stays usable."""
    runner, log = cluster("a=dies", "b=dies", "c=dies", "d=dies")
    rows, run = rows_and_run(runner)
    assert (run.status, len(rows), run.rows) == (RunStatus.CRASHED, 2, tuple(rows))
    assert len(log.read_text().splitlines()) == 3


def test_rows_of_two_kinds_of_machine_are_not_mixed(cluster):
    """If a restarted run gives other rows than those already shown, it is abandoned with an explanation."""
    runner, _ = cluster("a=dies", "b=differs")
    outcomes = [rows_and_run(runner) for _ in range(2)]
    rows, run = min(outcomes, key=lambda outcome: len(outcome[0]))  # the one that began on `a`
    assert [row["value"] for row in rows] == [1, 2]
    assert run.status is RunStatus.CRASHED
    assert "another kind" in run.note.en
    assert run.note.zh


@pytest.mark.parametrize("leave", ["cancel", "drop"])
def test_a_client_that_leaves_cancels_the_run(cluster, leave):
    """Whether it is cancelled or its generator is closed; the slot is free again."""
    runner, log = cluster("a=runs")
    cancelled = []
    stream = runner.stream(SLEEPS, {"steps": 100_000}, 0, lambda: bool(cancelled))
    next(stream)
    if leave == "cancel":
        cancelled.append(True)
        with pytest.raises(Cancelled):
            list(stream)
    else:
        stream.close()
    until(lambda: "cancel" in log.read_text())
    assert rows_and_run(runner)[1].status is RunStatus.RAN


def test_a_run_on_a_silent_machine_can_be_cancelled(cluster):
    """The runner asks whether it is cancelled, whether or not messages come."""
    runner, _ = cluster("a=silent")
    looked = iter([False, False, True])
    with pytest.raises(Cancelled):
        list(runner.stream(COUNTS, {"steps": 3}, 0, lambda: next(looked)))


def test_machines_with_another_version_get_no_job(cluster, lab):
    """Otherwise their numbers would be reported as results of this version."""
    runner, log = cluster("a=old", "b=runs")
    assert runner.slots == 1
    for seed in range(3):
        assert same(rows_and_run(runner, seed=seed)[1], lab.run(COUNTS, {"steps": 40}, seed))
    assert "run a" not in log.read_text()


def test_seeds_are_spread_over_the_machines(cluster, lab):
    """Results are in order and equal those of this machine, also after losing a machine; without random numbers there
    is one run.
    """
    runner, log = cluster("a=runs", "b=runs", "c=dies")
    seeds = list(range(31))
    runs = runner.run_seeds(COUNTS, {"steps": 1}, seeds)
    assert len({run.measured["random"] for run in runs}) == 31
    assert all(
        same(run, at_home) for run, at_home in zip(runs, lab.run_seeds(COUNTS, {"steps": 1}, seeds), strict=True)
    )
    jobs = [line.split()[1] for line in log.read_text().splitlines()]
    assert set(jobs) == {"a", "b", "c"}
    assert len(runner.run_seeds(SLEEPS, {"steps": 1}, seeds)) == 1


def test_where_the_cluster_is_out_of_reach_this_machine_runs_everything(lab):
    """The results are those of a service without a cluster in its settings."""
    local = ProcessRunner(deadline=120.0, memory=1024, slots=3, confined=CONFINED)
    with closing(RayRunner(local, (sys.executable, "-c", "raise SystemExit(1)"))) as runner:
        assert (runner.slots, runner.environments()) == (3, [machine.environment()])
        assert same(rows_and_run(runner)[1], lab.run(COUNTS, {"steps": 40}, 7))
        assert len(runner.run_seeds(COUNTS, {"steps": 1}, [1, 2, 3])) == 3


def test_receipts_and_kept_runs_carry_the_machine_that_measured(cluster, tmp_path, monkeypatch):
    """The receipt names the machine that executed the run, not the one that answers; caches keep runs of different
    kinds of machines apart.
    """
    runner, _ = cluster("a=runs")
    monkeypatch.setattr("qa_service.schemas.evidence.machine_name", lambda: "the machine that answers")
    measured = rows_and_run(runner)[1]
    assert (measured.machine, measured.environment) == (machine.machine_name(), machine.environment())  # by `at_home`
    riscv = replace(measured, machine="Linux riscv64, 4 cores, CPU", environment=("another", "kind"))
    elsewhere = run_from_json(COUNTS, run_to_json(riscv))
    evidence = Evidence(block="b", experiment=COUNTS, params={"steps": 40}, seed=7, run=elsewhere)
    assert evidence_json(evidence, "en").receipt.machine == "Linux riscv64, 4 cores, CPU"
    here = RunDiskCache(tmp_path, 1 << 20)
    here.put(COUNTS, {"steps": 40}, 7, elsewhere)
    assert here.get(COUNTS, {"steps": 40}, 7) is None
    both = RunDiskCache(tmp_path, 1 << 20, environments=lambda: [machine.environment(), ("another", "kind")])
    assert both.get(COUNTS, {"steps": 40}, 7).machine == "Linux riscv64, 4 cores, CPU"


def test_identical_requests_share_one_run_of_the_cluster(cluster):
    """`SharedRunner` can wrap the cluster's runner, as it wraps that of local processes."""
    runner, log = cluster("a=runs", "b=runs")
    shared, outcomes = SharedRunner(runner), []
    threads = [threading.Thread(target=lambda: outcomes.append(rows_and_run(shared))) for _ in range(8)]
    with running_threads(threads):
        until(lambda: len(outcomes) == 8)
    assert log.read_text().count("run") == 1


def test_a_queue_with_fewer_slots_grants_none_until_enough_are_free():
    """The number of slots changes when machines leave or join the cluster while runs hold slots."""
    queue = FairQueue(2)
    held = [queue.join() for _ in range(4)]
    assert [slot.granted.is_set() for slot in held] == [True, True, False, False]
    queue.resize(3)
    assert [slot.granted.is_set() for slot in held] == [True, True, True, False]
    queue.resize(1)
    assert queue.free_slots == 0
    queue.leave(held[0])
    queue.leave(held[1])
    assert not held[3].granted.is_set()
    queue.leave(held[2])
    assert held[3].granted.is_set()


@each_case("address", ["head", "head:", "ray://head:10001", "head:6379/x", "a b:1", "head:6379\n"])
def test_an_address_is_a_host_and_a_port(address):
    """An address of Ray's client protocol, ray://, is refused, as it cannot stream."""
    with pytest.raises(BadField, match=r"10\.0\.0\.5:6379"):
        cluster_start.check_address(address, "NUMSTAB_CLUSTER")


def test_a_cluster_has_a_token(tmp_path):
    """Nothing is started or joined without one, and none of our passwords reaches Ray's processes."""
    with pytest.raises(BadField, match="token"):
        cluster_start.check_token({"HOME": str(tmp_path)})
    cluster_start.check_token({"HOME": str(tmp_path), "RAY_AUTH_TOKEN_PATH": "/run/secrets/token"})
    env = cluster_start.cluster_environment({"PGPASSWORD": "x", "PATH": "/bin", "RAY_AUTH_MODE": "disabled"})
    assert (env["RAY_AUTH_MODE"], env["PATH"], "PGPASSWORD" in env) == ("token", "/bin", False)


def test_a_machine_joins_with_its_address_in_the_network_of_the_head():
    """It does not join with its address on the internet unless told so; on the head's own machine Ray chooses the
    address.
    """
    assert "--node-ip-address=10.0.0.7" in cluster_start.start_command(
        slots=1, join="10.0.0.5:1", own_address="10.0.0.7"
    )
    on_loopback = cluster_start.start_command(slots=1, join="127.0.0.1:6379")
    assert not [word for word in on_loopback if word.startswith("--node-ip-address")]


def test_the_address_of_a_machine_is_the_one_from_which_the_kernel_sends_to_the_head(monkeypatch):
    class Probe(socket.socket):
        def connect(self, place):
            self.place = place

        def getsockname(self):
            return {"192.0.2.1": "192.0.2.7", "198.51.100.1": "198.51.100.7"}[self.place[0]], 12345

    monkeypatch.setattr(socket, "socket", Probe)
    for head, own in (("192.0.2.1", "192.0.2.7"), ("198.51.100.1", "198.51.100.7")):
        assert f"--node-ip-address={own}" in cluster_start.start_command(slots=1, join=f"{head}:6379")
