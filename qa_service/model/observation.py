"""Observations: what a question or a pasted log says about a run, in a fixed vocabulary of signs."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from qa_service.model.values import Text

ObservationKind = Literal["where", "what", "when", "in", "tried", "fine"]

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
}
"""Kind → value → its name.

The kinds: where something was seen, what, when, in which setting, what was tried without success, and with which
change the problem disappears ("fine").
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
