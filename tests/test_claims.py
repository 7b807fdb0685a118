"""Every claim of every entry is executed: it holds at its parameters and fails at its control.

`make test` measures the entries whose evidence is not the one that kb/checked.json records for this version of torch,
and every sixteenth of the others; the exhaustive tests measure all of them.
"""

import zlib
from importlib import metadata

import pytest
import shipped

from qa_service.experiments.parameters import fill_defaults
from qa_service.model import Entry
from qa_service.settings import Settings
from qa_service.tools.claim_check import check_groups, group_by_run, plan_claim_runs

LIBRARY = shipped.library()
TORCH = metadata.version("torch").partition("+")[0]
DEMOS = sorted(path.stem for path in Settings().demos.rglob("*.py"))
DOCUMENTED_EXPERIMENTS = {
    "ieee_table", "quad_gd", "init_scale", "relu_interp", "relu_fit", "linear_collapse", "acc_collapse",
    "fifty_causes", "arch_stability", "nan_trace", "nan_causes", "flat_when_small", "relu_regions", "svm_autograd",
    "differentiable_not_enough", "grad_by_activation", "vanish_probability", "dead_relu", "activation_slope",
    "bounded_output_explodes", "matrix_product", "rnn_vs_lstm", "log_space_product", "pow_vs_sum", "residual_depth",
    "bn_grad", "bn_stats", "gamma_beta", "init_distribution", "init_train_dist", "init_gain", "init_train",
    "loss_surface", "sharpness_rescale", "iid_variance", "tied_vs_independent", "ics", "non_iid_batches_bn",
    "fp_sum", "fp_properties", "fp16_training",
}  # fmt: skip


def test_documented_experiments_exist():
    """The experiments exist under these slugs, which links and receipts refer to."""
    assert set(DEMOS) >= DOCUMENTED_EXPERIMENTS


def is_recorded(entry: Entry) -> bool:
    """Whether kb/checked.json has a record of the entry for the present code and version of torch."""
    checked = entry.checked
    return bool(checked and checked.current and checked.versions["torch"].partition("+")[0] == TORCH)


def to_be_measured() -> list[object]:
    """All entries as parameters of a test; those that only the exhaustive tests measure are marked."""
    rest = pytest.mark.exhaustive
    return [
        pytest.param(entry.id, marks=rest) if is_recorded(entry) and zlib.crc32(entry.id.encode()) % 16 else entry.id
        for entry in LIBRARY.values()
    ]


@pytest.mark.parametrize("entry_id", to_be_measured())
def test_claims_hold_and_controls_fail(service, entry_id):
    experiments = service.knowledge.experiments
    groups = group_by_run(plan_claim_runs(service.knowledge.library[entry_id], range(1)), experiments)
    checks = [check for group in groups for check in check_groups([group], experiments, service.runner)]
    assert {check.condition for check in checks} == {"params", "control"}
    for check in checks:
        figures = f"{check.claim.metric} = {check.value}, {check.claim.op} {check.claim.bound}"
        assert not check.differs, f"{check.claim.id} at {check.condition}: {figures}"


def test_well_known_overflow_and_stagnation_figures(service):
    """1.5¹⁰⁰ against 150; its overflow at steps 28, 219, 1751; a float16 sum of 1e-4 stops at 0.25."""
    experiment = service.knowledge.experiment("pow_vs_sum")
    measured = service.runner.run(experiment, fill_defaults(experiment, {})).measured
    assert measured["product"] == pytest.approx(4.0656e17, rel=1e-5)
    assert measured["sum"] == 150
    steps = [measured[f"overflow_{dtype}"] for dtype in ("float16", "float32", "float64")]
    assert steps == [28, 219, 1751]
    for dtype, step in zip(("float16", "float32", "float64"), steps, strict=True):
        again = service.runner.run(experiment, fill_defaults(experiment, {"dtype": dtype, "n": 2000})).measured
        assert again["first_overflow_step"] == step
    experiment = service.knowledge.experiment("fp_sum")
    assert (
        service.runner.run(experiment, fill_defaults(experiment, {"x": 1e-4, "dtype": "float16"})).measured[
            "running_sum"
        ]
        == 0.25
    )
