"""Trees as text: infix, which `parse_formula` reads back, torch code, and LaTeX."""

import math
from collections.abc import Callable, Sequence
from fractions import Fraction

from qa_service.formula.functions import FUNCTIONS
from qa_service.formula.sexpr import exact_number_text
from qa_service.formula.tree import Call, Node, Number, Variable

_COMPARISON, _SUM, _PRODUCT, _UNARY, _POWER, _ATOM = 10, 20, 30, 40, 50, 100
_STRENGTHS = {
    "lt": _COMPARISON, "le": _COMPARISON, "gt": _COMPARISON, "ge": _COMPARISON, "eq": _COMPARISON, "add": _SUM,
    "sub": _SUM, "mul": _PRODUCT, "div": _PRODUCT, "remainder": _PRODUCT, "neg": _UNARY, "pow": _POWER,
}  # fmt: skip
_Printed = tuple[str, int]
"""A text, and how tightly its outermost operator binds."""
_MATH_CONSTANTS: dict[Fraction | float, str] = {math.inf: "math.inf", -math.inf: "-math.inf"}


def infix(tree: Node) -> str:
    """The formula as people type it: log(1 + exp(x)), x**2, [1, 2]. Reading it gives the tree again.

    A number that is no decimal, such as 1/3, is printed as a quotient.
    """
    return _infix(tree)[0]


def torch_code(tree: Node) -> str:
    """A Python expression over the variables, which are tensors, for `import math, torch` and
    `import torch.nn.functional as F`.
    """
    return _torch(tree)[0]


def latex(tree: Node) -> str:
    r"""The formula in LaTeX, without delimiters: \log\left(1 + e^{x}\right)."""
    return _latex(tree)[0]


def _bracketed(printed: _Printed, least: int) -> str:
    text, strength = printed
    return text if strength >= least else f"({text})"


def _latex_bracketed(printed: _Printed, least: int) -> str:
    text, strength = printed
    return text if strength >= least else rf"\left({text}\right)"


def _operators(
    tree: Call,
    render: Callable[[Node], _Printed],
    sign: str,
    bracketed: Callable[[_Printed, int], str] = _bracketed,
) -> _Printed:
    """An operator between its arguments; those of equal strength group to the left, powers to the right."""
    strength = _STRENGTHS[tree.function]
    printed = [render(argument) for argument in tree.arguments]
    if tree.function == "neg":
        return f"-{bracketed(printed[0], strength)}", strength
    if tree.function == "pow":
        return f"{bracketed(printed[0], strength + 1)}{sign}{bracketed(printed[1], strength)}", strength
    equal = 1 if strength == _COMPARISON else 0
    left, right = bracketed(printed[0], strength + equal), bracketed(printed[1], strength + 1)
    return f"{left}{sign}{bracketed((right, 0), 1) if right.startswith('-') else right}", strength


def _signed(value: Fraction | float, text: str) -> _Printed:
    return text, _UNARY if value < 0 else _ATOM


def _infix(tree: Node) -> _Printed:
    match tree:
        case Number(value):
            text = exact_number_text(value)
            return (text, _PRODUCT) if "/" in text else _signed(value, text)
        case Variable(name):
            return name, _ATOM
    function = FUNCTIONS[tree.function]
    if tree.function == "neg" or (function.operator and not _is_power_of_e(tree)):
        return _operators(tree, _infix, function.operator if function.name == "pow" else f" {function.operator} ")
    return _named(tree, _infix)


def _is_power_of_e(tree: Call) -> bool:
    """Whether it is `pow` of e, which is read as `exp` where it is written as a power."""
    return tree.function == "pow" and tree.arguments[0] == Call("e", ())


def _named(tree: Call, render: Callable[[Node], _Printed]) -> _Printed:
    texts = [render(argument)[0] for argument in tree.arguments]
    match FUNCTIONS[tree.function].kind:
        case "constant":
            return tree.function, _ATOM
        case "vector":
            return f"[{', '.join(texts)}]", _ATOM
        case "item":
            return f"{_bracketed(render(tree.arguments[0]), _ATOM)}[{texts[1]}]", _ATOM
        case _:
            return f"{tree.function}({', '.join(texts)})", _ATOM


def _torch(tree: Node) -> _Printed:
    match tree:
        case Number(value) if isinstance(value, Fraction):
            text = exact_number_text(value)
            return (text, _PRODUCT) if "/" in text else _signed(value, text)
        case Number(value):
            return _signed(value, _MATH_CONSTANTS.get(value, "math.nan"))
        case Variable(name):
            return name, _ATOM
    function = FUNCTIONS[tree.function]
    if function.operator:
        return _operators(tree, _torch, function.operator if function.name == "pow" else f" {function.operator} ")
    texts = [_torch(argument)[0] for argument in tree.arguments]
    if function.kind == "vector":
        variable = any(not isinstance(argument, Number) for argument in tree.arguments)
        return (
            f"torch.stack([{', '.join(map(_tensor, tree.arguments))}])"
            if variable
            else f"torch.tensor([{', '.join(map(_float, tree.arguments))}])"
        ), _ATOM
    if function.kind == "item":
        texts[0] = _bracketed(_torch(tree.arguments[0]), _ATOM)
    elif function.kind == "constant":
        return function.torch, _ATOM
    elif function.name != "where":
        texts = [_tensor(argument) for argument in tree.arguments]
    return function.torch_code.format(*texts), _ATOM


