"""Requests: JSON bodies and queries, validated. An error names the field and what is allowed, in both languages."""

from collections.abc import Mapping
from typing import Annotated, Any, Literal, Self, TypeVar, get_args

from pydantic import ConfigDict, Field, ValidationError, model_validator
from pydantic.fields import FieldInfo as ModelField
from pydantic.json_schema import SkipJsonSchema
from pydantic_core import PydanticCustomError

from qa_service.errors import BadField
from qa_service.model import MAX_SEEDS, Context, Lang, NamedValues, Request, Text, Value
from qa_service.schemas import allowed
from qa_service.schemas import values as types
from qa_service.schemas.allowed import bad_field, check_seeds
from qa_service.schemas.values import Body, without_default

Seed = Annotated[int, Field(ge=0, le=allowed.MAX_SEED)]
EntryId = Annotated[str, Field(min_length=1, max_length=100)]
Ids = Annotated[list[str], Field(max_length=20)]
ChipName = Annotated[str, Field(max_length=60, pattern="^(?:where|what|when|in|tried|fine|param):[A-Za-z0-9_]+$")]
_WITHOUT = Text(
    '观察或参数的列表，例如 "what:nan"、"param:lr"', 'a list of observations and parameters, as "what:nan", "param:lr"'
)
_UNKNOWN: Literal["unknown_field"] = "unknown_field"


def _given(name: str, schema: dict[str, Any]) -> dict[str, Any]:
    """A JSON Schema that requires this field, with this schema."""
    return {"required": [name], "properties": {name: schema}}


class RequestBody(Body):
    """Base of the bodies of requests; rejects unknown fields."""

    @model_validator(mode="before")
    @classmethod
    def _no_other_fields(cls, data: Any) -> Any:
        """Raises for the first unknown field; `extra="forbid"` alone would take a second to report 100,000 of them."""
        if isinstance(data, dict) and cls.model_config["extra"] == "forbid":
            for name in data:
                if name not in cls.model_fields:
                    raise PydanticCustomError(_UNKNOWN, "no such field", {"name": str(name)[:60]})
        return data


_Model = TypeVar("_Model", bound=RequestBody)


class ContextRequest(RequestBody):
    """The `context` of the previous answer, sent back unchanged with a follow-up question."""

    model_config = ConfigDict(
        json_schema_extra={
            "anyOf": [
                _given("entry", {"type": "string"}),
                _given("candidates", {"type": "array", "minItems": 1}),
                _given("params", {"required": ["expression"]}),
            ]
        }
    )

    entry: Annotated[EntryId | None, allowed.ENTRY] = None
    aspect: Annotated[EntryId | None, allowed.ASPECT] = None
    params: Annotated[types.NamedValues, allowed.PARAMS] = Field(default={})
    lang: Annotated[Lang | None, allowed.LANG] = None
    candidates: Annotated[Ids | None, allowed.ENTRIES] = None
    seed: Annotated[Seed | None, allowed.SEED] = None

    @model_validator(mode="after")
    def _has_subject(self) -> Self:
        """Raises `BadField` unless the context has an entry, candidates or a formula."""
        if self.entry is None and not self.candidates and "expression" not in self.params:
            raise bad_field("context.entry", allowed.ENTRY)
        return self

    def to_context(self) -> Context:
        """The context as a value of the model."""
        named: NamedValues = {
            name: tuple(value) if isinstance(value, list) else value for name, value in self.params.items()
        }
        return Context(
            entry=self.entry,
            aspect=self.aspect or "",
            params=named,
            lang=self.lang or "en",
            candidates=tuple(self.candidates or ()),
            seed=self.seed or 0,
        )


