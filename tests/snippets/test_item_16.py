"""Snippets on half precision, run on an overflow, a lost digit or a wrong dtype, and on a sound model."""

import math
import re

import numpy as np
import pytest
import torch
from snippets.reader import batch, check_weights_change, healthy_model, plain_model
from torch import nn

pytestmark = pytest.mark.filterwarnings("ignore:In CPU autocast")
INF = math.inf


def large_model():
    """A model whose layer "0" gives outputs beyond float16's range, for inputs of standard deviation 1."""
    model = plain_model()
    with torch.no_grad():
        model[0].weight.mul_(1e6)
    return model


def test_adam_eps_float16(snippet):
    model = plain_model().bfloat16()
    ran = snippet.run(model)
    assert "float32" in ran.printed and "float16" not in ran.printed
    assert all(p.dtype is torch.float32 for p in model.parameters())
    snippet.run()


def test_amp_nan_find_the_layer(snippet):
    lines = snippet.diagnose(large_model()).printed.splitlines()
    assert lines[0].startswith("0:")
    assert snippet.diagnose().printed == ""


def test_autocast_gradscaler_recipe(snippet):
    model = plain_model()
    before = [p.detach().clone() for p in model.parameters()]
    names = snippet.run(model).names
    assert names.dtype is torch.bfloat16 and names.norm.isfinite()
    assert not all(torch.equal(a, b) for a, b in zip(before, model.parameters(), strict=True))
    assert all(p.dtype is torch.float32 for p in model.parameters())
    snippet.run()


def test_autocast_overrides_float32(snippet):
    run = snippet.run().names.in_float32
    layer = nn.Linear(8, 2)
    x = 1000 + torch.randn(4, 8)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        plain, wide = layer(x.float()), run(layer, x)
        kept, loss = plain.softmax(-1), nn.functional.mse_loss(plain, plain)
    assert plain.dtype is torch.bfloat16 and wide.dtype is torch.float32
    assert kept.dtype is torch.bfloat16 and loss.dtype is torch.float32, "the list of a CPU, as the scope says"
    torch.testing.assert_close(wide, layer(x))


def test_batch_of_one_differs(snippet):
    printed = snippet.diagnose(healthy_model().eval()).printed
    relative, units = [float(text) for text in printed.replace("in units of rounding", "").split() if text[0].isdigit()]
    assert relative < 1e-5 and units < 100

    class Depends(nn.Module):
        def __init__(self):
            super().__init__()
            self.scale = nn.Parameter(torch.ones(()))

        def forward(self, x):
            return self.scale * (x - x.mean(0))[:, :2]

    text = snippet.diagnose(Depends().eval()).printed.replace("in units of rounding", "").split()
    assert float(text[2]) > 0.5


def test_bf16_greedy_diverges(snippet):
    class Close(nn.Module):
        def __init__(self, gap):
            super().__init__()
            self.logits = nn.Parameter(torch.tensor([[10.0, 10.0 - gap]]))

        def forward(self, x):
            return self.logits.expand(len(x), -1)

    assert snippet.diagnose(Close(0.01).eval()).numbers[-1] == 1
    assert snippet.diagnose(Close(1.0).eval()).numbers[-1] == 0
    assert 0 <= snippet.diagnose(healthy_model().eval()).numbers[-1] < 0.5


def test_bf16_model_in_float16(snippet):
    printed = snippet.diagnose(large_model().bfloat16(), x=batch()[0]).printed
    assert "'0'" in printed.split(")")[0] or "'1'" in printed.split(")")[0]
    assert float(printed.split("(")[1].split(",")[0]) > 65504
    assert float(snippet.diagnose().printed.split("(")[1].split(",")[0]) < 100
    layer = nn.Sequential(nn.LSTM(8, 4))
    assert snippet.diagnose(layer).printed == "[]\n", "outputs that are no tensors are passed over"


def test_bf16_or_fp16(snippet):
    assert "bfloat16" in snippet.run().printed


