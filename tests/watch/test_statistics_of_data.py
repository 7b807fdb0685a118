"""The recorder's statistics of inputs and targets, and the rules that use them, on faulty and on similar healthy
runs.
"""

import gzip
import json
import math
from dataclasses import replace

import pytest
import torch
from numstab_watch import watch
from numstab_watch.graph import loss_facts, target_facts
from torch import nn

from qa_service.diagnosis.layer_rules import RULES
from qa_service.diagnosis.layer_rules.traced_run import TracedRun
from qa_service.diagnosis.trace_file import read_trace
from qa_service.model.training_run import LayerRecord, Record, TrainingRun


def weights_of(run: TrainingRun, feature: str) -> dict[str, float]:
    return {each.cause: each.weight for rule in RULES for each in rule(run) if each.feature == feature}


def recorded(path, data, *, steps=120, lr=0.05, spoil=None, loss=nn.functional.mse_loss, batch=16, model=None):
    """The run of a regression trained on batches from `data`; `spoil` changes (inputs, targets) of a step."""
    torch.manual_seed(0)
    model = model or nn.Sequential(nn.Linear(6, 24), nn.ReLU(), nn.Linear(24, 24), nn.ReLU(), nn.Linear(24, 1))
    optimizer = torch.optim.SGD(model.parameters(), lr)
    with watch(model, optimizer, path=path, every=1):
        for step in range(steps):
            chosen = torch.randint(0, len(data[0]), (batch,))
            x, y = data[0][chosen], data[1][chosen]
            if spoil is not None:
                x, y = spoil(x.clone(), y.clone(), step)
            optimizer.zero_grad()
            loss(model(x), y).backward()
            optimizer.step()
    return read_trace(path.read_bytes())


def linear(count=512, size=1.0):
    generator = torch.Generator().manual_seed(1)
    x = torch.randn(count, 6, generator=generator)
    return x, size * (x[:, :1] + 0.5 * x[:, 1:2])


LOSSES = {
    "mse": nn.functional.mse_loss,
    "sum_of_squares": lambda out, y: (out - y).square().sum(1).mean(),
    "power_turned_round": lambda out, y: ((y - out) ** 2).mean(),
    "weighted": lambda out, y: 0.25 * nn.functional.mse_loss(out, y) + 0.0 * out.sum(),
}


@pytest.mark.parametrize("name", LOSSES)
def test_targets_are_measured_of_a_loss_built_in_or_written_out(name):
    """The loss of predicting the mean follows from the statistics, whatever factor the loss has."""
    torch.manual_seed(0)
    out, y = nn.Linear(5, 3)(torch.randn(64, 5)), 2 + 4 * torch.randn(64, 3)
    loss = LOSSES[name](out, y)
    facts = target_facts(loss, out.detach())
    assert facts["target_spread"] == pytest.approx(y.std(0, correction=0).square().mean().sqrt().item(), rel=1e-4)
    guessing = loss.item() * (facts["target_spread"] / facts["error_rms"]) ** 2
    assert guessing == pytest.approx(LOSSES[name](y.mean(0).expand_as(y), y).item(), rel=1e-4)


def test_other_losses_have_no_targets_of_numbers():
    scores, labels = nn.Linear(5, 3)(torch.randn(8, 5)), torch.zeros(8, dtype=torch.long)
    assert target_facts(nn.functional.cross_entropy(scores, labels), scores) == {}
    assert target_facts(nn.functional.mse_loss(scores.sum(), torch.tensor(1.0)), scores) == {}  # no batch


def test_a_constant_in_a_logarithm_shows():
    p = nn.Linear(5, 3)(torch.randn(8, 5)).sigmoid()
    assert loss_facts(-torch.log(p + 1e-8).mean())["guarded"] == ["Log"]
    assert "guarded" not in loss_facts(-torch.log(p).mean())


def test_no_value_of_the_data_is_written(tmp_path):
    """The trace has the share of samples that recur, and each batch's largest magnitude of inputs."""
    path = tmp_path / "trace.jsonl.gz"
    x, y = linear(64)
    x[:, 2] = 0.123454321
    recorded(path, (x, y), steps=20)
    text = gzip.decompress(path.read_bytes()).decode()
    assert "0.12345" not in text
    header = json.loads(text.splitlines()[0])
    assert header["columns"]["s"][-1] == "input_max"
    assert set(header["loss"]) >= {"target_rms", "target_spread", "error_rms"}


def test_a_trace_without_these_statistics_is_still_read(tmp_path):
    """Earlier versions of the recorder wrote such traces."""
    path = tmp_path / "trace.jsonl.gz"
    recorded(path, linear(), steps=70)
    lines = [json.loads(each) for each in gzip.decompress(path.read_bytes()).splitlines()]
    lines[0]["columns"]["s"].remove("input_max")
    lines[0]["loss"] = {
        key: each for key, each in lines[0]["loss"].items() if "target" not in key and key != "error_rms"
    }
    for row in lines[1:]:
        if "s" in row:
            row["s"].pop()
        for values in row.get("m", {}).values():
            values.pop("in_repeated", None)
            values.pop("in_compared", None)
    run = read_trace("\n".join(json.dumps(each) for each in lines).encode() + b"\n")
    assert len(run.series["loss"]) == 70
    assert TracedRun(run).constant_baseline_loss is None
    assert TracedRun(run).different_samples is None
    assert not [each for rule in RULES for each in rule(run) if each.weight > 0]


