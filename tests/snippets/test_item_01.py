"""Snippets on nan and inf, run on the faulty batch, label, mask or weight that they are meant for, and on sound
ones.
"""

import math

import pytest
import torch
from snippets.reader import bad_batch, batch, changes, check_bad_batch_is_skipped, healthy_model, plain_model, state_of
from torch import nn

pytestmark = pytest.mark.filterwarnings("ignore:Anomaly Detection", "ignore:Error detected")
INF, NAN = float("inf"), float("nan")


class Root(nn.Module):
    """A layer with finite outputs; its gradient at 0 is 0/0."""

    def forward(self, h):
        return torch.where(h > 0, h.relu().sqrt(), 0)


class Log(nn.Module):
    """A layer that gives nan for negative inputs."""

    def forward(self, h):
        return h.log()


def with_root():
    """A model whose gradient is nan where the layer `Root` gets 0."""
    return nn.Sequential(nn.Linear(8, 16), Root(), nn.Linear(16, 2))


def test_clipping_and_inf(snippet):
    check_bad_batch_is_skipped(snippet)


def test_contrastive_temperature(snippet):
    loss = snippet.run().names.info_nce
    u, v = torch.randn(16, 4), torch.randn(16, 4)
    u[0] = 0
    scale = torch.tensor(1000.0, requires_grad=True)
    u.requires_grad_()
    loss(u, v, scale).backward()
    assert u.grad.isfinite().all() and scale.grad.isfinite()
    logits = nn.functional.normalize(u, dim=1) @ nn.functional.normalize(v, dim=1).T / 0.07
    right = (nn.functional.cross_entropy(logits, torch.arange(16))
             + nn.functional.cross_entropy(logits.T, torch.arange(16))) / 2  # fmt: skip
    torch.testing.assert_close(loss(u, v, torch.tensor(math.log(1 / 0.07))), right)


def test_ctc_loss_inf(snippet):
    def ctc(frames):
        log_p = torch.randn(frames, 1, 5).log_softmax(-1)
        return nn.CTCLoss()(log_p, torch.tensor([[1, 1, 2, 3]]), torch.tensor([frames]), torch.tensor([4]))

    assert "fits" in snippet.run().printed
    for frames, word in ((4, "drop it"), (5, "fits")):
        assert word in snippet.run(swap={"frames = 20": f"frames = {frames}"}).printed
        assert ctc(frames).isfinite() == (word == "fits")


def test_eps_in_half_precision(snippet):
    ran = snippet.run()
    assert math.isnan(ran.numbers[0])
    divide = ran.names.safe_div
    for dtype in (torch.float16, torch.bfloat16, torch.float32):
        six, two, zero = torch.tensor([6.0, 2.0, 0.0], dtype=dtype)
        assert divide(six, two) == 3
        assert divide(zero, zero) == 0
        assert divide(six, zero).isfinite() or dtype is torch.float16


def test_eps_on_logits(snippet):
    model = nn.Linear(8, 2)
    with torch.no_grad():
        model.weight.mul_(1000)
    names = snippet.run(model).names
    assert names.loss.isfinite() and names.log_p.isfinite().all()
    assert (names.logits.softmax(1)).min() == 0, "the logarithm of the softmax would be −inf"
    names.loss.backward()
    assert model.weight.grad.abs().max() > 0.01
    names = snippet.run().names
    torch.testing.assert_close(names.loss, -names.logits.softmax(1).log()[range(64), names.y].mean())


def test_gan_step_updates_both(snippet):
    def change(held, trained):
        g, d = nn.Linear(2, 2), nn.Linear(2, 1)
        adam = torch.optim.Adam([p for net in held for p in (g, d)[net].parameters()], lr=0.1)

        def step():
            nn.functional.softplus(-d(g(torch.randn(8, 2)))).mean().backward()
            adam.step()

        return names.largest_change(step, (g, d)[trained])

    names = snippet.run().names
    assert change(held=[0], trained=1) == 0
    assert change(held=[0, 1], trained=1) == pytest.approx(0.1, rel=1e-3)
    assert change(held=[0], trained=0) == pytest.approx(0.1, rel=1e-3)


