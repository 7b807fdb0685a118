"""The command line as people and scripts use it: what is printed, what is JSON, and the exit status."""

import json
import os
import pty
import shutil
import signal
import subprocess
import sys
from contextlib import suppress

import pytest
from processes import ROOT, TIMEOUT_SECONDS, running, session, until

from qa_service.settings import Settings

TOYS = ROOT / "tests" / "toys"


@pytest.fixture(scope="module")
def env(tmp_path_factory, cache) -> dict[str, str]:
    folder = tmp_path_factory.mktemp("terminal")
    own = {"NUMSTAB_CACHE": str(cache), "NUMSTAB_DATA": str(folder / "data"), "NUMSTAB_DEADLINE": "60"}
    return {**os.environ, **own, "LC_ALL": "C.UTF-8", "COLUMNS": "100"}


@pytest.fixture
def numstab(terminal, env):
    """The command in this process."""

    def run(*words: str, stdin: bytes = b"", **extra: str) -> subprocess.CompletedProcess[str]:
        done = terminal(*words, env={**env, **extra}, stdin=stdin)
        crashed = "Traceback (most recent call last)" in done.stdout + done.stderr  # entries speak of tracebacks too
        assert not crashed, done.stderr
        return done

    return run


@pytest.fixture
def toys(numstab):
    def run(*words: str, **extra: str) -> subprocess.CompletedProcess[str]:
        return numstab(*words, **{"NUMSTAB_KB": str(TOYS / "kb"), "NUMSTAB_DEMOS": str(TOYS / "demos"), **extra})

    return run


@pytest.fixture
def process(env):
    """The command as a process of its own, for what only a process has: an exit status, pipes, bytes."""

    def run(*words: str | bytes) -> subprocess.CompletedProcess[bytes]:
        command = [sys.executable, "-m", "qa_service", *words]
        return subprocess.run(command, capture_output=True, env=env, timeout=TIMEOUT_SECONDS, check=False, cwd=ROOT)

    return run


def test_an_answer_for_people(numstab):
    """Text, the lecture's words, numbers, verdicts and the short answer with its numbers; plain without a terminal."""
    done = numstab("ask", "100 个 1.5 连乘会怎样？")
    assert done.returncode == 0
    for said in ("讲座", "4.0656×10¹⁷", "150", "✓ 成立", "pow_vs_sum(n=100, x=1.5, dtype=float32)", "相关问题"):
        assert said in done.stdout
    assert "\x1b[" not in done.stdout
    assert done.stderr == ""
    assert done.stdout.rindex("→") > done.stdout.index("✓")


def test_an_answer_for_programs(process):
    """From a cold start; nothing but strict JSON on standard output, nothing on standard error."""
    done = process("ask", "multiply 0.9 200 times", "--json", "--entry", "multiply-vs-add", "--seed", "3")
    assert (done.returncode, done.stderr) == (0, b"")
    answer = json.loads(done.stdout, parse_constant=pytest.fail)
    assert answer["lang"] == "en"
    assert answer["evidence"][0]["params"]["x"] == 0.9
    assert answer["evidence"][0]["seed"] == 3
    never = answer["evidence"][0]["metrics"]["first_overflow_step"]
    assert (never["value"], never["unit"]) == (None, "step")


def test_text_only_and_parameters(numstab):
    """--no-run measures nothing; --param wins; --lang chooses."""
    done = numstab("ask", "--entry", "float16-precision", "--lang", "zh", "--no-run", "--json")
    answer = json.loads(done.stdout)
    assert (answer["evidence"], answer["lang"]) == ([], "zh")
    done = numstab("ask", "--entry", "multiply-vs-add", "--param", "x=inf", "--param", "n=3", "--json")
    evidence = json.loads(done.stdout)["evidence"][0]
    assert evidence["params"]["x"] == "Infinity"
    assert evidence["metrics"]["sum"]["value"] == "Infinity"
    assert evidence["metrics"]["sum_rel_err"]["value"] == "NaN"


