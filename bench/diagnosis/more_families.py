"""Three more model families, whose losses have no known level: weights may be fitted on their runs, but no figure is
reported for them.

They are apart from `architectures`, so that the runs that are kept of the others stay valid.
"""

from collections.abc import Mapping
from typing import Any

import torch
from torch import nn

from bench.diagnosis.architectures import FAMILIES, IMAGE, TRAIN, VALIDATION, Data, Family
from bench.diagnosis.faults import Fault

_SAMPLES = TRAIN + VALIDATION


def _of_a_teacher(generator: Any) -> Data:
    """Three outputs of a random network of one hidden layer, with noise."""
    x = torch.randn(_SAMPLES, 16, generator=generator)
    hidden = torch.tanh(x @ torch.randn(16, 24, generator=generator) / 4)
    y = 1.5 * hidden @ torch.randn(24, 3, generator=generator) / 5
    return Data(x, y + 0.05 * torch.randn(_SAMPLES, 3, generator=generator))


def _spots(generator: Any) -> Data:
    """Images that show one bright spot and noise; the target is the position of the spot."""
    centre = 1.6 * torch.rand(_SAMPLES, 2, generator=generator) - 0.8
    axis = torch.linspace(-1, 1, IMAGE)
    rows, columns = torch.meshgrid(axis, axis, indexing="ij")
    x, y = centre[:, 0, None, None], centre[:, 1, None, None]
    spot = torch.exp(-((columns - x).square() + (rows - y).square()) / 0.15)
    return Data((spot + 0.2 * torch.randn(_SAMPLES, IMAGE, IMAGE, generator=generator))[:, None], 2 * centre)


def _reconstructed(generator: Any) -> Data:
    """Points near a surface of four dimensions in sixteen; the target is the input."""
    latent, directions = torch.randn(_SAMPLES, 4, generator=generator), torch.randn(4, 16, generator=generator) / 2
    x = torch.sin(latent @ directions) + 0.1 * torch.randn(_SAMPLES, 16, generator=generator)
    return Data(x, x.clone())


def _gelu() -> Any:
    layers: list[Any] = []
    for width in (16, 40, 40, 40, 40):
        layers += [nn.Linear(width, 40), nn.GELU()]
    return nn.Sequential(*layers, nn.Linear(40, 3))


class Spots(nn.Module):  # type: ignore[misc]
    """A model of three convolutions and a linear layer that outputs the position of the spot."""

    def __init__(self) -> None:
        super().__init__()
        self.features = nn.Sequential(
            nn.Conv2d(1, 8, 3, padding=1), nn.ReLU(), nn.Conv2d(8, 8, 3, padding=1), nn.ReLU(),
            nn.Conv2d(8, 8, 3, stride=2, padding=1), nn.ReLU(),
        )  # fmt: skip
        self.head = nn.Linear(128, 2)
        for layer in self.features:
            if isinstance(layer, nn.Conv2d):
                nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")

    def forward(self, x: Any) -> Any:
        return self.head(self.features(x).flatten(1))


def _autoencoder() -> Any:
    return nn.Sequential(
        nn.Linear(16, 32), nn.ReLU(), nn.Linear(32, 4), nn.ReLU(), nn.Linear(4, 32), nn.ReLU(), nn.Linear(32, 16)
    )


ADDED_FAMILIES: Mapping[str, Family] = {
    family.name: family
    for family in (
        Family(
            name="dev_gelu", kind="regression", classes=0, make_data=_of_a_teacher, make_model=_gelu, steps=250,
            activations=(nn.GELU,), learns_by=0.6,
        ),
        Family(
            name="dev_conv", kind="regression", classes=0, make_data=_spots, make_model=Spots, lr=3e-3,
            optimizer="sgd", learns_by=0.6,
        ),
        Family(
            name="dev_auto", kind="regression", classes=0, make_data=_reconstructed, make_model=_autoencoder, lr=4e-3,
            sgd_lr=0.3, steps=250, learns_by=0.75,
        ),
    )
}  # fmt: skip
_NOT_OF = {"dev_gelu": {"dead_bias"}}
_LIKE = "vae"
"""A family of the suite, a plain network without classes: the faults that apply to it apply to these families too."""
_LABELLED = {"shuffled_labels", "distance_of_equal", "few_samples"}


def family_of(name: str) -> Family:
    """The family of this name: of the suite, or of `ADDED_FAMILIES`."""
    return ADDED_FAMILIES[name] if name in ADDED_FAMILIES else FAMILIES[name]


def fault_applies(fault: Fault, name: str) -> bool:
    """Whether a fault applies to a family."""
    if name not in ADDED_FAMILIES:
        return name in fault.families
    like = _LIKE in fault.families and fault.id != "feature_x1e4"
    return (like or fault.id in _LABELLED) and fault.id not in _NOT_OF.get(name, ())
