"""What is particular to a reader's case: the tools, losses, operations and data that a question names."""

from checking import each_case
from hypothesis import given
from hypothesis import strategies as st

from qa_service.model.observation import SIGN_VOCABULARY
from qa_service.parsing import parse_question
from qa_service.parsing.particulars import PARTICULARS, read_particulars

NAMED = {
    "用 LLaMA-Factory 微调，per_device_train_batch_size 2": "trainer_arguments",
    "{'loss': 0.0, 'grad_norm': nan, 'learning_rate': 1e-05}": "trainer_arguments",
    "I start it by accelerate launch train.py": "accelerate",
    "換成 FSDP 之后": "fsdp",
    "Gradient overflow. Skipping step, loss scaler 0 reducing loss scale to 4096": "apex",
    "Loss became infinite or NaN at iteration=112": "detectron2",
    "YOLOv8 自己的数据": "ultralytics boxes",
    "yolo11n, one class": "ultralytics boxes",
    "my own YOLOv3": "boxes",
    "stable-baselines3 on a custom env": "stable_baselines",
    "用 diffusers 出图": "diffusers",
    "A1111 gives black images": "webui",
    "ComfyUI 工作流": "comfyui",
    "vLLM 部署": "vllm",
    "trtexec --onnx=a.onnx --fp16": "tensorrt onnx",
    "load_in_4bit=True": "four_bit",
    "8-bit Adam": "eight_bit_optimiser",
    "paged_adamw_8bit": "eight_bit_optimiser",
    "model = AutoModel.from_pretrained(name).half()": "half_weights",
    "BCELoss 出现 nan": "bce",
    "二元交叉熵": "bce",
    "focal loss with gamma 2": "focal",
    "Dice loss 加交叉熵": "dice",
    "房价回归任务": "mse",
    "logistic regression": "",
    "KL散度": "kl",
    "the KL divergence of my VAE": "kl vae",
    "exp(logvar)": "log_variance",
    "WGAN-GP": "wgan",
    "CycleGAN": "lsgan",
    "triplet loss with hard mining": "triplet",
    "余弦相似度": "cosine",
    "temperature=0.02": "small_temperature",
    "temperature 0.7": "",
    "策略梯度": "policy_gradient",
    "reinforcement learning": "",
    "PPO, GRPO, DPO, SAC or DQN": "ppo grpo dpo sac dqn",
    "'reward': 0.3, 'reward_std': 0.0, 'kl': 0.1": "reward equal_rewards",
    "reward_std 0.21": "reward",
    "frac_reward_zero_std: 1.0": "reward equal_rewards",
    "x = torch.sqrt(y)": "sqrt",
    "torch.where(x > 0, a, b)": "where",
    "torch.log(p)": "log",
    "SVD of a matrix": "svd",
    "loss_mask.sum() is 0": "mask loss_mask",
    "labels are all -100": "ignored_labels",
    "lr 1e-100": "",
    "padding_side='left'": "left_padding",
    "语音合成": "speech",
    "semantic segmentation": "segmentation",
    "instance segmentation": "",
    "股票预测": "time_series",
    "pd.read_csv(f), then a dataframe": "table",
    "GCN 节点分类": "graph",
    "after model.eval() it is worse": "eval_mode",
    "batch size is too small": "small_batch",
    "batch size 32": "",
    "gradient_accumulation_steps=8": "accumulation",
    "固定了随机种子": "seed_fixed",
    "merge_and_unload()": "merged",
    "RuntimeWarning: invalid value encountered in cast": "nan_cast",
    "输出一堆感叹号": "exclamation_marks",
    "值超过了 65504": "limit_65504",
    "loss为0，accuracy为1": "perfect_score",
    "the G loss drops to 0": "generator_loss_zero",
    "其他模型都正常": "other_model_fine",
    "it works fine on an A100": "other_card_fine",
    "两张卡都可以，四张卡报错": "",
    "一张卡、两张卡都可以，四张卡报错": "fewer_devices_fine",
    "断点续传后loss值上升很多": "resumed",
    "中斷後接著訓練，loss 變大": "resumed",
    "load the saved checkpoint and continue": "resumed",
    "I continued training from epoch 40": "resumed",
    "续训的损失跟从头训练一样": "resumed started_over",
    "恢复训练后loss变成初始的大小了": "resumed started_over",
    "after resuming the loss is back to the initial value": "resumed started_over",
    "it behaves as if it had never been trained": "started_over",
    "ppdet 单卡": "config_of_8_cards",
    "PP-YOLOv2 训练": "config_of_8_cards boxes",
    "mmdet faster rcnn nan": "config_of_8_cards boxes",
    "直接用 8 卡的默认配置": "config_of_8_cards",
    "双卡训练正常，单卡就不收敛": "fewer_devices_worse",
    "two GPUs converge nicely but on a single GPU it cannot": "fewer_devices_worse",
    "acc: 0.0, norm_edit_dis: 0.0": "edit_distance zero_metric",
    "学习率调成0还是nan": "zero_rate",
    "I set lr=0 and the loss is still nan": "zero_rate",
    "總 loss 是 nan，其他各項都正常": "total_only",
    "each loss looks fine but the total is nan": "total_only",
    "每次预测结果都不一样": "each_call_differs",
    "每次推理的分數都不同": "each_call_differs",
    "different predictions every time I run inference": "each_call_differs",
    "A800上和V100上推理结果差异明显": "cards_differ",
    "不同显卡跑出来的精度不一样": "cards_differ",
    "different losses on two GPUs of different generations": "cards_differ",
    "loss 一直在0.69左右": "loss_at_ln_c",
    "loss stays at 2.30": "loss_at_ln_c",
    "损失在0.6-0.7之间": "loss_at_ln_c",
    "warmup 一结束 loss 就飞了": "end_of_warmup",
    "預熱結束後 loss 變 nan": "end_of_warmup",
    "the loss rises right after the warm-up": "end_of_warmup",
    "when warmup ends the loss explodes": "end_of_warmup",
    "验证的 map 都为0": "zero_metric",
    "box obj cls are nan and mAP is 0": "zero_metric",
    "clip了grad norm还是几百": "norm_above_limit",
    "grad_norm 比 max_norm 大": "norm_above_limit",
    "grad_norm is higher than the clip_grad value": "norm_above_limit",
    "[WARNING] overflow, still update, loss scale adjust to 1024.0": "still_update",
    "K.set_floatx('float16')": "set_floatx",
    "batch size 设成 2": "small_batch",
    "bs改成4": "small_batch",
    "设置了seed": "seed_fixed",
    "the lr is set to 0.": "zero_rate",
    "loss nan ，miou 0": "zero_metric",
    "miou 变成了 nan 和 0": "absent_class zero_metric",
    "maskrcnn-benchmark on one card": "config_of_8_cards boxes",
    "推理时每次輸出結果都不同": "each_call_differs",
    "mIoU: 0.5000 Acc: 1.0000 Kappa: nan": "absent_class",
    "没有用 DeepSpeed，也没用 focal loss": "",
    "without FSDP and no VAE": "",
    "loss 变成 nan 怎么办": "",
}

