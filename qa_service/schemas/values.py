"""Types that several bodies share: numbers with inf and nan, parameters' values, cells of rows, texts in two languages.

Floats that JSON cannot represent are "Infinity", "-Infinity" and "NaN"; null means that there is no value.
"""

import json
from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, WithJsonSchema
from pydantic_core import PydanticSerializationError, to_json
from typing_extensions import TypeAliasType

from qa_service.model import Text
from qa_service.model.json_numbers import json_safe

_NUMBER_SCHEMA: dict[str, Any] = {"anyOf": [{"type": "number"}, {"enum": ["Infinity", "-Infinity", "NaN"]}]}
_VALUE_SCHEMA: dict[str, Any] = {"anyOf": [{"type": "number"}, {"type": "string"}, {"type": "boolean"}]}
_CELL_SCHEMA: dict[str, Any] = {"anyOf": [*_VALUE_SCHEMA["anyOf"], {"type": "null"}]}

_ROW_SCHEMA: dict[str, Any] = {"type": "object", "additionalProperties": _CELL_SCHEMA}

# For pydantic measured values are of type Any: validating each cell, or trying each type of a union on serialisation,
# takes ten times as long as writing it (docs/decisions/0011-schemas.md). Tests validate responses against the schemas.
Number = TypeAliasType("Number", Annotated[Any, WithJsonSchema(_NUMBER_SCHEMA)])
Cell = TypeAliasType("Cell", Annotated[Any, WithJsonSchema(_CELL_SCHEMA)])
Row = TypeAliasType("Row", Annotated[Any, WithJsonSchema(_ROW_SCHEMA)])

Value = TypeAliasType("Value", Annotated[bool | int | float | str, WithJsonSchema(_VALUE_SCHEMA)])
"""A parameter's value; inf and nan are strings."""
Values = TypeAliasType("Values", Annotated[list[Value], Field(max_length=20)])

_MAX_NAMES = 50
_Name = Annotated[str, Field(max_length=100)]


def _check_name_count(named: Any) -> Any:
    """The mapping itself; raises ValueError if it has more than 50 names.

    It runs before pydantic validates the names, which would take long to report 100,000 wrong ones.
    """
    if isinstance(named, dict) and len(named) > _MAX_NAMES:
        raise ValueError(f"more than {_MAX_NAMES} names")
    return named


_LIMIT_NAMES = (Field(max_length=_MAX_NAMES), BeforeValidator(_check_name_count))
Params = TypeAliasType("Params", Annotated[dict[_Name, Value], *_LIMIT_NAMES])
Compared = TypeAliasType("Compared", Annotated[dict[_Name, Values], *_LIMIT_NAMES])
NamedValues = TypeAliasType("NamedValues", Annotated[dict[_Name, Value | Values], *_LIMIT_NAMES])
"""The parameters that a question names; a list if it compares several values of one."""
_Ends = Annotated[list[Value], Field(min_length=2, max_length=2)]
Ranges = TypeAliasType("Ranges", Annotated[dict[_Name, _Ends], *_LIMIT_NAMES])
"""Name → the lowest and the highest value."""
JsonObject = TypeAliasType("JsonObject", dict[str, Any])
"""An object whose shape another specification describes: a Vega-Lite chart, a JSON Schema."""


class Body(BaseModel):
    """Base of every body, read or sent: frozen, strictly typed, rejects unknown fields."""

    model_config = ConfigDict(frozen=True, strict=True, extra="forbid", ser_json_inf_nan="strings")

    def to_json(self) -> bytes:
        """Compact JSON in UTF-8."""
        try:
            return to_json(self)
        except PydanticSerializationError:  # a demo may yield a lone surrogate, which only an escape can represent
            return json.dumps(json_safe(self.model_dump(mode="json")), separators=(",", ":")).encode()

    def to_dict(self) -> dict[str, Any]:
        """The parsed JSON."""
        read: dict[str, Any] = json.loads(self.to_json())
        return read


class TextJson(Body):
    """A text in both languages."""

    zh: str
    en: str


def text_json(text: Text) -> TextJson:
    """The text as JSON."""
    return TextJson(zh=text.zh, en=text.en)


def omitted_if_none(description: str) -> Any:
    """A field that is left out of the JSON if it is None."""
    return Field(
        default=None,
        exclude_if=lambda value: value is None,
        description=description,
        json_schema_extra=without_default,
    )


def without_default(schema: dict[str, Any]) -> None:
    """`json_schema_extra` for a field whose default is not a valid value: removes it from the schema."""
    del schema["default"]
