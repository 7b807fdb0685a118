"""The parser of formulas: common notations are read, printed formulas can be read again, and the size of input is
bounded.
"""

import ast
import math
import operator
import sys
import threading
from fractions import Fraction

import pytest
from checking import each_case
from hypothesis import assume, given
from hypothesis import strategies as st
from processes import running_threads, until

from qa_service.errors import BadExpression
from qa_service.formula.functions import (
    FUNCTION_TABLE,
    FUNCTIONS,
    MAX_DEPTH,
    MAX_ELEMENTS,
    MAX_FORMULA_CHARACTERS,
    MAX_NESTING,
    MAX_NODES,
    canonical_names,
)
from qa_service.formula.grammar import parse_formula
from qa_service.formula.printing import infix, latex, torch_code
from qa_service.formula.sexpr import from_sexpr, to_sexpr
from qa_service.formula.tree import Call, Node, Number, Variable, depth, size, variables
from qa_service.formula.values import Range, read_number_or_range, read_values, values_text

X, Y = Variable("x"), Variable("y")


def read(text: str) -> str:
    """The formula as an S-expression."""
    return to_sexpr(parse_formula(text).tree)


def decimals() -> st.SearchStrategy[Number]:
    """Constants as a formula can spell them."""
    finite = st.builds(
        lambda digits, exponent: Number(Fraction(digits) * Fraction(10) ** exponent),
        st.integers(-(10**18), 10**18), st.integers(-330, 310),
    )  # fmt: skip
    return st.one_of(
        finite, st.sampled_from([Number(Fraction(0)), Number(math.inf), Number(-math.inf), Number(math.nan)])
    )


def trees() -> st.SearchStrategy[Node]:
    """Canonical trees over numbers and vectors, as `parse_formula` makes them."""
    elementwise = [
        each for each in FUNCTION_TABLE if each.kind == "elementwise" and each.name not in ("where", "neg", "pow")
    ]
    constants = st.sampled_from([Call("pi", ()), Call("e", ())])
    leaves = st.one_of(decimals(), st.sampled_from([X, Y, Variable("z_1"), Variable("lam")]), constants)

    def longer(inner: st.SearchStrategy[Node]) -> st.SearchStrategy[Node]:
        vectors = st.lists(inner, min_size=1, max_size=3).map(lambda elements: Call("vector", tuple(elements)))
        compared = st.builds(
            lambda name, a, b: Call(name, (a, b)), st.sampled_from(["lt", "le", "gt", "ge", "eq"]), inner, inner
        )
        return st.one_of(
            st.sampled_from(elementwise).flatmap(
                lambda each: st.tuples(*[inner] * each.arity).map(lambda args: Call(each.name, args))
            ),
            inner.filter(lambda node: not isinstance(node, Number)).map(lambda node: Call("neg", (node,))),
            st.just(Call("neg", (Number(Fraction(0)),))),
            st.builds(lambda base, exponent: Call("pow", (base, exponent)), inner, inner),
            st.builds(lambda test, a, b: Call("where", (test, a, b)), compared, inner, inner),
            st.builds(lambda name, v: Call(name, (v,)), st.sampled_from(["sum", "logsumexp", "norm", "amax"]), vectors),
            st.builds(lambda v: Call("item", (Call("softmax", (v,)), Number(Fraction(0)))), vectors),
        )  # fmt: skip

    return st.recursive(leaves, longer, max_leaves=12)


