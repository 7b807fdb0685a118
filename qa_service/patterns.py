"""Regular expressions that are compiled when they are first used.

The modules that read questions and logs have 600 of them. To compile all takes longer than to answer a question, which
uses some fifty.
"""

import re
from typing import Any, cast


class _LazyPattern:
    """Stands for a `re.Pattern`, which it makes when it is first asked for anything but its text. Thread-safe."""

    def __init__(self, pattern: str, flags: int) -> None:
        self.pattern = pattern
        self._compile_flags = flags
        self._compiled: re.Pattern[str] | None = None

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        if self._compiled is None:
            self._compiled = re.compile(self.pattern, self._compile_flags)
        value = getattr(self._compiled, name)
        setattr(self, name, value)  # the next time it is found without this function
        return value

    def __repr__(self) -> str:
        return f"lazy_pattern({self.pattern!r}, {self._compile_flags})"


def lazy_pattern(pattern: str, flags: int = 0) -> re.Pattern[str]:
    """As `re.compile`, which is called at the first use; an error in the pattern is raised then.

    The functions of `re` itself do not accept the result: give them the pattern's text or a compiled pattern.
    """
    return cast("re.Pattern[str]", _LazyPattern(pattern, flags))
