"""How wide a number of the text was when it was last measured, so that its place is kept until it is there."""

from collections.abc import Mapping

_WIDEST = 14
"""Characters; page.css has a class for each width up to this one."""
_seen: dict[tuple[str, str], int] = {}


def remember(entry_id: str, numbers: Mapping[str, str]) -> None:
    """Takes note of what stood in the text: `numbers` is "block.metric" to words."""
    for name, words in numbers.items():
        _seen[entry_id, name] = min(_WIDEST, len(words))


def of(entry_id: str, name: str) -> str:
    """Its characters as digits, or nothing if it was not measured since the service started."""
    return str(_seen.get((entry_id, name), ""))