def test_black_images_in_float16(snippet):
    decode = snippet.run().names.decode
    decoder = nn.Sequential(nn.Conv2d(4, 3, 3), nn.Conv2d(3, 3, 3), nn.Hardtanh(-1, 1))
    with torch.no_grad():
        decoder[0].weight.mul_(1e5)
        decoder[1].weight.mul_(100)
    latent = torch.randn(1, 4, 8, 8).half()
    decoder.half()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        image = decode(decoder, latent)
    assert image.dtype is torch.float32
    decoder[0].weight.data.fill_(math.nan)
    with pytest.raises(AssertionError):
        decode(decoder, latent)


def test_catastrophic_cancellation(snippet):
    subtracted, factored = snippet.run().numbers
    assert subtracted > 0.01 > factored


def test_dtype_ladder(snippet):
    lines = snippet.run().printed.splitlines()
    assert len(lines) == 5 and "inf" in lines[2] and "inf" not in lines[0] + lines[1]


def test_float16_precision(snippet):
    check_weights_change(snippet)


def test_fp16_export_wrong(snippet):
    lines = snippet.diagnose(large_model()).printed.splitlines()
    assert lines[0].startswith("0: ") and lines[0].endswith(("nan", "inf"))
    printed = snippet.diagnose(healthy_model()).printed
    gaps = [float(line.split()[-1]) for line in printed.splitlines()]
    assert len(gaps) == 8 and max(gaps) < 0.01


def test_fp8_scaling(snippet):
    ran = snippet.run()
    assert ran.numbers[-1] < 0.05
    plain = torch.randn(1000) * 1e-3
    assert ((plain.to(torch.float8_e4m3fn).float() - plain).norm() / plain.norm()) > 0.2
    for v in (torch.zeros(4), torch.tensor([1e30, 1.0]), torch.full((4,), 1000.0).half()):
        stored, scale = ran.names.to_float8(v)
        assert stored.float().isfinite().all() and scale.isfinite()


def test_gradient_overflow_skipping_step(snippet):
    assert "True" in snippet.run().printed
    assert "False" in snippet.run(criterion=lambda out, y: out.sum() / 0).printed


def test_calibration_set_for_int8(snippet):
    x, _ = batch()
    stray = x.clone()
    stray[0, 0] = 1e4
    wide, ratio = snippet.diagnose(x=x, calibration=stray).names.report["0"]
    assert wide > 30 and ratio < 10, "one stray value"
    _, ratio = snippet.diagnose(x=x, calibration=255 * x).names.report["0"]
    assert ratio == pytest.approx(255, rel=0.01), "another preprocessing"
    wide, ratio = snippet.diagnose(x=x, calibration=x.flip(0)).names.report["0"]
    assert wide < 10 and ratio == pytest.approx(1, rel=0.1)


def test_int8_int4_outliers(snippet):
    x, _ = batch()
    model = plain_model()
    x[:, 2] *= 100
    seen = snippet.diagnose(model, x=x).names.seen
    name, ratio = max(seen.items(), key=lambda item: item[1])
    assert name == "0" and ratio > 30
    assert max(snippet.diagnose().names.seen.values()) < 10
    images = nn.Sequential(nn.Conv2d(3, 4, 3, bias=False), nn.ReLU(), nn.Flatten(), nn.Linear(144, 2))
    pixels = torch.rand(8, 3, 8, 8)
    pixels[:, 1] *= 100
    seen = snippet.diagnose(images, x=pixels).names.seen
    assert seen["0"] > 30, "convolutions have outliers, too"


def test_kahan_summation_float16(snippet):
    assert snippet.run().numbers[0] == pytest.approx(1, abs=0.002)
    assert snippet.run(swap={"c = (t - s) - corrected": "pass"}).numbers[0] != pytest.approx(1, abs=0.002)


