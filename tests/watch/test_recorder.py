"""The recorder: it does not affect a training, records each kind of loop correctly, and leaves a usable file after a
crash.
"""

import copy
import gzip
import io
import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import numstab_watch
import pytest
import torch
from hooks import hook_count
from numstab_watch import NonFiniteError, watch
from numstab_watch.trace import BoundedRows, Trace
from torch import nn
from torch.nn.functional import cross_entropy

WATCH = Path(__file__).resolve().parent.parent.parent / "watch"


def small() -> Any:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(8, 32), nn.ReLU(), nn.Dropout(0.1), nn.Linear(32, 3))


def batch() -> tuple[Any, Any]:
    return torch.randn(16, 8), torch.randint(0, 3, (16,))


def text_of(path: Path | str) -> str:
    return gzip.decompress(Path(path).read_bytes()).decode()


def rows(path: Path | str, kind: str = "s") -> list[dict[str, Any]]:
    """The rows of a kind in a trace file; "" gives the events."""
    lines = [json.loads(line) for line in text_of(path).splitlines()[1:]]
    kinds = {"s", "p", "m", "x"}
    return [line for line in lines if (kind in line if kind else not kinds & line.keys())]


def header(path: Path | str) -> dict[str, Any]:
    return json.loads(text_of(path).splitlines()[0])


def column(path: Path | str, name: str) -> list[Any]:
    place = header(path)["columns"]["s"].index(name)
    return [row["s"][place] for row in rows(path)]


Loop = Callable[[Callable[[Any, Any], Any]], list[float]]


def plain(start: Callable[[Any, Any], Any]) -> list[float]:
    model = small()
    optimizer = torch.optim.Adam(model.parameters(), 1e-2)
    start(model, optimizer)
    losses = []
    for _ in range(30):
        x, y = batch()
        optimizer.zero_grad()
        loss = cross_entropy(model(x), y)
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        losses.append(loss.item())
    return losses


def scaled(dtype: Any) -> Loop:
    def loop(start: Callable[[Any, Any], Any]) -> list[float]:
        model = small()
        optimizer = torch.optim.SGD(model.parameters(), 0.1)
        scaler = torch.amp.GradScaler("cpu", init_scale=2.0**20, growth_interval=5)
        start(model, optimizer)
        losses = []
        for step in range(30):
            x, y = batch()
            optimizer.zero_grad()
            with torch.autocast("cpu", dtype):
                loss = cross_entropy(model(x), y)
            scaler.scale(loss.half() if step % 7 == 3 else loss).backward()  # in float16 the scaled loss overflows
            scaler.step(optimizer)
            scaler.update()
            losses.append(loss.item())
        return losses

    return loop


def accumulating(start: Callable[[Any, Any], Any]) -> list[float]:
    model = small()
    optimizer = torch.optim.AdamW(model.parameters(), 1e-2)
    start(model, optimizer)
    losses = []
    for step in range(32):
        x, y = batch()
        loss = cross_entropy(model(x), y) / 4
        loss.backward()
        losses.append(loss.item())
        if step % 4 == 3:
            optimizer.step()
            optimizer.zero_grad(set_to_none=step % 8 == 3)
    return losses


def with_closure(start: Callable[[Any, Any], Any]) -> list[float]:
    model = small()
    optimizer = torch.optim.LBFGS(model.parameters(), 0.5, max_iter=4)
    start(model, optimizer)
    losses = []

    def closure() -> Any:
        optimizer.zero_grad()
        loss = cross_entropy(model(x), y)
        loss.backward()
        losses.append(loss.item())
        return loss

    for _ in range(8):
        x, y = batch()
        optimizer.step(closure)
    return losses


def two_optimizers(start: Callable[[Any, Any], Any]) -> list[float]:
    model = small()
    optimizers = [torch.optim.Adam(model[0].parameters(), 1e-2), torch.optim.SGD(model[3].parameters(), 0.1)]
    start(model, optimizers)
    losses = []
    for _ in range(20):
        x, y = batch()
        for optimizer in optimizers:
            optimizer.zero_grad()
        loss = cross_entropy(model(x), y)
        loss.backward()
        for optimizer in optimizers:
            optimizer.step()
        losses.append(loss.item())
    return losses


