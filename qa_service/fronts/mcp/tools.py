"""The tools: description for language models, arguments, results, and the function that serves each."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from qa_service.answering import diagnosing, diagnosis_runs
from qa_service.answering.formula import FormulaStudy
from qa_service.answering.service import Service
from qa_service.fronts.mcp import conversion, inputs, results
from qa_service.fronts.mcp.calls import ToolCall
from qa_service.fronts.mcp.claim_checking import check_entry
from qa_service.fronts.mcp.experiment_search import find_experiments
from qa_service.model import Answer, Entry, Evidence, Lang, Request
from qa_service.model.events import Done, Event, EvidenceReady
from qa_service.parsing import detect_language
from qa_service.schemas.requests import RequestBody, read_request

ToolFunction = Callable[[Service, Any, ToolCall], tuple[results.ToolResult, list[Entry]]]
"""(service, arguments, call) → the result, and the entries that it links to."""


@dataclass(frozen=True, slots=True)
class ToolSpec:
    """A tool. With `with_app`, a client that supports it shows the result as a page."""

    name: str
    title: str
    description: str
    arguments: type[RequestBody]
    result: type[results.ToolResult]
    serve: ToolFunction
    with_app: bool = False


def _ask(service: Service, given: inputs.AskInput, call: ToolCall) -> tuple[results.ToolResult, list[Entry]]:
    fields = given.model_dump(exclude_unset=True)
    answer = _answer(service, read_request({**fields, "brief": True}), call)
    return conversion.ask_result(answer), [answer.entry] if answer.entry else []


def _compare(service: Service, given: inputs.CompareInput, call: ToolCall) -> tuple[results.ToolResult, list[Entry]]:
    fields = given.model_dump(exclude_unset=True)
    name, _, values = str(fields.pop("compare")).partition("=")
    wanted = [value.strip() for value in values.split(",") if value.strip()]
    compare = {name.strip(): wanted} if wanted else [name.strip()]
    answer = _answer(service, read_request({**fields, "compare": compare, "brief": True}), call)
    return conversion.compare_result(answer), [answer.entry] if answer.entry else []


def _answer(service: Service, request: Request, call: ToolCall) -> Answer:
    done = call.wait_for_last(service.stream(request, call.is_cancelled))
    assert isinstance(done, Done)
    return done.answer


def _run(service: Service, given: inputs.RunInput, call: ToolCall) -> tuple[results.ToolResult, list[Entry]]:
    ready = _evidence(call.wait_for_last(service.run(given.experiment, given.params, given.seed, call.is_cancelled)))
    run = conversion.run_result(ready.evidence, call.lang)
    return results.RunOnlyResult(left_out=[], lang=call.lang, runs=[run]), []


def _find(service: Service, given: inputs.FindInput, call: ToolCall) -> tuple[results.ToolResult, list[Entry]]:
    found = find_experiments(service, given.query, given.limit)
    return conversion.find_result(found, service, call.lang), []


def _check(service: Service, given: inputs.CheckInput, call: ToolCall) -> tuple[results.ToolResult, list[Entry]]:
    knowledge = service.knowledge
    entry = knowledge.library[given.entry]
    checked = check_entry(service, knowledge, entry, given.claim, given.seeds, call)
    return conversion.check_result(entry, checked, call.lang), [entry]


def _formula(service: Service, given: inputs.FormulaInput, call: ToolCall) -> tuple[results.ToolResult, list[Entry]]:
    study = FormulaStudy.of(given.to_request())
    ready = _evidence(call.wait_for_last(study.stream(service, call.is_cancelled)))
    return conversion.formula_result(study.result(ready.evidence), call.lang), []


def _diagnose(service: Service, given: inputs.DiagnoseInput, call: ToolCall) -> tuple[results.ToolResult, list[Entry]]:
    found = diagnosing.require_readable(diagnosing.diagnose_file(given.text.encode(), given.name))
    evidence: list[Evidence] = []
    knowledge = service.knowledge
    if given.run and found.experiment is not None:
        call.wait_for_last(
            diagnosis_runs.run_experiments(found, service, evidence.append, call.is_cancelled, knowledge)
        )
    library = knowledge.library
    named = dict.fromkeys(found.causes[each.cause].entry for each in found.hypotheses)
    entries = [library[name] for name in named if name in library]
    return conversion.diagnose_result(found, evidence, call.lang), entries


def _evidence(event: Event) -> EvidenceReady:
    assert isinstance(event, EvidenceReady)
    return event


def language(arguments: Any) -> Lang:
    """The language of messages: that named by the arguments, else that of their texts, else English.

    The arguments are not validated yet, so they may be any JSON value.
    """
    if not isinstance(arguments, dict):
        return "en"
    context = arguments.get("context")
    for named in (arguments.get("lang"), context.get("lang") if isinstance(context, dict) else None):
        if named in ("zh", "en"):
            return "zh" if named == "zh" else "en"
    texts = (arguments.get(name) for name in ("question", "query", "text"))
    return detect_language(" ".join(text[:2000] for text in texts if isinstance(text, str)))


TOOLS = {
    tool.name: tool
    for tool in (
        ToolSpec(
            "ask",
            "Ask about numerical stability",
            "Answers a question about numerical stability in deep learning (nan or inf loss, overflow, underflow, "
            "vanishing or exploding gradients, float16/bfloat16, softmax, initialisation, normalisation, optimisers), "
            "in Chinese or English, from curated entries, and measures the evidence at once: it runs experiments at "
            "the numbers of the question and returns their metrics, the verdict on each claim, and what repeats the "
            "run. Use it first, with the user's own words and numbers. Quote only numbers that it returns. It says so "
            "when its knowledge base does not cover a question; then do not present its candidates as an answer.",
            inputs.AskInput,
            results.AskResult,
            _ask,
            with_app=True,
        ),
        ToolSpec(
            "diagnose",
            "Diagnose a training log",
            "Reads the text of a training log (any trainer's lines, a table of values, trainer_state.json) and says "
            "whether the run is sick, of which cause and by which lines, what is ruled out, and the cure as code; then "
            "it runs the cause's experiment at the run's own numbers, as it is and cured. Use it whenever a log is at "
            "hand; read the file and pass its text, from the beginning.",
            inputs.DiagnoseInput,
            results.DiagnoseResult,
            _diagnose,
            with_app=True,
        ),
        ToolSpec(
            "compare",
            "Compare values of a parameter",
            "Answers a question, or with an entry, once for each value of one parameter (compare='dtype=float16,"
            "bfloat16,float32' or 'act=sigmoid,relu'), and returns the metrics side by side. Use it for 'what if' and "
            "'which is better' questions. Parameters are those of the runs that ask returns.",
            inputs.CompareInput,
            results.CompareResult,
            _compare,
        ),
        ToolSpec(
            "run_experiment",
            "Run one experiment",
            "Runs one named experiment in an isolated process (at most some seconds) at the parameters given, and "
            "returns its metrics. Use it to measure at other numbers than ask did. Names come from find_experiments or "
            "from earlier results. The same parameters and seed give the same numbers to the last bit.",
            inputs.RunInput,
            results.RunOnlyResult,
            _run,
            with_app=True,
        ),
        ToolSpec(
            "find_experiments",
            "Find experiments",
            "Searches the experiments that can be run, by words in Chinese or English, and returns the nearest with "
            "their parameters (bounds, defaults) and metrics.",
            inputs.FindInput,
            results.FindResult,
            _find,
        ),
        ToolSpec(
            "formula",
            "Evaluate a formula in float formats",
            "Evaluates a formula such as log(1+exp(x)) or sqrt(x+1)-sqrt(x), at a point or over a range, in float64, "
            "float32, bfloat16, float16 and float8: the value and error (ulp) in each, the step that goes wrong, where "
            "it breaks, the gradient if asked for, and stable rewrites as torch code. Functions have torch's names.",
            inputs.FormulaInput,
            results.FormulaToolResult,
            _formula,
        ),
        ToolSpec(
            "check_claim",
            "Check the claims of an entry",
            "Runs the claims of an entry over several seeds, at the entry's parameters and at each claim's control, "
            "where it must fail, and says which were confirmed. Use it when somebody doubts an answer.",
            inputs.CheckInput,
            results.CheckResult,
            _check,
        ),
    )
}
"""Name → tool, in the order in which they are listed."""
