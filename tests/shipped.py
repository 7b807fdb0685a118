"""The shipped experiments and entries, for tests that need no service: read once per process, from the cache of parsed
files where numstab has parsed the same texts before on this machine.
"""

from functools import cache

from qa_service.experiments.spec import load_specs
from qa_service.knowledge.library import Library
from qa_service.parse_cache import ParseCache
from qa_service.settings import Settings

_SETTINGS = Settings()
_PARSED = ParseCache(_SETTINGS.cache, f"{_SETTINGS.kb}\0{_SETTINGS.demos}")  # as in Knowledge.read
EXPERIMENTS = load_specs(_SETTINGS.demos, _PARSED)


@cache
def library() -> Library:
    """All entries."""
    found = Library.read(_SETTINGS.kb, EXPERIMENTS, _PARSED)
    _PARSED.save()
    return found
