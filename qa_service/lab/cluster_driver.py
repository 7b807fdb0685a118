"""The process by which a service reaches the cluster: `python -m qa_service.lab.cluster_driver HOST:PORT`.

Ray ends a process that has lost its cluster, and unpickles what it receives; so it is not loaded into the service.
This process starts a Ray node without slots of its own, connects, keeps one actor on each machine, and ends with its
standard input. Jobs and their messages are passed on unchanged, one on a line:

    run ID NODE JOB      →      ID MESSAGE…, then ID ["end"] or ID ["lost", why]
    cancel ID
                                0 ["nodes", [about each]] once a second at least, ["refused" or "problem", why]
"""

import asyncio
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from contextlib import suppress
from functools import partial
from typing import Any, BinaryIO

from qa_service import __version__
from qa_service.lab.cluster_messages import OWN_MESSAGES, ListedNode, NodeDescription, encode_cluster_message
from qa_service.lab.cluster_node import NodeActor
from qa_service.lab.cluster_start import cluster_environment, kill_session, start_command
from qa_service.lab.kernel import PR_SET_PDEATHSIG, prctl

_NAMESPACE = "numstab"
_TASKS_PER_NODE = 64  # jobs of all services that a machine runs or keeps waiting
_LOOK_SECONDS = 0.5  # between looks at the head, its list of nodes, and each of these
_ANSWER_TIMEOUT = 2.0  # seconds that the head or a machine has to accept a connection
_LIST_TIMEOUT = 10.0
_PING_SECONDS, _PING_TIMEOUT = 5.0, 10.0
_CONNECT_TIMEOUT = 60.0
_REFUSED_SECONDS = 10.0  # before a machine that cannot run experiments is asked again
_STOP_TIMEOUT = 4.0


class HeadLost(Exception):
    """The head of the cluster does not answer."""


