"""Hostile logs, tables, traces and quoted conversations: read in time linear in their length, or refused."""

import itertools
import json
import threading
from collections.abc import Iterator

import pytest
from checking import check_each
from fastapi.testclient import TestClient
from processes import TIMEOUT_SECONDS, until

from qa_service.answering.diagnosing import BYTES_PER_CHARGE, diagnose_file
from qa_service.app import create_app
from qa_service.diagnosis import reading
from qa_service.errors import BadRequest, Overloaded
from qa_service.lab.clients import CLIENT, Client
from qa_service.parsing.logs.names import is_bookkeeping, is_measure, meaning_of
from qa_service.schemas.diagnosis import diagnosis_json
from qa_service.settings import Settings

HUGE = "1" * 400  # more than a float holds
LINES = [
    "Epoch: [{n}][{n}/{m}] loss 1.0",
    "Epoch {n}/{m} - loss: {m} - val_loss: {n}",
    "epoch: {n} step: {n} loss: {m} lr: {n} grad_norm: {m}",
    "{{'loss': {m}, 'grad_norm': {n}, 'learning_rate': {n}, 'epoch': {n}}}",
    " {n}%|###| {n}/{m} [00:01<00:01, 1.0it/s, loss={m}]",
    "iteration {n}/ {m} | consumed samples: {n} | lm loss: {m} | loss scale: {n} | grad norm: {m} |",
    "[batch={n}/{m}]: loss {m}",
    "step {n}, epoch {m}, loss {n}, loss_scale {m}, global_batch_size: {m}",
    '{{"step": {n}, "epoch": {m}, "loss": {n}, "lr": {m}}}',
    "epoch,step,loss,lr\n{n},{m},{n},{m}",
]
NAMES = [
    "val_loss" + "_epoch" * 31 + "x",
    "loss" + "_epoch" * 31 + "x",
    "trainer_global_" * 13 + "x",
    "val_" * 50_000,
    "a_" * 100_000,
    "gpu" * 60_000,
]


def read(data: bytes) -> str:
    """Reads and diagnoses a log; returns the status of the diagnosis, or "refused"."""
    try:
        found = diagnose_file(data)
    except BadRequest:
        return "refused"
    json.loads(diagnosis_json(found, "en").to_json(), parse_constant=lambda word: pytest.fail(f"{word} is not JSON"))
    return found.status


@pytest.mark.parametrize("name", NAMES, ids=lambda name: name[:12])
def test_a_name_of_many_words_is_understood(name):
    """Patterns with repeated words must not try all combinations; if they did, this test would never end."""
    assert meaning_of(name) == ""
    is_measure(name)
    is_bookkeeping(name)
    read(json.dumps([{"loss": 1.0, name: 1.0}] * 3).encode())
    read(f"loss: 1 {' '.join(name.split('_'))}: 2\n".encode())


FIRST = ["1", HUGE, "1e308", "-7", "9" * 19, "0"]
SECOND = [HUGE, "1e999999", "-1e999999", "nan", "inf", "0", "-1", "9" * 18, "1e308", "1e-400"]


@pytest.mark.parametrize("line", LINES, ids=range(len(LINES)))
def test_numbers_of_any_size(line):
    def check(numbers: tuple[str, str]) -> None:
        first, second = numbers
        read("\n".join(line.format(n=n, m=second) for n in (first, "2", second, "3")).encode())

    check_each(check, itertools.product(FIRST, SECOND))


def test_columns_of_unequal_length_are_read():
    """One column is long, 15,000 are short, in 0.25 MB; padding them all to the same length would take 750 million
    values.
    """
    columns = {"loss": [1] * 50_000, **{f"a{index}": [1] for index in range(15_000)}}
    read(json.dumps(columns).encode())


@pytest.mark.parametrize("unit", ['{"data":', '{"log_history":', '{"a":', "[", '[{"loss":'])
@pytest.mark.parametrize("depth", [5, 400, 900, 3000, 50_000])
def test_deeply_nested_json(unit, depth):
    closing = "".join({"{": "}", "[": "]"}[each] for each in reversed(unit) if each in "{[")
    read((unit * depth + "1" + closing * depth).encode())
    read((unit * depth).encode())


