"""Charts: titled axes, few labelled series, a separate strip for inf and nan, and a mark at the deciding point."""

import math
import re
from itertools import pairwise

from checking import each_case
from shipped import EXPERIMENTS

from qa_service.model import LANGS
from qa_service.presentation import chart
from qa_service.presentation.chart_labels import (
    CHARACTER_PIXELS,
    LINE_PIXELS,
    WIDE_CHARACTER_PIXELS,
    LabelLayout,
    text_box,
    width_of,
    without_common_words,
    wrap_label,
)
from qa_service.presentation.chart_layers import by_height, nice_domain, padded_domain, tick_values

PRODUCTS = [{"step": step, "product": 1.5**step, "sum": 1.5 * step} for step in range(1, 101)]


def layers_of(spec, kind):
    """The layers with marks of this kind."""
    return [layer for layer in spec.get("layer", ()) if layer["mark"] == kind or layer["mark"].get("type") == kind]


def share_of_height(channel):
    """The vertical position of something whose height is given as a share of the plot's."""
    return float(channel["value"]["expr"].removeprefix("height * "))


@each_case("lang", LANGS)
def test_every_quantitative_axis_has_a_title(lang):
    """In every demo, also where several columns share the y axis."""
    for slug, experiment in EXPERIMENTS.items():
        spec = chart.build_spec(experiment, (), lang)
        for channel in ("x", "y"):
            axis = spec["encoding"].get(channel, {})
            if axis.get("type") == "quantitative":
                assert axis.get("title"), (slug, channel)


def test_two_series_are_named_at_their_ends():
    """With their titles, at the last point of each, and without a legend; the x axis leaves room for the names."""
    spec = chart.build_spec(EXPERIMENTS["pow_vs_sum"], PRODUCTS, "en")
    labels = [layer["data"]["values"][0] for layer in layers_of(spec, "text")]
    assert {(each["name"], each["step"], each["value"]) for each in labels} == {
        ("product", 100.0, 1.5**100),
        ("sum", 100.0, 150.0),
    }
    base = spec["layer"][0]["encoding"]
    assert base["color"]["legend"] is None
    assert base["x"]["scale"]["domain"][1] > 110
    assert max(base["x"]["axis"]["values"]) == 100


def test_an_entry_puts_forward_some_series():
    """An entry can select some of the series; the others are left out of its chart."""
    rows = [{"step": 1, "product": 2.0, "sum": 2.0}, {"step": 2, "product": 4.0, "sum": 4.0}]
    spec = chart.build_spec(EXPERIMENTS["pow_vs_sum"], rows, "en", series=("product",))
    assert spec["transform"][0]["fold"] == ["product"]
    assert spec["encoding"]["y"]["title"] == "product (log scale)"


def test_the_strip_is_above_every_finite_value():
    """The highest finite value lies below the rows of inf and nan, each of which has a height of its own."""
    rows = [*PRODUCTS[:3], {"step": 4, "product": math.inf, "sum": 6.0}, {"step": 5, "product": math.nan, "sum": 7.5}]
    spec = chart.build_spec(EXPERIMENTS["pow_vs_sum"], rows, "en")
    heights = {
        layer["data"]["values"][0]["word"]: 240 * share_of_height(layer["encoding"]["y"])
        for layer in layers_of(spec, "point")
    }
    assert heights["inf"] != heights["nan"]
    low, high = spec["layer"][0]["encoding"]["y"]["scale"]["domain"]
    highest = 240 * (1 - math.log(7.5 / low) / math.log(high / low))  # pixels from the top
    assert highest > max(heights.values())


def test_no_axis_reaches_beyond_what_can_be_read():
    """Values that are too large for the axis are marked at its edge."""
    rows = [{"step": 1, "product": 1.0, "sum": 1.0}, {"step": 2, "product": 1e280, "sum": 2.0}]
    spec = chart.build_spec(EXPERIMENTS["pow_vs_sum"], rows, "en")
    assert spec["layer"][0]["data"]["values"][1]["product"] is None
    (mark,) = layers_of(spec, "point")
    assert mark["data"]["values"][0]["word"] == ">10⁴⁵"
    assert spec["layer"][0]["encoding"]["y"]["scale"]["domain"][1] < 100


