# ruff: noqa: E501 - files in a line
"""Files of every kind are recognised by content and read as runs; damaged and hostile ones give a clear error."""

import gzip
import io
import json
import math
import struct
from itertools import pairwise

import pytest
from checking import each_case
from hypothesis import given
from hypothesis import strategies as st
from log_printers import PRINTERS
from tensorboardX import FileWriter
from tensorboardX.proto.event_pb2 import Event
from tensorboardX.proto.summary_pb2 import Summary
from tensorboardX.proto.tensor_pb2 import TensorProto
from tensorboardX.summary import scalar

from qa_service.diagnosis import event_file, reading, selection
from qa_service.diagnosis.reading import read_log_text, read_run_file, read_training_run
from qa_service.errors import UnreadableRun

LOG = PRINTERS["plain llm.c"]().text
HISTORY = [
    {"epoch": 0.1 * i, "step": 10 * i, "loss": 2.5 - i / 10 if i < 8 else math.nan, "learning_rate": 1e-5, "grad_norm": 1.0 + i}
    for i in range(1, 10)
] + [{"epoch": 0.9, "step": 90, "eval_loss": math.nan, "eval_runtime": 3.1}, {"epoch": 0.9, "step": 90, "train_loss": 2.0, "train_runtime": 9.0}]  # fmt: skip


def _values(run, key):
    return [(record.step, record.line, record.value) for record in run.series[key]]


# JSON


def test_trainer_state():
    """Read are the records of log_history and the settings; the mean loss of the whole run is a series of its own."""
    state = {"best_metric": None, "log_history": HISTORY, "max_steps": 90, "logging_steps": 10, "train_batch_size": 4}
    for text in (json.dumps(state, indent=2), json.dumps(state)):
        run = read_training_run(text.encode(), "trainer_state.json")
        assert run.format == "trainer_state" and run.name == "trainer_state.json"
        assert _values(run, "loss")[:2] == [(10, None, 2.4), (20, None, 2.3)]
        assert math.isnan(run.series["loss"][-1].value)
        assert run.series["lr"][0].value == run.settings["lr"] == 1e-5
        assert len(run.series["val_loss"]) == 1 and "final_train_loss" in run.series
        assert run.settings["batch_size"] == 4
        assert run.from_start
        assert {"what:nan", "where:loss", "when:later"} <= {str(each.sign) for each in run.observations}


def test_a_torn_trainer_state_is_read_as_far_as_it_goes():
    """The file is cut in the middle, with and without indentation."""
    for indent in (2, None):
        text = json.dumps({"log_history": HISTORY}, indent=indent)
        run = read_training_run(text[: int(0.7 * len(text))].encode())
        assert len(run.series["loss"]) >= 4, indent


@each_case(
    "document",
    [
        [{"step": 1, "loss": 2.5}, {"step": 2, "loss": "NaN"}],
        {"history": {"step": [1, 2], "loss": [2.5, math.nan]}},
        {"loss": [2.5, math.nan], "step": [1, 2]},
        {"train": [{"step": 1, "loss": 2.5}, {"step": 2, "loss": math.nan}]},
        [
            {"_step": 1, "train": {"loss": 2.5}},
            {"_step": 2, "train": {"loss": None}},
            {"_step": 2, "train": {"loss": "nan"}},
        ],
    ],
)
def test_records_and_columns_of_json(document):
    """Tested are lists of records, columns as Keras stores them, nested names, numbers as strings, and null."""
    run = read_training_run(json.dumps(document).encode())
    steps = [record.step for record in run.series["loss"]]
    assert steps == [1, 2]
    assert run.series["loss"][0].value == 2.5 and math.isnan(run.series["loss"][1].value)


def test_curves_of_tensorboard_json_are_named_by_their_file():
    """The file is a list of (time, step, value); if its name tells no quantity, the series is "value"."""
    curve = json.dumps([[1.7e9, 1, 2.5], [1.7e9, 2, math.nan]]).encode()
    assert [record.step for record in read_training_run(curve, "run_1-tag-train_loss.json").series["loss"]] == [1, 2]
    assert read_training_run(curve, "curve.json").series.keys() == {"value"}