def in_place(start: Callable[[Any, Any], Any]) -> list[float]:
    """A loop of a model with in-place activations, on which full backward hooks of modules would fail."""
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(8, 32), nn.ReLU(inplace=True), nn.BatchNorm1d(32), nn.Linear(32, 3))
    optimizer = torch.optim.SGD(model.parameters(), 0.1)
    start(model, optimizer)
    losses = []
    for _ in range(10):
        x, y = batch()
        optimizer.zero_grad()
        loss = cross_entropy(model(x), y)
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    return losses


LOOPS: dict[str, tuple[Loop, int]] = {
    "plain": (plain, 30),
    "float16_scaler": (scaled(torch.float16), 30),
    "bfloat16_scaler": (scaled(torch.bfloat16), 30),
    "accumulating": (accumulating, 8),
    "closure": (with_closure, 8),
    "two_optimizers": (two_optimizers, 20),
    "in_place": (in_place, 10),
}


@pytest.mark.parametrize("name", LOOPS)
@pytest.mark.parametrize("level", ["steps", "forensic"])
def test_losses_are_the_same_bit_for_bit(name, level, tmp_path):
    """So is the final state of the random generator, and no hook is left on model, optimizer or torch."""
    loop, steps = LOOPS[name]
    backward, clip = torch.autograd.backward, nn.utils.clip_grad_norm_
    without = loop(lambda model, optimizer: None)
    state = torch.get_rng_state()
    opened = []
    path = tmp_path / "trace.jsonl.gz"
    watched = loop(lambda *each: opened.append((each[0], watch(*each, path=path, level=level, every=1))))
    assert watched == without
    assert torch.equal(torch.get_rng_state(), state)
    model, recording = opened[0]
    recording.close()
    assert len(rows(path)) == header(path)["steps"] == steps
    assert not [row for row in rows(path, "") if "error" in row]
    assert torch.autograd.backward is backward
    assert nn.utils.clip_grad_norm_ is clip
    assert not hook_count(model)


def test_a_plain_loop_is_seen_as_it_is(tmp_path):
    """Losses, norms before clipping and learning rates are recorded, and that gradients were set to zero each time."""
    path = tmp_path / "trace.jsonl.gz"
    norms = []
    original = nn.utils.clip_grad_norm_

    def noting(*arguments: Any) -> Any:
        norm = original(*arguments)
        norms.append(float(norm))
        return norm

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(nn.utils, "clip_grad_norm_", noting)
        opened: list[Any] = []
        losses = plain(lambda model, optimizer: opened.append(watch(model, optimizer, path=path)))
    opened[0].close()
    assert column(path, "loss") == pytest.approx(losses, rel=1e-4)
    assert column(path, "grad_norm") == pytest.approx(norms, rel=1e-4)
    assert set(column(path, "lr")) == {0.01}
    assert set(column(path, "carried")) == {None, 0}
    assert header(path)["clip"] == 1.0


def test_skipped_steps_and_scale_are_seen(tmp_path):
    """Recorded losses are unscaled; a step that the scaler skips is marked and has no finite gradient norm."""
    path = tmp_path / "trace.jsonl.gz"
    recordings = []
    losses = scaled(torch.float16)(lambda *each: recordings.append(watch(*each, path=path)))
    recordings[0].close()
    skipped = column(path, "skipped")
    assert column(path, "loss") == pytest.approx(losses, rel=2e-3)
    assert sum(skipped) == header(path)["skipped"] > 0
    norms, scales = column(path, "grad_norm"), column(path, "loss_scale")
    assert all((norm == "Infinity") == bool(skip) for norm, skip in zip(norms, skipped, strict=True))
    halved = [later / scale for scale, later, skip in zip(scales, scales[1:], skipped, strict=False) if skip]
    assert halved == pytest.approx([0.5] * len(halved), rel=1e-3)
    assert not [row for row in rows(path, "") if "alarm" in row]