def test_a_chart_without_finite_values_has_no_made_up_ticks():
    """Only the strip for inf and nan remains."""
    rows = [{"step": step, "product": math.nan, "sum": math.inf} for step in (1, 2)]
    spec = chart.build_spec(EXPERIMENTS["pow_vs_sum"], rows, "en")
    assert spec["layer"][0]["encoding"]["y"]["axis"]["values"] == []


@each_case(("place", "align"), [(10.0, "left"), (99.0, "right")])
def test_the_deciding_point_is_marked(place, align):
    """A vertical line marks it, labelled on the side where there is room."""
    spec = chart.build_spec(EXPERIMENTS["pow_vs_sum"], PRODUCTS, "en", mark=(place, "overflow at step 10"))
    (rule,) = layers_of(spec, "rule")
    assert rule["data"]["values"][0]["step"] == place
    (label,) = [layer for layer in layers_of(spec, "text") if layer["data"]["values"][0]["name"].startswith("overflow")]
    assert label["mark"]["align"] == align


def test_labels_of_curves_that_end_together_do_not_overlap():
    """They are a line apart, and none is below the axis."""
    flat = [(0.0, 240.0), (300.0, 240.0)]
    layout = LabelLayout([flat, flat, flat], 480, 240)
    shifts = sorted(layout.offsets_at_ends([(name, flat[-1]) for name in ("first", "second", "third")]))
    assert all(below - above >= LINE_PIXELS for above, below in pairwise(shifts))
    assert shifts[-1] <= 0


def test_a_label_keeps_clear_of_the_curves_that_go_on_beside_it():
    """The label of a curve that ends early is above or below a curve that continues at the same height."""
    ends, goes_on = [(0.0, 10.0), (100.0, 120.0)], [(0.0, 120.0), (400.0, 120.0)]
    layout = LabelLayout([ends, goes_on], 480, 240)
    (shift,) = layout.offsets_at_ends([("gradient norm", ends[-1])])
    assert abs(shift) > LINE_PIXELS / 2
    assert LabelLayout([ends], 480, 240).offsets_at_ends([("gradient norm", ends[-1])]) == [0]


def test_a_long_name_is_written_in_two_lines():
    assert wrap_label("brightness in the image") == "brightness\nin the image"
    assert wrap_label("loss") == "loss" and wrap_label("得到的亮度") == "得到的亮度"
    assert wrap_label("第一层梯度的范数（对数）") == "第一层梯度的\n范数（对数）"
    assert width_of(wrap_label("weight of real positions: divided by their sum")) <= 17 * CHARACTER_PIXELS
    assert width_of("ab\n中文字") == 3 * WIDE_CHARACTER_PIXELS


def test_what_names_have_in_common_is_said_once():
    """Words that all names begin or end with move to the axis title; if one name lacks them, they stay."""
    assert without_common_words(["naive: error", "stable: error"]) == ("error", ["naive", "stable"])
    assert without_common_words(["梯度余弦，无 BN", "梯度余弦，BN"]) == ("梯度余弦", ["无 BN", "BN"])
    names = ["float16, scaled", "float16, not scaled", "float32"]
    assert without_common_words(names) == ("", names)


def test_names_make_room_for_each_other():
    """The lower one fits above the axis only if the other one moves up."""
    low, lower = [(0.0, 100.0), (200.0, 102.0)], [(0.0, 100.0), (200.0, 128.0)]
    labels = [("statistics\npooled", low[-1]), ("local\nstatistics", lower[-1])]
    first, second = (
        text_box(name, 206.0, end[1] + shift)
        for (name, end), shift in zip(labels, LabelLayout([low, lower], 400, 128).offsets_at_ends(labels), strict=True)
    )
    assert second.bottom <= 128 and not first.overlaps(second)


def test_names_that_fill_the_plot_are_stacked():
    """Three names of three lines fit into 128 pixels only if each moves away from the end of its curve."""
    ends = [(200.0, 25.0), (200.0, 26.0), (200.0, 106.0)]
    labels = [("a\nb\nc", end) for end in ends]
    shifts = LabelLayout([[(0.0, 25.0), end] for end in ends], 400, 128).offsets_at_ends(labels)
    boxes = sorted(text_box(name, 206.0, end[1] + shift) for (name, end), shift in zip(labels, shifts, strict=True))
    assert not any(one.overlaps(other) for one, other in pairwise(boxes))
    assert all(box.bottom <= 128 for box in boxes)