def test_lines_of_json_keep_their_numbers_among_other_lines():
    """Records keep their line numbers beside blank lines, prose and a truncated last line."""
    lines = [
        "# run 7",
        *(json.dumps({"iter": i, "mode": "train", "loss": 2 - i / 10, "lr": 0.1}) for i in range(1, 8)),
        "",
    ]
    lines += [json.dumps({"iter": 7, "mode": "val", "loss": 1.5}), '{"iter": 8, "loss": 1.']
    run = read_training_run("\n".join(lines).encode())
    assert _values(run, "loss")[0] == (1, 2, 1.9)
    assert [record.value for record in run.series["val_loss"]] == [1.5]
    assert run.format == "jsonl"


# tables


def test_csv_of_many_kinds():
    """Tested are W&B with run names and extremes, Lightning with empty cells, Ultralytics with padded names, and
    semicolons.
    """
    wandb = '"Step","brisk-sun-1 - train/loss","brisk-sun-1 - train/loss__MIN","brisk-sun-1 - train/loss__MAX"\n"1","2.5","2.5","2.5"\n"2","NaN","NaN","NaN"\n'
    run = read_training_run(wandb.encode())
    assert (run.format, list(run.series)) == ("csv", ["loss"])
    assert _values(run, "loss")[0] == (1, 2, 2.5) and math.isnan(run.series["loss"][1].value)
    lightning = "epoch,step,train_loss,val_loss\n0,49,2.5,\n0,49,,2.25\n1,99,inf,\n"
    run = read_training_run(lightning.encode())
    assert _values(run, "loss") == [(49, 2, 2.5), (99, 4, math.inf)]
    assert _values(run, "val_loss") == [(49, 3, 2.25)]
    yolo = "                  epoch,         train/box_loss,           lr/pg0\n                      1,                 1.8340,          0.00332\n"
    run = read_training_run(yolo.encode())
    assert run.series["train/box_loss"][0].value == 1.834 and run.series["lr"][0].value == 0.00332
    assert run.series["lr"][0].step == 1 and run.settings["step_unit"] == "epoch"
    history = "_step;_timestamp;train/loss;train/grad_norm\n1;1.7e9;2.5;nan\n"
    assert math.isnan(read_training_run(history.encode()).series["grad_norm"][0].value)
    tsv = "step\tloss\tlr\n1\t1,234.5\t0.1\n"
    assert read_training_run(tsv.encode()).series["loss"][0].value == 1234.5


def test_csv_of_tensorboard():
    """The columns are Wall time, Step and Value; the name of the file tells which quantity it is."""
    table = b"Wall time,Step,Value\n1.7e9,0,2.5\n1.7e9,10,NaN\n"
    assert [record.step for record in read_training_run(table, "run-train-tag-loss.csv").series["loss"]] == [0, 10]
    assert read_training_run(table).series.keys() == {"value"}


def test_a_table_with_bad_rows_is_read_without_them():
    """Bad rows are too short, have text in a column of numbers, or repeat the header."""
    run = read_training_run(b"step,loss,lr\n1,2.5,0.1\n2\n3,oops,0.1\nstep,loss,lr\n4,2.25,0.1\n")
    assert _values(run, "loss") == [(1, 2, 2.5), (4, 6, 2.25)]


# event files


def _event_file(tmp_path, scalars):
    writer = FileWriter(str(tmp_path))
    for step, tag, value in scalars:
        writer.add_summary(scalar(tag, value), step)
    writer.close()
    return next(tmp_path.glob("events.out.*")).read_bytes()


def test_event_files_of_an_independent_writer(tmp_path):
    """Every scalar is read with its step, under the key that its tag means."""
    scalars = [(step, tag, value) for step in range(8) for tag, value in (("train/loss", 2.5 - step / 8), ("lr", 0.25))]
    data = _event_file(tmp_path, [*scalars, (8, "train/loss", math.nan), (-1, "odd", 1.5)])
    run = read_training_run(data, "events.out.tfevents.1")
    assert run.format == "event_file"
    assert _values(run, "loss")[:2] == [(0, None, 2.5), (1, None, 2.375)]
    assert math.isnan(run.series["loss"][8].value)
    assert run.series["odd"][0].step == -1
    assert run.settings["lr"] == 0.25 and not run.cut and run.from_start
    assert read_training_run(gzip.compress(data)).series["lr"] == run.series["lr"]


def _framed(event):
    data = event.SerializeToString()
    return struct.pack("<QI", len(data), 0) + data + struct.pack("<I", 0)


