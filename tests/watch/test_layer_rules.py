"""Rules on layers: the cause of each faulty training comes first, and on healthy trainings every rule is silent."""

import math
from collections import Counter
from dataclasses import replace

import pytest
import torch
from recorded_trainings import HEALTHY, SICK

from qa_service.diagnosis.layer_rules import RULES
from qa_service.model.diagnosis import Finding
from qa_service.model.training_run import LayerRecord, Record, TrainingRun


def findings(run: TrainingRun) -> list[Finding]:
    return [each for rule in RULES for each in rule(run)]


@pytest.fixture(autouse=True)
def _one_thread():
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    torch.manual_seed(0)
    yield
    torch.set_num_threads(threads)


@pytest.mark.sampled(one_in=3)
@pytest.mark.parametrize("name", HEALTHY)
def test_on_a_sound_training_every_rule_is_silent(name, tmp_path):
    run = HEALTHY[name](tmp_path / "trace.jsonl.gz")
    losses = [record.value for record in run.series["loss"]]
    assert losses[-1] < 0.4 * losses[0], "this control is not a sound training"
    assert [each for each in findings(run) if each.weight > 0] == []


@pytest.mark.sampled(one_in=3)
@pytest.mark.parametrize("name", SICK)
def test_the_cause_of_a_sick_training_comes_first(name, tmp_path):
    cause, train = SICK[name]
    found = findings(train(tmp_path / "trace.jsonl.gz"))
    weights: Counter[str] = Counter()
    for each in found:
        weights[each.cause] += each.weight
        assert each.text["zh"] != each.text["en"]
        assert not {"{", "}"} & set(each.text["en"] + each.text["zh"])
    assert weights.most_common(1)[0][0] == cause


def test_a_run_without_layers_gives_nothing():
    assert findings(TrainingRun(source="log")) == []


def test_rules_raise_nothing_on_invalid_statistics():
    """The statistics are nan, infinite, missing or of the wrong sign."""
    facts = {
        "size": 4.0,
        "dimensions": 2.0,
        "fan_out": 2.0,
        "fan_in": 2.0,
        "bits": 16.0,
        "bfloat16": 0.0,
        "trained": 1.0,
    }
    facts |= {"held": 0.0, "init_rms": math.nan, "init_rows": -1.0}
    for value in (math.nan, math.inf, -1.0, 0.0, 1e300):
        keys = [
            "update_ratio", "update_rms", "grad_rms", "grad_max", "unchanged", "zero", "tiny", "rms",
            "in_rms", "max", "in_max", "saturated", "silent", "silent_now", "batch_count", "grad_time_first",
            "grad_time_last", "time_steps", "calls", "in_bad", "in_columns", "in_offset", "out_max",
            "out_width", "out_sums_to_1",
        ]  # fmt: skip
        values = dict.fromkeys(keys, value)
        layers = [LayerRecord(-1, f"{name}.weight", "parameter", facts) for name in "abcde"]
        for step in (0, 1, 70):
            layers += [LayerRecord(step, f"{name}.weight", "parameter", values) for name in "abcde"]
            layers += [LayerRecord(step, name, "module", values) for name in ("", *"abcde")]
        settings = {
            "optimizer": "Adam",
            "optimizers": 1,
            "steps": value,
            "classes": value,
            "labels": value,
            "eps": value,
        }
        settings |= {"loss": "NllLoss", "autocast": "float16", "carried": value, "ignored": value}
        run = TrainingRun(
            source="trace", layers=tuple(layers), settings=settings, module_classes={"a": "ReLU", "b": "RNN"}
        )
        for losses in ((), (1.0,) * 60, (math.nan,) * 3):
            series = {"loss": tuple(Record(step, None, loss) for step, loss in enumerate(losses))}
            findings(replace(run, series=series))
