# ruff: noqa: E501 - lines of logs are as long as they are
"""Reading training logs line by line: formats, steps over the whole run, line numbers, events, settings."""

import math
from functools import cache

import log_printers
import pytest
from checking import check_each, each_case
from hypothesis import given
from hypothesis import strategies as st
from log_printers import NAN, PRINTERS
from log_snippets import SNIPPETS

from qa_service.diagnosis.reading import read_log_text
from qa_service.parsing.logs import blocks, formats, messages, pairs
from qa_service.parsing.logs.configuration import read_settings
from qa_service.parsing.logs.names import choose_names, is_bookkeeping, meaning_of
from qa_service.parsing.logs.pairs import parse_value, read_pairs
from qa_service.parsing.logs.prefixes import strip_colours, strip_prefixes

_FINE = (2.4113, 2.3871, 2.2904, 2.3152, 2.1873, 2.2011, 2.1642, 2.1127, 2.1441, 2.0911)
_SETTINGS_OF_FORMATS = tuple(f"in:{form.sign}" for form in formats.BY_ID.values() if form.sign)


def _same(first: float, second: float) -> bool:
    return first == second or (math.isnan(first) and math.isnan(second))


def _by_place(run):
    """The (step, value) pairs of a run by (line, key)."""
    found = {}
    for key, records in run.series.items():
        for record in records:
            found.setdefault((record.line, key), []).append((record.step, record.value))
    return found


@each_case("name", PRINTERS)
def test_each_field_of_a_format_is_read_with_its_step_and_line(name):
    """From the output of each trainer's printing code, the printed value, its step in the run and its line number are
    read.
    """
    printed = PRINTERS[name]()
    run = read_log_text(printed.text)
    assert len(printed.lines) >= 8
    assert run.format == name.split()[0]
    found = _by_place(run)
    for line, step, values in printed.said:
        for key, value in values.items():
            at = found.get((line, key), [])
            assert any(_same(seen, value) and place == step for place, seen in at), (line, key, step, value, at)
    assert run.lines == printed.text.count("\n")


@each_case(
    "prefix",
    [
        "[rank0]: ",
        "[default0]:",
        "0: ",
        "2024-05-01T10:11:12.123456789Z stdout F ",
        "trainer-1  | ",
        "2024-05-01 10:11:12,123 - INFO - ",
        "(RayTrainWorker pid=4711, ip=10.0.0.3) ",
        "May  1 10:11:12 node01 train.sh[4711]: ",
        "\x1b[36m",
    ],
)
def test_prefixes_of_launchers_and_containers_change_nothing(prefix):
    """Ranks, times of Kubernetes, container names, loggers and colours are put in front of every line of every
    format.
    """

    def check(name: str) -> None:
        printed, plain = _without_prefix(name)
        run = read_log_text("".join(f"{prefix}{line}\n" for line in printed.lines))
        for key, records in plain.series.items():
            assert key in run.series, key
            assert len(run.series[key]) == len(records)
            for mine, theirs in zip(run.series[key], records, strict=True):
                assert (mine.step, mine.line) == (theirs.step, theirs.line)
                assert _same(mine.value, theirs.value)

    check_each(check, [name for name in PRINTERS if _without_prefix(name)[0].joint == "\n"])


@cache
def _without_prefix(name):
    """The sample log of a printer, and what is read from it without prefixes."""
    printed = PRINTERS[name]()
    return printed, read_log_text(printed.text)


def test_nearly_all_informative_lines_are_understood():
    """Over all formats at least 98 % of the lines with values or events give a series or event with that line
    number.
    """
    known = total = 0
    for make in PRINTERS.values():
        printed = make()
        run = read_log_text(printed.text)
        lines = {record.line for records in run.series.values() for record in records}
        lines |= {event.line for event in run.events}
        said = {line for line, _, values in printed.said if values}
        total += len(said)
        known += len(said & lines)
        assert run.lines_read >= len(printed.informative)
    assert known >= 0.98 * total


def _said(line):
    """Splits a line of a snippet into the line of the log and the list of what should be read from it."""
    text, mark, words = line.partition("<<")
    return text.rstrip(" ") if mark else text, words.split()


