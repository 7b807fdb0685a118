"""Snippets on accuracy at chance: the checks report a broken net, label, loader or metric, and nothing on sound
ones.
"""

import math

import pytest
import torch
from snippets.reader import batch, healthy_model, plain_model
from torch import nn

NAN = float("nan")


class OneLogit(nn.Module):
    """A correct binary classifier with a single output."""

    def __init__(self):
        super().__init__()
        self.scale = nn.Parameter(torch.tensor(3.0))

    def forward(self, x):
        return self.scale * x[:, :1]


class Fixed(nn.Module):
    """A model whose outputs are given."""

    def __init__(self, out):
        super().__init__()
        self.out = nn.Parameter(out)

    def forward(self, x):
        return self.out.expand(len(x), -1) if len(self.out) == 1 else self.out[: len(x)]


class Cut(nn.Module):
    """A layer that stops the gradient."""

    def forward(self, h):
        return h.detach()


def broken():
    """A model with a nan weight."""
    model = healthy_model()
    with torch.no_grad():
        model[7].weight[0, 0] = NAN
    return model


def test_accuracy_stuck_at_half(snippet):
    x, y = batch()
    ran = snippet.diagnose(OneLogit(), x_val=x, y_val=y.float()[:, None])
    ones = int(y.sum())
    assert f"predicted [{64 - ones}, {ones}] true [{64 - ones}, {ones}]" in ran.printed
    assert "finite True" in ran.printed and "tensors []" in ran.printed
    ran = snippet.diagnose(broken(), x_val=x, y_val=y)
    assert "finite False" in ran.printed and "7.weight" in ran.printed
    ran = snippet.diagnose()
    assert "finite True" in ran.printed and "tensors []" in ran.printed


def test_argmax_of_nan(snippet):
    with pytest.raises(RuntimeError, match="64 rows"):
        snippet.run(broken())
    for loss in (NAN, 1e6):
        with pytest.raises(RuntimeError, match="loss"):
            snippet.run(loss=torch.tensor(loss))
    assert snippet.run().printed == ""


def test_bce_with_the_wrong_activation(snippet):
    low, high, *_ = snippet.diagnose(nn.Sequential(plain_model(outputs=1), nn.Sigmoid())).numbers
    assert 0 <= low <= high <= 1
    low, high, *_ = snippet.diagnose(OneLogit()).numbers
    assert low < 0 < 1 < high


def test_chance_labels_or_data(snippet):
    ran = snippet.diagnose(plain_model(), x=torch.zeros(64, 8))
    _, spread, end, *_ = ran.numbers
    assert spread == 0 and end > 0.5
    assert "0.weight" in snippet.diagnose(nn.Sequential(nn.Linear(8, 4), Cut(), nn.Linear(4, 2))).printed
    ran = snippet.diagnose()
    _start, spread, end, *_ = ran.numbers
    assert spread > 0.9 and end < 0.35 and "without gradient []" in ran.printed


def test_collapse_hidden_by_imbalance(snippet):
    y = (torch.arange(64) >= 60).long()
    ran = snippet.diagnose(Fixed(torch.tensor([[1.0, 0.0]])), y=y)
    assert ran.numbers[-1] == 0.5 and "[60, 4]" in ran.printed
    ran = snippet.diagnose(Fixed(nn.functional.one_hot(y, 2).float()), y=y)
    assert ran.numbers[-1] == 1
    assert "finite False" in snippet.diagnose(Fixed(torch.full((64, 2), NAN)), y=y).printed


def test_collapse_with_ten_classes(snippet):
    y = torch.arange(64) % 10
    accuracy, fraction = snippet.diagnose(Fixed(torch.eye(10)[:1]), y=y).numbers
    assert accuracy == fraction == pytest.approx(7 / 64, abs=1e-4)
    ran = snippet.diagnose(Fixed(nn.functional.one_hot(y, 10).float()), y=y)
    assert ran.numbers[0] == 1 and "finite True" in ran.printed


def test_constant_without_nan(snippet):
    sick = healthy_model()
    with torch.no_grad():
        sick[5].bias.fill_(-100.0)
    assert snippet.diagnose(sick).printed.splitlines()[-1].startswith("dead units 100%")
    assert [line.split("%")[0] for line in snippet.diagnose().printed.splitlines()] == ["dead units 0"] * 2


def test_loss_at_chance(snippet):
    loss, chance, *_ = snippet.diagnose(Fixed(torch.zeros(1, 2))).numbers
    assert loss == pytest.approx(chance) == pytest.approx(math.log(2))
    _, y = batch()
    loss, chance, entropy, spread = snippet.diagnose(Fixed(5.0 * nn.functional.one_hot(y, 2)), y=y).numbers
    assert loss < 0.1 and spread > 1 and entropy == pytest.approx(math.log(2), abs=0.05)


def test_loss_falls_accuracy_zero(snippet):
    _, y = batch()
    with pytest.raises(AssertionError):
        snippet.diagnose(y=y[:, None])
    with pytest.raises(AssertionError):
        snippet.diagnose(swap={"logits.argmax(1)": "logits.argmin(1)"})
    assert snippet.diagnose(Fixed(5.0 * nn.functional.one_hot(y, 2)), y=y).numbers[0] == 1