def test_accumulated_passes_are_one_step(tmp_path):
    path = tmp_path / "trace.jsonl.gz"
    recordings = []
    losses = accumulating(lambda *each: recordings.append(watch(*each, path=path)))
    recordings[0].close()
    assert column(path, "backwards") == [4] * 8
    assert column(path, "loss")[0] == pytest.approx(sum(losses[:4]), rel=1e-4)  # each was divided by 4


def train(model: Any, steps: int, *, zero_grad: bool = True, spoil: int = -1, **options: Any) -> Any:
    """A plain loop of SGD; the loss of step `spoil` is nan."""
    optimizer = torch.optim.SGD(model.parameters(), 0.05)
    recording = watch(model, optimizer, **options)
    for step in range(steps):
        x, y = batch()
        if zero_grad:
            optimizer.zero_grad()
        loss = cross_entropy(model(x), y)
        if step == spoil:
            loss = loss * torch.tensor(float("nan"))
        loss.backward()
        optimizer.step()
    recording.close()
    return recording


def test_missing_zero_grad_shows(tmp_path):
    train(small(), 10, zero_grad=False, path=tmp_path / "trace.jsonl.gz")
    assert column(tmp_path / "trace.jsonl.gz", "carried")[1:] == [1] * 9


def test_a_loop_that_never_steps_has_a_row_for_each_pass(tmp_path):
    path = tmp_path / "trace.jsonl.gz"
    model = small()
    optimizer = torch.optim.SGD(model.parameters(), 0.1)
    with watch(model, optimizer, path=path):
        for _ in range(10):
            x, y = batch()
            optimizer.zero_grad()
            cross_entropy(model(x), y).backward()
    assert column(path, "optimizer") == [None] * 10


def test_the_first_nan_is_an_alarm_and_written_at_once(tmp_path, capsys):
    """The file is written before the training goes on, and one line is printed."""
    path = tmp_path / "trace.jsonl.gz"
    train(small(), 12, spoil=5, path=path)
    (alarm,) = [row for row in rows(path, "") if "alarm" in row]
    assert (alarm["t"], alarm["alarm"], alarm["value"], alarm["weights"]) == (5, "loss", "NaN", [])
    assert column(path, "loss")[6] == "NaN"
    printed = capsys.readouterr().err
    assert "nan loss at step 5" in printed
    assert printed.count("numstab diagnose") == 1


def test_a_bad_input_is_named_by_the_alarm(tmp_path):
    """It is named also at a step in which modules are not measured."""
    path = tmp_path / "trace.jsonl.gz"
    model = small()
    optimizer = torch.optim.SGD(model.parameters(), 0.05)
    with watch(model, optimizer, path=path, level="steps"):
        for step in range(6):
            x, y = batch()
            x[0, 0] = float("nan") if step == 4 else x[0, 0]
            optimizer.zero_grad()
            cross_entropy(model(x), y).backward()
            optimizer.step()
    (alarm,) = [row for row in rows(path, "") if "alarm" in row]
    assert alarm["t"] == 4
    assert alarm["input_bad"] == pytest.approx(1 / (16 * 8), rel=1e-3)


def test_stop_raises_before_the_update(tmp_path):
    model = small()
    with pytest.raises(NonFiniteError, match="step 3"):
        train(model, 12, spoil=3, path=tmp_path / "trace.jsonl.gz", stop=True)
    assert all(torch.isfinite(each).all() for each in model.parameters())


def test_a_gradient_that_is_not_finite_is_an_alarm(tmp_path):
    """The loss is finite, and only the gradient of the square root at 0 is not."""
    path = tmp_path / "trace.jsonl.gz"
    model = nn.Linear(4, 1)
    optimizer = torch.optim.SGD(model.parameters(), 0.1)
    with watch(model, optimizer, path=path):
        (model(torch.randn(8, 4)) * 0).sum().sqrt().backward()
        optimizer.step()
    (alarm,) = [row for row in rows(path, "") if "alarm" in row]
    assert alarm["alarm"] == "gradient"
    assert alarm["gradients"] == ["weight", "bias"]


