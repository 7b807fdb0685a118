"""Along its cell path an LSTM's gradient is still a product, that of the forget gates; it helps that they can be 1.

Four recurrent nets read n steps of fresh N(0, 1) inputs; state 0 is zero. One backward pass from the sum of the last
state gives the rms gradient (over batch × units) that arrives at every earlier state. Everything is in float64, so that
a gradient of 1e-100 is seen as what it is, not as 0.
- rnn_orthogonal: h ← tanh(hW + xU), W a random orthogonal matrix × rho, U with standard deviation 0.1/√inputs.
- rnn: the same equation, W and U uniform in ±1/√hidden, as in the LSTMs below (the fair comparison).
- lstm: c ← f⊙c + i⊙g, h ← o⊙tanh(c), f, i, o sigmoid gates; weights and biases uniform in ±1/√hidden. States are c.
- lstm_bias: the same weights, but the forget gate's bias is `forget_bias`. Both LSTMs' recurrent weights are × w_scale.
The path through c alone is measured on lstm_bias with h cut out of the gates' graph (h_path="cut"): there
∂c_n/∂c_0 = ∏ f_t exactly. input_gate="exp" replaces the sigmoid of i by exp, as xLSTM does.
Theory: at most rho^n for rnn_orthogonal; about sigmoid(forget_bias)^n for the cell path alone.
Sources: Hochreiter & Schmidhuber 1997; Gers, Schmidhuber & Cummins 2000.
"""

import math
from collections.abc import Generator
from typing import Literal

import torch
from torch.autograd.graph import Node

TITLE = {"zh": "RNN 与 LSTM 的梯度能传多远", "en": "How far gradients reach: RNN against LSTM"}
PARAMS = {
    "n": {"zh": "时间步数", "en": "time steps", "ge": 1, "le": 500},
    "hidden": {"zh": "隐藏单元数", "en": "hidden units", "ge": 1, "le": 64},
    "inputs": {"zh": "输入特征数", "en": "input features", "ge": 1, "le": 64},
    "forget_bias": {"zh": "遗忘门偏置", "en": "forget-gate bias", "ge": -100, "le": 100},
    "rho": {"zh": "正交 RNN 的谱半径", "en": "spectral radius of the orthogonal RNN", "ge": 0, "le": 10},
    "batch": {"zh": "批量大小", "en": "batch size", "ge": 1, "le": 64},
    "w_scale": {"zh": "LSTM 循环权重放大的倍数", "en": "factor on the LSTM's recurrent weights", "ge": 0, "le": 100},
    "h_path": {"zh": "核对连乘时 h 这条路", "en": "the path through h when the product is checked"},
    "input_gate": {"zh": "输入门", "en": "input gate"},
}
LIMITS = [{"product": ["n", "batch", "hidden"], "le": 512000}]
COLUMNS = {
    "distance": {"zh": "相隔的时间步", "en": "steps back in time"},
    "rnn_orthogonal": {"zh": "RNN，正交权重", "en": "RNN, orthogonal weights"},
    "rnn": {"zh": "RNN，均匀分布权重", "en": "RNN, uniform weights"},
    "lstm": {"zh": "LSTM，默认偏置", "en": "LSTM, default bias"},
    "lstm_bias": {"zh": "LSTM，指定遗忘门偏置", "en": "LSTM, forget bias set"},
}
METRICS = {
    "grad_rnn_orthogonal": {"zh": "正交 RNN：传到起点的梯度", "en": "orthogonal RNN: gradient at the start"},
    "theory_rnn_bound": {"zh": "正交 RNN：理论上界 ρⁿ", "en": "orthogonal RNN: upper bound ρⁿ"},
    "grad_rnn": {"zh": "均匀权重 RNN：传到起点的梯度", "en": "uniform RNN: gradient at the start"},
    "grad_lstm": {"zh": "默认 LSTM：传到起点的梯度", "en": "default LSTM: gradient at the start"},
    "grad_lstm_bias": {"zh": "设定遗忘门偏置：传到起点的梯度", "en": "forget bias set: gradient at the start"},
    "forget_product_mean": {"zh": "遗忘门连乘的平均值", "en": "mean product of the forget gates"},
    "theory_cell": {"zh": "遗忘门连乘的理论值 σ(b)ⁿ", "en": "product of the forget gates in theory, σ(b)ⁿ"},
    "rel_err_grad_vs_prod_f": {"zh": "梯度与遗忘门连乘的相对偏差", "en": "gradient against forget product, relative"},
    "lstm_lead": {
        "zh": "默认 LSTM 比均匀权重 RNN 多几个数量级",
        "en": "orders of magnitude by which the LSTM beats the uniform RNN",
    },
    "bias_gain": {"zh": "设定偏置后多几个数量级", "en": "orders of magnitude gained by setting the bias"},
    "n_exp_log_nodes": {"zh": "计算图里 exp、log 节点数", "en": "exp and log nodes in the graph"},
    "n_graph_nodes": {"zh": "计算图节点总数", "en": "nodes in the graph"},
}
CHART = {
    "transform": [{"fold": ["rnn_orthogonal", "rnn", "lstm", "lstm_bias"], "as": ["series", "value"]}],
    "mark": {"type": "line", "point": False},
    "encoding": {
        "x": {"field": "distance", "type": "quantitative"},
        "y": {"field": "value", "type": "quantitative", "scale": {"type": "log"}},
        "color": {"field": "series", "type": "nominal"},
    },
}