def test_gradient_of_sqrt_at_zero(snippet):
    assert "True" in snippet.run().printed
    assert "False" in snippet.run(swap={" + 1e-8": ""}).printed


def test_group_advantages_without_spread(snippet):
    advantages = snippet.run().names.group_advantages
    equal = advantages(torch.full((2, 32), 0.1))
    assert (equal == 0).all()
    assert (advantages(torch.tensor([[0.3]])) == 0).all(), "a group of one"
    assert (advantages(torch.full((1, 8), 0.1, dtype=torch.bfloat16)) == 0).all()
    spread = advantages(torch.randn(4, 32))
    assert (spread.std(1) - 1).abs().max() < 0.01 and spread.mean(1).abs().max() < 1e-5


def test_grpo_ratio_always_one(snippet, capsys):
    """At a ratio of 1 the loss is 0 and the gradient is not; the snippet notices stale values."""
    surrogate = snippet.run().names.surrogate
    logits = torch.randn(5, requires_grad=True)
    logp = logits.log_softmax(0)[[0, 1, 2, 3]]
    advantage = torch.tensor([1.0, -1.0, 2.0, -2.0])
    loss = surrogate(logp, logp, advantage)
    (gradient,) = torch.autograd.grad(loss, logits)
    assert abs(loss.item()) < 1e-6 and gradient.norm() > 0.1
    assert capsys.readouterr().out.split()[-1] == "0.0"
    surrogate(logp, logp.detach() - 1, advantage)
    assert capsys.readouterr().out.split()[-1] == "1.0"


def test_hand_written_cross_entropy(snippet):
    model = nn.Linear(8, 2)
    with torch.no_grad():
        model.weight.mul_(1000)
    names = snippet.run(model).names
    assert names.loss.isfinite()
    assert not (-names.logits.softmax(1).log())[range(64), 1 - names.y].mean().isfinite()
    assert snippet.run().names.loss < 2


def test_inf_turns_into_nan(snippet):
    sick = healthy_model()
    with torch.no_grad():
        sick[0].weight[0, 0] = INF
    ran = snippet.diagnose(sick)
    assert "0.weight holds inf" in ran.printed
    assert snippet.diagnose().printed == ""


def test_learning_rate_limit_in_many_dimensions(snippet):
    x = torch.randn(64, 8) @ torch.diag(torch.arange(1.0, 9.0))
    model = nn.Linear(8, 1, bias=False)
    curvature = torch.linalg.eigvalsh(2 * x.T @ x / 64)[-1].item()
    ran = snippet.diagnose(model, x=x, y=torch.randn(64, 1), criterion=nn.MSELoss())
    assert ran.numbers[-1] == pytest.approx(2 / curvature, rel=0.02)
    model.unused = nn.Linear(8, 3)
    ran = snippet.diagnose(model, x=x, y=torch.randn(64, 1), criterion=nn.MSELoss())
    assert ran.numbers[-1] == pytest.approx(2 / curvature, rel=0.02), "a head that the loss does not use"
    assert math.isfinite(snippet.diagnose().numbers[-1])


def test_log_sum_exp_subtract_max(snippet):
    ran = snippet.run()
    assert ran.numbers[0] == INF
    assert ran.numbers[1] == pytest.approx(1000 + math.log(2))
    assert ran.numbers[2:] == pytest.approx([-math.log(2)] * 2, abs=1e-4)


def test_log_variance_overflow(snippet):
    loss = snippet.run().names.gaussian_nll
    for raw in (-200.0, 0.0, 200.0):
        mean, raw_t = torch.zeros(4, requires_grad=True), torch.full((4,), raw, requires_grad=True)
        value = loss(mean, raw_t, torch.ones(4))
        value.backward()
        assert value.isfinite() and mean.grad.abs().max() < 1000 and raw_t.grad.isfinite().all()
    raw, target = torch.full((100,), 0.5), torch.randn(100)
    usual = 0.5 * (raw + target.square() / raw.exp()).mean()
    torch.testing.assert_close(loss(torch.zeros(100), raw, target), usual, rtol=0.02, atol=0.02)


