"""Snippets on exploding gradients: measurements tell whether layers, loss or learning rate cause it; cures keep values
bounded.
"""

import math

import pytest
import torch
from snippets.reader import batch, healthy_model, plain_model
from torch import nn


def with_gain(gain, layers=12, act=nn.ReLU):
    """A model whose weights have `gain` times the scale that preserves the signal."""
    model = plain_model(act, layers, 64)
    for m in model:
        if isinstance(m, nn.Linear):
            nn.init.kaiming_normal_(m.weight, nonlinearity="relu")
            m.weight.data *= gain
            nn.init.zeros_(m.bias)
    return model


def listed(ran):
    """The numbers of the printed list, ordered from output to input."""
    return [float(text.strip("' ")) for text in ran.printed.split("[")[1].split("]")[0].split(",")]


def growth(ran):
    """The first layer's signal over the last one's."""
    sizes = listed(ran)
    return sizes[-1] / sizes[0]


def test_attention_logits_grow(snippet):
    norm = snippet.run().names.QKNorm(64)
    for dtype in (torch.float32, torch.float16, torch.bfloat16):
        q, k = 100 * torch.randn(16, 64), 100 * torch.randn(16, 64)
        a, b = norm(q.to(dtype), k.to(dtype))
        assert a.dtype is b.dtype is dtype
        assert (a @ b.T).float().abs().max() <= 8.1
    assert (norm(torch.zeros(1, 64), torch.zeros(1, 64))[0] == 0).all()


def test_bounded_outputs_explode(snippet):
    assert growth(snippet.diagnose(with_gain(3.0, act=nn.Tanh))) > 100
    assert growth(snippet.diagnose(with_gain(1.0))) < 30
    assert len(listed(snippet.diagnose())) == 3


def test_choosing_a_clipping_threshold(snippet):
    median, _, largest = [
        float(text) for text in snippet.run().printed.replace("90 % quantile", "").split() if text[0].isdigit()
    ]
    assert 0 < median <= largest
    x, _ = batch()
    x[0, 0] = math.inf
    model = plain_model()
    with pytest.raises((RuntimeError, IndexError)):
        snippet.run(model, x=x)
    assert all(p.isfinite().all() for p in model.parameters())


def test_clipping_and_direction(snippet):
    model = plain_model()
    before = [p.detach().clone() for p in model.parameters()]
    names = snippet.run(model, criterion=lambda out, y: 1000 * nn.functional.cross_entropy(out, y)).names
    moved = torch.cat([(b - p).flatten() for b, p in zip(before, model.parameters(), strict=True)])
    assert moved.norm().item() == pytest.approx(0.1, rel=1e-3), "lr × max_norm"
    assert names.norm > 1
    x, y = batch()
    x[0, 0] = math.inf
    before = [p.detach().clone() for p in model.parameters()]
    snippet.run(model, x=x, y=y)
    assert all(torch.equal(b, p) for b, p in zip(before, model.parameters(), strict=True))


def test_distillation_temperature(snippet):
    loss = snippet.run().names.distillation_loss
    s, t, labels = torch.randn(16, 10), torch.randn(16, 10), torch.randint(10, (16,))

    def by_hand(s, t, temperature):
        p, q = (t / temperature).softmax(1), (s / temperature).softmax(1)
        return temperature**2 * (p * (p.log() - q.log())).sum(1).mean()

    for temperature in (1.0, 4.0):
        torch.testing.assert_close(loss(s, t, labels, temperature, alpha=1.0), by_hand(s, t, temperature))
    torch.testing.assert_close(loss(s, t, labels, alpha=0.0), nn.functional.cross_entropy(s, labels))
    sure = (1000 * s).half().requires_grad_()
    loss(sure, (1000 * t).half().requires_grad_(), labels, alpha=1.0).backward()
    assert sure.grad.isfinite().all()


def test_dot_product_scores_by_root_d(snippet):
    for d in (16, 256):
        scores = snippet.run().names.Biaffine(d, 2)(torch.randn(2, 12, d), torch.randn(2, 12, d))
        assert scores.shape == (2, 2, 12, 12) and 0.5 < scores.std() < 2


def test_exploding_gradients(snippet):
    assert growth(snippet.diagnose(with_gain(2.0))) > 100
    assert growth(snippet.diagnose(with_gain(1.0))) < 30
    assert "total norm" in snippet.diagnose().printed


def test_gradient_accumulation(snippet):
    x, y = batch(40)
    torch.manual_seed(1)
    model = plain_model()
    start = {name: p.clone() for name, p in model.state_dict().items()}
    snippet.run(model, x=x, y=y)
    pieces = {name: p.clone() for name, p in model.state_dict().items()}
    model.load_state_dict(start)
    model.zero_grad()
    nn.functional.cross_entropy(model(x), y).backward()
    nn.utils.clip_grad_norm_(model.parameters(), 1.0)
    torch.optim.SGD(model.parameters(), lr=0.1).step()
    for name, p in model.state_dict().items():
        torch.testing.assert_close(pieces[name], p)


