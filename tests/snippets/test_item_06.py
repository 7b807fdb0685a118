"""Snippets on vanishing gradients: checks tell a net whose gradient vanishes from a sound one, and cures restore the
gradient.
"""

import math

import pytest
import torch
from snippets.reader import batch, healthy_model, plain_model
from torch import nn


def deep_sigmoid(layers=12):
    """Sigmoid layers: the signal falls to a fraction of a quarter at each."""
    return plain_model(nn.Sigmoid, layers)


def deep_he(layers=12, width=128):
    """ReLU layers with He's initialisation, which keeps the signal."""
    model = plain_model(nn.ReLU, layers, width)
    for m in model[:-1]:
        if isinstance(m, nn.Linear):
            nn.init.kaiming_normal_(m.weight, nonlinearity="relu")
    return model


def signal_ratio(model, x=None):
    """Gradient of the loss at the first layer's output over that at the last one's."""
    x = batch()[0] if x is None else x
    outs = []
    h = x
    for m in model:
        h = m(h)
        if isinstance(m, nn.Linear):
            h.retain_grad()
            outs.append(h)
    nn.functional.cross_entropy(h, batch()[1]).backward()
    model.zero_grad()
    return (outs[0].grad.norm() / outs[-1].grad.norm()).item()


def test_dead_relu_share_of_my_model(snippet):
    sick = healthy_model()
    with torch.no_grad():
        sick[5].bias.fill_(-100.0)
    assert "6 (16 units) dead 100.0%" in snippet.diagnose(sick).printed
    assert snippet.diagnose().printed == "2 (16 units) dead 0.0%\n6 (16 units) dead 0.0%\n"
    images = nn.Sequential(nn.Conv2d(3, 4, 3, bias=False), nn.ReLU(), nn.Flatten(), nn.Linear(144, 2))
    with torch.no_grad():
        images[0].weight[0] = 0.0
    assert "dead 25.0%" in snippet.diagnose(images, x=torch.rand(8, 3, 8, 8)).printed
    shared = nn.ReLU()
    twice = nn.Sequential(nn.Linear(8, 16), shared, nn.Linear(16, 4), shared, nn.Linear(4, 2))
    assert snippet.diagnose(twice).printed.count("dead") == 2, "one module at two widths"


def test_deep_sigmoid_net_does_not_train(snippet):
    model = deep_sigmoid()
    assert signal_ratio(model) < 1e-4
    snippet.run(model)
    assert signal_ratio(model) > 0.01 and not any(isinstance(m, nn.Sigmoid) for m in model)
    gate = nn.Sequential(nn.Linear(8, 2, bias=False), nn.Sigmoid())
    snippet.run(gate)
    assert isinstance(gate[1], nn.Sigmoid), "the last one stays"


def test_gan_discriminator_too_sure(snippet):
    names = snippet.run().names
    for size in (200.0, 1.0):
        real, fake = torch.tensor([size], requires_grad=True), torch.tensor([-size], requires_grad=True)
        loss = names.discriminator_loss(real, fake)
        assert loss.isfinite()
        slope = torch.autograd.grad(names.generator_loss(fake), fake)[0]
        assert slope.item() == pytest.approx(-1 / (1 + math.exp(-size)), rel=1e-4)
        usual = -(real.double().sigmoid().log() + (1 - fake.double().sigmoid()).log())
        assert loss.item() == pytest.approx(usual.item(), abs=1e-6)


def test_gradient_norm_zero(snippet):
    """For a dead net both printed norms are 0, for underflow only the first, for a sound model neither."""

    def norms(model, **given):
        printed = snippet.diagnose(model, **given).printed
        return [(own, exact) for _, _, _, own, _, exact in (line.split() for line in printed.splitlines())]

    dead = plain_model()
    with torch.no_grad():
        dead[2].bias.fill_(-100.0)
    assert norms(dead)[0] == ("0.0", "0.0") and norms(dead)[-1] != ("0.0", "0.0")
    small = plain_model().half()
    tiny = norms(small, criterion=lambda out, y: nn.functional.cross_entropy(out, y) * 1e-9)
    assert all(own == "0.0" and float(exact) > 0 for own, exact in tiny)
    assert all(float(own) > 0 and float(exact) > 0 for own, exact in norms(plain_model()))
    sound = norms(healthy_model())
    assert ("None", "None") in sound and all(own != "0.0" for own, _ in sound)


def test_gradients_vanish(snippet):
    sick, sound, mixed = [
        [float(line.split()[-1]) for line in snippet.diagnose(model).printed.splitlines()]
        for model in (deep_sigmoid(), deep_he(), healthy_model())
    ]
    assert sick[-1] < 1e-3 * sick[0]
    assert 0.01 < sound[-1] / sound[0] < 10
    assert len(mixed) == 3


def test_he_in_narrow_deep_nets(snippet):
    assert snippet.diagnose(deep_sigmoid()).numbers[-1] < 1e-4
    assert 0.1 < snippet.diagnose(deep_he()).numbers[-1] < 20
    assert snippet.diagnose().numbers[-1] > 0.01
    frozen = deep_he()
    frozen[0].requires_grad_(False)
    assert 0.1 < snippet.diagnose(frozen).numbers[-1] < 20


def test_how_probable_is_vanishing(snippet):
    model = plain_model(layers=3, width=256)
    for m in (model[0], model[2]):
        nn.init.kaiming_normal_(m.weight)
    sigmas = snippet.diagnose(model).numbers
    assert any(abs(value - math.sqrt(2)) < 0.05 for value in sigmas)
    assert 0.5 < snippet.diagnose().numbers[-1] < 0.7


