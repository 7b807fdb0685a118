"""Snippets on distribution shift and batches: statistics are recomputed where needed, and diagnoses leave weights
unchanged.
"""

import pytest
import torch
from snippets.reader import batch, changes, healthy_model, plain_model, state_of
from torch import nn


def test_adabn_test_shift(snippet):
    x, y = batch(96)
    model = healthy_model()
    before = state_of(model)
    new = 3 * x + 5
    snippet.run(model, new_loader=[(new[:48], y), (new[48:], y)])
    torch.testing.assert_close(model[1].running_mean, model[0](new).mean(0), rtol=1e-3, atol=1e-3)
    assert model[1].momentum == 0.2 and model[5].momentum == 0.03
    assert not any(m.training for m in model.modules())
    normal = model[1](model[0](new))
    assert normal.mean(0).abs().max() < 0.05 and (normal.var(0) - 1).abs().max() < 0.15
    changed = changes(before, state_of(model))
    assert all("running" in name or "batches" in name or "training" in name for name in changed)


@pytest.mark.parametrize("shuffle", [True, False])
def test_batches_sorted_by_class_bn(snippet, shuffle):
    x, y = batch()
    y = (torch.arange(64) >= 32).long()
    labels = snippet.run(x=x, y=y, swap={"shuffle=True": f"shuffle={shuffle}"}).names.labels
    assert (len(labels.unique()) == 2) is shuffle


def test_bn_gradient_predictiveness(snippet):
    model = plain_model()
    assert snippet.diagnose(model).numbers[-1] > 0.9
    assert snippet.diagnose(model, swap={"0.1 * g": "1000.0 * g"}).numbers[-1] < 0.9
    assert -1 <= snippet.diagnose().numbers[-1] <= 1


def test_conditional_iid_coin(snippet):
    names = snippet.run().names
    assert not set(names.group[names.held_out].tolist()) & set(names.group[~names.held_out].tolist())
    assert len(names.x_train) + len(names.x_test) == 64


def test_hidden_inputs_drift(snippet):
    model = healthy_model()
    drift = snippet.diagnose(model).names.drift
    x, _ = batch()
    before = state_of(model)
    drift(model, x)
    assert not changes(before, state_of(model))
    assert "drift 0.0" in snippet.diagnose(nn.Sequential(nn.Linear(8, 4), nn.Linear(4, 2))).printed


def test_importance_weighting(snippet):

    count = snippet.run(plain_model(), swap={"torch.rand(len(x)) + 0.1": "torch.ones(len(x))"}).numbers[-1]
    assert count == pytest.approx(64)
    lone = "torch.nn.functional.one_hot(torch.tensor(0), len(x)).float()"
    assert snippet.run(plain_model(), swap={"torch.rand(len(x)) + 0.1": lone}).numbers[-1] == pytest.approx(1)


@pytest.mark.parametrize("shuffle", [True, False])
def test_internal_covariate_shift(snippet, shuffle):
    x, _ = batch()
    y = (torch.arange(64) >= 32).long()
    counts = snippet.run(x=x, y=y, swap={"shuffle=True": f"shuffle={shuffle}"}).printed
    assert ("tensor([32])" in counts) is not shuffle


def test_random_split_of_time_series(snippet):
    x = torch.arange(100.0)[:, None]
    names = snippet.run(x=x, y=x)
    assert names.names.x_test.min() - names.names.x_train.max() > 5


def test_bn_statistics_of_several_clients(snippet):
    model = nn.Sequential(nn.Linear(8, 16), nn.BatchNorm1d(16), nn.Dropout(0.25), nn.ReLU(), nn.Linear(16, 2))
    x, y = batch(256)
    optimizer = torch.optim.Adam(model.parameters(), lr=0.01)
    for _ in range(200):
        optimizer.zero_grad()
        nn.functional.cross_entropy(model(x), y).backward()
        optimizer.step()
    own, recomputed = snippet.diagnose(model, x=x, y=y).numbers
    assert own == pytest.approx(recomputed, abs=0.05), "statistics of this data"
    model[1].running_mean += 20
    averaged, again = snippet.diagnose(model.eval(), x=x, y=y).numbers
    assert averaged > 10 * recomputed and again == pytest.approx(recomputed)
    assert torch.isfinite(torch.tensor(snippet.diagnose(x=x[:17], y=y[:17]).numbers)).all()


def test_one_batch_norm_two_sources(snippet):
    def gaps(model):
        x, y = batch()
        x[32:] = x[32:] + 2
        printed = snippet.diagnose(model, x=x, y=y).numbers
        return abs(printed[0]), abs(printed[1])

    normed = nn.Sequential(nn.Linear(8, 16), nn.BatchNorm1d(16), nn.ReLU(), nn.Linear(16, 1))
    joint, apart = gaps(normed)
    assert apart < joint / 3, "separate passes take the difference away"
    joint, apart = gaps(plain_model(outputs=1))
    assert apart == pytest.approx(joint, rel=1e-4), "without batch norm the passes are the same"
