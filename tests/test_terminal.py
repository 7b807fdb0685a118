"""The command line for people and for scripts: its text, its JSON and its exit status."""

import json
import os
import pty
import shutil
import signal
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress

import pytest
from checking import each_case
from processes import ROOT, TIMEOUT_SECONDS, running, session_processes, until

from qa_service.__main__ import main
from qa_service.errors import BadField
from qa_service.schemas.lines import read_batch_line
from qa_service.settings import Settings

TOYS = ROOT / "tests" / "toys"


@pytest.fixture(scope="module")
def env(tmp_path_factory, cache) -> dict[str, str]:
    folder = tmp_path_factory.mktemp("terminal")
    overrides = {"NUMSTAB_CACHE": str(cache), "NUMSTAB_DATA": str(folder / "data"), "NUMSTAB_DEADLINE": "240"}
    return {**os.environ, **overrides, "LC_ALL": "C.UTF-8", "COLUMNS": "100"}


@pytest.fixture
def numstab(terminal, env):
    """Runs the command in this process."""

    def run(*arguments: str, stdin: bytes = b"", **settings: str) -> subprocess.CompletedProcess[str]:
        done = terminal(*arguments, env={**env, **settings}, stdin=stdin)
        crashed = "Traceback (most recent call last)" in done.stdout + done.stderr  # entries mention tracebacks too
        assert not crashed, done.stderr
        return done

    return run


@pytest.fixture
def toys(numstab):
    """A function that runs the command on the toy entries and experiments."""

    def run(*arguments: str, **settings: str) -> subprocess.CompletedProcess[str]:
        return numstab(*arguments, **{"NUMSTAB_KB": str(TOYS / "kb"), "NUMSTAB_DEMOS": str(TOYS / "demos"), **settings})

    return run


@pytest.fixture
def process(env):
    """A function that runs the command on the toys in a new process, with exit status, pipes and bytes."""
    toys = {"NUMSTAB_KB": str(TOYS / "kb"), "NUMSTAB_DEMOS": str(TOYS / "demos")}

    def run(*arguments: str | bytes) -> subprocess.CompletedProcess[bytes]:
        command = [sys.executable, "-m", "qa_service", *arguments]
        return subprocess.run(
            command, capture_output=True, env=env | toys, timeout=TIMEOUT_SECONDS, check=False, cwd=ROOT
        )

    return run


def test_ask_prints_text_for_people(numstab):
    """It prints the short answer with numbers, its proof, what to do, how to tell; no escape sequences and no "…" for
    missing values.
    """
    done = numstab("ask", "how to count", NUMSTAB_KB=str(TOYS / "kb"), NUMSTAB_DEMOS=str(TOYS / "demos"))
    assert done.returncode == 0
    expected = ("It counts to 5.", "✓ holds", "What to do", "How to tell", "→ One is left out", "related: ")
    places = [done.stdout.index(text) for text in expected]
    assert places == sorted(places)
    for folded in ("The lecture says", "Whole numbers only"):
        assert folded not in done.stdout
    assert "\x1b[" not in done.stdout
    assert "…" not in done.stdout
    assert done.stderr == ""


def test_ask_full_prints_everything(toys):
    """It also prints the reason, the scope, the lecture with verdicts, and the evidence with all its numbers."""
    done = toys("ask", "--full", "how to count")
    expected = (
        "It counts to 5.",
        "What to do",
        "Why",
        "Scope",
        "sentence by sentence",
        "The lecture says",
        "a random number",
    )
    places = [done.stdout.index(text) for text in expected]
    assert places == sorted(places)


def test_ask_without_running_says_which_numbers_are_missing(toys):
    """It never prints "…" in their place."""
    done = toys("ask", "--no-run", "how to count")
    assert "It counts to (not measured)." in done.stdout
    assert "…" not in done.stdout


