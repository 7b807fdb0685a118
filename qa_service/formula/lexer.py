"""The tokens of a formula: ASCII, Unicode mathematics, LaTeX commands, Chinese numerals, words for operations."""

import re
import unicodedata
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from fractions import Fraction
from typing import Literal

from qa_service.errors import BadExpression
from qa_service.formula.functions import MAX_DECIMAL_EXPONENT, MAX_DIGITS, MAX_FORMULA_CHARACTERS
from qa_service.patterns import lazy_pattern

TokenKind = Literal["number", "name", "sign", "end"]


@dataclass(frozen=True, slots=True)
class Token:
    """A piece of the text, from character `start` to before `end`, in its ASCII spelling.

    A superscript is the sign "^", which is `mathematical`, followed by its tokens.
    """

    kind: TokenKind
    text: str
    start: int
    end: int
    value: Fraction = Fraction(0)
    """The value of a number; 0 for a token of another kind."""
    mathematical: bool = False
    """Whether a sign is written as in mathematics (×, ², ^) and not as in a program (*, **)."""


_SPACE = lazy_pattern(
    r"[\s`'\"$\u200b\u2061\ufeff]+|\\(?:left|right|[bB]ig+[lrm]?|quad|qquad|displaystyle|limits"
    r"|textstyle|[,;:! ()\[\]])(?![A-Za-z])|\bthe\b|再(?=[加减乘除])"
)
_NUMBER = lazy_pattern(
    r"((?:\d[\d_]*(?:\.\d*)?|\.\d+)(?:e[-+]?\d+)?)([百千万亿]*)(?:(?:st|nd|rd|th)\b)?", re.IGNORECASE | re.ASCII
)
_GROUPED_NUMBER = lazy_pattern(r"\d{1,3}(?:,\d{3})+(?:\.\d*)?(?![\d,])", re.ASCII)
_CHINESE_NUMERAL = (
    r"[零〇一二两三四五六七八九十百千万亿][零〇一二两三四五六七八九十百千万亿\d]*(?:点[零〇一二两三四五六七八九]+)?"
)
_MAX_NUMERAL = 40
_CHINESE_NUMBER = lazy_pattern(_CHINESE_NUMERAL)
_CHINESE_FRACTION = lazy_pattern(rf"({_CHINESE_NUMERAL}|\d+)分之({_CHINESE_NUMERAL}|\d+)")
_CHINESE_POWER = lazy_pattern(r"次[方幂]")
_NAME = lazy_pattern(r"[A-Za-z_][A-Za-z0-9_]*|[Α-Ωα-ωϵ]")
_SUBSCRIPT = lazy_pattern(r"([₀-₉]+)|_\{\s*([A-Za-z0-9]{1,20})\s*\}|_([A-Za-z0-9])")
_COMMAND = lazy_pattern(
    r"\\(?:(?:operatorname\*?|mathrm|text|mathbf|mathit|mathsf|boldsymbol|textrm)"
    r"\s*\{\s*([A-Za-z0-9_ ]{1,40}?)\s*\}|([A-Za-z]+)|([|{}]))"
)
_SUPERSCRIPT = lazy_pattern(r"([⁺⁻]?)([⁰¹²³⁴⁵⁶⁷⁸⁹]+|[ⁿˣ])")
_SUPERSCRIPT_ASCII = str.maketrans("⁰¹²³⁴⁵⁶⁷⁸⁹⁺⁻ⁿˣ", "0123456789+-nx")
_SUBSCRIPT_ASCII = str.maketrans("₀₁₂₃₄₅₆₇₈₉", "0123456789")
_SIGN = lazy_pattern(r"\*\*|//|<=|>=|==|\|\||[-+*/%^()\[\]{},|!<>=.√]")
_PLACES = {"百": 10**2, "千": 10**3, "万": 10**4, "亿": 10**8}
_UNICODE_SIGNS: Mapping[str, tuple[str, ...]] = {
    **dict.fromkeys("×·⋅∙∗•✕✖", ("*",)), **dict.fromkeys("÷∕⁄➗", ("/",)), **dict.fromkeys("−–—﹣➖", ("-",)),
    **dict.fromkeys("≤⩽≦", ("<=",)), **dict.fromkeys("≥⩾≧", (">=",)), **dict.fromkeys("‖∥", ("||",)),
    "➕": ("+",), "、": (",",), "，": (",",), "⌊": ("floor", "("), "⌋": (")",), "⌈": ("ceil", "("), "⌉": (")",),
    "∑": ("sum",), "∏": ("prod",), "∞": ("inf",), "√": ("√",), "∛": ("cbrt",),
}  # fmt: skip
_GREEK: Mapping[str, str] = {
    "α": "alpha", "β": "beta", "γ": "gamma", "δ": "delta", "ε": "eps", "ϵ": "eps", "ζ": "zeta", "η": "eta",
    "θ": "theta", "ι": "iota", "κ": "kappa", "λ": "lam", "μ": "mu", "ν": "nu", "ξ": "xi", "π": "pi", "ρ": "rho",
    "σ": "sigma", "τ": "tau", "υ": "upsilon", "φ": "phi", "χ": "chi", "ψ": "psi", "ω": "omega", "Γ": "Gamma",
    "Δ": "Delta", "Θ": "Theta", "Λ": "Lambda", "Ξ": "Xi", "Π": "Pi", "Σ": "Sigma", "Φ": "Phi", "Ψ": "Psi",
    "Ω": "Omega",
}  # fmt: skip
_COMMANDS: Mapping[str, tuple[str, ...]] = {
    "cdot": ("*",), "times": ("*",), "ast": ("*",), "div": ("/",), "dfrac": ("frac",), "tfrac": ("frac",),
    "cfrac": ("frac",), "sqrt": ("√",), "lvert": ("|",), "rvert": ("|",), "vert": ("|",), "lVert": ("||",),
    "rVert": ("||",), "Vert": ("||",), "|": ("||",), "{": ("(",), "}": (")",), "infty": ("inf",), "leq": ("<=",),
    "le": ("<=",), "leqslant": ("<=",), "geq": (">=",), "ge": (">=",), "geqslant": (">=",), "lt": ("<",),
    "gt": (">",), "lfloor": ("floor", "("), "rfloor": (")",), "lceil": ("ceil", "("), "rceil": (")",),
    "varepsilon": ("eps",), "epsilon": ("eps",), "lambda": ("lam",), "lbrack": ("[",), "rbrack": ("]",),
}  # fmt: skip
_NUMBER_WORDS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten")
_WORDS: Mapping[str, tuple[str, ...]] = {
    "加上": ("+",), "加": ("+",), "减去": ("-",), "减": ("-",), "乘以": ("*",), "乘上": ("*",), "乘": ("*",),
    "除以": ("/",), "除上": ("/",), "负": ("-",), "的": ("的",), "平方根": ("sqrt",), "根号下": ("√",), "根号": ("√",),
    "开平方": ("开方",), "开根号": ("开方",), "开方": ("开方",), "平方": ("平方",), "立方": ("立方",),
    "立方根": ("cbrt",), "阶乘": ("factorial",), "绝对值": ("abs",), "倒数": ("reciprocal",), "相反数": ("neg",),
    "自然对数": ("log",), "对数": ("log",), "指数": ("exp",), "正弦": ("sin",), "余弦": ("cos",), "正切": ("tan",),
    "双曲正切": ("tanh",), "最大值": ("max",), "最小值": ("min",), "平均值": ("mean",), "均值": ("mean",),
    "平均数": ("mean",), "方差": ("var",), "标准差": ("std",), "范数": ("norm",), "模长": ("norm",), "模": ("norm",),
    "和": ("和",), "无穷大": ("inf",),
    "无穷": ("inf",), "正无穷": ("inf",), "负无穷": ("-", "inf"),
    "plus": ("+",), "minus": ("-",), "times": ("*",), "multiplied by": ("*",), "divided by": ("/",),
    "over": ("/",), "to the power of": ("^",), "to the power": ("^",), "raised to": ("^",), "to the": ("^",),
    "squared": ("^", "2"), "cubed": ("^", "3"), "cube root of": ("cbrt", "of"),
    "square root of": ("√",), "square root": ("√",), "of": ("of",),
    "and": ("and",), "negative": ("-",), "exponential": ("exp",), "reciprocal": ("reciprocal",),
    **{word: (str(number),) for number, word in enumerate(_NUMBER_WORDS)}, "infinity": ("inf",),
    "modulo": ("%",), "mod": ("%",),
}  # fmt: skip
_WORD = lazy_pattern(
    "|".join(rf"\b{word}\b(?!\s*[(.])" if word.isascii() else word for word in sorted(_WORDS, key=len, reverse=True)),
    re.IGNORECASE,
)