class AskRequest(RequestBody):
    """A question with its options."""

    model_config = ConfigDict(
        json_schema_extra={
            "anyOf": [{"required": ["question"]}, _given("entry", {"type": "string"})],
            "examples": [
                {"question": "What happens when 100 factors of 1.5 are multiplied?"},
                {"entry": "multiply-vs-add", "params": {"n": 200}, "compare": {"x": [0.9, 1.1]}, "seeds": 5},
                {"question": "and in float16?", "context": {"entry": "multiply-vs-add", "params": {}, "lang": "en"}},
            ],
        }
    )

    question: Annotated[str, allowed.QUESTION] = Field(default="", description="required unless an entry is given")
    lang: Annotated[Lang | None, allowed.LANG] = Field(default=None, description="default: the question's")
    reader_lang: Annotated[Lang | None, allowed.LANG] = Field(
        default=None,
        description="the language of the answer if the question shows none, such as a log; default: the context's",
    )
    params: Annotated[types.Params, allowed.PARAMS] = Field(
        default={}, description="they override those that the question names"
    )
    compare: Annotated[types.Compared | Ids, allowed.COMPARE] = Field(
        default={},
        description="run an experiment once for each value of a parameter; a name alone stands for all choices",
    )
    seed: Annotated[Seed, allowed.SEED] = 0
    seeds: Annotated[int, Field(ge=1, le=MAX_SEEDS), allowed.SEEDS] = Field(
        default=1, description="repeat every run with this many seeds, from `seed` on"
    )
    entry: Annotated[EntryId | None, allowed.ENTRY] = Field(
        default=None, description="answer with this entry instead of matching the question"
    )
    aspect: Annotated[EntryId | None, allowed.ASPECT] = Field(
        default=None, description="the further question of this entry to answer; default: its own"
    )
    blocks: Annotated[Ids | None, allowed.BLOCKS] = Field(
        default=None, description="only these evidence blocks of the entry"
    )
    run: Annotated[bool, allowed.BOOLEAN] = Field(default=True, description="false: text only, no experiment is run")
    brief: Annotated[bool, allowed.BOOLEAN] = Field(
        default=False,
        description="only the first screen: the runs that it needs, without rows and charts; at most 9 KB",
    )
    context: Annotated[ContextRequest | None, allowed.CONTEXT] = None
    without: Annotated[list[ChipName], Field(max_length=40), _WITHOUT] = Field(
        default=[], description="observations and parameters that were misread in the question and are to be ignored"
    )

    @model_validator(mode="after")
    def _has_question_or_entry(self) -> Self:
        if "question" not in self.model_fields_set and not self.entry:
            raise bad_field("question", allowed.QUESTION)
        return self

    def to_request(self) -> Request:
        """The request as a value of the model."""
        compare: dict[str, list[Value]]
        compare = {name: [] for name in self.compare} if isinstance(self.compare, list) else self.compare
        return Request(
            question=self.question,
            lang=self.lang,
            reader_lang=self.reader_lang,
            params=self.params,
            compare={name: tuple(values) for name, values in compare.items()},
            seed=self.seed,
            seeds=self.seeds,
            entry=self.entry,
            aspect=self.aspect or "",
            blocks=None if self.blocks is None else tuple(self.blocks),
            run=self.run,
            brief=self.brief,
            context=self.context.to_context() if self.context else None,
            removed_chips=tuple(self.without),
        )


