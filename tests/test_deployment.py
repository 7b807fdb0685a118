"""deploy/compose.yaml: consistent names, addresses and settings; deploy/nginx.conf in front of a real server."""

import ipaddress
import json
import os
import re
import shutil
import subprocess
import sys
from argparse import ArgumentParser
from urllib.parse import urlsplit

import httpx
import pytest
import uvicorn
import yaml
from fastapi import FastAPI
from processes import ROOT, TIMEOUT_SECONDS, running, status, until

from bench.server import free_port
from qa_service import app
from qa_service.server import lifecycle
from qa_service.server.lifecycle import SHUTDOWN_GRACE
from qa_service.settings import Settings

TOYS = ROOT / "tests" / "toys"
CONF = (ROOT / "deploy" / "nginx.conf").read_text("utf-8")
UNIT = (ROOT / "deploy" / "numstab.service").read_text("utf-8")
COMPOSE = yaml.safe_load((ROOT / "deploy" / "compose.yaml").read_text("utf-8"))
SERVICES = COMPOSE["services"]
WEB, PROXY, DB = (SERVICES[name] for name in ("web", "proxy", "db"))
FRONT = COMPOSE["networks"]["front"]["ipam"]["config"][0]
NGINX = shutil.which("nginx", path=os.pathsep.join((os.environ.get("PATH", ""), "/usr/sbin")))
PASSWORD = "NUMSTAB_DB_PASSWORD"

# The keys of the compose specification that the file may use, so that a misspelt key is found.
KEYS = {
    "services": {"image", "pull_policy", "command", "init", "ports", "environment", "volumes", "depends_on", "networks",
                 "read_only", "tmpfs", "cap_drop", "cap_add", "security_opt",
                 "pids_limit", "mem_limit", "restart", "healthcheck", "stop_grace_period"},
    "networks": {"ipam", "internal"},
    "volumes": set(),
}  # fmt: skip


def serve_options() -> dict:
    """The options of the service's command, parsed by the parser of numstab."""
    parser = ArgumentParser()
    app.add_core_commands(parser.add_subparsers(required=True))
    program, *arguments = WEB["command"]
    assert program == "numstab"
    return vars(parser.parse_args(arguments))


def services_with_ports(services: dict) -> list[str]:
    return [name for name, one in services.items() if "ports" in one]


def test_compose_keys_are_known():
    """The compose file has only keys that these tests know."""
    assert set(COMPOSE) == {"name", *KEYS}
    for part, known in KEYS.items():
        for name, one in COMPOSE[part].items():
            assert set(one or {}) <= known, name


def test_networks_and_volumes_are_declared_and_used():
    """Every service, network and volume that is referred to exists; every declared network and volume is used."""
    networks, volumes = set(), set()
    for name, one in SERVICES.items():
        for other, dependency in one.get("depends_on", {}).items():
            assert other in SERVICES, name
            condition = dependency["condition"]
            assert condition == "service_healthy", name
            assert other == "web" or SERVICES[other]["healthcheck"]["test"], (
                "only the image of web has a healthcheck of its own"
            )
        networks |= set(one["networks"])
        for source, target, *_ in (volume.split(":") for volume in one["volumes"]):
            assert target.startswith("/")
            if source.startswith("."):
                assert (ROOT / "deploy" / source).is_file()
            else:
                volumes.add(source)
    assert networks == set(COMPOSE["networks"])
    assert volumes == set(COMPOSE["volumes"])


def test_only_the_proxy_is_published_and_on_loopback_only():
    assert services_with_ports(SERVICES) == ["proxy"]
    (port,) = PROXY["ports"]
    address, _, inside = port.rsplit(":", 2)
    assert ipaddress.ip_address(address).is_loopback
    assert f"listen {inside};" in CONF
    assert COMPOSE["networks"]["back"]["internal"] is True
    assert set(DB["networks"]) == {"back"}
    assert set(PROXY["networks"]) == {"front"}


def test_command_and_environment_are_valid():
    """Two public workers; each variable is a setting of numstab, or libpq's PGPASSWORD."""
    options = serve_options()
    assert (options["workers"], options["public"], options["host"]) == ("2", True, "0.0.0.0")
    environment = {name: str(value) for name, value in WEB["environment"].items()}
    assert set(environment) <= {*Settings.variables(), "PGPASSWORD"}
    settings = Settings.from_env(environment)
    assert settings.store_url == f"postgresql+psycopg://{DB['environment']['POSTGRES_USER']}@db/numstab"
    assert DB["environment"]["POSTGRES_DB"] == "numstab"


