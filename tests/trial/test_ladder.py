"""Trials of models broken in one way: the operation at fault, what cures it, the cause named; healthy models give
none.
"""

from collections import defaultdict
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
import torch
from numstab_watch.curvature import largest_curvature
from numstab_watch.problem import BadProblem, load_problem, problem_of
from numstab_watch.stability_margins import stability_margins
from numstab_watch.training import train_problem
from numstab_watch.trial import main
from torch import nn
from trial import broken_models, grist_cases
from trial.reported import run_of_report

from qa_service.diagnosis.trial_rules import RULES
from qa_service.model.training_run import TrainingRun

pytestmark = pytest.mark.filterwarnings("ignore")


def tried(module, name: str, *options: str) -> TrainingRun:
    """The run of a trial in this process, passed through the JSON that a child process would write."""
    target = f"{module.__file__}:{name}"
    with TemporaryDirectory() as folder:
        report = Path(folder) / "report"
        main([target, "--report", str(report), "--seconds", "120", *options])
        return run_of_report(report.read_bytes(), target)


def cured(trial: TrainingRun) -> set[str]:
    return {each.id for each in trial.interventions if each.healthy}


def causes(trial: TrainingRun) -> list[str]:
    """The causes that the rules name, by descending weight."""
    weights: defaultdict[str, float] = defaultdict(float)
    for rule in RULES:
        for finding in rule(trial):
            weights[finding.cause] += finding.weight
            assert finding.text["zh"] != finding.text["en"]
    return sorted(weights, key=lambda cause: -weights[cause])


@pytest.mark.parametrize(("name", "cause"), broken_models.BROKEN.items())
def test_names_the_cause(name, cause):
    trial = tried(broken_models, name)
    assert causes(trial)[0] == cause
    if trial.fault and trial.fault.code.endswith("# here"):
        lines = Path(broken_models.__file__).read_text().splitlines()
        assert lines[int(trial.fault.place.rpartition(":")[2]) - 1].endswith("# here")


@pytest.mark.parametrize("name", broken_models.HEALTHY)
def test_is_silent_on_healthy_models(name):
    trial = tried(broken_models, name)
    assert trial.fault is None
    assert not trial.interventions
    assert not causes(trial)


@pytest.mark.parametrize(("name", "operation"), grist_cases.PROGRAMS.items())
def test_names_the_operation_of_public_bugs(name, operation):
    trial = tried(grist_cases, name)
    assert trial.fault.operation == operation
    assert operation in trial.fault.code


@pytest.mark.parametrize(
    ("name", "cures", "fails"),
    [
        ("step_too_large", {"lr/100"}, {"as_is", "float32", "skip_sample"}),
        ("weights_too_large", {"init"}, {"as_is", "float32"}),
        ("inputs_not_scaled", {"inputs"}, {"as_is", "float32"}),
        ("summed_loss", {"mean"}, {"as_is", "float32", "init"}),
        ("half_precision_overflows", {"float32"}, {"as_is", "lr/10", "lr/100"}),
        ("nan_sample", {"skip_sample"}, {"as_is", "lr/10", "float32", "init"}),
        ("pixels_into_a_logarithm", {"inputs", "stable_loss"}, {"as_is", "lr/10", "lr/100"}),
        ("attention_over_nothing", {"skip_sample"}, {"as_is", "lr/100", "float32", "init"}),
    ],
)
def test_what_cures(name, cures, fails):
    trial = tried(broken_models, name)
    assert cures <= cured(trial)
    assert not fails & cured(trial)


def test_bad_samples_are_found_by_their_rows():
    trial = tried(broken_models, "nan_sample")
    assert "17" in next(each.detail for each in trial.interventions if each.id == "skip_sample")


def test_structure_is_told():
    assert tried(broken_models, "layer_left_out_of_the_optimizer").settings["not_in_optimizer"].startswith("2.weight")
    assert tried(broken_models, "double_softmax").settings["softmax_before_cross_entropy"] is True


