"""Observations: the signs of a problem that are recognised in prose in both languages."""

from checking import each_case
from hypothesis import given
from hypothesis import strategies as st

from qa_service.model.observation import SIGN_VOCABULARY
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
TOLD = (
    (
        (
            "训练自己的数据集，第 2 个 epoch 就 nan 了。目前试过：降低 learning_rate、调小 batch_size、换了 "
            "xavier 初始化，都没解决。"
        ),
        "tried:lower_lr tried:batch_size tried:initialisation",
    ),
    (
        "我尝试过把学习率从 1e-4 改到 1e-6，错误依旧存在，请问还有什么办法",
        "tried:lower_lr",
    ),
    (
        "一开始 lr=2e-4，loss 会变成 nan；后来改成 2e-7，依旧是 nan。",
        "tried:lower_lr",
    ),
    (
        "同样的代码，不用 amp 就正常，开了 amp 第一个 epoch 就 nan",
        "fine:float32",
    ),
    (
        "把模型转成 bf16 再推理，输出就对了；float16 下全是感叹号",
        "fine:bfloat16",
    ),
    (
        "单机单卡训练完全没有这个现象，一上 8 卡就会 nan",
        "fine:one_device",
    ),
    (
        "试过的方法：1. 梯度裁剪 2. 减小学习率 3. 换 SGD 优化器。全都没有作用",
        "tried:clipping tried:lower_lr tried:optimiser",
    ),
    (
        "在 CPU 上跑结果是对的，放到 GPU 上就出 nan",
        "fine:cpu",
    ),
    (
        "数据里没有空值，归一化也做了，学习率也调到了 1e-5，可 loss 依然 nan",
        "tried:data_check tried:normalisation tried:lower_lr",
    ),
    (
        (
            "I already tried a smaller learning_rate, a bigger batch_size and gradient clipping. None of the"
            "m made a difference."
        ),
        "tried:lower_lr tried:batch_size tried:clipping",
    ),
    (
        "First run: lr=2e-4, nan at step 300. Second run: lr=2e-7, still nan.",
        "tried:lower_lr",
    ),
    (
        (
            "If I convert the model to bf16 before calling generate, the output is right; in fp16 it is all "
            "exclamation marks."
        ),
        "fine:bfloat16",
    ),
    (
        "It only happens when I use 4 GPUs. 1 and 2 GPUs work fine.",
        "fine:one_device",
    ),
    (
        "When training in full fp32 everything is OK, but with fp16 enabled the loss is nan from the first step.",
        "fine:float32",
    ),
    (
        (
            "Things I have tried so far:\n- lowering the learning rate\n- warmup for 1000 steps\n- checking the"
            " data for nan\nThe problem is still there."
        ),
        "tried:lower_lr tried:warmup tried:data_check",
    ),
    (
        "The loss explodes around step 2k no matter which seed I use and no matter how small the lr is.",
        "tried:seed tried:lower_lr",
    ),
    (
        "Adding an epsilon inside the sqrt made the nan disappear, why?",
        "fine:eps",
    ),
    (
        "On the same machine the model gives correct results on CPU while on MPS every output is zero.",
        "fine:cpu",
    ),
    (
        "We clip at 1.0 (max_grad_norm=1.0) and yet grad_norm goes to inf after a few hundred steps.",
        "tried:clipping",
    ),
    (
        "报错 loss 为 nan，网上的办法基本都试了一遍：学习率调低、batch size 调大、加梯度裁剪，没一个管用",
        "tried:lower_lr tried:batch_size tried:clipping",
    ),
    (
        "lr 从 1e-3 一路降到 1e-7，问题依旧",
        "tried:lower_lr",
    ),
    (
        "batch_size 从 32 改成 4 也一样，几百步以后还是会 nan",
        "tried:batch_size",
    ),
    (
        "关闭混合精度以后训练一切正常，打开就 overflow",
        "fine:float32",
    ),
    (
        "fp16 推理输出乱码，转换为 bfloat16 之后输出正确",
        "fine:bfloat16",
    ),
    (
        "一张卡能正常收敛，四张卡同样的超参 loss 直接飞了",
        "fine:one_device",
    ),
    (
        "换了三个随机种子都会在差不多的位置变成 nan",
        "tried:seed",
    ),
    (
        "用全精度跑就没有 nan，用 half 就有",
        "fine:float32",
    ),
    (
        "目前已做的尝试：检查了输入没有 nan；把 Adam 换成 SGD；learning_rate 设成 1e-6。问题仍未解决",
        "tried:data_check tried:optimiser tried:lower_lr",
    ),
    (
        "我在 loss 里加了 1e-8，结果还是出现 nan",
        "tried:eps",
    ),
    (
        (
            "What I tried: reducing lr to 1e-6, increasing the batch_size to 64, switching from Adam to SGD."
            " Same issue every time."
        ),
        "tried:lower_lr tried:batch_size tried:optimiser",
    ),
    (
        "With learning_rate=1e-3 it went nan in epoch 2, with learning_rate=1e-6 it also went nan, just later.",
        "tried:lower_lr",
    ),
    (
        "Running the exact same script without AMP trains normally, with AMP I get nan after 100 iterations.",
        "fine:float32",
    ),
    (
        "After casting the whole model to bfloat16 the generations are correct again, with float16 they are garbage.",
        "fine:bfloat16",
    ),
    (
        "A single GPU is fine, the nan only shows up with 8 GPUs under FSDP.",
        "fine:one_device",
    ),
    (
        "The outputs are correct on CPU, but on the GPU I get nan for the same input.",
        "fine:cpu",
    ),
    (
        "I've changed the seed several times and it always ends in nan.",
        "tried:seed",
    ),
    (
        "Gradient clipping is enabled and the lr is only 5e-6, yet the loss blows up at step 900.",
        "tried:clipping tried:lower_lr",
    ),
    (
        "Neither a warmup nor a smaller batch size made any difference, the spike comes back.",
        "tried:warmup tried:batch_size",
    ),
    (
        "Double precision gives the right answer, single precision does not.",
        "fine:float64",
    ),
    (
        (
            "求助！U-Net 分割，Dice loss，第 3 轮开始 nan。我把 lr 由 0.01 改为 0.0001，加了梯度裁剪，batch "
            "从 16 改到 4，统统没效果"
        ),
        "tried:lower_lr tried:clipping tried:batch_size",
    ),
    (
        "学习率已经降低两个数量级了，loss 该爆还是爆",
        "tried:lower_lr",
    ),
    (
        "加了 warmup，梯度范数照样在 2000 步附近冲上去",
        "tried:warmup",
    ),
    (
        "把 loss 那几行强制转 float32 之后就不再出现 nan 了",
        "fine:float32",
    ),
    (
        "我怀疑是初始化的问题，但是改成 kaiming 初始化以后第一轮还是 nan",
        "tried:initialisation",
    ),
    (
        "模型在 CPU 上推理完全正常，.cuda() 之后同一张图输出 nan",
        "fine:cpu",
    ),
    (
        "关了 autocast 就什么事也没有",
        "fine:float32",
    ),
    (
        "各种方法都试过了，包括换优化器、调小学习率、归一化输入，都没什么用",
        "tried:optimiser tried:lower_lr tried:normalisation",
    ),
    (
        "数据没有问题，已经逐个样本检查过",
        "tried:data_check",
    ),
    (
        "Dropping the learning rate by 100x only delayed the nan by a few hundred steps.",
        "tried:lower_lr",
    ),
    (
        "I set max_norm=0.5 in clip_grad_norm_ but the loss still becomes inf.",
        "tried:clipping",
    ),
    (
        "The checkpoint evaluates correctly in bf16; in fp16 every logit is nan.",
        "fine:bfloat16",
    ),
    (
        "Tried so far: smaller batch size, three other seeds, AdamW instead of SGD. The spike is always there.",
        "tried:batch_size tried:seed tried:optimiser",
    ),
    (
        "On one GPU the run is stable for days, on eight it diverges within an hour.",
        "fine:one_device",
    ),
    (
        "Switching the softmax to float32 solved it for me.",
        "fine:float32",
    ),
    (
        "float64 works, float32 does not",
        "fine:float64",
    ),
    (
        "I verified that the inputs contain no nan or inf, but the first forward pass already returns nan.",
        "tried:data_check",
    ),
    (
        "Reducing the lr helped, at 1e-5 everything is stable.",
        "fine:lower_lr",
    ),
)
"""Reports of remedies and settings, as in long posts, with their signs of the kinds tried and fine."""
UNTOLD = (
    "两张卡跑得好好的，只有用 4 张卡的时候 loss 才会变 nan",
    "学习率是不是要降低一点才行？",
    "我还没有试过梯度裁剪，应该从哪里加？",
    "有没有人试过用 bf16 训练这个模型，效果正常吗？",
    "打算换成 float32 试试，不知道能不能解决 nan",
    "为什么在 CPU 上训练要比 GPU 慢这么多",
    "Would lowering the learning rate help here?",
    "Should I try bf16 instead of fp16, or is clipping enough?",
    "I have not tried a lower learning rate yet.",
    "How does gradient clipping work when several GPUs are used?",
    "Does anyone know whether fp32 works for this model?",
    "是否需要把 batch_size 调小，还是换优化器更好？",
    "想请教一下，如果降低学习率，loss 会不会不再 nan？",
    "论文里说用了梯度裁剪，请问阈值一般取多少",
    "目前还没尝试 float32，显存不够",
    "多卡训练时学习率要怎么调整才能正常收敛？",
    "bf16 和 fp16 哪个训练更稳定？",
    "Do I need to lower the lr when I move from one GPU to four?",
    "I would like to use bf16, but I cannot, since my card does not support it.",
    "Is it normal that training on the CPU works without a GradScaler?",
    "Could someone explain why people clip gradients at 1.0?",
    "用 A6000 单卡训练 loss 一路下降，换到 4 卡 DDP 之后 loss 反而发散",
    "没试过换种子，值得试吗",
    "教程说 bf16 比 fp16 稳定，是真的吗",
    "请问要降低学习率到多少才正常",
    "梯度裁剪应该放在 unscale 之前还是之后",
    "考虑换成 float32，但是显存不够",
    "Is lowering the lr or clipping the better fix?",
    "Can someone tell me whether bf16 works on a T4?",
    "I'm planning to clip gradients and to lower the learning rate.",
    "What batch size do people use so that training is stable?",
    "If I had a second GPU, would it still be nan?",
    "Why is fp32 slower than fp16 even though the loss is the same?",
)
"""Questions, wishes and negations: no remedy was tried in vain and nothing is said to work."""
CONSTANT = {
    "gradnorm was always 0": "where:gradient what:flat what:zero",
    "the gradient of one of my parameters is always zero": "where:gradient what:zero",
    "loss is constantly 0": "where:loss what:zero",
    "the loss is always the same": "where:loss what:flat",
    "the loss hovers around 0.69": "where:loss what:flat",
    "the loss never goes below 2.3": "where:loss what:flat",
    "the weights never change": "where:weight what:flat",
    "the parameters are not updated": "where:weight what:flat",
    "loss没变过": "where:loss what:flat",
    "loss和grad norm一直都是一个数": "where:loss where:gradient what:flat",
    "grad norm 固定为 1": "where:gradient what:flat",
    "模型参数没更新": "where:weight what:flat",
    "第一个 batch 就是 nan，还没更新过参数": "when:first_step what:nan",
    "lr 固定为 1e-5，loss 下降正常": "where:loss what:finite",
}
ENORMOUS = {
    "loss 突然变成 1e10": "where:loss what:large",
    "loss 到了几十万": "where:loss what:large",
    "grad norm reaches 3e6": "where:gradient what:large",
    "my loss is in the millions": "where:loss what:large",
    "the dataset has 1000000 samples and the loss is fine": "where:loss what:finite",
    "step 到 100000 之后 loss 稳定": "",
    "loss is 2.3 at step 100000": "",
    "loss scale is 65536": "",
}
CASES = CONSTANT | ENORMOUS | CHINESE | ENGLISH | MIXED | FINE | RELOADED | LASTING | DIFFERING | NORMAL