def _is_plain(tree: Node) -> bool:
    """Whether its torch code is a Python number and no tensor: no variable, vector or torch function in it."""
    if not isinstance(tree, Call):
        return isinstance(tree, Number)
    function = FUNCTIONS[tree.function]
    return function.kind == "constant" or (bool(function.operator) and all(map(_is_plain, tree.arguments)))


def _tensor(tree: Node) -> str:
    """The torch code of a tree, written so that its value is a tensor."""
    return f"torch.tensor({_float(tree)})" if _is_plain(tree) else _torch(tree)[0]


def _float(tree: Node) -> str:
    """The torch code of a number as a Python float, so that a tensor made of it holds floats."""
    text = _torch(tree)[0]
    return f"{text}.0" if text.lstrip("-").isdigit() else text


_DIGITS_AND_SIGN = tuple("-0123456789")
_LATEX_NUMBERS: dict[Fraction | float, str] = {math.inf: r"\infty", -math.inf: r"-\infty"}
_LATEX_SIGNS = {"add": " + ", "sub": " - ", "mul": r" \cdot ", "remainder": r" \bmod ", "lt": " < ", "le": r" \le ",
                "gt": " > ", "ge": r" \ge ", "eq": " = "}  # fmt: skip
_GREEK_NAMES = frozenset(
    (
        "alpha", "beta", "gamma", "delta", "zeta", "eta", "theta", "iota", "kappa", "mu", "nu", "xi", "rho", "sigma",
        "tau", "upsilon", "phi", "chi", "psi", "omega", "Gamma", "Delta", "Theta", "Lambda", "Xi", "Pi", "Sigma", "Phi",
        "Psi", "Omega",
    )
)  # fmt: skip


def _latex(tree: Node) -> _Printed:
    match tree:
        case Number(value) if isinstance(value, Fraction):
            return _latex_number(value)
        case Number(value):
            return _signed(value, _LATEX_NUMBERS.get(value, r"\mathrm{nan}"))
        case Variable(name):
            return _latex_variable(name), _ATOM
    printed = [_latex(argument) for argument in tree.arguments]
    texts = [text for text, _ in printed]
    if tree.function == "mul" and isinstance(tree.arguments[0], Number) and not texts[1].startswith(_DIGITS_AND_SIGN):
        return _latex_bracketed(printed[0], _PRODUCT) + _latex_bracketed(printed[1], _PRODUCT + 1), _PRODUCT
    if tree.function in _LATEX_SIGNS or tree.function == "neg":
        return _operators(tree, _latex, _LATEX_SIGNS.get(tree.function, ""), _latex_bracketed)
    match tree.function:
        case "div":
            return rf"\frac{{{texts[0]}}}{{{texts[1]}}}", _POWER
        case "pow" | "square":
            base = _latex_bracketed(printed[0], _POWER + 1)
            return f"{base}^{{{texts[1] if len(texts) > 1 else '2'}}}", _POWER
        case "factorial":
            return f"{_latex_bracketed(printed[0], _ATOM)}!", _ATOM
        case "vector":
            return rf"\left[{', '.join(texts)}\right]", _ATOM
        case "xlogy":
            return rf"{_latex_bracketed(printed[0], _PRODUCT)} \log\left({texts[1]}\right)", _PRODUCT
        case "where":
            return rf"\begin{{cases}}{texts[1]} & {texts[0]}\\{texts[2]} & \text{{else}}\end{{cases}}", _SUM
    return _latex_function(tree.function, printed)


def _latex_function(name: str, printed: Sequence[_Printed]) -> _Printed:
    template = FUNCTIONS[name].latex
    if not template:
        escaped = name.replace("_", r"\_")
        template = (
            rf"\operatorname{{{{{escaped}}}}}\left(" + ", ".join(f"{{{n}}}" for n in range(len(printed))) + r"\right)"
        )
    texts = [text for text, _ in printed]
    if name in ("sum", "prod", "item"):
        texts[0] = _latex_bracketed(printed[0], _PRODUCT)
    return template.format(*texts), _POWER if name in ("exp", "exp2", "item") else _ATOM


def _latex_number(value: Fraction) -> _Printed:
    text = exact_number_text(value)
    if "/" in text:
        sign = "-" if value < 0 else ""
        return rf"{sign}\frac{{{abs(value.numerator)}}}{{{value.denominator}}}", _UNARY if sign else _POWER
    mantissa, _, exponent = text.partition("e")
    if exponent:
        prefix = "" if mantissa == "1" else "-" if mantissa == "-1" else rf"{mantissa} \cdot "
        return f"{prefix}10^{{{exponent}}}", _UNARY if value < 0 else _PRODUCT
    return _signed(value, text)


def _latex_variable(name: str) -> str:
    letter, _, index = name.partition("_")
    if not index and len(letter) > 1 and letter[-1].isdigit():
        letter, index = letter.rstrip("0123456789"), letter[len(letter.rstrip("0123456789")) :]
    greek = {"lam": r"\lambda", "eps": r"\varepsilon"}.get(letter)
    base = greek or (
        rf"\{letter}" if letter in _GREEK_NAMES else letter if len(letter) == 1 else rf"\mathrm{{{letter}}}"
    )
    index = index.replace("_", r"\_")
    return f"{base}_{{{index}}}" if index else base
