"""Finds formulas in a question that asks for their values: "float16 里 2048+1 等于多少", "gradient of log(x) at x = 0".

A sentence asks for a value if nothing is left of it but words of asking once the formulas, the formats and the values
of variables are taken out. If anything else is left, such as a loss, a model or a step, the question is about that.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from fractions import Fraction

from qa_service.errors import BadExpression
from qa_service.formula.asking_words import CHINESE_WORDS, ENGLISH_WORDS
from qa_service.formula.calls import known_names
from qa_service.formula.dtypes import DTYPE_PATTERN, names_of
from qa_service.formula.functions import MAX_DECIMAL_EXPONENT
from qa_service.formula.grammar import parse_formula
from qa_service.formula.lexer import fold_width
from qa_service.formula.tree import Call, Node, Number, Variable, nodes, transform, variables
from qa_service.formula.values import NumberOrRange
from qa_service.patterns import lazy_pattern

MAX_MENTION_CHARACTERS = 400
"""The length above which a question is not searched for formulas: it describes a situation."""
MAX_FORMULAS = 3
"""The largest number of formulas in one question."""
_MAX_VARIABLES = 3
"""The largest number of variables in a formula that is examined over a range."""
_MAX_ATTEMPTS = 120  # to read a part of a run of signs as a formula
_MAX_SIGNS = 80
_MAX_BASE = 12
"""The largest number of characters of a number that is raised to a power in the value of a variable."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Mention:
    """Formulas that a question asks about."""

    formulas: tuple[Node, ...]
    values: Mapping[str, NumberOrRange] = field(default_factory=dict)
    """Variable of these formulas → its value or range."""
    dtypes: tuple[str, ...] = ()
    """The formats it names, each once."""
    gradient: bool = False
    """Whether it asks for the derivative."""

    @property
    def free(self) -> tuple[str, ...]:
        """The variables without a value: the question is where the formula breaks, not what its value is."""
        names = dict.fromkeys(name for formula in self.formulas for name in variables(formula))
        return tuple(name for name in names if name not in self.values)


def find_mention(question: str) -> Mention | None:
    """The formulas whose values a question, in simplified characters, asks for; None if it asks for none."""
    if len(question) > MAX_MENTION_CHARACTERS or not _CANDIDATE.search(question):
        return None
    text = _in_order(fold_width(question).replace("−", "-"))
    sentences = [_Sentence(part) for part in _sentences(text) if part.strip()]
    values = {name: value for sentence in sentences for name, value in sentence.values.items()}
    read = [(each, each.read(values, alone=len(sentences) == 1)) for each in sentences]
    asking = [found for _, found in read if found]
    if not asking or any(found is None and sentence.asks for sentence, found in read):
        return None
    tells_more = any(found is None and not sentence.only_names for sentence, found in read)
    if tells_more and not all(sentence.asks_in_words for sentence, found in read if found):
        return None
    dtypes = [dtype for sentence in sentences for dtype in sentence.dtypes]
    formulas = tuple(dict.fromkeys(formula for found in asking for formula in found.formulas))
    return _mention(asking, formulas, values, dtypes)


def asks_gradient(text: str) -> bool:
    """Whether a text speaks of a gradient or a derivative."""
    return bool(_GRADIENT.search(text))


def _mention(
    asking: Sequence["_Asked"], formulas: Sequence[Node], values: Mapping[str, Node], dtypes: Sequence[str]
) -> Mention | None:
    gradient = any(found.gradient for found in asking)
    numbers = {name: node.value for name, node in values.items() if isinstance(node, Number)}
    for found in asking:
        if found.point is not None and len(found.free) == 1:
            numbers[found.free[0]] = found.point
    if gradient and not any(variables(formula) for formula in formulas):
        formulas, numbers = _over_its_number(formulas, numbers)
    named = dict.fromkeys(name for formula in formulas for name in variables(formula))
    mention = Mention(
        formulas=tuple(formulas[:MAX_FORMULAS]),
        values={name: numbers[name] for name in named if name in numbers},
        dtypes=tuple(dict.fromkeys((*dtypes, *(dtype for found in asking for dtype in found.dtypes)))),
        gradient=gradient,
    )
    if mention.free and not (any(found.about_range for found in asking) and len(named) <= _MAX_VARIABLES):
        return None
    return None if gradient and not named else mention


