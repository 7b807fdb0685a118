"""Observations: what a question or a pasted log says about a run, in a fixed vocabulary of signs."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from qa_service.model.values import Text

ObservationKind = Literal["where", "what", "when", "in", "tried", "fine", "with"]

SIGN_VOCABULARY: Mapping[ObservationKind, Mapping[str, Text]] = {
    "where": {
        "loss": Text("损失", "loss"),
        "gradient": Text("梯度", "gradient"),
        "activation": Text("激活值", "activation"),
        "logit": Text("logit", "logit"),
        "weight": Text("权重", "weight"),
        "metric": Text("指标", "metric"),
        "input": Text("输入数据", "input data"),
        "label": Text("标签", "label"),
        "scale": Text("损失缩放系数", "loss scale"),
        "state": Text("优化器状态", "optimiser state"),
    },
    "what": {
        "nan": Text("nan", "nan"),
        "inf": Text("inf", "inf"),
        "zero": Text("等于 0", "zero"),
        "flat": Text("不动", "flat"),
        "chance": Text("停在随机水平", "at chance"),
        "constant": Text("输出恒定", "constant output"),
        "growing": Text("越来越大", "growing"),
        "shrinking": Text("越来越小", "shrinking"),
        "large": Text("过大", "too large"),
        "spike": Text("尖峰", "spike"),
        "unstable": Text("震荡", "unstable"),
        "recovered": Text("又恢复", "recovered"),
        "skip": Text("跳过更新", "skipped step"),
        "minimum": Text("降到下限", "at its minimum"),
        "worse": Text("变差", "worse"),
        "differs": Text("结果不一致", "differs"),
        "garbage": Text("输出乱码", "garbage output"),
        "finite": Text("有限", "finite"),
    },
    "when": {
        "first_step": Text("第一步", "first step"),
        "later": Text("训练一段时间后", "after a while"),
        "resume": Text("断点续训", "at resume"),
        "eval": Text("评估时", "in evaluation"),
        "inference": Text("推理时", "at inference"),
        "backward": Text("反向传播时", "in backward"),
        "sometimes": Text("时有时无", "now and then"),
        "after_change": Text("改动之后", "after a change"),
    },
    "in": {
        "float16": Text("float16", "float16"),
        "bfloat16": Text("bfloat16", "bfloat16"),
        "float32": Text("float32", "float32"),
        "float64": Text("float64", "float64"),
        "float8": Text("float8", "float8"),
        "int8": Text("int8/int4 量化", "int8/int4 quantised"),
        "amp": Text("混合精度", "mixed precision"),
        "grad_scaler": Text("损失缩放", "loss scaling"),
        "sgd": Text("SGD", "SGD"),
        "adam": Text("Adam", "Adam"),
        "batch_norm": Text("批量归一化", "batch norm"),
        "layer_norm": Text("层归一化", "layer norm"),
        "dropout": Text("dropout", "dropout"),
        "softmax": Text("softmax", "softmax"),
        "cross_entropy": Text("交叉熵", "cross-entropy"),
        "sigmoid": Text("sigmoid", "sigmoid"),
        "tanh": Text("tanh", "tanh"),
        "relu": Text("ReLU", "ReLU"),
        "attention": Text("注意力", "attention"),
        "transformer": Text("Transformer", "transformer"),
        "recurrent": Text("循环网络", "recurrent net"),
        "residual": Text("残差", "residual"),
        "lora": Text("LoRA/微调", "LoRA/fine-tuning"),
        "gan": Text("GAN", "GAN"),
        "reinforcement": Text("强化学习", "reinforcement learning"),
        "diffusion": Text("扩散模型/VAE", "diffusion/VAE"),
        "ctc": Text("CTC", "CTC"),
        "cpu": Text("CPU", "CPU"),
        "cuda": Text("CUDA GPU", "CUDA GPU"),
        "mps": Text("Apple MPS", "Apple MPS"),
        "npu": Text("NPU", "NPU"),
        "several_devices": Text("多卡", "several devices"),
        "one_device": Text("单卡", "one device"),
        "no_bfloat16": Text("不支持 bfloat16 的卡", "a card without bfloat16"),
        "hf_trainer": Text("Hugging Face Trainer", "Hugging Face Trainer"),
        "deepspeed": Text("DeepSpeed", "DeepSpeed"),
        "megatron": Text("Megatron", "Megatron"),
        "fairseq": Text("fairseq", "fairseq"),
        "lightning": Text("Lightning", "Lightning"),
        "keras": Text("Keras/TensorFlow", "Keras/TensorFlow"),
        "jax": Text("JAX", "JAX"),
        "paddle": Text("Paddle", "Paddle"),
        "mmengine": Text("MMEngine", "MMEngine"),
        "ultralytics": Text("Ultralytics YOLO", "Ultralytics YOLO"),
        "numpy": Text("NumPy", "NumPy"),
        "compile": Text("torch.compile", "torch.compile"),
    },
    "tried": {
        "lower_lr": Text("调小学习率", "a lower learning rate"),
        "clipping": Text("梯度裁剪", "gradient clipping"),
        "float32": Text("改用 float32", "float32"),
        "bfloat16": Text("改用 bfloat16", "bfloat16"),
        "float16": Text("改用 float16", "float16"),
        "eps": Text("加 eps", "an eps"),
        "warmup": Text("预热", "warmup"),
        "normalisation": Text("归一化", "normalisation"),
        "initialisation": Text("换初始化", "another initialisation"),
        "batch_size": Text("换批量大小", "another batch size"),
        "optimiser": Text("换优化器", "another optimiser"),
        "seed": Text("换种子", "another seed"),
        "data_check": Text("检查数据", "a check of the data"),
        "activation": Text("换激活函数", "another activation"),
        "residual": Text("加残差", "residual connections"),
    },
    "fine": {
        "float32": Text("float32 下正常", "fine in float32"),
        "float64": Text("float64 下正常", "fine in float64"),
        "bfloat16": Text("bfloat16 下正常", "fine in bfloat16"),
        "float16": Text("float16 下正常", "fine in float16"),
        "cpu": Text("CPU 上正常", "fine on the CPU"),
        "cuda": Text("GPU 上正常", "fine on a GPU"),
        "one_device": Text("单卡正常", "fine on one device"),
        "lower_lr": Text("调小学习率就好", "fine with a lower learning rate"),
        "clipping": Text("加裁剪就好", "fine with clipping"),
        "batch_size": Text("换批量大小就好", "fine with another batch size"),
        "eps": Text("加 eps 就好", "fine with an eps"),
    },
    "with": {
        "trainer_arguments": Text("Trainer 的参数", "Trainer arguments"),
        "accelerate": Text("Accelerate", "Accelerate"),
        "fsdp": Text("FSDP", "FSDP"),
        "apex": Text("apex", "apex"),
        "detectron2": Text("detectron2", "detectron2"),
        "ultralytics": Text("Ultralytics", "Ultralytics"),
        "stable_baselines": Text("Stable-Baselines3", "Stable-Baselines3"),
        "mindspore": Text("MindSpore", "MindSpore"),
        "diffusers": Text("diffusers", "diffusers"),
        "webui": Text("SD WebUI", "SD WebUI"),
        "comfyui": Text("ComfyUI", "ComfyUI"),
        "vllm": Text("vLLM", "vLLM"),
        "tensorrt": Text("TensorRT", "TensorRT"),
        "onnx": Text("ONNX", "ONNX"),
        "unscale_fp16": Text("Attempting to unscale FP16 gradients", "Attempting to unscale FP16 gradients"),
        "llama_cpp": Text("llama.cpp", "llama.cpp"),
        "gptq_awq": Text("GPTQ、AWQ", "GPTQ, AWQ"),
        "t5": Text("T5", "T5"),
        "gemma": Text("Gemma", "Gemma"),
        "qwen": Text("Qwen", "Qwen"),
        "second_derivative": Text("二阶导数", "a second derivative"),
        "no_half": Text("--no-half", "--no-half"),
        "mask_constant": Text("−1e9 的掩码", "a mask of −1e9"),
        "tiny_eps": Text("很小的 eps", "a tiny eps"),
        "calibration": Text("校准", "calibration"),
        "label_smoothing": Text("标签平滑", "label smoothing"),
        "zero_stage": Text("ZeRO", "ZeRO"),
        "masked_language": Text("掩码语言模型", "masked language modelling"),
        "nan_latents": Text("潜变量已是 nan", "latents already nan"),
        "adaptive_rate": Text("D-Adaptation、Prodigy", "D-Adaptation, Prodigy"),
        "no_input_grad": Text("None of the inputs have requires_grad", "None of the inputs have requires_grad"),
        "trtexec": Text("trtexec", "trtexec"),
        "flux": Text("Flux", "Flux"),
        "rknn": Text("RKNN", "RKNN"),
        "tflite": Text("TFLite", "TFLite"),
        "four_bit": Text("4 bit 加载", "loaded in 4 bits"),
        "eight_bit_optimiser": Text("8-bit 优化器", "8-bit optimiser"),
        "half_weights": Text("权重是 float16", "weights in float16"),
        "sdxl": Text("SDXL", "SDXL"),
        "boxes": Text("检测框", "boxes"),
        "bce": Text("二元交叉熵", "binary cross-entropy"),
        "focal": Text("focal loss", "focal loss"),
        "dice": Text("Dice", "Dice"),
        "mse": Text("均方误差、回归", "squared error, regression"),
        "kl": Text("KL 散度", "KL divergence"),
        "vae": Text("VAE", "VAE"),
        "log_variance": Text("对数方差", "log variance"),
        "wgan": Text("WGAN", "WGAN"),
        "lsgan": Text("LSGAN、CycleGAN", "LSGAN, CycleGAN"),
        "triplet": Text("三元组损失", "triplet loss"),
        "cosine": Text("余弦相似度", "cosine similarity"),
        "small_temperature": Text("很小的温度", "a small temperature"),
        "policy_gradient": Text("策略梯度", "policy gradient"),
        "ppo": Text("PPO", "PPO"),
        "grpo": Text("GRPO", "GRPO"),
        "dpo": Text("DPO", "DPO"),
        "sac": Text("SAC", "SAC"),
        "dqn": Text("DQN", "DQN"),
        "reward": Text("奖励", "reward"),
        "equal_rewards": Text("reward_std 为 0", "reward_std of 0"),
        "ratio_threshold": Text("比值超过阈值", "ratio above the threshold"),
        "log": Text("取对数", "a logarithm"),
        "sqrt": Text("开平方", "a square root"),
        "where": Text("torch.where", "torch.where"),
        "std": Text("标准差", "standard deviation"),
        "svd": Text("奇异值或特征值分解", "SVD or eigendecomposition"),
        "mask": Text("掩码", "mask"),
        "loss_mask": Text("损失的掩码", "a loss mask"),
        "ignored_labels": Text("忽略的标签", "ignored labels"),
        "left_padding": Text("左侧填充", "left padding"),
        "speech": Text("语音", "speech"),
        "segmentation": Text("分割", "segmentation"),
        "time_series": Text("时间序列", "time series"),
        "table": Text("表格数据", "tabular data"),
        "graph": Text("图网络", "graph network"),
        "eval_mode": Text("model.eval()", "model.eval()"),
        "small_batch": Text("批量很小", "a small batch"),
        "accumulation": Text("梯度累积", "gradient accumulation"),
        "seed_fixed": Text("种子已固定", "a fixed seed"),
        "resumed": Text("断点续训", "resumed"),
        "adapter": Text("适配器", "adapter"),
        "merged": Text("合并权重", "merged weights"),
        "nan_cast": Text("invalid value encountered in cast", "invalid value encountered in cast"),
        "exclamation_marks": Text("满屏感叹号", "exclamation marks"),
        "limit_65504": Text("超过 65504", "above 65504"),
        "perfect_score": Text("loss 为 0、准确率为 1", "loss 0 and accuracy 1"),
        "generator_loss_zero": Text("G 的 loss 到 0", "generator loss at 0"),
        "other_model_fine": Text("别的模型正常", "another model works"),
        "other_card_fine": Text("换张卡就正常", "another card works"),
        "fewer_devices_fine": Text("卡少时正常", "fewer cards work"),
    },
}
"""Kind → value → its name.

The kinds: where something was seen, what, when, in which setting, what was tried without success, with which change
the problem disappears ("fine"), and with which tool, loss, operation or data ("with"), which distinguishes cases of one
symptom and does not help to find an entry.
"""


@dataclass(frozen=True, slots=True, order=True)
class Sign:
    """One sign of the vocabulary, written "what:nan" in entries."""

    kind: ObservationKind
    value: str

    def __str__(self) -> str:
        return f"{self.kind}:{self.value}"

    @property
    def name(self) -> Text:
        """The sign in words."""
        return SIGN_VOCABULARY[self.kind][self.value]

    @classmethod
    def parse(cls, text: str) -> "Sign":
        """The sign that is written "kind:value"; raises `ValueError` for one that is not in the vocabulary."""
        kind, _, value = text.partition(":")
        for known, values in SIGN_VOCABULARY.items():
            if known == kind and value in values:
                return cls(known, value)
        raise ValueError(f"no sign {text!r}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Observation:
    """A sign that was found in a question, with the words that state it."""

    sign: Sign
    text: str
    """The fragment of the question, verbatim, at most some 60 characters."""
