"""Tests the experiment lstm_step against reference values computed by independent code."""

import mpmath
import pytest
from oracles import measure, measured


@pytest.mark.parametrize("bias", [0.0, 3.0, -2.0])
def test_lstm_step_by_mpmath(bias):
    """Two steps with all numbers written out in mpmath give the same states."""

    def sigmoid(z):
        return 1 / (1 + mpmath.exp(-z))

    f1, i1, g1, o1 = sigmoid(bias), sigmoid(2), mpmath.tanh(2), sigmoid(2)
    c1 = i1 * g1
    h1 = o1 * mpmath.tanh(c1)
    i2, f2 = sigmoid(-2 + h1 / 10), sigmoid(bias + h1 / 10)
    metrics = measured("lstm_step", forget_bias=bias)
    expected = {"f1": f1, "i1": i1, "g1": g1, "o1": o1, "c1": c1, "h1": h1, "i2": i2, "c2": f2 * c1}
    for name, value in expected.items():
        assert metrics[name] == pytest.approx(float(value), rel=1e-12), name


def test_lstm_step_keeps_the_product_of_the_gates():
    """If nothing is written after the first step, what is kept is the product of the forget gates."""
    rows, metrics = measure("lstm_step", n=30)
    product = 1.0
    for row in rows[1:]:
        product *= row["f"]
    assert metrics["kept"] == pytest.approx(product, rel=1e-12)
    assert metrics["c_last"] == pytest.approx(metrics["c1"] * product, rel=1e-12)


def test_lstm_step_agrees_with_torch_in_its_order_only():
    """torch.nn.LSTMCell with rows in the order i, f, g, o gives the same states; in another order it does not."""
    assert measured("lstm_step")["torch_difference"] < 1e-12
    assert measured("lstm_step", order="f, i, g, o")["torch_difference"] > 0.1
    one = measured("lstm_step", n=1)
    assert one["kept"] == 1
    assert one["c2"] == one["c1"]