def test_event_files_with_tensors_as_tensorflow_2_writes():
    """Tensors hold raw bytes or numbers of either width, with shapes of size one; images and histograms are skipped."""
    tensors = {
        "content": TensorProto(dtype=1, tensor_content=struct.pack("<f", 1.5)),
        "float": TensorProto(dtype=1, float_val=[2.5]),
        "double": TensorProto(dtype=2, double_val=[math.inf]),
        "integer": TensorProto(dtype=9, int64_val=[7]),
        "negative": TensorProto(dtype=9, int64_val=[-4]),
        "negative 32": TensorProto(dtype=3, int_val=[-3]),
        "text": TensorProto(dtype=7, string_val=[b"hello"]),
    }
    single = TensorProto(dtype=1, float_val=[4.5])
    single.tensor_shape.dim.add().size = 1
    vector = TensorProto(dtype=1, tensor_content=struct.pack("<2f", 1.5, 2.5))
    vector.tensor_shape.dim.add().size = 2
    values = [
        Summary.Value(tag=tag, tensor=tensor)
        for tag, tensor in (tensors | {"single": single, "vector": vector}).items()
    ]
    data = _framed(Event(file_version="brain.Event:2")) + _framed(Event(step=3, summary=Summary(value=values)))
    found = event_file.read_event_file(io.BytesIO(data))
    assert {each.tag: each.value for each in found.scalars} == {
        "content": 1.5, "float": 2.5, "double": math.inf, "integer": 7, "negative": -4, "negative 32": -3,
        "single": 4.5,
    }  # fmt: skip
    assert {each.step for each in found.scalars} == {3}


def test_a_torn_event_file_is_read_as_far_as_it_goes(tmp_path):
    """Truncated at any length, it gives no error and no more records than it has."""
    data = _event_file(tmp_path, [(step, "loss", 2.0) for step in range(5)])
    whole = len(read_training_run(data).series["loss"])
    for length in range(60, len(data)):
        run = read_training_run(data[:length])
        assert len(run.series.get("loss", ())) <= whole
    assert read_training_run(data[:-3]).cut


def test_many_scalars_are_thinned_but_no_nan_is_lost(monkeypatch):
    """Beyond a limit every second value is dropped, but none that is not finite."""
    monkeypatch.setattr(event_file, "MAX_SCALARS", 50)
    events = [
        Event(step=s, summary=Summary(value=[Summary.Value(tag="loss", simple_value=math.nan if s == 333 else 2.0)]))
        for s in range(500)
    ]
    data = _framed(Event(file_version="brain.Event:2")) + b"".join(map(_framed, events))
    found = event_file.read_event_file(io.BytesIO(data))
    assert len(found.scalars) <= 101 and found.cut
    assert [each.step for each in found.scalars if math.isnan(each.value)] == [333]


# text, encodings, compression


@each_case("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be"])
def test_encodings_of_unicode(encoding):
    """The encodings are tested with and without a byte order mark."""
    run = read_training_run(LOG.encode(encoding))
    assert run.series["loss"][0] == (1, 1, 2.4113)
    assert run.lines == LOG.count("\n")


@each_case(("encoding", "prose"), [("gb18030", "开始训练：损失会打印在下面，请稍候"), ("latin-1", "Début de l'entraînement, époque numéro 1"), ("shift_jis", "学習を開始します")])  # fmt: skip
def test_older_encodings(encoding, prose):
    """Numbers are read whatever the encoding of the prose."""
    run = read_training_run((prose + "\n" + LOG).encode(encoding))
    assert run.series["loss"][0] == (1, 2, 2.4113)


def test_keys_in_gbk_are_read():
    """损失 in GBK."""
    text = "\n".join(f"轮次: {i} 损失: {2 - i / 10} 学习率: 0.1" for i in range(1, 9))
    assert len(read_training_run(text.encode("gbk")).series["loss"]) == 8


def test_gzip_of_each_kind(tmp_path):
    """Any kind of file may be compressed, with trailing garbage too; a truncated file is read up to its end."""
    assert str(read_training_run(gzip.compress(LOG.encode())).series) == str(read_training_run(LOG.encode()).series)
    state = json.dumps({"log_history": HISTORY}).encode()
    assert read_training_run(gzip.compress(state)).format == "trainer_state"
    many = "\n".join(f"step {s} loss {2 + math.sin(s):.6f} lr {1 / (s + 1):.9f}" for s in range(4000)).encode()
    torn = read_training_run(gzip.compress(many)[:-4000])
    assert torn.cut and len(torn.series["loss"]) > 100


