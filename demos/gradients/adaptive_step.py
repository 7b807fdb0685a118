"""An adaptive solver's “underflow in dt”: the solution blows up or is nan, and no tolerance and no smaller step helps.

y(0) = 1, t from 0 to `t_end`, by the embedded Runge–Kutta pair of Dormand and Prince (5(4)) in float64. After each
trial step the error over (1e-9 + `tolerance`·|y|) decides: accept if it is at most 1, next step 0.9·error^(−1/5) times
as long (at least 0.2, at most 10 times); a step so short that t + dt equals t, or that is nan, ends the run, as
torchdiffeq's “underflow in dt”. `kind`, with `rate` k: blow-up y' = k y², whose solution 1/(1 − k t) is infinite at
t = 1/k; root y' = −k √y, which is 0 at t = 2/k and then takes the root of a negative number (nan); stiff
y' = −k (y − cos t), steep but bounded. fixed: the same equation by classical Runge–Kutta with 100 equal steps, which no
check stops. Nothing is random. Source: Dormand & Prince 1980; Hairer, Nørsett & Wanner 1993, Solving ODEs I.
"""

import math
from collections.abc import Callable, Generator
from typing import Literal

TITLE = {"zh": "自适应步长缩到 0", "en": "An adaptive step shrinks to nothing"}
PARAMS = {
    "kind": {"zh": "哪种方程", "en": "which equation"},
    "rate": {"zh": "系数 k", "en": "coefficient k", "ge": 0.01, "le": 1000},
    "t_end": {"zh": "积分到", "en": "integrate up to", "ge": 0.1, "le": 20},
    "tolerance": {"zh": "相对容差 rtol", "en": "relative tolerance rtol", "ge": 1e-10, "le": 0.1},
}
COLUMNS = {
    "trial": {"zh": "第几次试步", "en": "trial step"},
    "t": {"zh": "时间", "en": "time"},
    "log_dt": {"zh": "步长的 log10", "en": "log10 of the step"},
    "log_y": {"zh": "|y| 的 log10", "en": "log10 of |y|"},
}
METRICS = {
    "reached": {"zh": "走到的时间", "en": "time reached"},
    "finished": {"zh": "到终点了吗（1 是）", "en": "reached the end (1: yes)"},
    "last_dt": {"zh": "最后的步长", "en": "last step"},
    "largest": {"zh": "|y| 的最大值", "en": "largest |y|"},
    "trials": {"zh": "试步次数", "en": "trial steps", "unit": "step"},
    "singular": {"zh": "解在哪里结束（理论）", "en": "where the solution ends in theory"},
    "fixed": {"zh": "固定步长 RK4 的结果", "en": "result of RK4 with fixed steps"},
}
CHART = {
    "transform": [{"fold": ["log_dt", "log_y"], "as": ["series", "value"]}],
    "mark": {"type": "line", "point": False},
    "encoding": {
        "x": {"field": "trial", "type": "quantitative"},
        "y": {"field": "value", "type": "quantitative"},
        "color": {"field": "series", "type": "nominal"},
    },
}

Row = dict[str, float | None]
Metrics = dict[str, float | None]
Slope = Callable[[float, float], float]
TIMES = (1 / 5, 3 / 10, 4 / 5, 8 / 9, 1.0, 1.0)
STAGES = (
    (1 / 5,),
    (3 / 40, 9 / 40),
    (44 / 45, -56 / 15, 32 / 9),
    (19372 / 6561, -25360 / 2187, 64448 / 6561, -212 / 729),
    (9017 / 3168, -355 / 33, 46732 / 5247, 49 / 176, -5103 / 18656),
    (35 / 384, 0.0, 500 / 1113, 125 / 192, -2187 / 6784, 11 / 84),
)
FOURTH = (5179 / 57600, 0.0, 7571 / 16695, 393 / 640, -92097 / 339200, 187 / 2100, 1 / 40)
LIMIT = 20000


def run(
    kind: Literal["blow_up", "root", "stiff"] = "blow_up",
    rate: float = 1.0,
    t_end: float = 2.0,
    tolerance: float = 1e-6,
) -> Generator[Row, None, Metrics]:
    slope = equation(kind, rate)
    t, y, dt, largest, trials = 0.0, 1.0, min(1e-3, t_end), 1.0, 0
    while t < t_end and trials < LIMIT:
        dt = min(dt, t_end - t)
        if not t + dt > t:
            break
        trials += 1
        after, error = trial(slope, t, y, dt)
        ratio = error / (1e-9 + tolerance * max(abs(y), abs(after)))
        used = dt
        if ratio <= 1:
            t, y = t + dt, after
            largest = max(largest, abs(y))
        dt = math.nan if math.isnan(ratio) else dt * min(10.0, max(0.2, factor(ratio)))
        if trials <= 200 or trials % 50 == 0:
            yield {"trial": trials, "t": t, "log_dt": math.log10(used), "log_y": math.log10(abs(y)) if y else None}
    return {
        "reached": t,
        "finished": float(t >= t_end),
        "last_dt": dt,
        "largest": largest,
        "trials": float(trials),
        "singular": {"blow_up": 1 / rate, "root": 2 / rate, "stiff": None}[kind],
        "fixed": runge_kutta(slope, t_end, 100),
    }


def equation(kind: str, rate: float) -> Slope:
    if kind == "blow_up":
        return lambda _, y: rate * y * y
    if kind == "root":
        return lambda _, y: -rate * math.sqrt(y) if y >= 0 else math.nan
    return lambda t, y: -rate * (y - math.cos(t))


def factor(ratio: float) -> float:
    return 10.0 if ratio == 0 else 0.9 * ratio**-0.2


def trial(slope: Slope, t: float, y: float, dt: float) -> tuple[float, float]:
    """Y after one step of fifth order, and its difference from the fourth order."""
    k = [slope(t, y)]
    for time, weights in zip(TIMES, STAGES, strict=True):
        k.append(slope(t + time * dt, y + dt * sum(w * v for w, v in zip(weights, k, strict=True))))
    after = y + dt * sum(w * v for w, v in zip(STAGES[-1], k[:-1], strict=True))
    lower = y + dt * sum(w * v for w, v in zip(FOURTH, k, strict=True))
    return after, abs(after - lower)


def runge_kutta(slope: Slope, t_end: float, steps: int) -> float:
    """Classical fourth order with equal steps."""
    y, h = 1.0, t_end / steps
    for index in range(steps):
        t = index * h
        a = slope(t, y)
        b = slope(t + h / 2, y + h * a / 2)
        c = slope(t + h / 2, y + h * b / 2)
        y += h * (a + 2 * b + 2 * c + slope(t + h, y + h * c)) / 6
    return y


if __name__ == "__main__":

    def show() -> Generator[Row, None, None]:
        print((yield from run()))

    for row in show():
        print(row)
