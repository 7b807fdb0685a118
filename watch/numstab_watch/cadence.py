"""Schedules measurements: at every step at first, then as often as a share of the run's time allows."""

import time


class MeasurementSchedule:
    """Decides for each step whether a measurement is due, from what it has cost so far.

    The first `dense` steps are; later ones if `every` divides them, or, where `every` is None, if the time spent since
    then stays below `share` of the time that has passed. So that short runs are seen too, the gap to the measurement
    before is never more than `growth` − 1 of its step.
    """

    def __init__(self, share: float, *, dense: int, growth: float, every: int | None = None) -> None:
        self._share = share
        self._dense = dense
        self._growth = growth
        self._every = every
        self._spent = 0.0
        self._cost = 0.0
        self._since: float | None = None
        self._last = -1

    def due(self, step: int) -> bool:
        """Whether to measure at this step."""
        if step < self._dense:
            return self._take(step)
        now = time.perf_counter()
        if self._since is None:
            self._since = now
        if self._every is not None:
            return step % self._every == 0 and self._take(step)
        affordable = self._spent + self._cost <= self._share * (now - self._since)
        if affordable or step >= self._last * self._growth + 1:
            return self._take(step)
        return False

    def spend(self, seconds: float) -> None:
        """Adds the seconds that a measurement took to what has been spent; the next is expected to take as long."""
        self._cost = seconds
        if self._since is not None:
            self._spent += seconds

    def _take(self, step: int) -> bool:
        self._last = step
        return True