@each_case(
    "data",
    [
        b"", b" \n\t\n", b"\0" * 100, gzip.compress(b""), b"PK\x03\x04" + b"x" * 100, b"\x89PNG\r\n" + bytes(range(256)),
        b"\x80\x04\x95" + b"a" * 50, bytes(range(256)) * 20, b"\x1f\x8b\x08\x00garbage that is no gzip", b"BZh91AY&SY",
        b"x" * 257 + b"ustar" + b"y" * 300, b"\x7fELF" + b"\0" * 60,
    ],
)  # fmt: skip
def test_what_is_no_log_is_refused_in_both_languages(data):
    """For empty, binary, archived or damaged files the message says what the file is and what can be read."""
    with pytest.raises(UnreadableRun) as caught:
        read_training_run(data)
    assert caught.value["zh"] and caught.value["en"] and caught.value["zh"] != caught.value["en"]
    assert caught.value.status == 422 and caught.value.code == "unreadable_run"


def test_a_file_that_cannot_be_opened_or_is_too_large(tmp_path, monkeypatch):
    """Tested with a folder, a missing file and a huge file."""
    for path in (tmp_path, tmp_path / "none.log"):
        with pytest.raises(UnreadableRun):
            read_run_file(path)
    monkeypatch.setattr(reading, "MAX_RUN_FILE_BYTES", 10)
    (tmp_path / "big.log").write_text(LOG)
    with pytest.raises(UnreadableRun, match="MB"):
        read_run_file(tmp_path / "big.log")


def test_prose_alone_is_a_run_without_series():
    """No value is read from prose."""
    run = read_log_text("why is my loss nan?\nPlease help.\n")
    assert (run.series, run.lines_read, run.lines) == ({}, 0, 2)
    assert read_log_text("").lines == 0


def test_a_trace_is_told_by_its_first_line_compressed_or_not():
    trace = b'{"schema": "numstab-trace/1", "columns": {"s": ["loss"]}}\n{"t": 0, "s": [2.5]}\n'
    for data in (trace, gzip.compress(trace)):
        run = read_training_run(data, "run.jsonl")
        assert (run.source, run.name, run.series["loss"][0].value) == ("trace", "run.jsonl", 2.5)


# long files


@pytest.mark.parametrize("share", [0.1, pytest.param(1, marks=pytest.mark.exhaustive)])
def test_long_files_are_read_at_the_ends_in_samples_and_where_they_matter(tmp_path, monkeypatch, share):
    """Memory is bounded, and the first nan, messages and a traceback in the middle are found with their lines.

    `make test` uses a tenth of the lines with a tenth of the limits, to save time.
    """
    for bound in ("LOG_CHUNK_BYTES", "END_BYTES", "END_PIECES", "SAMPLED_PIECES"):
        monkeypatch.setattr(selection, bound, int(share * getattr(selection, bound)))
    total, nan, skipped, torn = (int(share * number) for number in (150_000, 70_000, 80_000, 90_000))
    lines = [f"step {s} loss {2 + math.sin(s) / 9:.5f} lr 0.001 grad_norm 1.25 (nan)" for s in range(total)]
    lines[nan] = f"step {nan} loss nan lr 0.001 grad_norm 1.25 (nan)"
    lines[skipped] = "[deepspeed] OVERFLOW! Rank 0 Skipping step. Attempted loss scale: 65536, reducing to 32768"
    lines[torn : torn + 3] = [
        "Traceback (most recent call last):",
        '  File "a.py", line 1',
        "ZeroDivisionError: float division by zero",
    ]
    path = tmp_path / "train.log"
    path.write_text("\n".join(lines))
    run = read_run_file(path)
    assert run.cut and run.lines == total and run.lines_read < 0.6 * total
    bad = [record for record in run.series["loss"] if not math.isfinite(record.value)]
    assert [(record.line, record.step) for record in bad] == [(nan + 1, nan)]
    assert {nan - 2, nan - 1, nan, nan + 1} <= run.excerpt.keys()
    assert [event.line for event in run.events if event.kind == "skipped_update"] == [skipped + 1]
    assert [event.name for event in run.events if event.kind == "traceback"] == ["ZeroDivisionError"]
    numbers = [record.line for record in run.series["loss"]]
    assert numbers == sorted(set(numbers)) and numbers[0] == 1 and numbers[-1] == total
    gaps = [after - before for before, after in pairwise(numbers)]
    assert max(gaps) < 0.4 * total
    assert all(
        lines[number - 1].split()[1] == str(record.step)
        for number, record in zip(numbers, run.series["loss"], strict=True)
    )