@each_case("name", SNIPPETS)
def test_logs_as_people_paste_them_are_read(name):
    """Logs broken by pagers, quoted, with Markdown emphasis, of old versions, in Chinese: every visible value is read."""
    lines = [_said(line) for line in SNIPPETS[name].rstrip("\n").split("\n")]
    run = read_log_text("\n".join(text for text, _ in lines))
    found = {}
    for key, records in run.series.items():
        for record in records:
            found.setdefault(record.line, {}).setdefault(key.rsplit("/", 1)[-1], record.value)
    events = {event.line for event in run.events}
    assert run.lines_read >= sum(bool(words) for _, words in lines)
    for number, (text, words) in enumerate(lines, start=1):
        for word in words:
            key, _, value = word.partition("=")
            if key != "event":
                seen = found.get(number, {}).get(key, "nothing")
                assert seen != "nothing" and (_same(seen, float(value)) or math.isclose(seen, float(value))), (
                    text,
                    word,
                )
            elif not text.lower().lstrip().startswith("epoch "):
                assert number in events, text


def test_noise_is_not_read():
    """Prose, code, progress of downloads and settings give no records."""
    text = """\
Loading checkpoint shards: 100%|██████████| 3/3 [00:05<00:00,  1.71s/it]
I ran it with a loss of 2.5 at first, and after some 300 steps in which nothing else had changed at all it was 7
loss = criterion(outputs, 3)
Namespace(batch_size=32, lr=0.1, loss_scale=128.0, epochs=90, seed=1)
  loss_scale ...................................... 65536.0
Downloading: 1.2MB
"""
    assert not read_log_text(text).series


@each_case(
    ("word", "value"),
    [
        ("1,234.5", 1234.5), ("1e-3", 1e-3), ("nan", NAN), ("-nan", NAN), ("nan.0", NAN), ("+nan.0", NAN), (".nan", NAN),
        ("-nan(ind)", NAN), ("1.#QNAN", NAN), ("-1.#IND00", NAN), ("1.#INF", math.inf), ("Infinity", math.inf),
        ("-inf", -math.inf), (".inf", math.inf), ("NaN", NAN), ("7.", 7.0), (".5", 0.5), ("2E+05", 2e5),
    ],
)  # fmt: skip
def test_numbers_as_programs_write_them(word, value):
    """The numbers are those of C, C++ on Windows, Lisp, YAML and JSON, with thousands separators, and printed
    tensors.
    """
    assert _same(parse_value(word), value)
    assert _same(read_pairs(f"loss: {word}, lr: 0.1").values["loss"], value)
    assert _same(read_pairs(f"loss=tensor({word}, device='cuda:0', grad_fn=<MeanBackward0>)").values["loss"], value)
    assert _same(read_pairs(f"{{'loss': '{word}', 'epoch': 1}}").values["loss"], value)
    assert blocks.is_number(word)


def test_what_is_no_number_is_absent():
    """None, n/a, z-scores and the word nan in a name give no value; a mean in parentheses has a key of its own."""
    read = read_pairs(
        "loss: None, grad_norm: n/a, lr: 0.1 (+nanz) | number of nan iterations: 0 | acc: 0.5 (nan)"
    ).values
    assert read.keys() == {"lr", "number_of_nan_iterations", "acc", "acc_average"}


def test_the_names_of_a_quantity_share_a_key_but_not_a_series():
    """Means of epochs are kept apart from the losses of steps; times and sizes are no quantities."""
    assert [meaning_of(name) for name in ("train/loss", "lm loss", "Training Loss", "损失")] == ["loss"] * 4
    assert [meaning_of(name) for name in ("eval_loss", "valid loss", "loss/val")] == ["val_loss"] * 3
    assert [meaning_of(name) for name in ("gnorm", "gradient norm", "train/grad_norm")] == ["grad_norm"] * 3
    assert choose_names({"loss": 100, "train_loss": 5, "top5": 3}) == {
        "loss": "loss",
        "train_loss": "train_loss",
        "top5": "top5",
    }
    assert choose_names({"train_loss_step": 9, "train_loss_epoch": 9})["train_loss_step"] == "loss"
    assert choose_names({"huber_loss": 3})["huber_loss"] == "loss"
    assert choose_names({"policy_loss": 3, "value_loss": 3}) == {
        "policy_loss": "policy_loss",
        "value_loss": "value_loss",
    }
    assert is_bookkeeping("data_time") and is_bookkeeping("tokens/s") and not is_bookkeeping("nll_loss")


