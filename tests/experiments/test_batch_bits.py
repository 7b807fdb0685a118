"""Tests the experiment batch_bits against products in numpy's float16 and against exact integers."""

import numpy as np
import pytest
from oracles import demo, measure, measured


def test_partial_sums_by_numpy():
    """Sums are split into pieces of 2 numbers; products and sums are formed in float64 and rounded to float16."""
    import torch

    rng = np.random.default_rng(0)
    a, b = (rng.normal(size=shape).astype(np.float16) for shape in ((3, 8), (8, 5)))
    total = np.zeros((3, 5), np.float16)
    for k in range(0, 8, 2):
        piece = (a[:, k : k + 2].astype(float) @ b[k : k + 2].astype(float)).astype(np.float16)
        total = (total.astype(float) + piece).astype(np.float16)
    found = demo("batch_bits").product(torch.tensor(a).float(), torch.tensor(b).float(), 4, torch.float16)
    assert found.numpy().tolist() == total.astype(np.float32).tolist()


def test_a_split_changes_no_sum_of_integers():
    """As all partial sums of integers are exact, no split changes a bit."""
    import torch

    torch.manual_seed(0)
    a, b = (torch.randint(-3, 4, shape).float() for shape in ((4, 128), (128, 6)))
    whole = [demo("batch_bits").product(a, b, parts, torch.float16) for parts in (1, 4, 16)]
    assert torch.equal(whole[0], whole[1])
    assert torch.equal(whole[0], whole[2])


def test_one_kernel_twice_is_the_same():
    rows, metrics = measure("batch_bits", parts=1, n=50)
    assert (metrics["equal_logits"], metrics["parted"], metrics["difference"]) == (1, 0, 0)
    assert metrics["median_parted"] is None
    assert rows[-1]["parted"] == 0


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_each_dtype_by_its_digits(seed):
    """The difference of the logits is proportional to 2^−p, and so is the number of texts that diverge."""
    found = {dtype: measured("batch_bits", seed, dtype=dtype) for dtype in ("bfloat16", "float16", "float32")}
    for dtype, p in (("bfloat16", 8), ("float16", 11), ("float32", 24)):
        assert 0.3 < found[dtype]["difference"] / 2.0**-p < 5, dtype
    assert found["bfloat16"]["parted"] > found["float16"]["parted"] > found["float32"]["parted"] == 0
    assert found["bfloat16"]["gap_there"] < 0.2 * found["bfloat16"]["gap_typical"]
    assert found["bfloat16"]["same_after"] < 0.05
