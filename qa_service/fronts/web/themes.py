"""The themes of the index. An item of the lecture may belong to several themes."""

from collections.abc import Iterable
from dataclasses import dataclass

from qa_service.fronts.web.labels import LABELS
from qa_service.model import Experiment, Text


@dataclass(frozen=True, slots=True)
class Theme:
    """A heading of the index, and the items listed under it; one without items has experiments only."""

    slug: str
    name: Text
    items: tuple[int, ...]


THEMES = (
    Theme("nan-and-inf", Text("nan 与 inf", "nan and inf"), (1, 4)),
    Theme("precision", Text("浮点精度与混合精度", "Floating point and mixed precision"), (16, 9)),
    Theme("gradients", Text("梯度消失与爆炸", "Vanishing and exploding gradients"), (6, 7, 8, 9)),
    Theme("initialisation", Text("权重初始化", "Initialisation"), (11, 12)),
    Theme("normalisation", Text("归一化与协变量偏移", "Normalisation and covariate shift"), (10, 15)),
    Theme("accuracy", Text("准确率卡住", "Accuracy that is stuck"), (3,)),
    Theme("loss-surface", Text("损失曲面", "The loss surface"), (13,)),
    Theme("statistics", Text("独立同分布", "Independent and identically distributed"), (14,)),
    Theme("expressivity", Text("ReLU 能拟合什么", "What ReLU networks can fit"), (2, 5)),
    Theme("mathematics", Text("要学哪些数学", "Which mathematics to learn"), (5,)),
    Theme("formula", Text("你自己的公式", "Your own formula"), ()),
)


def by_theme(experiments: Iterable[Experiment]) -> list[tuple[Text, list[Experiment]]]:
    """(heading, experiments) by folder of `demos/`, which is named by a theme's slug; other folders come last."""
    remaining = sorted(experiments, key=lambda one: one.slug)
    groups = []
    for theme in THEMES:
        in_theme = [one for one in remaining if one.file.startswith(f"{theme.slug.replace('-', '_')}/")]
        remaining = [one for one in remaining if one not in in_theme]
        groups.append((theme.name, in_theme))
    return [group for group in [*groups, (LABELS["other_experiments"], remaining)] if group[1]]