def test_gradients_explode(snippet):
    def growth_of(ran):
        sizes = [float(text.strip("'").split()[1]) for text in ran.printed.split("[")[1].split("]")[0].split(", ")]
        return max(sizes[0], sizes[-1]) / min(sizes[0], sizes[-1])

    assert growth_of(snippet.diagnose(with_gain(2.0))) > 100
    assert growth_of(snippet.diagnose(with_gain(1.0))) < 30
    assert "loss" in snippet.diagnose().printed


def test_lora_step_size(snippet):
    change = snippet.run().names.relative_change
    base = torch.randn(4, 8)
    assert change(base, base) == 0
    assert change(base, 1.5 * base) == pytest.approx(0.5, rel=1e-4)
    assert math.isfinite(change(300 * torch.ones(1, 4096).half(), 301 * torch.ones(1, 4096).half()))


def test_loss_spike(snippet):
    for factor, big in ((1.0, False), (1e4, True)):
        model = plain_model()
        loss = factor * nn.functional.cross_entropy(model(batch()[0]), batch()[1])
        loss.backward()
        ran = snippet.run(model, loss=loss)
        assert (ran.names.norm > 100) == big
        assert sum(p.grad.square().sum() for p in model.parameters()).sqrt() <= 1.001


def test_loss_sum_or_mean(snippet):
    ran = snippet.run()
    assert ran.numbers[0] == pytest.approx(64, rel=1e-4)
    assert ran.names.loss.requires_grad


def test_orthogonal_matrix_products(snippet):
    model = plain_model(nn.Identity, 30, 16)
    snippet.run(model)
    x = torch.randn(64, 16)
    assert model[2:-1](x).norm().item() == pytest.approx(x.norm().item(), rel=1e-3)
    snippet.run()


def test_powers_of_0_9_and_1_1(snippet):
    model = nn.Sequential(*(nn.Linear(8, 8, bias=False) for _ in range(3)))
    with torch.no_grad():
        for m in model:
            m.weight.copy_(1.1 * torch.eye(8))
    assert [float(line.split()[1]) for line in snippet.diagnose(model).printed.splitlines()] == [1.1] * 3
    modules = [name for name, _ in healthy_model().named_children()]
    assert [line.split()[0] for line in snippet.diagnose().printed.splitlines()] == modules


def test_random_4x4_matrices(snippet):
    low, middle, high = snippet.run().numbers
    assert 0 < low < middle < high
    low, middle, high = snippet.run(
        swap={"torch.randn(4, 4, dtype=torch.float64) @": "0.3 * torch.randn(4, 4, dtype=torch.float64) @"}
    ).numbers
    assert low < middle < high < 0


def test_reading_gradient_norms(snippet):
    assert growth(snippet.diagnose(with_gain(2.0))) > 100
    assert growth(snippet.diagnose(with_gain(1.0))) < 30
    assert len(listed(snippet.diagnose())) == 3


def test_slopes_of_activations(snippet):
    slopes = [float(line.split()[3]) for line in snippet.run().printed.splitlines()]
    assert slopes == pytest.approx([1.1289, 1.0998, 1.0885], abs=1e-3)


def after_steps(calm, steps=200):
    """A model, its Adam after steps with gradients of this size, and a loss of ordinary size."""
    model = plain_model()
    optimizer = torch.optim.Adam(model.parameters(), lr=0.0)
    x, y = batch()
    for _ in range(steps):
        optimizer.zero_grad()
        (calm * nn.functional.cross_entropy(model(x), y)).backward()
        optimizer.step()
    optimizer.zero_grad()
    return model, optimizer, nn.functional.cross_entropy(model(x), y)


def test_adam_spike_after_a_quiet_stretch(snippet):
    model, optimizer, loss = after_steps(1e-4)
    assert snippet.run(model, optimizer=optimizer, loss=loss).numbers[-1] > 10
    model, optimizer, loss = after_steps(1.0)
    assert snippet.run(model, optimizer=optimizer, loss=loss).numbers[-1] < 3
    model = plain_model()
    loss = nn.functional.cross_entropy(model(batch()[0]), batch()[1])
    assert snippet.run(model, loss=loss).numbers[-1] == 0, "an optimiser without second moments"


def test_clipping_a_sharded_model(snippet):
    for factor in (1.0, 1e4):
        model = plain_model()
        x, y = batch()
        loss = factor * nn.functional.cross_entropy(model(x), y)
        ran = snippet.run(model, loss=loss)
        grads = torch.cat([p.grad.flatten() for p in model.parameters()])
        norm = ran.numbers[-1]
        assert grads.norm().item() == pytest.approx(min(1.0, norm), rel=1e-3)
    frozen = healthy_model()
    loss = nn.functional.cross_entropy(frozen(x), y)
    assert snippet.run(frozen, loss=loss).numbers[-1] > 0
    clip = snippet.run(frozen, loss=nn.functional.cross_entropy(frozen(x), y)).names.clip_sharded
    assert clip(list(plain_model().parameters()), 1.0).item() == 0, "a shard without any gradient"