def test_ask_prints_strict_json_for_programs(process, numstab):
    """Standard output is JSON only and standard error is empty, from a cold start."""
    done = process("ask", "counting numbers one", "--json", "--seed", "3")
    assert (done.returncode, done.stderr) == (0, b"")
    answer = json.loads(done.stdout, parse_constant=pytest.fail)
    assert (answer["lang"], answer["entry"]["id"]) == ("en", "counting")
    assert (answer["evidence"][0]["seed"], answer["evidence"][0]["status"]) == (3, "ran")
    asked = numstab("ask", "multiply 0.9 200 times", "--json", "--entry", "multiply-vs-add", "--seed", "3")
    answer = json.loads(asked.stdout, parse_constant=pytest.fail)
    assert answer["evidence"][0]["params"]["x"] == 0.9
    first_overflow = answer["evidence"][0]["metrics"]["first_overflow_step"]
    assert (first_overflow["value"], first_overflow["unit"]) == (None, "step")


def test_ask_takes_no_run_param_and_lang(numstab):
    """--no-run measures nothing, --param sets a parameter, --lang chooses the language."""
    done = numstab("ask", "--entry", "float16-precision", "--lang", "zh", "--no-run", "--json")
    answer = json.loads(done.stdout)
    assert (answer["evidence"], answer["lang"]) == ([], "zh")
    done = numstab("ask", "--entry", "multiply-vs-add", "--param", "x=inf", "--param", "n=3", "--json")
    evidence = json.loads(done.stdout)["evidence"][0]
    assert evidence["params"]["x"] == "Infinity"
    assert evidence["metrics"]["sum"]["value"] == "Infinity"
    assert evidence["metrics"]["sum_rel_err"]["value"] == "NaN"


@pytest.mark.parametrize("value", ["inf", "-inf", "nan"])
def test_nonfinite_numbers_are_printed_as_words(toys, value):
    """They are strings in JSON, and inf, nan and (none) in the table."""
    done = toys("run", "nonfinite", "--param", f"given={value}", "--json")
    values = {name: metric["value"] for name, metric in json.loads(done.stdout)["metrics"].items()}
    in_json = {"inf": "Infinity", "-inf": "-Infinity", "nan": "NaN"}[value]
    assert values == {
        "inf": "Infinity", "minus_inf": "-Infinity", "nan": "NaN", "never": None, "zero": 0.0, "given": in_json,
    }  # fmt: skip
    table = toys("run", "nonfinite", "--param", f"given={value}").stdout
    for shown in ("inf", "-inf", "nan", "(none)"):
        assert shown in table


def test_a_batch_is_answered_line_by_line(numstab, tmp_path):
    """Turns are a conversation; an invalid line gives an error, and the others are answered."""
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


@each_case(
    ("line", "field"),
    [
        (b"", "line"), (b"[" * 100_000, "line"), (b"NaN", "line"), (b'"a"', "line"), (b"{}", "question"),
        (b'{"turns": []}', "turns"), (b'{"turns": "a"}', "turns"), (b'{"turns": ["a", 1]}', "turns"),
        (b'{"turns": null}', "turns"), (b'{"q": NaN}', "q"), (b'{"q": null}', "question"),
        (b'{"question": {}}', "question"), (b'{"q": "a", "seed": -1}', "seed"),
        (b'{"q": "a", "context": 1}', "context"), (b'{"q": "a", "params": [1]}', "params"), (b'\xff{"q": "a"}', "line"),
        (b'{"turns": [' + b'"a",' * 50 + b'"a"]}', "turns"),
    ],
)  # fmt: skip
def test_a_line_of_a_batch_that_is_wrong_names_its_field(line, field):
    with pytest.raises(BadField) as raised:
        read_batch_line(line)
    assert raised.value.field == field


def test_a_line_of_a_batch_may_have_labels():
    """Fields that are no option of `ask` are ignored, whatever their type."""
    line = {"q": "a", "question": "b", "lang": 3, "items": "x", "kind": None, "seed": 4, "run": False, "brief": "no"}
    (request,), given = read_batch_line(json.dumps(line).encode())
    assert (request.question, request.lang, request.seed, request.run) == ("a", None, 4, False)
    assert sorted(given) == ["run", "seed"]