def test_the_selection_is_bounded(monkeypatch):
    """The limit holds however many and however long the lines are, and no line is selected twice."""
    monkeypatch.setattr(selection, "END_PIECES", 300)
    monkeypatch.setattr(selection, "SAMPLED_PIECES", 500)
    monkeypatch.setattr(selection, "LOG_CHUNK_BYTES", 4096)
    text = "".join(f"step {s} loss nan\n" for s in range(60_000)).encode()
    chosen = selection.select_lines(io.BytesIO(text))
    numbers = [number for number, _ in chosen.pieces]
    assert chosen.total == 60_000 and chosen.cut
    assert len(numbers) < 2500 and numbers == sorted(set(numbers))
    assert all(piece == f"step {number - 1} loss nan".encode() for number, piece in chosen.pieces)


def test_one_endless_line():
    """A file without line breaks is a progress bar, or JSON on one line."""
    run = read_training_run(b"loss: 2.5 " * 100_000)
    assert run.cut and run.lines == 1
    bar = "".join(f"\r{s % 100}%|#| {s}/200000 [00:01<00:01, 1.00it/s, loss={2 + s / 1e6:.6f}]" for s in range(30_000))
    run = read_training_run(bar.encode())
    steps = [record.step for record in run.series["loss"]]
    assert steps == sorted(steps) and steps[-1] == 29_999 and {record.line for record in run.series["loss"]} == {1}
    records = ", ".join(json.dumps({"step": s, "loss": 2.5}) for s in range(2000))
    torn = read_training_run(f"[{records}".encode())
    assert len(torn.series["loss"]) == 2000


def test_a_document_too_large_for_a_tree_is_read_by_records(monkeypatch):
    """A JSON file too large to be parsed as a whole gives the same values when its records are parsed one by one."""
    monkeypatch.setattr(reading, "MAX_JSON_BYTES", 2000)
    records = [{"step": s, "loss": 2.5, "lr": 0.1} for s in range(500)]
    run = read_training_run(json.dumps(records).encode())
    assert [record.step for record in run.series["loss"]] == list(range(500))


def test_a_bomb_is_read_up_to_a_bound(monkeypatch):
    """A compressed file that would inflate without end is read up to a limit."""
    monkeypatch.setattr(selection, "MAX_READ_BYTES", 1 << 18)
    run = read_training_run(gzip.compress(b"step 1 loss 2.5 lr 0.1\n" * 100_000))
    assert run.cut and run.lines < 25_000


class _Counting(io.BytesIO):
    """A file that counts the bytes read from it."""

    read_bytes = 0

    def read(self, size=-1):
        data = super().read(size)
        self.read_bytes += len(data)
        return data


def test_a_file_is_read_once():
    """Work grows linearly: each byte of a long file is read once, besides the head."""
    for count in (2_000, 200_000):
        stream = _Counting(b"step 1 loss 2.5 lr 0.1\n" * count)
        selection.select_lines(stream)
        assert stream.read_bytes == 23 * count


_FILES = st.sampled_from(
    [
        LOG.encode(), json.dumps({"log_history": HISTORY}).encode(), b"step,loss\n1,2.5\n", b"\x1f\x8b\x08", b"\xff\xfe",
        b'{"loss": 1}\n', b"brain.Event:2", struct.pack("<QI", 24, 0), b"[" * 2000, b'{"a":' * 500, b"\r\r\r", b"\x00", b"epoch\tloss\n",
        gzip.compress(LOG.encode()), LOG.encode("utf-16"), b"nan,inf," * 30, b"1e9999,",
    ]
)  # fmt: skip


@given(st.lists(_FILES | st.binary(max_size=60), max_size=6).map(b"".join))
def test_any_bytes_give_a_run_or_a_clear_error(data):
    """No other error is raised, and every record has a line number within the file."""
    try:
        run = read_training_run(data)
    except UnreadableRun as error:
        assert error["zh"] and error["en"]
        return
    for records in run.series.values():
        assert all(record.line is None or 1 <= record.line <= run.lines for record in records)
    assert run.lines_read <= run.lines or run.lines == 0


@given(st.binary(max_size=400))
def test_any_bytes_after_the_head_of_an_event_file(data):
    """Damaged records are skipped or end the reading."""
    found = event_file.read_event_file(io.BytesIO(_framed(Event(file_version="brain.Event:2")) + data))
    assert len(found.scalars) <= len(data)
