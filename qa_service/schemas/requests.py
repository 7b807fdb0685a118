"""What a reader sends, as a request; whatever is wrong is named with what is allowed, in both languages."""

from collections.abc import Mapping
from typing import Any

from qa_service.errors import BadField
from qa_service.model import LANGS, MAX_SEEDS, Context, Lang, NamedValues, Request, Value

_REQUEST = ("question", "lang", "params", "compare", "seed", "seeds", "entry", "blocks", "run", "context")
_LARGEST_SEED = 2**63 - 1
_SIMPLE = (int, float, str, bool)


def read_request(data: Any) -> Request:
    """A request from JSON; raises `BadField`, which names the field and what is allowed."""
    if not isinstance(data, Mapping):
        raise _field_error("body", "一个 JSON 对象", "a JSON object")
    for name in data:
        if name not in _REQUEST:
            allowed = ", ".join(_REQUEST)
            raise _field_error(str(name)[:60], f"下列字段之一：{allowed}", f"one of the fields {allowed}")
    return Request(
        question=_question(data),
        lang=read_lang(data.get("lang")),
        params=read_params(data.get("params", {})),
        compare=read_compare(data.get("compare", {})),
        seed=read_seed(data.get("seed", 0)),
        seeds=read_seeds(data.get("seeds", 1)),
        entry=_id(data.get("entry"), "entry"),
        blocks=_ids(data.get("blocks"), "blocks"),
        run=_bool(data.get("run", True), "run"),
        context=_context(data.get("context")),
    )


def read_query(entry: str, query: Mapping[str, str]) -> Request:
    """The request that a link to an entry stands for: ?n=200&x=0.9&seed=3, one block alone with block=powers."""
    fields = {"lang", "seed", "block", "form"}
    seed = query.get("seed", "0")
    return read_request({
        "entry": entry,
        "lang": query.get("lang"),
        "seed": int(seed) if seed.isdecimal() and len(seed) < 20 else seed,
        "blocks": [query["block"]] if "block" in query else None,
        "params": {name: value for name, value in query.items() if name not in fields},
    })  # fmt: skip


def split_compare_and_seeds(query: Mapping[str, str]) -> tuple[dict[str, str], str, int]:
    """The query of a link without what it runs beside: the parameter to compare, and the number of seeds."""
    rest = dict(query)
    compare, seeds = rest.pop("compare", ""), rest.pop("seeds", "1")
    return rest, compare, read_seeds(int(seeds) if seeds.isdecimal() and len(seeds) < 4 else seeds)


def read_run(body: Any) -> tuple[str, dict[str, Any], int, Lang | None]:
    """What a run of one experiment asks for: its slug, parameters, seed and language."""
    if not isinstance(body, dict) or not isinstance(body.get("experiment"), str):
        raise _field_error("experiment", "实验的名字", "the name of an experiment")
    params, seed = read_params(body.get("params", {})), read_seed(body.get("seed", 0))
    return body["experiment"], params, seed, read_lang(body.get("lang"))


def read_lang(value: Any, field: str = "lang") -> Lang | None:
    """zh, en or nothing."""
    if value is None:
        return None
    for lang in LANGS:
        if value == lang:
            return lang
    raise _field_error(field, "zh 或 en", "zh or en")


def read_seed(value: Any) -> int:
    """A seed that torch takes."""
    if isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= _LARGEST_SEED:
        return value
    raise _field_error("seed", f"0 到 {_LARGEST_SEED} 的整数", f"an integer from 0 to {_LARGEST_SEED}")


def read_seeds(value: Any) -> int:
    """With how many seeds to run."""
    if isinstance(value, int) and not isinstance(value, bool) and 1 <= value <= MAX_SEEDS:
        return value
    raise _field_error("seeds", f"1 到 {MAX_SEEDS} 的整数", f"an integer from 1 to {MAX_SEEDS}")


def read_params(value: Any, field: str = "params") -> dict[str, Value]:
    """Names with numbers, words or booleans; whether they fit is for the experiment to say."""
    if _names(value) and all(isinstance(each, _SIMPLE) for each in value.values()):
        return dict(value)
    raise _field_error(field, "参数名到数、词或布尔值的对象", "an object of names with numbers, words or booleans")


def read_compare(value: Any) -> dict[str, tuple[Value, ...]]:
    """Names with lists of values, or a list of names, which stands for all their choices."""
    if isinstance(value, list) and len(value) <= 20 and all(isinstance(name, str) for name in value):
        return dict.fromkeys(value, ())
    if _names(value) and all(isinstance(each, list) for each in value.values()):
        return {name: tuple(each) for name, each in _named(value, "compare").items() if isinstance(each, tuple)}
    raise _field_error(
        "compare",
        "参数名到若干个值的对象，或参数名的列表",
        "an object of names with lists of values, or a list of names",
    )


def _named(value: Any, field: str = "context.params") -> NamedValues:
    """The same as an answer's context holds them: a list where the question compared several values."""
    if _names(value):
        named = {name: tuple(each) if isinstance(each, list) else each for name, each in value.items()}
        values = [each if isinstance(each, tuple) else (each,) for each in named.values()]
        if all(len(each) <= 20 and all(isinstance(one, _SIMPLE) for one in each) for each in values):
            return named
    return read_params(value, field)


def _names(value: Any) -> bool:
    return (
        isinstance(value, Mapping)
        and len(value) <= 50
        and all(isinstance(name, str) and len(name) <= 100 for name in value)
    )


def _question(data: Mapping[str, Any]) -> str:
    question = data.get("question", "" if data.get("entry") else None)
    if not isinstance(question, str):
        raise _field_error("question", "一段文字", "a text")
    return question


def _id(value: Any, field: str) -> str | None:
    if value is None or (isinstance(value, str) and 0 < len(value) <= 100):
        return value
    raise _field_error(field, "词条编号", "the id of an entry")


def _ids(value: Any, field: str) -> tuple[str, ...] | None:
    if value is None:
        return None
    if isinstance(value, list) and len(value) <= 20 and all(isinstance(each, str) for each in value):
        return tuple(value)
    raise _field_error(field, "证据块编号的列表", "a list of ids of evidence blocks")


def _bool(value: Any, field: str) -> bool:
    if isinstance(value, bool):
        return value
    raise _field_error(field, "true 或 false", "true or false")


def _context(value: Any) -> Context | None:
    if value is None:
        return None
    if not isinstance(value, Mapping) or set(value) - {"entry", "params", "lang", "candidates"}:
        raise _field_error(
            "context", "上一个回答里的 context，原样送回", "the context of the answer before, as it came"
        )
    entry_id = _id(value.get("entry"), "context.entry")
    lang = read_lang(value.get("lang"), "context.lang")
    candidates = _ids(value.get("candidates"), "context.candidates") or ()
    if entry_id is None and not candidates:
        raise _field_error("context.entry", "词条编号", "the id of an entry")
    return Context(entry=entry_id, params=_named(value.get("params", {})), lang=lang or "en", candidates=candidates)


def _field_error(field: str, zh: str, en: str) -> BadField:
    return BadField(zh=f"字段 {field} 有误：应当是{zh}", en=f"the field {field} is wrong: expected {en}", field=field)
