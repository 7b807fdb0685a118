"""Formulas as text for a terminal."""

from checking import each_case

from qa_service.fronts.terminal.formulas import latex_to_unicode


@each_case(
    ("latex", "text"),
    [
        (r"\frac{z-\mu}{\sigma}", "(z-μ)/σ"), (r"\sqrt{\frac{2}{\pi n}}", "√(2/(πn))"), (r"\tfrac12", "1/2"),
        (r"\Gamma(\frac{n+1}{2})", "Γ((n+1)/2)"), (r"\frac{\partial h_{n}}{\partial h_{0}}", "∂h_n/∂h_0"),
        (r"\frac{|a|+|b|}{|a-b|}", "(|a|+|b|)/|a-b|"), (r"\frac{\sigma^2}{1-p}", "σ^2/(1-p)"),
        (r"h_{l+1}=h_l+f(h_l)", "h_(l+1)=h_l+f(h_l)"), (r"\frac{\hat m}{\sqrt{\hat v}+\epsilon}", "m̂/(√(v̂)+ϵ)"),
    ],
)  # fmt: skip
def test_a_formula_on_one_line_keeps_its_meaning(latex, text):
    """Numerators and denominators of several terms get parentheses."""
    assert latex_to_unicode(latex) == text