def test_steps_count_over_epochs_and_a_fall_is_a_restart():
    """A counter of batches goes on where the epoch does; a global one that falls is a restart."""
    within = "\n".join(
        f"Epoch [{e}/3], Step [{s}/600], Loss: {3 - e / 2:.4f}" for e in (1, 2, 3) for s in (200, 400, 600)
    )
    run = read_log_text(within)
    assert [record.step for record in run.series["loss"]][:5] == [200, 400, 600, 800, 1000]
    assert not [event for event in run.events if event.kind == "restart"]
    resumed = "\n".join(
        f"step {s} loss {2.5 - s / 1000:.4f} lr 0.001" for s in (*range(0, 1000, 100), *range(700, 1200, 100))
    )
    run = read_log_text(resumed)
    assert [(event.kind, event.step, event.line) for event in run.events] == [("restart", 700, 11)]
    several = "\n".join(f"step {s + r % 2} loss 2.5 lr 0.001" for s in range(20) for r in range(4))
    assert not read_log_text(several).events


def test_other_ranks_do_not_double_the_run():
    """The first process is the run; lines of the others are understood."""
    text = "\n".join(f"[rank{r}]: step {s} loss {2 - s / 10} lr 0.1" for s in range(5) for r in (0, 1))
    run = read_log_text(text)
    assert [record.line for record in run.series["loss"]] == [1, 3, 5, 7, 9]
    assert run.lines_read == 10


def test_progress_bars_share_a_line_and_backspaces_separate_too():
    """Parts of a line that a progress bar has overwritten are read too, with the number of that line."""
    back = "\b" * 30
    run = read_log_text(
        "start\n" + "".join(f"{back}{s}/90 [=>....] - ETA: 1s - loss: {2 - s / 100:.4f}" for s in (1, 2, 3))
    )
    assert [(record.line, record.step, record.value) for record in run.series["loss"]] == [
        (2, 1, 1.99),
        (2, 2, 1.98),
        (2, 3, 1.97),
    ]


def test_a_traceback_is_an_event_with_its_exception():
    """It is recognised behind a rank's prefix too; its code is not read as values."""
    lines = [
        "Traceback (most recent call last):",
        '  File "train.py", line 41, in <module>',
        "    loss = loss_fn(out, y) * 0.5",
        "RuntimeError: Function 'LogBackward0' returned nan values in its 0th output.",
    ]
    for prefix in ("", "[rank0]: "):
        run = read_log_text("step 1 loss 2.5 lr 0.1\n" + "\n".join(prefix + line for line in lines))
        assert [(event.kind, event.name, event.line) for event in run.events] == [
            ("traceback", "RuntimeError", 5), ("message", "anomaly", 5),
        ]  # fmt: skip
        assert len(run.series["loss"]) == 1
        assert "LogBackward0" in run.excerpt[5]


def test_skipped_updates_are_events():
    """Skipped updates of DeepSpeed, Apex and fairseq, and in the counter of Megatron; DeepSpeed's own counter counts all since the start."""
    run = read_log_text(PRINTERS["deepspeed"]().text)
    assert sum(event.kind == "skipped_update" for event in run.events) == 11
    assert len(run.series["loss_scale"]) == 11  # also where it only waits, and prints what it attempted
    run = read_log_text(PRINTERS["megatron all skipped"]().text)
    assert [event.step for event in run.events if event.kind == "skipped_update"] == list(range(1, 10))
    run = read_log_text(PRINTERS["deepspeed_step"]().text)
    assert [event.step for event in run.events if event.kind == "skipped_update"] == [30, 60, 90]
    run = read_log_text("WARNING - OverflowError: setting loss scale to: 32.0\n" * 2)
    assert sum(event.kind == "skipped_update" for event in run.events) == 2


@each_case("message", messages.MESSAGES)
def test_every_message_has_a_hint_that_its_words_have(message):
    """The hint, a lower-case string searched for first, never hides a message that the full pattern would find."""
    assert message.hint == message.hint.lower()


