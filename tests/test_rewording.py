"""Answers reworded by a language model: numbers and verdicts never change, whatever the model sends."""

import json
import math
import random
import re
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from qa_service.answering.rewording import reword, sentences_of
from qa_service.answering.writer import ModelWriter
from qa_service.errors import BadField
from qa_service.model import PLACEHOLDER, Answer, Request
from qa_service.presentation.prose import fill_text
from qa_service.settings import Settings

ENTRY = "multiply-vs-add"


@pytest.fixture(scope="module", params=["zh", "en"])
def answer(service, request) -> Answer:
    """An entry with measured evidence."""
    return service.answer(Request(question="", entry=ENTRY, lang=request.param))


class Fake:
    """A rewording model whose output a function makes from each sentence."""

    model = "fake"

    def __init__(self, change: Callable[[str], str | None]) -> None:
        self.change = change
        self.seen: list[str] = []

    def reword(self, question, sentences, lang):
        self.seen += sentences
        return [self.change(each) for each in sentences]


def with_writer(answer: Answer, change: Callable[[str], str | None]):
    return reword("why", answer.entry, answer.evidence, answer.lang, Fake(change))


def own_text(answer: Answer) -> str:
    """The entry's own sentences with their numbers."""
    own = sentences_of(answer.entry, answer.evidence, answer.lang)
    return fill_text(" ".join(own), answer.entry, answer.evidence, answer.lang)


def test_the_model_sees_no_measured_value(answer):
    """It gets placeholders; no measured value is in what is sent."""
    fake = Fake(lambda each: each)
    said = reword("why", answer.entry, answer.evidence, answer.lang, fake)
    assert said.kept == said.sentences == len(fake.seen) > 0
    sent = " ".join(fake.seen)
    assert PLACEHOLDER.search(sent)
    for one in answer.evidence:
        for value in one.run.measured.values():
            assert value is None or not 1000 <= abs(value) < math.inf or f"{value:.3g}" not in sent
    assert "".join(said.text.split()) == "".join(own_text(answer).split())


def test_other_words_are_shown_with_the_measured_numbers(answer):
    """Measured numbers replace the placeholders in the model's sentences."""
    before = "换句话说，" if answer.lang == "zh" else "Put plainly: "
    said = with_writer(answer, lambda each: before + each)
    assert said.kept == said.sentences
    assert said.text.count(before.strip()) == said.sentences
    assert "150" in said.text
    assert "[[" not in said.text


@pytest.mark.parametrize(
    ("lie", "why"),
    [
        (" 42", "number"), (" 3.7", "number"), (" １２", "number"), (" ٣", "number"), (" ½", "number"),
        (" 二十", "number"), (" twice", "number"), (" seventeen", "number"), (" 50 %", "number"),
        (" 无穷", "number"), (" infinity", "number"), (" float17", "name"), (" LAMB", "name"), (" ✓", "verdict"),
        (" 已证实", "verdict"), (" verified", "verdict"),
        (" [[powers.sum]]", "placeholder"), (" [[powers.secret]]", "placeholder"), (" [[", "placeholder"),
        (" \\(x=1\\)", "formula"), (" `rm`", "formula"), (" underflow", "direction"), (" https://x.example", "markup"),
        (" <b>x</b>", "markup"), (" \x1b[31m", "markup"), (" \u202e", "markup"), (" x" * 500, "length"),
    ],
)  # fmt: skip
def test_a_false_sentence_is_replaced_by_the_entrys(answer, lie, why):
    """One of several sentences is refused and shown in the entry's words; the others are the model's."""
    first = sentences_of(answer.entry, answer.evidence, answer.lang)[0]
    said = with_writer(answer, lambda each: each + lie if each == first else "So: " * (answer.lang == "en") + each)
    assert said.refused == (why,)
    assert lie.strip() not in said.text.split()
    assert fill_text(first, answer.entry, answer.evidence, answer.lang) in said.text


@pytest.mark.parametrize("drop", [True, False])
def test_a_number_that_is_left_out_or_swapped_is_refused(answer, drop):
    """A reworded sentence has the same placeholders of numbers as the sentence itself."""
    swap = re.compile(r"\[\[(\w+)\.\w+\]\]")
    said = with_writer(answer, lambda each: swap.sub("" if drop else r"[[\1.sum]]", each))
    own = sentences_of(answer.entry, answer.evidence, answer.lang)
    changed = sum(swap.sub("" if drop else r"[[\1.sum]]", each) != each for each in own)
    assert said.refused == ("placeholder",) * changed != ()


