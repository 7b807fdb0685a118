"""The causes that a diagnosis names: name, entry, consequences, cure, and the smallest change of code."""

from collections.abc import Iterator

from qa_service.model.diagnosis import Cause
from qa_service.model.values import Text


def _cause(
    id_: str,
    zh: str,
    en: str,
    entry: str,
    cure: Text,
    patch: str,
    *,
    brings: str = "",
    is_numerical: bool = True,
) -> Cause:
    """A cause; `brings` lists the ids of the causes that it brings about, separated by spaces."""
    return Cause(
        id=id_,
        name=Text(zh, en),
        entry=entry,
        is_numerical=is_numerical,
        consequences=frozenset(brings.split()),
        cure=cure,
        patch=patch,
    )


def _steps() -> Iterator[Cause]:
    """Causes: size and schedule of the steps, and updates that are not made or not cleared."""
    yield _cause(
        "step_too_large",
        "步子太大（学习率过高）",
        "The steps are too large (learning rate too high)",
        "learning-rate-limit-in-many-dimensions",
        Text(
            "把学习率降到十分之一；若还要升回去，先预热，并裁剪梯度。",
            "Divide the learning rate by 10; to go back up, warm up first and clip the gradients.",
        ),
        "for group in optimizer.param_groups:\n    group['lr'] /= 10\n...\n"
        "torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)   # before optimizer.step()",
        brings="dead_relu saturated_activation loss_scale_collapse forward_overflow hidden_nan bad_batches",
    )
    yield _cause(
        "step_too_small",
        "步子太小（学习率过低）",
        "The steps are too small (learning rate too low)",
        "loss-flat-at-chance",
        Text(
            "把学习率乘 10，看损失是否动；还不动就再乘 10。",
            "Multiply the learning rate by 10 and see whether the loss moves; if not, by 10 again.",
        ),
        "optimizer = torch.optim.AdamW(model.parameters(), lr=3e-4)   # SGD: 0.1 with momentum 0.9",
    )
    yield _cause(
        "no_warmup",
        "没有预热，或学习率重新升高",
        "No warm-up, or the schedule went up again",
        "warm-up-and-adams-first-steps",
        Text(
            "让学习率从 0 起线性升上去，用几百到几千步；恢复训练时把调度器和优化器的状态一起读回来。",
            "Let the learning rate rise from 0 over hundreds to thousands of steps; when resuming, load the state of "
            "scheduler and optimizer too.",
        ),
        "warmup = torch.optim.lr_scheduler.LinearLR(optimizer, start_factor=1e-3, total_iters=1000)\n...\n"
        "optimizer.step(); warmup.step()",
        brings="step_too_large loss_scale_collapse forward_overflow adam_stale hidden_nan",
    )
    yield _cause(
        "bad_batches",
        "个别坏批次引起的尖峰",
        "Spikes from single bad batches",
        "loss-spike",
        Text(
            "按平时梯度范数的分位数裁剪，记下出尖峰的样本编号，看看那些数据。",
            "Clip at a quantile of the usual gradient norms, log the sample ids at a spike, and look at these data.",
        ),
        "norm = torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)\n"
        "if norm > 10 * usual:\n    print(step, float(norm), sample_ids)",
    )
    yield _cause(
        "adam_stale",
        "Adam 的二阶矩过时，或里面混进了 inf",
        "Adam's second moment is stale, or holds an inf",
        "adam-spike-after-a-quiet-stretch",
        Text(
            "把 β₂ 从 0.999 降到 0.95；梯度不是有限数时跳过这一步，别让它进优化器的状态。",
            "Lower β₂ from 0.999 to 0.95; skip a step whose gradient is not finite, to keep it out of the state.",
        ),
        "optimizer = torch.optim.AdamW(model.parameters(), lr=lr, betas=(0.9, 0.95))\n"
        "norm = torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)\n"
        "if torch.isfinite(norm):\n    optimizer.step()",
        brings="hidden_nan bad_batches",
    )
    yield _cause(
        "gradients_accumulate",
        "梯度没有清零，一步步累加",
        "Gradients are not cleared and add up",
        "gradient-accumulation",
        Text(
            "每次更新后调用 optimizer.zero_grad()；有意累积时把损失除以累积步数。",
            "Call optimizer.zero_grad() after every update; if you accumulate on purpose, divide the loss by the "
            "number of micro-batches.",
        ),
        "loss.backward()\noptimizer.step()\noptimizer.zero_grad(set_to_none=True)",
        brings="step_too_large",
    )
    yield _cause(
        "no_update",
        "参数根本没有更新",
        "The parameters are not updated at all",
        "weights-do-not-move",
        Text(
            "查四件事：学习率不是 0，optimizer.step() 真的被调用，参数在优化器里，requires_grad 为真。",
            "Check four things: the rate is not 0, optimizer.step() is called, the parameters are in the optimizer, "
            "requires_grad is true.",
        ),
        "held = {id(p) for g in optimizer.param_groups for p in g['params']}\n"
        "for name, p in model.named_parameters():\n"
        "    if id(p) not in held or not p.requires_grad or p.grad is None:\n        print('not trained:', name)",
    )


