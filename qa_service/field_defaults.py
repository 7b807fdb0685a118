"""Fields of pydantic models that take their default for a value of another type, so that only that value is lost."""

from typing import Any

from pydantic import GetPydanticSchema
from pydantic_core import core_schema


def or_else(default: Any) -> GetPydanticSchema:
    """The annotation of a field that takes `default` for a value that its type refuses."""
    return GetPydanticSchema(
        lambda source, handler: core_schema.with_default_schema(handler(source), default=default, on_error="default")
    )
