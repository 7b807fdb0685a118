"""Preloaded last in a service's fork server: does once what otherwise the child of every run would have to do.

The first call of an operation finds its kernel and binds its symbols, which takes a child milliseconds. A collection of
garbage in a child would touch, and so copy, every object of torch: 20 ms.
"""

import gc
from contextlib import suppress

from qa_service.lab.kernel import collapse_private_memory, drop_library_pages, fill_free_memory
from qa_service.lab.worker import warm_up_torch

with suppress(RuntimeError):  # an operation that this torch does not have
    warm_up_torch()
gc.collect()
gc.freeze()
fill_free_memory()
collapse_private_memory()
drop_library_pages("r-xp")
