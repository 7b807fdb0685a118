r"""Converts Markdown with formulas, \( … \) and $$ … $$, to safe HTML with MathML, without scripts and external files.

A single $ is a dollar sign. nh3 removes every tag and attribute that is not listed here.
"""

import html
import re
from functools import lru_cache
from typing import Any
from xml.etree.ElementTree import Element, tostring

import nh3
from latex2mathml.commands import FUNCTIONS
from markdown_it import MarkdownIt
from markdown_it.common.utils import escapeHtml
from mdit_py_plugins.dollarmath import dollarmath_plugin
from mdit_py_plugins.texmath import texmath_plugin

NUMBER_START, NUMBER_SEPARATOR, NUMBER_END = "\ue000", "\ue001", "\ue002"
"""Mark a number in Markdown: START kind ":" block.name SEPARATOR number END.

For example START "measured:block.metric" SEPARATOR "…" END: a metric that is not measured yet.
"""

_MARKED_NUMBER = re.compile(
    f"{NUMBER_START}(measured|given):([a-z0-9_.|-]+){NUMBER_SEPARATOR}([^{NUMBER_START}{NUMBER_END}]*){NUMBER_END}"
)
_FORMULA_WITH_PUNCTUATION = re.compile(
    r'(<math display="inline">(?:(?!</math>).)*</math>)([，。；：、！？）」』”’,.;:!?)]+)', re.DOTALL
)
_BOLD = re.compile(r"`[^`]*`|\*\*(?=\S)([^*`\n]+?)([，。：；！？、）”]+)\*\*(?=\w)|\*\*[^*\n]+?\*\*")
"""Bold text that ends with Chinese punctuation, directly before a letter: CommonMark does not see its closing `**`."""
_MATHML_TAGS = {
    "math", "mrow", "mi", "mo", "mn", "mtext", "mspace", "ms", "msup", "msub", "msubsup", "mfrac", "msqrt", "mroot",
    "mover", "munder", "munderover", "mtable", "mtr", "mtd", "mstyle", "mpadded", "mphantom", "menclose",
}  # fmt: skip
_FUNCTION_NAMES = frozenset(command.removeprefix("\\") for command in FUNCTIONS)
_PLUS_MINUS, _CLOSING_BRACKETS, _THIN_SPACE = frozenset("+-−±"), frozenset(")]}|!"), "0.167em"
_SCRIPT_TAGS = frozenset({"msub", "msup", "msubsup", "munder", "mover", "munderover"})
_POSITIONAL_TAGS = _SCRIPT_TAGS | {"mfrac", "mroot"}  # their children have roles by position
_PROSE_TAGS = {
    "p", "h2", "h3", "h4", "h5", "h6", "ul", "ol", "li", "strong", "em", "code", "pre", "blockquote", "a", "hr", "br",
    "table", "thead", "tbody", "tr", "th", "td", "span",
}  # fmt: skip
_ALLOWED_ATTRIBUTES = {
    "a": {"href"},
    "code": {"class"},
    "span": {"class"},
    "ol": {"start"},
    "th": {"style"},
    "td": {"style"},
    "math": {"display"},
    "mi": {"mathvariant"},
    "mo": {"stretchy", "fence", "form", "separator", "lspace", "rspace", "minsize", "maxsize"},
    "mspace": {"width", "height"},
    "mfrac": {"linethickness"},
    "mtable": {"displaystyle", "rowspacing", "columnspacing", "columnalign"},
    "mtd": {"columnalign"},
    "mover": {"accent"},
    "mstyle": {"displaystyle", "scriptlevel"},
    "menclose": {"notation"},
}


@lru_cache(maxsize=512)
def markdown_to_html(markdown: str) -> str:
    """Markdown as safe HTML; marked numbers become `<span class="measured" data-of="block.metric">`."""
    cleaned = nh3.clean(
        _MARKDOWN.render(_BOLD.sub(_close_bold, markdown)),
        tags=_PROSE_TAGS | _MATHML_TAGS,
        attributes=_ALLOWED_ATTRIBUTES,
        url_schemes={"https", "http"},
        link_rel="noopener noreferrer",
        filter_style_properties={"text-align"},
        clean_content_tags=set(),
        set_tag_attribute_values={"pre": {"tabindex": "0"}},  # so that a long line can be scrolled by keyboard
    )
    cleaned = cleaned.replace('<math display="block">', '<math display="block" tabindex="0">')  # as for pre
    return _FORMULA_WITH_PUNCTUATION.sub(
        r'<span class="together">\1\2</span>', _MARKED_NUMBER.sub(_number_span, cleaned)
    )


