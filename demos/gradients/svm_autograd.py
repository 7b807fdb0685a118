"""An SVM needs no theory of duality to be trained: subgradient steps by autograd come within 1 % of the dual optimum.

Data: n points in the plane, classes y = ±1 in turn, x ~ N(0, I) + y·(1, 1); a constant third feature is the bias, and
is penalised like the rest. Objective: P(w) = ½‖w‖² + c·Σ max(0, 1 − y·w·x). All in float64.

Primal: from w = 0, `steps` steps w ← w − min(1, 3/√t)·∇P/(c·n) with autograd's subgradient (0 at the hinge's kink);
the best w so far is kept. Dual: 60 sweeps of dual coordinate descent over the α_i in [0, c], in random order. By weak
duality the dual value never exceeds the optimum, so rel_gap = (best P − dual value)/dual value bounds the error of
the primal from above, whichever of the two is to blame. Source: Shalev-Shwartz et al. 2011, Pegasos; Hsieh et al.
2008, A dual coordinate descent method for large-scale linear SVM.
"""

import math
from collections.abc import Generator

import torch
from torch import Tensor

TITLE = {"zh": "用自动微分训练 SVM", "en": "Training an SVM with autograd"}
PARAMS = {
    "n": {"zh": "样本数", "en": "samples", "unit": "sample", "ge": 2, "le": 500},
    "c": {"zh": "越界的代价 C", "en": "price C of a violated margin", "ge": 1e-3, "le": 100},
    "steps": {"zh": "次梯度下降步数", "en": "subgradient steps", "unit": "step", "ge": 1, "le": 2000},
}
COLUMNS = {
    "step": {"zh": "第几步", "en": "step"},
    "gap": {"zh": "目标值与对偶值的相对差", "en": "relative gap to the dual value"},
    "primal": {"zh": "目前最好的目标值", "en": "best objective so far"},
}
METRICS = {
    "primal_autograd": {"zh": "自动微分得到的目标值", "en": "objective by autograd"},
    "dual_value": {"zh": "对偶值（最优值的下界）", "en": "dual value, a lower bound of the optimum"},
    "primal_of_dual": {"zh": "对偶解的目标值", "en": "objective of the dual's w"},
    "rel_gap": {"zh": "自动微分与对偶值的相对差", "en": "relative gap, autograd to dual"},
    "acc_autograd": {"zh": "自动微分：训练准确率", "en": "autograd: training accuracy"},
    "acc_dual": {"zh": "对偶：训练准确率", "en": "dual: training accuracy"},
    "acc_difference": {"zh": "两者准确率之差", "en": "difference of the accuracies"},
    "angle_deg": {"zh": "两个 w 的夹角（度）", "en": "angle between the two w, in degrees"},
    "support_vectors": {"zh": "支持向量数（α > 0）", "en": "support vectors (α > 0)"},
}
CHART = {
    "mark": {"type": "line", "point": True},
    "encoding": {
        "x": {"field": "step", "type": "quantitative"},
        "y": {"field": "gap", "type": "quantitative", "scale": {"type": "log"}},
    },
}

Row = dict[str, float]
Metrics = dict[str, float | None]
SWEEPS = 60


def run(n: int = 200, c: float = 1.0, steps: int = 600) -> Generator[Row, None, Metrics]:
    y = torch.tensor([1.0, -1.0], dtype=torch.float64).repeat(n)[:n]
    x = torch.cat([torch.randn(n, 2, dtype=torch.float64) + y[:, None], torch.ones(n, 1, dtype=torch.float64)], 1)
    alpha, w_dual = dual(x, y, c)
    dual_value = sum(alpha) - float(w_dual @ w_dual) / 2

    w = torch.zeros(3, dtype=torch.float64, requires_grad=True)
    best, best_w = math.inf, w.detach().clone()
    every = max(1, steps // 60)
    for step in range(1, steps + 1):
        (gradient,) = torch.autograd.grad(objective(w, x, y, c), w)
        with torch.no_grad():
            w -= min(1, 3 / math.sqrt(step)) / (c * n) * gradient
            value = float(objective(w, x, y, c))
        if value < best:
            best, best_w = value, w.detach().clone()
        if step % every == 0 or step in (1, steps):
            yield {"step": step, "gap": best / dual_value - 1, "primal": best}

    cosine = float(best_w @ w_dual / (best_w.norm() * w_dual.norm()))
    accuracy = [float(((x @ v) * y > 0).double().mean()) for v in (best_w, w_dual)]
    return {
        "primal_autograd": best,
        "dual_value": dual_value,
        "primal_of_dual": float(objective(w_dual, x, y, c)),
        "rel_gap": best / dual_value - 1,
        "acc_autograd": accuracy[0],
        "acc_dual": accuracy[1],
        "acc_difference": abs(accuracy[0] - accuracy[1]),
        "angle_deg": math.degrees(math.acos(min(1.0, max(-1.0, cosine)))),
        "support_vectors": sum(a > 0 for a in alpha),
    }


def objective(w: Tensor, x: Tensor, y: Tensor, c: float) -> Tensor:
    """½‖w‖² + c·Σ hinge."""
    return (w @ w) / 2 + c * (1 - y * (x @ w)).relu().sum()


def dual(x: Tensor, y: Tensor, c: float) -> tuple[list[float], Tensor]:
    """The α and w = Σ α_i y_i x_i after `SWEEPS` sweeps; each step solves for one α_i exactly."""
    rows = (x * y[:, None]).tolist()  # y_i·x_i
    alpha, (a, b, bias) = [0.0] * len(rows), (0.0, 0.0, 0.0)
    for _ in range(SWEEPS):
        for i in torch.randperm(len(rows)).tolist():
            u, v, t = rows[i]
            slope = u * a + v * b + t * bias - 1
            new = min(max(alpha[i] - slope / (u * u + v * v + t * t), 0.0), c)
            change, alpha[i] = new - alpha[i], new
            a, b, bias = a + change * u, b + change * v, bias + change * t
    return alpha, torch.tensor([a, b, bias], dtype=torch.float64)


if __name__ == "__main__":

    def show() -> Generator[Row, None, None]:
        torch.manual_seed(0)
        print((yield from run()))

    for row in show():
        print(row)