NEARLY = {
    "学习率 0.001，从头训练": "zero_rate started_over",
    "learning rate of 0.1, training from scratch": "zero_rate started_over",
    "学习率降为 0.0001": "zero_rate",
    "total loss nan": "total_only",
    "loss 是 nan，acc 正常": "total_only zero_metric",
    "每次训练都 nan": "each_call_differs",
    "index_add 每次跑结果末位都变": "each_call_differs",
    "我在 V100 上训练 nan": "cards_differ",
    "different loss functions on images": "cards_differ",
    "loss 从 2.3 降到 0.5": "loss_at_ln_c",
    "loss 6.95, later lower": "loss_at_ln_c",
    "loss 1.1e-3": "loss_at_ln_c",
    "IoU 0.69": "loss_at_ln_c",
    "mAP is 0.05": "zero_metric",
    "mIoU 0.31, the loss is nan": "zero_metric absent_class",
    "每次推理都很慢": "each_call_differs",
    "acc=0.93": "zero_metric",
    "准确率掉到 0.1": "zero_metric",
    "gradient clipping at 1.0 and the norm is 0.3": "norm_above_limit",
    "clip_grad_norm_ 传一层的参数还是传全部": "norm_above_limit",
    "裁剪到 1，范数 0.4": "norm_above_limit",
    "warmup 500 步": "end_of_warmup",
    "a warm-up of 2000 steps": "end_of_warmup",
    "overflow detected, skipping step": "still_update",
    "batch size 32, then 128": "small_batch",
    "batch_size=16": "small_batch",
    "bs 24": "small_batch",
    "batch size 1k": "small_batch",
    "8 卡训练": "config_of_8_cards",
    "多卡正常": "fewer_devices_worse",
    "two gpus, one nan": "fewer_devices_worse",
    "恢复了一会又 nan": "resumed",
    "the weights continue to grow": "resumed",
    "回到正题": "started_over",
    "the same as before": "started_over",
}
"""Text → what it nearly, but does not name."""


@each_case(("text", "expected"), NAMED.items())
def test_names_are_read(text, expected):
    found = {each.sign.value for each in read_particulars(text)}
    assert found == set(expected.split())


@each_case(("text", "absent"), NEARLY.items())
def test_what_is_nearly_named_is_not_read(text, absent):
    assert not {each.sign.value for each in read_particulars(text)} & set(absent.split())


def test_each_has_a_name_and_its_words_are_told_verbatim():
    assert set(PARTICULARS) == set(SIGN_VOCABULARY["with"])
    text = "用 ＦＳＤＰ 訓練，Focal Loss 出現 NaN"
    assert {each.text for each in read_particulars(text)} == {"ＦＳＤＰ", "Focal"}


def test_they_are_kept_apart_from_what_helps_to_find_the_entry():
    parsed = parse_question("WGAN 的 loss 是 nan")
    assert [str(each.sign) for each in parsed.particulars] == ["with:wgan"]
    assert all(each.sign.kind != "with" for each in parsed.observations)


@given(st.text(max_size=300) | st.lists(st.sampled_from([*NAMED, "\n", "，", " not "]), max_size=6).map("".join))
def test_any_text_is_read(text):
    """No text raises; each sign is read once, with words of the text."""
    found = read_particulars(text)
    assert len({each.sign for each in found}) == len(found)
    assert all(0 < len(each.text) <= 60 for each in found)
