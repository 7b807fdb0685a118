"""Explicit Euler multiplies a decay of rate λ by 1 − hλ a step: beyond h = 2/λ it explodes, where the solution decays.

dx/dt = −λ·(x − cos t) with x(0) = 0 from t = 0 to `time` in equal steps h, float64: a stiff equation, whose solution
follows cos t after a start of length 1/λ. Ways:

euler     x + h·f(x, t)
rk4       the classical Runge–Kutta method of order 4, stable up to h·λ = 2.785
implicit  x' = (x + h·λ·cos t')/(1 + h·λ) at the new time t', stable for every h

Errors: largest |x − x(t)| over the last half. factor: 1 − h·λ. steps: the number of steps; needed: the fewest with h ≤
2/λ. x(t) = λ²/(1 + λ²)·cos t + λ/(1 + λ²)·sin t − λ²/(1 + λ²)·e^(−λt). A residual network x + h·f(x) is explicit Euler
too. Nothing is random. Source: Hairer & Wanner 1996, Solving ordinary differential equations II; Chen et al. 2018.
"""

import math
from collections.abc import Generator

import torch

TITLE = {"zh": "显式欧拉的步长", "en": "The step of explicit Euler"}
PARAMS = {
    "h": {"zh": "步长 h", "en": "step h", "ge": 0.001, "le": 10},
    "rate": {"zh": "衰减率 λ", "en": "rate λ", "ge": 0.001, "le": 1e4},
    "time": {"zh": "终点时间", "en": "end time", "ge": 0.1, "le": 20},
}
COLUMNS = {
    "t": {"zh": "时间", "en": "time"},
    "exact": {"zh": "准确", "en": "exact"},
    "euler": {"zh": "显式欧拉", "en": "explicit Euler"},
    "rk4": {"zh": "RK4", "en": "RK4"},
    "implicit": {"zh": "隐式欧拉", "en": "implicit Euler"},
}
METRICS = {
    "factor": {"zh": "每步的因子 1 − hλ", "en": "factor of a step, 1 − hλ"},
    "euler": {"zh": "显式欧拉：误差", "en": "explicit Euler: error"},
    "rk4": {"zh": "RK4：误差", "en": "RK4: error"},
    "implicit": {"zh": "隐式欧拉：误差", "en": "implicit Euler: error"},
    "steps": {"zh": "步数", "en": "steps", "unit": "step"},
    "needed": {"zh": "显式欧拉至少要多少步", "en": "fewest steps for explicit Euler", "unit": "step"},
}
CHART = {
    "transform": [{"fold": ["exact", "euler", "implicit"], "as": ["series", "value"]}],
    "mark": {"type": "line", "point": True},
    "encoding": {
        "x": {"field": "t", "type": "quantitative"},
        "y": {"field": "value", "type": "quantitative", "scale": {"type": "symlog"}},
        "color": {"field": "series", "type": "nominal"},
    },
}


Row = dict[str, float]
Metrics = dict[str, float]


def run(h: float = 0.05, rate: float = 50.0, time: float = 4.0) -> Generator[Row, None, Metrics]:
    steps = max(round(time / h), 1)
    h = time / steps
    ways = {"euler": euler, "rk4": rk4, "implicit": implicit}
    x = dict.fromkeys(ways, 0.0)
    worst = dict.fromkeys(ways, 0.0)
    for step in range(1, steps + 1):
        x = {name: way(x[name], (step - 1) * h, h, rate) for name, way in ways.items()}
        exact = solution(step * h, rate)
        if 2 * step > steps:
            worst = {name: max(worst[name], size(x[name] - exact)) for name in ways}
        if step % max(steps // 80, 1) == 0:
            yield {"t": step * h, "exact": exact} | x
    return {"factor": 1 - h * rate} | worst | {"steps": steps, "needed": math.ceil(time * rate / 2)}


def slope(x: float, t: float, rate: float) -> float:
    return -rate * (x - math.cos(t))


def euler(x: float, t: float, h: float, rate: float) -> float:
    return x + h * slope(x, t, rate)


def rk4(x: float, t: float, h: float, rate: float) -> float:
    k1 = slope(x, t, rate)
    k2 = slope(x + h / 2 * k1, t + h / 2, rate)
    k3 = slope(x + h / 2 * k2, t + h / 2, rate)
    k4 = slope(x + h * k3, t + h, rate)
    return x + h / 6 * (k1 + 2 * k2 + 2 * k3 + k4)


def implicit(x: float, t: float, h: float, rate: float) -> float:
    return (x + h * rate * math.cos(t + h)) / (1 + h * rate)


def solution(t: float, rate: float) -> float:
    square = rate**2
    return (square * math.cos(t) + rate * math.sin(t) - square * math.exp(-rate * t)) / (1 + square)


def size(difference: float) -> float:
    """Its absolute value; inf for nan."""
    return math.inf if math.isnan(difference) else abs(difference)


if __name__ == "__main__":

    def show() -> Generator[Row, None, None]:
        torch.manual_seed(0)
        print((yield from run()))

    for row in show():
        print(row)