@lru_cache(maxsize=512)
def highlight_code(code: str, language: str = "python") -> str:
    """Code as safe HTML with a CSS class per token; plain text if pygments does not know the language."""
    from pygments import highlight
    from pygments.formatters import HtmlFormatter
    from pygments.lexers import get_lexer_by_name
    from pygments.util import ClassNotFound

    try:
        lexer = get_lexer_by_name(language, stripnl=False)
    except ClassNotFound:
        lexer = get_lexer_by_name("text")
    spans = highlight(code, lexer, HtmlFormatter(nowrap=True, classprefix="code-"))
    return f'<pre tabindex="0"><code>{spans}</code></pre>'


def inline_html(markdown: str) -> str:
    """One paragraph of Markdown as safe HTML, without the paragraph's own tags."""
    return markdown_to_html(markdown).strip().removeprefix("<p>").removesuffix("</p>")


def first_paragraph(markdown: str) -> str:
    """The first paragraph without markup, for the description of a page."""
    first = next((part for part in markdown.split("\n\n") if part.strip()), "")
    return re.sub(r"[*_`]|\\[()]", "", first).strip()


def _close_bold(found: re.Match[str]) -> str:
    """Moves the punctuation at the end of bold text behind the closing `**`."""
    return found[0] if found[1] is None else f"**{found[1]}**{found[2]}"


def _number_span(found: re.Match[str]) -> str:
    kind, name, number = found.groups()
    return f'<span class="{kind}{" waiting" if number == "…" else ""}" data-of="{name}">{number}</span>'


@lru_cache(maxsize=2048)
def latex_to_mathml(latex: str, *, block: bool = False) -> str:
    """A LaTeX formula as MathML; as `<code>` if it cannot be converted."""
    from latex2mathml.converter import Converter

    latex = _MARKED_NUMBER.sub(r"\\text{\3}", latex)
    # Of these environments the converter aligns only align*.
    latex = re.sub(r"(\\(?:begin|end)){(?:aligned|split|align|gathered)}", r"\1{align*}", latex)
    try:
        tree = Converter(display="block" if block else "inline").convert_to_element(latex)
    except Exception:  # the converter raises many types; the formula is then shown as its source
        return f"<code>{escapeHtml(latex)}</code>"
    return tostring(_clean_tree(tree), encoding="unicode")


def _clean_tree(tree: Element) -> Element:
    """Undoes the converter's character references, which serialising would escape again, and sets the spacing."""
    for node in tree.iter():
        node.text = html.unescape(node.text) if node.text else node.text
        node.tail = html.unescape(node.tail) if node.tail else node.tail
        if node.tag == "mo" and node.text in ("|", "/"):  # browsers would space these like relations
            node.attrib.update(lspace="0", rspace="0")
    for row in tree.iter():
        if row.tag not in _POSITIONAL_TAGS:
            _set_spacing(row)
    return tree


def _set_spacing(row: Element) -> None:
    """Spaces a row as TeX does: a thin space around function names such as ln, none after a unary sign."""
    nodes: list[Element | None] = [None, *row, None]
    for before, node, after in zip(nodes, row, nodes[2:], strict=False):
        name = node[0] if node.tag in _SCRIPT_TAGS and len(node) else node
        is_first = before is None or (before.tag == "mo" and before.text not in _CLOSING_BRACKETS)
        if name.tag == "mi" and (name.text or "") in _FUNCTION_NAMES:
            name.tag = "mo"
            name.set("lspace", "0" if is_first else _THIN_SPACE)
            name.set("rspace", "0" if after is None or after.tag == "mo" else _THIN_SPACE)
        elif node.tag == "mo" and node.text in _PLUS_MINUS and is_first:
            node.set("form", "prefix")


def _build_parser() -> MarkdownIt:
    parser = MarkdownIt("commonmark", {"html": False}).enable("table")
    dollarmath_plugin(parser)
    parser.disable("math_inline")
    texmath_plugin(parser, delimiters="brackets")
    parser.add_render_rule("math_inline", _render_inline_math)
    parser.add_render_rule("math_block", _render_block_math)
    parser.add_render_rule("fence", _render_code)
    return parser


def _render_inline_math(_renderer: Any, tokens: Any, index: int, _options: Any, _env: Any) -> str:
    return latex_to_mathml(tokens[index].content)


def _render_code(_renderer: Any, tokens: Any, index: int, _options: Any, _env: Any) -> str:
    return highlight_code(tokens[index].content, tokens[index].info.strip() or "text")


def _render_block_math(_renderer: Any, tokens: Any, index: int, _options: Any, _env: Any) -> str:
    return latex_to_mathml(tokens[index].content, block=True)


_MARKDOWN = _build_parser()