def _over_its_number(
    formulas: Sequence[Node], numbers: Mapping[str, Fraction | float]
) -> tuple[tuple[Node, ...], dict[str, Fraction | float]]:
    """(formulas, values) with the number of a formula replaced by x: sigmoid(40) becomes sigmoid(x) at x = 40.

    For questions that ask for a derivative. Unchanged unless there is one formula with one number.
    """
    constants = {node for formula in formulas for node in nodes(formula) if isinstance(node, Number)}
    if len(formulas) != 1 or len(constants) != 1:
        return tuple(formulas), dict(numbers)
    (number,) = constants
    replaced = transform(formulas[0], lambda node: Variable("x") if node == number else node)
    return (replaced,), {**numbers, "x": number.value}


# What a formula in running text looks like

_FUNCTION = "|".join(sorted(map(re.escape, known_names()), key=len, reverse=True))
_FUNCTIONS_OF_ONE = (
    "exp", "exp2", "expm1", "log", "ln", "log1p", "log2", "log10", "sqrt", "rsqrt", "sigmoid", "logsigmoid", "softplus",
    "tanh", "relu", "gelu", "silu", "swish", "elu", "mish", "erf", "erfc", "sin", "cos", "tan", "atan", "asin", "acos",
)  # fmt: skip
_MODULE = r"(?:(?:torch|nn|functional|F|np|numpy|math|jnp|special|linalg)\.)+"
_NUMBER = r"(?:\d[\d_]*(?:\.\d*)?|\.\d+)(?:[eE][-+]?\d+)?(?:[百千万亿]+(?![一-龥]?次))?"
_NUMERAL = r"[零一二两三四五六七八九十百千万亿]+(?:点[零一二三四五六七八九]+)?"
_CHINESE_SUFFIX = (
    rf"的?\s*(?:平方根?|立方根?|阶乘|绝对值|倒数|(?:自然)?对数|正弦|余弦|正切|标准差|方差|均值|范数|模长?)|的?\s*(?:负?{_NUMBER}|负?{_NUMERAL}|-\d+)\s*次[方幂]"
    rf"|的\s*(?:{_MODULE})?(?:{_FUNCTION})(?![\w(])"
)
_PIECE = lazy_pattern(
    rf"""
    (?P<number>{_NUMBER})
  | (?P<call>(?:{_MODULE})?(?:{_FUNCTION})\b(?=\s*(?:\(|of\b|[\d\[π]|\^))|(?:σ|[Tt]ensor|b?float\d+)(?=\()
      |(?:{_MODULE})[A-Za-z_]\w*|\.[A-Za-z_]\w*(?=\())
  | (?P<suffix>{_CHINESE_SUFFIX})
  | (?P<chinese>{_NUMERAL}分之{_NUMERAL}|加上?|减去?|乘以?|除以|再(?=[加减乘除])|根号下?
      |负(?=[\d{_NUMERAL[1:16]}])|(?:正|负)?无穷大?)
  | (?P<numeral>{_NUMERAL}(?=\s*(?:加|减|乘|除以|的|次方|次幂|分之)|$|\s*[在用按转等是存变放取得,?]))
  | (?P<latex>\\(?:[A-Za-z]+|[,;:!()\[\]{{}}|]))
  | (?P<constant>(?:π|pi|e|inf|infinity|nan|NaN|Inf|∞)(?![A-Za-z0-9_]))
  | (?P<word>(?:plus|minus|times|multiplied\ by|divided\ by|over|to\ the(?:\ power)?(?:\ of)?|squared|cubed
      |(?:square|cube)\ root\ of|of|and)\b)
  | (?P<sign>\*\*|//|<=|>=|==|[-+*/%^()\[\]{{}},|!<>=×·⋅÷√²³¹⁰⁴-⁹⁻½⅓¼¾⅔_≤≥$'"])
  | (?P<name>[A-Za-zα-ω]\d?(?![A-Za-z0-9_])|[A-Za-z]\w{{0,20}})
    """,
    re.VERBOSE | re.IGNORECASE,
)
_FUNCTION_OF_ONE = lazy_pattern(
    rf"(?<![A-Za-z0-9_.])(?:{'|'.join(sorted(_FUNCTIONS_OF_ONE, key=len, reverse=True))})(?![A-Za-z0-9_(])",
    re.IGNORECASE,
)
_CANDIDATE = lazy_pattern(
    r"\d|[π∞√]|[a-z]\(|\\frac|[一二三四五六七八九十百千万][加减乘除的分]|inf|nan|log|exp", re.IGNORECASE
)
_SENTENCE_END = lazy_pattern(r"[?。;；\n]+\s*|(?<![\d)\s])!|(?<=[^\d\s])\.(?=\s|$)|(?<=\w)\.(?=\s+[A-Z])|\.\s*$")
_IS_IN_WORDS = r"(?:等于|取|为|是|→|->|is\b|equals\b|equal\ to\b)"
_ARGUMENT = rf"(?:\[[^\[\]()]{{1,300}}\]|-?{_NUMBER})"
_DO = r"(?:做|求|取|算|计算|应用|进行|作|跑)\s*(?:一下|一次|一个|个)?"
_NAMED = rf"((?:{_MODULE})?(?:{_FUNCTION}))(?![\w(])"
_APPLIED = tuple(
    (lazy_pattern(pattern, re.IGNORECASE), template)
    for pattern, template in (
        (rf"(?:对|把|给|将)\s*(?:向量|数组|列表)?\s*({_ARGUMENT})\s*{_DO}\s*{_NAMED}", r" \2(\1) "),
        (rf"\b(?:apply|take|run)(?:ing)?\s+(?:the\s+)?{_NAMED}\s+(?:to|on|over)\s+({_ARGUMENT})", r" \1(\2) "),
        (rf"\b(?:dot|inner)[ -]product\s+of\s+({_ARGUMENT})\s*(?:and|with|,)\s*({_ARGUMENT})", r" dot(\1, \2) "),
        (rf"({_ARGUMENT})\s*(?:和|与|跟|、|,)\s*({_ARGUMENT})\s*的?\s*(?:点积|内积|点乘)", r" dot(\1, \2) "),
        (rf"({_ARGUMENT})\s*(?:点乘|点积)\s*({_ARGUMENT})", r" dot(\1, \2) "),
        (r"\blog[- ]sum[- ]exp\b", "logsumexp"),
        (r"\blog[- ]softmax\b", "log_softmax"),
    )
)
"""Wordings in which a function does not precede its arguments, and their templates in the order of a formula."""
_OF_VALUE = r"(?:\s*(?:\^|\*\*)\s*(?:[-+]?\d+|\{\s*[-+]?\d+\s*\}|\([-+]?\d+\))|[⁺⁻]?[⁰¹²³⁴-⁹]+|/\d+)"
"""What may follow the first number of a value: x = 10^-8, 2⁻³⁰, 1/3."""
_ASSIGNMENT = lazy_pattern(
    rf"(?<![A-Za-z0-9_.])(?:(?P<name>[A-Za-z][A-Za-z0-9_]{{0,15}}|[α-ω])\s*==?|(?P<letter>[A-Za-zα-ω])\s*{_IS_IN_WORDS})\s*"
    rf"(?P<value>[-+]?(?:{_NUMBER}|inf\b|nan\b){_OF_VALUE}?"
    rf"|\[[-+\d.eE,\s]+\])(?![A-Za-z0-9_]|\s*[-+*/^(]|\.\w)",
    re.IGNORECASE,
)
_AT_POINT = lazy_pattern(
    rf"\bat\s+(?P<english>[-+]?{_NUMBER}|zero)(?=\s*(?:$|[,?)]|in\b))|在\s*(?P<chinese>[-+]?{_NUMBER})\s*(?:这一?点|点|处)",
    re.IGNORECASE,
)