@pytest.mark.parametrize("word", ["inf", "-inf", "nan"])
def test_nonfinite_numbers_are_words(toys, word):
    """In JSON as the standard's strings, in the table as inf and nan, None as none."""
    done = toys("run", "nonfinite", "--param", f"given={word}", "--json")
    values = {name: metric["value"] for name, metric in json.loads(done.stdout)["metrics"].items()}
    spelled = {"inf": "Infinity", "-inf": "-Infinity", "nan": "NaN"}[word]
    assert values == {
        "inf": "Infinity", "minus_inf": "-Infinity", "nan": "NaN", "never": None, "zero": 0.0, "given": spelled,
    }  # fmt: skip
    table = toys("run", "nonfinite", "--param", f"given={word}").stdout
    for shown in ("inf", "-inf", "nan", "(none)"):
        assert shown in table


def test_a_batch_answers_line_by_line(numstab, tmp_path):
    """In order; turns are a conversation; a line that is no question gives an error and the rest go on."""
    lines = [
        {"q": "为什么乘法变加法会让训练更稳定？"},
        {"turns": ["100 factors of 1.5 multiplied", "and in float16?"]},
        "not a question",
        {"question": "why is my loss nan", "run": False},
        {"q": ""},
    ]
    text = "\n".join(json.dumps(line, ensure_ascii=False) for line in lines) + "\n{broken\n"
    path = tmp_path / "questions.jsonl"
    path.write_text(text)
    for done in (
        numstab("ask", "--batch", str(path), "--json"),
        numstab("ask", "--batch", "-", "--json", stdin=text.encode()),
    ):
        out = [json.loads(line) for line in done.stdout.splitlines()]
        assert len(out) == 6
        assert out[0]["entry"]["item"] == 9
        assert out[0]["evidence"][0]["status"] == "ran"
        assert out[1]["question"] == "and in float16?"
        assert out[1]["params"]["dtype"] == "float16"
        assert out[3]["evidence"] == []
        assert [line["error"]["code"] for line in (out[2], out[4], out[5])] == [
            "bad_field",
            "empty_question",
            "bad_field",
        ]
        assert done.returncode == 2


def test_lists(numstab):
    """Entries and experiments, for people and for programs."""
    entries = json.loads(numstab("entries", "--json").stdout)
    assert {entry["item"] for entry in entries} == set(range(1, 17))
    assert "multiply-vs-add" in numstab("entries").stdout
    experiments = json.loads(numstab("experiments", "--json").stdout)
    assert {"slug", "title", "params", "metrics", "source"} <= set(experiments[0])
    assert "pow_vs_sum" in numstab("experiments", "--lang", "zh").stdout


def test_eval_counts_labelled_questions(numstab, tmp_path):
    """A table with intervals, or JSON with the promised figures; a bad line is named by file and number."""
    lines = [
        {"q": "my loss becomes nan after 300 steps", "lang": "en", "kind": "in", "items": [1, 4]},
        {"q": "200 个 0.9 连乘会怎样", "lang": "zh", "kind": "in", "items": [9], "params": {"n": 200, "x": 0.9}},
        {"turns": ["200 个 0.9 连乘会怎样", "那 300 个呢"], "items": [9], "params": {"n": 300, "x": 0.9}},
        {"q": "CUDA out of memory, which card should I buy", "lang": "en", "kind": "near", "items": []},
        {"q": "明天会下雪吗", "lang": "zh", "kind": "out", "items": []},
    ]
    path = tmp_path / "questions.jsonl"
    path.write_text("\n".join(json.dumps(line, ensure_ascii=False) for line in lines), encoding="utf-8")
    found = json.loads(numstab("eval", str(path), "--json").stdout)
    promised = {"n", "hit1", "hit3", "auroc_near", "auroc_out", "answered_right", "answered_wrong", "false_answers",
                "params_right", "ms_per_question", "by_lang", "by_item"}  # fmt: skip
    assert promised <= found.keys()
    assert [found["n"], found["hit1"], found["params_right"], found["auroc_out"]] == [5, 1.0, 1.0, 1.0]
    assert found["false_answers"] == 0
    assert "answered_right" in numstab("eval", str(path)).stdout
    path.write_text('{"q": "a", "items": [1]}\nnonsense\n')
    done = numstab("eval", str(path))
    assert (done.returncode, f"{path}:2" in done.stderr) == (2, True)
    assert numstab("eval", str(tmp_path / "nowhere")).returncode == 2


