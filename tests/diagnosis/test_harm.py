"""Whether a run counts as harmed: healthy runs that look alarming do not, and runs in which something goes wrong do."""

import math

from checking import each_case
from runs_by_hand import INF, NAN, constant_level, decay, message, run_of, skip

from qa_service.diagnosis.engine import diagnose
from qa_service.diagnosis.harm import find_harms
from qa_service.model.training_run import TrainingEvent, TrainingRun


def _spiky() -> list[float]:
    values = decay(80, noise=0.03)
    values[40], values[41] = 9.0, 3.0
    return values


def _restarts() -> list[float]:
    return [
        (0.4 + 1.9 * math.exp(-i / 25)) * (1 + 0.4 * (1 + math.cos(math.pi * (i % 20) / 20)) / 2) for i in range(80)
    ]


def _curriculum() -> list[float]:
    return [*decay(30, 2.3, 0.5, 0.02), *[1.1 * v for v in decay(30, 1.6, 0.6, 0.02)]]


HEALTHY = {
    "falls": run_of(decay(50)),
    "noisy": run_of(decay(60, noise=0.4)),
    "scaler finds its place": run_of(
        [*constant_level(5, 9.0), *decay(20, 9.0, 2.0)],
        loss_scale=[65536.0 / 2**i for i in range(6)] + [2048.0] * 19,
        events=[skip(i, i) for i in range(5)],
    ),
    "DeepSpeed starts at 2**32": run_of(
        decay(20),
        loss_scale=[2.0 ** (32 - i) for i in range(16)] + [65536.0] * 4,
        events=[skip(i, i) for i in range(16)],
    ),
    "scale hovers": run_of(decay(40), loss_scale=[65536.0, 32768.0] * 20, events=[skip(i, 100 * i) for i in range(4)]),
    "one inf gradient": run_of(
        decay(200, noise=0.05), grad_norm=[*constant_level(120, 1.0, 0.1), INF, *constant_level(79, 1.0, 0.1)]
    ),
    "gradient nan in an average": run_of(decay(20, noise=0.02), grad_norm=[*constant_level(2, 0.4), *[NAN] * 18]),
    "spike that recovers": run_of(_spiky()),
    "one inf loss that recovers": run_of([*decay(30, noise=0.02), INF, *constant_level(30, 0.4, 0.02)]),
    "warm-up": run_of(constant_level(30, 11.0, 0.002), every=10, lr=[1e-8 * (i + 1) for i in range(30)]),
    "GAN": run_of(
        [0.7 + 0.1 * i for i in range(40)], d_loss=constant_level(40, 0.5), g_loss=[0.8 + 0.1 * i for i in range(40)]
    ),
    "reinforcement": run_of([0.1 * 1.2**i for i in range(20)], reward=[float(i) for i in range(20)]),
    "curriculum": run_of(_curriculum()),
    "cosine restarts": run_of(_restarts()),
    "converged": run_of(
        constant_level(40, 1.2e-7, 0.1),
        every=1000,
        grad_norm=constant_level(40, 3e-8, 0.2),
        lr=constant_level(40, 1e-4),
    ),
    "converged to three digits": run_of([*decay(30, 2.0, 0.011), *[0.011] * 20]),
    "one line": run_of([2.31]),
    "two lines": run_of([0.6931, 0.6931], from_start=False),
    "three lines that rise": run_of([1.97, 1.99, 2.01], from_start=False),
    "five lines": run_of([2.1, 2.0, 2.05, 1.9, 1.95], from_start=False),
    "noisy validation": run_of(decay(20), val_loss=[1.9, 1.4, 1.7, 1.1, 1.5, 0.9, 1.2, 1.0]),
    "mild overfitting": run_of(decay(20, 2.3, 0.3), val_loss=[1.9, 1.2, 0.9, 0.8, 0.79, 0.81, 0.83, 0.82]),
    "negative loss": run_of([1.0 - 0.1 * i for i in range(40)]),
    "summed loss": run_of(decay(60, 5e4, 800.0, 0.03), grad_norm=constant_level(60, 1e4, 0.3)),
    "fine-tuning": run_of(
        decay(30, 1.32, 1.27, 0.02), every=10, trainer="hf_trainer", grad_norm=constant_level(30, 0.6, 0.1)
    ),
    "resumed plateau": run_of(constant_level(40, 2.2, 0.01), from_start=False),
    "losses in bits": run_of(decay(40, 14.0, 4.0), settings={"log2": True}),
    "interrupted": run_of(
        decay(20), events=[TrainingEvent(kind="traceback", name="KeyboardInterrupt", text="KeyboardInterrupt")]
    ),
    "edge of stability": run_of([0.4 + 1.9 * math.exp(-i / 15) * (1.15 if i % 2 else 0.85) for i in range(80)]),
    "warning of a metric": run_of(
        decay(20), events=[message("numpy_invalid", "RuntimeWarning: invalid value encountered in true_divide")]
    ),
}