@each_case(
    ("text", "expected"),
    [
        ("2048+1", "(add 2048 1)"),
        ("１＋１", "(add 1 1)"),
        ("1 - 2 - 3", "(sub (sub 1 2) 3)"),
        ("2**3**2", "(pow 2 (pow 3 2))"),
        ("-2**2", "(neg (pow 2 2))"),
        ("(-2)**2", "(pow -2 2)"),
        ("2**-1", "(pow 2 -1)"),
        ("-x*y", "(mul (neg x) y)"),
        ("1/-0", "(div 1 (neg 0))"),
        ("7 // 2 % 2", "(remainder (floor (div 7 2)) 2)"),
        ("50%", "0.5"),
        ("65,504 + 1_000", "(add 65504 1000)"),
        ("0.1+0.2=", "(add 0.1 0.2)"),
        ("2(x+1)(x−1)", "(mul (mul 2 (add x 1)) (sub x 1))"),
        ("2πx", "(mul (mul 2 pi) x)"),
        ("x² + ½", "(add (pow x 2) 0.5)"),
        ("10⁻⁵ · ⅓", "(mul 0.00001 (div 1 3))"),
        ("3.4×10³⁸", "3.4e38"),
        ("3.4*10**38", "(mul 3.4 (pow 10 38))"),
        ("√2 + √(x+1)", "(add (sqrt 2) (sqrt (add x 1)))"),
        ("|x-1| + ||x|-1|", "(add (abs (sub x 1)) (abs (sub (abs x) 1)))"),
        ("‖[3, 4]‖", "(norm (vector 3 4))"),
        ("5! + ⌊2.7⌋", "(add (factorial 5) (floor 2.7))"),
        ("e^x", "(exp x)"),
        ("sin² x cos x", "(mul (pow (sin x) 2) (cos x))"),
        ("log 2x", "(log (mul 2 x))"),
        ("log(8, 2) + log_2(8)", "(add (log2 8) (log2 8))"),
        ("x₁ + x_2", "(add x_1 x_2)"),
        ("inf - infinity", "(sub inf inf)"),
        (r"\frac{e^{x}}{1+e^{x}}", "(div (exp x) (add 1 (exp x)))"),
        (r"$\log\left(1+e^{-x}\right)$", "(log (add 1 (exp (neg x))))"),
        (r"\sqrt[3]{x} \cdot \frac12", "(mul (pow x (div 1 3)) (div 1 2))"),
        (r"\operatorname{softmax}(x_{1}, 0)", "(softmax (vector x_1 0))"),
        (r"\sigma(-200) \times \lVert [1,2] \rVert", "(mul (sigmoid -200) (norm (vector 1 2)))"),
        (r"\log_{10} 1000 \le 3", None),
        ("torch.log(torch.sigmoid(x))", "(log (sigmoid x))"),
        ("F.softmax(torch.tensor([1., 0.]), dim=-1)", "(softmax (vector 1 0))"),
        ("x.exp().add(1).log()", "(log (add (exp x) 1))"),
        ("nn.Sigmoid()(x)", "(sigmoid x)"),
        ("float('inf') - 1", "(sub inf 1)"),
        ("torch.where(x > 0, x.log(), 0)", "(where (gt x 0) (log x) 0)"),
        ("max(x, 0) + max(1, 2, 3)", "(add (max x 0) (amax (vector 1 2 3)))"),
        ("np.var([1, 2]) - torch.var([1, 2])",
         "(sub (mean (square (sub (vector 1 2) (mean (vector 1 2))))) (var (vector 1 2)))"),
        ("clamp(x, min=1e-7)", "(max x 1e-7)"),
        ("torch.reciprocal(x) + F.leaky_relu(x, 0.1)", "(add (div 1 x) (where (gt x 0) x (mul 0.1 x)))"),
        ("[1, 2][-1]", "(item (vector 1 2) 1)"),
        ("2048加1", "(add 2048 1)"),
        ("二千零四十八加一", "(add 2048 1)"),
        ("三分之一乘以零点五", "(mul (div 1 3) 0.5)"),
        ("2的10次方减去1", "(sub (pow 2 10) 1)"),
        ("e的89次方", "(exp 89)"),
        ("5的阶乘除以3万", "(div (factorial 5) 30000)"),
        ("-200的sigmoid", "(sigmoid -200)"),
        ("负二的平方减2的平方", "(sub (pow -2 2) (pow 2 2))"),
        ("根号2", "(sqrt 2)"),
        ("2 to the power of 10 minus one", "(sub (pow 2 10) 1)"),
        ("square root of 2 plus x squared", "(add (sqrt 2) (pow x 2))"),
        ("log of sigmoid of -200", "(log (sigmoid -200))"),
        ("softmax of 1000 and 0", "(softmax (vector 1000 0))"),
    ],
)  # fmt: skip
def test_what_people_write_is_read(text, expected):
    """Infix, Unicode, LaTeX, torch, numpy, Chinese and English words; None for what is no formula."""
    if expected is None:
        with pytest.raises(BadExpression):
            parse_formula(text)
    else:
        assert read(text) == expected


