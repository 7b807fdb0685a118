"""Trace files from untrusted sources: what is read, what is skipped, what is refused."""

import gzip
import json
import math
import random
from typing import Any

import pytest
import torch
from checking import each_case
from hypothesis import given
from hypothesis import strategies as st
from numstab_watch import watch

from qa_service.diagnosis import trace_file
from qa_service.diagnosis.trace_file import read_trace
from qa_service.errors import BadTrace

HEADER: dict[str, Any] = {
    "schema": "numstab-trace/1",
    "columns": {
        "s": ["loss", "grad_norm", "lr", "loss_scale", "skipped"],
        "p": ["grad_rms", "weight_rms", "update_rms"],
    },
    "parameters": [
        {"name": "fc.weight", "shape": [3, 4], "dtype": "bfloat16", "trained": True, "held": True, "rms": 0.5}
    ],
    "optimizers": [{"class": "AdamW", "groups": [{"lr": 0.001, "betas": [0.9, 0.95], "eps": 1e-8}]}],
    "batch": 32,
}


def packed(*rows: Any, header: Any = HEADER) -> bytes:
    return gzip.compress("\n".join(json.dumps(each) for each in (header, *rows)).encode() + b"\n")


@pytest.fixture(scope="module")
def recorded(tmp_path_factory):
    """A trace of a real training with a nan at step 20."""
    path = tmp_path_factory.mktemp("trace") / "trace.jsonl.gz"
    torch.manual_seed(0)
    model = torch.nn.Sequential(torch.nn.Linear(4, 8), torch.nn.ReLU(), torch.nn.Linear(8, 2))
    optimizer = torch.optim.SGD(model.parameters(), 0.1)
    with watch(model, optimizer, path=path) as recording:
        for step in range(40):
            optimizer.zero_grad()
            x = torch.randn(8, 4) * (math.nan if step == 20 else 1)
            torch.nn.functional.cross_entropy(model(x), torch.zeros(8, dtype=torch.long)).backward()
            optimizer.step()
        recording.log(val_loss=0.25)
    return path.read_bytes()


def test_a_recorded_run_is_read(recorded):
    run = read_trace(recorded)
    assert run.source == "trace"
    assert run.from_start
    assert not run.cut
    losses = run.series["loss"]
    assert [record.step for record in losses] == [*range(40)]
    assert [math.isnan(record.value) for record in losses] == [step >= 20 for step in range(40)]
    assert run.series["val_loss"][0].value == 0.25
    assert run.settings["optimizer"] == "SGD"
    assert run.settings["classes"] == 2
    assert run.module_classes["1"] == "ReLU"
    assert ("alarm_loss", 20) in [(event.name, event.step) for event in run.events]
    facts = [record for record in run.layers if record.step == -1]
    assert facts[0].layer == "0.weight"
    assert facts[0].values["fan_in"] == 4
    kinds = {(record.step, record.kind) for record in run.layers}
    assert {(0, "parameter"), (0, "module"), (2, "module")} <= kinds


def test_values_have_the_names_of_the_header():
    run = read_trace(packed({"t": 3, "s": [2.5, "Infinity", 0.1, 1024, 1]}, {"t": 3, "p": [[0.1, 0.5, 0.05]]}))
    assert run.series["loss"][0].value == 2.5
    assert "grad_norm" not in run.series  # of a skipped update
    assert run.events[0].kind == "skipped_update"
    record = run.layers[-1]
    assert (record.step, record.layer, record.values["update_ratio"]) == (3, "fc.weight", pytest.approx(0.1))
    assert run.settings["beta2"] == 0.95
    assert not run.from_start


def test_the_operation_at_fault_is_read():
    fault = {"operation": "log", "phase": "forward", "value": "-Infinity", "operands": ["float32 (8,), 0 … 1", 3]}
    run = read_trace(packed({"t": 7, "fault": fault}))
    assert run.fault is not None
    assert (run.fault.operation, run.fault.value, run.fault.step) == ("log", -math.inf, 7)
    assert run.fault.operands == ("float32 (8,), 0 … 1", "")