def test_password_is_passed_outside_the_url():
    """The password may therefore contain any character; compose reports when it is not set."""
    reference = re.fullmatch(r"\$\{(\w+):\?.+\}", WEB["environment"]["PGPASSWORD"])
    assert reference
    assert reference[1] == PASSWORD
    assert DB["environment"]["POSTGRES_PASSWORD"] == WEB["environment"]["PGPASSWORD"]
    assert PASSWORD not in WEB["environment"]["NUMSTAB_STORE"]


def test_upstream_matches_the_servers_port_and_static_address():
    """The proxy resolves the name once, so the server has a static address in the subnet."""
    assert re.findall(r"^\s+server (\S+);", CONF, re.MULTILINE) == [f"web:{serve_options()['port']}"]
    subnet = ipaddress.ip_network(FRONT["subnet"])
    gateway = ipaddress.ip_address(FRONT["gateway"])
    address = ipaddress.ip_address(WEB["networks"]["front"]["ipv4_address"])
    assert gateway in subnet
    assert address in subnet
    assert address != gateway


def test_proxy_keepalive_is_shorter_than_the_servers(monkeypatch):
    """Otherwise nginx could send a request on a connection that the server is closing, and it does not retry a POST."""
    (keepalive,) = re.findall(r"keepalive_timeout (\d+)s;", CONF)
    options = {}
    monkeypatch.setattr(uvicorn, "run", lambda _app, **given: options.update(given))
    lifecycle.serve(FastAPI(), Settings())
    assert int(keepalive) < options["timeout_keep_alive"]


def test_only_trusted_addresses_may_set_x_forwarded_for():
    """The server trusts the proxy's subnet, and the proxy sends one address; the proxy trusts the gateway."""
    assert "proxy_set_header X-Forwarded-For $remote_addr;" in CONF
    assert WEB["environment"]["NUMSTAB_PROXIES"] == FRONT["subnet"]
    assert re.findall(r"set_real_ip_from (\S+);", CONF) == [FRONT["gateway"]]


def test_container_is_restricted():
    assert WEB["read_only"] is True
    assert WEB["cap_drop"] == ["ALL"]
    assert WEB["security_opt"] == ["no-new-privileges:true"]
    assert WEB["tmpfs"] == ["/tmp"]
    assert WEB["init"] is True, "an experiment that forks leaves orphans"
    assert int(WEB["stop_grace_period"].rstrip("s")) > SHUTDOWN_GRACE
    assert WEB["image"] == COMPOSE["name"] == "numstab"
    assert WEB["pull_policy"] == "never", "an image of that name in a registry would be someone else's"


def test_threads_for_a_full_queue_are_allowed():
    """A waiting run needs two threads, in the container and in the systemd unit; both limit memory, too."""
    unit = dict(line.split("=", 1) for line in UNIT.splitlines() if re.match(r"[A-Z]\w+=", line))
    wanted = 2 * (Settings().queue + 64) + 512  # slots of a large machine; children and what the server has itself
    assert int(unit["TasksMax"]) >= wanted
    assert WEB["pids_limit"] >= wanted
    assert unit["MemoryMax"]
    for name, one in SERVICES.items():
        assert one["mem_limit"], name
        assert one["pids_limit"], name
        assert "no-new-privileges:true" in one["security_opt"], name


def test_the_units_filter_allows_what_confines_an_experiment():
    """Children inherit the systemd unit's system call filter: without seccomp and landlock, no experiment could run."""
    allowed = re.search(r"^SystemCallFilter=(.*)", UNIT, re.MULTILINE)[1].split()
    assert {"seccomp", "landlock_create_ruleset", "landlock_add_rule", "landlock_restrict_self"} <= set(allowed)


def test_the_addition_that_shares_is_valid():
    """The compose file that adds Valkey keeps it in the internal network, with limits like the others and the address
    of the setting.
    """
    shared = yaml.safe_load((ROOT / "deploy" / "shared.yaml").read_text("utf-8"))["services"]
    assert set(shared) == {"web", "valkey"}
    valkey = shared["valkey"]
    assert set(valkey) <= KEYS["services"]
    assert set(valkey["networks"]) == {"back"}
    assert (valkey["read_only"], valkey["cap_drop"]) == (True, ["ALL"])
    assert set(shared["web"]["depends_on"]) == {"valkey"}
    assert urlsplit(Settings.from_env(shared["web"]["environment"]).shared).hostname == "valkey"


