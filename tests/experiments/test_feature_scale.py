"""Tests the experiment feature_scale against reference values computed by independent code."""

import numpy as np
import pytest
from oracles import INF, draws, measured


@pytest.mark.parametrize(("n", "scale"), [(256, 100.0), (5, 3.0), (20, 1.0)])
def test_feature_scale_against_numpy(n, scale):
    """Variance, share and curvatures are those of numpy, with curvatures from the singular values of the data."""
    x, data, weights = draws(0, (n,), (1000, n), (4000, n), double=True)
    x[0], data[:, 0] = scale, scale * data[:, 0]
    metrics = measured("feature_scale", n=n, scale=scale)
    assert metrics["variance"] == pytest.approx(((weights @ x / np.sqrt(n)) ** 2).mean(), rel=1e-9)
    assert metrics["theory_variance"] == pytest.approx((x**2).sum() / n, rel=1e-12)
    assert metrics["share"] == pytest.approx(scale**2 / (x**2).sum(), rel=1e-12)
    singular = np.linalg.svd(data, compute_uv=False)
    assert metrics["condition"] == pytest.approx((singular[0] / singular[-1]) ** 2, rel=1e-6)
    assert metrics["largest_lr"] == pytest.approx(1000 / singular[0] ** 2, rel=1e-9)
    assert metrics["formula_error"] < 5 * np.sqrt(2 / 4000)


def test_feature_scale_claims_and_edges():
    """One feature has nearly all the variance until features are standardised; a feature of zeros has no curvature."""
    metrics = measured("feature_scale")
    assert metrics["share"] > 0.9 > 0.1 > metrics["standardised_share"]
    assert metrics["theory_share"] == pytest.approx(10000 / 10255)
    assert metrics["condition"] > 1000 * metrics["standardised_condition"]
    same = measured("feature_scale", scale=1.0)
    assert same["share"] == same["standardised_share"] < 0.1
    nothing = measured("feature_scale", scale=0.0)
    assert nothing["share"] == 0
    assert nothing["condition"] == INF or nothing["condition"] > 1e12