@pytest.mark.parametrize("share", [0.3, 0.6, 0.9, 0.99])
def test_what_is_there_of_a_cut_file_is_read(recorded, share):
    run = read_trace(recorded[: int(share * len(recorded))])
    assert run.cut
    plain = gzip.decompress(recorded)
    run = read_trace(plain[: int(share * len(plain))])
    assert run.cut
    assert run.series["loss"]


def test_members_one_after_the_other_are_one_file():
    data = packed({"t": 0, "s": [1.0]}) + gzip.compress(b'{"t": 1, "s": [2.0]}\n')
    assert [record.value for record in read_trace(data).series["loss"]] == [1.0, 2.0]


@each_case(
    ("data", "words"),
    [
        (b"", "not a trace"),
        (b"step 1 loss 2\n", "not a trace"),
        (b"[" * 100_000, "not a trace"),
        (b'{"a":' * 100_000, "not a trace"),
        (gzip.compress(b"\x00\xff" * 50), "not a trace"),
        (b"\x1f\x8b" + b"x" * 50, "not a trace"),
        (packed(header={"schema": 1}), "not a trace"),
        (packed(header={"schema": "numstab-trace/2"}), "unknown format"),
        (gzip.compress(b" " * 61_000_000, 1), "too large"),
        (packed(*[{"t": 1}] * 5001), "5001 rows"),
        (packed(header=HEADER | {"parameters": [{}] * 2001}), "2001 tensors"),
        (b"\x1f\x8b" + random.Random(0).randbytes(5_000_001), "too large"),
    ],
)
def test_what_is_no_trace_or_too_large_is_refused(data, words):
    with pytest.raises(BadTrace, match=words) as caught:
        read_trace(data)
    assert caught.value["zh"] != caught.value["en"]
    assert caught.value.status == 422


def test_a_bomb_is_not_inflated(monkeypatch):
    """Of a compressed file no more than the limit is inflated."""
    monkeypatch.setattr(trace_file, "MAX_TRACE_BYTES", 1000)
    with pytest.raises(BadTrace, match="too large"):
        read_trace(gzip.compress(b"x" * 50_000_000, 1))


WRONG = [
    {"t": 1, "s": "text"}, {"t": 1, "s": [None, [], {}, "x", True]}, {"t": 1, "p": [1, None, ["a"], [[1]]]},
    {"t": 1, "m": []}, {"t": 1, "m": {"a": 3, "b": {"rms": "nan", "max": [1], "x": 1e308}}}, {"t": -1, "s": [1]},
    {"t": True, "s": [1]}, {"t": 1.5, "s": [1]}, {"t": "1"}, {"s": [1]}, [], 3, None, "x", {"t": 10**30, "s": [1]},
    {"t": 1, "fault": {"value": 3}}, {"t": 1, "fault": {"value": "NaN", "phase": "sideways"}}, {"t": 1, "alarm": 3},
    {"t": 1, "x": {"a\x00b": 1, "c": None}}, {"t": 1, "end": ["x"]}, {"t": 1, "note": "\ud800"},
    {"t": 1, "s": [10**400]},
]  # fmt: skip


@each_case("row", WRONG)
def test_rows_of_wrong_types_are_passed_over(row):
    run = read_trace(packed(row, {"t": 2, "s": [4.0]}))
    assert run.series["loss"][-1].value == 4.0
    assert run.fault is None


