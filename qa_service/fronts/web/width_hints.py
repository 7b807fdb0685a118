"""The numbers of each text as they were last measured, so that just their room is kept until they are there again."""

from collections.abc import Mapping

_LIKELY = "0.0000×10⁻⁰⁰"
"""What most numbers are no wider than."""
_COUNTED, _COUNT = frozenset({"step", "epoch", "unit", "bit", "terms", "layer", "sample"}), "0000"
_last: dict[tuple[str, str], str] = {}


def remember_width(entry_id: str, numbers: Mapping[str, str]) -> None:
    """Takes note of what stood in the text: `numbers` is "block.metric" to words."""
    for name, words in numbers.items():
        _last[entry_id, name] = words


def of(entry_id: str, name: str, unit: str) -> str:
    """The number in words; one as wide as may be if it was not measured since the service started."""
    return _last.get((entry_id, name), _COUNT if unit in _COUNTED else _LIKELY)