def test_explain_says_which_phrasing_and_why(numstab):
    """Every match with the wording it met and what spoke for it."""
    said = numstab("ask", "why does my gradient explode", "--no-run", "--explain").stdout
    assert "exploding-gradients" in said
    assert "phrasing met" in said
    assert "its meaning" in said or "explod" in said


def test_check_passes_and_catches_a_wrong_bound(toys, tmp_path):
    """Exit 1 as soon as a measured verdict differs from what the entry states."""
    done = toys("check", "counting", "--seeds", "2", "--json")
    report = json.loads(done.stdout)
    assert (done.returncode, report["checked"], report["differ"]) == (0, 4, 0)
    assert {row["at"] for row in report["claims"]} == {"params", "control"}
    kb = tmp_path / "kb"
    shutil.copytree(TOYS / "kb", kb)
    counting = kb / "counting.toml"
    counting.write_text(counting.read_text().replace("bound = 5", "bound = 6"))
    done = toys("check", "counting", NUMSTAB_KB=str(kb))
    assert done.returncode == 1
    assert "reaches-five" in done.stdout


@pytest.mark.parametrize(
    ("words", "status", "said"),
    [
        (["ask", "zzzz qqqq wwww"], 1, "does not cover"),
        (["ask", "今晚吃什么"], 1, "不涵盖"),
        (["ask"], 2, "no question"),
        (["ask", ""], 2, "empty"),
        (["ask", "   "], 2, "empty"),
        (["ask", "nan", "--entry", "nope"], 2, "no entry 'nope'"),
        (["ask", "nan", "--seed", "x"], 2, "seed"),
        (["ask", "nan", "--seed", "-1"], 2, "seed"),
        (["ask", "nan", "--param", "x"], 2, "NAME=VALUE"),
        (["ask", "nan", "--lang", "fr"], 2, "zh"),
        (["ask", "--entry", "multiply-vs-add", "--param", "nn=5"], 2, "did you mean n"),
        (["ask", "--entry", "multiply-vs-add", "--param", "n=0", "--lang", "zh"], 2, "1 到 10000"),
        (["ask", "--batch", "/nowhere/at/all"], 2, "cannot read"),
        (["run", "nope"], 2, "no experiment 'nope'"),
        (["run", "pow_vs_sum", "--param", "n=nan"], 2, "from 1 to 10000"),
        (["run", "pow_vs_sum", "--param", "dtype=float8"], 2, "float16"),
        (["check", "nope"], 2, "no entry"),
        (["check", "--seeds", "0"], 2, "1 to 1000"),
        (["serve", "--port", "99999"], 2, "65535"),
        (["dance"], 2, "invalid choice"),
        (["dance", "--lang", "zh"], 2, "可选"),
        (["dance", "--lang", "zh", "--nope"], 2, "可选"),
        ([], 2, "required"),
    ],
)
def test_exit_status_and_errors(numstab, words, status, said):
    """0 answered, 1 not covered, 2 usage, 3 failed; errors name what was wrong and what is allowed."""
    done = numstab(*words)
    assert (done.returncode, said in done.stdout + done.stderr) == (status, True), done.stdout + done.stderr


def test_a_failed_experiment_is_status_three(toys):
    """The answer is there all the same."""
    assert toys("run", "raises").returncode == 3
    done = toys("run", "hangs", "--lang", "zh", NUMSTAB_DEADLINE="1")
    assert (done.returncode, "已被中止" in done.stdout) == (3, True)


