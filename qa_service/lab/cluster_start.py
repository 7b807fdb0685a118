"""Starts Ray's processes on this machine, with token authentication, and with nothing that runs do not need."""

import ipaddress
import os
import re
import signal
import socket
import sys
from collections.abc import Mapping
from contextlib import suppress
from importlib.util import find_spec
from pathlib import Path
from typing import NoReturn

from qa_service.errors import BadField
from qa_service.lab.environment import is_kept

_OBJECT_STORE_BYTES = 80_000_000  # Ray's minimum is 75 MiB; messages are kilobytes
_SETTINGS = {"RAY_GRACEFUL_SHUTDOWN_DRAIN_TIMEOUT_S": "0"}  # runs of a machine that leaves are begun again elsewhere
_ADDRESS = re.compile(r"[A-Za-z0-9_.-]+:\d{1,5}|\[[0-9a-fA-F:]+\]:\d{1,5}")
_RAY = "import sys; from ray.scripts.scripts import main; sys.argv[0] = 'ray'; main()"


def check_address(address: str, field: str) -> str:
    """The address of a cluster's head, host:port; raises `BadField` for another form, or where Ray is not installed."""
    if not _ADDRESS.fullmatch(address):
        raise BadField(
            zh=f"{field} 应当是集群首节点的地址，形如 10.0.0.5:6379，不能是 {address!r}",
            en=f"{field} should be the address of the cluster's head, such as 10.0.0.5:6379, not {address!r}",
            field=field,
        )
    if find_spec("ray") is None:
        raise BadField(
            zh=f"{field} 需要 Ray：pip install 'numstab[cluster]'",
            en=f"{field} needs Ray: pip install 'numstab[cluster]'",
            field=field,
        )
    return address


def check_token(env: Mapping[str, str]) -> None:
    """Raises `BadField` where there is no token: a cluster without one lets whoever reaches its ports run code."""
    default = Path(env.get("HOME") or Path.home()) / ".ray" / "auth_token"
    if not (env.get("RAY_AUTH_TOKEN") or env.get("RAY_AUTH_TOKEN_PATH") or default.is_file()):
        raise BadField(
            zh="集群要有令牌：在 RAY_AUTH_TOKEN_PATH 里写令牌文件的路径（每台机器用同一个令牌）；"
            "没有令牌的集群，谁连得上端口谁就能运行代码",
            en="a cluster needs a token: name its file in RAY_AUTH_TOKEN_PATH, the same on every machine; "
            "without one, whoever reaches the ports runs code",
            field="RAY_AUTH_TOKEN_PATH",
        )


def cluster_environment(env: Mapping[str, str]) -> dict[str, str]:
    """The environment of Ray's processes: no passwords of the service, a token required, no usage reports."""
    kept = {name: value for name, value in env.items() if is_kept(name) or name.startswith("RAY_")}
    kept |= {name: env[name] for name in ("NUMSTAB_SANDBOX",) if name in env}
    return kept | {"RAY_AUTH_MODE": "token", "RAY_USAGE_STATS_ENABLED": "0"} | _SETTINGS


def start_command(
    *, slots: int, join: str = "", port: int = 6379, own_address: str = "", folder: str = ""
) -> list[str]:
    """The command that starts a node with `slots` slots and ends it when it is terminated.

    The node joins the cluster whose head is at `join`; where that is empty it is the head, and listens on `port`.
    `own_address` is where others reach it, by default the one from which this machine reaches the head; Ray would take
    the one that faces the internet. `folder` is where Ray keeps its sockets and logs.
    """
    command = [
        sys.executable,
        "-c",
        _RAY,
        "start",
        "--block",
        f"--num-cpus={slots}",
        "--num-gpus=0",
        f"--object-store-memory={_OBJECT_STORE_BYTES}",
        "--disable-usage-stats",
        "--include-log-monitor=false",
        "--log-color=false",
    ]
    command += [f"--address={join}"] if join else ["--head", f"--port={port}", "--include-dashboard=false"]
    if address := own_address or (_address_facing(join) if join else ""):
        command.append(f"--node-ip-address={address}")
    return command + ([f"--temp-dir={folder}"] if folder else [])


def _address_facing(head: str) -> str:
    """The address of this machine in the head's network; "" on the head's own machine or without a route to it."""
    host, _, port = head.rpartition(":")
    with suppress(OSError):
        family, kind, _, _, place = socket.getaddrinfo(host.strip("[]"), int(port), type=socket.SOCK_DGRAM)[0]
        with socket.socket(family, kind) as probe:
            probe.connect(place)  # sends nothing
            address = str(probe.getsockname()[0])
        return "" if ipaddress.ip_address(address).is_loopback else address
    return ""


def kill_session(leader: int) -> None:
    """Kill every process of a session but this one, each by its id (Linux; elsewhere its process group)."""
    if not sys.platform.startswith("linux"):
        with suppress(OSError):
            os.killpg(leader, signal.SIGKILL)
        return
    for folder in Path("/proc").glob("[0-9]*"):
        with suppress(OSError, ValueError, IndexError):
            session = int((folder / "stat").read_text().rpartition(")")[2].split()[3])
            if session == leader and int(folder.name) != os.getpid():
                os.kill(int(folder.name), signal.SIGKILL)


def exec_node(command: list[str], env: Mapping[str, str]) -> NoReturn:
    """Replace this process by Ray's."""
    os.execve(command[0], command, cluster_environment(env))  # noqa: S606