class RunRequest(RequestBody):
    """One run of an experiment."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"params": {"n": 200, "x": 0.9}, "seed": 3}]})

    params: Annotated[types.Params, allowed.PARAMS] = Field(default={})
    seed: Annotated[Seed, allowed.SEED] = 0
    lang: Annotated[Lang | None, allowed.LANG] = None


class PageRunRequest(RunRequest):
    """One run of an experiment that is named in the body, as the page sends it."""

    experiment: Annotated[str, allowed.EXPERIMENT]


class FeedbackRequest(RequestBody):
    """Whether an answer helped."""

    model_config = ConfigDict(
        json_schema_extra={"examples": [{"answer_id": "01JZ8Q4Y2M3N5P7R9T0V2X4Z6B", "helpful": True}]}
    )

    answer_id: Annotated[str, Field(pattern="^[0-9A-Za-z]{26}$"), allowed.ANSWER_ID]
    helpful: Annotated[bool, allowed.BOOLEAN]
    reason: Annotated[
        Annotated[str, Field(max_length=2000, pattern=r"^[^\x00]*$")] | None,
        Text("不超过 2000 个字符的文字", "a text of at most 2000 characters"),
    ] = None
    lang: Annotated[Lang | None, allowed.LANG] = None


class ExportQuery(Body):
    """The query of an export. Every other name in it is a parameter of the experiments."""

    model_config = ConfigDict(extra="allow")

    form: Literal["ipynb", "py"] = Field(default="ipynb", description="a notebook or a script")
    lang: Lang | SkipJsonSchema[None] = Field(
        default=None, description="the language of its text; default: the browser's", json_schema_extra=without_default
    )
    seed: Seed = Field(default=0, description="the seed of its runs")
    block: str | SkipJsonSchema[None] = Field(
        default=None, description="only this evidence block", json_schema_extra=without_default
    )
    aspect: str | SkipJsonSchema[None] = Field(
        default=None, description="the further question of the entry to answer", json_schema_extra=without_default
    )


class RecordedMetric(Body):
    """A metric of an Evidence as numstab sent it."""

    model_config = ConfigDict(extra="ignore")

    value: int | float | Literal["Infinity", "-Infinity", "NaN"] | None


class RecordedReceipt(Body):
    """The receipt of an Evidence as numstab sent it: the fields that a replay compares."""

    model_config = ConfigDict(extra="ignore")

    code_hash: str = ""
    versions: dict[str, str] = Field(default={})


class RecordedEvidence(RequestBody):
    """An Evidence as numstab sent it: the fields that a replay needs."""

    model_config = ConfigDict(extra="ignore")

    experiment: Annotated[str, allowed.EXPERIMENT]
    params: Annotated[types.Params, allowed.PARAMS]
    seed: Annotated[Seed, allowed.SEED]
    metrics: Annotated[dict[str, RecordedMetric], allowed.METRICS]
    receipt: Annotated[RecordedReceipt, allowed.RECEIPT]


def read_request(data: Any) -> Request:
    """A question from JSON; raises `BadField`, which names the field and what is allowed."""
    return read_body(AskRequest, data).to_request()


def read_run_request(data: Any) -> RunRequest:
    """A run of the experiment that the route names, from JSON; raises `BadField`."""
    return read_body(
        RunRequest, data, Text("请求体只能有 params、seed、lang", "the body may have params, seed and lang")
    )


def read_page_run(data: Any) -> PageRunRequest:
    """A run of the experiment that the JSON names; raises `BadField`."""
    return read_body(PageRunRequest, data)


def read_feedback(data: Any) -> FeedbackRequest:
    """Feedback from JSON; raises `BadField`."""
    shape = Text("请求体应当是 {answer_id, helpful, reason?}", "the body should be {answer_id, helpful, reason?}")
    return read_body(FeedbackRequest, data, shape)


def read_evidence(data: Any) -> RecordedEvidence:
    """The fields that a replay needs, from the JSON of an Evidence; raises `BadField`."""
    return read_body(RecordedEvidence, data)


def read_query(entry: str, query: Mapping[str, str]) -> Request:
    """The request of a permalink to an entry, such as ?n=200&x=0.9&seed=3; block=powers asks for that block only."""
    seed = query.get("seed", "0")
    return read_request(
        {
            "entry": entry,
            "lang": query.get("lang"),
            "seed": int(seed) if seed.isdecimal() and len(seed) < 20 else seed,
            "aspect": query.get("aspect"),
            "blocks": [query["block"]] if "block" in query else None,
            "params": {name: value for name, value in query.items() if name not in ExportQuery.model_fields},
        }
    )


def split_compare_and_seeds(query: Mapping[str, str]) -> tuple[dict[str, str], str, int]:
    """The query of a permalink as (the rest of it, the parameter to compare or "", the number of seeds).

    Raises `BadField` for a wrong number of seeds.
    """
    rest = dict(query)
    compare, seeds = rest.pop("compare", ""), rest.pop("seeds", "1")
    return rest, compare, check_seeds(int(seeds) if seeds.isdecimal() and len(seeds) < 4 else seeds)


def read_body(model: type[_Model], data: Any, shape: Text | None = None) -> _Model:
    """Validates a body; raises `BadField` for its first error.

    `shape` describes the whole body, for an error that concerns no known field.
    """
    try:
        return model.model_validate(data)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
    if shape is not None and not first["loc"]:
        raise BadField(zh=shape.zh, en=shape.en, field="body")
    if first["type"] == _UNKNOWN and not first["loc"]:
        names = ", ".join(model.model_fields)
        raise bad_field(first["ctx"]["name"], Text(f"下列字段之一：{names}", f"one of the fields {names}"))
    raise bad_field(*_invalid_field(model, first["loc"]))


def _invalid_field(model: type[Body] | None, place: tuple[int | str, ...]) -> tuple[str, Text]:
    """(path, allowed values) of the innermost known field at `place`; a path is such as "context.lang"."""
    names, may_be = [], allowed.OBJECT
    for step in place:
        field = model.model_fields.get(str(step)) if model else None
        if field is None:
            break
        names.append(str(step))
        may_be = next((each for each in field.metadata if isinstance(each, Text)), may_be)
        model = _nested_model(field)
    return ".".join(names) or "body", may_be


def _nested_model(field: ModelField) -> type[Body] | None:
    """The body that is a field's type or a member of its union, None if there is none."""
    types = (field.annotation, *get_args(field.annotation))
    return next((each for each in types if isinstance(each, type) and issubclass(each, Body)), None)