def _signal() -> Iterator[Cause]:
    """Causes: initial weights, activations, and the propagation of signals and gradients through the layers."""
    yield _cause(
        "weights_too_large",
        "初始权重太大",
        "The initial weights are too large",
        "exploding-gradients",
        Text(
            "按激活函数初始化：ReLU 用 He，tanh 用 Xavier；残差支路从 0 开始。",
            "Initialise by the activation: He for ReLU, Xavier for tanh; start residual branches at 0.",
        ),
        "for m in model.modules():\n    if isinstance(m, (torch.nn.Linear, torch.nn.Conv2d)):\n"
        "        torch.nn.init.kaiming_normal_(m.weight, nonlinearity='relu')\n"
        "        if m.bias is not None: torch.nn.init.zeros_(m.bias)",
        brings="step_too_large forward_overflow saturated_activation loss_scale_collapse hidden_nan dead_relu",
    )
    yield _cause(
        "vanishing_signal",
        "梯度在层间消失",
        "The gradient vanishes across the layers",
        "vanishing-gradients",
        Text(
            "按激活函数初始化，加残差连接和归一化；SGD 不动而 Adam 能动，也说明是它。",
            "Initialise by the activation, add residual connections and normalisation; that Adam moves where SGD does "
            "not points to it too.",
        ),
        "for m in model.modules():\n    if isinstance(m, torch.nn.Linear):\n"
        "        torch.nn.init.kaiming_normal_(m.weight, nonlinearity='relu')\n"
        "# and in each block: x = x + branch(torch.nn.functional.layer_norm(x, x.shape[-1:]))",
        brings="step_too_small gradient_underflow",
    )
    yield _cause(
        "saturated_activation",
        "sigmoid 或 tanh 饱和",
        "Sigmoids or tanhs are saturated",
        "sigmoid-slope-at-most-a-quarter",
        Text(
            "在激活之前归一化，缩小权重，或改用 ReLU；输出端用 logits 配交叉熵。",
            "Normalise before the activation, shrink the weights or use ReLU; at the output, use logits with "
            "cross-entropy.",
        ),
        "layer = torch.nn.Sequential(torch.nn.Linear(d, d), torch.nn.LayerNorm(d), torch.nn.GELU())",
        brings="vanishing_signal step_too_small",
    )
    yield _cause(
        "dead_relu",
        "ReLU 单元死掉",
        "ReLU units are dead",
        "dead-relu-share-of-my-model",
        Text(
            "降低学习率，把偏置设回 0，或改用 LeakyReLU。",
            "Lower the learning rate, set the biases back to 0, or use LeakyReLU.",
        ),
        "for m in model.modules():\n    if isinstance(m, torch.nn.Linear) and m.bias is not None:\n"
        "        torch.nn.init.zeros_(m.bias)\nact = torch.nn.LeakyReLU(0.01)",
        brings="vanishing_signal",
    )
    yield _cause(
        "symmetric_init",
        "权重全相同，神经元分不开",
        "All weights are equal, so units never differ",
        "constant-init",
        Text(
            "用随机初始化；只有偏置和残差支路的最后一层可以从 0 开始。",
            "Initialise at random; only biases and the last layer of a residual branch may start at 0.",
        ),
        "for p in model.parameters():\n    if p.dim() > 1:\n        torch.nn.init.xavier_uniform_(p)",
        brings="vanishing_signal dead_relu",
    )
    yield _cause(
        "recurrent_product",
        "循环网络沿时间连乘",
        "A recurrent net multiplies over time",
        "lstm-explodes",
        Text(
            "裁剪梯度范数，循环矩阵用正交初始化，遗忘门偏置设为 1，或换成 LSTM。",
            "Clip the gradient norm, initialise the recurrent matrix orthogonally, set the forget bias to 1, or use an "
            "LSTM.",
        ),
        "torch.nn.init.orthogonal_(rnn.weight_hh_l0)\n"
        "torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)   # before optimizer.step()",
        brings="step_too_large vanishing_signal hidden_nan bad_batches",
    )
    yield _cause(
        "batch_norm",
        "批量归一化的统计量不对",
        "Batch norm's statistics are wrong",
        "good-in-train-bad-in-eval",
        Text(
            "批量太小就换 GroupNorm 或 LayerNorm；批量够大就把 momentum 调到 0.1，用训练数据重算统计量。",
            "With tiny batches use GroupNorm or LayerNorm; otherwise set momentum to 0.1 and recompute the statistics "
            "on training data.",
        ),
        "for m in model.modules():\n    if isinstance(m, torch.nn.modules.batchnorm._BatchNorm):\n"
        "        m.reset_running_stats(); m.momentum = None\nmodel.train()\n"
        "with torch.no_grad():\n    for x, _ in train_loader: model(x)",
    )