Row = dict[str, float]
Metrics = dict[str, float | None]
Tensors = list[torch.Tensor]
EXP_LOG = ("Exp", "Exp2", "Expm1", "Log", "Log2", "Log10", "Log1P", "Logsumexp", "LogSigmoid", "LogSoftmax")


def run(
    n: int = 100,
    hidden: int = 32,
    inputs: int = 8,
    forget_bias: float = 1.0,
    rho: float = 0.9,
    batch: int = 8,
    w_scale: float = 1.0,
    h_path: Literal["cut", "connected"] = "cut",
    input_gate: Literal["sigmoid", "exp"] = "sigmoid",
) -> Generator[Row, None, Metrics]:
    xs = torch.randn(n, batch, inputs, dtype=torch.float64)
    orthogonal = rho * torch.linalg.qr(torch.randn(hidden, hidden, dtype=torch.float64))[0]
    small = torch.randn(inputs, hidden, dtype=torch.float64) * 0.1 / math.sqrt(inputs)
    u, w = uniform(hidden, inputs, 4 * hidden), uniform(hidden, hidden, 4 * hidden)
    lstm_weights = (u, (w_scale * w.detach()).requires_grad_())
    bias = uniform(hidden, 4 * hidden)
    biased = bias.detach().clone()
    biased[:hidden] = forget_bias
    biased.requires_grad_()

    cells, _ = lstm(xs, *lstm_weights, bias, input_gate)
    biased_cells, _ = lstm(xs, *lstm_weights, biased, input_gate)
    curves = {
        "rnn_orthogonal": gradients(rnn(xs, small, orthogonal)),
        "rnn": gradients(rnn(xs, uniform(hidden, inputs, hidden), uniform(hidden, hidden, hidden))),
        "lstm": gradients(cells),
        "lstm_bias": gradients(biased_cells),
    }
    rms = {name: [root_mean_square(g) for g in grads] for name, grads in curves.items()}
    for distance in sorted({*range(0, n, max(1, n // 150)), n}):
        yield {"distance": distance} | {name: values[n - distance] for name, values in rms.items()}

    path, forget = lstm(xs, *lstm_weights, biased, input_gate, cut=h_path == "cut")
    product = torch.stack(forget).prod(0).detach()
    start = {name: values[0] for name, values in rms.items()}
    nodes = graph_nodes(cells[-1])
    return {
        "grad_rnn_orthogonal": start["rnn_orthogonal"],
        "theory_rnn_bound": float(torch.tensor(rho, dtype=torch.float64) ** n),
        "grad_rnn": start["rnn"],
        "grad_lstm": start["lstm"],
        "grad_lstm_bias": start["lstm_bias"],
        "forget_product_mean": float(product.mean()),
        "theory_cell": float(torch.tensor(forget_bias, dtype=torch.float64).sigmoid() ** n),
        "rel_err_grad_vs_prod_f": relative_error(gradients(path)[0], product),
        "lstm_lead": log10(start["lstm"]) - log10(start["rnn"]),
        "bias_gain": log10(start["lstm_bias"]) - log10(start["lstm"]),
        "n_exp_log_nodes": sum(name.removesuffix("Backward0") in EXP_LOG for name in nodes),
        "n_graph_nodes": len(nodes),
    }


def uniform(hidden: int, *shape: int) -> torch.Tensor:
    """Trainable weights uniform in ±1/√hidden, PyTorch's default for recurrent nets."""
    return ((2 * torch.rand(*shape, dtype=torch.float64) - 1) / math.sqrt(hidden)).requires_grad_()


def rnn(xs: torch.Tensor, u: torch.Tensor, w: torch.Tensor) -> Tensors:
    """All states h_0 … h_n of h ← tanh(hW + xU)."""
    states = [torch.zeros(xs.shape[1], len(w), dtype=xs.dtype, requires_grad=True)]
    for x in xs:
        states.append(torch.tanh(states[-1] @ w + x @ u))
    return states


def lstm(
    xs: torch.Tensor, u: torch.Tensor, w: torch.Tensor, bias: torch.Tensor, input_gate: str, cut: bool = False
) -> tuple[Tensors, Tensors]:
    """All cell states c_0 … c_n and the forget gates f_1 … f_n; `cut` keeps gradients from flowing back through h."""
    h = torch.zeros(xs.shape[1], len(w), dtype=xs.dtype)
    cells, forget = [torch.zeros_like(h).requires_grad_()], []
    for x in xs:
        f, i, g, o = ((h.detach() if cut else h) @ w + x @ u + bias).chunk(4, dim=1)
        f, i = f.sigmoid(), i.exp() if input_gate == "exp" else i.sigmoid()
        cells.append(f * cells[-1] + i * g.tanh())
        forget.append(f)
        h = o.sigmoid() * cells[-1].tanh()
    return cells, forget


def gradients(states: Tensors) -> Tensors:
    """The gradient of the last state's sum with respect to every state."""
    return list(torch.autograd.grad(states[-1].sum(), states, retain_graph=True))


def root_mean_square(t: torch.Tensor) -> float:
    """The rms of all entries, scaled by the largest first: the square of 1e-200 would be 0."""
    largest = float(t.abs().max())
    return largest * float((t / largest).pow(2).mean().sqrt()) if largest else 0.0


def log10(value: float) -> float:
    """The decimal logarithm, with −inf for 0."""
    return math.log10(value) if value else -math.inf


def relative_error(grad: torch.Tensor, product: torch.Tensor) -> float | None:
    """max|grad − ∏f| / max ∏f; None where the product has underflowed and nothing is left to compare."""
    largest = product.max().item()
    return (grad - product).abs().max().item() / largest if largest > torch.finfo(product.dtype).tiny else None


def graph_nodes(output: torch.Tensor) -> list[str]:
    """The names of all nodes of the autograd graph that computes `output`."""
    stack: list[Node] = [output.grad_fn] if output.grad_fn else []
    seen = set(stack)
    while stack:
        new = {node for node, _ in stack.pop().next_functions if node is not None} - seen
        seen |= new
        stack += new
    return [node.name() for node in seen]


if __name__ == "__main__":
    torch.manual_seed(0)

    def show() -> Generator[Row, None, None]:
        print((yield from run()))

    for row in show():
        print(row)