@each_case(
    ("text", "expected"),
    [
        (r"\frac{-b+\sqrt{b^2-4ac}}{2a}", "(div (add (neg b) (sqrt (sub (pow b 2) (mul (mul 4 a) c)))) (mul 2 a))"),
        ("2xy^2", "(mul (mul 2 x) (pow y 2))"), (r"\log(xy)", "(log (mul x y))"), ("e^{-ax}", "(exp (mul (neg a) x))"),
        (r"\sqrt{ab}c", "(mul (sqrt (mul a b)) c)"), (r"\text{loss}\cdot 2", "(mul loss 2)"), ("xy+1", "(add xy 1)"),
        ("2 lr", "(mul 2 lr)"), ("2pi", "(mul 2 pi)"), (r"\sigma(ab)", "(sigmoid (mul a b))"), ("cost", "cost"),
        ("2lnx", "(mul 2 (log x))"), ("sinx/x", "(div (sin x) x)"),
    ],
)  # fmt: skip
def test_letters_side_by_side_are_a_product_where_mathematics_is_written(text, expected):
    assert read(text) == expected


@each_case(
    ("text", "position", "word"),
    [
        ("log(1+", 6, ""),
        ("2048 +* 1", 6, "*"),
        ("1 @ 2", 2, "@"),
        ("expp(x)", 0, "exp"),
        ("lgo(x)", 0, "log"),
        ("零十一+1", 0, "零十一"),
        ("1+零亿一", 2, "零亿一"),
        ("sqtr(x)", 0, "sqrt"),
        ("1 + sofmax([1, 2])", 4, "softmax"),
        ("x(y+1)", 0, "x*("),
        ("1/2x", 3, "a/(b*c)"),
        ("x y", 2, "*"),
        ("(1 + 2", 6, ")"),
        ("log", 0, "log(x)"),
        ("atan2(1)", 0, "2"),
        ("[1, 2] + [1, 2, 3]", 7, "3"),
        ("softmax(3)", 0, "softmax([1000, 0])"),
        ("where(x, 1, 2)", 0, "where(x > 0"),
        ("x > 0", 0, "where"),
        ("[1, 2][2]", 6, "1"),
        ("1e5000", 0, "1000"),
        ("9" * 501, 0, "500"),
        ("x!=0", 2, "="),
        ("sqrt(x, 1)", 0, "1"),
        ("log(x, out=y)", 0, "out"),
    ],
)
def test_an_error_says_where_and_what_is_allowed(text, position, word):
    """The error message, in both languages, gives the position and the nearest known name or an example."""
    with pytest.raises(BadExpression) as raised:
        parse_formula(text)
    assert raised.value.position == position
    assert word in raised.value.en
    assert word in raised.value.zh
    assert raised.value.zh != raised.value.en


def test_casts_name_formats_and_change_nothing():
    """Casts such as `.half()`, as in pasted notebook code, add a format to compare and do not change the formula."""
    for text, dtypes in (
        ("torch.tensor(70000.).half()", ("float16",)),
        ("np.float16(2048) + np.float16(1)", ("float16",)),
        ("torch.tensor([1., 2.], dtype=torch.bfloat16).sum()", ("bfloat16",)),
        ("x.to(torch.float8_e4m3fn).float()", ("float8_e4m3fn", "float32")),
    ):
        assert parse_formula(text).dtypes == dtypes
    assert read("torch.tensor(70000.).half()") == "70000"