def test_entries_and_experiments_are_listed(numstab):
    """Both lists are printed for people and as JSON."""
    entries = json.loads(numstab("entries", "--json").stdout)
    assert {entry["item"] for entry in entries} == set(range(1, 17))
    assert "multiply-vs-add" in numstab("entries").stdout
    experiments = json.loads(numstab("experiments", "--json").stdout)
    assert {"slug", "title", "params", "metrics", "source"} <= set(experiments[0])
    assert "pow_vs_sum" in numstab("experiments", "--lang", "zh").stdout


def test_eval_measures_labelled_questions(numstab, tmp_path):
    """It prints a table or JSON; an invalid line is named by file and number."""
    lines = [
        {"q": "my loss becomes nan after 300 steps", "lang": "en", "kind": "in", "items": [1, 4]},
        {"q": "200 个 0.9 连乘会怎样", "lang": "zh", "kind": "in", "items": [9], "params": {"n": 200, "x": 0.9}},
        {"turns": ["200 个 0.9 连乘会怎样", "那 300 个呢"], "items": [9], "params": {"n": 300, "x": 0.9}},
        {"q": "CUDA out of memory, which card should I buy", "lang": "en", "kind": "near", "items": []},
        {"q": "明天会下雪吗", "lang": "zh", "kind": "out", "items": []},
    ]
    path = tmp_path / "questions.jsonl"
    path.write_text("\n".join(json.dumps(line, ensure_ascii=False) for line in lines), encoding="utf-8")
    report = json.loads(numstab("eval", str(path), "--json").stdout)
    required = {"n", "hit1", "hit3", "auroc_near", "auroc_out", "answered_right", "answered_wrong", "false_answers",
                "params_right", "ms_per_question", "by_lang", "by_item"}  # fmt: skip
    assert required <= report.keys()
    assert [report["n"], report["hit1"], report["params_right"], report["auroc_out"]] == [5, 1.0, 1.0, 1.0]
    assert report["false_answers"] == 0
    assert "answered_right" in numstab("eval", str(path)).stdout
    path.write_text('{"q": "a", "items": [1]}\nnonsense\n')
    done = numstab("eval", str(path))
    assert (done.returncode, f"{path}:2" in done.stderr) == (2, True)
    assert numstab("eval", str(tmp_path / "nowhere")).returncode == 2


def test_explain_prints_phrasing_and_reasons_of_every_match(numstab):
    printed = numstab("ask", "why does my gradient explode", "--no-run", "--explain").stdout
    assert "exploding-gradients" in printed
    assert "nearest phrasing" in printed
    assert "its meaning" in printed or "explod" in printed


def test_check_fails_on_a_wrong_bound(toys, tmp_path):
    """It exits with 1 if any measured verdict differs from what the entry states."""
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
    ("arguments", "status", "message"),
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
def test_exit_status_and_error_messages(numstab, arguments, status, message):
    """0 is answered, 1 not covered, 2 usage, 3 failed; messages name the error and what is allowed."""
    done = numstab(*arguments)
    assert (done.returncode, message in done.stdout + done.stderr) == (status, True), done.stdout + done.stderr


def test_a_failed_run_exits_with_3(toys):
    """The run's note is printed anyway."""
    assert toys("run", "raises").returncode == 3
    done = toys("run", "hangs", "--lang", "zh", NUMSTAB_DEADLINE="1")
    assert (done.returncode, "已被中止" in done.stdout) == (3, True)


def read_all(descriptor: int) -> bytes:
    """Everything written to a pseudo-terminal until its other end is closed."""
    printed = b""
    with suppress(OSError):  # the other end is closed
        while chunk := os.read(descriptor, 65536):
            printed += chunk
    return printed


