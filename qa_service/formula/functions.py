"""The functions that a formula may use: names, numbers of arguments, spellings in mathematics, torch and LaTeX."""

from dataclasses import dataclass
from functools import cache
from typing import Literal

MAX_FORMULA_CHARACTERS = 10_000
"""The largest number of characters in the text of a formula."""
MAX_DEPTH = 200
"""The largest number of nodes from the root of a tree to a leaf."""
MAX_NESTING = 100
"""The largest number of brackets and functions within each other in a text."""
MAX_NODES = 500
"""The largest number of nodes in a tree."""
MAX_ELEMENTS = 64
"""The largest number of elements in a vector."""
MAX_DECIMAL_EXPONENT = 1_000
"""The largest decimal exponent of a number: 1e1000 is the largest number, 1e-1000 the smallest in absolute value."""
MAX_NAME_CHARACTERS = 40
"""The largest number of characters in the name of a variable."""
MAX_DIGITS = 500
"""The largest number of digits in a number."""

FunctionKind = Literal["elementwise", "comparison", "reduction", "map", "vector", "item", "constant"]
"""What a function does with vectors:

elementwise  numbers, or vectors of one length, in any mixture → the same
comparison   the same, but its result is a condition, the first argument of `where`
reduction    a vector → a number; `dot` takes two
map          a vector → a vector of the same length, such as softmax
vector       numbers → the vector of them
item         a vector and the literal index of an element, from 0 → a number
constant     no argument → a number
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Function:
    """One function of `FUNCTION_TABLE`."""

    name: str
    """The canonical name, which is torch's where torch has the function."""
    kind: FunctionKind = "elementwise"
    arity: int = 1
    """The number of arguments; of `vector`, the least."""
    operator: str = ""
    """The sign between or before its arguments; "" if it is written with its name."""
    aliases: tuple[str, ...] = ()
    """Further names that are read, without the prefixes torch., F., np. and the like, in lower case."""
    torch: str = ""
    """A template of torch code with {0}, {1} … for the arguments; "" means torch.name(…), or the operator."""
    latex: str = ""
    """A template of LaTeX; "" means \\operatorname{name}(…), or the operator."""

    @property
    def torch_code(self) -> str:
        """The template of torch code, "" for an operator."""
        if self.torch or self.operator:
            return self.torch
        return f"torch.{self.name}({', '.join(f'{{{position}}}' for position in range(self.arity))})"