def test_loss_nan_after_a_while(snippet, tmp_path):
    for x, y, stored in ((*batch(), False), (*bad_batch(), True)):
        model = plain_model()
        loss = nn.functional.cross_entropy(model(x), y)
        loss.backward()
        optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
        snippet.run(model, x=x, y=y, loss=loss, optimizer=optimizer)
        assert (tmp_path / "bad_batch.pt").exists() is stored
        optimizer.step()
        assert all(p.isfinite().all() for p in model.parameters())


def test_loss_nan_from_the_first_step(snippet):
    _, y = batch()
    some = torch.where(torch.arange(64) < 30, -100, y)
    assert snippet.diagnose().printed == ""
    assert snippet.diagnose(y=some).printed == "", "labels that are ignored are no fault"
    single = nn.functional.binary_cross_entropy_with_logits
    one_logit = snippet.diagnose(nn.Linear(8, 1), criterion=lambda out, y: single(out[:, 0], y.float()))
    assert one_logit.printed == "", "one logit has two classes"
    images = snippet.diagnose(nn.Conv2d(3, 5, 1), x=torch.rand(2, 3, 4, 4), y=torch.full((2, 4, 4), 4))
    assert images.printed == "", "classes of images are the second dimension"
    sick = healthy_model()
    with torch.no_grad():
        sick[7].bias[0] = NAN
    cases = (
        ({"x": bad_batch()[0]}, "inputs"),
        ({"model": sick}, "weights"),
        ({"y": torch.full((64,), -100)}, "no valid label"),
        ({"y": y + 5}, "out of range"),
        ({"model": nn.Sequential(nn.Linear(8, 2), Log())}, "forward pass"),
        ({"criterion": lambda out, y: out.softmax(1).sub(1).log().mean()}, "loss formula"),
    )
    for given, words in cases:
        with pytest.raises(AssertionError, match=words):
            snippet.diagnose(**given)


def test_masking_by_multiplying_zero__1(snippet):
    x, y = bad_batch()
    model = plain_model()
    loss = snippet.run(model, x=x, y=y).names.loss
    assert loss.isfinite() and all(p.grad.isfinite().all() for p in model.parameters())
    assert snippet.run().names.good.all()
    all_bad = healthy_model()
    before = state_of(all_bad)
    snippet.run(all_bad, x=torch.full((64, 8), NAN), y=y)
    assert not changes(before, state_of(all_bad)), "a batch without a good row is left out"


def test_masking_by_multiplying_zero__2(snippet):
    for x in (torch.tensor([0.0, -1.0, 2.0]), torch.tensor([0.5, 1.0, 2.0])):
        x.requires_grad_()
        out = snippet.run(x=x).names.out
        out.sum().backward()
        assert out.isfinite().all() and x.grad.isfinite().all()
        assert out[2] == x[2].log() and x.grad[2] == 0.5


def test_metric_nan_loss_finite(snippet):
    ran = snippet.run(swap={"[loss.item()]": "[1.0, float('nan'), 3.0]"})
    assert "bad step 1 nan" in ran.printed and ran.numbers[-2:] == [2, 1]
    ran = snippet.run(swap={"[loss.item()]": "[1.0, 3.0]"})
    assert "bad step " not in ran.printed.splitlines()[0] and ran.numbers[-2:] == [2, 0]


def test_nan_after_resume(snippet):
    for value, bad in ((NAN, True), (0.5, False)):
        model = plain_model()
        optimizer = torch.optim.Adam(model.parameters(), lr=0.01)
        model(batch()[0]).sum().backward()
        optimizer.step()
        optimizer.zero_grad()
        optimizer.state[model[0].weight]["exp_avg"][0, 0] = value
        with torch.no_grad():
            model[2].bias[0] = value
        assert snippet.diagnose(model, optimizer=optimizer).numbers[:2] == [bad, bad]


def test_nan_and_inf(snippet):
    with pytest.raises(AssertionError, match="forward pass"):
        snippet.run(x=bad_batch()[0])
    with pytest.raises(RuntimeError, match="SqrtBackward0"):
        snippet.run(with_root())
    assert snippet.run().printed == ""


