"""The API's shapes for OpenAPI. Descriptions only: wire.py reads and writes, in the reader's language."""

from typing import Any

from qa_service.model import MAX_SEEDS

_NUMBER = {"anyOf": [{"type": "number"}, {"enum": ["Infinity", "-Infinity", "NaN"]}]}
_VALUE = {"anyOf": [*_NUMBER["anyOf"], {"type": "string"}, {"type": "boolean"}]}
_PARAMS = {"type": "object", "additionalProperties": _VALUE}
_NAMED = {"type": "object", "additionalProperties": {"anyOf": [*_VALUE["anyOf"], {"type": "array", "items": _VALUE}]}}
_LANG = {"enum": ["zh", "en"]}
_SEED = {"type": "integer", "minimum": 0, "maximum": 2**63 - 1, "default": 0}
_TEXT = {"type": "string"}

REQUEST: dict[str, Any] = {
    "type": "object",
    "properties": {
        "question": _TEXT,
        "lang": _LANG,
        "params": _PARAMS,
        "compare": {
            "anyOf": [
                {"type": "object", "additionalProperties": {"type": "array", "items": _VALUE}},
                {"type": "array", "items": _TEXT},
            ],
            "description": "run an experiment once for each value of a parameter; a name alone stands for all choices",
        },
        "seed": _SEED,
        "seeds": {"type": "integer", "minimum": 1, "maximum": MAX_SEEDS, "default": 1},
        "entry": {"type": "string", "description": "ask this entry instead of looking for one"},
        "blocks": {"type": "array", "items": _TEXT, "description": "only these evidence blocks of the entry"},
        "run": {"type": "boolean", "default": True},
        "context": {"type": "object", "description": "the context of the answer before, as it came"},
    },
    "additionalProperties": False,
    "example": {"question": "What happens when 100 factors of 1.5 are multiplied?"},
}
RUN: dict[str, Any] = {
    "type": "object",
    "properties": {"params": _PARAMS, "seed": _SEED, "lang": _LANG},
    "additionalProperties": False,
}
FEEDBACK: dict[str, Any] = {
    "type": "object",
    "properties": {
        "answer_id": {"type": "string", "minLength": 26, "maxLength": 26},
        "helpful": {"type": "boolean"},
        "reason": {"type": "string", "maxLength": 2000},
        "lang": _LANG,
    },
    "required": ["answer_id", "helpful"],
    "additionalProperties": False,
}
_CLAIM = {
    "type": "object",
    "properties": {
        "id": _TEXT,
        "says": _TEXT,
        "metric": _TEXT,
        "op": {"enum": ["<", "<=", ">", ">=", "==", "!="]},
        "bound": _NUMBER,
        "value": {"anyOf": [*_NUMBER["anyOf"], {"type": "null"}]},
        "verdict": {"enum": ["holds", "fails", "unknown"]},
        "visible_at": {
            "anyOf": [_PARAMS, {"type": "null"}],
            "description": "parameters at which the claim can be seen, where these do not show it",
        },
        "spread": {
            "type": "object",
            "description": "over seeds: held, seeds, and lowest, median and highest value",
        },
    },
}
_EVIDENCE = {
    "type": "object",
    "properties": {
        "id": _TEXT,
        "block": _TEXT,
        "compared": _PARAMS,
        "experiment": _TEXT,
        "params": _PARAMS,
        "seed": _SEED,
        "status": {"enum": ["ran", "raised", "timed_out", "crashed", "out_of_memory"]},
        "note": _TEXT,
        "metrics": {"type": "object"},
        "claims": {"type": "array", "items": _CLAIM},
        "rows": {"type": "array", "items": {"type": "object"}},
        "chart": {"type": "object", "description": "Vega-Lite, data included"},
        "seconds": {"type": "number"},
        "chart_in_words": _TEXT,
        "cached": {"type": "boolean", "description": "measured before, for the same code, parameters and seed"},
        "receipt": {"type": "object"},
    },
}
_ANSWER = {
    "type": "object",
    "properties": {
        "id": _TEXT,
        "status": {"enum": ["answered", "clarify", "not_covered"]},
        "lang": _LANG,
        "question": _TEXT,
        "entry": {"anyOf": [{"type": "object"}, {"type": "null"}]},
        "confidence": {"type": "number", "minimum": 0, "maximum": 1},
        "matches": {"type": "array", "items": {"type": "object"}},
        "subject": {
            "anyOf": [{"type": "object"}, {"type": "null"}],
            "description": "what a declined question is about",
        },
        "answer": {"type": "string", "description": "markdown"},
        "params": _NAMED,
        "notes": {"type": "array", "items": _TEXT},
        "evidence": {"type": "array", "items": _EVIDENCE},
        "ladder": {
            "type": "array",
            "items": {"type": "object"},
            "description": "where dtypes are compared, float64 among them: block, dtype, column, the first row that "
            "overflows, the first off by more than half a unit in the last place, the last row's error in such units",
        },
        "related": {"type": "array", "items": {"type": "object"}},
        "context": {"anyOf": [{"type": "object"}, {"type": "null"}]},
    },
}
_PROBLEM = {
    "type": "object",
    "properties": {
        "type": _TEXT, "title": _TEXT, "status": {"type": "integer"}, "code": _TEXT, "detail": _TEXT, "field": _TEXT,
    },
}  # fmt: skip


EXPORT: dict[str, Any] = {
    "parameters": [
        {"name": name, "in": "query", "required": False, "schema": shape, "description": about}
        for name, shape, about in (
            ("form", {"enum": ["ipynb", "py"], "default": "ipynb"}, "a notebook or a script"),
            ("lang", _LANG, "the language of its text"),
            ("seed", _SEED, "the seed of its runs"),
            ("block", _TEXT, "only this evidence block"),
        )
    ]
}
"""Any other name in the query is a parameter of the experiments."""


def body(shape: dict[str, Any]) -> dict[str, Any]:
    """`openapi_extra` for a JSON body of this shape."""
    return {"requestBody": {"required": True, "content": {"application/json": {"schema": shape}}}}


def _json(shape: dict[str, Any], about: str, media: str = "application/json") -> dict[str, Any]:
    return {"description": about, "content": {media: {"schema": shape}}}


ANSWER = _json(_ANSWER, "An Answer")
EVIDENCE = _json(_EVIDENCE, "An Evidence")
METRICS = {"description": "Counts", "content": {"text/plain": {"schema": _TEXT}}}
NOT_READY = _json({"type": "object"}, "Some part is not ready; it says which")
EVENTS = {"description": "Server-sent events: answer, started, queued, row, evidence, done, error"}
PROBLEMS: dict[int | str, dict[str, Any]] = {
    status: _json(_PROBLEM, about, "application/problem+json")
    for status, about in (
        (401, "No key"),
        (403, "A key that does not open this"),
        (404, "Unknown entry or experiment"),
        (408, "A body that came too slowly"),
        (413, "Body too large"),
        (422, "Bad input"),
        (429, "Too many requests; Retry-After says when"),
        (500, "Ours"),
        (503, "Overloaded, about to stop, or nothing can be kept; Retry-After says when"),
    )
}
