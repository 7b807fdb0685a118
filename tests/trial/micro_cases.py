"""Single training steps with one operation at fault, whose line ends with the comment `# here`.

Each case returns its loss. `CASES` says which operation and phase must be found; None means that the step is healthy.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import nn
from torch.nn import functional

MINUS_INF = float("-inf")
BATCH_WITH_NAN = torch.tensor([[1.0, 2.0, math.nan, 4.0], [1.0, 2.0, 3.0, 4.0]])


@dataclass(frozen=True)
class Case:
    """A training step, and the operation and phase that must be found at fault."""

    step: Callable[[], torch.Tensor]
    operation: str | None
    phase: str = "forward"
    hidden: bool = False


CASES: dict[str, Case] = {}


def case(operation: str | None, phase: str = "forward", *, hidden: bool = False):
    """A decorator that registers a step under its name."""

    def register(step):
        CASES[step.__name__] = Case(step, operation, phase, hidden)
        return step

    return register


def variable(*values, dtype=torch.float32):
    return torch.tensor(values, dtype=dtype, requires_grad=True)


def normal(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


@case("log")
def log_of_softmax():
    logits = (normal(4, 5) * 300).requires_grad_()
    probabilities = torch.softmax(logits, 1)
    logarithms = torch.log(probabilities)  # here
    return -logarithms.mean()


@case("log")
def logarithm_of_a_negative_number_pytorch_160016():
    x = variable(1.0)
    loss = torch.log(-x)  # here
    return loss.sum()


@case("sqrt")
def two_roots_pytorch_160016():
    x = variable(1.0)
    y = torch.sqrt(x - 2)  # here
    return torch.sqrt(y).sum()


@case("sqrt", "backward")
def root_of_squares_at_zero():
    w = variable(0.0, 0.0, 0.0)
    squares = (w**2).sum()
    return torch.sqrt(squares)  # here


@case("softmax")
def row_masked_as_a_whole():
    scores = normal(2, 4).requires_grad_()
    mask = torch.tensor([[True] * 4, [False, False, True, True]])
    masked = scores.masked_fill(mask, MINUS_INF)
    weights = torch.softmax(masked, -1)  # here
    return weights.sum()


@case("softmax")
def additive_mask_over_a_whole_row():
    scores = normal(3, 3).requires_grad_()
    mask = torch.tensor([[0.0, MINUS_INF, MINUS_INF], [0.0, 0.0, MINUS_INF], [MINUS_INF] * 3])
    return (torch.softmax(scores + mask, -1) ** 2).sum()  # here


@case("div")
def zeros_by_their_sum():
    x = variable(0.0, 0.0, 0.0)
    shares = x / x.sum()  # here
    return shares.sum()


@case("mm")
def product_in_half_precision():
    w = torch.full((64, 64), 60.0, dtype=torch.float16, requires_grad=True)
    hidden = torch.full((2, 64), 60.0, dtype=torch.float16) @ w  # here
    return (hidden * 0.5).sum()


@case("exp")
def exponential_in_half_precision():
    x = variable(1.0, 12.0, dtype=torch.float16)
    y = x.exp()  # here
    return y.mean()


@case("to")
def cast_to_half_precision():
    x = variable(1e5, 1.0)
    y = x.to(torch.float16)  # here
    return y.float().sum()


@case("log", "backward", hidden=True)
def where_hides_the_logarithm():
    x = variable(0.0, 1.0)
    logarithm = torch.log(x)  # here
    return torch.where(x > 0, logarithm, torch.zeros_like(x)).sum()


@case("sqrt", "backward", hidden=True)
def where_hides_the_root():
    x = variable(0.0, 4.0)
    root = x.sqrt()  # here
    return torch.where(x > 0, root, torch.zeros_like(x)).sum()


@case("exp", "backward", hidden=True)
def where_hides_the_exponential():
    x = variable(1.0, 200.0)
    exponential = torch.exp(x)  # here
    return torch.where(x < 10, exponential, x).sum()


@case("reciprocal", "backward", hidden=True)
def where_hides_the_quotient():
    x = variable(0.0, 2.0)
    quotient = 1 / x  # here
    return torch.where(x > 0, quotient, torch.zeros_like(x)).sum()


@case(None)
def double_mask():
    x = variable(0.0, 1.0)
    safe = torch.where(x > 0, x, torch.ones_like(x))
    return torch.where(x > 0, torch.log(safe), torch.zeros_like(x)).sum()


@case("std")
def deviation_of_one_row():
    x = normal(1, 3).requires_grad_()
    centred = x - x.mean(0)
    scaled = centred / x.std(0)  # here
    return scaled.sum()


@case(None)
def deviation_of_equal_values():
    return variable(2.0, 2.0, 2.0).std()


@case("pow", "backward")
def root_as_a_power():
    p = variable(0.0, 0.5)
    root = p**0.5  # here
    return root.sum()


@case("pow")
def fractional_power_of_a_negative_number():
    p = variable(-0.1, 0.5)
    y = p**1.5  # here
    return y.sum()


@case("acos")
def angle_beyond_one():
    x = variable(3.0, 4.0)
    cosine = x / x.norm() * 1.5
    return torch.acos(cosine).sum()  # here


@case("acos", "backward")
def angle_of_equal_vectors():
    x = variable(1.0, 0.0)
    cosine = (x * torch.tensor([1.0, 0.0])).sum()
    return torch.acos(cosine)  # here


@case("cdist")
def distance_of_far_points():
    x = torch.full((1, 2), 2e38, requires_grad=True)
    distance = torch.cdist(x[None], torch.full((1, 1, 2), -2e38))  # here
    return distance.sum()


@case(None)
def distance_of_equal_points():
    x = torch.zeros(1, 2, requires_grad=True)
    return torch.cdist(x[None], torch.zeros(1, 1, 2)).sum()


@case(None)
def norm_at_zero():
    return variable(0.0, 0.0).norm()


@case("div")
def unit_vector_of_zeros():
    x = variable(0.0, 0.0)
    unit = x / x.norm()  # here
    return unit.sum()


@case(None)
def attention_with_an_empty_row():
    q = normal(1, 1, 4, 8).requires_grad_()
    mask = torch.ones(4, 4, dtype=torch.bool)
    mask[1] = False
    return functional.scaled_dot_product_attention(q, q, q, attn_mask=mask).sum()


@case(None)
def causal_mask():
    scores = normal(4, 4).requires_grad_()
    masked = scores.masked_fill(torch.ones(4, 4).triu(1).bool(), MINUS_INF)
    return (torch.softmax(masked, -1) * normal(4, 4, seed=1)).sum()


@case("nll_loss")
def all_labels_ignored():
    logits = normal(3, 4).requires_grad_()
    return functional.cross_entropy(logits, torch.full((3,), -100))  # here


@case("log1p")
def log1p_of_minus_one():
    x = variable(-1.0, 0.5)
    y = torch.log1p(x)  # here
    return y.sum()


@case("logsumexp")
def logsumexp_of_nothing_but_minus_inf():
    x = normal(2, 3).requires_grad_()
    masked = x.masked_fill(torch.tensor([[True] * 3, [False] * 3]), MINUS_INF)
    total = torch.logsumexp(masked, 1)  # here
    return total.sum()


@case(None)
def arctangent_at_the_origin():
    return torch.atan2(variable(0.0), variable(0.0)).sum()


@case("log")
def eps_that_half_precision_rounds_away():
    p = variable(1.0, 0.25, dtype=torch.float16)
    y = torch.log(1 - p + 1e-8)  # here
    return -y.mean()


@case("div")
def mean_over_an_empty_mask():
    values = normal(4).requires_grad_()
    mask = torch.zeros(4)
    return (values * mask).sum() / mask.sum()  # here


@case("sum")
def sum_in_half_precision():
    x = torch.full((300,), 400.0, dtype=torch.float16, requires_grad=True)
    total = x.sum()  # here
    return total / 300


@case("mul")
def product_of_zero_and_inf():
    x = variable(1.0, 2.0)
    limits = torch.tensor([0.0, math.inf])
    kept = torch.full((2,), MINUS_INF) * (x.detach() > 1.5)  # here
    return (x + kept + limits.clamp(max=1)).sum()


@case("rsqrt")
def reciprocal_root_of_no_variance():
    x = torch.full((4,), 3.0, requires_grad=True)
    scale = torch.rsqrt(x.var(unbiased=False))  # here
    return ((x - x.mean()) * scale).sum()


@case("exp")
def variance_of_a_gaussian():
    log_variance = variable(0.0, 95.0)
    divergence = 0.5 * (log_variance.exp() - log_variance - 1)  # here
    return divergence.sum()


@case("sqrt", "backward")
def distance_by_hand():
    x = variable(1.0, 2.0)
    return (x - torch.tensor([1.0, 2.0])).pow(2).sum().sqrt()  # here


@case("sqrt", "backward")
def gradient_penalty_without_gradient():
    """The closure takes a gradient itself, and the loss is differentiated again."""
    x = variable(0.0, 0.0)
    (slope,) = torch.autograd.grad((x**2).sum(), x, create_graph=True)
    return slope.pow(2).sum().sqrt()  # here


@case("div", "backward")
def own_function_with_a_quotient():
    class Own(torch.autograd.Function):
        @staticmethod
        def forward(ctx, x):
            ctx.save_for_backward(x)
            return x.clone()

        @staticmethod
        def backward(ctx, gradient):
            (x,) = ctx.saved_tensors
            return gradient / (x - x)  # here

    return Own.apply(variable(1.0, 2.0)).sum()


@case("sqrt", "backward")
def root_in_a_checkpoint():
    x = variable(0.0, 0.0)
    return torch.utils.checkpoint.checkpoint(lambda t: t.pow(2).sum().sqrt(), x, use_reentrant=False)  # here


@case("layer_norm")
def layer_norm_of_equal_values_without_eps():
    x = torch.ones(2, 3, requires_grad=True)
    return functional.layer_norm(x, (3,), eps=0.0).sum()  # here


@case("ctc_loss")
def labels_longer_than_the_input():
    logits = normal(3, 1, 5).requires_grad_()
    labels = torch.tensor([[1, 1, 1, 1]])
    return functional.ctc_loss(logits.log_softmax(2), labels, torch.tensor([3]), torch.tensor([4]))  # here


@case("add")
def two_masks_of_the_least_number():
    scores = normal(2, 2).requires_grad_()
    mask = torch.full((2, 2), torch.finfo(torch.float32).min)
    return torch.softmax(scores + mask + mask, 1).sum()  # here


@case(None)
def logarithm_of_a_mask():
    scores = normal(2, 2).requires_grad_()
    mask = torch.tensor([[1.0, 0.0], [1.0, 1.0]])
    return torch.softmax(scores + mask.log(), 1).pow(2).sum()


class Head(nn.Module):
    """A module whose forward pass divides by a norm that may be 0."""

    def __init__(self):
        super().__init__()
        self.project = nn.Linear(3, 3, bias=False)

    def forward(self, x):
        features = torch.relu(self.project(x))
        return features / features.norm(dim=1, keepdim=True)  # here


@case("div")
def module_that_divides_by_a_norm():
    torch.manual_seed(0)
    head = Head()
    nn.init.constant_(head.project.weight, -1.0)
    return head(torch.ones(2, 3)).sum()


@case("", "data")
def nan_in_the_batch():
    model = nn.Sequential(nn.Linear(4, 4), nn.LayerNorm(4))
    return model(BATCH_WITH_NAN).sum()  # here


@case(None)
def unused_infinity():
    x = variable(0.0, 1.0)
    torch.log(x.detach()).sum()
    return (x**2).sum()
