"""Looks at a cluster once, as a service that starts does: which machines take jobs, and what is wrong with others."""

import os
import select
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from qa_service import __version__
from qa_service.lab.cluster_start import check_address, check_token, cluster_environment, kill_session
from qa_service.machine import Environment

if TYPE_CHECKING:
    from qa_service.lab.cluster_messages import DriverMessage, JobMessage

_CONNECT_SECONDS = 120.0  # until the first machine takes jobs: it imports torch before
_QUIET_SECONDS = 3.0  # after a machine has been found, until no further one is waited for
_STOP_SECONDS = 8.0


@dataclass(frozen=True, slots=True)
class FoundMachine:
    """A machine of a cluster that answers."""

    slots: int
    numstab_version: str
    environment: Environment

    @property
    def takes_jobs(self) -> bool:
        """Whether it has the same version of numstab as this installation."""
        return self.numstab_version == __version__


@dataclass(slots=True)
class ClusterInspection:
    """The machines found, why others refuse jobs, and why the cluster was not reached, "" if it was."""

    machines: tuple[FoundMachine, ...] = ()
    refusals: list[str] = field(default_factory=list)
    problem: str = ""


def inspect_cluster(address: str, driver: Sequence[str] = ()) -> ClusterInspection:
    """Look at the cluster whose head is at `address`, host:port; takes seconds, two minutes at most.

    `driver` is the command of the process that connects, by default `cluster_driver`. Raises `BadField` if there is no
    token, no Ray, or the address is malformed.
    """
    check_address(address, "NUMSTAB_CLUSTER")
    check_token(os.environ)
    process = subprocess.Popen(
        driver or (sys.executable, "-m", "qa_service.lab.cluster_driver", address),
        env=cluster_environment(os.environ),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    assert process.stdin is not None
    assert process.stdout is not None
    try:
        return _inspection(_messages(process.stdout.fileno()))
    finally:
        with suppress(OSError):
            process.stdin.close()
        with suppress(subprocess.TimeoutExpired):
            process.wait(_STOP_SECONDS)
        process.stdout.close()
        kill_session(process.pid)
        process.wait()


def _inspection(messages: "Iterator[JobMessage | DriverMessage | None]") -> ClusterInspection:
    """Collects the messages of a driver until no further machine is to be expected."""
    found = ClusterInspection()
    changed = time.monotonic()
    for message in messages:
        match message:
            case "problem", why:
                found.problem = why
                break
            case "refused", why:
                found.refusals.append(why)
                changed = time.monotonic()
            case "nodes", nodes:
                machines = tuple(FoundMachine(each.slots, each.numstab, each.environment) for each in nodes)
                if machines != found.machines:
                    found.machines, changed = machines, time.monotonic()
        waited = time.monotonic() - changed
        if waited > (_QUIET_SECONDS if found.machines or found.refusals else _CONNECT_SECONDS):
            break
    return found


def _messages(descriptor: int) -> "Iterator[JobMessage | DriverMessage | None]":
    """Each message of a driver, without the number of its job, and None after each second without one."""
    from qa_service.lab.cluster_messages import decode_cluster_line

    rest = b""
    while True:
        if not select.select([descriptor], [], [], 1.0)[0]:
            yield None
            continue
        if not (data := os.read(descriptor, 1 << 16)):
            return
        *lines, rest = (rest + data).split(b"\n")
        for line in lines:
            yield decode_cluster_line(line)[1]