def test_a_deciding_point_without_room_has_no_label():
    """Where every place for the label is taken, it is left out."""
    full = [text_box("x" * 80, 0.0, float(middle)) for middle in range(0, 240, LINE_PIXELS)]
    assert LabelLayout([], 480, 240, taken=full).place_beside_rule("overflow", 240.0)[2] is False


def test_a_name_stays_below_the_strip_and_off_its_labels():
    """It moves down from a curve that ends at the strip, and past a label that is there already."""
    ends_high = [(0.0, 200.0), (300.0, 30.0)]
    taken = text_box("nan", 310.0, 40.0)
    (shift,) = LabelLayout([ends_high], 480, 240, top=28.0, taken=[taken]).offsets_at_ends([("weights", ends_high[-1])])
    placed = text_box("weights", 306.0, 30.0 + shift)
    assert placed.top >= 28.0 and not placed.overlaps(taken)


def test_a_label_has_the_place_for_the_height_of_its_plot():
    assert by_height([3, 3, 3, 3]) == 3
    chosen = by_height(["a", "b", "c", "d"])["expr"]
    assert chosen == 'height < 165 ? "a" : height < 205 ? "b" : height < 240 ? "c" : "d"'


@each_case(("heights", "log"), [([0.3, 0.8], True), ([3e-5, 80.0], True), ([0.0, 97.0], False), ([-3.0, 2.2], False)])
def test_a_domain_is_round_and_holds_the_curves(heights, log):
    low, high = nice_domain(heights, log=log, from_zero=False)
    assert low <= min(heights) and high >= max(heights)
    assert high - low <= 3 * (max(heights) - min(heights)) or log


@each_case(
    ("values", "log"), [([1.0, 1e18], True), ([0.0, 97.0], False), ([-3.0, 2.0], False), ([5.0], False), ([2.0], True)]
)
def test_ticks_are_few_and_where_the_data_are(values, log):
    """There are one to seven ticks, none above the largest value, none below both the smallest value and 0."""
    ticks = tick_values(values, log=log)
    assert 1 <= len(ticks) <= 7
    assert max(ticks) <= max(values) * (1 + 1e-9)
    assert min(ticks) >= min(*values, 0.0)


@each_case("heights", [[1.0, 1.0], [-5.0, 5.0], []])
def test_a_domain_is_never_empty(heights):
    """A constant series gets an axis of positive length too."""
    low, high = padded_domain(heights, log=False, above=0.2, from_zero=False)
    assert low < high


def test_the_deciding_label_keeps_clear_of_the_curves():
    """It is at the bottom where there is room, higher where curves lie low, and never covers another label."""
    low, high = [(0.0, 225.0), (480.0, 225.0)], [(0.0, 5.0), (480.0, 5.0)]
    name, across = "overflow at step 10", {40.0: False, 440.0: True}
    for x, left in across.items():
        assert LabelLayout([low], 480, 240).place_beside_rule(name, x) == (left, LINE_PIXELS, True)
        assert LabelLayout([high], 480, 240).place_beside_rule(name, x) == (left, 240 - LINE_PIXELS, True)
    named = LabelLayout([high], 480, 240)
    _, below, _ = named.place_beside_rule(name, 40.0)
    assert abs(named.place_beside_rule(name, 40.0)[1] - below) >= LINE_PIXELS


def test_the_deciding_label_is_placed_for_a_chart_of_any_height():
    spec = chart.build_spec(EXPERIMENTS["pow_vs_sum"], PRODUCTS, "en", mark=(10.0, "here"))
    (label,) = [layer for layer in layers_of(spec, "text") if layer["data"]["values"][0]["name"] == "here"]
    shares = re.findall(r"0\.\d+", label["encoding"]["y"]["value"]["expr"])
    assert len(shares) == 4
    assert all(0 < float(share) < 1 for share in shares)


@each_case("kept", [0, 1, 2])
def test_a_chart_of_few_rows_is_drawn(kept):
    """Charts of a single point, or of none, are drawn too."""
    spec = chart.build_spec(EXPERIMENTS["pow_vs_sum"], PRODUCTS[:kept], "en", mark=(1.0, "here"))
    named = [layer["data"]["values"][0]["name"] for layer in layers_of(spec, "text")]
    assert len(named) == (3 if kept else 0)
