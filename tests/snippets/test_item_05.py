"""Snippets on mathematics: a check accepts a correct derivation and rejects a wrong one."""

import pytest
import torch
from snippets.reader import plain_model
from torch import nn


def test_accuracy_as_a_loss(snippet):
    flat = plain_model()
    assert "2.bias" in snippet.run(flat, criterion=lambda out, y: (out * 1000).round().mean()).printed
    assert snippet.run().printed.splitlines()[-1].endswith("[]"), "frozen parameters are no fault"


def test_check_my_own_derivation(snippet):
    assert set(snippet.run().numbers) == {2}
    assert set(snippet.run(swap={"/ 8 ": "/ 16 "}).numbers) == {1}


def test_depth_and_linear_regions(snippet):
    assert snippet.diagnose(plain_model(nn.Tanh)).numbers == [1]
    assert snippet.diagnose(plain_model(width=64)).numbers[0] > 10
    assert snippet.diagnose().numbers[0] > 1


def test_gradient_check_step_size(snippet):
    class Wrong(torch.autograd.Function):
        @staticmethod
        def forward(ctx, w):
            ctx.save_for_backward(w)
            return (w**2).sum()

        @staticmethod
        def backward(ctx, grad):
            return 2.1 * ctx.saved_tensors[0] * grad

    snippet.run()
    with pytest.raises(RuntimeError):
        snippet.run(wrong=Wrong.apply, swap={"(w.tanh() ** 2).sum()": "wrong(w)"})


def test_maths_for_deep_learning(snippet):
    assert abs(snippet.run().numbers[0]) < 1e-12
    assert snippet.run(swap={"p[2] -= 1": "p[1] -= 1"}).numbers[0] > 0.5


def test_relu_at_zero(snippet):
    model = plain_model()
    with torch.no_grad():
        model[0].weight.zero_()
        model[0].bias.zero_()
    assert snippet.diagnose(model).numbers[-1] == 1
    assert snippet.diagnose().numbers[-1] == 0


def test_rounding_and_straight_through(snippet):
    assert snippet.run().numbers == [3] * 4
    assert snippet.run(swap={"x + (x.round() - x).detach()": "x.round()"}).numbers == [0] * 4


def test_second_derivatives_and_relu(snippet):
    assert snippet.run().numbers[-1] > 0.001
    assert snippet.run(swap={"nn.Tanh()": "nn.ReLU()"}).numbers[-1] == 0


def test_sigmoid_derivative_from_output(snippet):
    snippet.run()
    with pytest.raises(AssertionError):
        snippet.run(swap={"return y * (1 - y)": "return y.sigmoid() * (1 - y.sigmoid())"})


def test_softmax_cross_entropy_gradient(snippet):
    assert snippet.run().numbers[0] < 1e-12
    assert snippet.run(swap={" / len(t)": ""}).numbers[0] > 0.1


def test_svm_by_gradient_descent(snippet):
    assert snippet.run().numbers[0] > 0.8
    assert snippet.run(swap={"w -= ": "w += "}).numbers[0] < 0.8


def test_which_maths_first(snippet):
    assert snippet.run().numbers[0] < 1e-12
    assert snippet.run(swap={"2 * h * (1 - h**2)": "2 * h"}).numbers[0] > 0.1
