"""What deploy/compose.yaml starts: names and addresses that fit each other, and nginx before a real server."""

import ipaddress
import json
import os
import re
import shutil
import subprocess
import sys
from argparse import ArgumentParser

import httpx
import pytest
import yaml
from processes import ROOT, numstab_server, running, status, until

from bench.server import free_port
from qa_service import app
from qa_service.server import lifecycle as serving
from qa_service.server.lifecycle import SHUTDOWN_GRACE
from qa_service.settings import Settings

TOYS = ROOT / "tests" / "toys"
CONF = (ROOT / "deploy" / "nginx.conf").read_text("utf-8")
COMPOSE = yaml.safe_load((ROOT / "deploy" / "compose.yaml").read_text("utf-8"))
SERVICES = COMPOSE["services"]
WEB, PROXY, DB = (SERVICES[name] for name in ("web", "proxy", "db"))
FRONT = COMPOSE["networks"]["front"]["ipam"]["config"][0]
NGINX = shutil.which("nginx", path=os.pathsep.join((os.environ.get("PATH", ""), "/usr/sbin")))
PASSWORD = "NUMSTAB_DB_PASSWORD"

# What the specification of compose has and we use: a misspelt key stands out.
KEYS = {
    "services": {"image", "pull_policy", "command", "init", "ports", "environment", "volumes", "depends_on", "networks",
                 "read_only", "tmpfs", "cap_drop", "security_opt", "restart", "healthcheck", "stop_grace_period"},
    "networks": {"ipam", "internal"},
    "volumes": set(),
}  # fmt: skip


def serve_options() -> dict:
    """The command of the service as our own parser reads it."""
    parser = ArgumentParser()
    app.add_core_commands(parser.add_subparsers(required=True))
    program, *words = WEB["command"]
    assert program == "numstab"
    return vars(parser.parse_args(words))


def published(services: dict) -> list[str]:
    return [name for name, one in services.items() if "ports" in one]


def test_every_key_is_one_that_compose_knows():
    assert set(COMPOSE) == {"name", *KEYS}
    for part, known in KEYS.items():
        for name, one in COMPOSE[part].items():
            assert set(one or {}) <= known, name


def test_every_name_is_declared():
    """Whom a service waits for and how, its networks and its volumes; and nothing is declared for nobody."""
    networks, volumes = set(), set()
    for name, one in SERVICES.items():
        for other, how in one.get("depends_on", {}).items():
            assert other in SERVICES, name
            condition = how["condition"]
            assert condition == "service_healthy", name
            assert other == "web" or SERVICES[other]["healthcheck"]["test"], "the image of web brings its own"
        networks |= set(one["networks"])
        for source, target, *_ in (volume.split(":") for volume in one["volumes"]):
            assert target.startswith("/")
            if source.startswith("."):
                assert (ROOT / "deploy" / source).is_file()
            else:
                volumes.add(source)
    assert networks == set(COMPOSE["networks"])
    assert volumes == set(COMPOSE["volumes"])


def test_only_the_proxy_is_published_and_to_this_machine_only():
    assert published(SERVICES) == ["proxy"]
    (port,) = PROXY["ports"]
    address, _, inside = port.rsplit(":", 2)
    assert ipaddress.ip_address(address).is_loopback
    assert f"listen {inside};" in CONF
    assert COMPOSE["networks"]["back"]["internal"] is True
    assert set(DB["networks"]) == {"back"}
    assert set(PROXY["networks"]) == {"front"}


def test_the_command_and_the_settings_are_ours():
    """Two workers for everybody; each variable is one we read, or libpq does."""
    options = serve_options()
    assert (options["workers"], options["public"], options["host"]) == ("2", True, "0.0.0.0")
    environment = {name: str(value) for name, value in WEB["environment"].items()}
    assert set(environment) <= {*Settings.variables(), "PGPASSWORD"}
    settings = Settings.from_env(environment)
    assert settings.store_url == f"postgresql+psycopg://{DB['environment']['POSTGRES_USER']}@db/numstab"
    assert DB["environment"]["POSTGRES_DB"] == "numstab"


