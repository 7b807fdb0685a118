"""Parses formulas: operator precedence (Pratt 1973) over the tokens of `lexer`; nothing is evaluated.

Precedence as in Python: comparison, + −, * / % and products without sign, unary minus, power (from the right),
postfix. Multiplication signs may be left out where there is one reading: 2x, 2(x+1), (a+b)(a−b), but not 1/2x.
e^x is `exp`; 3.4×10^38 and 10^-8, written as in mathematics, are numbers. A cast such as `.half()` leaves the tree
unchanged and is reported.
"""

import math
from collections.abc import Container, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from fractions import Fraction

from qa_service.errors import BadExpression
from qa_service.formula import calls
from qa_service.formula.calls import NeedsVector, Operand, apply_function, number_operand, resolve
from qa_service.formula.dtypes import DTYPE_PATTERN, names_of
from qa_service.formula.functions import MAX_DECIMAL_EXPONENT, MAX_NAME_CHARACTERS, MAX_NESTING
from qa_service.formula.lexer import Token, tokenize
from qa_service.formula.sexpr import from_sexpr
from qa_service.formula.tree import Call, Node, Number, Variable
from qa_service.patterns import lazy_pattern

_COMPARISON, _SUM, _PRODUCT, _UNARY, _POWER = 10, 20, 30, 40, 50
_BINARY = {
    "<": (_COMPARISON, "lt"), "<=": (_COMPARISON, "le"), ">": (_COMPARISON, "gt"), ">=": (_COMPARISON, "ge"),
    "==": (_COMPARISON, "eq"), "+": (_SUM, "add"), "-": (_SUM, "sub"), "*": (_PRODUCT, "mul"), "/": (_PRODUCT, "div"),
    "//": (_PRODUCT, "floordiv"), "%": (_PRODUCT, "remainder"), "**": (_POWER, "pow"), "^": (_POWER, "pow"),
}  # fmt: skip
_CLOSING = {"(": ")", "[": "]", "{": "}"}
_MODULES = frozenset(
    (
        "torch", "nn", "functional", "F", "np", "numpy", "math", "jnp", "jax", "tf", "tensorflow", "cupy", "special",
        "linalg", "scipy", "keras", "activations", "ops", "mpmath", "cmath",
    )
)  # fmt: skip
_UNCHANGED = frozenset(
    (
        "tensor", "Tensor", "as_tensor", "array", "asarray", "list", "detach", "cpu", "cuda", "clone", "numpy", "float",
        "int",
    )
)  # fmt: skip
_CASTS = {"half": "float16", "float": "float32", "double": "float64", "bfloat16": "bfloat16"}
_CASTING_METHODS = frozenset(("to", "type", "astype"))
_NONFINITE = {"inf": math.inf, "infinity": math.inf, "nan": math.nan}
_SUFFIXES = frozenset(("!", "的", "平方", "立方", "开方"))
_MAX_STAND_INS = 8
_LATEX = lazy_pattern(r"\\[A-Za-z]|[\^_]\{")
_OF_X = lazy_pattern(r"(sin|cos|tan|exp|log|ln|sqrt|tanh|cosh|sinh)(x)")
_MAX_LETTERS = 3
"""The largest number of letters of a word that is read as a product without signs, such as abc."""
_KNOWN_WORDS = frozenset((*_NONFINITE, *_MODULES, *_SUFFIXES, "pi", "of", "and", "frac", "lam", "eps"))
"""Words that are not read as a product of their letters."""


@dataclass(frozen=True, slots=True)
class ParsedFormula:
    """A parsed formula: its tree, and what its text says beside it."""

    tree: Node
    dtypes: tuple[str, ...] = ()
    """The formats that its casts name."""
    vectors: Mapping[str, Node] = field(default_factory=dict)
    """Variables that must be vectors and were not given → the vector that stands for each, such as [z0, z1]."""


