"""Remembers how each number of a text was last shown, so that the page can reserve its width before it is measured."""

from collections.abc import Mapping

_WIDEST_NUMBER = "0.0000×10⁻⁰⁰"
"""As wide as most formatted numbers get."""
_COUNT_UNITS, _WIDEST_COUNT = frozenset({"step", "epoch", "unit", "bit", "terms", "layer", "sample"}), "0000"
_last_shown: dict[tuple[str, str], str] = {}


def remember_widths(entry_id: str, numbers: Mapping[str, str]) -> None:
    """Remembers the formatted numbers of an entry's text; `numbers` maps "block.metric" to text."""
    for name, text in numbers.items():
        _last_shown[entry_id, name] = text


def width_hint(entry_id: str, name: str, unit: str) -> str:
    """The number as last shown; a number of maximal width if it was not measured since the service started."""
    return _last_shown.get((entry_id, name), _WIDEST_COUNT if unit in _COUNT_UNITS else _WIDEST_NUMBER)
