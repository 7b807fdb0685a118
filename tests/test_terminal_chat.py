"""`numstab chat`, used by a person at a terminal and by a script with lines on standard input."""

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
    overrides = {"NUMSTAB_CACHE": str(cache), "NUMSTAB_DATA": str(folder), "NUMSTAB_DEADLINE": "240"}
    return {**os.environ, **overrides, "LC_ALL": "C.UTF-8", "COLUMNS": "100", "TERM": "dumb"}


@pytest.fixture
def chat(terminal, env):
    """What `numstab chat` prints for these lines on standard input."""

    def run(*lines: str, options: tuple[str, ...] = ()) -> str:
        done = terminal("chat", *options, env=env, stdin="\n".join(lines).encode())
        assert (done.returncode, done.stderr) == (0, "")
        return done.stdout

    return run


def test_a_follow_up_prints_only_what_is_new(chat):
    """What to do is not repeated; the numbers are those of the new parameters."""
    text = chat("100 个 1.5 连乘会怎样", "那 0.9 呢")
    first, second = text.split("? 那 0.9 呢")
    assert "4.0656×10¹⁷" in first
    assert "怎么分辨" in first
    assert "pow_vs_sum(n=100, x=0.9, dtype=float32)" in second
    assert "2.6561×10⁻⁵" in second
    assert "怎么分辨" not in second


def test_new_clears_the_context(chat):
    """An elliptical question after /new is unclear, as it is at the start of a conversation."""
    text = chat("100 个 1.5 连乘会怎样", "/new", "那 0.9 呢", options=("--no-run",))
    assert "好，重新开始。" in text
    assert "你指的是哪一个" in text.split("好，重新开始。")[1]


def test_a_candidate_is_chosen_by_its_number(chat):
    text = chat("那 0.9 呢", "2", options=("--no-run",))
    offered, chosen = text.split("? 2\n")
    second = offered.split("•")[2].strip()
    assert chosen.strip().startswith(second[:20])


def test_seed_runs_the_last_question_again(chat):
    text = chat("/seed 5", "which init gain for relu: xavier or kaiming?", "/seed 7")
    before, first, again = text.partition("? which")[0], *text.partition("? which")[2].split("? /seed 7")
    assert "No question has been asked yet." in before
    assert "seed=5" in first
    assert "seed=7" in again
    assert "seed=5" not in again


@pytest.mark.parametrize(
    ("line", "reply"),
    [("/dance", "no command /dance"), ("/seed x", "seed"), ("/help", "/new"), ("how do I cook rice", "does not cover")],
)
def test_the_conversation_continues_after_an_error(chat, line, reply):
    """After a wrong command, a bad value or a question that is not covered, the next one is answered."""
    text = chat(line, "why is 0/0 nan", options=("--no-run", "--lang", "en"))
    first, second = text.split("? why is 0/0 nan")
    assert reply in first
    assert "(nan-and-inf)" in second or "(inf-turns-into-nan)" in second
    assert "Traceback" not in text


def test_sigint_stops_the_run_and_not_the_conversation(env, tmp_path):
    """SIGINT arrives during a run at a pseudo-terminal; afterwards /quit ends the conversation."""
    toys = {"NUMSTAB_KB": str(TOYS / "kb"), "NUMSTAB_DEMOS": str(TOYS / "demos"), "NUMSTAB_DATA": str(tmp_path)}
    # A background job, as the tests may be, ignores SIGINT; a job at a terminal does not.
    enable_sigint = "import signal; signal.signal(signal.SIGINT, signal.default_int_handler)"
    code = (
        f"{enable_sigint}; import sys; from qa_service.__main__ import main; sys.exit(main(['chat', '--lang', 'en']))"
    )
    controller, terminal = pty.openpty()
    try:
        with running(
            [sys.executable, "-c", code], stdin=terminal, stdout=terminal, stderr=terminal, env=env | toys, cwd=ROOT
        ) as process:
            os.close(terminal)
            read_until(controller, "? ")
            os.write(controller, b"hanging forever three\n")
            read_until(controller, "(hanging)")
            read_until(controller, "Stopped.", before_read=lambda: process.send_signal(signal.SIGINT))
            until(lambda: quits(controller, process))
            assert process.returncode == 0
    finally:
        os.close(controller)


def quits(descriptor: int, process: subprocess.Popen[bytes]) -> bool:
    """Types /quit, repeatedly if needed, as a late Ctrl-C discards the line that is being typed."""
    os.write(descriptor, b"/quit\n")
    with suppress(subprocess.TimeoutExpired):
        process.wait(5)
    return process.poll() is not None


def read_until(descriptor: int, text: str, before_read: Callable[[], None] = lambda: None) -> None:
    """Reads the terminal until the text has been printed; calls `before_read` before each read."""
    printed = ""

    def is_printed() -> bool:
        nonlocal printed
        before_read()
        if select.select([descriptor], [], [], 5)[0]:
            printed += os.read(descriptor, 65536).decode(errors="replace")
        return text in printed

    until(is_printed, why=lambda: printed)
