r"""Converts the formulas of a text, \( … \) and $$ … $$, to Unicode on one line, with brackets if needed."""

import re
from functools import cache
from typing import Any

from pylatexenc.latex2text import (  # type: ignore[import-untyped]
    LatexNodes2Text,
    MacroTextSpec,
    get_default_latex_context_db,
)

_SYMBOL = r"[^\W\d_][̀-ͯ]*(?:[_^](?:\w+|\([^()]*\)))*"
_NEEDS_NO_BRACKETS = re.compile(rf"∂?{_SYMBOL}|\d+(?:\.\d+)?|√?\([^()]*\)|‖[^‖]*‖|\|[^|]*\|")
"""Denominators that need no brackets: a symbol with its sub- and superscripts, a number, a bracketed expression."""


def formulas_to_unicode(source: str) -> str:
    """Replaces every formula of a Markdown text by Unicode; a display formula gets an indented line of its own."""
    source = re.sub(r"\$\$(.+?)\$\$", lambda found: f"\n    {latex_to_unicode(found[1])}\n", source, flags=re.DOTALL)
    return re.sub(r"\\\((.+?)\\\)", lambda found: _escape_markdown(latex_to_unicode(found[1])), source, flags=re.DOTALL)


def latex_to_unicode(latex: str) -> str:
    """One LaTeX formula as one line of Unicode."""
    grouped = re.sub(r"([_^])\{([^{}]{2,})\}", r"\1{(\2)}", latex)  # otherwise h_{l+1} would read as h_l + 1
    grouped = re.sub(r"\\[td]frac(?![a-z])", r"\\frac", grouped)
    return str(_converter().latex_to_text(grouped)).strip()


def _escape_markdown(unicode: str) -> str:
    return unicode.replace("*", r"\*").replace("_", r"\_")


def _fraction(node: Any, l2tobj: Any) -> str:
    """A fraction such as (z − μ)/σ: a sum in the numerator, and any compound denominator, gets brackets."""
    numerator, denominator = (l2tobj.nodelist_to_text([each]).strip() for each in node.nodeargd.argnlist)
    bare = re.sub(r"\([^()]*\)|\|[^|]*\||‖[^‖]*‖", "", numerator)
    if re.search(r"[-+−±]", bare.lstrip("-−")):
        numerator = f"({numerator})"
    return f"{numerator}/{denominator}" if _NEEDS_NO_BRACKETS.fullmatch(denominator) else f"{numerator}/({denominator})"


@cache
def _converter() -> Any:
    context = get_default_latex_context_db()
    context.add_context_category("fractions", macros=[MacroTextSpec("frac", simplify_repl=_fraction)], prepend=True)
    return LatexNodes2Text(latex_context=context, math_mode="text")


def markdown_to_unicode(source: str) -> str:
    """Markdown with its formulas as Unicode; code is left unchanged."""
    parts = re.split(r"(```.*?```|`[^`\n]*`)", source, flags=re.DOTALL)
    return "".join(part if part.startswith("`") else formulas_to_unicode(part) for part in parts)