@each_case("name", HEALTHY)
def test_a_healthy_run_stays_silent(name):
    """A healthy run gets no harm, no hypothesis and no question, however alarming it looks."""
    run = HEALTHY[name]
    assert find_harms(run) == ()
    found = diagnose(run)
    assert (found.status, found.hypotheses, found.question) == ("healthy", (), None)


SICK = {
    "nan to the end": (run_of([*decay(10), NAN, NAN]), "nonfinite"),
    "nan in the last line": (run_of([*decay(10), NAN]), "nonfinite"),
    "nan that comes again and again": (run_of([*decay(10), *[NAN, 0.4] * 6, 0.4, 0.4, 0.4]), "nonfinite"),
    "hidden by a filter": (
        run_of([*decay(8), 0.0, 0.0, 0.0], grad_norm=[*constant_level(8, 1.0), NAN, NAN, NAN], trainer="hf_trainer"),
        "nonfinite",
    ),
    "gradient nan, loss stands": (
        run_of([*decay(8), *[0.41] * 4], grad_norm=[*constant_level(8, 1.0), *[NAN] * 4]),
        "nonfinite",
    ),
    "component": (run_of(decay(10), loss_bbox=[*decay(8), NAN, NAN]), "nonfinite"),
    "rises": (run_of([2.3 * 1.3**i for i in range(12)]), "diverging"),
    "rises after learning": (run_of([*decay(20, 10, 2), *[2 * 1.25**i for i in range(12)]]), "diverging"),
    "learned, then lost": (run_of([*decay(20, 2.3, 0.3), *constant_level(20, 2.3, 0.01)]), "diverging"),
    "learned, then half lost": (run_of([*decay(20, 10.8, 4.0), *constant_level(25, 7.4, 0.01)]), "diverging"),
    "high above the start": (run_of([2.3, *constant_level(30, 40.0, 0.4)]), "diverging"),
    "ln 10": (run_of(constant_level(20, 2.3027, 0.0005)), "no_learning"),
    "ln 2 after a large start": (run_of([8.0, 1.2, *constant_level(18, 0.6931, 0.0004)]), "no_learning"),
    "log2 of 32000": (run_of(constant_level(20, 14.966, 0.0005), settings={"log2": True}), "no_learning"),
    "one number": (run_of([3.1415] * 8), "no_learning"),
    "clamp": (run_of(constant_level(10, 7.6666, 0.0005)), "no_learning"),
    "flat": (run_of(constant_level(40, 1.034, 0.01), every=10), "no_learning"),
    "zero from the start": (run_of([0.0] * 6, grad_norm=[0.0] * 6), "no_learning"),
    "scale to the floor": (run_of(constant_level(20, 2.0), loss_scale=[65536.0 / 2**i for i in range(20)]), "skipping"),
    "validation nan": (run_of(decay(12), val_loss=[2.0, NAN, NAN, NAN]), "evaluation"),
    "validation never learns": (run_of(decay(12, 2.3, 0.1), val_loss=[2.4, 2.6, 2.9, 3.2, 3.3]), "evaluation"),
    "overfitting": (run_of(decay(30, 2.3, 0.01), val_loss=[1.9, 1.2, 0.9, 1.1, 1.3, 1.5, 1.8]), "evaluation"),
    "anomaly": (run_of(events=[message("anomaly", "Function 'SqrtBackward0' returned nan values")]), "stopped"),
}


@each_case("name", SICK)
def test_a_sick_run_opens_the_gate(name):
    run, harm = SICK[name]
    assert harm in {each.id for each in find_harms(run)}
    assert diagnose(run).status != "healthy"


def test_margins_say_what_looks_alarming():
    """A nan from which the run recovers, and skipped updates, are reported as harmless."""
    found = diagnose(HEALTHY["one inf gradient"])
    assert any("grad_norm" in each.en for each in found.harmless_anomalies)
    assert any(
        "5 updates are skipped" in each.en for each in diagnose(HEALTHY["scaler finds its place"]).harmless_anomalies
    )


def test_nothing_at_all_is_unreadable():
    assert diagnose(TrainingRun(source="log")).status == "unreadable"