def test_database_healthcheck_uses_tcp():
    """On the Unix socket PostgreSQL already answers during its first initialisation."""
    assert DB["healthcheck"]["test"][:4] == ["CMD", "pg_isready", "-h", "127.0.0.1"]


def test_docker_compose_accepts_the_file():
    """Runs only where docker compose is installed; needs no engine."""
    command = ["docker", "compose", "-f", str(ROOT / "deploy" / "compose.yaml"), "config", "--format", "json"]
    if (
        not shutil.which("docker")
        or subprocess.run([*command[:2], "version"], capture_output=True, check=False).returncode
    ):
        pytest.skip("no docker compose")
    env = {name: value for name, value in os.environ.items() if name != PASSWORD}
    without_password = subprocess.run(
        command, env=env, capture_output=True, text=True, timeout=TIMEOUT_SECONDS, check=False
    )
    assert without_password.returncode != 0
    assert "set a password" in without_password.stderr
    env[PASSWORD] = "p@s/s:w%rd"
    process = subprocess.run(command, env=env, capture_output=True, text=True, timeout=TIMEOUT_SECONDS, check=True)
    assert json.loads(process.stdout)["services"]["web"]["environment"]["PGPASSWORD"] == env[PASSWORD]


def test_the_cluster_is_private_and_every_machine_of_it_has_the_token():
    """Its network is internal, no port is published, and its commands and settings are ones that numstab has."""
    cluster = yaml.safe_load((ROOT / "deploy" / "cluster.yaml").read_text("utf-8"))
    services = cluster["services"]
    assert services_with_ports(services) == ["proxy"]
    assert cluster["networks"]["cluster"] == cluster["networks"]["back"] == {"internal": True}
    parser = ArgumentParser()
    app.add_core_commands(parser.add_subparsers(required=True))
    for name in ("web1", "web2", "head", "node"):
        one = services[name]
        parser.parse_args(one["command"][1:])
        assert "cluster" in one["networks"], name
        assert one["secrets"] == ["cluster_token"]
        assert one["environment"]["RAY_AUTH_TOKEN_PATH"] == "/run/secrets/cluster_token"
        assert set(one["environment"]) <= {*Settings.variables(), "PGPASSWORD", "RAY_AUTH_TOKEN_PATH", "NUMSTAB_SHARED"}
        assert (one["read_only"], one["cap_drop"], one["security_opt"]) == (True, ["ALL"], ["no-new-privileges:true"])
    assert services["web1"]["environment"]["NUMSTAB_CLUSTER"] == "head:6379"
    assert parser.parse_args(services["node"]["command"][1:]).head == "head:6379"
    conf = (ROOT / "deploy" / "nginx-cluster.conf").read_text("utf-8")
    assert {f"{name}:8000" for name in ("web1", "web2")} <= set(re.findall(r"server (\S+);", conf))


def test_kubernetes_has_a_token_and_a_policy_for_every_pod():
    """As anyone who reaches Ray's ports can run code, the policies admit only the cluster and the services."""
    documents = list(yaml.safe_load_all((ROOT / "deploy" / "kuberay.yaml").read_text("utf-8")))
    ray = next(each for each in documents if each["kind"] == "RayCluster")["spec"]
    assert ray["authOptions"] == {"mode": "token"}
    templates = [ray["headGroupSpec"]["template"], *(group["template"] for group in ray["workerGroupSpecs"])]
    templates += [each["spec"]["template"] for each in documents if each["kind"] == "Deployment"]
    guarded = [each["spec"]["podSelector"] for each in documents if each["kind"] == "NetworkPolicy"]
    for template in templates:
        assert {"matchLabels": template["metadata"]["labels"]} in guarded
        assert template["spec"]["automountServiceAccountToken"] is False
        for container in template["spec"]["containers"]:
            assert container["securityContext"]["capabilities"] == {"drop": ["ALL"]}


LIMIT = 100_000  # requests of a client in an hour
GATEWAY = "127.0.0.2"  # plays the host, the trusted gateway; any address of 127.0.0.0/8 can be a client