_LAST_DIM = "torch.{name}({{0}}, dim=-1)"
FUNCTION_TABLE: tuple[Function, ...] = (
    Function(name="add", arity=2, operator="+", aliases=("plus",)),
    Function(name="sub", arity=2, operator="-", aliases=("subtract", "minus")),
    Function(name="mul", arity=2, operator="*", aliases=("multiply", "times"), latex=r"{0} \cdot {1}"),
    Function(name="div", arity=2, operator="/", aliases=("divide", "true_divide"), latex=r"\frac{{{0}}}{{{1}}}"),
    Function(name="neg", operator="-", aliases=("negative",)),
    Function(name="pow", arity=2, operator="**", aliases=("power", "float_power"), latex="{0}^{{{1}}}"),
    Function(name="square", latex="{0}^{{2}}"),
    Function(name="sqrt", aliases=("root",), latex=r"\sqrt{{{0}}}"),
    Function(name="rsqrt", aliases=("invsqrt", "inverse_sqrt"), latex=r"\frac{{1}}{{\sqrt{{{0}}}}}"),
    Function(name="abs", aliases=("absolute", "fabs"), latex=r"\left|{0}\right|"),
    Function(name="sign", aliases=("sgn", "signum")),
    Function(name="exp", latex="e^{{{0}}}"),
    Function(name="exp2", latex="2^{{{0}}}"),
    Function(name="expm1"),
    Function(name="log", aliases=("ln", "loge"), latex=r"\log\left({0}\right)"),
    Function(name="log2", aliases=("log_2", "lb", "ld"), latex=r"\log_{{2}}\left({0}\right)"),
    Function(name="log10", aliases=("log_10", "lg"), latex=r"\log_{{10}}\left({0}\right)"),
    Function(name="log1p"),
    Function(name="sin", latex=r"\sin\left({0}\right)"),
    Function(name="cos", latex=r"\cos\left({0}\right)"),
    Function(name="tan", aliases=("tg",), latex=r"\tan\left({0}\right)"),
    Function(name="asin", aliases=("arcsin",), latex=r"\arcsin\left({0}\right)"),
    Function(name="acos", aliases=("arccos",), latex=r"\arccos\left({0}\right)"),
    Function(name="atan", aliases=("arctan", "arctg"), latex=r"\arctan\left({0}\right)"),
    Function(name="atan2", arity=2, aliases=("arctan2",)),
    Function(name="sinh", aliases=("sh",), latex=r"\sinh\left({0}\right)"),
    Function(name="cosh", aliases=("ch",), latex=r"\cosh\left({0}\right)"),
    Function(name="tanh", aliases=("th",), latex=r"\tanh\left({0}\right)"),
    Function(name="asinh", aliases=("arcsinh", "arsinh")),
    Function(name="acosh", aliases=("arccosh", "arcosh")),
    Function(name="atanh", aliases=("arctanh", "artanh")),
    Function(name="sigmoid", aliases=("expit", "logistic"), latex=r"\sigma\left({0}\right)"),
    Function(name="logsigmoid", aliases=("log_sigmoid", "log_expit"), torch="F.logsigmoid({0})"),
    Function(name="softplus", torch="F.softplus({0})"),
    Function(name="relu"),
    Function(name="gelu", torch="F.gelu({0})"),
    Function(name="silu", aliases=("swish",), torch="F.silu({0})"),
    Function(name="erf"),
    Function(name="erfc"),
    Function(name="lgamma", aliases=("gammaln", "loggamma"), latex=r"\log\Gamma\left({0}\right)"),
    Function(name="factorial", torch="torch.exp(torch.lgamma({0} + 1))", latex="{0}!"),
    Function(name="floor", latex=r"\left\lfloor {0}\right\rfloor"),
    Function(name="ceil", latex=r"\left\lceil {0}\right\rceil"),
    Function(name="round", aliases=("rint",)),
    Function(name="min", arity=2, aliases=("minimum", "fmin"), torch="torch.minimum({0}, {1})",
             latex=r"\min\left({0}, {1}\right)"),
    Function(name="max", arity=2, aliases=("maximum", "fmax"), torch="torch.maximum({0}, {1})",
             latex=r"\max\left({0}, {1}\right)"),
    Function(name="hypot", arity=2),
    Function(name="logaddexp", arity=2),
    Function(name="xlogy", arity=2, latex=r"{0} \log\left({1}\right)"),
    Function(name="remainder", arity=2, operator="%", aliases=("mod", "fmod")),
    Function(name="lerp", arity=3),
    Function(name="addcdiv", arity=3),
    Function(name="where", arity=3),
    Function(name="lt", kind="comparison", arity=2, operator="<", aliases=("less",)),
    Function(name="le", kind="comparison", arity=2, operator="<=", aliases=("less_equal",), latex=r"{0} \le {1}"),
    Function(name="gt", kind="comparison", arity=2, operator=">", aliases=("greater",)),
    Function(name="ge", kind="comparison", arity=2, operator=">=", aliases=("greater_equal",), latex=r"{0} \ge {1}"),
    Function(name="eq", kind="comparison", arity=2, operator="==", aliases=("equal",), latex="{0} = {1}"),
    Function(name="vector", kind="vector", torch="torch.tensor([{0}])"),
    Function(name="item", kind="item", arity=2, torch="{0}[{1}]", latex="{0}_{{{1}}}"),
    Function(name="softmax", kind="map", torch=_LAST_DIM.format(name="softmax")),
    Function(name="log_softmax", kind="map", aliases=("logsoftmax",), torch="F.log_softmax({0}, dim=-1)"),
    Function(name="logsumexp", kind="reduction", aliases=("log_sum_exp", "lse"),
             torch=_LAST_DIM.format(name="logsumexp")),
    Function(name="sum", kind="reduction", aliases=("nansum", "fsum"), latex=r"\sum {0}"),
    Function(name="mean", kind="reduction", aliases=("average", "avg")),
    Function(name="prod", kind="reduction", aliases=("product",), latex=r"\prod {0}"),
    Function(name="var", kind="reduction", aliases=("variance",), latex=r"\operatorname{{Var}}\left({0}\right)"),
    Function(name="std", kind="reduction"),
    Function(name="norm", kind="reduction", torch="torch.linalg.norm({0})", latex=r"\left\|{0}\right\|"),
    Function(name="amax", kind="reduction"),
    Function(name="amin", kind="reduction"),
    Function(name="dot", kind="reduction", arity=2, aliases=("inner", "vdot")),
    Function(name="pi", kind="constant", arity=0, aliases=("π",), torch="math.pi", latex=r"\pi"),
    Function(name="e", kind="constant", arity=0, torch="math.e", latex="e"),
)  # fmt: skip
"""`var` and `std` are torch's: divided by n − 1. `round` takes ties to even. `remainder` has the sign of the divisor.

`lerp(a, b, w)` = a + w·(b − a). `addcdiv(a, b, c)` = a + b/c. `xlogy(x, y)` = x·log(y), and 0 where x = 0.
"""
FUNCTIONS: dict[str, Function] = {function.name: function for function in FUNCTION_TABLE}
"""Canonical name → function."""


@cache
def canonical_names() -> dict[str, str]:
    """Every name that is read, in lower case → the canonical name."""
    return {name: function.name for function in FUNCTION_TABLE for name in (function.name, *function.aliases)}