def _signs(text: str) -> set[str]:
    return {str(each.sign) for each in observe(text)}


@each_case(("text", "signs"), CASES.items())
def test_signs_are_read_from_prose(text, signs):
    """The result is exactly the signs that the sentence states: nothing negated, asked about or cured."""
    assert _signs(text) == set(signs.split())


def test_a_fragment_is_verbatim():
    """The words quoted for a sign are part of the original text, whatever its width, case or script, and at most about
    60 characters.
    """
    text = "ＬＯＳＳ 變成 ＮａＮ，學習率已經調到 1e-6 了還是 NaN"
    found = observe(text)
    assert {str(each.sign) for each in found} == {"where:loss", "what:nan", "tried:lower_lr"}
    assert all(each.text in text and 0 < len(each.text) <= 60 for each in found)


@given(st.text(max_size=400) | st.lists(st.sampled_from([*CASES, "\n", "，", " but "]), max_size=6).map("".join))
def test_any_text_is_read(text):
    """No text raises; every sign is of the vocabulary and is read once."""
    found = [each.sign for each in observe(text)]
    assert len(found) == len(set(found))
    assert all(sign.value in SIGN_VOCABULARY[sign.kind] for sign in found)


def of_remedies(text: str) -> set[str]:
    """The signs of remedies that were tried, and of conditions under which the problem does not occur."""
    return {str(one.sign) for one in observe(text) if one.sign.kind in ("tried", "fine")}