def parse_formula(text: str, values: Mapping[str, Node] | None = None) -> ParsedFormula:
    """The formula that a text spells, with `values` in place of the variables of these names.

    Raises `BadExpression`, with the position of the first character that cannot be understood.
    """
    tokens = list(_with_products(tokenize(text), values or {}, is_latex=bool(_LATEX.search(text))))
    stand_ins: dict[str, Node] = {}
    while True:
        parser = _Parser(tokens, dict(values or {}) | stand_ins)
        try:
            operand = parser.whole()
        except NeedsVector as needed:
            if len(stand_ins) >= _MAX_STAND_INS:
                raise BadExpression(
                    zh=f"变量 {needed.name} 应当是向量，请写出它的各个数。",
                    en=f"the variable {needed.name} must be a vector; write out its numbers",
                    position=0,
                ) from None
            stand_ins[needed.name] = Call("vector", (Variable(f"{needed.name}0"), Variable(f"{needed.name}1")))
        else:
            return ParsedFormula(operand.node, tuple(dict.fromkeys(parser.dtypes)), stand_ins)


def read_formula(text: str) -> Node:
    """The tree of a formula, or of one that is written as an S-expression, as in receipts and permalinks.

    Raises `BadExpression`.
    """
    if text.lstrip().startswith("("):
        with suppress(BadExpression):
            return from_sexpr(text)
    return parse_formula(text).tree


def _with_products(tokens: Sequence[Token], known: Container[str], *, is_latex: bool) -> Iterator[Token]:
    """The tokens, where a word that is a product of variables becomes one token for each letter.

    `sinx` becomes `sin x`. An unknown word becomes its letters in LaTeX, and behind a number: `4ac` is 4·a·c.
    """
    behind_number = -1
    for token in tokens:
        word = token.text
        is_word = token.kind == "name" and 1 < len(word) <= _MAX_LETTERS and len(word) == token.end - token.start
        means_itself = word in known or word.lower() in calls.known_names() or word in _KNOWN_WORDS
        if (of_x := _OF_X.fullmatch(word)) and word not in known and len(word) == token.end - token.start:
            yield Token("name", of_x[1], token.start, token.end - 1)
            yield Token("name", "x", token.end - 1, token.end)
        elif is_word and word.isalpha() and not means_itself and (is_latex or token.start == behind_number):
            for place, letter in enumerate(word, token.start):
                yield Token("name", letter, place, place + 1, mathematical=True)
        else:
            yield token
        behind_number = token.end if token.kind == "number" else -1