def test_nan_from_an_empty_mask(snippet):
    _, y = batch()
    assert snippet.run(y=torch.zeros_like(y)).numbers == [0, 0]
    ran = snippet.run(y=y)
    assert ran.numbers[0] == y.sum()
    assert ran.numbers[1] == pytest.approx(ran.names["values"][y == 1].mean().item(), rel=1e-4)


def test_nan_from_bad_input_data(snippet):
    x, y = bad_batch(row=5)
    x[:, 4] = 7
    x[:, 6] = torch.tensor(0.1).nextafter(torch.arange(64) % 2.0)  # constant up to rounding
    x[:, 7] *= 1e-9
    ran = snippet.diagnose(x=x, y=y, new_loader=[batch(), (x, y)])
    for line in ("bad rows [5]", "bad columns [2]", "constant columns [4, 6]", "bad batch 1"):
        assert line in ran.printed
    printed = snippet.diagnose().printed
    assert "bad rows []" in printed and "constant columns []" in printed and "bad batch" not in printed


def test_nan_from_labels(snippet):
    _, y = batch()
    with pytest.raises(AssertionError, match="out of range"):
        snippet.run(y=y + 1)
    some = torch.where(torch.arange(64) < 30, -100, y)
    ran = snippet.run(y=some)
    assert "valid labels 34" in ran.printed and ran.names.loss.isfinite()
    ran = snippet.run(y=torch.full((64,), -100))
    assert "valid labels 0" in ran.printed and ran.names.loss == 0


def test_nan_with_a_small_learning_rate(snippet):
    cut = nn.Sequential(nn.Linear(8, 4), Log(), nn.Linear(4, 2))
    with pytest.raises(AssertionError, match="in 1"):
        snippet.diagnose(cut)
    with pytest.raises(AssertionError, match="from the loss"):
        snippet.diagnose(criterion=lambda out, y: out.sum() / 0)
    with pytest.raises(RuntimeError, match="SqrtBackward0"):
        snippet.diagnose(with_root())
    assert snippet.diagnose().printed == ""


def test_pow_gradient_at_zero(snippet):
    x = torch.tensor([[0.0, -1.0, 2.0]])
    assert "True" in snippet.run(x=x).printed
    assert "False" in snippet.run(x=x, swap={".clamp(min=1e-6)": ""}).printed
    names = snippet.run(x=torch.tensor([8.0])).names
    assert names.y1.item() == pytest.approx(8**0.3)


def test_ppo_ratio_overflow(snippet):
    loss = snippet.run().names.policy_loss
    advantage, mask = torch.tensor([[1.0, -2.0, 3.0, -1.0]]), torch.tensor([[True, True, True, False]])
    for values in ([[0.0, 200.0, -200.0, -INF]], [[0.0, 100.0, 0.0, NAN]]):
        logp = torch.tensor(values, requires_grad=True)
        value = loss(logp, torch.zeros(1, 4), advantage, mask)
        value.backward()
        assert value.isfinite() and logp.grad.isfinite().all()
    logp = torch.randn(1, 4)
    assert loss(logp, logp, advantage, torch.zeros(1, 4, dtype=torch.bool)) == 0, "an empty mask"
    d = torch.tensor([[0.5, -0.1, 0.05, 0.0]])
    usual = -torch.minimum(d.exp() * advantage, d.exp().clamp(0.8, 1.2) * advantage)[mask].mean()
    torch.testing.assert_close(loss(d, torch.zeros(1, 4), advantage, mask), usual)


def test_truncation_leaves_no_labels(snippet):
    count = snippet.run().names.label_counts
    assert count(torch.tensor([[-100, -100, -100], [5, -100, 7]])).tolist() == [0, 2]
    assert count(torch.tensor([[1, 2, 3]])).tolist() == [3]


def test_where_nan_in_backward(snippet):
    x = torch.tensor([[0.0, -1.0, 2.0]])
    assert "True" in snippet.run(x=x).printed
    assert "False" in snippet.run(x=x, swap={"safe.log()": "v.log()"}).printed


