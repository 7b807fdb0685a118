"""How long a formula takes: its value in every format, and its map with other forms."""

import statistics
import time

from qa_service.answering.formula import FormulaStudy
from qa_service.experiments.parameters import fill_defaults
from qa_service.experiments.spec import load_specs
from qa_service.lab.runner import SERVER_PRELOAD, ProcessRunner
from qa_service.model import RunStatus
from qa_service.model.formula import FormulaRequest
from qa_service.paths import bundled

_FORMULAS = {
    "2048+1": "", "0.1+0.2": "", "exp(x)": "89", "log(sigmoid(x))": "-200", "log(1+exp(x))": "100",
    "softmax([x, 0])": "1000", "sqrt(x+1)-sqrt(x)": "1e8", "(1-cos(x))/x**2": "1e-4", "x*log(x)": "0",
    "1/(1+exp(-x))": "-100", "log(sum(exp([x, 1, 2])))": "200", "sqrt(x**2+1)-1": "1e-5",
}  # fmt: skip
"""Formula → a value of x."""
_ROUNDS = 3


def formula_latency() -> None:
    """Wall time from the text to the result: a value in every format, the gradient too, a map with other forms."""
    runner = ProcessRunner(preload=SERVER_PRELOAD, idle=2)
    experiment = load_specs(bundled("demos"))["formula"]

    def measure(request: FormulaRequest) -> float:
        begin = time.perf_counter()
        study = FormulaStudy.of(request)
        run = runner.run(experiment, fill_defaults(experiment, study.params))
        assert run.status is RunStatus.RAN, run.note.en
        return time.perf_counter() - begin

    measure(FormulaRequest(expression="1+1"))
    over = {"x": ("-1000", "1000")}
    kinds = {
        "a value": [
            FormulaRequest(expression=text, at={"x": x} if x else {}, stable=False) for text, x in _FORMULAS.items()
        ],
        "a value, its gradient and other forms": [
            FormulaRequest(expression=text, at={"x": x} if x else {}, gradient=True) for text, x in _FORMULAS.items()
        ],
        "a map with other forms": [
            FormulaRequest(expression=text, over=over, gradient=True) for text, x in _FORMULAS.items() if x
        ],
    }
    for kind, requests in kinds.items():
        seconds = sorted(measure(request) for _ in range(_ROUNDS) for request in requests)
        print(f"{kind:40} median {statistics.median(seconds):.2f} s, most {seconds[-1]:.2f} s", flush=True)
    runner.close()
