"""Clues about operations named by anomaly detection: each described fault raises the error, and each described cure
removes it.
"""

import math
from collections.abc import Callable

import pytest
import torch
from shipped import library
from torch import Tensor
from torch.nn import functional

from qa_service.model import find_clue
from qa_service.parsing import parse_question

INF = math.inf
Case = tuple[str, Callable[[Tensor], Tensor], list[float], Callable[[Tensor], Tensor]]


def chosen(y: Tensor) -> Tensor:
    """The last element; a gradient of 0 arrives at the others."""
    return torch.where(torch.arange(len(y)) == len(y) - 1, y, 0.0)


def matrix(x: Tensor) -> Tensor:
    """A symmetric 2 × 2 matrix with these numbers on the diagonal."""
    return torch.diag(x)


def aligned(x: Tensor, frames: int) -> Tensor:
    """The CTC loss of a target of two equal labels, which need at least three frames."""
    steps = (x.sum() + torch.zeros(frames, 1, 3)).log_softmax(-1)
    return functional.ctc_loss(steps, torch.tensor([[1, 1]]), torch.tensor([frames]), torch.tensor([2]))


CASES: list[Case] = [
    ("pow", lambda x: chosen(x**0.5), [0.0, 1.0], lambda x: chosen(x.clamp(min=1e-6) ** 0.5)),
    ("pow", lambda x: torch.tensor([-1.0]) ** x, [2.0], lambda x: torch.tensor([-1.0]).clamp(min=1e-6) ** x),
    ("sqrt", lambda x: chosen(x.sqrt()), [0.0, 1.0], lambda x: chosen((x + 1e-6).sqrt())),
    ("rsqrt", lambda x: chosen(x.rsqrt()), [0.0, 1.0], lambda x: chosen((x + 1e-6).rsqrt())),
    ("log", lambda x: chosen(x.log()), [0.0, 1.0], lambda x: chosen(x.clamp(min=1e-6).log())),
    ("log", lambda x: chosen(x.log1p()), [-1.0, 1.0], lambda x: chosen((x + 1).clamp(min=1e-6).log())),
    ("div", lambda x: chosen(torch.ones(2) * 3 / x), [0.0, 1.0], lambda x: chosen(3 / torch.where(x == 0, 1.0, x))),
    ("div", lambda x: chosen(1 / x), [0.0, 1.0], lambda x: chosen(1 / x.clamp(min=1e-6))),
    ("mul", lambda x: (x * x).sum().sqrt(), [0.0, 0.0], lambda x: ((x * x).sum() + 1e-6).sqrt()),
    ("exp", lambda x: chosen(x.exp()), [1000.0, 1.0], lambda x: chosen(x.clamp(max=80).exp())),
    ("acos", lambda x: chosen(x.acos()), [1.0, 0.5], lambda x: chosen(x.clamp(-1 + 1e-6, 1 - 1e-6).acos())),
    ("acos", lambda x: chosen(x.atanh()), [1.0, 0.5], lambda x: chosen(x.clamp(-1 + 1e-6, 1 - 1e-6).atanh())),
    ("softmax", lambda x: -x.softmax(0).log()[0], [0.0, 200.0], lambda x: -x.log_softmax(0)[0]),
    ("softmax", lambda x: x.softmax(0)[0], [-INF, -INF], lambda x: x.clamp(min=-1e9).softmax(0)[0]),
    ("log-softmax", lambda x: x.log_softmax(0)[0], [INF, 1.0], lambda x: x.clamp(max=1e4).log_softmax(0)[0]),
    ("logsumexp", lambda x: x.logsumexp(0), [-INF, -INF], lambda x: x.clamp(min=-1e9).logsumexp(0)),
    ("norm", lambda x: x.norm(), [INF, 1.0], lambda x: (x * 0).nan_to_num().norm()),
    ("std", lambda x: x.std(), [1.0], lambda x: x.std(correction=0)),
    (
        "layer-norm",
        lambda x: functional.layer_norm(x, (2,), eps=0.0),
        [1.0, 1.0],
        lambda x: functional.layer_norm(x, (2,)),
    ),
    (
        "layer-norm",
        lambda x: functional.layer_norm(x, (2,)),
        [INF, 1.0],
        lambda x: functional.layer_norm(x.clamp(max=9), (2,)),
    ),
    (
        "batch-norm",
        lambda x: functional.batch_norm(x[:, None], None, None, training=True),
        [INF, 1.0],
        lambda x: functional.batch_norm(x.clamp(max=9)[:, None], None, None, training=True),
    ),
    (
        "matmul",
        lambda x: x[None] @ torch.tensor([[INF], [1.0]]) * 0,
        [1.0, 1.0],
        lambda x: x[None] @ torch.tensor([[9.0], [1.0]]) * 0,
    ),
    (
        "mse",
        lambda x: functional.mse_loss(x, torch.tensor([math.nan, 1.0])),
        [1.0, 1.0],
        lambda x: functional.mse_loss(x, torch.tensor([0.0, 1.0])),
    ),
    (
        "slogdet",
        lambda x: torch.logdet(matrix(x)),
        [0.0, 0.0],
        lambda x: 2 * torch.linalg.cholesky(matrix(x) + 1e-6 * torch.eye(2)).diagonal().log().sum(),
    ),
    (
        "eigh",
        lambda x: torch.linalg.eigh(matrix(x))[1].sum(),
        [1.0, 1.0],
        lambda x: torch.linalg.eigh(matrix(x + torch.tensor([0.0, 1e-3])))[1].sum(),
    ),
    (
        "eigh",
        lambda x: torch.linalg.eigh(matrix(x))[1].sum(),
        [1.0, 1.0],
        lambda x: torch.linalg.eigvalsh(matrix(x)).sum(),
    ),
    ("ctc", lambda x: aligned(x, 2), [0.0], lambda x: aligned(x, 3)),
]