def _data() -> Iterator[Cause]:
    """Causes: inputs, labels, and the way the loss is put together."""
    yield _cause(
        "summed_loss",
        "损失取了和，没有取平均",
        "The loss is summed, not averaged",
        "loss-sum-or-mean",
        Text("改为取平均；或者把学习率除以批量大小。", "Average it; or divide the learning rate by the batch size."),
        "loss = torch.nn.functional.cross_entropy(logits, target, reduction='mean')",
        brings="step_too_large loss_scale_collapse forward_overflow",
    )
    yield _cause(
        "inputs_not_scaled",
        "输入没有归一化",
        "The inputs are not scaled",
        "gradients-scale-with-inputs",
        Text(
            "每个特征减均值、除以标准差；图像除以 255 后再标准化。回归目标也一样。",
            "Subtract the mean of every feature and divide by its standard deviation; images: divide by 255 first. "
            "Regression targets too.",
        ),
        "mean, std = train_x.mean(0), train_x.std(0).clamp_min(1e-6)\nx = (x - mean) / std",
        brings="step_too_large dead_relu saturated_activation forward_overflow",
    )
    yield _cause(
        "nonfinite_data",
        "数据里有 nan 或 inf",
        "The data hold a nan or inf",
        "nan-from-bad-input-data",
        Text("找出坏行并去掉；进模型之前检查一次。", "Find the bad rows and drop them; check once before the model."),
        "bad = ~torch.isfinite(x).flatten(1).all(1)\nif bad.any():\n"
        "    print('bad rows', bad.nonzero().flatten().tolist())\n    x, y = x[~bad], y[~bad]",
        brings="hidden_nan loss_scale_collapse",
    )
    yield _cause(
        "bad_labels",
        "标签越界，或全部被忽略",
        "Labels are out of range, or all are ignored",
        "nan-from-labels",
        Text(
            "检查标签的最小值和最大值；一个批次没有有效标签时，分母至少取 1。",
            "Check the least and the largest label; where a batch has no valid label, divide by at least 1.",
        ),
        "assert ((y == -100) | ((0 <= y) & (y < logits.size(-1)))).all()\n"
        "loss = torch.nn.functional.cross_entropy(logits, y, reduction='sum')\n"
        "loss = loss / (y != -100).sum().clamp_min(1)",
        brings="hidden_nan zero_over_zero",
    )
    yield _cause(
        "chance_labels",
        "标签是乱的，或与样本错开",
        "The labels are random or shifted",
        "chance-labels-or-data",
        Text(
            "抽 20 个样本，肉眼核对输入和标签；再看能不能在这 20 个上学到零误差。",
            "Draw 20 samples and check their labels by eye; then see whether these 20 can be learned by heart.",
        ),
        "x, y = next(iter(loader)); x, y = x[:20], y[:20]\n"
        "for _ in range(500):\n    loss = loss_fn(model(x), y)\n"
        "    optimizer.zero_grad(); loss.backward(); optimizer.step()\n"
        "print(float(loss))   # not near 0: the model or the loss; near 0: the labels",
    )
    yield _cause(
        "wrong_output",
        "输出层与损失不配",
        "The output layer does not fit the loss",
        "bce-with-the-wrong-activation",
        Text(
            "把 logits 直接交给 cross_entropy 或 binary_cross_entropy_with_logits，模型末尾不要 softmax 或 sigmoid。",
            "Give the logits to cross_entropy or binary_cross_entropy_with_logits; no softmax or sigmoid at the end of "
            "the model.",
        ),
        "loss = torch.nn.functional.cross_entropy(logits, y)                  # no softmax before\n"
        "loss = torch.nn.functional.binary_cross_entropy_with_logits(z, y)    # no sigmoid before",
        brings="loss_clipped",
    )