def test_curvature_of_a_parabola():
    """The loss (w·x)² of x = (3, 4) has the Hessian 2xxᵀ, with the eigenvalue 2·25."""
    model = nn.Linear(2, 1, bias=False)
    problem = problem_of((model, torch.tensor([[3.0, 4.0]]), lambda output: (output**2).sum()), lambda: None)
    assert largest_curvature(problem) == pytest.approx(50, rel=1e-3)


def test_curvature_tells_a_step_too_large():
    trial = tried(broken_models, "step_too_large", "--curvature")
    assert trial.settings["lr"] * trial.settings["largest_curvature"] > 2


@pytest.mark.parametrize(("name", "operation"), [("id_53", "log"), ("id_27", "log"), ("id_22", "exp")])
def test_margin_of_a_bug_that_needs_larger_inputs(name, operation):
    """With inputs scaled to at most 1 the public bugs do not fail; enlarging the inputs names the operation that
    will.
    """

    def made():
        model, batch, loss, optimizer = getattr(grist_cases, name)()
        if isinstance(batch, tuple):
            return model, (batch[0] / batch[0].max(), *batch[1:]), loss, optimizer
        return model, batch / batch.max(), loss, optimizer

    problem = problem_of(made(), made)
    train_problem(problem, 20)
    found = {margin.what: margin for margin in stability_margins(problem)}
    assert found["inputs"].fault.operation == operation
    assert 1 < found["inputs"].factor <= 2**20


def test_a_loss_from_logits_has_no_margin_to_speak_of():
    def made():
        return nn.Linear(4, 3), (torch.randn(8, 4), torch.randint(0, 3, (8,))), nn.CrossEntropyLoss()

    problem = problem_of(made(), made)
    train_problem(problem, 20)
    assert stability_margins(problem) == []


@pytest.mark.parametrize(
    "made",
    [
        lambda: (nn.Linear(3, 1), (torch.randn(4, 3), torch.randn(4, 1)), nn.MSELoss()),
        lambda: (nn.Linear(3, 1), torch.randn(4, 3), lambda output: output.mean()),
        lambda: {"model": nn.Linear(3, 1), "batch": torch.randn(4, 3), "loss": lambda model, x: model(x).mean()},
        lambda: {"model": nn.Bilinear(3, 3, 1), "batch": {"input1": torch.randn(4, 3), "input2": torch.randn(4, 3)},
                 "loss_fn": lambda output, batch: output.mean()},
        lambda: (nn.Linear(3, 1), [(torch.randn(4, 3), torch.randn(4, 1))] * 3, nn.MSELoss(), torch.optim.Adam),
        lambda: (nn.Linear(3, 1), torch.utils.data.DataLoader(torch.randn(8, 3), 4), lambda output: output.mean()),
        lambda: (nn.Bilinear(3, 3, 1), (torch.randn(4, 3), torch.randn(4, 3), torch.randn(4, 1)), nn.MSELoss()),
    ],
)  # fmt: skip
def test_shapes_that_make_may_return(made):
    problem = problem_of(made(), made)
    assert torch.isfinite(problem.loss(0))
    again = problem.anew()
    assert all(torch.equal(a, b) for a, b in zip(problem.model.parameters(), again.model.parameters(), strict=True))


@pytest.mark.parametrize(
    "made", [None, (), (nn.Linear(1, 1),), (1, 2, 3), (nn.Linear(1, 1), None, None), (nn.Linear(1, 1), [], None),
             (nn.ReLU(), torch.ones(1), None), (nn.Linear(1, 1), "text", None), (nn.Linear(1, 1), torch.ones(1), 3)],
)  # fmt: skip
def test_other_shapes_are_refused_with_what_was_expected(made):
    with pytest.raises(BadProblem, match=r"model"):
        problem_of(made, lambda: made)


def test_a_file_without_make_is_refused(tmp_path):
    (tmp_path / "empty.py").write_text("x = 1\n")
    with pytest.raises(BadProblem, match="no function"):
        load_problem(f"{tmp_path / 'empty.py'}:make")
