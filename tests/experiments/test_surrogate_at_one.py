"""Tests the experiment surrogate_at_one against the gradient worked out by hand for a softmax policy, in numpy."""

import numpy as np
import pytest
import torch
from oracles import measure, measured


def drawn(seed: int, actions: int, group: int) -> tuple[np.ndarray, np.ndarray]:
    """The logits at the start and the group, as the experiment draws them."""
    torch.manual_seed(seed)
    logits = torch.randn(actions).double()
    return logits.numpy(), torch.multinomial(logits.softmax(0), group, replacement=True).numpy()


def softmax(z: np.ndarray) -> np.ndarray:
    return np.exp(z) / np.exp(z).sum()


def by_hand(seed, updates, old, lr, clip, group=64, actions=8):
    """Loss, gradient norm and clipped part at each update: gradient −Σ ratio·A·(e_a − p)/group over what is not cut."""
    z, a = drawn(seed, actions, group)
    r = (a % 2 == 0).astype(float)
    advantage = (r - r.mean()) / (r.std(ddof=1) + 1e-4)
    before = np.log(softmax(z)[a])
    rows = []
    for _ in range(updates):
        p = softmax(z)
        ratio = np.exp(np.log(p[a]) - (before if old == "kept" else np.log(p[a])))
        cut = np.where(advantage > 0, ratio > 1 + clip, ratio < 1 - clip)
        loss = -np.minimum(ratio * advantage, ratio.clip(1 - clip, 1 + clip) * advantage).mean()
        weight = np.where(cut, 0, ratio * advantage) / group
        gradient = -(np.bincount(a, weight, actions) - p * weight.sum())
        rows.append((loss, np.linalg.norm(gradient), cut.mean()))
        z = z - lr * gradient
    return rows


@pytest.mark.parametrize(("old", "lr", "clip"), [("kept", 0.3, 0.2), ("every_step", 0.3, 0.2), ("kept", 1.0, 0.1)])
def test_loss_gradient_and_clip_at_every_update(old, lr, clip):
    rows, metrics = measure("surrogate_at_one", 3, updates=8, old=old, lr=lr, clip=clip)
    expected = by_hand(3, 8, old, lr, clip)
    assert [row["loss"] for row in rows] == pytest.approx([e[0] for e in expected], abs=1e-12)
    assert [row["gradient"] for row in rows] == pytest.approx([e[1] for e in expected], abs=1e-12)
    assert [row["clipped"] for row in rows] == [e[2] for e in expected]
    assert metrics["clipped"] == expected[-1][2]


def test_at_a_ratio_of_one_loss_is_zero_and_gradient_is_not():
    metrics = measured("surrogate_at_one")
    assert metrics["first_loss"] < 1e-12 and metrics["first_ratio_off"] == 0
    assert metrics["first_gradient"] == pytest.approx(by_hand(0, 1, "kept", 1.0, 0.2)[0][1])
    assert metrics["difference"] < 1e-12 and metrics["learned"] > 0
    assert metrics["first_clipped"] is None


def test_without_detach_nothing_is_learned():
    metrics = measured("surrogate_at_one", old="attached", updates=5)
    assert metrics["first_gradient"] == metrics["learned"] == 0
    assert metrics["difference"] == pytest.approx(1)
    assert metrics["reinforce_gradient"] > 0.1


def test_without_a_baseline_the_loss_is_minus_the_mean_reward():
    rewards = drawn(0, 8, 64)[1] % 2 == 0
    assert measured("surrogate_at_one", centred=False)["first_loss"] == pytest.approx(rewards.mean())
