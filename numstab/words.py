"""The words of results, in both languages."""

from qa_service.model import Text

VERDICT_MARKS = {"holds": "✓", "fails": "✗", "unknown": "?", "elsewhere": "·"}
"""Verdict → its sign, as in the terminal."""

RESULT_WORDS = {
    "holds": Text("成立", "holds"),
    "fails": Text("不成立", "fails"),
    "unknown": Text("无法判定", "unknown"),
    "elsewhere": Text("在这组参数下不适用", "does not apply at these parameters"),
    "do": Text("怎么做", "What to do"),
    "tell": Text("怎么分辨", "How to tell"),
    "why": Text("为什么", "Why"),
    "scope": Text("适用范围", "Scope"),
    "metric": Text("指标", "metric"),
    "value": Text("测得", "measured"),
    "format": Text("格式", "format"),
    "error": Text("误差（ulp）", "error (ulp)"),
    "outcome": Text("结果", "outcome"),
    "exact": Text("精确值", "exact value"),
    "stable": Text("更稳的写法", "stable form"),
    "breaks": Text("在哪里坏掉", "breaks at"),
    "never": Text("没有找到", "none found"),
    "gradient": Text("梯度", "gradient"),
    "seconds": Text("秒", "s"),
    "evidence": Text("其余证据", "Further evidence"),
    "receipt": Text("收据", "Receipt"),
    "rows": Text("数据", "Data"),
    "related": Text("相关问题", "Related questions"),
    "cure": Text("怎么治", "cure"),
    "because": Text("依据", "because"),
    "metrics": Text("指标", "Metrics"),
    "charts": Text("每次运行的图", "The chart of each run"),
}