def plots(command: list[str], env: dict[str, str]) -> tuple[int, str]:
    """Exit status of a command on a pseudo-terminal, and what it prints there."""
    keeper, terminal = pty.openpty()
    try:
        options = {"stdout": terminal, "stderr": terminal, "env": {**env, "TERM": "xterm-256color"}, "cwd": ROOT}
        with running(command, **options) as run:
            os.close(terminal)
            printed = b""
            with suppress(OSError):  # the other end closes when the command has ended
                while chunk := os.read(keeper, 65536):
                    printed += chunk
            return run.wait(TIMEOUT_SECONDS), printed.decode()
    finally:
        os.close(keeper)


@pytest.mark.parametrize(
    "slug",
    ["quad_gd", *(pytest.param(slug, marks=pytest.mark.exhaustive)
                  for slug in ("pow_vs_sum", "init_gain", "ieee_table", "loss_surface"))],
)  # fmt: skip
def test_a_terminal_gets_colour_a_bar_and_a_plot(env, slug):
    """On a real (pseudo) terminal: every kind of chart, and words for what a plot cannot show."""
    status, text = plots([sys.executable, "-m", "qa_service", "run", slug], env)
    assert (status, "Traceback" in text) == (0, False), text
    assert "\x1b[" in text
    assert slug in text
    if slug in ("pow_vs_sum", "quad_gd", "init_gain"):
        assert "┤" in text
        assert "×10" in text
    if slug == "quad_gd":
        assert "+ inf, nan" in text


def test_an_argument_that_is_not_utf_8_is_refused(process):
    done = process("ask", b"nan \xff\xfe")
    assert done.returncode == 2
    assert b"Traceback" not in done.stderr


def test_an_interrupt_ends_a_command_quietly(env):
    """Ctrl-C in the middle of a run: status 130, and no traceback."""
    toys = {"NUMSTAB_KB": str(TOYS / "kb"), "NUMSTAB_DEMOS": str(TOYS / "demos")}
    # A job in the background, as the tests may be, ignores it; whoever sits at a terminal does not.
    heeded = "import signal, sys; signal.signal(signal.SIGINT, signal.default_int_handler)"
    code = f"{heeded}; from qa_service.__main__ import main; sys.exit(main(['run', 'hangs', '--json']))"
    with running(
        [sys.executable, "-c", code], env=env | toys, stdout=subprocess.PIPE, stderr=subprocess.PIPE, cwd=ROOT
    ) as run:
        until(lambda: any("forkserver" in command for command in session(run.pid).values()))
        run.send_signal(signal.SIGINT)
        _, err = run.communicate(timeout=TIMEOUT_SECONDS)
        assert (run.returncode, b"Traceback" in err) == (130, False), err.decode()


def test_a_broken_library_stops_everything_with_all_its_problems(numstab, tmp_path):
    """Path, line, what was expected; both files at once."""
    (tmp_path / "one.toml").write_text("item = 0\n")
    (tmp_path / "two.toml").write_text("[[[\n")
    done = numstab("entries", NUMSTAB_KB=str(tmp_path))
    assert done.returncode == 2
    assert "one.toml:1:" in done.stderr
    assert "two.toml:1:" in done.stderr


def test_a_wrong_setting_is_named(numstab):
    """The variable, not a traceback."""
    done = numstab("entries", NUMSTAB_DEADLINE="soon")
    assert (done.returncode, "NUMSTAB_DEADLINE" in done.stderr) == (2, True)


def test_a_closed_pipe_is_no_error(env):
    """`numstab entries --json | head -c 10` ends quietly."""
    command = f"{sys.executable} -m qa_service entries --json | head -c 10"
    done = subprocess.run(
        command, shell=True, capture_output=True, env=env, timeout=TIMEOUT_SECONDS, check=False, cwd=ROOT
    )
    assert b"Traceback" not in done.stderr


def test_every_variable_is_a_setting():
    """What settings.py lists is what it reads."""
    variables = Settings.variables()
    assert all(name.startswith(("NUMSTAB_", "OTEL_")) and about for name, about in variables.items())
    assert Settings.from_env({"NUMSTAB_DEADLINE": "2.5"}).deadline == 2.5
