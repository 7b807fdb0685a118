"""One box without width or with swapped corners makes box losses inf or nan; a filter on width and height cures it.

`boxes` anchors of 32 × 32 pixels; truths: centres off by N(0, 16), sides 32·exp(N(0, 0.3²)). The first truth is
`width` × `height` instead (x2 − x1, y2 − y1; negative: swapped corners). A linear layer from 8 features N(0, 1),
weights N(0, 0.02²), predicts the offsets (dx, dy, dw, dh); box: centre + 32·(dx, dy), sides 32·exp(dw, dh).

l1: smooth L1 against the encoded truth, whose sizes are log(side / 32): −inf at 0, nan below 0. giou: 1 − IoU plus the
empty fraction of the enclosing box. ciou: 1 − IoU + (distance of centres / diagonal)² + α v, v = 4/π² (difference of
atan(width / height))², α = v / (1 − IoU + v): 0/0 for a point. All without eps, each the mean of the batch; bad: the
non-finite fraction of the layer's gradient. filtered: the same without truths narrower or lower than a pixel.
one_l1, one_giou, one_ciou: the first box alone, of which rows show a range of widths. decoded: 32·exp(`dw`); limited:
with dw clamped at log(1000/16). Random: boxes, features, weights. Source: Ren et al. 2015, Faster R-CNN; Rezatofighi et
al. 2019, GIoU; Zheng et al. 2020, DIoU and CIoU.
"""

import math
from collections.abc import Callable, Generator

import torch
from torch import Tensor
from torch.nn.functional import smooth_l1_loss

TITLE = {"zh": "没有面积的框让框损失变成 inf、nan", "en": "Boxes without area make box losses inf or nan"}
PARAMS = {
    "width": {"zh": "第一个真值框的宽", "en": "width of the first true box", "unit": "px", "ge": -1000, "le": 1000},
    "height": {"zh": "第一个真值框的高", "en": "height of the first true box", "unit": "px", "ge": -1000, "le": 1000},
    "dw": {"zh": "预测的对数宽度", "en": "predicted log-width", "ge": -200, "le": 200},
    "boxes": {"zh": "框数", "en": "boxes", "ge": 2, "le": 1000},
}
COLUMNS = {
    "width": {"zh": "真值框的宽", "en": "width of the true box", "unit": "px"},
    "l1": {"zh": "对数编码的 L1", "en": "L1 of encoded sizes"},
    "giou": {"zh": "GIoU 损失", "en": "GIoU loss"},
    "ciou": {"zh": "CIoU 损失", "en": "CIoU loss"},
}
METRICS = {
    "l1": {"zh": "整批的 L1 损失", "en": "L1 loss of the batch"},
    "l1_bad": {"zh": "L1：坏梯度的比例", "en": "L1: non-finite fraction of the gradient"},
    "giou": {"zh": "整批的 GIoU 损失", "en": "GIoU loss of the batch"},
    "giou_bad": {"zh": "GIoU：坏梯度的比例", "en": "GIoU: non-finite fraction of the gradient"},
    "ciou": {"zh": "整批的 CIoU 损失", "en": "CIoU loss of the batch"},
    "ciou_bad": {"zh": "CIoU：坏梯度的比例", "en": "CIoU: non-finite fraction of the gradient"},
    "one_l1": {"zh": "这个框的 L1 损失", "en": "L1 loss of this box"},
    "one_giou": {"zh": "这个框的 GIoU 损失", "en": "GIoU loss of this box"},
    "one_ciou": {"zh": "这个框的 CIoU 损失", "en": "CIoU loss of this box"},
    "filtered_l1": {"zh": "过滤后的 L1 损失", "en": "L1 loss after the filter"},
    "filtered_ciou": {"zh": "过滤后的 CIoU 损失", "en": "CIoU loss after the filter"},
    "filtered_bad": {"zh": "过滤后坏梯度的比例", "en": "non-finite fraction after the filter"},
    "dropped": {"zh": "过滤掉的框数", "en": "boxes that the filter drops"},
    "decoded": {"zh": "解码出的宽", "en": "decoded width", "unit": "px"},
    "limited": {"zh": "限制后解码出的宽", "en": "decoded width with a limit", "unit": "px"},
}
CHART = {
    "transform": [{"fold": ["l1", "giou", "ciou"], "as": ["series", "value"]}],
    "mark": {"type": "line", "point": True},
    "encoding": {
        "x": {"field": "width", "type": "quantitative"},
        "y": {"field": "value", "type": "quantitative"},
        "color": {"field": "series", "type": "nominal"},
    },
}

Row = dict[str, float]
Metrics = dict[str, float]
ANCHOR = 32.0
SMALLEST = 1.0