def _in_order(text: str) -> str:
    """The text with functions before their arguments: "对 [1, 2] 做 softmax" becomes softmax([1, 2])."""
    for pattern, template in _APPLIED:
        text = pattern.sub(template, text)
    return text


def _sentences(text: str) -> Iterator[str]:
    position = 0
    for end in _SENTENCE_END.finditer(text):
        yield text[position : end.end()]
        position = end.end()
    yield text[position:]


# What remains of a sentence that asks for a value

_ASKS = lazy_pattern(
    r"多少|会不会|能不能|是不是|是否|呢|等于(?:几|啥|什么)|(?:是|得|出)(?:几|啥|什么)|多大|几\b|结果|答案|怎样|怎么样|如何|什么"
    r"|啥|算|求|返回|输出|吗|么|变成|=\s*(?:$|\?)|\?"
    r"|\b(?:what|how (?:much|large|big|small)|value|result|compute|calculate|evaluate|gives?|returns?|equals?|becomes?"
    r"|happens?|find|tell|show|print|outputs?|work out)\b|^\s*(?:is|does|do|are|can|will)\b",
    re.IGNORECASE,
)
_ASKS_MORE = lazy_pattern(
    r"为什么|为何|为啥|怎么会|凭什么|意味|\bwhy\b"
    r"|\bhow (?:come|can|do|does)\b(?!.*\b(?:look|store|represent|round|stably|safely|accurately|stable|cancellation"
    r"|without|rewrite)\b)|\bmean\b(?!\s*[(\[]|\s+of\b)",
    re.IGNORECASE,
)
_CONVERTS = lazy_pattern(
    r"转|存|表示|舍入|变|换|放|装|容|里|中|下"
    r"|\b(?:as|to|into|in|of|cast\w*|convert\w*|round\w*|stor\w+|represent\w*|holds?|fits?|becomes?)\b",
    re.IGNORECASE,
)
_GRADIENT = lazy_pattern(
    r"梯度|导数|求导|微分|\b(?:gradient|derivative|grad|slope|autograd)s?\b|\bd[yf]?\s*/\s*d\s*(?P<name>[a-z])\b",
    re.IGNORECASE,
)
_RANGE = lazy_pattern(
    r"稳|安全|溢出|准|精确|丢精度|丢失精度|损失精度|精度损失|可靠|靠谱|哪里|什么时候|何时|坏|出错|问题|失效"
    r"|\b(?:safe|safely|stable|stably|unstable|accurate|accurately|reliable|overflows?|underflows?|breaks?|fails?"
    r"|goes? wrong|blows? up|cancellation|loses? (?:\w+ )?(?:precision|digits|bits|accuracy))\b",
    re.IGNORECASE,
)
_CHINESE_RESIDUE = lazy_pattern("|".join(sorted(map(re.escape, CHINESE_WORDS.split()), key=len, reverse=True)))
_ENGLISH_RESIDUE = lazy_pattern(
    rf"(?<![a-z])(?:{'|'.join(sorted(map(re.escape, ENGLISH_WORDS.split()), key=len, reverse=True))})(?![a-z])"
)
_HAN = lazy_pattern(r"[\u3400-\u9fff]")
_LATIN_WORD = lazy_pattern(r"(?<![A-Za-z0-9_\\])[A-Za-z]{2,}(?![A-Za-z0-9_])")
_MAY_TAKE_ANY_WORD = lazy_pattern(r"=|\.[A-Za-z_]")
"""Keyword arguments, modules and methods: their names may be any words and belong to the formula."""
_KNOWN_HAN = frozenset(_HAN.findall(CHINESE_WORDS + _PIECE.pattern))
_KNOWN_LATIN = frozenset(re.findall("[a-z]+", f"{CHINESE_WORDS} {ENGLISH_WORDS} {_PIECE.pattern}".lower()))
_ANSWER_GUESSED = lazy_pattern(
    r"(?:是不是|是|为|等于|得|还是|变成|会是|成|到|==?|→|->|\b(?:be|is(?: it)?(?: exactly)?|equals?(?: to)?|or|become))"
    r"\s*[-+]?(?:nan|inf|\d+(?:\.\d+)?(?:e[-+]?\d+)?)(?=\s*(?:吗|么|嘛|呢|了|[?,;]|$|or\b|in\b|还是|或))",
    re.IGNORECASE,
)
"""A value that the question itself proposes: "is it exactly 1?"."""
_NO_FORMULA = lazy_pattern(
    r"\bieee[- ]?754\b|保留\s*\d+\s*位(?:小数|有效数字)|\bto \d+ (?:decimal )?(?:digits|places)\b", re.IGNORECASE
)
_PUNCTUATION = lazy_pattern(r"[\s,.:?!;、，。：？！；…~'\"“”‘’「」()（）`=→>-]+")


