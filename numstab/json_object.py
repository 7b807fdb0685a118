"""The type of what the service replies."""

from typing import Any

JsonObject = dict[str, Any]
"""A JSON object, as parsed."""
