"""Clues about PyTorch's error messages: the described fault raises each message, and the described cure removes it."""

import math
import warnings
from collections.abc import Callable

import pytest
import torch
from shipped import library
from torch import Tensor
from torch.nn import functional

from qa_service.model import find_clue
from qa_service.parsing import parse_question


def categorical(logits: Tensor) -> None:
    torch.distributions.Categorical(logits=logits)


def masked(fill: float) -> Tensor:
    return torch.zeros(2).half().masked_fill(torch.tensor([True, False]), fill)


CASES: dict[str, tuple[Callable[[], object], Callable[[], object]]] = {
    "invalid-policy-distribution": (
        lambda: categorical(torch.tensor([math.nan, 0.0])),
        lambda: categorical(torch.tensor([0.0, 1.0])),
    ),
    "half-overflow": (lambda: masked(-1e9), lambda: masked(torch.finfo(torch.float16).min)),
    "outside-unit-interval": (
        lambda: functional.binary_cross_entropy(torch.tensor([1.5]), torch.ones(1)),
        lambda: functional.binary_cross_entropy_with_logits(torch.tensor([1.5]), torch.ones(1)),
    ),
    "non-finite-matrix": (
        lambda: torch.linalg.svd(torch.full((2, 2), math.nan)),
        lambda: torch.linalg.svd(torch.ones(2, 2)),
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_the_message_has_the_clue_for_its_fault(name: str) -> None:
    fault, cured = CASES[name]
    with pytest.raises((RuntimeError, ValueError)) as raised:
        fault()
    assert clue_of(f"{type(raised.value).__name__}: {raised.value}") == name
    cured()


def test_jitter_does_not_help_a_matrix_with_a_nan() -> None:
    """A matrix with a nan fails with jitter too, as the clue says."""
    with pytest.raises(RuntimeError, match="non-finite"):
        torch.linalg.svd(torch.full((2, 2), math.nan) + 1e-3 * torch.eye(2))


@pytest.mark.parametrize("watches_scale", [False, True])
def test_a_skipped_first_step_warns_of_the_scheduler(watches_scale: bool) -> None:
    """There is no warning if the scheduler is called only where the loss scale did not fall."""
    weight = torch.nn.Parameter(torch.ones(1))
    optimizer = torch.optim.SGD([weight], lr=0.1)
    scheduler = torch.optim.lr_scheduler.ExponentialLR(optimizer, 0.9)
    scaler = torch.amp.GradScaler("cpu")
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        for factor in (math.inf, 1.0):
            optimizer.zero_grad()
            scaler.scale((weight * factor).sum()).backward()
            before = scaler.get_scale()
            scaler.step(optimizer)
            scaler.update()
            if not watches_scale or scaler.get_scale() >= before:
                scheduler.step()
    messages = [str(one.message) for one in caught if "lr_scheduler" in str(one.message)]
    assert bool(messages) is not watches_scale
    assert all(clue_of(message) == "scheduler-before-step" for message in messages)
    assert weight.item() == pytest.approx(0.9 if watches_scale else 1 - 0.09)


def clue_of(message: str) -> str:
    question = parse_question(message)
    found = find_clue(library().clues, (*question.observations, *question.particulars), library()["nan-and-inf"])
    return found.clue.id if found else ""
