"""Numbers as sentences quote them: three digits, per cent, ordinals, words, a true minus sign."""

import math

from checking import each_case

from qa_service.presentation.numbers import format_in_text


@each_case(
    ("value", "form", "zh", "en"),
    [
        (0.0233333, "percent", "2.33%", "2.33 %"),
        (1, "percent", "100%", "100 %"),
        (218, "ordinal", "第 218", "218th"),
        (1, "ordinal", "第 1", "1st"),
        (12, "ordinal", "第 12", "12th"),
        (22.0, "ordinal", "第 22", "22nd"),
        (113, "ordinal", "第 113", "113th"),
        (1, "yes_no", "是", "yes"),
        (False, "yes_no", "否", "no"),
        (None, "", "从未", "never"),
        (None, "percent", "从未", "never"),
        (-2.0216, "", "−2.02", "−2.02"),
        (-0.5, "percent", "−50%", "−50 %"),
        (4.0656e17, "", "4.07×10¹⁷", "4.07×10¹⁷"),
        (1e-7, "", "1×10⁻⁷", "1×10⁻⁷"),
        (math.inf, "", "inf", "inf"),
        (-math.inf, "percent", "−inf", "−inf"),
        (math.nan, "ordinal", "nan", "nan"),
        ("float16", "", "float16", "float16"),
        ("non-zero", "", "non-zero", "non-zero"),
        (2.5, "ordinal", "2.5", "2.5"),
        (1000, "", "1000", "1000"),
    ],
)
def test_a_value_in_a_sentence(value, form, zh, en):
    assert format_in_text(value, "zh", form) == zh
    assert format_in_text(value, "en", form) == en
