"""`numstab.connect`: the same functions, answered by a server."""

import gzip
import json
import math
import re
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest

import numstab
from numstab.client import Client
from numstab.remote import ServerError
from qa_service.errors import BadField, BadParameter, UnknownExperiment, UnreadableRun
from qa_service.model import Lang

QUESTION = {"zh": "100 个 1.5 连乘会怎样？", "en": "What happens when 100 factors of 1.5 are multiplied, and added?"}
both_languages = pytest.mark.parametrize("lang", ["zh", "en"])


@pytest.fixture
def remote(live_server: str) -> Client:
    """A client of a real server."""
    return numstab.connect(live_server)


@both_languages
def test_a_server_answers_as_this_process_does(remote: Client, client: Client, lang: Lang) -> None:
    """Numbers to the bit, text and pictures are the same, except what differs between two runs anyway."""
    here, there = (each.ask(QUESTION[lang]) for each in (client, remote))
    assert (there.entry, there.metrics, there.verdicts) == (here.entry, here.metrics, here.verdicts)
    assert (there.text, there.rows) == (here.text, here.rows)
    assert there.evidence[0].svg == here.evidence[0].svg
    assert set(there._repr_mimebundle_()) == set(here._repr_mimebundle_())
    for line in re.findall(r"✓.*", str(here)):
        assert line in str(there)


def test_runs_comparisons_and_formulas_on_a_server(remote: Client) -> None:
    run = remote.run("pow_vs_sum", n=300)
    assert run.metrics["product"] == math.inf
    assert "inf" in str(run)
    compared = remote.compare("pow_vs_sum", n=10, x=[2.0, 3.0])
    assert compared.metrics["product"] == [2.0**10, 3.0**10]
    assert "1024" in str(compared)
    formula = remote.formula("log(1+exp(x))", x=100, lang="zh")
    assert formula.values["float32"] == math.inf
    assert "softplus" in str(formula)
    assert len(remote.entries()) > 100
    assert "pow_vs_sum" in {each["slug"] for each in remote.experiments()}
    assert remote.ask("and in float16?", after=remote.ask(QUESTION["en"])).entry == "multiply-vs-add"


def test_a_file_is_diagnosed_on_a_server(remote: Client, client: Client, tmp_path: Path) -> None:
    """The file is sent unchanged: here a compressed log with a non-ASCII name."""
    losses = [2.0 * 3.0**step for step in range(9)] + [math.nan] * 2
    file = tmp_path / "日志 1.log.gz"
    log = "\n".join(f"step: {step} loss: {loss:.4f} lr: 0.5" for step, loss in enumerate(losses))
    file.write_bytes(gzip.compress(log.encode()))
    here, there = (each.diagnose(file, lang="en") for each in (client, remote))
    assert (there.verdict, there.causes, there.facts) == (here.verdict, here.causes, here.facts)
    assert there.data["run"] == here.data["run"]
    assert [each.metrics for each in there.evidence] == [each.metrics for each in here.evidence]
    assert len(there.evidence) == 2


@both_languages
def test_errors_of_a_server_are_those_of_this_process(remote: Client, lang: Lang) -> None:
    """Errors have the same classes and texts, in the language of the request."""
    for kind, call in (
        (UnknownExperiment, lambda: remote.run("nope", lang=lang)),
        (BadParameter, lambda: remote.run("pow_vs_sum", n=-1, lang=lang)),
        (UnreadableRun, lambda: remote.diagnose(b"bread is baked in an oven", lang=lang)),
    ):
        with pytest.raises(kind) as error:
            call()
        assert bool(re.search(r"[\u3400-\u9fff]", error.value[lang])) == (lang == "zh")


class _Refuses(BaseHTTPRequestHandler):
    """A server that first rejects the key, and then replies unlike numstab."""

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        self.server.seen.append(self.headers["Authorization"])
        body = json.dumps({"code": "refused", "detail": "this needs a key", "status": 401}).encode()
        self.send_response(401)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def do_GET(self) -> None:
        self.server.seen.append(self.path)
        self.send_response(302 if self.path.endswith("/experiments") else 200)
        self.send_header("Location", "/elsewhere")
        self.end_headers()
        self.wfile.write(b"<html>")

    def log_message(self, *_: object) -> None:
        """Says nothing."""


@pytest.fixture
def refusing_server() -> Iterator[HTTPServer]:
    with HTTPServer(("127.0.0.1", 0), _Refuses) as server:
        server.seen = []
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield server
        server.shutdown()
        thread.join()


def test_a_key_is_sent_and_a_refusal_says_why(refusing_server: HTTPServer) -> None:
    remote = numstab.connect(f"http://127.0.0.1:{refusing_server.server_port}/", key="nst_secret")
    with pytest.raises(ServerError, match="this needs a key") as error:
        remote.run("pow_vs_sum")
    assert (error.value.code, error.value.status) == ("refused", 401)
    assert refusing_server.seen == ["Bearer nst_secret"]
    with pytest.raises(ServerError, match="not JSON"):
        remote.entries()
    with pytest.raises(ServerError, match="302"):
        remote.experiments()
    assert "/elsewhere" not in refusing_server.seen, "a redirect would take the key to another host"


def test_a_server_that_is_not_there(client: Client) -> None:
    remote = numstab.connect("http://127.0.0.1:9")
    with pytest.raises(ServerError, match="cannot be reached") as error:
        remote.run("pow_vs_sum")
    assert "连不上" in error.value["zh"]
    with pytest.raises(BadField):
        numstab.connect("file:///etc/passwd")
