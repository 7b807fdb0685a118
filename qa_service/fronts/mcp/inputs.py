"""The arguments of the tools. Language models read their JSON Schema, so every field describes what to pass."""

from typing import Annotated

from pydantic import Field

from qa_service.model import Lang, Text
from qa_service.schemas import allowed
from qa_service.schemas import values as types
from qa_service.schemas.formula import FormulaBody
from qa_service.schemas.requests import ContextRequest, EntryId, RequestBody, Seed

MAX_CHECK_SEEDS = 20
_COMPARISON = Text("NAME=A,B，例如 dtype=float16,float32", "NAME=A,B, such as dtype=float16,float32")
_QUERY = Text("一段文字", "a text")
_LIMIT = Text("1 到 10 的整数", "an integer from 1 to 10")
_CHECK_SEEDS = Text(f"1 到 {MAX_CHECK_SEEDS} 的整数", f"an integer from 1 to {MAX_CHECK_SEEDS}")
MAX_LOG_CHARS = 900_000
"""The maximal length of a log, which with its JSON escapes has to fit into a request body."""
_LOG = Text(f"日志的全文，最多 {MAX_LOG_CHARS} 个字符", f"the text of a log, at most {MAX_LOG_CHARS} characters")
_NAME = Text("文件名", "the name of the file")
_CLAIM = Text("断言的编号", "the id of a claim")

Language = Annotated[Lang | None, allowed.LANG, Field(description="zh or en; default: the language of the question")]
_Params = Annotated[
    types.Params,
    allowed.PARAMS,
    Field(description='parameters by name, such as {"n": 200, "dtype": "float16"}; others keep their values'),
]


class ToolInput(RequestBody):
    """Base of the arguments."""

    lang: Language = None


class AskInput(ToolInput):
    """A question."""

    question: Annotated[str, allowed.QUESTION] = Field(
        default="",
        description="in Chinese or English, with the user's own numbers, formats and symptoms; a log may be pasted",
    )
    entry: Annotated[EntryId | None, allowed.ENTRY] = Field(
        default=None, description="answer with this entry, named by an earlier result, instead of searching for one"
    )
    aspect: Annotated[EntryId | None, allowed.ASPECT] = Field(
        default=None, description="the further question of this entry to answer; the entry's resource lists them"
    )
    params: _Params = Field(default={})
    seed: Annotated[Seed, allowed.SEED] = Field(default=0, description="seed of the random numbers")
    context: Annotated[ContextRequest | None, allowed.CONTEXT] = Field(
        default=None, description="for a follow-up such as 'and in float16?': the context of the result before"
    )


class RunInput(ToolInput):
    """One run of an experiment."""

    experiment: Annotated[str, allowed.EXPERIMENT, Field(max_length=100)] = Field(
        description="its name, from find_experiments or from a run of an earlier result"
    )
    params: _Params = Field(default={})
    seed: Annotated[Seed, allowed.SEED] = Field(default=0, description="seed of the random numbers")


class CompareInput(ToolInput):
    """Arguments of `compare`: a question or entry, and the parameter values to run it with."""

    compare: Annotated[str, _COMPARISON, Field(max_length=500, pattern=r"^\s*[A-Za-z_]\w*\s*(=[^=]*)?$")] = Field(
        description="NAME=A,B,…, such as dtype=float16,bfloat16,float32; the name alone stands for all its choices"
    )
    question: Annotated[str, allowed.QUESTION] = Field(default="", description="the question, or give an entry")
    entry: Annotated[EntryId | None, allowed.ENTRY] = Field(default=None, description="the entry, or give a question")
    params: _Params = Field(default={})
    seed: Annotated[Seed, allowed.SEED] = Field(default=0, description="seed of the random numbers")


class FindInput(ToolInput):
    """A search for experiments."""

    query: Annotated[str, _QUERY, Field(max_length=500)] = Field(
        description="what is to be measured, in words: 'softmax overflow', '梯度消失', a parameter's name"
    )
    limit: Annotated[int, _LIMIT, Field(ge=1, le=10)] = Field(default=5, description="how many, at most")


class CheckInput(ToolInput):
    """A check of the claims of an entry."""

    entry: Annotated[EntryId, allowed.ENTRY] = Field(description="the entry whose claims are checked")
    claim: Annotated[str | None, _CLAIM, Field(max_length=100)] = Field(
        default=None, description="only this claim; default: all claims of the entry"
    )
    seeds: Annotated[int, _CHECK_SEEDS, Field(ge=1, le=MAX_CHECK_SEEDS)] = Field(
        default=3, description="the number of seeds with which every run is repeated"
    )


class FormulaInput(FormulaBody):
    """A formula."""

    lang: Language = None


class DiagnoseInput(ToolInput):
    """The log of a training run."""

    text: Annotated[str, _LOG, Field(min_length=1, max_length=MAX_LOG_CHARS)] = Field(
        description="the unchanged text of the log (any trainer's lines, a table, trainer_state.json), from its "
        "beginning if possible; not a path"
    )
    name: Annotated[str, _NAME, Field(max_length=200)] = Field(default="", description="the name of its file, if known")
    run: Annotated[bool, allowed.BOOLEAN] = Field(
        default=True, description="false: do not run the experiment, with the run's settings and with the cure"
    )
