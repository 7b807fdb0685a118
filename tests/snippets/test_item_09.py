"""Snippets on products and sums: residual blocks keep the variance, sums of logarithms do not underflow, checks detect
growth.
"""

import math

import pytest
import torch
from snippets.reader import batch, healthy_model, plain_model
from torch import nn


def test_decay_products_in_log_space(snippet):
    ran = snippet.run()
    assert ran.numbers[-1] == pytest.approx(1 / (1 - math.exp(-0.5)), rel=1e-4)
    log_a, u = -torch.rand(50), torch.randn(50)
    h, states = torch.zeros(()), []
    for a, value in zip(log_a, u, strict=True):
        h = a.exp() * h + value
        states.append(h)
    torch.testing.assert_close(ran.names.scan_in_logs(log_a, u), torch.stack(states))


def test_depth_scaling_of_residuals(snippet):
    assert 0.8 < snippet.run().numbers[-1] < 2
    assert snippet.run(swap={"additions ** -0.5": "1.0"}).numbers[-1] > 20


def test_large_outputs_and_learning_rate(snippet):
    x = 1000 * batch()[0] + 5000
    x[:, 3] = 7
    ready = snippet.run(x=x).names.x
    assert ready.isfinite().all() and ready.mean(0).abs().max() < 0.01
    assert ready[:, :3].std(0).sub(1).abs().max() < 0.01
    sound = batch()[0]
    assert (snippet.run(x=sound).names.x - sound).abs().max() < 1, "inputs of a sound size hardly change"


def test_mean_of_a_product_misleads(snippet):
    geometric, median, arithmetic, spread = snippet.run(
        swap={"[0.2, 3.1, 0.01, 870.0]": "[0.01, 0.01, 100.0]"}
    ).numbers[-4:]
    assert geometric == pytest.approx(0.01 ** (1 / 3), rel=1e-4) and median == pytest.approx(0.01)
    assert arithmetic == pytest.approx(100.02 / 3) and spread > 2
    geometric, median, arithmetic, spread = snippet.run(swap={"[0.2, 3.1, 0.01, 870.0]": "[1.0, 1.1, 0.9]"}).numbers[
        -4:
    ]
    assert geometric == pytest.approx(arithmetic, rel=0.01) and spread < 0.1


def test_multiply_vs_add(snippet):
    block = snippet.run().names.Block(nn.Linear(8, 8))
    h = torch.randn(4, 8)
    assert torch.equal(block(h), h), "the identity at the start"
    block(h).square().sum().backward()
    assert block.scale.grad != 0, "and it learns"


def test_overflow_step_of_a_product(snippet):
    ran = snippet.run()
    assert ran.printed.split() == [str(math.ceil(math.log(65520) / math.log(1.5))), "220", "None"]


def test_pre_ln_and_post_ln(snippet):
    model = plain_model()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    loss = nn.functional.cross_entropy(model(batch()[0]), batch()[1])
    names = snippet.run(model, optimizer=optimizer, loss=loss).names
    assert names.warmup.get_last_lr()[0] == pytest.approx(0.1 * 2 / 1000)


def test_product_by_logarithms(snippet):
    ran = snippet.run()
    product, log_p, log_mean = ran.numbers
    assert product == 0 and -5000 < log_p < -500
    assert log_mean == pytest.approx(ran.names.p.double().mean().log().item(), abs=1e-4)


def test_residual_jacobian_is_a_product(snippet):
    assert snippet.run().numbers[-1] < 5
    assert snippet.run(swap={"blocks**-0.5": "1.0"}).numbers[-1] > 20


def test_sampler_trainer_mismatch(snippet, capsys):
    mismatch = snippet.run().names.mismatch
    alike, mask = torch.zeros(2, 50), torch.ones(2, 50, dtype=torch.bool)
    for d, spread in ((torch.full((2, 50), 0.01), 0.0), (torch.tensor([0.01, -0.01]).repeat(2, 25), 0.01)):
        mismatch(d, alike, mask)
        assert float(capsys.readouterr().out.split()[3]) == pytest.approx(spread, abs=2e-4), "the spread alone"
    mask = torch.tensor([[True, True, False], [True, True, True], [False, False, False]])
    logp = torch.full((3, 3), -1.0)
    logp[0, 2] = -math.inf
    ratio = mismatch(logp, logp + torch.tensor([0.0, 0.0, math.nan]), mask & torch.tensor([True, True, False]))
    assert torch.equal(ratio, torch.ones(3)), "padding does not count, an empty row is 1"
    assert mismatch(logp[1:2], logp[1:2] - 0.012, mask[1:2]).item() == pytest.approx(math.exp(0.012), rel=1e-4)


def test_sums_stall_in_float16(snippet):
    x = torch.full((100, 100), 1.0)
    accumulated, at_once = snippet.run(x=x).numbers[-2:]
    assert accumulated == at_once == 10000
    total = torch.zeros((), dtype=torch.float16)
    for value in x.flatten().half():
        total += value
    assert total == 2048, "the sum in float16 stands still"


def test_thousand_factors_near_one(snippet):
    model = nn.Sequential(*(nn.Linear(8, 8, bias=False) for _ in range(4)))
    with torch.no_grad():
        for m in model:
            m.weight.copy_(1.01 * torch.eye(8))
    rate, thousand = snippet.diagnose(model).numbers[:1] + snippet.diagnose(model).numbers[-1:]
    assert rate == pytest.approx(1.01, rel=1e-3) and thousand == pytest.approx(1.01**1000, rel=0.01)
    assert snippet.diagnose().numbers[0] > 0


def test_zero_initialised_branches(snippet):
    block = snippet.run().names.ReZero(healthy_model()[7])
    block.branch = nn.Linear(8, 8)
    h = torch.randn(4, 8)
    assert torch.equal(block(h), h)
    block(h).square().sum().backward()
    assert block.alpha.grad != 0


def test_forward_algorithm_in_logs(snippet):
    x, _ = batch()
    likelihood = snippet.run().names.log_likelihood
    transition, start = torch.rand(3, 3).log_softmax(1), torch.rand(3).log_softmax(0)
    emission = torch.rand(5, 3).log()
    alpha = start.exp() * emission[0].exp()
    for score in emission[1:]:
        alpha = (alpha @ transition.exp()) * score.exp()
    torch.testing.assert_close(likelihood(start, transition, emission), alpha.sum().log())
    assert math.isfinite(likelihood(start, transition, (emission - 300).repeat(100, 1)).item())
    assert x.isfinite().all()


def test_flow_inverse_error(snippet):
    x, _ = batch()
    unbounded = {"limit=0.5": "limit=1e6"}
    assert snippet.diagnose(x=x).numbers[-1] < 1e-5
    assert snippet.diagnose(x=x, swap=unbounded).numbers[-1] < 1e-4, "ordinary inputs need no limit"
    assert snippet.diagnose(x=30 * x).numbers[-1] < 1e-3
    assert not snippet.diagnose(x=30 * x, swap=unbounded).numbers[-1] < 0.1, "scales that grow lose the input"
    names = snippet.diagnose(x=30 * x).names
    a, b = names.a[:1], names.b[:1]
    jacobian = torch.autograd.functional.jacobian(lambda part: names.layer(a, part)[1], b).squeeze()
    torch.testing.assert_close(names.layer(a, b)[2][0], torch.linalg.slogdet(jacobian)[1])