def _formulas() -> Iterator[Cause]:
    """Causes: formulas that make inf or nan of finite numbers."""
    yield _cause(
        "log_of_zero",
        "对 0 取了对数",
        "A logarithm of 0",
        "hand-written-cross-entropy",
        Text(
            "用 logits 上的融合函数；非要取对数时先截断下限。",
            "Use the fused functions on logits; if a logarithm it must be, clamp its argument first.",
        ),
        "loss = torch.nn.functional.cross_entropy(logits, y)   # instead of -log(softmax(logits))\n"
        "logp = torch.log(p.clamp_min(torch.finfo(p.dtype).tiny))",
        brings="hidden_nan loss_clipped",
    )
    yield _cause(
        "eps_lost",
        "eps 太小，在该精度下消失了",
        "The eps is too small for the dtype and is lost",
        "eps-in-half-precision",
        Text(
            "eps 按数据类型取：float32 用 1e-6，float16 用 1e-4；这几步放在 float32 里算。",
            "Choose eps by dtype: 1e-6 in float32, 1e-4 in float16; compute these steps in float32.",
        ),
        "p = p.float()\nloss = -(y * torch.log(p.clamp(1e-6, 1 - 1e-6))).mean()\n"
        "optimizer = torch.optim.Adam(model.parameters(), lr=lr, eps=1e-4)   # if the state is float16",
        brings="log_of_zero zero_over_zero hidden_nan",
    )
    yield _cause(
        "gradient_at_zero",
        "sqrt、norm、pow 或 acos 在边界处的导数是 inf",
        "The derivative of sqrt, norm, pow or acos is inf at the edge of its domain",
        "gradient-of-sqrt-at-zero",
        Text(
            "在根号里面加 eps；用 where 时先换掉输入，再求函数。",
            "Add the eps inside the root; with where, replace the input first and apply the function to that.",
        ),
        "norm = torch.sqrt((x * x).sum(-1) + 1e-12)      # not sqrt(...) + eps\n"
        "angle = torch.acos(c.clamp(-1 + 1e-6, 1 - 1e-6))",
        brings="hidden_nan adam_stale",
    )
    yield _cause(
        "zero_over_zero",
        "0 除以 0（空集合的平均、方差为 0）",
        "0 divided by 0 (mean of nothing, variance 0)",
        "nan-from-an-empty-mask",
        Text(
            "分母至少取 1（计数）或加 eps（方差），并让空的批次不贡献损失。",
            "Clamp the denominator at 1 (a count) or add an eps (a variance); an empty batch contributes nothing.",
        ),
        "loss = (loss * mask).sum() / mask.sum().clamp_min(1)",
        brings="hidden_nan",
    )
    yield _cause(
        "empty_attention_row",
        "注意力里有整行被遮住",
        "An attention row is masked entirely",
        "fully-masked-attention-row",
        Text(
            "遮罩用 finfo.min，只加一次；整行都被遮的位置，事后把输出置 0。",
            "Mask with finfo.min, once; where a whole row is masked, set its output to 0 afterwards.",
        ),
        "scores = scores.masked_fill(~mask, torch.finfo(scores.dtype).min)\n"
        "weights = scores.softmax(-1) * mask.any(-1, keepdim=True)",
        brings="hidden_nan",
    )
    yield _cause(
        "where_backward",
        "torch.where 只挡住了前向，没挡住反向",
        "torch.where hides the forward pass, not the backward",
        "where-nan-in-backward",
        Text(
            "先用 where 把输入换成安全值，算完再用一次 where。",
            "Replace the input by a safe value with where, compute, then use where once more.",
        ),
        "safe = torch.where(x > 0, x, torch.ones_like(x))\ny = torch.where(x > 0, safe.log(), torch.zeros_like(x))",
        brings="hidden_nan adam_stale",
    )
    yield _cause(
        "loss_clipped",
        "损失停在截断值上",
        "The loss is stuck at a clamp",
        "bce-with-the-wrong-activation",
        Text(
            "去掉截断，用 logits 版的损失，这样错得离谱的样本也有梯度。",
            "Drop the clamp and use the loss on logits, so that badly wrong samples have a gradient too.",
        ),
        "loss = torch.nn.functional.binary_cross_entropy_with_logits(z, y)",
    )