def test_other_models_are_not_taken_for_this_one(tmp_path):
    """The loss of another model in the same process is not recorded, even if it is nan."""
    path = tmp_path / "trace.jsonl.gz"
    model, other = small(), small()
    optimizer = torch.optim.SGD(model.parameters(), 0.05)
    with watch(model, optimizer, path=path):
        for _ in range(5):
            x, y = batch()
            optimizer.zero_grad()
            cross_entropy(model(x), y).backward()
            (cross_entropy(other(x), y) * float("nan")).backward()
            optimizer.step()
    assert column(path, "backwards") == [1] * 5
    assert not [row for row in rows(path, "") if "alarm" in row]


def test_names_are_hidden(tmp_path):
    class Secret(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.classified = nn.Linear(8, 3)

        def forward(self, x: Any) -> Any:
            return self.classified(x)

    path = tmp_path / "trace.jsonl.gz"
    train(Secret(), 5, path=path, names=False)
    text = text_of(path)
    assert "classified" not in text
    assert '"m":{"":' in text


def test_nothing_of_the_data_is_written(tmp_path):
    """No element of the batch and no weight is among the numbers in the file, except extremes."""
    path = tmp_path / "trace.jsonl.gz"
    model = small()
    train(model, 3, path=path)
    text = text_of(path)
    inner = sorted(model[0].weight.abs().flatten().tolist())[10:-10]
    assert not [each for each in inner if f"{each:.5g}" in text]


def test_an_error_of_its_own_ends_the_recording_only(tmp_path, monkeypatch, capsys):
    path = tmp_path / "trace.jsonl.gz"
    monkeypatch.setattr(numstab_watch.recorder, "total_norm", lambda parameters: 1 / 0)
    model = small()
    train(model, 5, path=path)
    assert [row["error"] for row in rows(path, "") if "error" in row] == ["ZeroDivisionError: division by zero"]
    assert "recording ended by an error of its own" in capsys.readouterr().err
    assert not hook_count(model)


def test_copies_of_the_model_go_without_the_watch(tmp_path):
    """Copies in memory, such as an average of weights, and in a file have no hooks of the recorder."""
    model = small()
    with watch(model, torch.optim.SGD(model.parameters(), 0.1), path=tmp_path / "trace.jsonl.gz"):
        cross_entropy(model(batch()[0]), batch()[1]).backward()
        file = io.BytesIO()
        torch.save(model, file)
        file.seek(0)
        loaded = torch.load(file, weights_only=False)
        for twin in (copy.deepcopy(model), loaded):
            cross_entropy(twin(batch()[0]), batch()[1]).backward()
    assert len(column(tmp_path / "trace.jsonl.gz", "loss")) == 1


def test_a_compiled_model_trains_without_graph_breaks(tmp_path):
    model = small()
    optimizer = torch.optim.SGD(model.parameters(), 0.1)
    with watch(model, optimizer, path=tmp_path / "trace.jsonl.gz"):
        compiled = torch.compile(model, backend="eager", fullgraph=True)
        for _ in range(3):
            x, y = batch()
            optimizer.zero_grad()
            cross_entropy(compiled(x), y).backward()
            optimizer.step()
    assert len(column(tmp_path / "trace.jsonl.gz", "loss")) == 3
    assert not [row for row in rows(tmp_path / "trace.jsonl.gz", "") if "error" in row]


def test_a_loop_without_an_optimizer(tmp_path):
    path = tmp_path / "trace.jsonl.gz"
    model = small()
    with watch(model, path=path) as recording:
        for step in range(5):
            recording.step(loss=torch.tensor(1.0 / (step + 1)), val_loss=0.5)
    assert column(path, "loss") == pytest.approx([1, 0.5, 1 / 3, 0.25, 0.2], rel=1e-4)
    assert rows(path, "x")[0]["x"] == {"val_loss": 0.5}


def test_two_watches_write_two_files(tmp_path):
    first, second = small(), small()
    with watch(first, path=tmp_path / "t.jsonl.gz") as one, watch(second, path=tmp_path / "t.jsonl.gz") as two:
        assert one.path != two.path
    assert sorted(each.name for each in tmp_path.iterdir()) == ["t-2.jsonl.gz", "t.jsonl.gz"]


def test_the_file_stays_small_for_50000_steps(tmp_path):
    """The rows are those of 50,000 steps with 100 tensors; rows of the first and last steps are all kept."""
    path = tmp_path / "trace.jsonl.gz"
    trace = Trace(str(path), {"schema": "numstab-trace/1"})
    step_row = [1.2345, 0.98765, 1e-3, None, 0, 0.012345, 1, None, 0]
    parameters = [[1.2345e-5, 2.3456e-6, 0.12345, 1.2345e-4, 0.1, 0.2, 0.0, 0.5]] * 100
    for step in range(50_000):
        trace.add("s", step, step_row)
        if step % 50 == 0:
            trace.add("p", step, parameters)
        if step % 500 == 0:
            trace.event(step, {"note": "x"})
    trace.write()
    steps = [row["t"] for row in rows(path)]
    assert steps[:16] == [*range(16)]
    assert steps[-256:] == [*range(49_744, 50_000)]
    assert max(later - step for step, later in pairwise(steps)) < 2000
    assert len(rows(path)) + len(rows(path, "p")) + len(rows(path, "")) <= 600
    assert path.stat().st_size < 1_000_000
    assert not list(tmp_path.glob("*.part"))


@pytest.mark.parametrize("count", [0, 5, 30, 31, 1000])
def test_thinned_rows_are_in_order_and_bounded(count):
    kept = BoundedRows(4, 8, 16)
    for step in range(count):
        kept.append(step, "x")
    steps = [step for step, _ in kept.lines()]
    assert steps == sorted(set(steps))
    assert len(steps) <= 28
    assert steps[:4] == [*range(min(count, 4))]
    assert steps[-min(16, count) :] == [*range(max(0, count - 16), count)] if count else not steps
    assert kept.size == len(steps)


PROGRAM = """
import os, signal, sys, torch
from numstab_watch import watch
torch.manual_seed(0)
model = torch.nn.Linear(4, 2)
optimizer = torch.optim.SGD(model.parameters(), 0.1)
watch(model, optimizer, path="trace.jsonl.gz", level="steps")
for step in range(700):
    optimizer.zero_grad()
    model(torch.randn(8, 4)).square().mean().backward()
    optimizer.step()
    if step == 600:
        {end}
"""


def run_program(end: str, folder: Path) -> subprocess.CompletedProcess[str]:
    environment = os.environ | {"PYTHONPATH": str(WATCH), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-c", PROGRAM.format(end=end)]
    return subprocess.run(
        command, cwd=folder, env=environment, capture_output=True, text=True, check=False, timeout=200
    )


def test_kill_9_loses_at_most_one_window(tmp_path):
    done = run_program("os.kill(os.getpid(), signal.SIGKILL)", tmp_path)
    assert done.returncode == -signal.SIGKILL
    path = tmp_path / "trace.jsonl.gz"
    assert column(path, "loss")
    assert rows(path)[-1]["t"] >= 600 - header(path)["window"] - 1
    assert [row["t"] for row in rows(path)][:16] == [*range(16)]


@pytest.mark.sampled(one_in=3)
@pytest.mark.parametrize(
    ("end", "said"),
    [
        ("raise KeyError('x')", "exception KeyError"),
        ("sys.exit(3)", "exit"),
        ("assert False", "exception AssertionError"),
    ],
)
def test_an_end_of_the_program_loses_nothing(end, said, tmp_path):
    done = run_program(end, tmp_path)
    assert done.returncode != 0
    path = tmp_path / "trace.jsonl.gz"
    assert rows(path)[-1]["t"] == 600
    assert rows(path, "")[-1]["end"] == said
    if "raise" in end:
        assert "KeyError: 'x'" in done.stderr


def test_wrong_options_are_refused():
    for wrong in ({"level": "all"}, {"every": 0}, {"budget": 0.0}):
        with pytest.raises(ValueError, match=next(iter(wrong))):
            watch(small(), **wrong)