def test_leaky_relu_dead_units(snippet):
    model = healthy_model()
    with torch.no_grad():
        model[5].bias.fill_(-100.0)
    out = snippet.run(model).names.out
    assert not any(isinstance(m, nn.ReLU) for m in model.modules())
    assert torch.autograd.grad(out.square().sum(), model[0].weight)[0].any(), "the dead layer lets a gradient through"


def test_predictions_all_the_mean(snippet):
    sick = plain_model(nn.ReLU, layers=2, outputs=1)
    with torch.no_grad():
        sick[0].bias.fill_(-100.0)
    spread, first, first_bias, last, last_bias = snippet.diagnose(sick).printed.splitlines()
    assert spread.endswith(" 0.0")
    assert [line.split()[-1] for line in (first, first_bias, last)] == ["0.0"] * 3
    assert float(last_bias.split()[-1]) > 0
    for sound in (healthy_model(), plain_model(nn.ReLU, layers=2, outputs=1)):
        assert all(float(line.split()[-1]) > 0 for line in snippet.diagnose(sound).printed.splitlines())


def test_predictions_all_zero(snippet):
    sick = nn.Sequential(plain_model(nn.ReLU, layers=2, outputs=1), nn.ReLU())
    with torch.no_grad():
        sick[0][2].bias.fill_(-100.0)
    assert snippet.diagnose(sick).numbers == [1, 0.0]
    for sound in (healthy_model(), plain_model(nn.ReLU, layers=2, outputs=1)):
        distinct, gradient = snippet.diagnose(sound).numbers
        assert distinct > 1 and gradient > 0
    answers = nn.Sequential(plain_model(), nn.Softmax(1))
    assert snippet.diagnose(answers).numbers[-1] > 1e-3, "a softmax adds up to 1 whatever the weights"


def test_saturated_sigmoid_losses(snippet):
    cross, squared = snippet.run().numbers
    assert cross == pytest.approx(-1, abs=1e-3) and -1e-3 < squared < 0


def test_see_vanishing_gradients_in_my_model(snippet):
    lines = snippet.diagnose(deep_sigmoid()).printed.splitlines()
    assert float(lines[0].split()[1]) > 1e4 * float(lines[-1].split()[1])
    lines = snippet.diagnose(deep_he()).printed.splitlines()
    assert 0.1 < float(lines[0].split()[1]) / float(lines[-1].split()[1]) < 10
    xavier = plain_model(layers=20, width=64)
    for m in xavier:
        if isinstance(m, nn.Linear):
            nn.init.xavier_normal_(m.weight)
            nn.init.zeros_(m.bias)
    lines = snippet.diagnose(xavier).printed.splitlines()
    factors = [float(line.split()[-1]) for line in lines[2:]]
    assert 0.6 < sum(factors) / len(factors) < 0.8, "ReLU with Xavier: the root of a half at each layer"
    assert len(snippet.diagnose().printed.splitlines()) == 3


def test_sigmoid_four_times_the_weights(snippet):
    model = deep_sigmoid()
    for m in model:
        if isinstance(m, nn.Linear):
            nn.init.xavier_normal_(m.weight)
    before = signal_ratio(model)
    snippet.run(model)
    assert signal_ratio(model) > 1000 * before
    snippet.run()


def test_sigmoid_slope_at_most_a_quarter(snippet):
    model = deep_sigmoid()
    bound = snippet.diagnose(model).numbers[-1]
    assert signal_ratio(model) < 10 * bound < 0.1
    assert snippet.diagnose().numbers[-1] > 0
    line = nn.Linear(8, 1)
    assert snippet.diagnose(line).numbers[-1] == pytest.approx(line.weight.norm().item()), "no sigmoid, no quarter"


def test_sigmoid_slope_in_float16(snippet):
    half, single = [float(line.split(": ")[1]) for line in snippet.run().printed.splitlines()]
    assert half == 0 and single == pytest.approx(1, abs=0.01)


def test_sigmoid_with_batch_norm(snippet):
    with_norm = snippet.run().numbers[0]
    without = snippet.run(swap={"torch.nn.BatchNorm1d(width), ": ""}).numbers[0]
    assert with_norm > 1e6 * without


def test_vanishing_gradients(snippet):
    sizes = snippet.diagnose(deep_sigmoid()).printed
    first, *_, last = [float(text.strip("' ")) for text in sizes.split("[")[1].split("]")[0].split(",")]
    assert first > 1e4 * last
    sizes = snippet.diagnose(deep_he()).printed
    first, *_, last = [float(text.strip("' ")) for text in sizes.split("[")[1].split("]")[0].split(",")]
    assert 0.1 < first / last < 10
    assert snippet.diagnose().printed.count("e") >= 3


def test_adam_or_sgd_when_gradients_vanish(snippet):
    model = deep_sigmoid(20)
    adam = torch.optim.Adam(model.parameters(), eps=1e-8)
    lines = snippet.diagnose(model, optimizer=adam).printed.splitlines()
    times_eps = [float(line.split()[4]) for line in lines]
    assert times_eps[0] < 1 < times_eps[-1]
    lines = snippet.diagnose().printed.splitlines()
    assert len(lines) == 2 and all(float(line.split()[4]) > 1000 for line in lines), "frozen layers are left out"
