"""The allowed values of each field of a request, as texts in both languages for error messages; checks of seeds.

Standard library only, for the command line, which does not import pydantic.
"""

from typing import Any

from qa_service.errors import BadField
from qa_service.model import MAX_SEEDS, Text

MAX_SEED = 2**63 - 1
"""The largest seed that torch takes."""

OBJECT = Text("一个 JSON 对象", "a JSON object")
QUESTION = Text("一段文字", "a text")
LANG = Text("zh 或 en", "zh or en")
PARAMS = Text("参数名到数、词或布尔值的对象", "an object of names with numbers, words or booleans")
COMPARE = Text("参数名到若干个值的对象，或参数名的列表", "an object of names with lists of values, or a list of names")
SEED = Text(f"0 到 {MAX_SEED} 的整数", f"an integer from 0 to {MAX_SEED}")
SEEDS = Text(f"1 到 {MAX_SEEDS} 的整数", f"an integer from 1 to {MAX_SEEDS}")
ENTRY = Text("词条编号", "the id of an entry")
ASPECT = Text("词条的一个 aspect 的编号", "the id of an aspect of the entry")
BLOCKS = Text("证据块编号的列表", "a list of ids of evidence blocks")
ENTRIES = Text("词条编号的列表", "a list of ids of entries")
BOOLEAN = Text("true 或 false", "true or false")
CONTEXT = Text("上一个回答里的 context，原样送回", "the context of the answer before, as it came")
EXPERIMENT = Text("实验的名字", "the name of an experiment")
ANSWER_ID = Text("某个回答的 id", "the id of an answer")
METRICS = Text("指标名到 {value} 的对象", "an object of metrics with their {value}")
EXPRESSION = Text("一个公式，例如 log(1+exp(x))", "a formula, such as log(1+exp(x))")
AT = Text("变量名到数的对象", "an object of variables with numbers")
OVER = Text("变量名到 [下限, 上限] 的对象", "an object of variables with [lowest, highest]")
DTYPES = Text("数据类型的列表", "a list of dtypes")
RECEIPT = Text("numstab 写下的收据", "a receipt as numstab writes it")


def bad_field(field: str, allowed: Text) -> BadField:
    """The error for a field whose value is not `allowed`."""
    return BadField(
        zh=f"字段 {field} 有误：应当是{allowed.zh}",
        en=f"the field {field} is wrong: expected {allowed.en}",
        field=field,
    )


def check_seed(value: Any) -> int:
    """The value if it is a valid seed; raises `BadField`."""
    return _integer("seed", value, 0, MAX_SEED, SEED)


def check_seeds(value: Any) -> int:
    """The value if it is a valid number of seeds; raises `BadField`."""
    return _integer("seeds", value, 1, MAX_SEEDS, SEEDS)


def _integer(field: str, value: Any, low: int, high: int, allowed: Text) -> int:
    """The value if it is an integer from `low` to `high`, and no bool; raises `BadField`."""
    if isinstance(value, int) and not isinstance(value, bool) and low <= value <= high:
        return value
    raise bad_field(field, allowed)