@each_case(
    ("cell", "value"),
    [
        ("2.5", 2.5), ("3", 3.0), ("-0.0", 0.0), ("1e400", math.inf), ("NaN", math.nan), ("-Infinity", -math.inf),
        ("1" + "0" * 400, math.inf), ("-1" + "0" * 400, -math.inf), ('"NaN"', math.nan), ('"Infinity"', math.inf),
        ('"-Infinity"', -math.inf), ("true", 1.0), ("false", 0.0), ("null", None), ('"nan"', None), ('"2.5"', None),
        ('" NaN"', None), ('"\\ud800"', None), ("[2.5]", None), ("{}", None), ("[" * 300 + "]" * 300, None),
    ],
)  # fmt: skip
def test_a_cell_is_a_number_or_left_out(cell, value):
    """Whatever it is, the cells beside it are read, in every kind of row."""
    lines = [
        json.dumps(HEADER | {"columns": {"s": ["grad_norm", "loss", "lr"], "p": ["zero", "tiny", "agree"]}}),
        f'{{"t": 1, "s": [0.5, {cell}, 1]}}',
        f'{{"t": 2, "p": [[0.5, {cell}, 1]]}}',
        f'{{"t": 3, "m": {{"a": {{"rms": 0.5, "max": {cell}, "zero": 1}}}}}}',
        f'{{"t": 4, "x": {{"first": 0.5, "val_loss": {cell}, "last": 1}}}}',
        f'{{"t": 5, "fault": {{"operation": "log", "phase": "forward", "value": {cell}}}}}',
    ]
    run = read_trace("\n".join(lines).encode() + b"\n")
    parameter, module = run.layers[-2:]
    read = [
        *([record.value for record in run.series.get(key, ())] for key in ("loss", "val_loss")),
        *([each.values[key]] if key in each.values else [] for each, key in ((parameter, "tiny"), (module, "max"))),
        [run.fault.value] if run.fault else [],
    ]
    assert read == [[] if value is None else [pytest.approx(value, nan_ok=True)]] * 5
    beside = [run.series[key][0].value for key in ("grad_norm", "lr", "first", "last")]
    beside += [parameter.values["zero"], parameter.values["agree"], module.values["rms"], module.values["zero"]]
    assert beside == [0.5, 1.0] * 4
    assert not run.cut


ROWS_WITHOUT_A_STEP = [
    '{"s": [1]}', '{"t": null, "s": [1]}', '{"t": true, "s": [1]}', '{"t": 1.0, "s": [1]}', '{"t": "1", "s": [1]}',
    '{"t": -1, "s": [1]}', '{"t": 9007199254740992, "s": [1]}', '{"t": [1], "p": [[1]]}', '{"t": {}, "m": {"a": {}}}',
    '{"t": 1, "s": [1', '{"t": 1, "s": [1]} 2', '{"t": 1, "s": [01]}', '[{"t": 1, "s": [1]}]', '"t"', "null", "{}",
    '{"t": 1, "s": [1' + "0" * 5000 + "]}", "{'t': 1}", '{"t": 1, "note": "a\tb"}', "[" * 100_000,
]  # fmt: skip


@each_case("line", ROWS_WITHOUT_A_STEP)
def test_a_row_without_a_step_is_left_out_and_said(line):
    run = read_trace("\n".join([json.dumps(HEADER), line, '{"t": 2, "s": [4.0]}']).encode() + b"\n")
    assert run.cut
    assert [(record.step, record.value) for record in run.series["loss"]] == [(2, 4.0)]
    assert (len(run.layers), run.events, run.lines, run.lines_read) == (1, (), 3, 2)


@each_case(
    ("row", "kind"),
    [
        ({"s": [4.0], "p": [[1]], "note": "x"}, "loss"),
        ({"s": {}, "p": [[1]], "m": {"a": {}}}, "parameter"),
        ({"s": 1, "p": {}, "m": {"a": {}}, "x": {"y": 1}}, "module"),
        ({"s": None, "p": 1, "m": [], "x": {"y": 1}, "note": "x"}, "y"),
        ({"s": "", "p": "", "m": "", "x": [], "note": "seen"}, "seen"),
        ({"fault": [], "alarm": "loss", "note": "seen"}, "alarm_loss"),
        ({"fault": {"phase": "forward"}, "alarm": "loss"}, ""),
        ({"fault": {"phase": [], "value": 1}, "alarm": "loss"}, ""),
        ({"alarm": None, "note": 3, "error": "failed", "end": "exit"}, "recorder_error"),
        ({"error": {}, "end": "exception ValueError"}, "ValueError"),
        ({"end": "exit"}, "end"),
        ({"end": 1, "of a later recorder": [1]}, ""),
    ],
)
def test_a_row_is_of_the_first_kind_whose_value_has_its_type(row, kind):
    run = read_trace(packed({"t": 1, **row}))
    found = [*run.series, *(each.kind for each in run.layers if each.step == 1), *(each.name for each in run.events)]
    assert found == ([kind] if kind else [])
    assert not run.cut