def test_layer_norm_eps_half(snippet):
    ran = snippet.run()
    assert "True" in ran.printed
    v = 1000 * torch.randn(4, 64)
    for dtype in (torch.float16, torch.bfloat16, torch.float32):
        out = ran.names.rms_norm(v.to(dtype), torch.ones(64, dtype=dtype))
        assert out.dtype is dtype
        torch.testing.assert_close(out.float().square().mean(1), torch.ones(4), rtol=0.02, atol=0.02)


def test_long_dot_product_float16(snippet):
    library, single = [float(line.split()[-1]) for line in snippet.run().printed.splitlines()]
    assert single < 1e-5 and library < 0.01
    ones, place = torch.ones(5000, dtype=torch.float16), torch.zeros(5000, dtype=torch.long)
    table = torch.zeros(1, 1, dtype=torch.float16, requires_grad=True)
    nn.functional.embedding(place, table).sum().backward()
    one_by_one = torch.zeros(1, dtype=torch.float16).index_add(0, place, ones), table.grad, np.cumsum(ones.numpy())[-1]
    assert [float(total) for total in one_by_one] == [2048] * 3, "what step 2 names stops"
    assert ones.sum() == ones.cumsum(0)[-1] == 5000, "what it leaves out does not"


def test_loss_scale_keeps_falling(snippet):
    wide, half = [float(text) for text in snippet.diagnose().printed.split()[1::2]]
    assert wide == pytest.approx(half, rel=0.01)


def test_loss_scaling(snippet):
    check_weights_change(snippet)


def test_metric_mean_in_low_precision(snippet):
    loss, accuracy = [
        float(text) for text in snippet.run().printed.replace("mean loss", "").replace("accuracy", "").split()
    ]
    assert 0 < loss < 3 and 0 <= accuracy <= 1
    x, _ = batch()
    one = nn.Linear(8, 1)
    y = (one(x)[:, 0] > 0).long()
    ran = snippet.run(one, x=x, y=y, criterion=lambda out, y: nn.functional.softplus(-out[:, 0]).mean())
    assert ran.printed.endswith("accuracy 1.0\n"), "one logit"


def test_muon_newton_schulz_bf16(snippet):
    low, high = snippet.run().numbers
    assert 0.5 < low < high < 1.3
    run = snippet.run().names.orthogonalised
    for g in (torch.randn(64, 32), 1e-6 * torch.randn(16, 16), torch.zeros(4, 4)):
        assert run(g).shape == g.shape and run(g).isfinite().all()


def test_norm_overflows_in_float16(snippet):
    squared, cured = [
        float(text) for text in snippet.run().printed.replace("squared first", "").replace("float32 first", "").split()
    ]
    assert squared == INF and cured == pytest.approx(1, abs=0.01)
    unit = snippet.run().names.unit_vector
    assert (unit(torch.zeros(1, 8).half()) == 0).all()


def test_only_on_this_device(snippet):
    printed = snippet.diagnose(healthy_model().eval()).printed
    assert "True" in printed and float(printed.split()[-1]) < 100

    class Noisy(nn.Module):
        def __init__(self):
            super().__init__()
            self.scale = nn.Parameter(torch.ones(()))

        def forward(self, x):
            return self.scale * x + torch.rand_like(x)

    assert "False" in snippet.diagnose(Noisy().eval()).printed


def test_order_of_addition(snippet):
    wide, half = [[float(text) for text in line.strip("[]").split(",")] for line in snippet.run().printed.splitlines()]
    assert max(wide) - min(wide) < 1e-9 and max(half) - min(half) > 0.01


def test_position_2049_float16(snippet):
    printed = snippet.diagnose().printed
    assert printed.startswith("False True") and "1.running_mean" in printed
    assert "num_batches" not in printed


def test_pure_bf16_training(snippet):
    model = plain_model().bfloat16()
    snippet.run(model)
    assert all(p.dtype is torch.float32 for p in model.parameters())
    snippet.run()


