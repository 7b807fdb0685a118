"""Charts as SVG, drawn without a browser, with the colours and tick labels of the page on a white background.

Vega-Lite 5 and 6 draw them alike, which a test checks. The first picture takes a second, further ones a tenth; the
library holds the GIL meanwhile, so a server draws in a process of its own.
"""

from collections.abc import Mapping
from typing import Any

SCHEMA_V5 = "https://vega.github.io/schema/vega-lite/v5.json"
VEGA_LITE_VERSIONS = ("5.21", "6.4")
"""Versions of Vega-Lite, of the oldest and the newest schema, that draw the same picture."""
SERIES_COLOURS = ("#0a5a78", "#b8400c", "#5b7f1a", "#7c3aed", "#b0307a", "#7a5c00", "#00796b", "#6b7280")
"""Colours of series, all legible on white."""
CHART_FONT = "'Noto Sans', 'PingFang SC', 'Microsoft YaHei', 'Noto Sans CJK SC', 'Source Han Sans SC', sans-serif"
_INK, _MUTED, _LINE = "#171c22", "#5b636c", "#e2dfd8"
_LABEL_PIXELS = 12
_LOG10 = "(log(abs(datum.value)) / LN10)"
_IS_POWER_OF_TEN = f"abs({_LOG10} - round({_LOG10})) < 1e-9"


def _power_of_ten(exponent: str) -> str:
    """A Vega expression for the text of a power of ten with superscript digits; `exponent` is an expression, too."""
    raised = f"replace(format({exponent}, 'd'), '−', '⁻')"
    for digit, above in enumerate("⁰¹²³⁴⁵⁶⁷⁸⁹"):
        raised = f"replace({raised}, /{digit}/g, '{above}')"
    return f"'10' + {raised}"


_LOG_LABEL = (
    f"!datum.label ? '' : abs({_LOG10}) < 4 ? format(datum.value, ',.4~g')"
    f" : {_IS_POWER_OF_TEN} ? {_power_of_ten(f'round({_LOG10})')}"
    f" : format(datum.value / pow(10, floor({_LOG10})), '.2~g') + '×' + {_power_of_ten(f'floor({_LOG10})')}"
)
_GRID_OPACITY = {"condition": {"test": f"!({_IS_POWER_OF_TEN})", "value": 0.35}, "value": 1}
_LINEAR_LABEL = (
    "datum.value && (abs(datum.value) >= 1e6 || abs(datum.value) < 1e-3)"
    " ? replace(datum.label, /e[+]?(.*)/, '×10^$1') : format(datum.value, ',.6~g')"
)


def static_spec(spec: Mapping[str, Any]) -> dict[str, Any]:
    """A chart (`chart.build_spec`) under the schema of Vega-Lite 5, with colours, fonts and labels of its own."""
    layers = {"layer": [_with_axis_labels(unit) for unit in spec["layer"]]} if "layer" in spec else {}
    return {**_with_axis_labels(spec), **layers, "$schema": SCHEMA_V5, "config": _CONFIG}


def to_svg(spec: Mapping[str, Any], version: str = VEGA_LITE_VERSIONS[0]) -> str:
    """The picture of a `static_spec`, in the chart's own size."""
    import vl_convert

    svg: str = vl_convert.vegalite_to_svg(dict(spec), vl_version=version)
    return svg


def _with_axis_labels(unit: Mapping[str, Any]) -> dict[str, Any]:
    """The unit with tick labels: powers of ten such as 10⁻³⁰ on logarithmic axes, else without trailing zeros."""
    encoding = dict(unit.get("encoding", {}))
    for name in ("x", "y"):
        channel = encoding.get(name, {})
        axis = channel.get("axis", {})
        if channel.get("type") != "quantitative" or axis is None or "labelExpr" in axis:
            continue
        is_log = channel.get("scale", {}).get("type") == "log"
        labels = {"labelExpr": _LOG_LABEL, "gridOpacity": _GRID_OPACITY} if is_log else {"labelExpr": _LINEAR_LABEL}
        encoding[name] = {**channel, "axis": {**axis, **labels}}
    return {**unit, "encoding": encoding} if encoding else dict(unit)


_TEXT_STYLE = {
    "labelColor": _MUTED,
    "titleColor": _MUTED,
    "labelFont": CHART_FONT,
    "titleFont": CHART_FONT,
    "labelFontSize": _LABEL_PIXELS,
    "titleFontSize": _LABEL_PIXELS,
    "titleFontWeight": "normal",
}
_CONFIG: dict[str, Any] = {
    "background": "white",
    "font": CHART_FONT,
    "axis": {
        **_TEXT_STYLE,
        "gridColor": _LINE,
        "domainColor": _MUTED,
        "tickColor": _LINE,
        "labelOverlap": "greedy",
        "labelSeparation": 3,
    },
    "legend": {**_TEXT_STYLE, "orient": "top", "labelLimit": 30 * _LABEL_PIXELS, "columns": 3},
    "header": _TEXT_STYLE,
    "view": {"stroke": None},
    "mark": {"color": SERIES_COLOURS[0]},
    "line": {"strokeWidth": 2.5},
    "rule": {"color": _MUTED},
    "text": {"font": CHART_FONT, "fontSize": _LABEL_PIXELS, "fill": _INK, "color": _INK},
    "range": {"category": list(SERIES_COLOURS)},
}
