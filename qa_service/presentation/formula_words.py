"""The statuses of a formula's value in a format, and the faults of its steps, in words."""

from collections.abc import Mapping

from qa_service.model.values import Text

STATUS_TEXTS: Mapping[str, Text] = {
    "exact": Text("精确", "exact"),
    "rounded": Text("有舍入", "rounded"),
    "overflow": Text("溢出", "overflow"),
    "underflow": Text("下溢", "underflow"),
    "cancelled": Text("丢了数位", "digits lost"),
    "nan": Text("nan", "nan"),
}
ERROR_MECHANISM_TEXTS: Mapping[str, Text] = {
    "overflow": Text("在这里溢出", "overflows here"),
    "underflow": Text("在这里下溢", "underflows here"),
    "pole": Text("到了极点", "is at a pole"),
    "domain": Text("超出定义域", "is outside its domain"),
    "cancellation": Text("相减抵消", "cancels"),
    "absorbed": Text("加数被吞掉", "absorbs an addend"),
    "amplification": Text("放大了前面的误差", "amplifies the errors before it"),
    "": Text("出错", "goes wrong"),
}
BEYOND_FLOAT64_TEXT = Text("绝对值超过 1.8×10³⁰⁸，float64 也装不下", "beyond float64: larger in size than 1.8×10³⁰⁸")
"""The description of a finite value beyond the range of float64."""