class Driver:
    """Passes jobs to the actors of the cluster's machines, and what these send to standard output."""

    def __init__(self, address: str, service: BinaryIO) -> None:
        import ray

        self._ray = ray
        self._address = address
        self._send = partial(_send, service)
        self._actors: dict[str, Any] = {}  # of machines that have a description, or are being asked for one
        self._about: dict[str, ListedNode] = {}
        self._jobs: dict[int, asyncio.Task[None]] = {}
        self._on_node: dict[str, set[int]] = {}
        self._background: set[asyncio.Task[None]] = set()
        # Jobs and pings have threads of their own in the actor: a ping is answered however many jobs wait.
        self._actor_class = ray.remote(concurrency_groups={"ping": 1})(NodeActor)

    async def serve(self) -> None:
        """Serves until standard input ends; raises `HeadLost`."""
        commands = asyncio.ensure_future(self._read_commands())
        nodes = asyncio.ensure_future(self._follow_nodes())
        try:
            done, _ = await asyncio.wait((commands, nodes), return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                task.result()
        finally:
            unfinished = [*self._jobs.values(), *self._background, commands, nodes]
            for task in unfinished:
                task.cancel()
            await asyncio.gather(*unfinished, return_exceptions=True)

    async def _read_commands(self) -> None:
        reader = asyncio.StreamReader(limit=1 << 24)
        await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
        while line := await reader.readline():
            word, _, rest = line.rstrip(b"\n").partition(b" ")
            number, _, rest = rest.partition(b" ")
            job = int(number)
            if word == b"cancel":
                if job in self._jobs:
                    self._jobs[job].cancel()
                continue
            node, _, text = rest.partition(b" ")
            self._jobs[job] = asyncio.create_task(self._run(job, node.decode(), text))

    async def _run(self, job: int, node: str, text: bytes) -> None:
        generator = None
        self._on_node.setdefault(node, set()).add(job)
        try:
            actor = self._actors[node]
            generator = actor.stream.options(num_returns="streaming").remote(text)
            async for reference in generator:
                self._send(job, await reference)
            generator = None
            self._send(job, encode_cluster_message(("end",)))
        except (KeyError, self._ray.exceptions.RayError) as error:
            generator = None
            self._on_node.get(node, set()).discard(job)
            self._send(job, encode_cluster_message(("lost", type(error).__name__)))
            self._suspend(node)
        finally:
            del self._jobs[job]
            self._on_node.get(node, set()).discard(job)
            if generator is not None:  # a task goes on although its generator is dropped
                with suppress(Exception):
                    self._ray.cancel(generator)

    async def _follow_nodes(self) -> None:
        """Keeps an actor on every machine with slots, and tells the service which machines there are."""
        pinged = time.monotonic()
        while True:
            alive = {node["NodeID"]: node for node in await self._alive()}
            for node in [each for each in self._actors if each not in alive]:
                self._forget(node)
            await asyncio.gather(*(self._probe(node, alive[node]) for node in tuple(self._about)))
            for node, about in alive.items():
                slots = int(about["Resources"].get("CPU", 0))
                if slots and node not in self._actors:
                    self._actors[node] = self._actor(node, slots)
                    self._in_background(self._admit(node))
            if time.monotonic() - pinged > _PING_SECONDS:
                pinged = time.monotonic()
                for node in self._about:
                    self._in_background(self._ping(node))
            self._announce()
            await asyncio.sleep(_LOOK_SECONDS)

    async def _alive(self) -> list[dict[str, Any]]:
        host, _, port = self._address.rpartition(":")
        try:
            await _connect_to(host.strip("[]"), int(port))
            async with asyncio.timeout(_LIST_TIMEOUT):
                nodes = await asyncio.get_running_loop().run_in_executor(None, self._ray.nodes)
        except (OSError, self._ray.exceptions.RayError) as error:
            raise HeadLost(f"{self._address}: {type(error).__name__}") from error
        return [node for node in nodes if node["Alive"]]

    async def _probe(self, node: str, about: dict[str, Any]) -> None:
        """Suspends a machine that refuses a connection; Ray would wait seconds for it to come back."""
        try:
            await _connect_to(about["NodeManagerAddress"], about["NodeManagerPort"])
        except OSError:
            self._suspend(node)

    def _actor(self, node: str, slots: int) -> Any:
        """The actor of a machine; the first of several services creates it, and it lives as long as the machine."""
        from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

        return self._actor_class.options(
            name=f"{__version__} on {node}",
            namespace=_NAMESPACE,
            get_if_exists=True,
            lifetime="detached",
            num_cpus=0,
            max_restarts=-1,
            max_concurrency=_TASKS_PER_NODE,
            scheduling_strategy=NodeAffinitySchedulingStrategy(node, soft=False),
        ).remote(slots)

    async def _admit(self, node: str) -> None:
        """Waits until the machine's actor answers, and has it take jobs; forgets a machine whose actor cannot start.

        A machine that has left since it was listed is not reported as refusing jobs.
        """
        while node in self._actors:
            try:
                described = await self._actors[node].describe.options(concurrency_group="ping").remote()
                about = NodeDescription.model_validate_json(described)
            except self._ray.exceptions.ActorUnavailableError:
                await asyncio.sleep(_LOOK_SECONDS)
                continue
            except (ValueError, self._ray.exceptions.RayError) as error:
                self._send(OWN_MESSAGES, encode_cluster_message(("refused", f"{node}: {error}"[-500:])))
                await asyncio.sleep(_REFUSED_SECONDS)
                self._forget(node)
                return
            self._about[node] = ListedNode(id=node, **about.model_dump())
            self._announce()
            return

    async def _ping(self, node: str) -> None:
        try:
            async with asyncio.timeout(_PING_TIMEOUT):
                await self._actors[node].describe.options(concurrency_group="ping").remote()
        except (KeyError, TimeoutError, self._ray.exceptions.RayError):
            self._suspend(node)

    def _suspend(self, node: str) -> None:
        """Gives a machine that has failed no job until its actor answers again; the jobs it has are lost."""
        if self._about.pop(node, None) is not None:
            self._lose_jobs(node)
            self._in_background(self._admit(node))

    def _forget(self, node: str) -> None:
        self._actors.pop(node, None)
        if self._about.pop(node, None) is not None:
            self._lose_jobs(node)

    def _lose_jobs(self, node: str) -> None:
        self._announce()
        for job in self._on_node.pop(node, set()):
            self._send(job, encode_cluster_message(("lost", "its machine does not answer")))
            self._jobs[job].cancel()

    def _announce(self) -> None:
        self._send(OWN_MESSAGES, encode_cluster_message(("nodes", list(self._about.values()))))

    def _in_background(self, coroutine: Any) -> None:
        task = asyncio.create_task(coroutine)
        self._background.add(task)
        task.add_done_callback(self._background.discard)


async def _connect_to(host: str, port: int) -> None:
    """Opens a connection and closes it again; raises OSError if that fails or takes too long."""
    async with asyncio.timeout(_ANSWER_TIMEOUT):
        _, writer = await asyncio.open_connection(host, port)
    writer.close()


def _send(service: BinaryIO, number: int, message: bytes) -> None:
    """Write a message as a line, at once."""
    with suppress(BrokenPipeError):  # the service has gone, which standard input shows
        service.write(b"%d %s\n" % (number, message))
        service.flush()


def _start_node(address: str, folder: str) -> "subprocess.Popen[bytes]":
    """A Ray node of this process's own, without slots, that ends when this process does."""

    def end_with_us() -> None:
        if sys.platform.startswith("linux"):
            prctl(PR_SET_PDEATHSIG, int(signal.SIGTERM))

    return subprocess.Popen(
        start_command(slots=0, join=address, folder=folder),
        env=cluster_environment(os.environ),
        stdin=subprocess.DEVNULL,
        stdout=sys.stderr,
        preexec_fn=end_with_us,  # noqa: PLW1509 - no other thread yet
    )


def _connect(address: str, folder: str, node: "subprocess.Popen[bytes]") -> None:
    """Connect by our own node. Raises an exception if that ends or is not there in time."""
    os.environ.update(cluster_environment(os.environ))
    import ray

    deadline = time.monotonic() + _CONNECT_TIMEOUT
    while True:
        try:
            ray.init(address=address, _temp_dir=folder, log_to_driver=False, configure_logging=False)
            return
        except Exception:  # our node is not there yet; the last exception says what is wrong
            if node.poll() is not None or time.monotonic() > deadline:
                raise
            time.sleep(_LOOK_SECONDS)


def main(address: str, service: BinaryIO) -> int:
    """Connects to the cluster and serves until the end; messages are written to `service`.

    Returns the exit status: 0 when the service has closed standard input, 1 when the cluster is lost or not reached.
    """
    folder = tempfile.mkdtemp(prefix="numstab-ray-")
    node = _start_node(address, folder)
    try:
        _connect(address, folder, node)
        asyncio.run(Driver(address, service).serve())
    except Exception as error:  # whatever it is, the service runs its experiments itself and tries again later
        _send(service, OWN_MESSAGES, encode_cluster_message(("problem", f"{type(error).__name__}: {error}"[:300])))
        return 1
    else:
        return 0
    finally:
        node.terminate()
        with suppress(subprocess.TimeoutExpired):
            node.wait(_STOP_TIMEOUT)
        if (
            os.getsid(0) == os.getpid()
        ):  # the session is ours, as a service starts us: nobody else's processes are in it
            kill_session(os.getpid())
        shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    to_service = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # whatever Ray prints goes to standard error
    sys.exit(main(sys.argv[1], to_service))