def test_scaled_loss_inf(snippet):
    class Half(nn.Module):
        def __init__(self):
            super().__init__()
            self.inner = plain_model()

        def forward(self, x):
            return self.inner(x).half()

    ran = snippet.run(Half())
    assert ran.numbers[-1] > 10000 and math.isfinite(ran.numbers[-1])
    snippet.run()


def test_softmax_overflow_float16(snippet):
    names = snippet.run(nn.Sequential(large_model())).names
    assert names.loss.isfinite()
    assert names.scores.isfinite().all() and names.scores.sum(-1).sub(1).abs().max() < 1e-5
    snippet.run()


def test_stochastic_rounding(snippet):
    stochastic, nearest = snippet.run().numbers
    assert nearest == 1 and stochastic == pytest.approx(1 - 1e-4, abs=5e-5)


def test_tf32_precision(snippet):
    assert float(snippet.run().printed.split()[-1]) < 1e-5


def test_update_swallowed_master_weights(snippet):
    model = plain_model().bfloat16()
    x, _ = batch()
    optimizer = torch.optim.SGD(model.parameters(), lr=1e-5)
    assert snippet.run(model, x=x.bfloat16(), optimizer=optimizer).numbers[0] > 0.9
    assert snippet.run().numbers[0] < 0.1


def test_weights_do_not_move(snippet):
    model = healthy_model()
    printed = snippet.run(model).printed
    fractions = {line.split()[0]: float(line.split("unchanged ")[1].split()[0]) for line in printed.splitlines()[:-1]}
    assert fractions["4.weight"] == 1 and fractions["7.weight"] < 0.1
    lost = plain_model()
    printed = snippet.run(lost, optimizer=torch.optim.SGD(plain_model().parameters(), lr=0.1)).printed
    assert "True" not in printed


def test_what_stays_float32(snippet):
    names = snippet.run().names
    norm = names.Float32LayerNorm(64).half()
    out = norm(1000 * torch.randn(4, 64).half())
    assert out.dtype is torch.float16 and out.float().var(1, unbiased=False).sub(1).abs().max() < 0.02
    assert names.Float32LayerNorm(64, elementwise_affine=False)(torch.randn(4, 64).half()).dtype is torch.float16
    assert names.loss.dtype is torch.float32


@pytest.mark.exhaustive
def test_compile_differs_from_eager(snippet):
    errors = [float(line.split()[-1]) for line in snippet.diagnose().printed.splitlines()]
    assert len(errors) == 2 and max(errors) < 1e-5


def test_flash_attention_equals_softmax(snippet):
    ran = snippet.run()
    assert ran.numbers[-1] < 1e-5
    assert ran.names.found.isfinite().all() and (ran.names.found[:, :, 5] == 0).all()


def test_fp8_amax_history_after_a_spike(snippet):
    lines = snippet.diagnose().printed.splitlines()
    assert len(lines) == 5, "frozen layers have no gradient"
    lost = [float(text) for text in lines[0].split("[")[1].rstrip("]").split(",")]
    assert lost[0] < 0.1 and lost[-1] > 0.9


def test_gtx_16xx_half(snippet):
    assert all(float(line.split()[3]) == 0 for line in snippet.diagnose().printed.splitlines())
    assert float(snippet.diagnose(large_model()).printed.split()[3]) > 0


def test_gumbel_noise_inf(snippet):
    names = snippet.run().names
    noise = names.gumbel_like(torch.zeros(100000))
    assert noise.isfinite().all() and noise.mean().item() == pytest.approx(0.5772, abs=0.02)


def test_half_precision_all_reduce(snippet):
    lines = snippet.diagnose(plain_model()).printed.splitlines()
    total, part = [float(line.split(" limit")[0].split()[-1]) for line in lines]
    assert 0 < part < total < 65504
    large = snippet.diagnose(plain_model(), criterion=lambda out, y: 1e6 * out.sum())
    assert float(large.printed.split(" limit")[0].split()[-1]) > 65504
    snippet.diagnose()


