"""Two things timed in turn, A B A B …, so that a machine that slows down slows both."""

import statistics
import time
from collections.abc import Callable


def time_interleaved(things: dict[str, Callable[[], object]], *, rounds: int) -> dict[str, float]:
    """Times each thing `rounds` times in turn after one warm-up; prints and returns the medians in seconds."""
    times: dict[str, list[float]] = {name: [] for name in things}
    for at in range(rounds + 1):
        for name, thing in things.items():
            started = time.perf_counter()
            thing()
            if at:
                times[name].append(time.perf_counter() - started)
    medians = {name: statistics.median(each) for name, each in times.items()}
    base = next(iter(medians.values()))
    for name, each in times.items():
        spread = f"{min(each) * 1e3:9.1f} … {max(each) * 1e3:9.1f} ms"
        print(f"{name:34s} median {medians[name] * 1e3:9.1f} ms   {spread}   x{medians[name] / base:.2f}")
    return medians
