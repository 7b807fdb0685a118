"""Decides from the shape of a loss curve whether it diverges, and how: rises, loses what it learned, or jumps up."""

import math
from collections.abc import Sequence
from statistics import median

from qa_service.diagnosis.curves import end_level, noise_deviation, rolling_medians, share_ascending, start_level


def divergence_kind(values: Sequence[float]) -> str | None:
    """How a loss diverges; None if it does not.

    "rising": above where it began. "lost": it had fallen. "spiked": an early jump, from which it returns only to where
    it began.
    """
    level, last, spread = start_level(values), end_level(values), noise_deviation(values)
    smoothed = rolling_medians(values)
    best = min(smoothed)
    if _task_changes(smoothed, values[0]):
        return None
    if best > 0 and last >= 10 * best and last > 1.2 * level:
        return "rising" if best > 0.7 * level else "lost"
    if _hovers_high(values, values[0]):
        return "rising"
    if _rises(values, level, last, spread):
        return None if _levels_off(smoothed) else "rising"
    if _is_lost(values, smoothed, level, spread) or _stays_worse(smoothed, spread) or _forgets(smoothed, values[0]):
        return "lost"
    if _settles_high(smoothed, values[0]):
        return "lost"
    if _is_lost_for_long(smoothed, values[0]):
        return "lost"
    if _jumps_at_start(values, smoothed):
        return "spiked"
    return "rising" if _ends_worse(values, smoothed) else None


def _task_changes(smoothed: Sequence[float], first: float) -> bool:
    """Whether the loss falls tenfold, jumps, and falls to a fifth of the peak: its task or its weight has changed."""
    best = smoothed.index(min(smoothed))
    after = smoothed[best:]
    top = max(after)
    return 0 < 10 * smoothed[best] < first and 0 < median(after[-3:]) < 0.2 * top and after.index(top) < len(after) / 2


def _rises(values: Sequence[float], level: float, last: float, spread: float) -> bool:
    """Whether the loss rises by more than noise explains, through the second half, to well above the start."""
    half = values[len(values) // 2 :] if len(values) >= 10 else values[-5:]
    ends = median(half[: max(1, len(half) // 3)]), median(half[-max(1, len(half) // 3) :])
    climbs = ends[1] - ends[0] > max(3 * spread, 0.05 * abs(ends[0]))
    steady = len(values) >= 10 or share_ascending(half) == 1
    return climbs and steady and last > level + max(6 * spread, 0.3 * abs(level))


def _levels_off(smoothed: Sequence[float]) -> bool:
    """Whether the loss rises smoothly, slows down and ends below three times the start, as in adversarial training."""
    third = len(smoothed) // 3
    if third < 4 or smoothed[-1] > 3 * smoothed[0] or share_ascending(smoothed) < 0.75:
        return False
    return smoothed[-1] - smoothed[2 * third] < 0.8 * (smoothed[2 * third] - smoothed[third])


def _hovers_high(values: Sequence[float], level: float) -> bool:
    """Whether most of the second half lies far above the start."""
    half = sorted(values[len(values) // 2 :])
    return len(values) >= 8 and level > 0 and half[len(half) // 5] > 1.5 * level and median(half) > 2 * level


def _is_lost(values: Sequence[float], smoothed: Sequence[float], level: float, spread: float) -> bool:
    """Whether most of what had been learned is lost, and is not learned again."""
    best = min(smoothed)
    gained = level - best
    if len(values) < 8 or gained < max(6 * spread, 0.1 * abs(level)):
        return False
    after = list(smoothed[smoothed.index(best) + 1 :])
    high = next((index for index in range(len(after)) if all(v > best + 0.6 * gained for v in after[index:])), None)
    if high is None or len(after) - high < 5:
        return False
    tail = after[high + 1 :]
    third = max(1, len(tail) // 3)
    return median(tail[-third:]) > median(tail[:third]) - max(0.05 * gained, 2 * spread / math.sqrt(third))


def _stays_worse(smoothed: Sequence[float], spread: float) -> bool:
    """Whether the last fifth at least is clearly above the best, and does not fall again as after a harder task."""
    best = min(smoothed)
    after = smoothed[smoothed.index(best) + 1 :]
    far = max(0.25 * abs(best), 8 * spread)
    high = next((index for index in range(len(after)) if all(v > best + far for v in after[index:])), None)
    if high is None or len(after) - high < max(8, len(smoothed) // 5) or best <= 0:
        return False
    tail = after[high + 1 :]
    third = len(tail) // 3
    return median(tail[-third:]) > median(tail[:third]) - 2 * spread / math.sqrt(third)


def _forgets(smoothed: Sequence[float], first: float) -> bool:
    """Whether the loss returns from almost nothing to a good part of the first loss, for the last sixth at least."""
    best = min(smoothed)
    after = smoothed[smoothed.index(best) + 1 :]
    tail = after[-max(6, len(smoothed) // 6) :]
    return len(after) >= len(tail) >= 6 and 0 < 20 * best < median(tail) and median(tail) > 0.25 * first > 0


def _settles_high(smoothed: Sequence[float], first: float) -> bool:
    """Whether the loss, once almost nothing, is back above half of the first and hardly falls in the last third."""
    best = min(smoothed)
    sixth = len(smoothed) // 6
    if sixth < 5 or not 0 < 8 * best < 0.5 * first:
        return False
    before, tail = smoothed[-2 * sixth : -sixth], smoothed[-sixth:]
    return min(before) > 8 * best and median(tail) > 0.5 * first and median(tail) > 0.85 * median(before)


def _is_lost_for_long(smoothed: Sequence[float], first: float) -> bool:
    """Whether the loss, once a tenth of the first loss, is never below four tenths of it in the last third."""
    tail = smoothed[-(len(smoothed) // 3) :]
    return len(smoothed) >= 15 and 0 < 10 * min(smoothed) < first and min(tail) > 0.4 * first


def _ends_worse(values: Sequence[float], smoothed: Sequence[float]) -> bool:
    """Whether the whole second half is above the start, by more than noise explains, and nothing was learned before."""
    half = values[len(values) // 2 :]
    level = max(median(values[:3]), values[0])
    if len(values) < 30 or level <= 0 or min(smoothed) < 0.6 * level:
        return False
    return median(half) - 2.5 * noise_deviation(values) / math.sqrt(len(half)) > 1.1 * level


def _jumps_at_start(values: Sequence[float], smoothed: Sequence[float]) -> bool:
    """Whether the loss is far above its first value early on, and never clearly below it."""
    far = next((index for index, value in enumerate(values) if value > 5 * values[0] > 0), len(values))
    stays = min(smoothed) > 0.7 * values[0] and median(values[-5:]) > 0.75 * values[0]
    if len(values) >= 15 and median(values[-len(values) // 5 :]) > 0.4 * values[0] and max(values) > 20 * values[0]:
        return far < 0.3 * len(values)
    return len(values) >= 10 and far < 0.3 * len(values) and stays


def grows_a_hundredfold(values: Sequence[float]) -> bool:
    """For a loss that need not fall: whether its last five values rise to over 100 times the usual size and 1000."""
    tail = values[-5:]
    usual = median(abs(value) for value in values[: max(3, len(values) // 2)])
    return share_ascending(tail) == 1 and usual > 0 and tail[-1] > 100 * usual and tail[-1] > 1e3