def test_gradients_scale_with_inputs(snippet):
    x, y = batch()
    assert snippet.diagnose(plain_model(), x=x, y=y).numbers[-1] < 100
    x[:, 3] *= 1000
    assert snippet.diagnose(plain_model(), x=x, y=y).numbers[-1] > 100
    snippet.diagnose()


def test_rate_after_normalising_inputs(snippet):
    """The learning rate found is more than ten times as large for inputs that were divided by 30."""
    x, y = batch()
    raw, normalised = (snippet.diagnose(plain_model(), x=each, y=y).numbers[-1] for each in (30 * x, x))
    assert normalised > 10 * raw
    snippet.diagnose()


def test_warm_up_and_adams_first_steps(snippet):
    model = plain_model()
    loss = nn.functional.cross_entropy(model(batch()[0]), batch()[1])
    names = snippet.run(model, loss=loss).names
    assert names.schedule.get_last_lr()[0] == pytest.approx(0.1 * 2 / 500)


def test_z_loss_on_final_logits(snippet):
    loss = snippet.run(plain_model()).names.loss_with_z
    logits, y = torch.randn(8, 5), torch.zeros(8, dtype=torch.long)
    torch.testing.assert_close(loss(logits, y, 0.0), nn.functional.cross_entropy(logits, y))
    drifted = (logits + 1000).requires_grad_()
    loss(drifted, y).backward()
    assert drifted.grad.sum() > 0, "the shift is brought back"
    assert loss((logits * 1000).half(), y).isfinite()
    some = torch.where(torch.arange(8) < 3, -100, y)
    torch.testing.assert_close(loss(logits, some, 0.0), nn.functional.cross_entropy(logits, some))
    assert loss(logits, torch.full((8,), -100)) == 0


class RanksThatDiffer:
    """`torch.distributed` of two ranks whose gradients have different norms."""

    def __init__(self, factor):
        self.factor = factor

    def all_gather(self, norms, norm):
        for rank, each in enumerate(norms):
            each.copy_(norm * self.factor**rank)


@pytest.mark.parametrize("factor", [1.0, 5.0])
def test_clipping_with_several_gpus(snippet, monkeypatch, factor):
    model = plain_model()
    x, y = batch()
    alone = snippet.run(model, x=100 * x, y=y)
    grads = torch.cat([p.grad.flatten() for p in model.parameters()])
    assert "ranks" not in alone.printed
    assert alone.numbers[-1] > 1 and grads.norm().item() == pytest.approx(1, rel=1e-3)

    monkeypatch.setattr(torch.distributed, "is_initialized", lambda: True)
    monkeypatch.setattr(torch.distributed, "get_world_size", lambda: 2)
    monkeypatch.setattr(torch.distributed, "all_gather", RanksThatDiffer(factor).all_gather)
    model.zero_grad()
    first, second, before = snippet.run(model, x=100 * x, y=y).numbers
    assert first == before == alone.numbers[-1]
    assert second == pytest.approx(factor * first)
    assert snippet.run().numbers[-1] > 0


def test_explicit_euler_step(snippet):
    nearly_linear = {"* 5": "* 0.01"}
    names = snippet.diagnose(swap=nearly_linear).names
    for share, grows in ((0.5, False), (0.95, False), (1.05, True)):
        state, h = names.x[0], share * 2 / names.rate
        for _ in range(200):
            state = state + h * names.field(state)
        assert (state.norm() > 1e6 * names.x[0].norm()).item() is grows, share
        assert grows or state.norm() < 1e-3
    assert snippet.diagnose().names.rate > 10


def test_adam_with_a_large_eps(snippet):
    model = plain_model()
    x, _ = batch()
    for scale, mostly_below in ((1.0, True), (1e4, False)):
        below = float(snippet.diagnose(model, x=scale * x).numbers[0])
        assert (below > 0.5) is mostly_below


def test_underflow_in_dt(snippet):
    watched = snippet.run().names.watched
    y = torch.ones(2, 3)
    field = watched(lambda _, y: -y)
    assert torch.equal(field(torch.tensor(0.5), y), -y)
    for bad, where in ((lambda _, y: 1e5 * y, "f reaches"), (lambda _, y: (-y).sqrt(), "f reaches nan")):
        with pytest.raises(RuntimeError, match=where):
            watched(bad)(0.5, y)
    with pytest.raises(RuntimeError, match="y reaches"):
        field(0.5, 1e6 * y)
