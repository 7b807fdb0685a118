"""Tests the experiment half_reduce against sums of exact rationals, rounded by the definition of the formats."""

from fractions import Fraction

import pytest
import torch
from oracles import FORMATS, demo, measured


@pytest.mark.parametrize("form", ["float16", "bfloat16"])
@pytest.mark.parametrize(("before", "after"), [(1, 6), (6, 1), (2, 3)])
def test_a_ring_in_exact_arithmetic(form, before, after):
    """Each addition in the ring is rounded once; None stands for an overflow."""
    module, exact = demo("half_reduce"), FORMATS[form]
    torch.manual_seed(1)
    gradients = 9000 * torch.randn(6, 12, dtype=torch.float64) + 9000
    found = module.ring(gradients, module.FORMS[form], before, after).tolist()
    for entry, value in enumerate(found):
        total = Fraction(0)
        for rank in range(6):
            part = exact.rounded(exact.rounded(Fraction(gradients[rank, entry].item())) / before)
            total = None if total is None else exact.rounded(total + part)
        expected = float("inf") if total is None else float(exact.rounded(total / after))
        assert value == expected


@pytest.mark.parametrize("seed", [0, 1])
def test_where_each_way_fails(seed):
    """Dividing last, float16 overflows near 65504/200 ranks; dividing first, it underflows below 2⁻²⁵; bfloat16 loses
    digits.
    """
    large = measured("half_reduce", seed, x=200.0, ranks=512)
    assert (large["after_inf"], large["overflow_ranks"]) == (1, 512)
    assert large["before"] < 0.01
    assert large["split"] < 0.01
    small = measured("half_reduce", seed, x=1e-6, ranks=512)
    assert small["before_zero"] == 1
    assert small["after"] < small["split"] < 0.1 < small["before"]
    wide = measured("half_reduce", seed, x=200.0, ranks=512, form="bfloat16")
    assert wide["overflow_ranks"] is None
    assert 0.03 < wide["after"] < 0.3
    assert wide["single"] < 1e-5