def test_a_variable_that_must_be_a_vector_stands_for_two_numbers():
    """log(softmax(z)) can be analysed without values, as if z had two elements; given values replace these."""
    formula = parse_formula("log(softmax(z)) + z")
    assert to_sexpr(formula.tree) == "(add (log (softmax (vector z0 z1))) (vector z0 z1))"
    assert set(formula.vectors) == {"z"}
    given_vector = parse_formula("softmax(z)", {"z": parse_formula("[1000, 0]").tree})
    assert to_sexpr(given_vector.tree) == "(softmax (vector 1000 0))"
    assert not given_vector.vectors


@given(trees())
def test_reading_what_is_printed_gives_the_tree(tree):
    """Infix, and S-expressions: parse ∘ print is the identity on canonical trees."""
    assume(size(tree) <= MAX_NODES)
    assert parse_formula(infix(tree)).tree == tree
    assert from_sexpr(to_sexpr(tree)) == tree
    assert variables(parse_formula(infix(tree)).tree) == variables(tree)


@given(trees())
def test_every_tree_has_torch_code_and_latex(tree):
    """The code is an expression of Python; LaTeX has its braces in pairs."""
    ast.parse(torch_code(tree), mode="eval")
    assert latex(tree).count("{") == latex(tree).count("}")


_OPERATORS = {"add": operator.add, "sub": operator.sub, "mul": operator.mul, "div": operator.truediv}


def exactly(tree: Node) -> Fraction:
    """The exact value of an arithmetic expression in rational numbers."""
    if isinstance(tree, Number):
        return Fraction(tree.value)
    assert isinstance(tree, Call)
    values = [exactly(each) for each in tree.arguments]
    if tree.function == "neg":
        return -values[0]
    return values[0] ** int(values[1]) if tree.function == "pow" else _OPERATORS[tree.function](*values)


def as_python_reads(text: str) -> Fraction:
    """The value of the same text by Python's own grammar, with every literal a fraction."""

    class Exact(ast.NodeTransformer):
        def visit_Constant(self, node: ast.Constant) -> ast.AST:
            literal = ast.Constant(ast.get_source_segment(text, node) or "")
            return ast.Call(ast.Name("Fraction", ast.Load()), [literal], [])

    tree = ast.fix_missing_locations(Exact().visit(ast.parse(text, mode="eval")))
    return Fraction(eval(compile(tree, "formula", "eval"), {"Fraction": Fraction}))


@given(
    st.recursive(
        st.one_of(st.integers(0, 999).map(str), st.decimals(0, 99, places=2).map(str), st.just("1e-3")),
        lambda inner: st.one_of(
            st.builds(lambda a, sign, b: f"{a}{sign}{b}", inner, st.sampled_from(["+", "-", "*", "/", "+-"]), inner),
            inner.map(lambda text: f"({text})"),
            inner.map(lambda text: f"-({text})"),
            inner.map(lambda text: f"({text})**2"),
        ),
        max_leaves=8,
    )
)  # fmt: skip
def test_values_are_those_of_pythons_fractions(text):
    """Precedence, grouping and signs as Python reads them; decimals are exact."""
    try:
        expected = as_python_reads(text)
    except ZeroDivisionError:
        with pytest.raises(ZeroDivisionError):
            exactly(parse_formula(text).tree)
    else:
        assert exactly(parse_formula(text).tree) == expected


@given(
    st.text(max_size=60)
    | st.text(alphabet="0123456789.eE+-*/^%()[]{}|!,= x×²√½的加减乘除一十万log\\frac_", max_size=60)
)
def test_any_text_is_read_or_refused_with_a_place(text):
    """Any text is parsed, within the size limits, or raises `BadExpression` with a position in the text."""
    try:
        tree = parse_formula(text).tree
    except BadExpression as error:
        assert error.position is not None
        assert 0 <= error.position <= len(text)
    else:
        assert size(tree) <= MAX_NODES
        assert depth(tree) <= MAX_DEPTH


