"""The numbers of each text as they were last measured, so that just their room is kept until they are there again."""

from collections.abc import Mapping

_WIDEST_NUMBER = "0.0000×10⁻⁰⁰"
"""What most numbers are no wider than."""
_COUNT_UNITS, _WIDEST_COUNT = frozenset({"step", "epoch", "unit", "bit", "terms", "layer", "sample"}), "0000"
_last_shown: dict[tuple[str, str], str] = {}


def remember_widths(entry_id: str, numbers: Mapping[str, str]) -> None:
    """Takes note of what stood in the text: `numbers` is "block.metric" to words."""
    for name, words in numbers.items():
        _last_shown[entry_id, name] = words


def width_hint(entry_id: str, name: str, unit: str) -> str:
    """The number in words; one as wide as may be if it was not measured since the service started."""
    return _last_shown.get((entry_id, name), _WIDEST_COUNT if unit in _COUNT_UNITS else _WIDEST_NUMBER)