@pytest.mark.parametrize("lang", ["zh", "en"])
def test_a_negated_sentence_is_refused(service, lang):
    """A sentence with a negation that the entry's sentence does not have is refused."""
    answer = service.answer(Request(question="", entry=ENTRY, lang=lang))
    own = sentences_of(answer.entry, answer.evidence, lang)
    turned = [each for each in own if not re.search(r"[不没无非未]|not|no |n't|never|without", each)]
    assert turned
    said = with_writer(
        answer, lambda each: each + ("不是这样" if lang == "zh" else " is not so") if each in turned else each
    )
    assert said.refused.count("negation") == len(turned)


def test_nothing_is_shown_where_no_sentence_is_kept(answer):
    said = with_writer(answer, lambda _each: None)
    assert (said.text, said.kept) == ("", 0)


def test_a_thousand_hostile_outputs_show_no_number_that_was_not_measured(answer):
    """Random insertions of numerals, names, swaps and floods: every numeral shown is the entry's or was measured."""
    numerals = re.compile(
        r"[\d零二两三四五六七八九十百千万亿%∞]+|\b(?:two|twice|half|hundred|inf|nan|double\w*)\b", re.IGNORECASE
    )
    allowed = set(numerals.findall(own_text(answer)))
    poison = ["7", "99.9%", "二百", "twice", "two", "half", "1e30", "∞", "nan", "inf", "float8", "[[powers.product]]",
              "[[powers.sum]]", "doubled", "一百", "९", "③", "not", "不", "overflow", "so", "就是说"]  # fmt: skip
    draw = random.Random(0)

    def spoil(each: str) -> str | None:
        words = re.split(r"(\s+|(?<=[，。]))", each)
        for _ in range(draw.randrange(3)):
            words.insert(draw.randrange(len(words) + 1), f" {draw.choice(poison)} ")
        return None if draw.random() < 0.05 else "".join(words)

    shown = 0
    for _ in range(1000):
        said = with_writer(answer, spoil)
        shown += bool(said.text)
        assert set(numerals.findall(said.text)) <= allowed, said.text
    assert shown > 20


# ---- over the wire ---------------------------------------------------------------------------------------------------