@pytest.mark.parametrize(
    "text",
    [
        "(" * 9_999, "-" * 9_999 + "x", "2**" * 3_000 + "2", "exp(" * 2_000 + "x" + ")" * 2_000, "1+" * 4_999 + "1",
        "[" * 5_000 + "]" * 5_000, "[" + "1," * 4_000 + "1]", "mish(" * 60 + "x" + ")" * 60, "|" * 10_000, "x" * 10_000,
        "9" * 10_000, "log " * 2_000 + "x", "√" * 10_000, "!" * 10_000, "的" * 10_000, "\\frac" * 1_500, "x." * 5_000,
        "一" * 10_000, "," * 10_000, "softmax(z)" + "+softmax(y)" * 700, "1" + "e" * 9_000,
        "a" * MAX_FORMULA_CHARACTERS + "(",
        "+".join(f"softmax(z{chr(97 + at)})" for at in range(20)), "1 " * 5_000, "5!" * 3_000, "{" * 10_000,
    ],
)  # fmt: skip
def test_hostile_formulas_are_refused(text):
    """Deep, long, wide or exploding formulas raise BadExpression and nothing else, also in a thread, whose stack is
    smaller.
    """
    outcome: list[object] = []

    def attempt() -> None:
        try:
            outcome.append(parse_formula(text))
        except BadExpression as error:
            outcome.append(error)
        except Exception as error:  # what a server must not see
            outcome.append(error)

    with running_threads([threading.Thread(target=attempt)]):
        until(lambda: outcome)
    assert isinstance(outcome[0], BadExpression), outcome


def test_towers_of_powers_and_factorials_are_read_and_not_computed():
    """Parsing evaluates nothing; the experiment, which evaluates them, has limits of its own."""
    assert read("9**9**9**9") == "(pow 9 (pow 9 (pow 9 9)))"
    assert read("factorial(1e9)") == "(factorial 1e9)"
    assert read("10^1000") == "1e1000"
    assert read("10^1001") == "(pow 10 1001)"


def test_what_is_within_the_bounds_is_read():
    """A sum and a nesting as deep as allowed, and a vector as long as allowed, are parsed."""
    terms = MAX_DEPTH - 1
    assert depth(parse_formula("+".join("x" * terms)).tree) == terms
    nested = MAX_NESTING - 1
    assert depth(parse_formula("exp(" * nested + "x" + ")" * nested).tree) == nested + 1
    assert size(parse_formula(f"[{','.join('1' * MAX_ELEMENTS)}]").tree) == MAX_ELEMENTS + 1
    assert sys.getrecursionlimit() == 1000  # the frames that a server's threads have too


def test_every_name_is_read_as_its_function():
    """Every name and alias in the table of functions is recognised, in upper case too."""
    for name, canonical in canonical_names().items():
        function = FUNCTIONS[canonical]
        if function.kind in ("elementwise", "map", "reduction") and not (
            function.arity > 1 and function.kind == "reduction"
        ):
            argument = "[x, 1]" if function.kind != "elementwise" else ", ".join("xyz"[: function.arity])
            if name != "where":
                assert read(f"{name}({argument})").startswith(f"({canonical} ")
                assert read(f"{name.upper()}({argument})").startswith(f"({canonical} ")


@each_case(
    "text", ["", " ", "(add 1)", "(add 1 2 3)", "(fly x)", "(add 1 2", "add 1 2", ")", "1/0", "(vector)", "(add 1 2) 3"]
)
def test_only_s_expressions_of_the_table_are_read(text):
    """S-expressions are passed to an experiment, so any other text is refused."""
    with pytest.raises(BadExpression):
        from_sexpr(text)


def test_values_and_ranges_are_exact():
    """Decimals, quotients, inf and ranges are parsed exactly and printed as they are parsed."""
    values = read_values("x=0.1, y=1/3 z=-1e3..1e3 w=inf")
    assert values == {
        "x": Fraction(1, 10),
        "y": Fraction(1, 3),
        "z": Range(Fraction(-1000), Fraction(1000)),
        "w": math.inf,
    }
    assert values_text(values) == "x=0.1 y=1/3 z=-1000..1000 w=inf"
    assert read_number_or_range("−5") == Fraction(-5)
    for text in ("x", "x=", "x=1 2", "x=1..1", "x=5..1", "x=1..inf", "x=1/0", "=1", "x=1e9999", "x=a"):
        with pytest.raises(BadExpression):
            read_values(text)
