"""Snippets on nan in activations: each finds the layer, row, state or operation at fault, and reports nothing on a
sound step.
"""

import pytest
import torch
from hooks import hook_count
from snippets.reader import bad_batch, batch, changes, check_bad_batch_is_skipped, healthy_model, plain_model, state_of
from torch import nn

pytestmark = pytest.mark.filterwarnings("ignore:Anomaly Detection", "ignore:Error detected")
INF, NAN = float("inf"), float("nan")


class Apply(nn.Module):
    """A layer without weights that applies a function."""

    def __init__(self, function):
        super().__init__()
        self.function = function

    def forward(self, h):
        return self.function(h)


def with_layer(function):
    """A model whose layer "1" applies the given function."""
    return nn.Sequential(nn.Linear(8, 16), Apply(function), nn.Linear(16, 2))


def root(h):
    """A square root with output 0 at 0, where its gradient is 0/0."""
    return torch.where(h > 0, h.relu().sqrt(), 0)


def trained_by_adam(value):
    """A model and its Adam after one step, with `value` in one moment."""
    model = plain_model()
    optimizer = torch.optim.Adam(model.parameters(), lr=0.01)
    model(batch()[0]).sum().backward()
    optimizer.step()
    optimizer.state[model[0].weight]["exp_avg_sq"][0, 0] = value
    return model, optimizer


def test_adam_after_inf_gradient(snippet):
    model, optimizer = trained_by_adam(INF)
    assert "exp_avg_sq" in snippet.run(model, optimizer=optimizer).printed
    assert not optimizer.state
    model, optimizer = trained_by_adam(1.0)
    assert "[]" in snippet.run(model, optimizer=optimizer).printed
    assert optimizer.state


def test_anomaly_detection_first_nan(snippet):
    assert "SqrtBackward0" in snippet.diagnose(with_layer(root)).printed
    assert "no nan" in snippet.diagnose().printed


def test_clipping_an_inf_gradient(snippet):
    check_bad_batch_is_skipped(snippet)


@pytest.mark.parametrize("dtype", ["float32", "float16", "bfloat16"])
def test_fully_masked_attention_row(snippet, dtype):
    ran = snippet.run(swap={"torch.randn(4, 6)": f"torch.randn(4, 6).to(torch.{dtype})"})
    assert "True" in ran.printed
    sums = ran.names.weights.float().sum(-1)
    assert sums[2] == 0 and sums[[0, 1, 3]].sub(1).abs().max() < 0.01


def test_garbage_at_inference(snippet):
    sick = healthy_model()
    with torch.no_grad():
        sick[7].weight[0, 0] = NAN
    assert snippet.diagnose(sick.eval()).numbers[-1] == 0.5
    assert snippet.diagnose(healthy_model().eval()).numbers[-1] == 1
    with pytest.raises(AssertionError, match="eval"):
        snippet.diagnose(healthy_model())


def test_inverse_of_ill_conditioned_matrix(snippet):
    x, _ = batch()
    ran = snippet.run()
    assert ran.numbers[0] < 100
    torch.testing.assert_close(ran.names.w, torch.eye(8)[0], rtol=0.01, atol=0.01)
    x[:, 1] = x[:, 0]
    ran = snippet.run(x=x)
    assert ran.numbers[0] > 1e5 and ran.names.w.isfinite().all() and ran.names.w.abs().max() < 1


def test_log_gradient_norm_before_clipping(snippet):
    class Spike(nn.CrossEntropyLoss):
        calls = 0
        factor = 1000.0

        def forward(self, out, y):
            self.calls += 1
            return super().forward(out, y) * (self.factor if self.calls == 31 else 1)

    lines = snippet.run(plain_model(), criterion=Spike()).printed.splitlines()
    assert len(lines) == 1 and lines[0].startswith("30 ")
    Spike.factor = INF
    model = plain_model()
    lines = snippet.run(model, criterion=Spike()).printed.splitlines()
    assert len(lines) == 1 and lines[0].startswith("30 ")
    assert all(p.isfinite().all() for p in model.parameters())
    assert snippet.run().printed == ""