def test_what_is_no_list_or_object_is_passed_over_among_its_like():
    header = HEADER | {
        "parameters": [{"name": "a"}, 3, None, [], {"name": "b"}, {"name": ["c"], "shape": 3, "rms": []}]
    }
    matrix = {"t": 1, "p": [None, [1, 2], {}, [3]]}
    modules = {"t": 1, "m": {"a": None, "b": [1], "c": {"rms": 1}, "d": {}}}
    run = read_trace(packed(matrix, modules, header=header))
    assert [(each.step, each.layer, dict(each.values)) for each in run.layers if each.step == 1] == [
        (1, "b", {"grad_rms": 1, "weight_rms": 2}), (1, "c", {"rms": 1}), (1, "d", {}),
    ]  # fmt: skip
    assert [each.layer for each in run.layers if each.step == -1] == ["a", "b", ""]
    assert run.layers[2].values["dimensions"] == 0
    assert "init_rms" not in run.layers[2].values


def test_each_field_of_a_header_is_read_whatever_the_others_are():
    """Every field of a sound header in turn becomes what it cannot be: what the others say stays."""
    loss = {"kind": "mse", "operations": ["Log", 3, "Sum"], "classes": 5, "ignored": "NaN"}
    sound = HEADER | {
        "loss": loss, "scaler": {"growth_interval": 9}, "model": {"class": "Net", "modules": [{"class": "ReLU"}]},
        "device": "cpu", "autocast": "float16", "clip": 1, "steps": 7, "skipped": 2, "training": True,
    }  # fmt: skip
    settings = read_trace(packed(header=sound)).settings
    assert settings["operations"] == "Log  Sum"
    assert settings["ignored"] != settings["ignored"]  # nan
    assert (settings["scaler"], settings["growth_interval"], settings["training"]) == (True, 9, True)
    for name in sound.keys() - {"schema"}:
        for wrong in (None, [[]], {"": {}}, "x", 2**2000):
            left = read_trace(packed(header=sound | {name: wrong})).settings
            changed = {key for key in settings if repr(left.get(key)) != repr(settings[key])}
            assert changed <= TOLD_BY.get(name, {name}), (name, wrong)


TOLD_BY = {
    "columns": set(), "parameters": {"dtype"}, "batch": {"batch_size"}, "skipped": {"skipped_steps"},
    "scaler": {"scaler", "growth_interval"}, "loss": {"loss", "operations", "classes", "ignored"},
    "optimizers": {"optimizer", "optimizers", "lr", "beta1", "beta2", "eps"},
}  # fmt: skip


def test_names_lose_what_cannot_be_printed_and_are_bounded():
    rows = [
        {"t": 1, "m": {"a\ud800\n": {"r\x00ms": 1}, "a": {"rms": 2}}},
        {"t": 2, "x": {"y\u200b": 1, "y": 2, "z" * 400: 3, "\x00": 4}},
        {"t": 3, "alarm": "lo\x1bss", "weights": ["w\udc00", 3]},
    ]
    run = read_trace(packed(*rows, header=HEADER | {"model": {"class": "N\ud800et"}}))
    assert [(each.layer, dict(each.values)) for each in run.layers[1:]] == [("a", {"rms": 1}), ("a", {"rms": 2})]
    assert {key: len(records) for key, records in run.series.items()} == {"y": 2, "z" * 300: 1}
    assert run.events[0].text == "loss is None; not finite: w, "
    assert run.settings["model"] == "Net"


