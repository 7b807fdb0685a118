"""Snippets on LSTMs: settings preserve the state as intended, and recurrences written out equal the library's."""

import math

import pytest
import torch


def test_constant_error_carousel(snippet):
    rms, saturated = snippet.run().numbers
    assert rms < 1 and saturated == 0
    ran = snippet.run(
        swap={
            "torch.randn(4, 200, 8))": "torch.randn(4, 200, 8), (torch.zeros(1, 4, 32), torch.full((1, 4, 32), 1e4)))"
        }
    )
    assert ran.numbers[0] >= 0


def test_forget_bias_survival(snippet):
    lstm = snippet.run().names.lstm
    forget = slice(32, 64)
    bias = (lstm.bias_ih_l0 + lstm.bias_hh_l0)[forget]
    assert bias.sigmoid().pow(100).detach() == pytest.approx([math.exp(-1)] * 32, abs=0.02)
    assert lstm.bias_ih_l0[:32].std() > 0, "the other gates are as they were"


def test_gru_memory_path(snippet):
    gru = snippet.run().names.gru
    keep = (gru.bias_ih_l0 + gru.bias_hh_l0)[32:64].sigmoid()
    assert keep.detach().tolist() == pytest.approx([0.9933] * 32, abs=1e-3)
    assert gru.bias_ih_l0[:32].std() > 0 and gru.bias_ih_l0[64:].std() > 0


def test_lstm_explodes(snippet):
    healthy = snippet.run()
    large = snippet.run(swap={
        "for gate": "[p.data.mul_(20) for n, p in lstm.named_parameters() if 'weight_hh' in n]\nfor gate",
    })  # fmt: skip
    norms = [float(line.split()[-1]) for line in healthy.printed.splitlines()]
    sick = [float(line.split()[-1]) for line in large.printed.splitlines()]
    assert max(norms[:4]) < 2 < 10 < min(sick[:4])
    assert sick[4] > 10 * norms[4]


def test_lstm_memory_path(snippet):
    lstm = snippet.run().names.lstm
    assert (lstm.bias_ih_l0 + lstm.bias_hh_l0)[32:64].tolist() == [1.0] * 32
    assert lstm.bias_ih_l0[:32].std() > 0


def test_lstm_step_by_step(snippet):
    h, c = [float(text) for text in snippet.run().printed.split()[1::2]]
    i, _f, g, o = (1 / (1 + math.exp(-z)) if n != 2 else math.tanh(z) for n, z in enumerate((2.0, 3.0, 2.0, 2.0)))
    assert c == pytest.approx(i * g, abs=1e-4) and h == pytest.approx(o * math.tanh(c), abs=1e-4)


def test_lstm_with_exp_and_log(snippet):
    output = snippet.run().numbers[0]
    log_f, i, z = -0.05, [60.0, 90.0, 75.0], [1.0, 0.5, 0.2]
    weights = [math.exp(g + log_f * (2 - t)) for t, g in enumerate(i)]
    assert output == pytest.approx(sum(w * v for w, v in zip(weights, z, strict=True)) / sum(weights), rel=1e-5)
    assert math.isfinite(snippet.run(swap={"60.0, 90.0, 75.0": "600.0, 900.0, 750.0"}).numbers[0])


def test_truncated_backpropagation(snippet):
    names = snippet.run().names
    assert all(not s.requires_grad for s in names.state)
    assert all(p.grad is not None and p.grad.isfinite().all() for p in names.lstm.parameters())
    assert isinstance(names.state[0], torch.Tensor)
    with pytest.raises(RuntimeError):
        snippet.run(swap={"s.detach()": "s"})


def test_lstm_wider_is_nan(snippet):
    lstm = snippet.run().names.lstm
    assert all(p.abs().max() <= 512**-0.5 for p in lstm.parameters())
    out, _ = lstm(torch.randn(2, 50, 8))
    assert out.isfinite().all()