def test_large_vocabulary_in_bf16(snippet):
    loss = snippet.run().names.chunked_loss
    hidden, weight, y = torch.randn(100, 8), torch.randn(50, 8), torch.randint(50, (100,))
    y[:30] = -100
    usual = nn.functional.cross_entropy(hidden @ weight.T, y)
    torch.testing.assert_close(loss(hidden, weight, y, rows=16), usual)
    assert loss(hidden, weight, torch.full((100,), -100)) == 0


def test_loss_scaling_with_accumulation(snippet):
    x, y = batch()
    model = plain_model()
    nn.functional.cross_entropy(model(x), y).backward()
    norm = torch.cat([p.grad.flatten() for p in model.parameters()]).norm().item()
    assert snippet.run(model, x=x, y=y).numbers[-1] == pytest.approx(norm, rel=1e-3)
    model.zero_grad()
    nn.functional.cross_entropy(model(x[:50]), y[:50]).backward()
    norm = torch.cat([p.grad.flatten() for p in model.parameters()]).norm().item()
    found = snippet.run(model, x=x[:50], y=y[:50]).numbers[-1]
    assert found == pytest.approx(norm, rel=1e-3), "a short last piece weighs by its samples"


def test_merging_lora_loses_the_update(snippet):
    unchanged, lost = [float(text) for text in snippet.diagnose().printed.split() if text[0].isdigit()]
    assert unchanged > 0.5 and lost > 0.5
    report = snippet.diagnose().names.merge_report
    w = torch.randn(64, 64)
    torch.testing.assert_close(report(w, 0.1 * torch.randn(64, 64)), report(w, torch.zeros(64, 64)), rtol=1, atol=1)


def test_moe_router_in_bf16(snippet):
    router = snippet.run().names.Router(8, 4).bfloat16()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        weights, z_loss = router(100 * torch.randn(16, 8).bfloat16())
    assert weights.dtype is z_loss.dtype is torch.float32
    assert weights.sum(-1).sub(1).abs().max() < 1e-5 and z_loss.isfinite()
    in_bf16 = torch.randn(16, 8).bfloat16().softmax(-1).float()
    assert in_bf16.sum(-1).sub(1).abs().max() > 1e-4, "what it is for"


def test_nan_in_bf16_only(snippet):
    class Rounded(nn.Module):
        def forward(self, x):
            return torch.log(1 - torch.sigmoid(x.abs() * 20))  # 1 - 1 in bfloat16, and in float32 beyond 17

    model = plain_model()
    model.append(Rounded())
    assert "inputs finite True" in snippet.diagnose(model).printed
    assert "forward finite" in snippet.diagnose().printed


def test_nan_or_zeros_only_on_mps(snippet):
    assert "every layer agrees" in snippet.diagnose().printed

    class Zeros(nn.ReLU):
        calls = 0

        def forward(self, h):
            Zeros.calls += 1
            return h.relu() * (Zeros.calls % 2 == 0)

    assert "'1'" in snippet.diagnose(nn.Sequential(nn.Linear(8, 4), Zeros(), nn.Linear(4, 2))).printed


def test_recipe_says_bf16_card_has_none(snippet):
    model = plain_model()
    before = model[0].weight.clone()
    names = snippet.run(model).names
    assert not torch.equal(before, model[0].weight) and names.loss.dtype is torch.float32
    snippet.run()


def test_rope_angles_in_bf16(snippet):
    ran = snippet.run()
    assert ran.numbers[0] == 0
    with torch.autocast("cpu", dtype=torch.bfloat16):
        cos, _ = ran.names.rotary_tables(torch.arange(8192), 128, dtype=torch.float32)
    exact = torch.cos(torch.arange(8192).double()[:, None] * 10000.0 ** (-torch.arange(0, 128, 2) / 128).double())
    assert (cos - exact).abs().max() < 1e-2


def test_scan_state_in_bf16(snippet):
    wide, half = [float(text) for text in snippet.run().printed.split()[1::2]]
    assert wide > 0.9 and half < 0.6


