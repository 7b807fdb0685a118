"""Tests the experiment sampling_from_logits against the same block in numpy float64, and against float16's largest
number.
"""

import numpy as np
import pytest
from oracles import draws, measure, measured


def block(seed: int, n: int = 64) -> tuple[np.ndarray, np.ndarray]:
    """Hidden activations (not multiplied by x) and the exact greedy tokens."""
    h, a, b, out = draws(seed, (n, 64), (64, 256), (256, 64), (64, 128))
    hidden = np.maximum(h @ (a / np.sqrt(32)), 0)
    stream = h + hidden @ b / 16
    return hidden, (stream @ out).argmax(1)


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_exact_tokens_and_activations(seed):
    """The norm of a context does not change which of its logits is largest."""
    hidden, tokens = block(seed)
    rows, metrics = measure("sampling_from_logits", seed, x=100.0, dtype="float32")
    assert [row["exact"] for row in rows] == tokens.tolist()
    assert [row["largest"] for row in rows] == pytest.approx(100 * hidden.max(1), rel=1e-5)
    assert metrics["agreement"] == 1


@pytest.mark.parametrize("x", [1.0, 1e4, 1.5e4, 2e4, 1e5, 1e9])
def test_nan_exactly_where_float16_overflows(x):
    """A context whose hidden activations pass 65504 has nan logits, token 0; the others have not (up to rounding)."""
    hidden, tokens = block(0)
    inf = (hidden.max(1) * x > 65520).mean()
    metrics = measured("sampling_from_logits", x=x)
    assert metrics["nan_share"] >= inf
    assert metrics["sampling_fails"] == (metrics["nan_share"] > 0)
    assert metrics["token_zero_share"] >= metrics["nan_share"]
    assert metrics["nan_share"] == pytest.approx(inf, abs=0.25)
    if not inf:
        assert metrics["agreement"] > 0.95
        assert metrics["token_zero_share"] == pytest.approx((tokens == 0).mean(), abs=0.02)


@pytest.mark.parametrize("temperature", [0.01, 1.0, 100.0])
def test_no_temperature_mends_nan(temperature):
    """No temperature makes nan logits usable, and in bfloat16 none is needed."""
    assert measured("sampling_from_logits", temperature=temperature)["sampling_fails"] == 1
    assert measured("sampling_from_logits", temperature=temperature, dtype="bfloat16")["sampling_fails"] == 0
