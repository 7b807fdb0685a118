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
    "trtexec --onnx=a.onnx --fp16": "tensorrt onnx trtexec",
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
    "ValueError: Attempting to unscale FP16 gradients.": "unscale_fp16",
    "llama.cpp 加 -ngl 99": "llama_cpp",
    "a GGUF file in ollama": "llama_cpp",
    "LLaMA 2 7B": "",
    "GPTQ 量化": "gptq_awq",
    "AutoAWQ": "gptq_awq",
    "gawqer": "",
    "Flan-T5 与 mT5": "t5",
    "a T5000 laptop": "",
    "gemma-2-9b": "gemma",
    "Qwen2.5-7B": "qwen",
    "create_graph=True": "second_derivative",
    "the second derivative of the loss": "second_derivative",
    "gradient penalty": "wgan second_derivative",
    "--no-half-vae": "no_half",
    "scores.masked_fill(mask, -1e9)": "mask mask_constant",
    "lr=1e-9": "",
    "LayerNorm eps=1e-12": "tiny_eps",
    "adam_epsilon=1e-8": "",
    "eps=1e-5": "",
    "int8 校准": "calibration",
    "IInt8EntropyCalibrator2": "calibration",
    "probability calibration": "",
    "label smoothing 0.1": "label_smoothing",
    "标签平滑": "label_smoothing",
    "ZeRO-3 与 zero2": "zero_stage",
    "loss is zero 2 steps later": "",
    "loss is zero": "",
    "DataCollatorForLanguageModeling": "masked_language",
    "{'loss': 0.0, 'learning_rate': 1e-05}": "trainer_arguments",
    "{'eval_loss': nan, 'eval_runtime': 3.2}": "trainer_arguments",
    "KSampler output is all nan": "nan_latents",
    "the latents are nan": "nan_latents",
    "latency is not nan": "",
    "Prodigy with full_fp16": "adaptive_rate half_weights",
    "adapted from": "",
    "None of the inputs have requires_grad=True": "no_input_grad",
    "rk3588 上的 rknn 模型": "rknn",
    "calibration script for int8": "calibration",
    "TFLite int8": "tflite",
    "FLUX.1-dev": "flux",
    "the influx of data": "",
    "没有用 DeepSpeed，也没用 focal loss": "",
    "without FSDP and no VAE": "",
    "loss 变成 nan 怎么办": "",
}


@each_case(("text", "expected"), NAMED.items())
def test_names_are_read(text, expected):
    found = {each.sign.value for each in read_particulars(text)}
    assert found == set(expected.split())


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