def tokenize(text: str) -> list[Token]:
    """The tokens of a formula, the last of the kind "end". Raises `BadExpression`."""
    if len(text) > MAX_FORMULA_CHARACTERS:
        raise BadExpression(
            zh=f"式子有 {len(text)} 个字符，最多 {MAX_FORMULA_CHARACTERS} 个。",
            en=f"the formula has {len(text)} characters; at most {MAX_FORMULA_CHARACTERS} are allowed",
            position=MAX_FORMULA_CHARACTERS,
        )
    tokens = list(_Lexer(text).tokens())
    return [*tokens, Token("end", "", len(text), len(text))]


def fold_width(text: str) -> str:
    """The text with full-width and styled characters as plain ones, each in its place."""
    return "".join(map(_fold, text)) if not text.isascii() else text


def _fold(character: str) -> str:
    if "\uff01" <= character <= "\uff5e" or "\U0001d400" <= character <= "\U0001d7ff" or character == "\u3000":
        return unicodedata.normalize("NFKC", character)[:1]
    return character


class _Lexer:
    def __init__(self, text: str) -> None:
        self.text = fold_width(text)
        self.position = 0
        self.brackets = 0

    def tokens(self) -> Iterator[Token]:
        while self.position < len(self.text):
            if space := _SPACE.match(self.text, self.position):
                self.position = space.end()
                continue
            before = self.position
            for read in (
                self._number,
                self._chinese_number,
                self._word,
                self._superscript,
                self._command,
                self._name,
                self._sign,
            ):
                found = read()
                if found:
                    yield from found
                    break
            if self.position == before:
                raise _unknown_character(self.text[before], before)

    def _token(self, kind: TokenKind, text: str, end: int, *, mathematical: bool = False) -> Token:
        return Token(kind, text, self.position, end, mathematical=mathematical)

    def _spelled(self, spellings: tuple[str, ...], end: int, *, mathematical: bool = False) -> list[Token]:
        """The tokens of these spellings, all of which stand for the text up to `end`."""
        tokens = []
        for text in spellings:
            if text.isdigit():
                tokens.append(Token("number", text, self.position, end, Fraction(text)))
            else:
                kind: TokenKind = (
                    "name" if text.isidentifier() and text.isascii() and text not in ("of", "and") else "sign"
                )
                tokens.append(self._token(kind, text, end, mathematical=mathematical))
            self.brackets += (text == "(") - (text == ")")
        self.position = end
        return tokens

    def _number(self) -> list[Token]:
        grouped = _GROUPED_NUMBER.match(self.text, self.position) if self.brackets == 0 else None
        if grouped:
            return [self._valued(Fraction(grouped[0].replace(",", "")), grouped.end())]
        found = _NUMBER.match(self.text, self.position)
        if found is None:
            return []
        value = read_number(found[1].replace("_", ""), self.position)
        for place in found[2]:
            value *= _PLACES[place]
        return [self._valued(value, found.end())]

    def _valued(self, value: Fraction, end: int) -> Token:
        token = Token("number", self.text[self.position : end], self.position, end, value)
        self.position = end
        return token

    def _chinese_number(self) -> list[Token]:
        if fraction := _CHINESE_FRACTION.match(self.text, self.position):
            below, above = (read_chinese_number(each, self.position) for each in fraction.groups())
            start, end = self.position, fraction.end()
            self.position = end
            return [
                Token("sign", "(", start, end),
                Token("number", fraction[2], start, end, above),
                Token("sign", "/", start, end),
                Token("number", fraction[1], start, end, below),
                Token("sign", ")", start, end),
            ]
        if found := _CHINESE_NUMBER.match(self.text, self.position):
            return [self._valued(read_chinese_number(found[0], self.position), found.end())]
        character = self.text[self.position]
        if unicodedata.decomposition(character).startswith("<fraction>") and character != "⅟":
            return self._vulgar_fraction(Fraction(unicodedata.numeric(character)).limit_denominator(16))
        return []

    def _vulgar_fraction(self, value: Fraction) -> list[Token]:
        """The tokens of a fraction character: ½ is the decimal 0.5; ⅓, which is no decimal, is 1 divided by 3 in the
        format.
        """
        start, end = self.position, self.position + 1
        if value.denominator in (2, 4, 5, 8, 10, 1):
            return [self._valued(value, end)]
        self.position = end
        signs = [Token("sign", sign, start, end) for sign in "(/)"]
        above, below = (Token("number", str(each), start, end, Fraction(each)) for each in value.as_integer_ratio())
        return [signs[0], above, signs[1], below, signs[2]]

    def _word(self) -> list[Token]:
        if power := _CHINESE_POWER.match(self.text, self.position):
            return self._spelled(("次方",), power.end())
        found = _WORD.match(self.text, self.position)
        return self._spelled(_WORDS[found[0].lower()], found.end()) if found else []

    def _superscript(self) -> list[Token]:
        found = _SUPERSCRIPT.match(self.text, self.position)
        if found is None:
            return []
        sign, digits = (each.translate(_SUPERSCRIPT_ASCII) for each in found.groups())
        spellings = ("^", "-", digits) if sign == "-" else ("^", digits)
        return self._spelled(spellings, found.end(), mathematical=True)

    def _command(self) -> list[Token]:
        found = _COMMAND.match(self.text, self.position)
        if found is None:
            return []
        word = found[1] or found[2] or found[3]
        if found[2] is None or word not in _COMMANDS:
            spellings = _COMMANDS.get(word) if found[3] else None
            return (
                self._subscripted(word.replace(" ", "_"), found.end())
                if spellings is None
                else self._spelled(spellings, found.end())
            )
        return self._spelled(_COMMANDS[word], found.end(), mathematical=True)

    def _name(self) -> list[Token]:
        found = _NAME.match(self.text, self.position)
        if found is None:
            return []
        if found[0].endswith("_") and self.text.startswith("{", found.end()):  # x_{1}, where the sign belongs to {1}
            return self._subscripted(found[0][:-1], found.end() - 1) if len(found[0]) > 1 else []
        return self._subscripted(_GREEK.get(found[0], found[0]), found.end())

    def _subscripted(self, name: str, end: int) -> list[Token]:
        r"""A name with its subscript, if one follows: x₁ and x_{1} are x_1, \log_2 is log2."""
        if found := _SUBSCRIPT.match(self.text, end):
            index = (found[1] or found[2] or found[3]).translate(_SUBSCRIPT_ASCII)
            return self._spelled((f"log{index}" if name == "log" else f"{name}_{index}",), found.end())
        return self._spelled((name,), end)

    def _sign(self) -> list[Token]:
        character = self.text[self.position]
        if spellings := _UNICODE_SIGNS.get(character):
            return self._spelled(spellings, self.position + 1, mathematical=True)
        found = _SIGN.match(self.text, self.position)
        return self._spelled((found[0],), found.end(), mathematical=found[0] == "^") if found else []


