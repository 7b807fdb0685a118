"""Plans the runs of a question that asks for the values of formulas, by the experiment `formula`."""

from fractions import Fraction

from qa_service.answering.planning import PlannedRun
from qa_service.errors import BadExpression
from qa_service.experiments.parameters import fill_defaults
from qa_service.formula.dtypes import dtypes_in
from qa_service.formula.mentions import Mention, asks_gradient
from qa_service.formula.printing import infix
from qa_service.formula.sexpr import from_sexpr, to_sexpr
from qa_service.formula.tree import Node, variables
from qa_service.formula.values import NumberOrRange, Range, number_or_range_text, read_values, values_text
from qa_service.model import Calculation, Context, EvidenceBlock, Experiment, Value
from qa_service.model.formula import FORMULA_EXPERIMENT
from qa_service.parsing import ParsedQuestion

DEFAULT_RANGE = Range(Fraction(-1000), Fraction(1000))
"""The range of a variable without a value: "is log(1+exp(x)) safe?"."""
_MAX_FORMS = 3
"""The largest number of stabler forms that are measured beside a formula."""


def plan_calculation(mention: Mention, experiment: Experiment) -> tuple[Calculation, tuple[PlannedRun, ...]]:
    """The calculation, and a planned run for each of its formulas. Raises `BadRequest`."""
    given: dict[str, NumberOrRange] = {**dict.fromkeys(mention.free, DEFAULT_RANGE), **mention.values}
    calculation = Calculation(
        formulas=tuple(map(infix, mention.formulas)),
        dtypes=mention.dtypes,
        at={name: number_or_range_text(value) for name, value in given.items() if not isinstance(value, Range)},
        over={
            name: (number_or_range_text(value.low), number_or_range_text(value.high))
            for name, value in given.items()
            if isinstance(value, Range)
        },
        gradient=mention.gradient,
    )
    runs = []
    for index, formula in enumerate(mention.formulas):
        params = fill_defaults(
            experiment,
            {
                "expression": to_sexpr(formula),
                "alternatives": "\n".join(_stabler_forms(formula, given)),
                "values": values_text({name: given[name] for name in variables(formula)}),
                "gradient": mention.gradient,
                **({"dtype": _wide(mention.dtypes[0])} if mention.dtypes else {}),
            },
        )
        name = FORMULA_EXPERIMENT if index == 0 else f"{FORMULA_EXPERIMENT}-{index + 1}"
        block = EvidenceBlock(id=name, experiment=FORMULA_EXPERIMENT, params=params, fixed=frozenset(), claims=())
        runs.append(PlannedRun(block=block, experiment=experiment, params=params, compared={}))
    return calculation, tuple(runs)


def named_values(run: PlannedRun, dtypes: tuple[str, ...]) -> dict[str, Value | tuple[Value, ...]]:
    """The parameters by which `follow_up_calculation` recognises a calculation: formula, values of its variables,
    formats asked for.
    """
    named: dict[str, Value | tuple[Value, ...]] = {
        name: run.params[name] for name in ("expression", "values") if run.params[name]
    }
    return named | ({"dtype": dtypes if len(dtypes) > 1 else dtypes[0]} if dtypes else {})


def follow_up_calculation(question: ParsedQuestion, context: Context | None) -> Mention | None:
    """The calculation before it, of a follow-up that names another format or value: "and in float16?", "x=50 呢".

    None if the answer before was no calculation, or the question says anything else.
    """
    expression = context.params.get("expression") if context and not context.entry else None
    if not isinstance(expression, str) or not (question.is_elliptical and question.is_short):
        return None
    try:
        formula = from_sexpr(expression)
        values = read_values(str(context.params.get("values", "")) if context else "")
    except BadExpression:
        return None
    dtypes = tuple(dict.fromkeys(dtypes_in(question.text)))
    before = context.params.get("dtype", ()) if context else ()
    gradient = asks_gradient(question.text)
    names = variables(formula)
    if question.number is not None and len(names) == 1 and not dtypes:
        values[names[0]] = Fraction(str(question.number.value))
    elif not dtypes and not (gradient and names):
        return None
    dtypes = dtypes or tuple(map(str, before if isinstance(before, tuple) else (before,)))
    return Mention(formulas=(formula,), values=values, dtypes=dtypes, gradient=gradient)


def _wide(dtype: str) -> str:
    """The format in which inputs that break a formula are sought: itself, or float16 for a float8 format."""
    return "float16" if dtype.startswith("float8") else dtype


def _stabler_forms(formula: Node, given: dict[str, NumberOrRange]) -> list[str]:
    """Forms to be measured beside a formula over a range, as S-expressions; none at a point."""
    over = {name: given[name] for name in variables(formula)}
    ranges = {name: (float(each.low), float(each.high)) for name, each in over.items() if isinstance(each, Range)}
    if not ranges:
        return []
    from qa_service.formula.rewrites import proposals

    return [to_sexpr(proposal.tree) for proposal in proposals(formula, _MAX_FORMS, ranges, "float32")]