def test_acos_gradient(snippet):
    ran = snippet.run()
    assert "True" in ran.printed
    a = torch.tensor([[1.0, 0.0, 0.0]] * 3, requires_grad=True)
    b = torch.tensor([[1.0, 0.0, 0.0], [-1.0, 0.0, 0.0], [0.0, 2.0, 0.0]])
    angles = ran.names.angle(a, b)
    assert angles.tolist() == pytest.approx([0, math.pi, math.pi / 2], abs=1e-6)
    angles.sum().backward()
    assert a.grad.isfinite().all()


def test_dice_on_empty_mask(snippet):
    ran = snippet.run()
    assert "True" in ran.printed and ran.numbers[0] < 0.01
    loss = ran.names.dice_loss
    mask = (torch.rand(2, 1, 16, 16) < 0.5).float()
    assert loss(200 * mask - 100, mask) < 0.01 < 0.9 < loss(100 - 200 * mask, mask)
    assert loss((200 * mask - 100).half(), mask.half()).isfinite()


def test_dpo_loss_at_ln_2(snippet):
    loss = snippet.run().names.dpo_loss
    same = torch.randn(2, 8)
    assert loss(same, same).item() == pytest.approx(math.log(2), abs=1e-6)
    far = torch.tensor([[-5000.0], [0.0]])
    assert loss(far, torch.zeros(2, 1)).item() == pytest.approx(500)
    assert loss(-far, torch.zeros(2, 1)).item() == pytest.approx(0, abs=1e-6)


def test_dpo_chosen_reward_falls(snippet):
    """With the SFT term a less likely chosen answer costs more; without it the loss depends on the margin only."""
    ran = snippet.run()
    loss, logp = ran.names.dpo_with_sft, torch.tensor([-50.0, -80.0])
    plain = loss(logp - 20, logp - 40, logp, logp, 10, alpha=0.0)
    torch.testing.assert_close(plain, loss(logp, logp - 20, logp, logp, 10, alpha=0.0))
    assert plain.item() == pytest.approx(math.log1p(math.exp(-2)))
    assert loss(logp - 20, logp - 40, logp, logp, 10) > loss(logp, logp - 20, logp, logp, 10)


def test_entropy_with_zero_probability(snippet):
    ran = snippet.run(plain_model(outputs=3), y=torch.zeros(64, dtype=torch.long))
    assert ran.numbers == [0] and all(p.grad.isfinite().all() for p in ran.names.model.parameters())
    logits = torch.randn(4, 3)
    usual = torch.distributions.Categorical(logits=logits).entropy()
    torch.testing.assert_close(ran.names.masked_entropy(logits, torch.ones(4, 3, dtype=torch.bool)), usual)


def test_inverse_of_softplus(snippet):
    names = snippet.run().names
    assert names.raw.isfinite().all()
    torch.testing.assert_close(nn.functional.softplus(names.raw), names.target, rtol=1e-4, atol=1e-10)
    assert not torch.log(torch.expm1(names.target)).isfinite().all(), "as it is usually written"


def test_kl_estimators(snippet):
    estimates = snippet.run().names.kl_estimates
    mask = torch.tensor([True, True, False])
    values = estimates(torch.tensor([-1.0, -300.0, -INF]), torch.tensor([-1.0, 0.0, NAN]), mask)
    assert all(value.isfinite() for value in values.values())
    d = torch.full((3,), 0.1)
    values = estimates(torch.zeros(3), d, torch.ones(3, dtype=torch.bool))
    assert values["k1"].item() == pytest.approx(-0.1)
    assert values["k3"].item() == pytest.approx(math.exp(0.1) - 1 - 0.1, rel=1e-4)
    assert estimates(d, d, torch.zeros(3, dtype=torch.bool))["k3"] == 0, "an empty mask"


def test_kl_with_a_zero_probability(snippet):
    kl = snippet.run(plain_model()).names.kl_from_logits
    student = torch.randn(4, 3, requires_grad=True)
    allowed = torch.tensor([True, True, False])
    value = kl(student, torch.tensor([[0.0, 200.0, 5.0]] * 4), allowed)
    value.backward()
    assert value.isfinite() and student.grad.isfinite().all()
    assert kl(student, student).abs() < 1e-6
    teacher = torch.randn(4, 3)
    p, q = teacher.softmax(-1), student.softmax(-1)
    torch.testing.assert_close(kl(student, teacher), (p * (p / q).log()).sum(-1).mean())