def test_loss_zero_grad_norm_nan(snippet):
    sick = healthy_model()
    with torch.no_grad():
        sick[0].weight.fill_(NAN)
    assert "1 ['0.weight']" in snippet.diagnose(sick).printed
    assert "0 []" in snippet.diagnose().printed


def test_nan_in_activations(snippet):
    with pytest.raises(AssertionError, match="inputs"):
        snippet.diagnose(x=bad_batch()[0])
    with pytest.raises(RuntimeError, match="in 1: input finite True, weights True"):
        snippet.diagnose(with_layer(torch.log))
    sick = healthy_model()
    with torch.no_grad():
        sick[4].weight[0, 0] = NAN
    with pytest.raises(RuntimeError, match="in 4: input finite True, weights False"):
        snippet.diagnose(sick)
    with pytest.raises(AssertionError, match="loss"):
        snippet.diagnose(criterion=lambda out, y: out.sum() / 0)
    with pytest.raises(RuntimeError, match="SqrtBackward0"):
        snippet.diagnose(with_layer(root))
    assert snippet.diagnose().printed == ""


def test_nan_in_backward_only(snippet):
    x, y = batch()
    x[0, 0] = 0
    with pytest.raises(RuntimeError, match="SqrtBackward0"):
        snippet.diagnose(with_layer(root), x=x)
    x.requires_grad_()
    root_of = snippet.diagnose(x=x, y=y).names.root
    root_of.sum().backward()
    assert x.grad.isfinite().all()
    torch.testing.assert_close(root_of[1:], x[1:, :1].abs())


def test_nan_layer_and_step(snippet):
    with pytest.raises(RuntimeError, match="in 1: input finite True, weights True"):
        snippet.diagnose(with_layer(torch.log))
    with pytest.raises(RuntimeError, match="in 0: input finite False"):
        snippet.diagnose(x=bad_batch()[0])
    assert snippet.diagnose().printed == ""


def test_nan_only_in_validation(snippet):
    clean = snippet.diagnose().printed
    assert clean.endswith("statistics []\n") and "inputs finite" not in clean
    x, y = bad_batch(row=7)
    assert "batch 0 inputs finite False outputs finite False" in snippet.diagnose(x=x, y=y).printed
    unlabelled = snippet.diagnose(y=torch.full((64,), -100)).printed
    assert "batch 0 inputs finite True outputs finite True" in unlabelled
    model = healthy_model()
    model[1].running_mean[0] = NAN
    ran = snippet.diagnose(model).printed
    assert "inputs finite True outputs finite False" in ran and "1.running_mean" in ran


def test_one_nan_sample_in_batch(snippet):
    x, y = bad_batch(row=7)
    model = healthy_model()
    ran = snippet.run(model, x=x, y=y)
    assert "bad samples [7]" in ran.printed and "statistics []" in ran.printed and ran.names.loss.isfinite()
    model[1].running_mean[0] = NAN
    assert "1.running_mean" in snippet.run(model).printed
    assert "bad samples" not in snippet.run().printed
    model = healthy_model()
    before = state_of(model)
    snippet.run(model, x=torch.full((64, 8), NAN), y=y)
    assert not changes(before, state_of(model)), "a batch without a good row is left out"


def test_relu_does_not_stop_nan(snippet):
    names = snippet.run().names
    assert names.out.tolist() == [2, 0, 0] and names.z.grad.tolist() == [0.25, 0, 0]
    names = snippet.run(swap={"torch.where(ok, z, torch.ones_like(z))": "z"}).names
    assert not names.z.grad.isfinite().all()


def test_skipping_bad_steps(snippet):
    x, y = bad_batch()
    model = plain_model()
    before = {name: p.clone() for name, p in model.state_dict().items()}
    with pytest.raises(AssertionError, match="find the cause"):
        snippet.run(model, x=x, y=y)
    assert not changes(before, model.state_dict())
    ran = snippet.run(model)
    assert ran.printed == "" and changes(before, model.state_dict())