def error_of(function: Callable[[Tensor], Tensor], at: list[float]) -> str:
    """The error message of anomaly detection in the backward pass; "" if there is none."""
    x = torch.tensor(at, requires_grad=True)
    try:
        with torch.autograd.detect_anomaly(check_nan=True):
            function(x).sum().backward()
    except RuntimeError as error:
        return f"RuntimeError: {error}"
    assert x.grad is not None
    assert x.grad.isfinite().all()
    return ""


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(("name", "fault", "at", "cured"), CASES)
def test_the_operation_that_is_named_has_the_clue_for_its_fault(
    name: str, fault: Callable[[Tensor], Tensor], at: list[float], cured: Callable[[Tensor], Tensor]
) -> None:
    raised = error_of(fault, at)
    question = parse_question(raised)
    found = find_clue(
        library().clues, (*question.observations, *question.particulars), library()["nan-in-backward-only"]
    )
    assert found is not None, raised
    assert found.clue.id == f"anomaly-{name}"
    assert error_of(cured, at) == ""


@pytest.mark.filterwarnings("ignore")
def test_the_norm_of_a_zero_vector_has_a_gradient() -> None:
    """As its clue says, it has one, unlike the root of a sum of squares."""
    assert error_of(lambda x: x.norm(), [0.0, 0.0]) == ""
    assert "MulBackward" in error_of(lambda x: (x * x).sum().sqrt(), [0.0, 0.0])


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(
    "useless",
    [
        lambda x: chosen((x**0.5).clamp(min=1e-6)),
        lambda x: chosen(x.sqrt() + 1e-6),
        lambda x: torch.where(x > 0, x / x, 0.0),
    ],
)
def test_what_clues_call_useless_is(useless: Callable[[Tensor], Tensor]) -> None:
    """Remedies that clues call useless do not help: clamping the result, eps outside the root, where after the
    division.
    """
    assert "returned nan" in error_of(useless, [0.0, 1.0])


@pytest.mark.filterwarnings("ignore")
def test_softmax_makes_no_nan_of_finite_logits_in_its_logarithm() -> None:
    assert error_of(lambda x: x.log_softmax(0).sum(), [3e38, -3e38]) == ""


@pytest.mark.parametrize("other", ["ExpandBackward0", "LogitsProcessor", "backward", "DivisionByZero", "AddBackward0"])
def test_other_operations_have_no_clue_of_these(other: str) -> None:
    question = parse_question(f"{other} nan in backward")
    assert not [each for each in question.particulars if each.sign.value.endswith("_backward")]