@each_case(("text", "signs"), TOLD)
def test_what_was_tried_and_what_works_is_read_from_long_posts(text, signs):
    assert of_remedies(text) == set(signs.split())


@each_case("text", UNTOLD)
def test_a_question_a_wish_or_a_negation_reports_no_remedy(text):
    assert not of_remedies(text)


def test_the_word_fine_in_fine_tuning_says_nothing_of_what_works():
    assert of_remedies("fine-tuning a 7B model on a V100 in fp16, loss 0.0 and grad_norm nan") == set()


def test_a_format_that_was_left_is_no_remedy():
    """A format in use before the problem is no remedy, nor is something that worked before another change."""
    assert of_remedies("switched from fp16 to bf16 and the nan is gone") == {"fine:bfloat16"}
    assert of_remedies("原来 bf16 训得好好的，升级以后第一步就 nan") == set()


def test_most_inputs_or_another_use_of_the_data_are_no_check_of_the_data():
    assert of_remedies("most inputs are fine, some give nan; a classifier on the same data is fine") == set()
    assert of_remedies("the data is fine, still nan") == {"tried:data_check"}


def test_an_announced_list_goes_on_over_its_lines_only():
    """The paragraph after the list is no longer part of it."""
    text = "What I tried:\n- a smaller learning rate\n- gradient clipping\n\nNext I look at warmup."
    assert of_remedies(text) == {"tried:lower_lr", "tried:clipping"}