@contextmanager
def backend(respond: Callable[[BaseHTTPRequestHandler, dict[str, Any]], None]) -> Iterator[str]:
    """The address of a local OpenAI-compatible server, whose replies the function `respond` makes."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            respond(self, json.loads(body))

        def log_message(self, *_: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    server.block_on_close = False
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/v1"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def send(handler: BaseHTTPRequestHandler, body: bytes, status: int = 200, **headers: str) -> None:
    handler.send_response(status)
    for name, value in {"Content-Length": str(len(body)), **headers}.items():
        handler.send_header(name.replace("_", "-"), value)
    handler.end_headers()
    handler.wfile.write(body)


def completion(sentences: Any, around: str = "{}") -> bytes:
    content = around.replace("{}", json.dumps({"sentences": sentences}, ensure_ascii=False))
    return json.dumps({"choices": [{"message": {"role": "assistant", "content": content}}]}).encode()


def given(body: dict[str, Any]) -> list[str]:
    sentences: list[str] = json.loads(body["messages"][1]["content"])["sentences"]
    return sentences


@pytest.mark.parametrize("around", ["{}", "```json\n{}\n```", "<think>hm, 17</think>{}"])
def test_a_model_is_asked_once_with_its_key(around):
    """The request names the model, at temperature 0, not streamed; a code fence or thoughts around the JSON are
    removed.
    """
    asked: list[tuple[Any, ...]] = []

    def respond(handler: BaseHTTPRequestHandler, body: dict[str, Any]) -> None:
        asked.append(
            (handler.path, handler.headers["Authorization"], body["model"], body["stream"], body["temperature"])
        )
        send(handler, completion([f"So {each}" for each in given(body)], around))

    with backend(respond) as address:
        said = ModelWriter(f"{address}/", "llama", "sk-1").reword("why", ["a.", "b."], "en")
    assert said == ["So a.", "So b."]
    assert asked == [("/v1/chat/completions", "Bearer sk-1", "llama", False, 0)]


def garbage(handler: BaseHTTPRequestHandler, _body: dict[str, Any]) -> None:
    send(handler, random.Random(1).randbytes(5000))


def stream(handler: BaseHTTPRequestHandler, _body: dict[str, Any]) -> None:
    send(handler, b'data: {"choices": [{"delta": {"content": "9"}}]}\n\ndata: [DONE]\n\n')


def flood(handler: BaseHTTPRequestHandler, _body: dict[str, Any]) -> None:
    send(handler, completion(["x" * (1 << 20)]))


def wrong_count(handler: BaseHTTPRequestHandler, body: dict[str, Any]) -> None:
    send(handler, completion(given(body)[1:]))


def wrong_types(handler: BaseHTTPRequestHandler, _body: dict[str, Any]) -> None:
    send(handler, completion([{"a": 1}, 7]))


def no_sentences(handler: BaseHTTPRequestHandler, _body: dict[str, Any]) -> None:
    send(handler, json.dumps({"choices": [{"message": {"content": None}}]}).encode())


def no_choices(handler: BaseHTTPRequestHandler, _body: dict[str, Any]) -> None:
    send(handler, b'{"choices": []}')


def no_list(handler: BaseHTTPRequestHandler, _body: dict[str, Any]) -> None:
    send(handler, completion("ab"))


def nan(handler: BaseHTTPRequestHandler, _body: dict[str, Any]) -> None:
    send(handler, b'{"choices": NaN}')


def deep(handler: BaseHTTPRequestHandler, _body: dict[str, Any]) -> None:
    send(handler, b"[" * 100_000)


def refusal(handler: BaseHTTPRequestHandler, _body: dict[str, Any]) -> None:
    send(handler, completion(["a.", "b."]), status=401)


def redirect(handler: BaseHTTPRequestHandler, _body: dict[str, Any]) -> None:
    send(handler, b"", status=302, Location="http://127.0.0.1:9/v1/chat/completions")


def silence(handler: BaseHTTPRequestHandler, _body: dict[str, Any]) -> None:
    handler.rfile.read(1)  # until the client leaves


def hang_up(handler: BaseHTTPRequestHandler, _body: dict[str, Any]) -> None:
    handler.connection.shutdown(socket.SHUT_RDWR)


def drip(handler: BaseHTTPRequestHandler, _body: dict[str, Any]) -> None:
    """Sends one header at a time, each within the time limit of a single read."""
    try:
        handler.send_response(200)
        handler.flush_headers()
        while True:
            handler.wfile.write(b"X-More: 1\r\n")
            time.sleep(0.02)
    except OSError:
        pass


@pytest.mark.parametrize(
    "respond",
    [
        garbage,
        stream,
        flood,
        wrong_count,
        wrong_types,
        no_sentences,
        no_choices,
        no_list,
        nan,
        deep,
        refusal,
        redirect,
        silence,
        hang_up,
        drip,
    ],
)
def test_a_broken_reply_gives_no_wording(respond):
    """It raises nothing, and is given up after the writer's deadline of 0.25 s."""
    with backend(respond) as address:
        assert ModelWriter(address, "m", deadline=0.25).reword("why", ["a.", "b."], "en") == [None, None]


def test_an_unreachable_model_gives_no_wording():
    assert ModelWriter("http://127.0.0.1:9/v1", "m", deadline=1.0).reword("why", ["a."], "zh") == [None]


def test_the_command_shows_it_below_the_answer(terminal, cache, tmp_path):
    """The text is marked as the model's; the command says when it is withheld as the model added numbers, or which
    setting is missing.
    """
    env = {"NUMSTAB_CACHE": str(cache), "NUMSTAB_DATA": str(tmp_path), "NUMSTAB_DEADLINE": "240"}
    ask = ("ask", "--entry", ENTRY, "--lang", "en", "--reword")
    without = terminal(*ask, env=env)
    assert without.returncode == 2
    assert "NUMSTAB_WRITER" in without.stderr
    lies = False

    def respond(handler: BaseHTTPRequestHandler, body: dict[str, Any]) -> None:
        send(handler, completion([each + (" 666" if lies else " Really.") for each in given(body)]))

    with backend(respond) as address:
        env |= {"NUMSTAB_WRITER": address, "NUMSTAB_WRITER_MODEL": "parrot"}
        honest = terminal(*ask, env=env)
        lies = True
        liar = terminal(*ask, env=env)
    assert honest.returncode == liar.returncode == 0
    assert "sentences by parrot" in honest.stdout
    assert honest.stdout.index("In other words") > honest.stdout.index("What to do")
    assert "Really." in honest.stdout
    assert "did not pass the checks" in liar.stdout
    assert "666" not in liar.stdout


def test_a_writer_has_an_address_and_its_key_is_not_shown():
    with pytest.raises(BadField):
        Settings(writer="127.0.0.1:11434")
    assert Settings(writer_key="sk-secret").redacted_values()["writer_key"] == "***"