def test_svd_eigh_gradient(snippet):
    x, _ = batch()
    q, _ = torch.linalg.qr(x)
    assert snippet.run(x=8 * q).numbers[0] < 1e-5
    x[:, 0] = 0
    assert abs(snippet.run(x=x).numbers[1]) < 1e-6
    gap, smallest = snippet.run().numbers
    assert gap > 1e-3 and smallest > 0.1


def test_one_rank_poisons_all(snippet):
    model = healthy_model()
    assert "0.weight not finite" in snippet.run(model, criterion=lambda out, y: out.sum() * INF).printed
    assert not hook_count(model)
    assert snippet.run().printed == ""


def test_sampling_from_filtered_probabilities(snippet):
    sample = snippet.run(healthy_model().eval()).names.sample
    logits = torch.tensor([[5.0, 1.0, 0.0], [0.0, 70000.0, 0.0]])
    for temperature, top_p in ((0.0, 1.0), (1e-3, 1.0), (1.0, 0.0), (1.0, 1e-6)):
        assert sample(logits, temperature, top_p).tolist() == [0, 1]
    drawn = sample(torch.zeros(3000, 3))
    assert (drawn.bincount() - 1000).abs().max() < 150


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32])
def test_two_masks_added(snippet, dtype):
    ran = snippet.run()
    assert ran.printed.split() == ["False", "True"]
    bias = ran.names.attention_bias(torch.tensor([[True, False, False]]), dtype)
    weights = (torch.randn(1, 3, 3).to(dtype) + bias).float().softmax(-1)
    assert weights.isfinite().all()
    assert weights[0, 1, [0, 2]].tolist() == [0, 0] and weights[0, 2, 0] == 0


def test_masked_softmax_by_hand(snippet):
    """Padding that scores higher gets nothing, an empty row gives 0 and no nan, a full one is the ordinary softmax."""
    ran = snippet.run()
    assert ran.numbers == [1.0, 0.0]
    masked_softmax = ran.names.masked_softmax
    scores = torch.tensor([[1.0, 2.0, 300.0], [0.5, -1.0, 3.0]])
    keep = torch.tensor([[True, True, False], [True, True, True]])
    weights = masked_softmax(scores, keep)
    torch.testing.assert_close(weights[0, :2], scores[0, :2].softmax(-1))
    assert weights[0, 2] == 0
    assert torch.equal(weights[1], scores[1].softmax(-1))


def test_cholesky_jitter(snippet):
    ran = snippet.run()
    assert 0 < ran.numbers[-1] < 1e-2, "the kernel of crowded points is cured by a small jitter"
    cholesky = ran.names.safe_cholesky
    points = torch.linspace(0, 1, 100)[:, None]
    crowded = torch.exp(-(torch.cdist(points, points) ** 2) / 0.18)
    factor, jitter = cholesky(crowded)
    torch.testing.assert_close(factor @ factor.mT, crowded, rtol=0, atol=2 * jitter)
    sound = torch.eye(8, dtype=torch.float64) + 0.1
    factor, jitter = cholesky(sound)
    assert jitter == 0 and factor.dtype is torch.float64
    assert torch.equal(factor, torch.linalg.cholesky(sound))
    with pytest.raises(ValueError, match=r"-0\.05"):
        cholesky(torch.diag(torch.tensor([1.0, 1.0, -0.05])))


def test_overlapped_communication(snippet):
    first, second = snippet.run().names.gradient_norms()
    assert first == second > 0

    class Racing(nn.Module):
        """A layer whose outputs alternate, as if a reduction on another stream had not finished when they are read."""

        def __init__(self):
            super().__init__()
            self.layer, self.passes = nn.Linear(8, 2), 0

        def forward(self, x):
            self.passes += 1
            return self.layer(x) * (1 + self.passes % 2)

    first, second = snippet.run(Racing()).names.gradient_norms()
    assert abs(first - second) / first > 0.01