@each_case(
    ("line", "name"),
    [
        ("Loss is nan, stopping training", "loss_stops"),
        ("Loss is NaN, stopping training", "loss_stops"),
        ("WARNING: non-finite loss, ending training  tensor([nan, nan, nan, nan], device='cuda:0')", "loss_stops"),
        (
            "tensorflow.python.training.basic_session_run_hooks.NanLossDuringTrainingError: NaN loss during training.",
            "tensorflow_nan_loss",
        ),
        ("ERROR:tensorflow:Model diverged with loss = NaN.", "tensorflow_nan_loss"),
        ("Batch 12: Invalid loss, terminating training", "keras_terminates"),
        ("InvalidArgumentError: LossTensor is inf or nan. : Tensor had NaN values", "tensorflow_check"),
        ("ValueError: cannot convert float NaN to integer", "nan_to_integer"),
        ("ValueError: The loss returned in `training_step` is nan or inf.", "lightning_nan"),
        ("FloatingPointError: Loss became infinite or NaN at iteration=201!", "detectron_nan"),
        ("Minimum loss scale reached (0.0001). Your loss is probably exploding.", "scale_minimum_fairseq"),
        ("ValueError: Input contains infinity or a value too large for dtype('float64').", "sklearn_nan"),
        ("Spiky loss detected", "megatron_spike"),
        ("RuntimeWarning: overflow encountered in exp", "numpy_overflow"),
        ("torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 2.00 GiB", "out_of_memory"),
    ],
)
def test_messages_are_events(line, name):
    """The messages are those that trainers print when they give up."""
    run = read_log_text(f"step 1 loss 2.5 lr 0.1\n{line}\n")
    assert [(event.name, event.line) for event in run.events if event.kind == "message"] == [(name, 2)]


@each_case(
    ("text", "settings"),
    [
        ("Namespace(batch_size=32, epochs=90, lr=0.1, momentum=0.9, opt='sgd', fp16=True)", {"batch_size": 32, "lr": 0.1, "momentum": 0.9, "optimizer": "sgd", "dtype": "float16"}),
        ("  params_dtype .................................... torch.bfloat16", {"dtype": "bfloat16"}),
        ("  clip_grad ....................................... 1.0", {"clip": 1.0}),
        ('  "vocab_size": 32000,', {"classes": 32000}),
        ("optim: adamw_torch", {"optimizer": "adamw"}),
        ("AdamW (", {"optimizer": "adamw"}),
        ("  Total train batch size (w. parallel, distributed & accumulation) = 64", {"batch_size": 64}),
        ("  Instantaneous batch size per device = 8", {"batch_size": 8}),
        ("Using 16bit Automatic Mixed Precision (AMP)", {"dtype": "float16"}),
        ("python train.py --fp16 --lr 3e-4 --max_grad_norm 1.0", {"dtype": "float16", "lr": 3e-4, "clip": 1.0}),
        ("bf16: true", {"dtype": "bfloat16"}),
        ("fp16: false", {}),
        ("precision=16-mixed", {"dtype": "float16"}),
        ("loss_scale_window=1000, optimizer='adam', eps=1e-08", {"growth_interval": 1000, "optimizer": "adam", "eps": 1e-8}),
        ("all is well", {}),
    ],
)  # fmt: skip
def test_settings_are_read_from_configurations(text, settings):
    """Configurations are printed arguments, YAML, JSON, commands, and what Trainer prints first."""
    assert read_settings(text) == settings


def test_settings_of_the_run():
    """Read from the log are a constant learning rate, losses in bits, running means, and Hugging Face's filter of
    nan.
    """
    assert read_log_text("\n".join(f"step {s} loss {2 - s / 9:.3f} lr 0.1" for s in range(5))).settings["lr"] == 0.1
    assert (
        "lr"
        not in read_log_text(
            "lr=0.5, batch_size=4\n"
            + PRINTERS["nanogpt"]().text.replace("time", "lr 0.1, time", 1)
            + PRINTERS["mlx"]().text
        ).settings
    )
    assert read_log_text(PRINTERS["fairseq"]().text).settings["log2"] is True
    assert read_log_text(PRINTERS["keras 2"]().text).settings["running_mean"] is True
    assert read_log_text(PRINTERS["metric_logger"]().text).settings["running_mean"] is True
    hidden = read_log_text(PRINTERS["hf_trainer"]().text)
    assert hidden.settings["hidden_nan"] is True
    assert "final_train_loss" in hidden.series and hidden.series["loss"][-1].value == 0
    assert "hidden_nan" not in read_log_text(PRINTERS["megatron"]().text).settings


