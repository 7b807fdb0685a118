"""Snippets on i.i.d. data: formulas agree where their assumption holds and differ where it does not; splits do not
leak.
"""

import math

import pytest
import torch
from snippets.reader import batch, plain_model
from torch import nn


def test_average_of_rank_means(snippet, monkeypatch):
    _, y = batch()
    some = torch.where(torch.arange(64) < 50, -100, y)
    ran = snippet.run(plain_model(), y=some)
    usual = nn.functional.cross_entropy(ran.names.model(ran.names.x), some)
    torch.testing.assert_close(ran.names.loss, usual)
    empty = torch.full((64,), -100)
    assert snippet.run(y=empty).names.loss == 0
    for name, value in (("is_available", True), ("is_initialized", True), ("get_world_size", 2)):
        monkeypatch.setattr(torch.distributed, name, lambda value=value: value)
    monkeypatch.setattr(torch.distributed, "all_reduce", lambda count: count.add_(14))
    assert snippet.run(y=empty).names.count == 14, "a rank without labels adds nothing to the count"


def test_correlated_weights_variance(snippet):
    layer = nn.Linear(256, 256, bias=False)
    x = torch.randn(64, 256)
    assert snippet.diagnose(layer=layer, x=x).numbers[-1] == pytest.approx(1, rel=0.1)
    with torch.no_grad():
        layer.weight.add_(0.05 * torch.randn(256, 1))
    assert snippet.diagnose(layer=layer, x=x + 1).numbers[-1] > 2


def test_doubling_the_batch(snippet):
    x, y = batch()
    signal, noise = snippet.diagnose(x=torch.cat([x, x]), y=torch.cat([y, y]), model=plain_model()).numbers
    assert signal > 0 and noise < 1e-6
    signal, noise = snippet.diagnose(y=torch.randint(2, (64,))).numbers
    assert noise > 0.01


def test_dropout_mean_and_variance(snippet):
    trained, evaluation = snippet.run().numbers
    assert trained > 1.2 * evaluation
    trained, evaluation = snippet.run(swap={"Dropout(0.5)": "Dropout(0.0)"}).numbers
    assert trained == pytest.approx(evaluation)


def test_effective_samples_of_a_series(snippet):
    phi, samples = snippet.run().numbers
    assert 0.8 < phi < 0.97 and 15 < samples < 120
    phi, samples = snippet.run(swap={"0.9 * s[k - 1]": "0.0 * s[k - 1]"}).numbers
    assert samples > 700


def test_features_of_different_scale(snippet):
    x, _ = batch()
    x[:, 0] *= 1000
    x[:, 1] = 3
    ran = snippet.run(x=x)
    assert ran.numbers[-1] > 500 and ran.names.standardised.isfinite().all()
    assert snippet.run().numbers[-1] < 2


def test_iid_assumption(snippet):
    layer, x = nn.Linear(256, 256, bias=False), torch.randn(64, 256)
    assert snippet.diagnose(layer=layer, x=x).numbers[-1] == pytest.approx(1, rel=0.1)
    with torch.no_grad():
        layer.weight.add_(0.05)
    assert snippet.diagnose(layer=layer, x=x + 1).numbers[-1] > 2


def test_loss_drops_at_each_epoch(snippet):
    """The means at the start and end of each epoch show stairs, or an even fall; an incomplete last epoch is left
    out.
    """
    means = snippet.run().names.epoch_means
    stairs = means([1.0] * 50 + [0.5] * 50 + [0.2] * 3, 50)
    assert stairs == [(1.0, 1.0), (0.5, 0.5)]
    even = means(torch.linspace(1, 0, 100).tolist(), 50)
    assert even[0][1] == pytest.approx(even[1][0], abs=0.15) and even[0][0] > even[0][1] + 0.3


def test_same_w_backwards(snippet):
    independent, output = [float(line.split()[-1]) for line in snippet.run().printed.splitlines()]
    assert independent == pytest.approx(1, abs=0.15) and output == pytest.approx(math.sqrt(2), abs=0.2)


def test_shuffling_and_stability(snippet):
    x, y = batch()
    y = y.sort().values
    assert snippet.run(x=x, y=y).numbers[-1] < 0.8
    assert snippet.run(x=x, y=y, swap={"shuffle=True": "shuffle=False"}).numbers[-1] > 0.95


def test_splitting_grouped_data(snippet):
    ran = snippet.run()
    assert ran.numbers == [12, 0]
    x, y = batch()
    x[60:] = x[:4]
    found = [snippet.run(x=x, y=y).numbers[-1] for _ in range(8)]
    assert max(found) > 0, "rows that occur twice are found"


def test_splitting_time_series(snippet):
    names = snippet.run().names
    last_seen = names.train.stop - 1 + names.window + names.horizon - 1
    assert last_seen < names.valid.start, "no target of training lies in a window of validation"
    torch.testing.assert_close(names.inputs[1:, -1], names.targets[:-1])


def test_tied_or_fresh_matrices(snippet):
    before, after = [float(line.split()[-1]) for line in snippet.run().printed.splitlines()]
    assert before != pytest.approx(1, abs=0.01) and after == pytest.approx(1, abs=1e-4)


@pytest.mark.parametrize(("kind", "factor"), [(torch.optim.SGD, 8), (torch.optim.AdamW, 8**0.5)])
def test_learning_rate_and_number_of_gpus(snippet, monkeypatch, kind, factor):
    model = plain_model()
    alone = snippet.run(model, optimizer=kind(model.parameters(), lr=0.01))
    assert alone.names.optimizer.param_groups[0]["lr"] == pytest.approx(0.01)
    monkeypatch.setenv("WORLD_SIZE", "8")
    many = snippet.run(model, optimizer=kind(model.parameters(), lr=0.01))
    assert many.names.warmup.base_lrs == [pytest.approx(0.01 * factor)]
    assert many.names.optimizer.param_groups[0]["lr"] == pytest.approx(0.01), "warm-up starts from the rate of one"
