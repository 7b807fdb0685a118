"""The largest eigenvalue of the Hessian of the loss at one batch, by power iteration with Hessian-vector products."""

import math

import torch

from numstab_watch.problem import Problem


def largest_curvature(problem: Problem, iterations: int = 20, tolerance: float = 1e-2) -> float | None:
    """λ_max, by modulus; None if the loss has no second derivative, or it is not finite.

    Gradient descent with a step above 2/λ_max grows along that direction. Takes two backward passes an iteration.
    """
    weights = [weight for weight in problem.model.parameters() if weight.requires_grad]
    try:
        loss = problem.loss(0)
        gradients = torch.autograd.grad(loss, weights, create_graph=True, allow_unused=True)
        pairs = [
            (weight, gradient) for weight, gradient in zip(weights, gradients, strict=True) if gradient is not None
        ]
        weights = [weight for weight, _ in pairs]
        direction = _normalised([torch.randn_like(weight) for weight in weights])
        value = 0.0
        for _ in range(iterations):
            inner = sum((gradient * each).sum() for (_, gradient), each in zip(pairs, direction, strict=True))
            product = torch.autograd.grad(inner, weights, retain_graph=True, allow_unused=True)
            image = [
                torch.zeros_like(weight) if each is None else each
                for weight, each in zip(weights, product, strict=True)
            ]
            before, value = value, sum(float((a * b).sum()) for a, b in zip(direction, image, strict=True))
            if not math.isfinite(value) or value == 0.0:
                return None
            if abs(value - before) <= tolerance * abs(value):
                break
            direction = _normalised(image)
    except RuntimeError:
        return None
    return value


def _normalised(vectors: list[torch.Tensor]) -> list[torch.Tensor]:
    norm = math.sqrt(sum(float(vector.double().square().sum()) for vector in vectors))
    return [vector / norm for vector in vectors]
