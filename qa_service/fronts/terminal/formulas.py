r"""Formulas in a terminal: \( … \) and $$ … $$ of a text as Unicode, with the brackets that a line of text needs."""

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
"""What needs no brackets below a fraction's bar: one symbol with what hangs on it, a number, something in brackets."""


def formulas_to_unicode(source: str) -> str:
    """The text with its formulas in Unicode."""
    source = re.sub(r"\$\$(.+?)\$\$", lambda found: f"\n    {latex_to_unicode(found[1])}\n", source, flags=re.DOTALL)
    return re.sub(r"\\\((.+?)\\\)", lambda found: _escape_markdown(latex_to_unicode(found[1])), source, flags=re.DOTALL)


def latex_to_unicode(latex: str) -> str:
    """One formula on one line."""
    grouped = re.sub(r"([_^])\{([^{}]{2,})\}", r"\1{(\2)}", latex)  # h_{l+1} must not read as h_l + 1
    grouped = re.sub(r"\\[td]frac(?![a-z])", r"\\frac", grouped)
    return str(_converter().latex_to_text(grouped)).strip()


def _escape_markdown(unicode: str) -> str:
    return unicode.replace("*", r"\*").replace("_", r"\_")


def _fraction(node: Any, l2tobj: Any) -> str:
    """(z − μ)/σ: above the bar a sum needs brackets, below it whatever is more than one thing."""
    above, below = (l2tobj.nodelist_to_text([each]).strip() for each in node.nodeargd.argnlist)
    bare = re.sub(r"\([^()]*\)|\|[^|]*\||‖[^‖]*‖", "", above)
    if re.search(r"[-+−±]", bare.lstrip("-−")):
        above = f"({above})"
    return f"{above}/{below}" if _NEEDS_NO_BRACKETS.fullmatch(below) else f"{above}/({below})"


@cache
def _converter() -> Any:
    known = get_default_latex_context_db()
    known.add_context_category("fractions", macros=[MacroTextSpec("frac", simplify_repl=_fraction)], prepend=True)
    return LatexNodes2Text(latex_context=known, math_mode="text")
