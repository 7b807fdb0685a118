"""Observations: the signs that are read from prose in both languages."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from qa_service.model.observation import VOCABULARY
from qa_service.parsing.observations import observe

CHINESE = {
    "loss 变成 nan 了怎么办": "where:loss what:nan",
    "我把学习率调到 1e-6 了，loss 还是 nan": "tried:lower_lr where:loss what:nan",
    "lr 已经 2e-5 了还是 nan": "tried:lower_lr what:nan",
    "一开始训练 loss 就是 nan": "when:first_step where:loss what:nan",
    "第一个 batch 的 loss 就 nan": "when:first_step where:loss what:nan",
    "训练到一半 loss 突然变 nan": "when:later where:loss what:nan",
    "跑了 3000 步之后出现 NaN": "when:later what:nan",
    "用 fp16 训练出 nan，换 bf16 就好了": "in:float16 what:nan fine:bfloat16",
    "换成 bf16 就好了": "fine:bfloat16",
    "换成 bf16 也没用，照样 nan": "tried:bfloat16 what:nan",
    "梯度裁剪也加了，没有用，梯度还是爆炸": "tried:clipping where:gradient what:growing",
    "loss 正常，但是梯度是 nan": "what:finite where:loss where:gradient what:nan",
    "loss 是 nan，这样正常吗": "what:nan where:loss",
    "grad_norm 每一步都超过 1，是否正常": "",
    "loss 不是 nan，就是一直不降": "what:finite where:loss what:flat",
    "没有出现 nan，但准确率一直是 50%": "what:finite where:metric what:flat what:chance",
    "準確率掉到 0 就再也不漲了": "where:metric what:zero what:flat what:worse",
    "梯度消失，前几层几乎不更新": "where:gradient what:shrinking what:flat",
    "梯度全是 0": "where:gradient what:zero",
    "模型不收敛，loss 一直是 0.693": "where:loss what:flat what:chance",
    "评估的时候输出全是 nan，训练时没问题": "when:eval where:activation what:nan",
    "推理时生成的全是感叹号": "when:inference what:garbage",
    "生成的图片全黑": "what:garbage",
    "断点续训之后 loss 突然变大": "when:resume where:loss what:growing",
    "偶尔出现 nan，不是每次都有": "when:sometimes what:nan",
    "单卡正常，多卡就 nan": "in:several_devices what:nan fine:one_device",
    "cpu 上没问题，mps 上 loss 是 nan": "in:mps where:loss what:nan fine:cpu",
    "关掉 fp16 就没事了，开了就 nan": "in:float16 what:nan fine:float32",
    "把 bf16 改成 fp16 之后 loss 就 nan": "in:float16 when:after_change where:loss what:nan",
    "开 amp 训练，loss scale 一直减半": "in:amp where:scale what:shrinking",
    "日志一直在说 overflow，跳过这一步": "what:inf what:skip",
    "softmax 里 exp 溢出成 inf": "in:softmax what:inf",
    "数据检查过了没有 nan，初始化也换过，都不行": "tried:data_check tried:initialisation",
    "加了 eps 还是报 nan": "tried:eps what:nan",
    "试过换优化器、加 warmup，都没效果": "tried:optimiser tried:warmup",
    "batch norm 在 eval 模式下结果差很多": "in:batch_norm when:eval where:metric what:worse",
    "loss 出现尖峰，过几百步又恢复": "where:loss what:spike what:recovered",
    "LoRA 微调 7B，deepspeed zero2，grad_norm 是 nan": "in:lora in:deepspeed where:gradient what:nan",
    "RNN 训练时反向传播报 nan": "in:recurrent when:backward what:nan",
    "激活值越来越大，最后溢出": "where:activation what:growing what:inf",
    "logits 特别大": "where:logit what:large",
    "权重全变成 nan 了": "where:weight what:nan",
    "输入数据里有 nan": "where:input what:nan",
    "GAN 的判别器 loss 变成 0": "in:gan where:loss what:zero",
    "输出全部一样，不管输入什么": "what:constant",
    "同样的种子两次结果不一样": "what:differs",
    "学习率 0.1 会不会太大": "",
    "为什么要用 xavier 初始化": "",
    "要不要加梯度裁剪": "",
    "今天天气怎么样": "",
    "用 fp16 还是 bf16": "in:float16 in:bfloat16",
    "adam 优化器，半精度，eps=1e-8 会不会出问题": "in:adam in:float16",
    "交叉熵 loss 变 inf": "in:cross_entropy where:loss what:inf",
    "昇腾 NPU 上 loss 为 0，grad_norm nan": "in:npu where:loss what:zero where:gradient what:nan",
    "loss 震荡得很厉害": "where:loss what:unstable",
    "损失缩放降到最小值了": "where:scale what:minimum",
    "驗證集 loss 是 nan，訓練集正常": "when:eval where:loss what:nan",
}
ENGLISH = {
    "my loss is nan": "where:loss what:nan",
    "loss becomes NaN after 3000 steps": "where:loss what:nan when:later",
    "nan from the very first step": "what:nan when:first_step",
    "the loss goes to nan halfway through training": "where:loss what:nan when:later",
    "lr is already 1e-6 and it still diverges": "tried:lower_lr what:growing",
    "I lowered the learning rate, didn't help, still nan": "tried:lower_lr what:nan",
    "even with gradient clipping the gradients explode": "tried:clipping where:gradient what:growing",
    "fp16 gives nan, bf16 works": "in:float16 what:nan fine:bfloat16",
    "works fine in fp32": "fine:float32",
    "switching to bf16 did not help, nan again": "tried:bfloat16 what:nan",
    "no nan, but the accuracy is stuck at 50%": "what:finite where:metric what:flat what:chance",
    "loss is fine but grad_norm is nan": "what:finite where:loss where:gradient what:nan",
    "the loss is not nan": "what:finite where:loss",
    "grad norm above 1 at every step, is this normal?": "",
    "is it ok that the loss is nan at step 0, is this fine?": "what:nan where:loss when:first_step",
    "my loss isn't nan, it just doesn't decrease": "what:finite where:loss what:flat",
    "gradients vanish in the first layers": "where:gradient what:shrinking",
    "loss stays at 2.303": "where:loss what:flat what:chance",
    "loss is stuck": "where:loss what:flat",
    "model.eval() gives much worse results than train()": "when:eval where:metric what:worse",
    "after resuming from a checkpoint the loss jumps": "when:resume where:loss what:spike",
    "loss scale keeps halving": "where:scale what:shrinking",
    "Gradient overflow. Skipping step, why?": "where:gradient what:inf what:skip in:float16 in:grad_scaler",
    "validation loss is nan but training loss is fine": "when:eval where:loss what:nan what:finite",
    "the output is all !!!! at inference": "when:inference what:garbage",
    "images come out black with float16": "what:garbage in:float16",
    "every input gives the same output": "what:constant",
    "random nan once in a while on 8 gpus": "when:sometimes what:nan in:several_devices",
    "turned off amp and it trains": "in:amp fine:float32",
    "I have tried a different optimizer and another seed without success": "tried:optimiser tried:seed",
    "checked the data, no nans in it": "tried:data_check",
    "should I use gradient clipping?": "",
    "why do we need xavier initialisation": "",
    "what is the capital of France": "",
    "nan in the backward pass of sqrt": "when:backward what:nan",
    "the activations blow up in a transformer": "where:activation what:growing in:transformer",
    "CTC loss is inf": "in:ctc where:loss what:inf",
    "loss suddenly spikes, then recovers": "where:loss what:spike what:recovered",
    "keras loss: nan - accuracy: 0.0000e+00": "in:keras where:loss what:nan where:metric what:zero",
    "different results on cpu and gpu": "what:differs in:cpu in:cuda",
    "on the M2 with mps i get nans, cpu is ok": "in:mps what:nan fine:cpu",
    "the weights turn into nan": "where:weight what:nan",
    "logits are huge": "where:logit what:large",
    "training is stable, how can I make it faster": "what:finite",
    "loss is 0.0 and grad_norm is nan with the hugging face trainer":
        "where:loss what:zero where:gradient what:nan in:hf_trainer",
    "my lr 太大了吗, the loss explodes": "where:loss what:growing",
    "dropping the batch size made no difference": "tried:batch_size",
    "adding layer norm fixed it": "",
    "it only happens with torch.compile, eager is fine": "in:compile",
    "PPO with adam, policy logits nan": "in:reinforcement in:adam where:logit what:nan",
}  # fmt: skip
MIXED = {
    "loss 降到 0.5 就不动了": "where:loss what:flat",
    "为什么 adam 比 sgd 稳定": "in:adam in:sgd",
    "accuracy drops to 0.5 and stays there": "where:metric what:worse what:chance",
    "学习率 0.01 时正常，0.1 就炸": "what:growing",
    "跑了两个小时 loss 变成 inf": "where:loss what:inf when:later",
    "我已经加了梯度裁剪 1.0，grad norm 还是越来越大": "tried:clipping where:gradient what:growing",
    "v100 上 fp16 会溢出，a100 用 bf16 正常": "in:cuda in:no_bfloat16 in:float16 what:inf fine:bfloat16 fine:cuda",
    "换了随机种子也一样 nan": "tried:seed what:nan",
    "验证准确率忽高忽低": "when:eval where:metric what:unstable",
    "模型输出全是 0": "where:activation what:zero",
    "resume 之后 loss 从 2.1 跳到 9": "when:resume where:loss what:spike",
    "推理的时候输出乱码，训练的时候没事": "when:inference what:garbage",
    "用 tanh 20 层 梯度几乎为 0": "in:tanh where:gradient what:zero",
    "sgd 不收敛，换 adam 就好了": "in:sgd what:flat",
    "loss 先降后升，最后 nan": "where:loss what:nan",
    "int8 量化之后精度掉到 0": "in:int8 where:metric what:zero what:worse when:after_change",
    "多卡训练偶尔 loss 为 nan，单卡从来没有": "in:several_devices when:sometimes where:loss what:nan fine:one_device",
    "减小 batch size、调低学习率都试过了，没有改善": "tried:batch_size tried:lower_lr",
    "把 relu 换成 gelu 还是梯度消失": "tried:activation where:gradient what:shrinking",
    "attention 里 softmax 之前 mask 全是 -inf，输出 nan": "in:attention in:softmax what:inf what:nan where:activation",
    "優化器狀態裡出現 inf": "where:state what:inf",
    "訓練第一步 loss 就 nan，學習率降到 1e-7 也沒用": "when:first_step where:loss what:nan tried:lower_lr",
    "梯度正常，权重也没有 nan，但是 loss 不下降": "what:finite where:gradient where:weight where:loss what:flat",
    "数据都检查了，label 也没问题": "tried:data_check",
    "loss is inf from step 1": "where:loss what:inf when:first_step",
    "gradients are all zero after the third epoch": "where:gradient what:zero when:later",
    "my accuracy is stuck at 10%": "where:metric what:flat",
    "training loss explodes around epoch 40 with Adam": "where:loss what:growing when:later in:adam",
    "tried gradient clipping and warmup, loss still nan": "tried:clipping tried:warmup where:loss what:nan",
    "everything is fine in float32 but float16 overflows": "in:float16 what:inf fine:float32",
    "BatchNorm: eval loss much worse than train loss": "in:batch_norm when:eval where:loss what:worse",
    "The network predicts the same class for every input": "what:constant",
    "nan only on mps, cuda works": "in:mps what:nan fine:cuda",
    "the loss jumps around a lot": "where:loss what:unstable",
    "my weights become nan after one update": "where:weight what:nan",
    "GradScaler keeps skipping steps": "in:grad_scaler what:skip",
    "loss does not go down at all": "where:loss what:flat",
    "Is it normal that grad norm is 100?": "",
    "what does nan mean": "what:nan",
    "GAN generator outputs garbage images": "in:gan what:garbage",
    "torch.compile gives different results from eager": "in:compile what:differs",
    "diverges at lr 0.1, even with warmup": "what:growing tried:warmup",
    "loss=nan, I use fp16 without a GradScaler": "where:loss what:nan in:float16",
    "LSTM gradient vanishing over 500 time steps": "in:recurrent where:gradient what:shrinking",
}
FINE = {
    "loss nan，调小学习率就不 nan 了": "where:loss what:nan fine:lower_lr",
    "float16 里 6000 步后 loss 是 nan，调小学习率只是推迟，float32 没问题": "in:float16 when:later where:loss what:nan "
    "tried:lower_lr fine:float32",
    "不支持 bf16 的卡上 loss 一直 nan": "in:no_bfloat16 where:loss what:nan",
    "1660Ti 上全是 nan，别的卡正常": "in:no_bfloat16 what:nan",
    "bf16 训练稳定吗": "in:bfloat16 what:finite",
    "is training in bf16 fine?": "in:bfloat16",
    "bf16 和 fp16 哪个更稳定": "in:bfloat16 in:float16",
    "which is more stable, fp16 or bf16?": "in:float16 in:bfloat16",
    "fp16 nan，bf16 更稳定": "in:float16 what:nan fine:bfloat16",
    "fp16 inference, I get a nan result": "in:float16 when:inference what:nan",
    "为什么 bf16 没事 fp16 会 nan": "in:bfloat16 in:float16 what:nan",
    "single GPU is fine, 8 GPUs give nan": "in:several_devices what:nan fine:one_device",
    "lowering the lr to 1e-5 only delays it, the nan comes. float32 is fine.": "tried:lower_lr what:nan fine:float32",
    "clipping fixes it but I want to know the cause of the nan": "fine:clipping what:nan",
    "NaN on a GTX 1660 Super; float32 works": "what:nan in:cuda in:no_bfloat16 fine:float32",
}
"""With what it does not happen; asked whether it would, it is not."""
RELOADED = {
    "重新加载检查点之后 loss 跳到 30": "when:resume what:spike where:loss",
    "从上次存的模型恢复以后，loss 高得多": "when:resume what:large where:loss",
    "The loss spikes after the checkpoint is reloaded": "when:resume what:spike where:loss",
    "restoring my model from the last checkpoint, the loss is much higher": "when:resume what:large where:loss",
    "loss 尖峰之后自己恢复了": "what:spike what:recovered where:loss",
}
"""A checkpoint that is loaded again is no recovery."""
LASTING = {
    "跑了 200 轮，准确率一直没有变化": "what:flat where:metric",
    "accuracy does not change even after 40 epochs": "what:flat where:metric",
    "跑了 200 轮之后 loss 变成 nan": "when:later what:nan where:loss",
    "梯度在 1200 步爆炸": "when:later what:growing where:gradient",
}
"""How long a symptom has lasted is not when it came."""
DIFFERING = {
    "单条和成批的输出对不上": "what:differs",
    "one image and a batch of images give different predictions": "what:differs",
    "the features are not consistent between runs": "what:differs",
    "logits mismatch between cpu and gpu": "what:differs in:cpu in:cuda",
}
NORMAL = {
    "float32 和 float16 的效果正常，int8 下差很多": "fine:float32 fine:float16 in:int8 what:worse where:metric",
    "单卡没有问题，四卡 loss 是 nan": "fine:one_device in:several_devices what:nan where:loss",
    "single card training is normal, multiple cards give nan": "fine:one_device in:several_devices what:nan",
    "is it normal that fp16 gives nan": "in:float16 what:nan",
}
"""What is normal where; "is it normal" asks."""
CASES = CHINESE | ENGLISH | MIXED | FINE | RELOADED | LASTING | DIFFERING | NORMAL


def _signs(text: str) -> set[str]:
    return {str(each.sign) for each in observe(text)}


@pytest.mark.parametrize(("text", "signs"), CASES.items())
def test_signs_are_read_from_prose(text, signs):
    """Exactly the signs that the sentence states: nothing negated, asked about or cured."""
    assert _signs(text) == set(signs.split())


def test_a_fragment_is_verbatim():
    """It is a part of the text as it was written, whatever its width, case or script; at most some 60 characters."""
    text = "ＬＯＳＳ 變成 ＮａＮ，學習率已經調到 1e-6 了還是 NaN"
    found = observe(text)
    assert {str(each.sign) for each in found} == {"where:loss", "what:nan", "tried:lower_lr"}
    assert all(each.text in text and 0 < len(each.text) <= 60 for each in found)


@given(st.text(max_size=400) | st.lists(st.sampled_from([*CASES, "\n", "，", " but "]), max_size=6).map("".join))
def test_any_text_is_read(text):
    """No text raises; every sign is of the vocabulary and is read once."""
    found = [each.sign for each in observe(text)]
    assert len(found) == len(set(found))
    assert all(sign.value in VOCABULARY[sign.kind] for sign in found)
