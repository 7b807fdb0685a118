"""Rewrites numerals ("five hundred", "一百个一点五", "10^-5", "1/3", "20k") as digits."""

import re
from functools import lru_cache

from qa_service.patterns import lazy_pattern

_CHINESE_NUMERAL = (
    r"(?<![一二两三四五六七八九十百千万亿\d])"
    # no count: 哪一层, 再来一次
    r"(?!(?<=[哪某每同这那任另上下来试跑做算再])一(?![零〇一二两三四五六七八九十百千万亿.\d]))"
    r"[零〇一二两三四五六七八九十百千万亿\d]"
    r"(?:[零〇一二两三四五六七八九十百千万亿.\d]|点(?=[零〇一二两三四五六七八九十\d]))*"  # 大一点: no number
)
_BEFORE_COUNTED_NOUN = (
    r"(?=\s*(?:个|次|层|步|遍|倍|轮|项|位|类|维|片|段|回|$|的|连|相|累|乘|加|隐"
    r"|(?:或者?|或是|和|与|跟|以及|还是|、)\s*[零〇一二两三四五六七八九十\d]))"
)
_ENGLISH_NUMERAL = lazy_pattern(
    r"\b(?:one|two|three|four|five|six|seven|eight|nine|ten|eleven|twelve|\w+teen|twenty|thirty|forty|fifty|sixty"
    r"|seventy"
    r"|eighty|ninety|hundred|thousand|million)\b"
)
_DIGIT_WORDS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
_SMALL_ENGLISH_NUMERAL = lazy_pattern(  # alpha2digit does not convert a lone small number
    rf"\b(?:{'|'.join(_DIGIT_WORDS[2:])})"
    r"(?=[ -](?:\w+ )?(?:factors|copies|terms|numbers|layers?|times|steps|units|neurons)\b)"
)
_POWER_OF_TEN = lazy_pattern(
    r"(?<![\d.])(?:(\d+(?:\.\d+)?)\s*[x×*]\s*)?10\s*(?:\^|\*\*|的)\s*([-−负]\s*\d{1,3})(?:\s*次[方幂])?"
)
_FRACTION_ZH = lazy_pattern(r"([零一二两三四五六七八九十百千\d]+)分之([零一二两三四五六七八九十百千\d]+)")
_FRACTION = lazy_pattern(
    r"(?<![\w/.⁄\[])(?<!epoch )(?<!step )(?<!iter )(?<!batch )(\d{1,4})\s?[/⁄]\s?([1-9]\d{0,3})(?![\w/.⁄%])"
)
_THOUSANDS = lazy_pattern(r"(?<=\d),(?=\d{3}(?!\d))")
_KILO = lazy_pattern(r"(?<![\w.])(\d+(?:\.\d+)?)k(?![a-z0-9])")
_TEN_THOUSANDS = lazy_pattern(r"(?<![\w.])(\d+(?:\.\d+)?)w(?=次|个|步|遍)")
_COUNT_ZH = lazy_pattern(_CHINESE_NUMERAL + _BEFORE_COUNTED_NOUN)
_MINUS = lazy_pattern(r"(?:负数?|\b(?:minus|negative))\s*(?=[\d.零一二两三四五六七八九十])")
_OVERLONG_DIGITS = lazy_pattern(r"[\d.]{40,}")  # no real number; on these the patterns would take quadratic time


@lru_cache(4)
def numerals_to_digits(text: str) -> str:
    """The text with its numerals as digits; runs of 40 digits or more are removed. Expects lower-case NFKC text."""
    return _OVERLONG_DIGITS.sub(" ", _convert(_OVERLONG_DIGITS.sub(" ", text)))


def _convert(text: str) -> str:
    text = _FRACTION_ZH.sub(_divide, text)
    text = _FRACTION.sub(lambda m: repr(int(m[1]) / int(m[2])), text)
    text = _MINUS.sub("-", text)
    text = _THOUSANDS.sub("", text)
    text = _POWER_OF_TEN.sub(lambda m: f"{m[1] or '1'}e-{re.sub(r'[^0-9]', '', m[2])}", text)
    text = _KILO.sub(lambda m: f"{float(m[1]) * 1e3:.0f}", text)
    text = _TEN_THOUSANDS.sub(r"\1万", text)
    if _ENGLISH_NUMERAL.search(text):
        from text_to_num import alpha2digit  # type: ignore[import-untyped]

        text = alpha2digit(text.replace("-", " ") if re.search(r"[a-z]-[a-z]", text) else text, "en")
        text = _SMALL_ENGLISH_NUMERAL.sub(lambda m: str(_DIGIT_WORDS.index(m[0])), text)
    return _COUNT_ZH.sub(lambda m: _chinese_to_digits(m[0]), text)


def _divide(match: re.Match[str]) -> str:
    numerals = [_chinese_to_digits(numeral) for numeral in match.groups()]
    if not all(numeral.isdecimal() for numeral in numerals) or not int(numerals[0]):
        return match[0]
    return repr(int(numerals[1]) / int(numerals[0]))


def _chinese_to_digits(numeral: str) -> str:
    """A Chinese numeral as digits; unchanged if it is not a number."""
    if numeral.isascii() or len(numeral) > 20:
        return numeral
    import cn2an  # type: ignore[import-untyped]

    try:
        return f"{cn2an.cn2an(numeral, 'smart'):.15g}"
    except (ValueError, LookupError):  # 一般, 万一, 零十一: words made of numerals
        return numeral
