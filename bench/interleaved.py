"""Times alternatives in turn, A B A B …, so that a slowdown of the machine affects all of them."""

import statistics
import time
from collections.abc import Callable


def time_interleaved(alternatives: dict[str, Callable[[], object]], *, rounds: int) -> dict[str, float]:
    """Calls each alternative `rounds` times after one warm-up; prints and returns the medians in seconds."""
    times: dict[str, list[float]] = {name: [] for name in alternatives}
    for round_ in range(rounds + 1):
        for name, call in alternatives.items():
            started = time.perf_counter()
            call()
            if round_:
                times[name].append(time.perf_counter() - started)
    medians = {name: statistics.median(each) for name, each in times.items()}
    base = next(iter(medians.values()))
    for name, each in times.items():
        spread = f"{min(each) * 1e3:9.1f} … {max(each) * 1e3:9.1f} ms"
        print(f"{name:34s} median {medians[name] * 1e3:9.1f} ms   {spread}   x{medians[name] / base:.2f}")
    return medians
