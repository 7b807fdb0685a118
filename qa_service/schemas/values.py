"""Types that several bodies share: numbers with inf and nan, parameters' values, cells of rows, texts in two languages.

Floats that JSON cannot say are "Infinity", "-Infinity" and "NaN"; null means that there is no such value.
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

# What a demo measured is sent as it came. To check every cell of every row, or to try each type of a union when
# it is written, takes ten times as long as writing it (docs/decisions/0011); tests hold what is sent to these schemas.
Number = TypeAliasType("Number", Annotated[Any, WithJsonSchema(_NUMBER_SCHEMA)])
Cell = TypeAliasType("Cell", Annotated[Any, WithJsonSchema(_CELL_SCHEMA)])
Row = TypeAliasType("Row", Annotated[Any, WithJsonSchema(_ROW_SCHEMA)])

Value = TypeAliasType("Value", Annotated[bool | int | float | str, WithJsonSchema(_VALUE_SCHEMA)])
"""A parameter's value; inf and nan are words."""
Values = TypeAliasType("Values", Annotated[list[Value], Field(max_length=20)])

_MAX_NAMES = 50
_Name = Annotated[str, Field(max_length=100)]


def _check_name_count(named: Any) -> Any:
    """Before a model looks at each of them: of a hundred thousand it would list every one that is wrong."""
    if isinstance(named, dict) and len(named) > _MAX_NAMES:
        raise ValueError(f"more than {_MAX_NAMES} names")
    return named


_LIMIT_NAMES = (Field(max_length=_MAX_NAMES), BeforeValidator(_check_name_count))
Params = TypeAliasType("Params", Annotated[dict[_Name, Value], *_LIMIT_NAMES])
Compared = TypeAliasType("Compared", Annotated[dict[_Name, Values], *_LIMIT_NAMES])
NamedValues = TypeAliasType("NamedValues", Annotated[dict[_Name, Value | Values], *_LIMIT_NAMES])
"""What a question names; a list where it compares several values of one parameter."""
JsonObject = TypeAliasType("JsonObject", dict[str, Any])
"""An object whose shape another specification describes: a Vega-Lite chart, a JSON Schema."""


class Body(BaseModel):
    """A JSON object that is read or sent: frozen, of strict types, without other fields."""

    model_config = ConfigDict(frozen=True, strict=True, extra="forbid", ser_json_inf_nan="strings")

    def to_json(self) -> bytes:
        """Compact JSON in UTF-8."""
        try:
            return to_json(self)
        except PydanticSerializationError:  # a demo may yield half a character, which is JSON only as an escape
            return json.dumps(json_safe(self.model_dump(mode="json")), separators=(",", ":")).encode()

    def to_dict(self) -> dict[str, Any]:
        """What a reader of `to_json` gets."""
        read: dict[str, Any] = json.loads(self.to_json())
        return read


class TextJson(Body):
    """The same thing said in both languages."""

    zh: str
    en: str


def text_json(text: Text) -> TextJson:
    """A text in both languages."""
    return TextJson(zh=text.zh, en=text.en)


def omitted(description: str) -> Any:
    """A field that is left out, rather than null, where there is nothing to say."""
    return Field(
        default=None,
        exclude_if=lambda value: value is None,
        description=description,
        json_schema_extra=without_default,
    )


def without_default(schema: dict[str, Any]) -> None:
    """`json_schema_extra` of a field whose default is not one that could be sent."""
    del schema["default"]