class _Parser:
    def __init__(self, tokens: Sequence[Token], values: Mapping[str, Node]) -> None:
        self.tokens = list(tokens)
        self.next = 0
        self.values = values
        self.dtypes: list[str] = []
        self.nesting = 0
        self.bars: list[str] = []

    @property
    def token(self) -> Token:
        return self.tokens[self.next]

    def ahead(self, count: int = 1) -> Token:
        return self.tokens[min(self.next + count, len(self.tokens) - 1)]

    def at(self, *texts: str) -> bool:
        return self.token.kind in ("sign", "name") and self.token.text in texts

    def take(self) -> Token:
        token = self.token
        self.next = min(self.next + 1, len(self.tokens) - 1)
        return token

    def accept(self, text: str) -> bool:
        found = self.at(text)
        if found:
            self.take()
        return found

    def expect(self, text: str, opened: Token) -> None:
        if not self.accept(text):
            here = self.token.start
            raise BadExpression(
                zh=f"第 {here + 1} 个字符处应当是 {text}，与第 {opened.start + 1} 个字符的 {opened.text} 配对。",
                en=f"expected {text} at character {here + 1}, to close {opened.text} of character {opened.start + 1}",
                position=here,
            )

    def whole(self) -> Operand:
        operand = self.expression(0)
        if self.at("=") and self.ahead().kind == "end":  # "2048+1="
            self.take()
        if self.token.kind != "end":
            raise self.unexpected()
        if operand.condition:
            raise BadExpression(
                zh="比较只能是 where 的第一个自变量，例如 where(x > 0, x, 0)。",
                en="a comparison can only be the first argument of where, such as where(x > 0, x, 0)",
                position=0,
            )
        return operand

    def expression(self, binding: int, first: Operand | None = None) -> Operand:
        """The operand that follows, or `first`, and every operator after it that binds more tightly than `binding`."""
        self.enter()
        left = first or self.postfixed(self.prefix())
        divided = False
        while not self.closes_bar():
            token = self.token
            if token.kind == "sign" and token.text in _BINARY and _BINARY[token.text][0] > binding:
                self.take()
                left = self.with_right_side(left, token)
                divided = token.text == "/"
            elif binding < _PRODUCT and self.is_product_without_sign():
                if divided:
                    raise _ambiguous(token)
                left = apply_function("mul", [left, self.expression(_PRODUCT)], token)
            else:
                break
        self.nesting -= 1
        return left

    def enter(self) -> None:
        """Enters a level of nesting, which the caller leaves by decrementing `self.nesting`.

        Raises `BadExpression` for more than `MAX_NESTING`.
        """
        self.nesting += 1
        if self.nesting > MAX_NESTING:
            raise calls.too_deep(self.token, MAX_NESTING)

    def with_right_side(self, left: Operand, token: Token) -> Operand:
        """The operation of `left`, the operator `token` that was just taken, and the operand that follows it."""
        if token.text == "%" and not self.starts_operand():
            return _percent(left, token)
        strength, function = _BINARY[token.text]
        right = self.expression(strength - 1 if strength == _POWER else strength)
        match function:
            case "floordiv":
                return apply_function("floor", [apply_function("div", [left, right], token)], token)
            case "pow":
                return _power(left, right, token)
            case "mul" if token.mathematical and left.literal and right.literal and _is_power_of_ten(right.node):
                return number_operand(_exact(left.node) * _exact(right.node))
        return apply_function(function, [left, right], token)

    def starts_operand(self) -> bool:
        token = self.token
        if token.kind in ("number", "name"):
            return token.text not in _SUFFIXES
        return token.kind == "sign" and token.text in ("(", "[", "√", "-", "+")

    def is_product_without_sign(self) -> bool:
        """Whether what follows is multiplied with what was read, although there is no sign: 2x, )( and the like."""
        before, token = self.tokens[self.next - 1], self.token
        if (
            token.text in _SUFFIXES
            or token.text.lower() in _NONFINITE
            or not (token.kind == "name" or token.text in ("(", "√"))
        ):
            return False
        if before.kind == "number" or before.text in (")", "}", "!"):
            return True
        if token.kind == before.kind == "name" and token.mathematical and before.end == token.start:
            return True
        known = token.text.lower() in calls.known_names() or token.text in ("frac", "√")
        return before.text in ("pi", "e") or (known and before.kind == "name" and before.end < token.start)

    def closes_bar(self) -> bool:
        return bool(self.bars) and (self.at(self.bars[-1]) or (self.bars[-1] == "||" and self.at("|")))

    def prefix(self) -> Operand:
        token = self.take()
        match token.kind, token.text:
            case "number", _:
                return number_operand(token.value, literal=True)
            case "name", _:
                return self.named(token)
            case "sign", "-" if self.token.kind == "number" and self.ahead().text == "的":  # 负二的平方 is 4
                return number_operand(-self.take().value)
            case "sign", "-":
                return calls.negate(self.expression(_UNARY), token)
            case "sign", "+":
                return self.expression(_UNARY)
            case "sign", "(" | "[" | "{":
                return self.bracketed(token)
            case "sign", "|" | "||":
                return self.between_bars(token)
            case "sign", "√":
                return self.root(token)
        self.next -= token.kind != "end"
        raise self.unexpected()

    def bracketed(self, opened: Token) -> Operand:
        """Reads an expression in brackets, or a vector: [1, 2] or (1, 2); `opened` is the bracket that was taken."""
        elements = self.list_until(opened)
        if len(elements) == 1 and (opened.text != "[" or elements[0].length is not None):
            return replace(elements[0], literal=False)
        return calls.vector(elements, opened)

    def list_until(self, opened: Token) -> list[Operand]:
        """The expressions up to the bracket that closes `opened`, which is taken too."""
        bars, self.bars = self.bars, []
        elements: list[Operand] = []
        closing = _CLOSING[opened.text]
        while not self.at(closing):
            elements.append(self.expression(0))
            if not self.accept(","):
                break
        self.expect(closing, opened)
        self.bars = bars
        return elements

    def between_bars(self, opened: Token) -> Operand:
        """Reads the rest of |x|, or of ‖x‖ or ||x||, the norm of a vector."""
        self.bars.append(opened.text)
        inner = self.expression(0)
        if opened.text == "||" and self.accept("|"):  # the first of ||x| - 1| opened two
            self.bars[-1] = "|"
            inner = self.expression(0, apply_function("abs", [inner], opened))
            self.bars.pop()
            self.expect("|", opened)
            return apply_function("abs", [inner], opened)
        self.bars.pop()
        self.expect(opened.text, opened)
        return apply_function("norm" if opened.text == "||" and inner.length is not None else "abs", [inner], opened)

    def root(self, token: Token) -> Operand:
        r"""Reads the operand of √x or of LaTeX's \sqrt[n]{x}, and returns the root."""
        if not self.at("["):
            return apply_function("sqrt", [self.factor()], token)
        degree = self.bracketed(self.take())
        assert degree.length == 1
        assert isinstance(degree.node, Call)
        exponent = apply_function("div", [number_operand(1), calls.operand_of(degree.node.arguments[0])], token)
        return apply_function("pow", [self.factor(), exponent], token)

    def factor(self) -> Operand:
        """Reads an operand with its powers, without what is multiplied with it."""
        self.enter()
        operand = self.postfixed(self.prefix())
        if self.at("^", "**") and not self.closes_bar():
            operand = self.with_right_side(operand, self.take())
        self.nesting -= 1
        return operand

    def argument(self) -> Operand:
        """Reads a product without signs: the argument of a function without brackets, as in sin 2x."""
        operand = self.factor()
        while self.is_product_without_sign() and self.token.text.lower() not in calls.known_names():
            operand = apply_function("mul", [operand, self.factor()], self.token)
        return operand

    def named(self, token: Token) -> Operand:
        module = token.text if token.text in _MODULES and self.at(".") else ""
        while self.at(".") and token.text in _MODULES and self.ahead().kind == "name":
            self.take()
            token = self.take()
        name, lower = token.text, token.text.lower()
        if len(name) > MAX_NAME_CHARACTERS:
            raise BadExpression(
                zh=f"第 {token.start + 1} 个字符处的名字太长：最多 {MAX_NAME_CHARACTERS} 个字符。",
                en=f"the name at character {token.start + 1} is too long: at most {MAX_NAME_CHARACTERS} characters",
                position=token.start,
            )
        if name in self.values:
            return calls.operand_of(self.values[name])
        if lower in _NONFINITE:
            return number_operand(_NONFINITE[lower])
        if name in ("e", "pi"):
            return Operand(Call(name, ()))
        if name == "frac":
            return apply_function("div", [self.braced(), self.braced()], token)
        if self.at("("):
            return self.called(token, module)
        if lower in calls.known_names():
            return self.applied_without_brackets(token)
        return Operand(Variable(name))

    def braced(self) -> Operand:
        r"""Reads a group of \frac: {…}, or a single digit as in \frac12."""
        opened = self.take()
        if opened.kind == "number" and opened.text.isdigit():
            if len(opened.text) > 1:
                rest = replace(opened, text=opened.text[1:], value=Fraction(opened.text[1:]), start=opened.start + 1)
                self.tokens.insert(self.next, rest)
            return number_operand(int(opened.text[0]))
        if opened.text != "{":
            raise BadExpression(
                zh=f"第 {opened.start + 1} 个字符处：\\frac 后面要有两组 {{…}}。",
                en=f"character {opened.start + 1}: \\frac needs two groups {{…}}",
                position=opened.start,
            )
        elements = self.list_until(opened)
        if len(elements) != 1:
            raise self.unexpected()
        return elements[0]

    def called(self, token: Token, module: str = "") -> Operand:
        """Reads a function with its arguments in brackets, some of them by keyword."""
        arguments, keywords = self.arguments(self.take())
        if module == "nn" and token.text[:1].isupper() and not arguments and self.at("("):  # nn.Softmax(dim=-1)(x)
            arguments, keywords = self.arguments(self.take())
        return self.result_of(token, arguments, keywords, module)

    def result_of(
        self, token: Token, arguments: Sequence[Operand], keywords: Mapping[str, Operand | None], module: str = ""
    ) -> Operand:
        cast = DTYPE_PATTERN.fullmatch(token.text)
        if cast is None and token.text not in _UNCHANGED:
            return resolve(token.text, arguments, token, keywords, module)
        self.dtypes += names_of(cast) if cast else ()
        return arguments[0] if len(arguments) == 1 else calls.vector(arguments, token)

    def arguments(self, opened: Token) -> tuple[list[Operand], dict[str, Operand | None]]:
        """The arguments by position and by keyword, up to the closing bracket; formats among them are noted."""
        bars, self.bars = self.bars, []
        positional: list[Operand] = []
        by_keyword: dict[str, Operand | None] = {}
        while not self.at(")"):
            if self.token.kind == "name" and self.ahead().text == "=":
                keyword = self.take().text
                self.take()
                by_keyword[keyword] = None if self.is_dtype_argument() else self.keyword_value()
            elif not self.is_dtype_argument():
                positional.append(self.expression(0))
            if not self.accept(","):
                break
        self.expect(")", opened)
        self.bars = bars
        return positional, by_keyword

    def keyword_value(self) -> Operand | None:
        if self.at("True", "False", "None"):
            word = self.take().text
            return None if word == "None" else number_operand(Fraction(word == "True"))
        return self.expression(0)

    def is_dtype_argument(self) -> bool:
        """Takes an argument such as torch.float16 and notes the format; False if there is none."""
        ahead = 0
        while self.ahead(ahead).text in _MODULES and self.ahead(ahead + 1).text == ".":
            ahead += 2
        token = self.ahead(ahead)
        if token.kind != "name" or self.ahead(ahead + 1).text not in (",", ")"):
            return False
        found = DTYPE_PATTERN.fullmatch(token.text)
        if found is None and not (ahead and token.text in _CASTS):
            return False
        self.dtypes += names_of(found) if found else (_CASTS[token.text],)
        self.next += ahead + 1
        return True

    def applied_without_brackets(self, token: Token) -> Operand:
        """Reads a function applied by juxtaposition (log x, sin 2x, log of x) or after an exponent (sin² x, sin²(x)),
        or to a brace group.
        """
        power = None
        if self.at("^") and self.ahead().kind == "number":
            self.take()
            power = number_operand(self.take().value)
        if self.accept("of"):
            arguments = [self.expression(_SUM)]
            while self.at(",", "and", "和") and calls.takes_several(token.text):
                self.take()
                arguments.append(self.expression(_SUM))
        elif self.at("(", "{"):
            arguments = self.list_until(self.take())
        elif self.starts_operand() and not self.at("-", "+"):
            arguments = [self.argument()]
        else:
            raise BadExpression(
                zh=f"第 {token.start + 1} 个字符处的 {token.text} 缺少括号里的自变量，例如 {token.text}(x)。",
                en=f"{token.text} at character {token.start + 1} needs an argument in brackets, as in {token.text}(x)",
                position=token.start,
            )
        result = resolve(token.text, arguments, token)
        return apply_function("pow", [result, power], token) if power else result

    def postfixed(self, operand: Operand) -> Operand:
        while True:
            token = self.token
            if self.accept("!"):
                operand = apply_function("factorial", [operand], token)
            elif self.at("[") and operand.length is not None:
                operand = self.indexed(operand)
            elif self.at(".") and self.ahead().kind == "name":
                self.take()
                operand = self.method(operand)
            elif self.at("的", "平方", "立方", "开方"):
                operand = self.chinese_suffix(operand)
            else:
                return operand

    def indexed(self, operand: Operand) -> Operand:
        opened = self.take()
        elements = self.list_until(opened)
        if len(elements) != 1:
            raise self.unexpected()
        return calls.item(operand, elements[0], opened)

    def method(self, operand: Operand) -> Operand:
        """Reads a method called on an operand: x.exp(), x.half(), x.to(torch.float16), x.item()."""
        token = self.take()
        if not self.at("("):
            raise self.unexpected()
        arguments, keywords = self.arguments(self.take())
        if token.text in _CASTS and not arguments:
            self.dtypes.append(_CASTS[token.text])
            return operand
        if not arguments and (token.text in ("item", *_CASTING_METHODS) or token.text in _UNCHANGED):
            return operand
        return resolve(token.text, [operand, *arguments], token, keywords)

    def chinese_suffix(self, operand: Operand) -> Operand:
        """Reads a Chinese operation behind an operand: 2的平方, 2的10次方, 5的阶乘, 2开方, -200的sigmoid."""
        self.accept("的")
        token = self.take()
        if token.kind == "number" or token.text == "-":
            exponent = number_operand(token.value) if token.kind == "number" else calls.negate(self.factor(), token)
            if not self.accept("次方"):
                raise self.unexpected()
            return _power(operand, exponent, replace(token, mathematical=True))
        if token.text in ("平方", "立方"):
            return _power(operand, number_operand(2 if token.text == "平方" else 3), token)
        name = {"开方": "sqrt", "和": "sum", "√": "sqrt"}.get(token.text, token.text)
        if token.kind != "name" and name == token.text:
            self.next -= token.kind != "end"
            raise self.unexpected()
        return resolve(name, [operand], token)

    def unexpected(self) -> BadExpression:
        """The error for the token that cannot stand where it does."""
        token, at = self.token, self.token.start
        if token.kind == "end":
            return BadExpression(zh="式子没有写完。", en="the formula is incomplete", position=at)
        shown = token.text if len(token.text) <= 20 else f"{token.text[:19]}…"
        before = self.tokens[self.next - 1] if self.next else None
        if before is not None and token.kind in ("name", "number") and before.kind in ("name", "number"):
            return BadExpression(
                zh=f"第 {at + 1} 个字符处，{before.text} 和 {shown} 之间缺少运算符，例如 *。",
                en=f"character {at + 1}: a sign such as * is missing between {before.text} and {shown}",
                position=at,
            )
        return BadExpression(
            zh=f"第 {at + 1} 个字符处的“{shown}”放在这里读不懂。",
            en=f"“{shown}” at character {at + 1} cannot stand there",
            position=at,
        )


