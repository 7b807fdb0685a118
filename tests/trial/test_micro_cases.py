"""Finds operation, phase and line at fault in single training steps; healthy steps give no finding."""

import inspect
import math
from pathlib import Path

import pytest
import torch
from checking import each_case
from numstab_watch.autopsy import autopsy
from numstab_watch.fault import describe_tensor, operation_name
from numstab_watch.replay import replay, replay_update
from torch import nn
from trial.micro_cases import CASES, Head

pytestmark = pytest.mark.filterwarnings("ignore")  # torch warns of some of these steps itself


def line_to_blame(function) -> str:
    """File and line number of the line in a function or class that ends with "# here"."""
    lines, start = inspect.getsourcelines(function)
    number = next(index for index, line in enumerate(lines) if line.rstrip().endswith("# here"))
    return f"{Path(inspect.getsourcefile(function)).name}:{start + number}"


@each_case("name", [name for name, case in CASES.items() if case.operation is not None])
def test_names_operation_phase_and_line(name):
    case = CASES[name]
    fault = replay(case.step)
    assert fault is not None
    assert (fault.operation, fault.phase, fault.hidden) == (case.operation, case.phase, case.hidden)
    assert fault.place == line_to_blame(Head if "module_that" in name else case.step)
    assert fault.code.endswith("# here")
    assert fault.operands
    assert not math.isfinite(fault.value)
    assert fault.reproduced is True


@each_case("name", [name for name, case in CASES.items() if case.operation is None])
def test_is_silent_on_healthy_steps(name):
    assert replay(CASES[name].step) is None
    assert autopsy(CASES[name].step()) is None


WITHOUT_GRAPH = ("product_of_zero_and_inf", "two_masks_of_the_least_number")
"""The graph holds neither what needs no gradient nor the operands of a sum."""


@each_case("name", [name for name, case in CASES.items() if case.operation is not None and name not in WITHOUT_GRAPH])
def test_autopsy_agrees_where_the_loss_is_not_finite(name):
    """The autopsy needs no second run, but cannot see faults of the backward pass."""
    case = CASES[name]
    fault = autopsy(case.step())
    if case.phase == "backward":
        assert fault is None or not math.isfinite(float(case.step()))
    else:
        assert fault is not None
        assert (fault.operation, fault.phase) == (case.operation, case.phase)


def test_operands_are_told_in_words():
    fault = replay(CASES["log_of_softmax"].step)
    assert fault.operands == ("float32 (4, 5), 0 … 1, 14 zeros",) or "zeros" in fault.operands[0]
    assert describe_tensor(torch.tensor([1.0, math.nan, math.inf, 0.0])) == "float32 (4,), 0 … 1, 1 zero, 1 nan, 1 inf"


def test_module_path_is_told():
    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.body = nn.Sequential(nn.Linear(3, 3, bias=False), Head())
            nn.init.constant_(self.body[1].project.weight, -1.0)
            nn.init.constant_(self.body[0].weight, 1.0)

        def forward(self, x):
            return self.body(x)

    model = Net()
    assert replay(lambda: model(torch.ones(2, 3)).sum()).module == "body.1"


def test_replay_leaves_the_state_as_it_was():
    model = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.Dropout(0.5))
    weight_gradient = torch.ones(4, 3)
    model[0].weight.grad = weight_gradient
    buffers = {name: buffer.clone() for name, buffer in model.named_buffers()}
    state = torch.get_rng_state()
    assert replay(lambda: torch.log(model(torch.randn(5, 3)) * 0).sum()).operation == "log"
    assert model[0].weight.grad is weight_gradient
    assert all(torch.equal(buffer, buffers[name]) for name, buffer in model.named_buffers())
    assert torch.equal(torch.get_rng_state(), state)


def test_a_step_that_is_not_the_same_again_is_not_reproduced():
    noise = iter([0.25, 0.75])

    def step():
        x = torch.tensor([0.0, next(noise)], requires_grad=True)
        return torch.log(x).sum()

    assert replay(step).reproduced is False


def test_an_update_that_makes_nan():
    """Adam with an eps that float16 rounds to 0 computes 0/0 where the gradient is 0."""
    weight = torch.ones(4, dtype=torch.float16, requires_grad=True)
    optimizer = torch.optim.Adam([weight], eps=1e-8, foreach=False)
    weight.grad = torch.tensor([0.0, 1.0, 0.0, 1.0], dtype=torch.float16)
    fault = replay_update(optimizer.step, [weight])
    assert (fault.phase, fault.dtype) == ("update", "float16")


def test_weights_that_are_not_finite_are_named():
    model = nn.Sequential(nn.Linear(3, 4), nn.Linear(4, 1))
    with torch.no_grad():
        model[1].weight[0, 2] = math.nan
    fault = replay(lambda: model(torch.ones(2, 3)).sum())
    assert (fault.operation, fault.phase, fault.module) == ("", "update", "1.weight")


@pytest.mark.parametrize(
    ("kernel", "name"),
    [("aten::_softmax", "softmax"), ("SqrtBackward0", "sqrt"), ("aten::linalg_vector_norm", "norm"),
     ("LinalgVectorNormBackward0", "norm"), ("aten::_to_copy", "to"), ("LogSoftmaxBackward0", "log_softmax"),
     ("aten::native_layer_norm", "layer_norm"), ("Log1PBackward0", "log1p"), ("CdistBackward0", "cdist"),
     ("aten::_scaled_dot_product_flash_attention_for_cpu", "scaled_dot_product_attention")],
)  # fmt: skip
def test_names_of_operations(kernel, name):
    assert operation_name(kernel) == name
