"""How well a sick run is diagnosed: injected faults, healthy runs that look alarming, public threads."""

import itertools
import sys


def figures() -> None:
    """Right causes and false alarms of the diagnosis and of seven published rule sets, on the same runs."""
    from bench.diagnosis.tables import main  # torch, and the runs

    main(list(itertools.dropwhile(lambda argument: not argument.startswith("-"), sys.argv[1:])))