def _percent(left: Operand, token: Token) -> Operand:
    if left.literal:
        return number_operand(_exact(left.node) / 100)
    return apply_function("div", [left, number_operand(100)], token)


def _power(base: Operand, exponent: Operand, token: Token) -> Operand:
    """base^exponent: `exp` where the base is e, a number where 10^n is written as in mathematics."""
    if base.node == Call("e", ()):
        return apply_function("exp", [exponent], token)
    if (
        token.mathematical
        and base.literal
        and base.node == Number(Fraction(10))
        and _is_decimal_exponent(exponent.node)
    ):
        return number_operand(Fraction(10) ** int(_exact(exponent.node)), literal=True)
    return apply_function("pow", [base, exponent], token)


def _is_decimal_exponent(node: Node) -> bool:
    value = node.value if isinstance(node, Number) else math.nan
    return isinstance(value, Fraction) and value.denominator == 1 and abs(value) <= MAX_DECIMAL_EXPONENT


def _is_power_of_ten(node: Node) -> bool:
    """Whether it is 10^n with n other than 0 and 1, which are ordinary factors."""
    value = _exact(node)
    digits = str(max(value.numerator, value.denominator))
    return min(value.numerator, value.denominator) == 1 and digits.strip("0") == "1" and value not in (1, 10)


def _exact(node: Node) -> Fraction:
    assert isinstance(node, Number)
    assert isinstance(node.value, Fraction)
    return node.value


def _ambiguous(token: Token) -> BadExpression:
    return BadExpression(
        zh=f"第 {token.start + 1} 个字符处有两种读法，请加括号：a/(b*c) 或 (a/b)*c。",
        en=f"character {token.start + 1} can be read in two ways; add brackets: a/(b*c) or (a/b)*c",
        position=token.start,
    )
