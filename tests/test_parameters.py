"""Parameters of a request are validated; parameters read from a question are clamped."""

import math

import pytest
from checking import each_case
from hypothesis import given
from hypothesis import strategies as st

from qa_service.errors import BadParameter, UnknownParameter
from qa_service.experiments.parameters import clamp, fill_defaults, schema, validate
from qa_service.model import Experiment, Limit, Parameter, Text


def parameter(kind: str = "int", **overrides: object) -> Parameter:
    defaults = {"name": "n", "kind": kind, "default": 1, "title": Text("个数", "number"), "ge": 1, "le": 100}
    return Parameter(**(defaults | overrides))


X = parameter("float", name="x", default=1.5, ge=-math.inf, le=math.inf, nonfinite=True)
DTYPE = parameter("choice", name="dtype", default="float32", ge=None, le=None, choices=("float16", "float32"))


@each_case(
    ("spec", "received", "expected"),
    [
        (parameter(), "7", 7), (parameter(), 7.0, 7), (parameter(), "7.0", 7), (X, "1e308", 1e308),
        (X, "inf", math.inf),
        (X, "-Infinity", -math.inf), (X, 3, 3.0), (DTYPE, "float16", "float16"),
        (parameter("bool", ge=None), "true", True),
    ],
)  # fmt: skip
def test_strings_are_converted_to_the_parameters_type(spec, received, expected):
    """A string of the command line and a number in JSON give the same value."""
    assert validate(spec, received) == expected


@each_case(
    ("spec", "value"),
    [
        (parameter(), 0), (parameter(), 101), (parameter(), 1.5), (parameter(), "many"), (parameter(), True),
        (parameter(), math.nan), (parameter(), "1e999"), (parameter(), 10**400), (parameter(), None), (parameter(), []),
        (DTYPE, "float8"), (DTYPE, 16), (parameter("bool", ge=None), 1), (parameter("float"), "inf"), (X, "9" * 100),
    ],
)  # fmt: skip
def test_invalid_values_are_rejected_by_name(spec, value):
    """The error names the parameter in both languages and in its field."""
    with pytest.raises(BadParameter) as raised:
        validate(spec, value)
    for lang in ("zh", "en"):
        assert spec.name in raised.value[lang]
    assert raised.value.field == f"params.{spec.name}"


@given(st.one_of(st.integers(), st.floats(), st.text(max_size=8), st.booleans()))
def test_clamped_values_are_always_valid(value):
    """Clamping any value of a question gives a valid value, or none."""
    for spec in (parameter(), X, DTYPE, parameter("float", name="lr", ge=0.0, le=10.0)):
        clamped = clamp(spec, value)
        assert clamped is None or validate(spec, clamped) == clamped or clamped != clamped


def experiment(*parameters: Parameter, limits: tuple[Limit, ...] = ()) -> Experiment:
    by_name = {each.name: each for each in parameters}
    empty = {
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
    return Experiment(slug="e", title=Text("实验", "experiment"), params=by_name, limits=limits, **empty)


def test_unknown_parameters_suggest_the_nearest_name():
    with pytest.raises(UnknownParameter, match="did you mean dtype"):
        fill_defaults(experiment(parameter(), DTYPE), {"dtpye": "float16"})


def test_limits_on_several_parameters_are_checked():
    """A product above its limit, and bounds in the wrong order, are rejected by name."""
    both = experiment(parameter(), parameter(name="trials"), limits=(Limit(names=("n", "trials"), le=50),))
    assert fill_defaults(both, {"n": 5, "trials": 10}) == {"n": 5, "trials": 10}
    with pytest.raises(BadParameter, match="n × trials is 60"):
        fill_defaults(both, {"n": 6, "trials": 10})
    ordered = experiment(
        parameter(name="lo"), parameter(name="hi"), limits=(Limit(names=("lo", "hi"), ascending=True),)
    )
    with pytest.raises(BadParameter, match="lo must be less than hi"):
        fill_defaults(ordered, {"lo": 5, "hi": 5})


def test_schema_has_types_bounds_and_titles():
    """The form, the command line and OpenAPI use this schema; infinities and NaN are strings in it."""
    properties = schema(experiment(parameter(), X, DTYPE))["properties"]
    assert properties["n"]["type"] == "integer"
    assert (properties["n"]["minimum"], properties["n"]["maximum"]) == (1, 100)
    assert {"enum": ["Infinity", "-Infinity", "NaN"]} in properties["x"]["anyOf"]
    assert properties["dtype"]["enum"] == ["float16", "float32"]
    assert properties["n"]["x-title"] == {"zh": "个数", "en": "number"}