def test_label_smoothing_with_masked_classes(snippet):
    loss = snippet.run(plain_model()).names.smoothed_loss
    logits, y = torch.randn(8, 5, requires_grad=True), torch.zeros(8, dtype=torch.long)
    allowed = torch.ones(8, 5, dtype=torch.bool)
    usual = nn.functional.cross_entropy(logits, y, label_smoothing=0.1)
    torch.testing.assert_close(loss(logits, y, allowed), usual)
    allowed[:, 3:] = False
    masked = loss(logits, y, allowed)
    masked.backward()
    assert masked < 10 and logits.grad.isfinite().all()
    some = torch.where(torch.arange(8) < 3, -100, y)
    usual = nn.functional.cross_entropy(logits, some, label_smoothing=0.1)
    torch.testing.assert_close(loss(logits, some, torch.ones(8, 5, dtype=torch.bool)), usual)
    assert loss(logits, torch.full((8,), -100), allowed) == 0


def test_normalising_a_zero_vector(snippet):
    names = snippet.run().names
    assert names.v.grad.isfinite().all() and names.v.grad.abs().max() < 1e5
    v = torch.randn(4, 8)
    torch.testing.assert_close(names.unit(v), nn.functional.normalize(v, dim=-1), rtol=1e-4, atol=1e-5)
    plain = torch.zeros(8, requires_grad=True)
    (plain / plain.norm()).sum().backward()
    assert not plain.grad.isfinite().any(), "what it is for"


def test_perplexity_inf(snippet):
    x, y = batch()
    some = torch.where(torch.arange(64) < 30, -100, y)
    model = plain_model()
    mean, perplexity = snippet.diagnose(model, new_loader=[(x, some), (x, torch.full((64,), -100))]).numbers
    usual = nn.functional.cross_entropy(model(x), some).item()
    assert mean == pytest.approx(usual, rel=1e-4) and perplexity == pytest.approx(math.exp(usual), rel=1e-3)
    with torch.no_grad():
        model[-1].weight.mul_(1e6)
    mean, perplexity = snippet.diagnose(model, new_loader=[(x, 1 - y)]).numbers
    assert math.isfinite(mean) and perplexity == INF
    dropping = nn.Sequential(nn.Dropout(0.5), plain_model())
    usual = nn.functional.cross_entropy(dropping.eval()(x), y).item()
    assert snippet.diagnose(dropping.train(), new_loader=[(x, y)]).numbers[0] == pytest.approx(usual, rel=1e-4)
    tokens, targets = torch.randint(7, (3, 5)), torch.randint(7, (3, 5))
    language_model = nn.Sequential(nn.Embedding(7, 8), nn.Linear(8, 7))
    usual = nn.functional.cross_entropy(language_model(tokens).flatten(0, 1), targets.flatten()).item()
    ran = snippet.diagnose(language_model, new_loader=[(tokens, targets)])
    assert ran.numbers[0] == pytest.approx(usual, rel=1e-4), "batch × length × vocabulary"


def test_sinkhorn_underflow(snippet):
    ran = snippet.run()
    assert "True" in ran.printed and ran.numbers[-1] < 0.05
    cost = torch.rand(6, 5)
    plan = ran.names.sinkhorn(1000 * cost)
    assert plan.isfinite().all() and plan.sum().item() == pytest.approx(1, abs=1e-3)


def test_std_of_a_single_value(snippet):
    x, _ = batch()
    x[:, 2] = 0.1
    assert snippet.run(x=x).numbers[0] == 1 and "True" in snippet.run(x=x).printed
    assert "True" in snippet.run(x=x[:1]).printed, "a single row"
    x[:, 5] *= 1e-9
    assert snippet.run(x=x).numbers[0] == 1, "tiny units are no constant"
    assert snippet.run().numbers[0] == 0