def test_loss_flat_at_chance(snippet):
    assert snippet.diagnose(plain_model(), x=torch.zeros(64, 8)).numbers[0] > 0.4
    loss, moved, total = snippet.diagnose().numbers
    assert loss < 0.4 and (moved, total) == (5, 9)


def test_one_class_zero_gradient(snippet):
    _, y = batch()
    with pytest.raises(AssertionError, match="one output"):
        snippet.run(OneLogit())
    with pytest.raises(AssertionError, match="one kind of label"):
        snippet.run(y=torch.zeros_like(y))
    assert "labels" in snippet.run().printed


def test_overfit_one_batch(snippet):
    assert snippet.diagnose(plain_model(), x=torch.zeros(64, 8)).numbers[-1] > 0.4
    ran = snippet.diagnose()
    assert ran.numbers[-1] < 0.1 and "True" in ran.printed


def test_softmax_before_cross_entropy(snippet):
    low, high, lowest = snippet.diagnose(nn.Sequential(plain_model(), nn.Softmax(1))).numbers
    assert low == pytest.approx(1, abs=1e-5) == high and lowest >= 0
    low, high, lowest = snippet.diagnose().numbers
    assert low < 0.9 and lowest < 0


def test_unnormalised_features_at_chance(snippet):
    x, _ = batch()
    assert snippet.run(x=x + 20).numbers[0] > 10
    constant = x.clone()
    constant[:, 3] = 5
    names = snippet.run(x=constant).names
    assert names.x_ready.isfinite().all() and names.std[3] == 1, "a constant column stays unscaled"
    ran = snippet.run()
    assert ran.numbers[0] < 0.5 and ran.names.x_ready.std(0).sub(1).abs().max() < 1e-5


def test_validation_only_at_chance(snippet):
    x, y = batch()
    ran = snippet.diagnose(x_val=255 * x)
    assert ran.numbers[-1] > 100 > ran.numbers[5]
    stale = nn.Sequential(nn.BatchNorm1d(8), nn.Linear(8, 2))
    with torch.no_grad():
        stale[0].running_mean.fill_(50.0)
        stale[1].weight.copy_(torch.tensor([[-9.0] + [0.0] * 7, [9.0] + [0.0] * 7]))
        stale[1].bias.zero_()
    train, evaluation = snippet.diagnose(stale, x=x, y=y).numbers[:2]
    assert train > 0.9 and evaluation < 0.75


def test_fine_tuning_collapses_to_chance(snippet):
    model = plain_model()
    adam = snippet.diagnose(model, optimizer=torch.optim.Adam(model.parameters())).names.w
    assert adam.detach().abs().tolist() == pytest.approx([1e-3] * 3, rel=1e-3)
    sgd = snippet.diagnose(model).names.w
    assert sgd.detach().abs().tolist() == pytest.approx([1e-4, 1e-3, 1e-2], rel=1e-3)


def test_diffusion_loss_barely_falls(snippet):
    fixed_loss = snippet.run().names.fixed_loss
    alpha_bar = torch.linspace(0.999, 0.001, 50)
    t = torch.arange(50).repeat_interleave(40)
    x, noise = torch.randn(2000, 1, 4, 4), torch.randn(2000, 1, 4, 4)
    dead = fixed_loss(lambda noisy, _: torch.zeros_like(noisy), x, noise, t, alpha_bar)
    assert set(dead) == set(range(50))
    assert all(value == pytest.approx(1, abs=0.25) for value in dead.values())
    kept = alpha_bar.view(-1, 1, 1, 1)
    sound = fixed_loss(lambda noisy, t: (1 - kept[t]).sqrt() * noisy, x, noise, t, alpha_bar)  # best for Gaussian data
    assert sound[0] == pytest.approx(1, abs=0.25) and sound[49] < 0.02


def test_arcface_accuracy_zero(snippet):
    arcface = snippet.run().names.arcface
    weight, labels = torch.eye(8, 16), torch.arange(8)
    perfect, right = arcface(3 * weight, weight, labels)
    assert perfect < 0.01 and right == 1
    weight, labels = torch.randn(200, 256), torch.randint(200, (512,))
    features = torch.nn.functional.normalize(weight)[labels] + 0.1 * torch.randn(512, 256)  # cosines of about 0.5
    loss, plain = arcface(features, weight, labels)
    assert loss > 1 and plain > 0.95  # right by cosines, though the loss is far from 0
    start, chance = arcface(torch.randn(512, 256), weight, labels)
    assert start == pytest.approx(64 * math.sin(0.5) + math.log(199) + 64**2 / 512, rel=0.06) and chance < 0.05
    edge = weight.clone().requires_grad_()
    arcface(edge, weight, torch.arange(200))[0].backward()
    assert edge.grad.isfinite().all()


def test_self_supervised_collapse(snippet):
    measure = snippet.run().names.spread_and_dimensions
    spread, dimensions = measure(torch.randn(4000, 16))
    assert spread == pytest.approx(1, abs=0.05) and dimensions > 15
    spread, _ = measure(torch.randn(16) + 0.01 * torch.randn(400, 16))
    assert spread < 0.1
    hidden = torch.randn(4000, 2) @ torch.randn(2, 16)
    spread, dimensions = measure((hidden - hidden.mean(0)) / hidden.std(0))  # as batch norm leaves it
    assert spread > 0.8 and dimensions < 3