def test_records_without_steps_are_counted_by_the_interval_of_logging():
    """Steps are counted if the arguments are printed and the log has its beginning; otherwise the records have no
    step.
    """
    records = [f"{{'loss': {2.5 - i / 10:.4f}, 'learning_rate': 1e-05, 'epoch': {i / 10}}}" for i in range(1, 8)]
    run = read_log_text("\n".join(["TrainingArguments(fp16=True, logging_steps=25, optim=adamw_torch)", *records]))
    assert [record.step for record in run.series["loss"]] == list(range(25, 200, 25))
    assert run.settings["optimizer"] == "adamw" and run.settings["dtype"] == "float16"
    for lines in (records, ["logging_steps=25", *records[3:]]):
        assert {record.step for record in read_log_text("\n".join(lines)).series["loss"]} == {None}


@each_case(
    "line",
    [
        "Época {} - pérdida: {}",
        "エポック {} 損失: {}",
        "Эпоха {}, потери: {}",
        "époque {} | perte = {}",
        "에포크 {} 손실: {}",
        "第{}轮 损失 {}",
    ],
)
def test_logs_in_other_languages(line):
    """The loss and the epoch are recognised by their names in these languages."""
    run = read_log_text("\n".join(line.format(i, 2.5 - i / 10) for i in range(1, 9)))
    assert [record.value for record in run.series["loss"]][:2] == [2.4, 2.3]
    assert [record.step for record in run.series["loss"]][:2] == [1, 2]


def test_lines_that_stand_together_are_read_together():
    """Such are the heading of a validation, a printed data frame, and a configuration in JSON, which is no record."""
    run = read_log_text("loss: 2.30  [   64/60000]\nTest Error: \n Accuracy: 43.6%, Avg loss: 2.15 \n")
    assert (run.series["val_loss"][0].value, run.series["val_accuracy"][0].value) == (2.15, 43.6)
    run = read_log_text("before\n   step      loss    lr\n0     1  2.310000  0.1\n1     2       NaN  0.1\n")
    assert [record.step for record in run.series["loss"]] == [1, 2]
    run = read_log_text('{\n  "learning_rate": 5e-05,\n  "fp16": true\n}\nstep 1 loss 2.3\nstep 2 loss 2.2\n')
    assert run.series.keys() == {"loss"} and run.settings["lr"] == 5e-5 and not run.observations


def test_a_poisoned_mean_is_no_sign():
    """The mean of a gradient norm that keeps an old nan says nothing; the current value does."""
    healthy = PRINTERS["metric_logger"]().text.split("\n")[:8]
    run = read_log_text("\n".join(healthy))
    assert math.isnan(run.series["grad_norm_average"][0].value)
    assert not {str(each.sign) for each in run.observations}
    averages = "\n".join(f"Epoch: [0][{s:3d}/500]\tLoss {2 - s / 99:.4f} (nan)\tppl inf" for s in range(8))
    assert not read_log_text(averages).observations
    assert {"what:nan", "where:gradient"} <= {
        str(each.sign) for each in read_log_text(PRINTERS["metric_logger"]().text).observations
    }


_SICK_WHATEVER_IT_LEARNS = frozenset({
    "hf_trainer", "keras 2", "deepspeed", "deepspeed_step", "apex", "fairseq", "megatron all skipped", "metric_logger", "tensorflow_estimator",
    "detectron2", "megatron",
})  # fmt: skip
"""Printers that write nan, a message or a skipped update into every run."""


@pytest.mark.parametrize("name", sorted(PRINTERS.keys() - _SICK_WHATEVER_IT_LEARNS))
def test_a_healthy_run_is_silent_in_every_format(name, monkeypatch):
    """No sign of sickness, no restart, no skipped update: means with an old nan and regions without objects are healthy."""
    monkeypatch.setattr(log_printers, "LOSSES", _FINE)
    monkeypatch.setattr(log_printers, "PRINTED_RUN", tuple(zip(_FINE, (1.5,) * 10, log_printers.RATES, strict=True)))
    run = read_log_text(PRINTERS[name]().text)
    assert run.series
    assert {str(each.sign) for each in run.observations} <= set(_SETTINGS_OF_FORMATS)
    assert {event.kind for event in run.events} <= {"epoch"}


@each_case(("text", "start"), [("step {} loss 2.5 lr 0.1", True), ("step 1{} loss 2.5 lr 0.1", False)])
def test_the_beginning_of_a_run_is_known(text, start):
    """A log that begins within one interval of step 0 shows the beginning."""
    assert read_log_text("\n".join(text.format(f"{s:04d}") for s in range(10, 100, 10))).from_start is start