@pytest.fixture(scope="module")
def behind_nginx(tmp_path_factory, toy_server):
    """deploy/nginx.conf on a loopback port in front of the toy server; yields the addresses of proxy and server."""
    if not NGINX or sys.platform != "linux":
        pytest.skip("no nginx")
    folder = tmp_path_factory.mktemp("nginx")
    proxy_port, server_port = free_port(), toy_server.port
    conf = CONF
    for old, new in (
        ("listen 80;", f"listen 127.0.0.1:{proxy_port};"),
        ("server web:8000;", f"server 127.0.0.1:{server_port};"),
        (f"set_real_ip_from {FRONT['gateway']};", f"set_real_ip_from {GATEWAY};"),
        ("pid /run/nginx.pid;", f"pid {folder}/pid; daemon off;"),
        ("http {", "http {" + "".join(f" {kind}_temp_path {folder}/{kind};" for kind in
                                      ("client_body", "proxy", "fastcgi", "uwsgi", "scgi"))),
    ):  # fmt: skip
        assert conf.count(old) == 1, old
        conf = conf.replace(old, new)
    (folder / "nginx.conf").write_text(conf, "utf-8")
    command = [NGINX, "-p", str(folder), "-e", "stderr", "-c", str(folder / "nginx.conf")]
    address = f"http://127.0.0.1:{proxy_port}"
    with running(command, cwd=ROOT) as proxy:
        until(lambda: proxy.poll() is not None or status(f"{address}/livez"))
        assert proxy.poll() is None
        yield address, f"http://127.0.0.1:{server_port}"


def client(address: str, source: str) -> httpx.Client:
    """A client that connects from the address `source`."""
    return httpx.Client(base_url=address, transport=httpx.HTTPTransport(local_address=source), timeout=TIMEOUT_SECONDS)


def test_nginx_does_not_buffer_events(behind_nginx):
    """A row arrives while its run is still active."""
    address, server = behind_nginx

    def finished() -> list[str]:
        """The numbers of runs that have ended, from the metrics."""
        text = httpx.get(f"{server}/metrics").text
        return [line for line in text.splitlines() if line.startswith('numstab_runs_total{experiment="hangs"')]

    before = finished()
    with (
        client(address, "127.0.0.9") as user,
        user.stream("POST", "/api/v1/experiments/hangs/runs/stream", json={}) as response,
    ):
        assert response.status_code == 200
        assert any(line.startswith("event: row") for line in response.iter_lines())
        assert finished() == before


def test_nginx_blocks_metrics(behind_nginx):
    """They are blocked for every client and spelling of the path; the server itself would answer a client on
    loopback.
    """
    address, server = behind_nginx
    assert httpx.get(server + "/metrics").status_code == 200
    with client(address, GATEWAY) as host:
        for path in ("/metrics", "//metrics", "/%6detrics", "/x/../metrics", "/metrics?x", "/metrics%0a", "/metrics/"):
            response = host.get(address + path, headers={"X-Forwarded-For": "127.0.0.1"})
            assert response.status_code == 404, path
            assert "numstab_" not in response.text


def test_redirects_keep_port_and_scheme(behind_nginx):
    """They do so behind an outer proxy, too, that terminates TLS and sends X-Forwarded-Proto."""
    address, _ = behind_nginx
    with client(address, "127.0.0.9") as user:
        assert user.get("/entries/").headers["location"] == f"{address}/entries"
        outer = user.get("/entries/", headers={"X-Forwarded-Proto": "https", "Host": "numstab.example"})
        assert outer.headers["location"] == "https://numstab.example/entries"


def test_rate_limits_count_by_an_address_clients_cannot_forge(behind_nginx):
    """X-Forwarded-For is used when the gateway sends it, and ignored when a client does."""
    address, _ = behind_nginx

    def remaining(source: str, *forwarded: str) -> int:
        headers = [("X-Forwarded-For", ", ".join(forwarded))] if forwarded else []
        with client(address, source) as user:
            response = user.post("/api/v1/ask", json={"question": "counting", "run": False}, headers=headers)
        return int(response.headers["ratelimit-remaining"])

    assert remaining("127.0.0.4") == LIMIT - 1
    assert remaining("127.0.0.5", "203.0.113.4") == LIMIT - 1
    assert remaining("127.0.0.5", "203.0.113.5") == LIMIT - 2
    assert remaining(GATEWAY, "203.0.113.6") == LIMIT - 1
    assert remaining(GATEWAY, "198.51.100.1", "203.0.113.6") == LIMIT - 2
    assert remaining(GATEWAY, "203.0.113.7") == LIMIT - 1