def run(width: float = 0.0, height: float = 0.0, dw: float = 100.0, boxes: int = 32) -> Generator[Row, None, Metrics]:
    anchors = 600 * torch.rand(boxes, 2) + 20
    sides = ANCHOR * (0.3 * torch.randn(boxes, 2)).exp()
    middles = anchors + 4 * torch.randn(boxes, 2)
    features = torch.randn(boxes, 8)
    weight = (0.02 * torch.randn(8, 4)).requires_grad_()

    def truth(first: float) -> Tensor:
        size = sides.clone()
        size[0] = torch.tensor([first, height])
        return torch.cat([middles - size / 2, middles + size / 2], 1)

    for first in (-40, -20, -10, -5, -1, 0, 0.01, 1, 5, 10, 20, 32, 40):
        alone = [loss(features @ weight, anchors, truth(first))[0].item() for loss in LOSSES.values()]
        yield {"width": first, **dict(zip(LOSSES, alone, strict=True))}

    boxed = truth(width)
    wide = (boxed[:, 2:] - boxed[:, :2] >= SMALLEST).all(1)
    metrics: Metrics = {"dropped": int((~wide).sum())}
    worst = 0.0
    for name, loss in LOSSES.items():
        each = loss(features @ weight, anchors, boxed)
        metrics[name], metrics[f"{name}_bad"] = each.mean().item(), bad_share(each, weight)
        metrics[f"one_{name}"] = each[0].item()
        kept = loss(features[wide] @ weight, anchors[wide], boxed[wide])
        worst = max(worst, bad_share(kept, weight))
        if name != "giou":
            metrics[f"filtered_{name}"] = kept.mean().item()
    raw = torch.tensor(dw)
    limit = math.log(1000 / 16)
    return metrics | {
        "filtered_bad": worst,
        "decoded": (ANCHOR * raw.exp()).item(),
        "limited": (ANCHOR * raw.clamp(max=limit).exp()).item(),
    }


def bad_share(each: Tensor, weight: Tensor) -> float:
    """The non-finite fraction of the gradient of the mean loss."""
    if not len(each):
        return 0.0
    (gradient,) = torch.autograd.grad(each.mean(), weight, retain_graph=True)
    return float((~gradient.isfinite()).double().mean())


def encoded_l1(offsets: Tensor, anchors: Tensor, truth: Tensor) -> Tensor:
    middle, size = (truth[:, :2] + truth[:, 2:]) / 2, truth[:, 2:] - truth[:, :2]
    target = torch.cat([(middle - anchors) / ANCHOR, (size / ANCHOR).log()], 1)
    return smooth_l1_loss(offsets, target, reduction="none").sum(1)


def corners(offsets: Tensor, anchors: Tensor) -> Tensor:
    middle, half = anchors + ANCHOR * offsets[:, :2], ANCHOR * offsets[:, 2:].exp() / 2
    return torch.cat([middle - half, middle + half], 1)


def overlap(a: Tensor, b: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """IoU, union, and the sides of the enclosing box."""
    inside = (torch.minimum(a[:, 2:], b[:, 2:]) - torch.maximum(a[:, :2], b[:, :2])).clamp(min=0).prod(1)
    union = (a[:, 2:] - a[:, :2]).prod(1) + (b[:, 2:] - b[:, :2]).prod(1) - inside
    return inside / union, union, torch.maximum(a[:, 2:], b[:, 2:]) - torch.minimum(a[:, :2], b[:, :2])


def giou_loss(offsets: Tensor, anchors: Tensor, truth: Tensor) -> Tensor:
    iou, union, around = overlap(corners(offsets, anchors), truth)
    area = around.prod(1)
    return 1 - iou + (area - union) / area


def ciou_loss(offsets: Tensor, anchors: Tensor, truth: Tensor) -> Tensor:
    own = corners(offsets, anchors)
    iou, _, around = overlap(own, truth)
    apart = (own[:, :2] + own[:, 2:] - truth[:, :2] - truth[:, 2:]) / 2
    (w, h), (w_true, h_true) = (own[:, 2:] - own[:, :2]).T, (truth[:, 2:] - truth[:, :2]).T
    v = 4 / math.pi**2 * (torch.atan(w_true / h_true) - torch.atan(w / h)) ** 2
    with torch.no_grad():
        alpha = v / (1 - iou + v)
    return 1 - iou + apart.square().sum(1) / around.square().sum(1) + alpha * v


LOSSES: dict[str, Callable[[Tensor, Tensor, Tensor], Tensor]] = {
    "l1": encoded_l1,
    "giou": giou_loss,
    "ciou": ciou_loss,
}


if __name__ == "__main__":

    def show() -> Generator[Row, None, None]:
        torch.manual_seed(0)
        print((yield from run()))

    for row in show():
        print(row)