def test_a_password_may_hold_anything():
    """It stands in no URL, and compose says so where there is none."""
    given = re.fullmatch(r"\$\{(\w+):\?.+\}", WEB["environment"]["PGPASSWORD"])
    assert given
    assert given[1] == PASSWORD
    assert DB["environment"]["POSTGRES_PASSWORD"] == WEB["environment"]["PGPASSWORD"]
    assert PASSWORD not in WEB["environment"]["NUMSTAB_STORE"]


def test_the_proxy_finds_the_server_where_it_listens():
    """At an address that stays, as nginx looks the name up once; and the port is the server's."""
    assert re.findall(r"^\s+server (\S+);", CONF, re.MULTILINE) == [f"web:{serve_options()['port']}"]
    subnet = ipaddress.ip_network(FRONT["subnet"])
    gateway = ipaddress.ip_address(FRONT["gateway"])
    address = ipaddress.ip_address(WEB["networks"]["front"]["ipv4_address"])
    assert gateway in subnet
    assert address in subnet
    assert address != gateway


def test_the_proxy_lets_go_of_a_connection_before_the_server_does():
    """Else a question is sent into one that is being closed, and nginx does not ask twice."""
    (kept,) = re.findall(r"keepalive_timeout (\d+)s;", CONF)
    assert int(kept) < serving._options(Settings())["timeout_keep_alive"]


def test_the_addresses_that_are_believed_are_those_of_the_network():
    """The server believes the proxy, which tells it one address; the proxy believes the host."""
    assert "proxy_set_header X-Forwarded-For $remote_addr;" in CONF
    assert WEB["environment"]["NUMSTAB_PROXIES"] == FRONT["subnet"]
    assert re.findall(r"set_real_ip_from (\S+);", CONF) == [FRONT["gateway"]]


def test_the_container_is_as_closed_as_it_may_be():
    assert WEB["read_only"] is True
    assert WEB["cap_drop"] == ["ALL"]
    assert WEB["security_opt"] == ["no-new-privileges:true"]
    assert WEB["tmpfs"] == ["/tmp"]
    assert WEB["init"] is True, "an experiment that forks leaves orphans"
    assert int(WEB["stop_grace_period"].rstrip("s")) > SHUTDOWN_GRACE
    assert WEB["image"] == COMPOSE["name"] == "numstab"
    assert WEB["pull_policy"] == "never", "a registry's image of that name is none of ours"


def test_the_database_is_asked_over_tcp():
    """On its socket it answers before the first start is over."""
    assert DB["healthcheck"]["test"][:4] == ["CMD", "pg_isready", "-h", "127.0.0.1"]


def test_compose_itself_reads_the_file():
    """Where it is installed; no engine is needed."""
    command = ["docker", "compose", "-f", str(ROOT / "deploy" / "compose.yaml"), "config", "--format", "json"]
    if (
        not shutil.which("docker")
        or subprocess.run([*command[:2], "version"], capture_output=True, check=False).returncode
    ):
        pytest.skip("no docker compose")
    env = {name: value for name, value in os.environ.items() if name != PASSWORD}
    refused = subprocess.run(command, env=env, capture_output=True, text=True, timeout=60, check=False)
    assert refused.returncode != 0
    assert "set a password" in refused.stderr
    env[PASSWORD] = "p@s/s:w%rd"
    done = subprocess.run(command, env=env, capture_output=True, text=True, timeout=60, check=True)
    assert json.loads(done.stdout)["services"]["web"]["environment"]["PGPASSWORD"] == env[PASSWORD]


GATEWAY = "127.0.0.2"  # stands for the host in the tests: the loopback network has addresses enough


