"""Tests the experiment fused_chain against torch's own 16-bit operations, exact rounding of rationals, and a random
walk of roundings.
"""

import math
from fractions import Fraction

import pytest
import torch
from oracles import FORMATS, demo, measured


@pytest.mark.parametrize("form", ["bfloat16", "float16"])
def test_eager_is_what_torch_does_in_that_format(form):
    """Operations on tensors of the format agree, except where the last bit of a float32 value decides a tie."""
    module = demo("fused_chain")
    kind = module.FORMS[form]
    h = torch.randn(4096, generator=torch.Generator().manual_seed(0)).to(kind)
    for case, in_format in (("square", torch.sqrt(h * h + 1)), ("chain", h + 0.3 * torch.tanh(1.7 * h))):
        rounded = module.apply_block(h.float(), case, lambda value: value.to(kind).float()).to(kind)
        assert (rounded != in_format).double().mean() < 1e-3


@pytest.mark.parametrize("form", ["bfloat16", "float16"])
def test_one_square_block_in_exact_arithmetic(form):
    """In eager mode h·h, +1 and the root are each rounded; the fused block is rounded once."""
    module, exact = demo("fused_chain"), FORMATS[form]
    kind = module.FORMS[form]
    for value in (0.75, 1.5, 3.25, 11.0, 100.0, 200.0):
        h = torch.tensor([value])
        square = exact.rounded(exact.rounded(Fraction(value) ** 2) + 1)
        eager = module.apply_block(h, "square", lambda v: v.to(kind).float()).item()
        assert eager == float(exact.rounded(Fraction(math.sqrt(square))))
        fused = module.apply_block(h, "square", lambda v: v).to(kind).item()
        assert fused == float(exact.rounded(Fraction(math.sqrt(value * value + 1))))


@pytest.mark.parametrize("seed", [0, 1])
def test_errors_add_up_in_eager_only(seed):
    """Fused: one rounding, below u; eager: more with each block; float32: nothing to fuse."""
    for form in ("bfloat16", "float16"):
        unit = float(Fraction(2) ** -FORMATS[form].p)
        few, many = (measured("fused_chain", seed, form=form, ops=ops) for ops in (5, 50))
        assert many["fused"] < unit
        assert many["eager"] > 2 * few["eager"] > 2 * few["fused"]
    wide = measured("fused_chain", seed, form="float32")
    assert (wide["gap"], wide["differ"], wide["ratio"]) == (0, 0, 1)


def test_a_square_that_exists_between_two_operations_only():
    """Entries with |h| > 256 have a square beyond float16: a share of P(|N(0, 1)| > 256/300)."""
    metrics = measured("fused_chain", case="square", form="float16", x=300.0)
    assert metrics["eager_inf"] == pytest.approx(math.erfc(256 / 300 / math.sqrt(2)), abs=0.04)
    assert metrics["fused_inf"] == 0
    assert measured("fused_chain", case="square", form="bfloat16", x=300.0)["eager_inf"] == 0