def _formats() -> Iterator[Cause]:
    """Causes: 16-bit formats, loss scaling, and the machine."""
    yield _cause(
        "forward_overflow",
        "前向里有数超出 float16 的范围",
        "A number of the forward pass overflows float16",
        "amp-nan-find-the-layer",
        Text(
            "改用 bf16；没有 bf16 时让溢出的那一层用 float32 算。",
            "Use bf16; without bf16, compute the layer that overflows in float32.",
        ),
        "with torch.autocast('cuda', dtype=torch.bfloat16):\n    loss = loss_fn(model(x), y)\n"
        "# or, around one layer only:\nwith torch.autocast('cuda', enabled=False):\n    h = layer(h.float())",
        brings="loss_scale_collapse hidden_nan empty_attention_row",
    )
    yield _cause(
        "gradient_underflow",
        "梯度在 float16 里下溢成 0",
        "Gradients underflow to 0 in float16",
        "loss-scaling",
        Text("用 GradScaler 放大损失，或改用 bf16。", "Scale the loss with GradScaler, or use bf16."),
        "scaler = torch.amp.GradScaler('cuda')\nscaler.scale(loss).backward()\nscaler.step(optimizer); scaler.update()",
    )
    yield _cause(
        "loss_scale_collapse",
        "损失缩放系数一路降到底",
        "The loss scale collapses",
        "loss-scale-keeps-falling",
        Text(
            "先看未放大的损失：不是有限数就修前向；是有限数就改用 bf16，或降低学习率。",
            "Look at the unscaled loss first: if it is not finite, repair the forward pass; if it is, use bf16 or a "
            "lower rate.",
        ),
        "with torch.autocast('cuda', dtype=torch.bfloat16):   # needs no scaler\n    loss = loss_fn(model(x), y)\n"
        "loss.backward(); optimizer.step()",
        brings="hidden_nan no_update",
    )
    yield _cause(
        "clip_before_unscale",
        "还没除以缩放系数就裁剪了梯度",
        "Gradients are clipped before they are unscaled",
        "autocast-gradscaler-recipe",
        Text("裁剪之前先调用 scaler.unscale_(optimizer)。", "Call scaler.unscale_(optimizer) before clipping."),
        "scaler.scale(loss).backward()\nscaler.unscale_(optimizer)\n"
        "torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)\nscaler.step(optimizer); scaler.update()",
        brings="step_too_small",
    )
    yield _cause(
        "update_swallowed",
        "更新量太小，被 16 位权重的舍入吞掉",
        "Updates are lost to the rounding of 16-bit weights",
        "update-swallowed-master-weights",
        Text(
            "权重保留一份 float32，只在前向里用 bf16；或用随机舍入。",
            "Keep float32 weights and use bf16 in the forward pass only; or round stochastically.",
        ),
        "model.float()\nwith torch.autocast('cuda', dtype=torch.bfloat16):\n    loss = loss_fn(model(x), y)",
        brings="step_too_small",
    )
    yield _cause(
        "hidden_nan",
        "日志把 nan 藏起来了",
        "The log hides a nan",
        "loss-zero-grad-norm-nan",
        Text(
            "关掉日志的过滤，从第一个 nan 的那一步往前查；之后的检查点不能用。",
            "Switch the filter of the log off and look for the first nan; checkpoints after it are of no use.",
        ),
        "args = TrainingArguments(..., logging_nan_inf_filter=False, logging_steps=1)",
    )
    yield _cause(
        "poisoned_average",
        "只是平均值里留着一个旧的 nan",
        "Only an average holds an old nan",
        "metric-nan-loss-finite",
        Text(
            "不用管训练；计平均时跳过不是有限数的值，另外记下它们的个数。",
            "The training needs nothing; leave non-finite values out of the average and count them apart.",
        ),
        "if math.isfinite(value):\n    meter.update(value)\nelse:\n    skipped += 1",
    )
    yield _cause(
        "hardware",
        "结果不可重现：硬件或内核",
        "Not reproducible: the hardware or a kernel",
        "only-on-this-device",
        Text(
            "同一步重算两次；结果不同就换一张卡，或逐个关掉自定义内核和编译。",
            "Compute the same step twice; if the bits differ, change the card, or switch off custom kernels and the "
            "compiler one by one.",
        ),
        "torch.use_deterministic_algorithms(True)\nfirst, second = loss_fn(model(x), y), loss_fn(model(x), y)\n"
        "print(torch.equal(first, second))   # with dropout off",
        brings="hidden_nan bad_batches",
    )