class Words(nn.Module):
    """A classifier of sequences of token numbers."""

    def __init__(self):
        super().__init__()
        self.table = nn.Embedding(16, 64)
        self.top = nn.Linear(64, 2, bias=False)

    def forward(self, tokens):
        return self.top(self.table(tokens).mean(1))


def test_eight_bit_optimiser_state(snippet):
    def lost_of_table(tokens):
        printed = snippet.diagnose(Words(), x=tokens, y=torch.arange(len(tokens)) % 2).printed
        one_scale, blocks = [float(line.split()[-1]) for line in printed.splitlines() if line.startswith("table")]
        return one_scale, blocks

    rare = torch.zeros(64, 40, dtype=torch.long)
    rare[:15, 0] = torch.arange(1, 16)
    one_scale, blocks = lost_of_table(rare)
    assert one_scale > 0.9 and blocks < 0.2, "the rows of rare words are lost with one scale"
    one_scale, blocks = lost_of_table(torch.arange(64 * 40).reshape(64, 40) % 16)
    assert one_scale < 0.2 and blocks < 0.2, "rows alike"
    snippet.diagnose()


def test_pairwise_distances_negative(snippet):
    x, _ = batch()
    ran = snippet.diagnose(x=x)
    assert ran.numbers[0] > 0 and ran.numbers[1] == 0
    distances = ran.names.squared_distances
    exact = torch.cdist(x.double(), x.double()).square()
    centred = distances(x + 2000, x + 2000).fill_diagonal_(INF)
    assert torch.equal(centred.argmin(1), exact.fill_diagonal_(INF).argmin(1)), "the right neighbours"
    torch.testing.assert_close(distances(x, x[:5]).double(), exact.fill_diagonal_(0)[:, :5], rtol=1e-4, atol=1e-4)
    assert snippet.diagnose(x=100 * x, swap={"x + 2000": "x - x.mean(0)"}).numbers[0] < ran.numbers[0]


def test_timestamps_in_float32(snippet):
    lost, kept = snippet.diagnose().printed.splitlines()
    assert kept.endswith(str([10.0] * 9))
    assert not set(lost.partition("[")[2].rstrip("]").split(", ")) - {"0.0", "128.0"}
    near_zero = snippet.diagnose(swap={"1_700_000_000": "1_700"}).numbers
    assert near_zero == [10.0] * 18


def test_uint8_wraps(snippet):
    assert snippet.diagnose().numbers == [251, 240, 205, 4, 5, 240, 205, 255]
    without = {"[100, 250]": "[105, 150]", "[105, 10]": "[100, 10]"}
    assert snippet.diagnose(swap=without).numbers == [5, 140, 205, 160] * 2, "nothing leaves the range, nothing differs"


@pytest.mark.parametrize("model", [plain_model, healthy_model])
def test_weight_average_stalls_in_half(snippet, model):
    stalled = [float(line.split()[-1]) for line in snippet.diagnose(model()).printed.splitlines()]
    assert max(stalled) == 1
    kept = snippet.diagnose(model(), swap={"torch.bfloat16": "torch.float32"}).printed.splitlines()
    assert kept and all(line.endswith(" 0.0") for line in kept)
    short = snippet.diagnose(model(), swap={"0.999,": "0.0,"}).printed.splitlines()
    assert min(float(line.split()[-1]) for line in short) < 0.5, "without memory it follows"


def test_batch_norm_statistics_in_half__1(snippet):
    model = healthy_model().half()
    model[1].running_var.fill_(INF)
    printed = snippet.diagnose(model).printed.splitlines()
    assert "torch.float16" in printed[0] and printed[0].endswith("variance inf to inf")
    assert all("torch.float32" in line and "inf" not in line for line in snippet.diagnose().printed.splitlines())


