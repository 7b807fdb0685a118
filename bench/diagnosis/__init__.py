"""How well a sick run is diagnosed: injected faults, healthy runs that look alarming, public threads."""

from collections.abc import Sequence


def diagnosis(options: Sequence[str] = ()) -> None:
    """Right causes and false alarms of the diagnosis and of seven published rule sets, on the same runs."""
    from bench.diagnosis.tables import main

    main(options)