def test_a_regression_is_judged_by_the_loss_of_the_mean(tmp_path):
    sound = TracedRun(recorded(tmp_path / "a.jsonl.gz", linear()))
    assert sound.constant_baseline_loss == pytest.approx(1.25, rel=0.5)
    assert not sound.above_half_baseline
    still = TracedRun(recorded(tmp_path / "b.jsonl.gz", linear(), lr=1e-7))
    assert still.above_half_baseline


def test_outliers_in_single_batches(tmp_path):
    def outlier(x, y, step):
        if step % 30 == 20:
            x[:2] *= 1000
        return x, y

    sick = weights_of(recorded(tmp_path / "a.jsonl.gz", linear(), spoil=outlier, lr=1e-3), "batch_with_outliers")
    assert sick["bad_batches"] > 4
    assert sick["step_too_large"] < 0
    assert not weights_of(recorded(tmp_path / "b.jsonl.gz", linear()), "batch_with_outliers")


@pytest.mark.parametrize(("count", "few"), [(10, True), (512, False)])
def test_samples_that_come_again(count, few, tmp_path):
    run = recorded(tmp_path / "trace.jsonl.gz", linear(count))
    assert bool(weights_of(run, "few_different_samples")) == few
    number = TracedRun(run).different_samples
    assert number is None or count / 4 < number < 4 * count


def test_nan_in_the_targets_is_told_from_nan_in_the_inputs(tmp_path):
    def bad_target(x, y, step):
        y[0] = math.nan if step == 5 else y[0]
        return x, y

    def bad_input(x, y, step):
        x[0] = math.nan if step == 5 else x[0]
        return x, y

    targets = recorded(tmp_path / "a.jsonl.gz", linear(), steps=12, spoil=bad_target)
    inputs = recorded(tmp_path / "b.jsonl.gz", linear(), steps=12, spoil=bad_input)
    assert weights_of(targets, "target_not_finite")["bad_labels"] > 4
    assert targets.settings["bad_targets"] is True
    assert not weights_of(inputs, "target_not_finite")
    assert inputs.settings["bad_inputs"] is True


def test_targets_that_are_not_scaled(tmp_path):
    sick = recorded(tmp_path / "a.jsonl.gz", linear(size=1e5), steps=60)
    assert weights_of(sick, "targets_large")["inputs_not_scaled"] > 3
    assert not weights_of(recorded(tmp_path / "b.jsonl.gz", linear()), "targets_large")


def test_a_signal_that_fades_on_its_way(tmp_path):
    def deep(activation):
        layers = [each for _ in range(8) for each in (nn.Linear(6, 6), activation())]
        return nn.Sequential(*layers, nn.Linear(6, 1))

    sick = recorded(tmp_path / "a.jsonl.gz", linear(), model=deep(nn.Sigmoid))
    assert weights_of(sick, "outputs_alike")["vanishing_signal"] > 2
    assert not weights_of(recorded(tmp_path / "b.jsonl.gz", linear()), "outputs_alike")


def run_with_rates(rates: list[float], losses: list[float]) -> TrainingRun:
    series = {
        "loss": tuple(Record(step, None, loss) for step, loss in enumerate(losses)),
        "lr": tuple(Record(step, None, rate) for step, rate in enumerate(rates)),
    }
    layers = (LayerRecord(0, "a.weight", "parameter", {"update_ratio": 0.01}),)
    return TrainingRun(source="trace", series=series, layers=layers, settings={"optimizer": "Adam"})


def test_a_rate_that_leaps_up():
    """The rule applies if the loss becomes bad at the jump of the rate; it is silent after a restart that the loss
    survives.
    """
    falling = [2.0 / (1 + step / 10) for step in range(100)]
    leap = [0.01] * 60 + [0.5] * 40
    sick = run_with_rates(leap, [*falling[:60], *([5.0] * 40)])
    assert weights_of(sick, "worse_since_rate_jumped")["no_warmup"] > 4
    assert not weights_of(run_with_rates(leap, falling), "worse_since_rate_jumped")
    assert not weights_of(run_with_rates([0.01] * 100, [*falling[:60], *([5.0] * 40)]), "worse_since_rate_jumped")


def test_a_summed_squared_error_is_seen_by_its_size():
    run = run_with_rates([0.01] * 80, [64.0] * 80)
    facts = {"loss": "MseLoss", "reduction": "mean", "batch_size": 32, "error_rms": math.sqrt(2.0)}
    summed = replace(run, settings=run.settings | facts | {"optimizer": "SGD"})
    assert weights_of(summed, "loss_is_summed")["summed_loss"] > 3
    mean = replace(summed, settings=summed.settings | {"error_rms": 8.0})
    assert not weights_of(mean, "loss_is_summed")