def test_batch_norm_statistics_in_half(snippet):
    x, y = batch()
    model = healthy_model()
    expected = model.eval()(x).detach()
    names = snippet.run(model, x=x, y=y).names
    assert names.half[1].running_var.dtype is torch.float32 and names.half[0].weight.dtype is torch.bfloat16
    torch.testing.assert_close(names.half(x.bfloat16()).float(), expected, rtol=0.1, atol=0.1)


def test_ascend_saturates_instead_of_inf(snippet):
    assert snippet.diagnose().printed == ""
    saturating = nn.Sequential(nn.Linear(8, 4), nn.Hardtanh(-65504.0, 65504.0), nn.Linear(4, 2))
    with torch.no_grad():
        saturating[0].weight.fill_(1e6)
    assert re.match(r"1 saturated elements \d+\n$", snippet.diagnose(saturating).printed)


def test_ddp_works_fsdp_nan(snippet):
    assert "layer none output finite True" in snippet.diagnose().printed
    large = plain_model()
    with torch.no_grad():
        large[2].weight.mul_(1e6)
    assert "first non-finite layer 2 output finite False" in snippet.diagnose(large).printed
    assert "layer none" in snippet.diagnose(large, swap={"torch.float16": "torch.bfloat16"}).printed


def test_bytes_in_the_wrong_format(snippet, capsys):
    show = snippet.run().names.as_every_format
    truth = torch.randn(400)
    half = truth.half()
    show(half.contiguous().view(torch.uint8).view(torch.float32), half)  # halves that were taken for floats
    errors = [float(line.split("difference")[1].split()[0]) for line in capsys.readouterr().out.splitlines()]
    assert errors[1] < 1e-3 < 0.5 < min(errors[0], errors[2])
    show(truth, truth)
    errors = [float(line.split("difference")[1].split()[0]) for line in capsys.readouterr().out.splitlines()]
    assert errors[0] == 0


def test_padding_changes_the_result(snippet, capsys):
    depends = snippet.run().names.depends_on_padding
    table = torch.randn(50, 8)
    ids = torch.randint(1, 50, (1, 6))

    def masked(ids, mask):
        return (table[ids] * mask[..., None]).sum(1) / mask.sum(1, keepdim=True)

    def plain(ids, mask):
        return table[ids].mean(1)

    depends(masked, ids, pad=0)
    assert all(float(line.split()[-1]) < 1e-6 for line in capsys.readouterr().out.splitlines())
    depends(plain, ids, pad=0)
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines] == ["right", "left"]
    assert all(float(line.split()[-1]) > 0.1 for line in lines)


def test_where_two_runs_part(snippet):
    def lines(model, **given):
        torch.manual_seed(0)
        return snippet.diagnose(model, **given).printed.splitlines()

    model, (x, y) = healthy_model(), batch()
    first = lines(model, x=x, y=y)
    assert first == lines(model, x=x, y=y) and first[0].startswith("weights")
    assert len({line.split()[4] for line in first[1:]}) == 3, "the weights move from step to step"
    other = lines(model, x=x + 1e-3, y=y)
    assert other[0] == first[0] and other[1] != first[1]  # the weights agree, the batch does not
    with torch.no_grad():
        next(model.parameters()).add_(1e-6)
    assert lines(model, x=x, y=y)[0] != first[0]


def test_kv_cache_in_few_bits(snippet, capsys):
    report = snippet.run().names.cache_report
    keys, values, queries = torch.randn(64, 16), torch.randn(64, 16), 4 * torch.randn(8, 16)
    report(keys, values, queries)
    sound = [float(line.split()[-1]) for line in capsys.readouterr().out.splitlines()]
    assert all(error < 0.6 for error in sound)
    report(keys * torch.tensor([40.0] + [1.0] * 15), values, queries / torch.tensor([40.0] + [1.0] * 15))
    by_token, by_channel, of_values = [float(line.split()[-1]) for line in capsys.readouterr().out.splitlines()]
    assert by_token > 2 * by_channel and of_values == pytest.approx(sound[2], rel=1e-3)