def test_tanh_squashed_log_prob(snippet):
    names = snippet.run().names
    assert names.value.isfinite() and names.u.grad.isfinite().all()
    normal, u = torch.distributions.Normal(0.0, 1.0), torch.tensor([[0.5, -0.3]])
    usual = (normal.log_prob(u) - (1 - u.tanh() ** 2).log()).sum(-1)
    torch.testing.assert_close(names.squashed_log_prob(normal, u), usual)


def test_terminal_snr_zero(snippet):
    plain, rescaled = [line.split("error ")[1] for line in snippet.run().printed.splitlines()]
    assert float(plain) > 50 and rescaled == "inf"


def test_vae_kl_at_start(snippet):
    for x in (batch()[0], 300 * batch()[0] + 1000):
        kl = snippet.run(x=x).numbers[-1]
        assert 0 < kl < 20


def test_value_loss_in_the_thousands(snippet):
    ran = snippet.run()
    assert ran.numbers[0] == pytest.approx(1, rel=1e-3)
    scale = ran.names.ReturnScale()
    assert (scale(torch.zeros(4)) == 0).all()


def test_poisson_rate_of_zero(snippet):
    loss, finite = snippet.diagnose().printed.split()
    assert math.isfinite(float(loss)) and finite == "True"
    without_limit = snippet.diagnose(swap={".clamp(max=20)": ""})
    assert without_limit.printed.split() == ["inf", "False"], "exp(200) overflows"
    sound = {"[-200.0, -1.0, 0.5, 200.0]": "[-2.0, -1.0, 0.5, 2.0]"}
    limited, plain = (snippet.diagnose(swap=sound | more).numbers[0] for more in ({}, {".clamp(max=20)": ""}))
    assert limited == plain, "the limit changes no ordinary rate"


def test_weight_norm_at_a_zero_vector(snippet):
    *lines, last = snippet.diagnose().printed.splitlines()
    assert lines and all(line.endswith("zero rows 0") for line in [*lines, "zero rows" + last.partition("input")[2]])
    model = healthy_model()
    x, y = batch()
    with torch.no_grad():
        model[0].weight[3] = 0
    x[[5, 9]] = 0
    *lines, last = snippet.diagnose(model, x=x, y=y).printed.splitlines()
    assert lines[0] == "0.weight shortest row 0.0 zero rows 1"
    assert last == "zero rows in the input 2"


def test_gan_both_losses_nan(snippet):
    x, y = bad_batch()
    x[:, 5] = 3.0
    columns, real, scores = snippet.diagnose(plain_model(), x=x, y=y).printed.splitlines()
    assert columns == "constant columns [5]"
    assert real.startswith("real fraction non-finite 0.00195") and "non-finite 0.0 " not in scores
    columns, real, scores = snippet.diagnose().printed.splitlines()
    assert columns == "constant columns []"
    assert "fraction non-finite 0.0 " in real and "fraction non-finite 0.0 " in scores


def test_kl_of_minus_inf_logprobs(snippet):
    def kl(logp, ref):
        mask = torch.tensor([True, True, True, False])
        return masked_kl(logp.log_softmax(-1)[:, 0], ref.log_softmax(-1)[:, 0], mask)

    ran = snippet.run()
    assert ran.printed.startswith("tokens left out 0 of 64") and ran.numbers[-1] == pytest.approx(0.00517, rel=0.01)
    masked_kl = ran.names.masked_kl
    logits, ref = torch.randn(4, 5), torch.randn(4, 5)
    sound = kl(logits, ref)
    assert sound.isfinite() and sound > 0
    logits[1, 0] = ref[1, 0] = -INF
    logits.requires_grad_()
    left = kl(logits, ref)
    left.backward()
    assert left.isfinite() and logits.grad.isfinite().all()
    none = torch.zeros(4, dtype=torch.bool)
    assert masked_kl(torch.zeros(4), torch.zeros(4), none) == 0


