"""Tests the experiment logit_grad against numpy: the formula, and differences of the squared error."""

import numpy as np
import pytest
import torch
from oracles import measured


def setting(classes: int, batch: int, std: float):
    torch.manual_seed(0)
    logits = torch.randn(batch, classes, dtype=torch.float64).numpy() * std
    return logits, torch.randint(classes, (batch,)).numpy()


def softmax(z: np.ndarray) -> np.ndarray:
    e = np.exp(z - z.max(-1, keepdims=True))
    return e / e.sum(-1, keepdims=True)


@pytest.mark.parametrize(("classes", "batch", "std"), [(5, 8, 1.0), (2, 9, 4.0), (10, 64, 0.5)])
def test_logit_grad_formula(classes, batch, std):
    """The largest entry of p − onehot, the error of a forgotten mean, and difference quotients of both losses agree
    with numpy.
    """
    logits, labels = setting(classes, batch, std)
    p, target = softmax(logits), np.eye(classes)[labels]
    metrics = measured("logit_grad", classes=classes, batch=batch, std=std)
    assert metrics["largest"] == pytest.approx(np.abs(p - target).max(), rel=1e-12)
    assert metrics["probability"] == pytest.approx(p[0, labels[0]], rel=1e-12)
    assert metrics["max_err_no_mean"] == pytest.approx(1 - 1 / batch, rel=1e-12)
    assert metrics["max_err"] < 1e-14
    assert metrics["row_sum"] < 1e-14
    ratios = []
    for z, t in zip(logits, target, strict=True):
        if z.argmax() == t.argmax():
            continue
        shift = 1e-5 * np.eye(classes)
        norms = []
        for loss in (lambda q, t=t: ((q - t) ** 2).sum(-1), lambda q, t=t: -np.log(q[..., t.argmax()])):
            norms.append(np.linalg.norm(loss(softmax(z + shift)) - loss(softmax(z - shift))))
        ratios.append(norms[0] / norms[1])
    middle = sorted(ratios)[(len(ratios) - 1) // 2]  # torch's median is the lower of two
    assert metrics["mse_over_ce"] == pytest.approx(middle, rel=1e-5)


def test_logit_grad_edges():
    """In float32 the gradient is rounded; with one sample the mean has no effect; zero logits give 1/classes; huge ones
    stay finite.
    """
    assert 1e-9 < measured("logit_grad", dtype="float32")["max_err"] < 1e-6
    assert measured("logit_grad", batch=1)["max_err_no_mean"] < 1e-14
    assert measured("logit_grad", std=0.0)["probability"] == pytest.approx(0.2, rel=1e-14)
    huge = measured("logit_grad", std=1000.0, classes=1000, batch=512)
    assert huge["max_err"] < 1e-12
    assert huge["mse_over_ce"] < 1e-12