@pytest.fixture
def numstab_on_pty(terminal, env, monkeypatch):
    """A function that runs the command with a pseudo-terminal as its output; returns exit status and output."""

    def run(*arguments: str) -> tuple[int, str]:
        controller, other = pty.openpty()
        try:
            with ThreadPoolExecutor(1) as pool:
                printed = pool.submit(read_all, controller)
                with open(other, "w", encoding="utf-8") as screen, monkeypatch.context() as patch:
                    patch.setenv("TERM", "xterm-256color")
                    patch.setattr(sys, "stdout", screen)
                    patch.setattr(sys, "stderr", screen)
                    status = main(list(arguments), env | {"TERM": "xterm-256color"})
                return status, printed.result(TIMEOUT_SECONDS).decode()
        finally:
            os.close(controller)

    return run


@pytest.mark.parametrize(
    "slug",
    ["quad_gd", *(pytest.param(slug, marks=pytest.mark.exhaustive)
                  for slug in ("pow_vs_sum", "init_gain", "ieee_table", "loss_surface"))],
)  # fmt: skip
def test_a_terminal_shows_colours_and_plots(numstab_on_pty, slug):
    """Every kind of chart is drawn; values that cannot be plotted are words."""
    status, text = numstab_on_pty("run", slug)
    assert (status, "Traceback" in text) == (0, False), text
    assert "\x1b[" in text
    assert slug in text
    if slug in ("pow_vs_sum", "quad_gd", "init_gain"):
        assert "┤" in text
        assert "×10" in text
    if slug == "quad_gd":
        assert "+ inf, nan" in text


def test_an_argument_that_is_not_utf_8_is_rejected(process):
    done = process("ask", "--no-run", b"nan \xff\xfe")
    assert done.returncode == 2
    assert b"Traceback" not in done.stderr


def test_sigint_ends_a_command_with_status_130(env):
    """SIGINT arrives during a run, and the command prints no traceback."""
    toys = {"NUMSTAB_KB": str(TOYS / "kb"), "NUMSTAB_DEMOS": str(TOYS / "demos")}
    # A background job, as the tests may be, ignores SIGINT; a job at a terminal does not.
    enable_sigint = "import signal, sys; signal.signal(signal.SIGINT, signal.default_int_handler)"
    code = f"{enable_sigint}; from qa_service.__main__ import main; sys.exit(main(['run', 'hangs', '--json']))"
    with running(
        [sys.executable, "-c", code], env=env | toys, stdout=subprocess.PIPE, stderr=subprocess.PIPE, cwd=ROOT
    ) as run:
        until(
            lambda: run.poll() is not None or any("forkserver" in line for line in session_processes(run.pid).values())
        )
        run.send_signal(signal.SIGINT)
        _, err = run.communicate(timeout=TIMEOUT_SECONDS)
        assert (run.returncode, b"Traceback" in err) == (130, False), err.decode()


def test_all_problems_of_a_broken_library_are_reported_at_once(numstab, tmp_path):
    """Each is named by file and line."""
    (tmp_path / "one.toml").write_text("item = 0\n")
    (tmp_path / "two.toml").write_text("[[[\n")
    done = numstab("entries", NUMSTAB_KB=str(tmp_path))
    assert done.returncode == 2
    assert "one.toml:1:" in done.stderr
    assert "two.toml:1:" in done.stderr


def test_an_invalid_setting_is_reported_by_its_variable(numstab):
    done = numstab("entries", NUMSTAB_DEADLINE="soon")
    assert (done.returncode, "NUMSTAB_DEADLINE" in done.stderr) == (2, True)


def test_a_closed_pipe_is_no_error(env):
    """Commands such as `numstab entries --json | head -c 10` print no traceback."""
    command = f"{sys.executable} -m qa_service entries --json | head -c 10"
    done = subprocess.run(
        command, shell=True, capture_output=True, env=env, timeout=TIMEOUT_SECONDS, check=False, cwd=ROOT
    )
    assert b"Traceback" not in done.stderr


def test_settings_list_their_environment_variables():
    """Each variable has a description, and its value is read."""
    variables = Settings.variables()
    assert all(name.startswith(("NUMSTAB_", "OTEL_")) and about for name, about in variables.items())
    assert Settings.from_env({"NUMSTAB_DEADLINE": "2.5"}).deadline == 2.5
