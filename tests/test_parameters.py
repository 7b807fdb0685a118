"""A parameter is checked when a reader fixed it, and clamped when it was read from a question."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from qa_service.errors import BadParameter, UnknownParameter
from qa_service.experiments.parameters import clamp, fill_defaults, schema, validate
from qa_service.model import Experiment, Limit, Parameter, Text


def parameter(kind: str = "int", **given: object) -> Parameter:
    defaults = {"name": "n", "kind": kind, "default": 1, "title": Text("个数", "number"), "ge": 1, "le": 100}
    return Parameter(**(defaults | given))


X = parameter("float", name="x", default=1.5, ge=-math.inf, le=math.inf, nonfinite=True)
DTYPE = parameter("choice", name="dtype", default="float32", ge=None, le=None, choices=("float16", "float32"))


@pytest.mark.parametrize(
    ("what", "given_value", "value"),
    [
        (parameter(), "7", 7), (parameter(), 7.0, 7), (parameter(), "7.0", 7), (X, "1e308", 1e308),
        (X, "inf", math.inf),
        (X, "-Infinity", -math.inf), (X, 3, 3.0), (DTYPE, "float16", "float16"),
        (parameter("bool", ge=None), "true", True),
    ],
)  # fmt: skip
def test_words_become_values(what, given_value, value):
    """The command line and JSON spell the same value."""
    assert validate(what, given_value) == value


@pytest.mark.parametrize(
    ("what", "wrong"),
    [
        (parameter(), 0), (parameter(), 101), (parameter(), 1.5), (parameter(), "many"), (parameter(), True),
        (parameter(), math.nan), (parameter(), "1e999"), (parameter(), 10**400), (parameter(), None), (parameter(), []),
        (DTYPE, "float8"), (DTYPE, 16), (parameter("bool", ge=None), 1), (parameter("float"), "inf"), (X, "9" * 100),
    ],
)  # fmt: skip
def test_a_wrong_value_is_named_with_what_is_allowed(what, wrong):
    """Both languages name the parameter and the bounds."""
    with pytest.raises(BadParameter) as raised:
        validate(what, wrong)
    for lang in ("zh", "en"):
        assert what.name in raised.value[lang]
    assert raised.value.field == f"params.{what.name}"


@given(st.one_of(st.integers(), st.floats(), st.text(max_size=8), st.booleans()))
def test_clamped_values_are_always_allowed(value):
    """Whatever a question says, the experiment gets an allowed value or none."""
    for what in (parameter(), X, DTYPE, parameter("float", name="lr", ge=0.0, le=10.0)):
        clamped = clamp(what, value)
        assert clamped is None or validate(what, clamped) == clamped or clamped != clamped


def experiment(*parameters: Parameter, limits: tuple[Limit, ...] = ()) -> Experiment:
    named = {each.name: each for each in parameters}
    nothing = {
        "columns": {},
        "metrics": {},
        "words": {},
        "chart": {},
        "source": "",
        "hash": "",
        "doc": "",
        "path": "",
        "file": "",
    }
    return Experiment(slug="e", title=Text("实验", "experiment"), params=named, limits=limits, **nothing)


def test_unknown_names_get_the_nearest_one():
    """A typo is answered with the name that was meant."""
    with pytest.raises(UnknownParameter, match="did you mean dtype"):
        fill_defaults(experiment(parameter(), DTYPE), {"dtpye": "float16"})


def test_limits_on_parameters_together():
    """A product that would take too long, and bounds in the wrong order, are refused by name."""
    both = experiment(parameter(), parameter(name="trials"), limits=(Limit(names=("n", "trials"), le=50),))
    assert fill_defaults(both, {"n": 5, "trials": 10}) == {"n": 5, "trials": 10}
    with pytest.raises(BadParameter, match="n × trials is 60"):
        fill_defaults(both, {"n": 6, "trials": 10})
    ordered = experiment(
        parameter(name="lo"), parameter(name="hi"), limits=(Limit(names=("lo", "hi"), ascending=True),)
    )
    with pytest.raises(BadParameter, match="lo must be less than hi"):
        fill_defaults(ordered, {"lo": 5, "hi": 5})


def test_schema_says_types_bounds_defaults_and_words_for_inf():
    """The form, the command line and OpenAPI read the same schema."""
    shapes = schema(experiment(parameter(), X, DTYPE))["properties"]
    assert shapes["n"]["type"] == "integer"
    assert (shapes["n"]["minimum"], shapes["n"]["maximum"]) == (1, 100)
    assert {"enum": ["Infinity", "-Infinity", "NaN"]} in shapes["x"]["anyOf"]
    assert shapes["dtype"]["enum"] == ["float16", "float32"]
    assert shapes["n"]["x-title"] == {"zh": "个数", "en": "number"}