def read_number(digits: str, position: int = 0) -> Fraction:
    """The exact value of decimal digits such as "1.5e-3". Raises `BadExpression` for one that is too long or large."""
    mantissa, _, exponent = digits.lower().partition("e")
    if len(mantissa) > MAX_DIGITS or len(exponent) > 5 or abs(int(exponent or 0)) > MAX_DECIMAL_EXPONENT:
        raise BadExpression(
            zh=f"第 {position + 1} 个字符处的数太长或太大：最多 {MAX_DIGITS} 位数字，"
            f"指数不超过 ±{MAX_DECIMAL_EXPONENT}。",
            en=f"the number at character {position + 1} is too long or too large: at most {MAX_DIGITS} digits and an "
            f"exponent up to ±{MAX_DECIMAL_EXPONENT} are allowed",
            position=position,
        )
    return Fraction(digits)


def read_chinese_number(numeral: str, position: int = 0) -> Fraction:
    """The exact value of a numeral such as 二千零四十八, 3万 or 零点一. Raises `BadExpression` if it is none."""
    if numeral.isdigit():
        return read_number(numeral, position)
    import cn2an  # type: ignore[import-untyped]

    whole, _, decimals = numeral.partition("点")
    try:
        if len(numeral) > _MAX_NUMERAL:  # cn2an takes quadratic time
            raise ValueError
        value = Fraction(str(cn2an.cn2an(whole, "smart")))
    except (ValueError, LookupError):  # a KeyError for 零十一
        raise BadExpression(
            zh=f"第 {position + 1} 个字符处的“{numeral[:20]}”不是一个数。",
            en=f"“{numeral[:20]}” at character {position + 1} is not a number",
            position=position,
        ) from None
    digits = "".join(str("零一二三四五六七八九".index(each.replace("〇", "零"))) for each in decimals)
    return value + (Fraction(int(digits), 10 ** len(digits)) if digits else 0)


def _unknown_character(character: str, position: int) -> BadExpression:
    shown = character if character.isprintable() else repr(character)[1:-1]
    return BadExpression(
        zh=f"第 {position + 1} 个字符“{shown}”不属于式子。能用的有：数、变量名、+ - * / ** ( ) [ ] 和函数，"
        "例如 log(1+exp(x))。",
        en=f"character {position + 1}, “{shown}”, is no part of a formula. Allowed are numbers, names of variables, "
        "+ - * / ** ( ) [ ] and functions, such as log(1+exp(x))",
        position=position,
    )
