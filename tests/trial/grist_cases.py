"""Numerical bugs of the self-contained torch programs of the benchmark GRIST (FSE 2021), in programs of our own.

The benchmark says which operation of each program is vulnerable; its inputs must be pushed before the bug shows. Here
the inputs are larger from the start. Each function returns (model, batch, loss_fn, optimizer); its docstring has the id
in the benchmark.
"""

import torch
from torch import nn


def sgd(rate):
    return lambda weights: torch.optim.SGD(weights, lr=rate)


def binary_cost(p, y):
    return -(y * torch.log(p) + (1 - y) * torch.log(1 - p)).mean()  # here


def one_hot_cost(p, labels):
    chosen = torch.zeros_like(p).scatter_(1, labels[:, None], 1)
    return (chosen * -torch.log(p)).sum(1).mean()  # here


class Logits(nn.Module):
    """A model that consists of its logits only, for programs without a model."""

    def __init__(self, values):
        super().__init__()
        self.z = nn.Parameter(values)

    def forward(self, _x):
        return self.z.softmax(1)


class Logistic(nn.Module):
    """A logistic regression that starts at 0."""

    def __init__(self, features):
        super().__init__()
        self.w = nn.Parameter(torch.zeros(features, 1))
        self.b = nn.Parameter(torch.zeros(1))

    def forward(self, x):
        return torch.sigmoid(x @ self.w + self.b)


class LogisticByExp(Logistic):
    """A logistic regression with the sigmoid written as a quotient with exp."""

    def forward(self, x):
        return 1 / (1 + torch.exp(-(x @ self.w + self.b)))


class Softmax(nn.Module):
    """A softmax regression."""

    def __init__(self, features, classes):
        super().__init__()
        self.w = nn.Parameter(torch.zeros(features, classes))
        self.b = nn.Parameter(torch.zeros(classes))

    def forward(self, x):
        return torch.softmax(x @ self.w + self.b, dim=1)


class Boltzmann(nn.Module):
    """A restricted Boltzmann machine by its free energy, with softplus written as exp, add, log."""

    def __init__(self, visible, hidden, k=1):
        super().__init__()
        self.w = nn.Parameter(torch.randn(hidden, visible) * 0.01)
        self.v = nn.Parameter(torch.zeros(visible))
        self.h = nn.Parameter(torch.zeros(hidden))
        self.k = k

    def sample(self, v):
        for _ in range(self.k):
            h = torch.bernoulli(torch.sigmoid(v @ self.w.t() + self.h))
            v = torch.bernoulli(torch.sigmoid(h @ self.w + self.v))
        return v.detach()

    def energy(self, v):
        activation = v @ self.w.t() + self.h
        terms = activation.exp().add(1).log()  # here
        return (-terms.sum(1) - v @ self.v).mean()


def contrastive_divergence(model, batch):
    return model.energy(batch) - model.energy(model.sample(batch.clamp(0, 1)))


SCORES = torch.tensor([[1.0, 2.0], [2.0, 3.0], [3.0, 1.0], [4.0, 3.0], [5.0, 3.0], [6.0, 2.0]])
PASSED = torch.tensor([[0.0], [0.0], [0.0], [1.0], [1.0], [1.0]])
HOURS = torch.tensor([[1.0], [2.0], [3.0], [4.0], [5.0], [2.5], [3.5], [0.0], [3.1], [2.7]])
FAILED = torch.tensor([[1.0], [1.0], [1.0], [0.0], [0.0], [0.0], [0.0], [1.0], [0.0], [1.0]])
TABLE = torch.tensor(
    [[1.0, 2, 1, 1], [2, 1, 3, 2], [3, 1, 3, 4], [4, 1, 5, 5], [1, 7, 5, 5], [1, 2, 5, 6], [1, 6, 6, 6]]
)
GRADES = torch.tensor([2, 2, 2, 1, 1, 1, 0])


def id_22():
    """GRIST 22: exp in the free energy of a restricted Boltzmann machine."""
    return Boltzmann(20, 8), torch.rand(16, 20) * 255, contrastive_divergence, sgd(0.1)