@pytest.fixture(scope="module")
def behind_nginx(tmp_path_factory, cache):
    """deploy/nginx.conf on a port of loopback before a server of the toys; its address, and the server's own."""
    if not NGINX or sys.platform != "linux":
        pytest.skip("no nginx")
    folder = tmp_path_factory.mktemp("nginx")
    front, behind = free_port(), free_port()
    conf = CONF
    for old, new in (
        ("listen 80;", f"listen 127.0.0.1:{front};"),
        ("server web:8000;", f"server 127.0.0.1:{behind};"),
        (f"set_real_ip_from {FRONT['gateway']};", f"set_real_ip_from {GATEWAY};"),
        ("pid /run/nginx.pid;", f"pid {folder}/pid; daemon off;"),
        ("http {", "http {" + "".join(f" {kind}_temp_path {folder}/{kind};" for kind in
                                      ("client_body", "proxy", "fastcgi", "uwsgi", "scgi"))),
    ):  # fmt: skip
        assert conf.count(old) == 1, old
        conf = conf.replace(old, new)
    (folder / "nginx.conf").write_text(conf, "utf-8")
    env = {**os.environ, "NUMSTAB_KB": str(TOYS / "kb"), "NUMSTAB_DEMOS": str(TOYS / "demos"),
           "NUMSTAB_DATA": str(folder), "NUMSTAB_CACHE": str(cache), "NUMSTAB_DEADLINE": "100",
           "NUMSTAB_RATE": "100/hour", "NUMSTAB_PROXIES": "127.0.0.1"}  # fmt: skip
    proxied = [NGINX, "-p", str(folder), "-e", "stderr", "-c", str(folder / "nginx.conf")]
    address = f"http://127.0.0.1:{front}"
    with numstab_server(env, folder / "log", port=behind) as (server, _), running(proxied, cwd=ROOT) as proxy:
        until(lambda: proxy.poll() is not None or status(f"{address}/livez"))
        assert proxy.poll() is None
        yield address, server


def client(address: str, here: str) -> httpx.Client:
    """Somebody who comes from the address `here`."""
    return httpx.Client(base_url=address, transport=httpx.HTTPTransport(local_address=here), timeout=60)


def test_events_pass_through_nginx_as_they_come(behind_nginx):
    """A row is there while its run goes on until its deadline; no reply has to ask for that."""
    address, server = behind_nginx
    with (
        client(address, "127.0.0.9") as reader,
        reader.stream("POST", "/api/v1/experiments/hangs/runs/stream", json={}) as reply,
    ):
        assert reply.status_code == 200
        assert any(line.startswith("event: row") for line in reply.iter_lines())
        assert 'numstab_runs_total{experiment="hangs"' not in httpx.get(f"{server}/metrics").text


def test_the_operators_figures_stay_inside(behind_nginx):
    """Whoever asks and however he writes it; the server itself would tell this machine."""
    address, server = behind_nginx
    assert httpx.get(server + "/metrics").status_code == 200
    with client(address, GATEWAY) as host:
        for path in ("/metrics", "//metrics", "/%6detrics", "/x/../metrics", "/metrics?x"):
            reply = host.get(address + path, headers={"X-Forwarded-For": "127.0.0.1"})
            assert reply.status_code == 404, path
            assert "numstab_" not in reply.text


def test_redirects_keep_port_and_scheme(behind_nginx):
    """A proxy before nginx that has the certificate says https."""
    address, _ = behind_nginx
    with client(address, "127.0.0.9") as reader:
        assert reader.get("/entries/").headers["location"] == f"{address}/entries"
        outer = reader.get("/entries/", headers={"X-Forwarded-Proto": "https", "Host": "numstab.example"})
        assert outer.headers["location"] == "https://numstab.example/entries"


def test_readers_are_told_apart_by_an_address_they_cannot_choose(behind_nginx):
    """Rates are counted for each; what the host says is believed, what a reader says is not."""
    address, _ = behind_nginx

    def left(here: str, *claims: str) -> int:
        headers = [("X-Forwarded-For", ", ".join(claims))] if claims else []
        with client(address, here) as reader:
            reply = reader.post("/api/v1/ask", json={"question": "counting", "run": False}, headers=headers)
        return int(reply.headers["ratelimit-remaining"])

    assert left("127.0.0.4") == 99
    assert left("127.0.0.5", "203.0.113.4") == 99
    assert left("127.0.0.5", "203.0.113.5") == 98
    assert left(GATEWAY, "203.0.113.6") == 99
    assert left(GATEWAY, "198.51.100.1", "203.0.113.6") == 98
    assert left(GATEWAY, "203.0.113.7") == 99
