"""A conversation in the terminal, as a person and as a script has it."""

import os
import pty
import select
import signal
import subprocess
import sys
from collections.abc import Callable
from contextlib import suppress

import pytest
from processes import ROOT, running, until

TOYS = ROOT / "tests" / "toys"


@pytest.fixture(scope="module")
def env(tmp_path_factory, cache) -> dict[str, str]:
    folder = tmp_path_factory.mktemp("chat")
    own = {"NUMSTAB_CACHE": str(cache), "NUMSTAB_DATA": str(folder), "NUMSTAB_DEADLINE": "60"}
    return {**os.environ, **own, "LC_ALL": "C.UTF-8", "COLUMNS": "100", "TERM": "dumb"}


@pytest.fixture
def said(terminal, env):
    """What is printed in reply to these lines on standard input."""

    def talk(*lines: str, options: tuple[str, ...] = ()) -> str:
        done = terminal("chat", *options, env=env, stdin="\n".join(lines).encode())
        assert (done.returncode, done.stderr) == (0, "")
        return done.stdout

    return talk


def test_a_question_follows_the_one_before(said):
    """What was read a moment ago is not told again; its numbers are new."""
    text = said("100 个 1.5 连乘会怎样", "那 0.9 呢")
    first, second = text.split("? 那 0.9 呢")
    assert "4.0656×10¹⁷" in first
    assert "讲座" in first
    assert "pow_vs_sum(n=100, x=0.9, dtype=float32)" in second
    assert "2.6561×10⁻⁵" in second
    assert "讲座" not in second
    assert second.rindex("→") > second.index("✓")


def test_a_new_conversation_knows_nothing_of_the_old(said):
    """After /new a question that hangs in the air is asked back, and so is one at the very beginning."""
    text = said("100 个 1.5 连乘会怎样", "/new", "那 0.9 呢", options=("--no-run",))
    assert "好，重新开始。" in text
    assert "你指的是哪一个" in text.split("好，重新开始。")[1]


def test_one_of_several_is_picked_by_its_number(said):
    text = said("那 0.9 呢", "2", options=("--no-run",))
    offered, picked = text.split("? 2\n")
    second = offered.split("•")[2].strip()
    assert picked.strip().startswith(second[:20])


def test_another_seed_asks_the_last_question_again(said):
    text = said("/seed 5", "which init gain for relu: xavier or kaiming?", "/seed 7")
    before, first, again = text.partition("? which")[0], *text.partition("? which")[2].split("? /seed 7")
    assert "No question has been asked yet." in before
    assert "seed=5" in first
    assert "seed=7" in again
    assert "seed=5" not in again


@pytest.mark.parametrize(
    ("line", "reply"),
    [("/dance", "no command /dance"), ("/seed x", "seed"), ("/help", "/new"), ("how do I cook rice", "does not cover")],
)
def test_whatever_is_said_the_conversation_goes_on(said, line, reply):
    """A wrong command, a bad value, a question that is not covered: the next one is answered."""
    text = said(line, "why is 0/0 nan", options=("--no-run", "--lang", "en"))
    wrong, right = text.split("? why is 0/0 nan")
    assert reply in wrong
    assert "confidence" in right
    assert "Traceback" not in text


def test_an_interrupt_stops_the_run_and_not_the_conversation(env, tmp_path):
    """At a terminal: Ctrl-C in the middle of an experiment, then /quit."""
    toys = {"NUMSTAB_KB": str(TOYS / "kb"), "NUMSTAB_DEMOS": str(TOYS / "demos"), "NUMSTAB_DATA": str(tmp_path)}
    # A job in the background, as the tests may be, ignores it; whoever sits at a terminal does not.
    heeded = "import signal; signal.signal(signal.SIGINT, signal.default_int_handler)"
    code = f"{heeded}; import sys; from qa_service.__main__ import main; sys.exit(main(['chat', '--lang', 'en']))"
    keeper, terminal = pty.openpty()
    try:
        with running(
            [sys.executable, "-c", code], stdin=terminal, stdout=terminal, stderr=terminal, env=env | toys, cwd=ROOT
        ) as talk:
            os.close(terminal)
            printed_until(keeper, "? ")
            os.write(keeper, b"hanging forever three\n")
            printed_until(keeper, "It counts to")
            printed_until(keeper, "Stopped.", pressing=lambda: talk.send_signal(signal.SIGINT))
            until(lambda: quits(keeper, talk))
            assert talk.returncode == 0
    finally:
        os.close(keeper)


def quits(descriptor: int, talk: subprocess.Popen[bytes]) -> bool:
    """Types /quit, again if need be: a late Ctrl-C discards the line that is being typed."""
    os.write(descriptor, b"/quit\n")
    with suppress(subprocess.TimeoutExpired):
        talk.wait(5)
    return talk.poll() is not None


def printed_until(descriptor: int, words: str, pressing: Callable[[], None] = lambda: None) -> None:
    """Reads the terminal until these words have been printed, pressing a key meanwhile, again and again."""
    printed = ""

    def seen() -> bool:
        nonlocal printed
        pressing()
        if select.select([descriptor], [], [], 5)[0]:
            printed += os.read(descriptor, 65536).decode(errors="replace")
        return words in printed

    until(seen, why=lambda: printed)