@dataclass(frozen=True, slots=True)
class _Asked:
    """The formulas, formats and point that one sentence asks about."""

    formulas: tuple[Node, ...]
    dtypes: tuple[str, ...]
    gradient: bool
    about_range: bool
    point: Fraction | None
    """The place that "at 0" names."""

    @property
    def free(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys(name for formula in self.formulas for name in variables(formula)))


class _Sentence:
    """A sentence with the formats and the values of variables that it names; both are blanked out of `rest`."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.dtypes: list[str] = []
        self.values: dict[str, Node] = {}
        self.names_format = False
        self.rest = self._without_formats(self._without_values(text))

    def _without_values(self, text: str) -> str:
        def note(found: re.Match[str]) -> str:
            if _is_inside_call(text, found.start()):
                return found[0]
            try:
                value = parse_formula(found["value"]).tree
            except BadExpression:
                return found[0]
            self.values[found["name"] or found["letter"]] = _folded(value)
            return " " * len(found[0])

        return _ASSIGNMENT.sub(note, text)

    def _without_formats(self, text: str) -> str:
        def note(found: re.Match[str]) -> str:
            behind = text[found.end() : found.end() + 1]
            if text[: found.start()].endswith(".") or behind == "(" or _is_inside_call(text, found.start()):
                return found[0]  # a cast, which belongs to the formula
            self.dtypes += names_of(found)
            return " " * len(found[0])

        return DTYPE_PATTERN.sub(note, text)

    @property
    def only_names(self) -> bool:
        """Whether it only names formats or the values of variables: "Let x = 3."."""
        return _residue(self.rest) is not None

    @property
    def asks_in_words(self) -> bool:
        """Whether it asks, and not by a question mark alone."""
        return bool(_ASKS.search(self.text.rstrip(" ?")))

    @property
    def asks(self) -> bool:
        """Whether it asks something, be it a value or not."""
        return bool(_ASKS.search(self.text) or _ASKS_MORE.search(self.text))

    def read(self, values: Mapping[str, Node], *, alone: bool) -> _Asked | None:
        """The value that the sentence asks for; None if it asks for none.

        `alone`: the question has no other sentence.
        """
        at = _AT_POINT.search(self.rest)
        asks_gradient = _GRADIENT.search(self.rest)
        rest = _ANSWER_GUESSED.sub(_blank, _NO_FORMULA.sub(_blank, self.rest))
        if at:
            rest = _blanked(rest, [at.span()])
        if asks_gradient and asks_gradient["name"]:
            rest = _blanked(rest, [asks_gradient.span()])
        if _says_more(rest, values):
            return None
        found = list(_formulas(rest, values)) or self._function_at_point(rest, at)
        if not found:
            return None
        residue = _residue(_blanked(rest, [(start, end) for start, end, _, _ in found]))
        if residue is None:
            return None
        trees = [tree for _, _, tree, _ in found if not _is_nonfinite(tree)]  # "is asin(2) nan?" asks for one value
        dtypes = [dtype for *_, cast in found for dtype in cast]
        stored = bool(self.dtypes) and bool(_CONVERTS.search(residue))
        if not _is_a_calculation(trees, cast=bool(dtypes), stored=stored):
            return None
        asks = bool(asks_gradient or _ASKS.search(self.text))
        if _ASKS_MORE.search(self.text) or not (alone or asks):
            return None
        if not asks and not self.dtypes and not dtypes and all(map(_is_power_of_numbers, trees)):
            return None  # "1.01 的 365 次方": a topic, of repeated factors
        point = (
            Fraction(0) if at and at["english"] == "zero" else _number(at["english"] or at["chinese"]) if at else None
        )
        about_range = bool(_RANGE.search(self.text))
        return _Asked(tuple(trees), tuple(dtypes), bool(asks_gradient), about_range, point)

    def _function_at_point(self, rest: str, at: re.Match[str] | None) -> list["_Found"]:
        """The function of "tanh 在 3 处的导数" or "gelu at x = -2": of x, or of the variable with a value."""
        named = list(_FUNCTION_OF_ONE.finditer(rest))
        if len(named) != 1 or not (at or len(self.values) == 1):
            return []
        name = next(iter(self.values), "x")
        return [(*named[0].span(), parse_formula(f"{named[0][0]}({name})").tree, ())]


def _folded(value: Node) -> Node:
    """A quotient or power of two numbers as the number that it is, within bounds: x = 2**-30."""
    match value:
        case Call("div", (Number(Fraction() as above), Number(Fraction() as below))) if below:
            return Number(above / below)
        case Call("pow", (Number(Fraction() as base), Number(Fraction() as exponent))) if (
            base and exponent.denominator == 1 and abs(exponent) <= MAX_DECIMAL_EXPONENT and len(str(base)) <= _MAX_BASE
        ):
            return Number(base ** int(exponent))
    return value


def _number(text: str) -> Fraction | None:
    tree = parse_formula(text).tree
    return tree.value if isinstance(tree, Number) and isinstance(tree.value, Fraction) else None


def _is_a_calculation(trees: Sequence[Node], *, cast: bool, stored: bool) -> bool:
    """Whether each is a calculation, or the only one is to be stored in a format: by a `cast`, or in words."""
    if not trees:
        return False
    first = trees[0]
    if len(trees) == 1 and isinstance(first, Number):
        return (cast or stored) and isinstance(first.value, Fraction) and first.value not in (0, 1)
    if len(trees) == 1 and isinstance(first, Call) and not first.arguments:
        return stored
    if cast and len(trees) == 1:
        return True
    return all(isinstance(tree, Call) and tree.arguments and not _is_vector_of_numbers(tree) for tree in trees)


def _is_power_of_numbers(tree: Node) -> bool:
    return (
        isinstance(tree, Call) and tree.function == "pow" and all(isinstance(each, Number) for each in tree.arguments)
    )


def _is_nonfinite(tree: Node) -> bool:
    return isinstance(tree, Number) and isinstance(tree.value, float)


def _is_vector_of_numbers(tree: Call) -> bool:
    return tree.function == "vector" and all(isinstance(each, Number) for each in tree.arguments)


def _is_inside_call(text: str, position: int) -> bool:
    """Whether a position lies in the brackets of a function: an argument by keyword assigns no variable."""
    depth = 0
    for index in range(position - 1, -1, -1):
        if text[index] == ")":
            depth += 1
        elif text[index] == "(":
            if depth == 0 and index and (text[index - 1].isalnum() or text[index - 1] == "_"):
                return True
            depth = max(depth - 1, 0)
    return False


def _blank(found: re.Match[str]) -> str:
    return " " * len(found[0])


def _blanked(text: str, spans: Sequence[tuple[int, int]]) -> str:
    for start, end in spans:
        text = text[:start] + " " * (end - start) + text[end:]
    return text


def _residue(rest: str) -> str | None:
    """The sentence without its formulas, if only words of asking are left; else None."""
    lowered = rest.lower()
    unknown = _ENGLISH_RESIDUE.sub(" ", _CHINESE_RESIDUE.sub(" ", lowered))
    return lowered if not _PUNCTUATION.sub("", unknown) else None


def _says_more(rest: str, values: Mapping[str, Node]) -> bool:
    """Whether some character or word can belong neither to a formula nor to the words of asking.

    A quick test, which rejects most questions that ask for no value before any formula is parsed.
    """
    if _MAY_TAKE_ANY_WORD.search(rest):
        return False
    if not _KNOWN_HAN.issuperset(_HAN.findall(rest)):
        return True
    return any(word.lower() not in _KNOWN_LATIN and word not in values for word in _LATIN_WORD.findall(rest))


_Found = tuple[int, int, Node, tuple[str, ...]]


def _formulas(text: str, values: Mapping[str, Node]) -> Iterator[_Found]:
    """(start, end, tree, formats of casts) of the formulas in a text, none of which overlap."""
    for run in _runs(text, values):
        found = _longest(text, run, values)
        if found:
            yield found


def _runs(text: str, values: Mapping[str, Node]) -> Iterator[list[tuple[int, int]]]:
    """Spans of signs, numbers and functions that follow each other with at most spaces between them."""
    run: list[tuple[int, int]] = []
    position = 0
    while position < len(text):
        piece = _PIECE.match(text, position)
        if piece is None or (piece.lastgroup == "name" and not _is_variable(text, piece, values)):
            if not text[position].isspace() and run:
                yield run
                run = []
            position = piece.end() if piece else position + 1
            continue
        run.append(piece.span())
        position = piece.end()
    if run:
        yield run


def _is_variable(text: str, piece: re.Match[str], values: Mapping[str, Node]) -> bool:
    """Whether a name stands for a number: it has a value, or is a letter beside an operator or in brackets."""
    if piece[0] in values:
        return True
    if _is_inside_call(text, piece.start()) and text[piece.end() :].lstrip()[:1] == "=":
        return True  # a keyword
    before, behind = text[: piece.start()].rstrip()[-1:], text[piece.end() :].lstrip()[:1]
    is_letter = len(piece[0]) == 1 or piece[0][1:].isdigit()
    return is_letter and (before in tuple("+-*/^([,|×·√") or behind in tuple("+-*/^×·²³"))


def _longest(text: str, run: Sequence[tuple[int, int]], values: Mapping[str, Node]) -> _Found | None:
    """The longest part of a run that reads as a formula with a number, a constant or a variable in it."""
    run = run[:_MAX_SIGNS]
    attempts = 0
    for length in range(len(run), 0, -1):
        for first in range(len(run) - length + 1):
            attempts += 1
            if attempts > _MAX_ATTEMPTS:
                return None
            start, end = run[first][0], run[first + length - 1][1]
            if text[start].isspace() or text[start] in "'\"," or text[end - 1] in ",'\"":
                continue
            try:
                formula = parse_formula(
                    text[start:end], {name: node for name, node in values.items() if isinstance(node, Call)}
                )
            except BadExpression:
                continue
            if isinstance(formula.tree, Variable) or formula.vectors:
                continue
            return start, end, formula.tree, formula.dtypes
    return None
