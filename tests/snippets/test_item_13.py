"""Snippets on the loss surface: those that move the weights restore them, and the measured values are right."""

import math

import pytest
import torch
from snippets.reader import batch, plain_model
from torch import nn


def test_cost_of_a_loss_map(snippet):
    printed = snippet.diagnose().printed
    assert "15 x 15: 225" in printed and "51 x 51: 2601" in printed


def test_draw_my_loss_surface(snippet):
    names = snippet.diagnose().names
    assert names.surface.shape == (21, 21) and names.surface.isfinite().all()
    model = plain_model()
    centre = nn.functional.cross_entropy(model(names.x), names.y)
    names = snippet.diagnose(model, x=names.x, y=names.y).names
    assert names.surface[10, 10].item() == pytest.approx(centre.item(), rel=1e-5)


def test_path_from_start_to_solution(snippet):
    tenths = [i / 10 for i in range(11)]
    numbers = snippet.diagnose(plain_model()).numbers
    (first, *_, last), places = numbers[1::2], numbers[::2]
    assert places == tenths and last < first
    assert snippet.diagnose().numbers[::2] == tenths


def test_random_planes_in_high_dimensions(snippet):
    count, cosine = snippet.diagnose().numbers[0], snippet.diagnose().printed.split()[-1]
    assert count == 8 * 16 + 32 + 34 and abs(float(cosine)) < 0.4


def test_ridge_between_solutions(snippet):
    x, y = batch()
    losses = [float(line.split()[1]) for line in snippet.diagnose().printed.splitlines()]
    assert max(losses) - min(losses) < 1e-5, "no ridge on the way to a copy"
    model = plain_model(width=32)
    optimizer = torch.optim.Adam(model.parameters(), lr=0.01)
    for _ in range(200):
        optimizer.zero_grad()
        nn.functional.cross_entropy(model(x), y).backward()
        optimizer.step()
    permuted = plain_model(width=32)
    order = torch.randperm(32)
    with torch.no_grad():
        permuted.load_state_dict(model.state_dict())
        permuted[0].weight.copy_(model[0].weight[order])
        permuted[0].bias.copy_(model[0].bias[order])
        permuted[2].weight.copy_(model[2].weight[:, order])
    ran = snippet.diagnose(model, x=x, y=y, second=permuted, swap={"other = copy.deepcopy(model)": "other = second"})
    losses = [float(line.split()[1]) for line in ran.printed.splitlines()]
    assert losses[0] == pytest.approx(losses[-1], rel=1e-3, abs=1e-4) and max(losses) > losses[0] + 0.1


def test_sharpness_and_learning_rate(snippet):
    x = torch.randn(64, 8) @ torch.diag(torch.arange(1.0, 9.0))
    curvature = torch.linalg.eigvalsh(2 * x.T @ x / 64)[-1].item()
    model = nn.Linear(8, 1, bias=False)
    ran = snippet.diagnose(model, x=x, y=torch.randn(64, 1), criterion=nn.MSELoss())
    top, limit = ran.numbers[0], ran.numbers[-1]
    assert top == pytest.approx(curvature, rel=0.02) and limit == pytest.approx(20)
    model.unused = nn.Linear(8, 3)
    torch.manual_seed(1)
    top = snippet.diagnose(model, x=x, y=torch.randn(64, 1), criterion=nn.MSELoss()).numbers[0]
    assert top == pytest.approx(curvature, rel=0.02), "a head that the loss does not use has no curvature"
    assert math.isfinite(snippet.diagnose().numbers[0])


def test_sharpness_and_rescaling(snippet):
    x, y = batch()
    model = plain_model(layers=2)
    torch.manual_seed(3)
    plain = snippet.diagnose(model, x=x, y=y).numbers[-1]
    with torch.no_grad():
        model[0].weight.mul_(10)
        model[0].bias.mul_(10)
        model[2].weight.div_(10)
    torch.manual_seed(3)
    rescaled = snippet.diagnose(model, x=x, y=y).numbers[-1]
    assert rescaled == pytest.approx(plain, rel=0.02, abs=1e-5), "the same function is equally sharp"
    snippet.diagnose()


def test_trajectory_pca(snippet):
    model = plain_model()
    fraction = snippet.run(model).numbers[0]
    assert 0.8 < fraction <= 1


def test_gradient_near_zero_at_a_saddle(snippet):
    saddle = nn.Sequential(nn.Linear(8, 4, bias=False), nn.Linear(4, 1, bias=False))
    for m in saddle:
        nn.init.zeros_(m.weight)
    x, _ = batch()
    y = x @ torch.arange(1.0, 9.0)[:, None]
    gradient, size, smallest = snippet.diagnose(saddle, x=x, y=y, criterion=nn.MSELoss()).numbers
    slope = (2 * x.T @ y / 64).norm().item()
    assert gradient == 0
    assert size == pytest.approx(slope, rel=1e-3) and smallest == pytest.approx(-slope, rel=0.01)

    bowl = nn.Linear(8, 1, bias=False)
    with torch.no_grad():
        bowl.weight.copy_(torch.arange(1.0, 9.0)[None])
    curvatures = torch.linalg.eigvalsh(2 * x.T @ x / 64)
    gradient, size, smallest = snippet.diagnose(bowl, x=x, y=y, criterion=nn.MSELoss()).numbers
    assert gradient < 1e-3 and size == pytest.approx(curvatures[-1].item(), rel=0.01)
    assert smallest == pytest.approx(curvatures[0].item(), rel=0.05), "positive at a minimum"

    saddle[1].unused = bowl
    gradient, size, smallest = snippet.diagnose(saddle, x=x, y=y, criterion=nn.MSELoss()).numbers
    assert gradient == 0 and size == pytest.approx(slope, rel=1e-3), "a layer that the loss does not use"
    assert smallest == pytest.approx(-slope, rel=0.01)
    assert all(math.isfinite(number) for number in snippet.diagnose().numbers)

    curvatures = torch.cat([torch.tensor([50.0, -0.3]), torch.linspace(0, 1, 998)])
    near = nn.Linear(1, 1000, bias=False)
    for expected, spectrum in ((-0.3, curvatures), (0, curvatures.clamp(min=0)), (1, torch.ones(1000))):

        def quadratic(w, y, spectrum=spectrum):
            return 0.5 * (spectrum * w.square()).sum()

        _, size, smallest = snippet.diagnose(near, x=torch.ones(1, 1), criterion=quadratic).numbers
        assert size == pytest.approx(spectrum.max().item(), rel=1e-3)
        assert smallest == pytest.approx(expected, abs=0.01), "far below the largest, and still found"


def test_weight_decay_and_flatness(snippet):
    model = plain_model()
    printed = snippet.diagnose(model).printed.splitlines()
    for line in printed:
        name, _, sizes = line.partition(" weight ")
        weight, direction = map(float, sizes.split(" direction "))
        assert direction == pytest.approx(weight if name.endswith("weight") else 0, rel=1e-5)
    with torch.no_grad():
        model[0].weight.mul_(0.5)
    names = snippet.diagnose(model).names
    assert names.filter_normalised(torch.zeros(3)).tolist() == [0, 0, 0]
    units = torch.tensor([[3.0, 4.0], [0.3, 0.4]])
    assert names.filter_normalised(units).norm(dim=1).tolist() == pytest.approx([5, 0.5])
    assert names.filter_normalised(torch.randn(4, 3, 2, 2)).shape == (4, 3, 2, 2), "a convolution"
