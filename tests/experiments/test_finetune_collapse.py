"""Tests the experiment finetune_collapse: its Adam against torch.optim.Adam run by run, its outputs against numpy, and
the regimes.
"""

import math

import numpy as np
import pytest
from oracles import demo, measure, measured


def test_the_optimiser_is_adam():
    """One copy trained by the experiment's `train`, and by torch.optim.Adam with the same batches, ends with the same
    weights.
    """
    import torch

    module = demo("finetune_collapse")
    torch.manual_seed(0)
    start = {"a": torch.randn(1, 2, 16, 32), "b": torch.randn(1, 2, 32, 16) / 8, "head": torch.randn(1, 16, 2)}
    x, y = torch.randn(1, 64, 16), torch.randint(2, (1, 64))
    mine = {name: value.clone() for name, value in start.items()}
    torch.manual_seed(1)
    losses = list(module.train(mine, x, y, torch.full((1, 12), 0.01), torch.tensor([True]), 16))
    theirs = {name: value.clone().requires_grad_() for name, value in start.items()}
    optimizer = torch.optim.Adam(theirs.values(), lr=0.01, eps=1e-6)
    torch.manual_seed(1)
    for loss in losses:
        rows = torch.randint(64, (16,))
        optimizer.zero_grad()
        logits = module.outputs(theirs, x[:, rows])[0]
        expected = torch.nn.functional.cross_entropy(logits, y[0, rows])
        assert loss.item() == pytest.approx(expected.item(), rel=1e-4)
        expected.backward()
        optimizer.step()


def test_outputs_are_post_norm():
    """Each layer gives (s − mean)/std of s = h + relu(hA)B, in numpy."""
    import torch

    torch.manual_seed(0)
    model = {"a": torch.randn(1, 3, 16, 32), "b": torch.randn(1, 3, 32, 16), "head": torch.randn(1, 16, 2)}
    x = torch.randn(1, 5, 16)
    h = x[0].double().numpy()
    for a, b in zip(model["a"][0].double().numpy(), model["b"][0].double().numpy(), strict=True):
        s = h + np.maximum(h @ a, 0) @ b
        h = (s - s.mean(1, keepdims=True)) / np.sqrt(s.var(1, keepdims=True) + 1e-5)
    expected = h @ model["head"][0].double().numpy()
    assert demo("finetune_collapse").outputs(model, x)[0].numpy() == pytest.approx(expected, rel=1e-3, abs=1e-3)


@pytest.mark.parametrize("seed", [0, 3])
def test_regimes(seed):
    """A moderate rate learns; a rate ten times as large ends at a loss of ln 2; a tenth of that learns again."""
    rows, moderate = measure("finetune_collapse", seed)
    assert rows[0]["plain"] == pytest.approx(math.log(2), abs=0.1)
    assert moderate["loss_plain"] < 0.45 < 0.55 < moderate["loss_uncorrected"]
    high = measured("finetune_collapse", seed, lr=0.1)
    assert high["loss_plain"] == pytest.approx(high["theory_chance"], abs=0.08)
    assert high["loss_low"] < 0.45