@pytest.mark.parametrize(
    "header",
    [
        {"parameters": [{"name": "a", "shape": [1e300, 1e300]}, {"name": 1, "shape": "x", "dtype": []}]},
        {"parameters": [[]], "optimizers": [{"groups": [{"betas": [1e999, "x"], "lr": 10**400}]}], "loss": []},
        {"columns": {"s": ["loss", "optimizer", "skipped", "loss_scale"]}, "batch": 1e308, "steps": -1, "scaler": 3},
    ],
)
def test_traces_with_values_of_any_size(header):
    head = {"schema": "numstab-trace/1", "columns": {"s": ["loss", "lr"], "p": ["grad_rms", "weight_rms"]}, **header}
    rows = [
        {"t": 0, "s": [1e308, 1e308, 1, 1e308]},
        {"t": 2**52, "s": ["inf", "nan", "inf", 10**400]},
        {"t": 1, "p": [[1e308, 5e-324], [[], {}]]},
        {"t": 1, "m": {"layer\ud800": {"rms": 1e400}}},
        {"t": 3, "alarm": "loss", "value": {}, "weights": 3, "ignored": "x"},
        {"t": 3, "fault": {"value": "nan", "phase": "forward", "operands": 3}},
    ]
    assert read("\n".join(map(json.dumps, [head, *rows])).encode()) != "refused"


def test_a_long_log_counts_as_several_requests():
    charged: list[int] = []
    before = CLIENT.set(Client("address:192.0.2.1", charged.append))
    try:
        read(b"loss: 1\n" * 100)
        assert charged == []
        read(b"step: 1 loss: 1\n" * 20_000)
        assert charged == [320_000 // BYTES_PER_CHARGE]
    finally:
        CLIENT.reset(before)


def test_logs_beyond_those_that_may_wait_are_refused(monkeypatch):
    """While some logs are read and others wait, a further one is refused at once and takes none of the server's
    threads.
    """
    go, begun = threading.Event(), threading.Semaphore(0)

    def hanging(_data: bytes, _name: str) -> None:
        begun.release()
        go.wait(TIMEOUT_SECONDS)
        raise BadRequest(zh="", en="")

    monkeypatch.setattr(reading, "read_training_run", hanging)
    refusals: list[str] = []

    def ask() -> None:
        try:
            read(b"loss: 1\n")
        except Overloaded as error:
            refusals.append(error.code)

    threads = [threading.Thread(target=ask) for _ in range(40)]
    try:
        for each in threads:
            each.start()
        until(lambda: len(refusals) > 0)
        assert begun.acquire(timeout=TIMEOUT_SECONDS)
    finally:
        go.set()
        for each in threads:
            each.join(30)
    assert 0 < len(refusals) < 40
    monkeypatch.undo()
    assert read(b"step: 1 loss: 1\nstep: 2 loss: nan\n") != "refused"


@pytest.fixture(scope="module")
def client(new_toy_service, tmp_path_factory) -> Iterator[TestClient]:
    folder = tmp_path_factory.mktemp("logs")
    with TestClient(
        create_app(new_toy_service(), Settings(data=folder, cache=folder, rate="")), raise_server_exceptions=False
    ) as client:
        yield client


@pytest.mark.parametrize(
    "body",
    [
        b'{"text":"loss: 1\\ud800\\nloss: nan","run":false}',
        b'{"text":"loss: 1","name":"\\ud800\\u0000../../etc/passwd","run":false}',
        b'{"text":"\\u001f\\u008b\\u0008","run":false}',
        b'{"text":["loss"],"name":{}}',
        b'{"text":"{\\"schema\\":\\"numstab-trace/1\\"}"}',
    ],
)
def test_any_body_is_diagnosed_or_refused(client, body):
    assert client.post("/api/v1/diagnose", content=body).status_code in (200, 422)


@pytest.mark.parametrize(
    "prompt",
    [
        '"tags": ' + "<chat_history>" * 60_000,
        '"tags": ' + "\n" * 400_000,
        '"title": ' + "\n\t" * 200_000,
        '"follow_ups": ' + "USER: count\n" * 70_000,
        '"tags": <chat_history>' + "\nUSER: count" * 70_000 + "</chat_history>",
    ],
    ids=["unclosed", "lines", "blanks", "turns", "quoted turns"],
)
def test_what_chat_programs_ask_for_themselves_is_answered_at_any_length(client, prompt):
    """Housekeeping prompts of chat programs are answered, even the longest that a request may have."""
    reply = client.post(
        "/v1/chat/completions", json={"messages": [{"role": "user", "content": f"### Task:\n{prompt}"}]}
    )
    assert reply.status_code == 200