def test_student_t_many_degrees_of_freedom(snippet):
    ran = snippet.diagnose()
    assert math.isfinite(ran.numbers[0]) and ran.printed.strip().endswith("True")
    residual = torch.tensor([0.0, 1.0, -3.0])
    for raw in (-20.0, 0.0, 3.0):
        nu = 2 + 998 / (1 + math.exp(-raw))
        expected = -torch.distributions.StudentT(torch.tensor(nu).double()).log_prob(residual.double()).mean()
        assert ran.names.student_t_nll(residual, torch.tensor(raw)) == pytest.approx(expected.item(), rel=1e-5)
    far = torch.tensor([-300.0, 300.0], requires_grad=True)
    ran.names.student_t_nll(torch.ones(2), far).backward()
    assert far.grad.isfinite().all(), "at both ends of the range of ν"


def test_policy_entropy_collapses(snippet):
    entropy = snippet.run().names.token_entropy
    mask = torch.tensor([[1.0, 1.0, 0.0]])
    flat = torch.zeros(1, 3, 100)
    flat[0, 2, 0] = 1000.0  # padding
    assert entropy(flat, mask).item() == pytest.approx(math.log(100), rel=1e-5)
    forbidden = flat.clone()
    forbidden[..., 50:] = -math.inf
    assert entropy(forbidden, mask).item() == pytest.approx(math.log(50), rel=1e-5)
    sure = flat.bfloat16()
    sure[..., 3] = 200.0
    assert entropy(sure, mask).item() == pytest.approx(0, abs=1e-5)
    assert entropy(flat, torch.zeros(1, 3)).item() == 0


def test_q_values_diverge(snippet, capsys):
    """The snippet detects and limits targets beyond any possible return; at an episode's end the target is the
    reward.
    """
    target = snippet.run().names.td_target
    reward, q = torch.ones(3), torch.tensor([50.0, 5e4, 80.0], requires_grad=True)
    made = target(reward, q, torch.tensor([False, False, True]))
    torch.testing.assert_close(made, torch.tensor([1 + 0.99 * 50, 100.0, 1.0]))
    assert float(capsys.readouterr().out.split()[-1]) == pytest.approx(1 / 3)
    assert not made.requires_grad
    target(reward, q[:1], torch.tensor([False]))
    assert float(capsys.readouterr().out.split()[-1]) == 0


def test_reward_rises_then_collapses(snippet):
    """The curve that leaves its range first is named first; curves without a jump and slow trends are not named."""
    first = snippet.run().names.first_to_move
    steps = torch.arange(200)
    noise = torch.randn(200) * 0.01
    jump = lambda t, size: (noise + size * (steps >= t)).tolist()  # noqa: E731
    curves = {"reward": jump(150, -1.0), "kl": jump(140, 3.0), "length": noise.tolist(), "lr": [1e-6] * 200}
    assert first(curves) == [("kl", 140), ("reward", 150)]
    broken = [1.0] * 50 + [math.nan] * 10
    assert first({"loss": broken}) == [("loss", 50)]
    assert first({"trend": (0.01 * steps).tolist(), "short": [1.0, 2.0]}) == []


def test_rl_spikes_without_harm(snippet):
    ran = snippet.run()
    spread = ran.names.spread
    assert ran.numbers[-1] < 0.3, "no sample stands out"
    returns = torch.randn(256)
    assert spread(returns + 100, torch.zeros(256)) < 0.1, "the value function is off for all"
    returns[7] = 50
    assert spread(returns, torch.zeros(256)) > 0.5
    assert spread(torch.zeros(4), torch.zeros(4)) == 0


def test_boxes_without_area(snippet):
    sound = snippet.run().names.sound
    nan = math.nan
    boxes = torch.tensor(
        [
            [10.0, 10, 60, 40],  # sound
            [10, 10, 10, 40],  # no width
            [60, 40, 10, 10],  # swapped corners
            [120, 10, 140, 40],  # outside the picture
            [10, 10, 10.5, 40],  # half a pixel
            [nan, 10, 60, 40],
        ]
    )
    given = boxes.clone()
    assert sound(boxes, 100, 80).tolist() == [True] + 5 * [False]
    assert torch.equal(boxes, given) or boxes.isnan().any()
    sizes = boxes[sound(boxes, 100, 80)]
    assert ((sizes[:, 2:] - sizes[:, :2]) / 32).log().isfinite().all()
    bad = ((boxes[1:3, 2:] - boxes[1:3, :2]) / 32).log()
    assert not bad.isfinite().all(1).any()