def test_the_excerpt_has_the_lines_that_matter():
    """It has the log's ends, the first nan with three lines before it, and messages, and its length is limited."""
    lines = [f"step {s} loss {2 - s / 2000:.4f} lr 0.001" for s in range(3000)]
    lines[1700] = "step 1700 loss nan lr 0.001"
    lines[700] = "step 700 loss 9.5 lr 0.001"
    lines[2000] = "RuntimeWarning: overflow encountered in exp"
    run = read_log_text("\n".join(lines))
    assert {1, 2, 3000, 1698, 1699, 1700, 1701, 700, 701, 702, 2001} <= run.excerpt.keys()
    assert len(run.excerpt) <= 400
    assert run.excerpt[1701] == "step 1700 loss nan lr 0.001"


def test_each_row_of_the_table_of_formats_is_printed_here():
    """Each format that is recognised has a sample in these tests."""
    printed = {name.split()[0] for name in PRINTERS}
    assert {form.id for form in formats.TRAINER_LOG_FORMATS} - printed == {"darknet_region"}


_PIECES = st.sampled_from(
    [
        *(make().text[:600] for make in PRINTERS.values()),
        "\r", "\n", "\b", "nan", "loss: ", "'loss': ", "| ", "1e999", "\x1b[31m", "{", "Traceback (most recent call last):\n",
        "-" * 20 + "\n", "| a | 1 |\n", "Epoch 1/2\n", "epoch,loss\n", "第", "1,000,000", "[batch=1/2]:\n", "(", ": " * 50,
    ]
)  # fmt: skip


@given(st.lists(_PIECES | st.text(max_size=30), max_size=12).map("".join))
def test_any_text_is_read(text):
    """No mixture of lines raises an error; records have line numbers within the text."""
    run = read_log_text(text)
    lines = text.count("\n") + 1
    assert run.lines_read <= run.lines <= lines
    for records in run.series.values():
        assert all(record.line is not None and 1 <= record.line <= lines for record in records)
    assert all(1 <= number <= lines for number in run.excerpt)


@pytest.mark.parametrize(
    "unit", ["a" * 50, "1" * 50, "loss: ", "1,", "(", "[31m", "{'", " | ", "nan ", "a=1 ", "\x1b[", "第1", "- ", ". "]
)
def test_work_grows_with_the_length_of_a_line_at_most_linearly(unit, monkeypatch):
    """Work is counted as the names looked up and the numbers converted, not in seconds."""
    counts = []
    original = pairs.parse_value
    for factor in (1, 4):
        calls = []
        monkeypatch.setattr(
            pairs, "parse_value", lambda word, calls=calls: (calls.append(len(word)), original(word))[1]
        )
        text = unit * (400 * factor // len(unit) * 10)
        read_pairs(text)
        strip_prefixes(strip_colours(text))
        counts.append(sum(calls))
    assert counts[1] <= 5 * counts[0] + 100


def _values(line, key):
    return [point.value for point in read_log_text(f"{line}\n").series.get(key, ())]


@each_case(
    ("line", "key", "value"),
    [
        ("Epoch: 03 | Train Loss: 0.4123 | Train Acc: 84.12% | Val. Loss: 0.5123 |  Val. Acc: 81.23%", "loss", 0.4123),
        (
            "Epoch: 03 | Train Loss: 0.4123 | Train Acc: 84.12% | Val. Loss: 0.5123 |  Val. Acc: 81.23%",
            "val_loss",
            0.5123,
        ),
        ("epoch: 1 step: 1875, loss is 2.3025", "loss", 2.3025),
        ("Validation loss 6312:  0.149928  ", "val_loss", 0.149928),
        ("[100]\tvalid_0's binary_logloss: 0.43121", "val_loss", 0.43121),
        ("[10]\ttrain-logloss:0.61231\teval-logloss:0.63123", "loss", 0.61231),
        ("에폭 3/10 - 손실: 0.7123 - 검증 손실: 0.8123", "val_loss", 0.8123),
        ("迭代次数: 100, 损失值: 1.2312, 学习率: 0.001", "loss", 1.2312),
    ],
)
def test_more_ways_to_write_a_loss_are_read(line, key, value):
    assert _values(line, key) == [value]


def test_prose_about_a_loss_is_none():
    assert _values("After 3 epochs I think that my loss is 2.3 or so", "loss") == []