def id_51():
    """GRIST 51: exp in the free energy of a restricted Boltzmann machine, with several steps of Gibbs sampling and a
    large rate.
    """
    return Boltzmann(12, 6, k=3), torch.rand(8, 12) * 100, contrastive_divergence, sgd(5.0)


def id_23():
    """GRIST 23: log of the softmax of free logits, one-hot targets."""
    return Logits(torch.rand(3, 5) * 200), (torch.zeros(3, 1), torch.tensor([0, 3, 1])), one_hot_cost, sgd(0.1)


def id_46():
    """GRIST 46: log of the softmax of free logits that differ by more than float32's exp allows."""
    return Logits(torch.eye(3, 5) * 120), (torch.zeros(3, 1), torch.tensor([4, 4, 4])), one_hot_cost, sgd(0.1)


def id_26():
    """GRIST 26: log of a sigmoid and of one minus it, with features in another unit."""
    return Logistic(2), (SCORES * 100, PASSED), binary_cost, sgd(1.0)


def id_56():
    """GRIST 56: log of a sigmoid and of one minus it, with the sigmoid written by exp."""
    return LogisticByExp(2), (SCORES * 60, PASSED), binary_cost, sgd(1.0)


def id_37():
    """GRIST 37: logistic regression as in a laboratory exercise, with a large rate."""
    return Logistic(2), (SCORES * 30, PASSED), binary_cost, sgd(10.0)


def id_53():
    """GRIST 53: logistic regression of one feature whose larger values belong to the lower class."""
    return Logistic(1), (HOURS * 150, FAILED), binary_cost, sgd(1.0)


def id_54():
    """GRIST 54: logistic regression with products of the features added."""
    x = torch.cat([HOURS, HOURS**2], 1) * 20
    return Logistic(2), (x, FAILED), binary_cost, sgd(1.0)


def id_33():
    """GRIST 33: logistic classification, the cost as two terms."""

    def cost(p, y):
        of_ones = -y * torch.log(p)  # here
        of_zeros = (1 - y) * torch.log(1 - p)
        return (of_ones - of_zeros).mean()

    return Logistic(2), (SCORES * 80, PASSED), cost, sgd(1.0)


def id_38():
    """GRIST 38: exclusive or, with one layer and the cost written by hand."""
    x = torch.tensor([[0.0, 0.0], [0.0, 1.0], [1.0, 0.0], [1.0, 1.0]])
    y = torch.tensor([[0.0], [1.0], [1.0], [0.0]])
    model = nn.Sequential(nn.Linear(2, 1), nn.Sigmoid())
    return model, (x * 300 + 300, y), binary_cost, sgd(1.0)


def id_27():
    """GRIST 27: softmax regression, the cost with one-hot targets."""
    return Softmax(4, 3), (TABLE * 40, GRADES), one_hot_cost, sgd(0.1)


def id_57():
    """GRIST 57: softmax regression, where the probability of the target is selected by indexing."""

    def cost(p, labels):
        picked = p[torch.arange(len(labels)), labels]
        return -picked.log().mean()  # here

    return Softmax(4, 3), (TABLE * 40, GRADES), cost, sgd(0.1)


def id_32():
    """GRIST 32: softmax regression with a large rate."""
    return Softmax(4, 3), (TABLE, GRADES), one_hot_cost, sgd(20.0)


def id_34():
    """GRIST 34: softmax classification, the sum over classes of target times log."""

    def cost(p, labels):
        target = torch.eye(3)[labels]
        return torch.mean(torch.sum(-target * torch.log(p), dim=1))  # here

    return Softmax(4, 3), (TABLE * 50, GRADES), cost, sgd(0.1)


def id_47():
    """GRIST 47: softmax regression by a linear layer."""
    model = nn.Sequential(nn.Linear(4, 3), nn.Softmax(1))
    return model, (TABLE * 200, GRADES), one_hot_cost, sgd(0.1)


PROGRAMS = {name: "exp" if name in ("id_22", "id_51") else "log" for name in dict(globals()) if name.startswith("id_")}