def test_a_trace_of_more_than_is_read_is_read_as_far_as_that():
    columns = [f"c{index}" for index in range(70)]
    header = HEADER | {
        "columns": {"s": ["loss"], "p": columns},
        "model": {"modules": [{"name": "", "class": "N"}] * 3000},
    }
    header["loss"] = {"operations": ["Log"] * 30, "guarded": ["Log"] * 30}
    modules = {f"{index}": {f"{other}": 1 for other in range(70 if index == 0 else 1)} for index in range(2100)}
    fault = {"phase": "data", "value": 1, "operands": ["x"] * 20}
    rows = [{"t": 1, "p": [[1] * 70] * 3}, {"t": 1, "m": modules}, {"t": 1, "x": dict.fromkeys(columns, 1)}]
    run = read_trace(
        packed(*rows, {"t": 1, "fault": fault}, {"t": 1, "alarm": "x", "weights": ["w"] * 9}, header=header)
    )
    parameters, *others = (each for each in run.layers if each.step == 1)
    assert (len(parameters.values), len(others), len(others[0].values), len(run.series)) == (64, 2000, 64, 64)
    assert run.fault is not None
    assert len(run.fault.operands) == 16
    assert run.events[0].text.count("w") == 8
    assert (run.settings["operations"], run.settings["guarded"]) == (" ".join(["Log"] * 24), " ".join(["Log"] * 8))


def test_of_two_errors_the_first_in_the_file_is_told():
    """The version before the number of rows, that before the number of tensors, which are the objects alone."""
    many = {"parameters": [{}] * 2001}
    with pytest.raises(BadTrace, match="unknown format"):
        read_trace(packed(*[{"t": 1}] * 5001, header=HEADER | many | {"schema": "numstab-trace/2"}))
    with pytest.raises(BadTrace, match="5001 rows"):
        read_trace(packed(*[{"t": 1}] * 5001, header=HEADER | many))
    assert len(read_trace(packed(header=HEADER | {"parameters": [{}, 1] * 2000})).layers) == 2000


ANYTHING = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=8)
    | st.sampled_from(["NaN", "Infinity"]),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner, max_size=4),
    max_leaves=12,
)
FIELDS = st.sampled_from(
    ["columns", "parameters", "optimizers", "model", "loss", "scaler", "batch", "clip", "training"]
)


@given(
    header=st.dictionaries(FIELDS, ANYTHING, max_size=5),
    rows=st.lists(st.dictionaries(st.sampled_from("tspmx") | st.just("fault"), ANYTHING, max_size=3), max_size=5),
)
def test_whatever_the_fields_hold_a_run_comes_out(header, rows):
    run = read_trace(packed(*rows, {"t": 9, "m": {"a": {"rms": 1.0}}}, header=HEADER | header))
    assert run.layers[-1].values == {"rms": 1.0}


@given(st.binary(max_size=200))
def test_any_bytes_are_read_or_refused(data):
    for each in (data, b"\x1f\x8b\x08" + data, packed() + data):
        try:
            read_trace(each)
        except BadTrace:
            continue


@pytest.mark.parametrize(
    ("table", "first"), [("steps", "step,loss"), ("parameters", "step,name"), ("modules", "step,name")]
)
def test_a_trace_becomes_a_table(recorded, table, first, tmp_path, terminal):
    (tmp_path / "t.jsonl.gz").write_bytes(recorded)
    done = terminal("trace", "to-csv", str(tmp_path / "t.jsonl.gz"), "--table", table, env={})
    lines = done.stdout.splitlines()
    assert done.returncode == 0
    assert lines[0].startswith(first)
    assert len(lines) > 10


def test_a_file_that_is_no_trace_is_refused_by_the_command(tmp_path, terminal):
    (tmp_path / "x").write_text("loss 1")
    done = terminal("trace", "to-csv", str(tmp_path / "x"), env={})
    assert done.returncode == 2
    assert "not a trace" in done.stderr