def _elsewhere() -> Iterator[Cause]:
    """Causes that are not numerical."""
    yield _cause(
        "overfitting",
        "过拟合",
        "Overfitting",
        "good-in-training-bad-in-evaluation",
        Text(
            "在验证损失最低处停下；加数据、数据增强或正则化。",
            "Stop where the validation loss is lowest; add data, augmentation or regularisation.",
        ),
        "if val_loss < best:\n    best = val_loss; torch.save(model.state_dict(), 'best.pt')",
        is_numerical=False,
    )
    yield _cause(
        "undertrained",
        "还没训练够",
        "Not trained long enough",
        "loss-at-chance",
        Text("损失还在稳稳下降，接着训练。", "The loss is still falling steadily: train on."),
        "epochs *= 3",
        is_numerical=False,
    )
    yield _cause(
        "out_of_memory",
        "显存或内存不够",
        "Out of memory",
        "loss-scaling-with-accumulation",
        Text(
            "减小批量并用梯度累积补回来，或打开梯度检查点。",
            "Use a smaller batch and accumulate gradients to make up for it, or switch on gradient checkpointing.",
        ),
        "model.gradient_checkpointing_enable()\nargs = TrainingArguments(..., per_device_train_batch_size=1, "
        "gradient_accumulation_steps=16)",
        is_numerical=False,
    )
    yield _cause(
        "shapes",
        "张量形状对不上",
        "Shapes do not match",
        "maths-for-deep-learning",
        Text("打印报错那一行两边的形状。", "Print the shapes on both sides of the line that fails."),
        "print(x.shape, layer.weight.shape)",
        is_numerical=False,
    )


CAUSES = {each.id: each for group in (_steps, _signal, _data, _formulas, _formats, _elsewhere) for each in group()}
"""Id → cause. The ids are those that rules, the recorder, trials and the suite use."""
