"""CPU time that the recorder of trainings adds: the same steps with and without it, in turn."""

import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from typing import Any, Literal

from qa_service.paths import watch_folder

BLOCK_SECONDS = 1.0
_BLOCKS = 30
STEADY_FROM = 256
"""Steps before the comparison: the recorder measures more often at first."""


def watch_overhead() -> None:
    """Share of CPU time that `watch` adds to the training of a small GPT and of an MLP, by level."""
    import torch

    sys.path.insert(0, str(watch_folder()))
    torch.set_num_threads(1)
    for name, make in (("GPT, 4 blocks of width 128", _gpt), ("MLP, 12 layers of width 256", _mlp)):
        _compare(name, make, "steps")
        _compare(name, make, "layers")


def _compare(name: str, make: Callable[[], "_Loop"], level: Literal["steps", "layers"]) -> None:
    """Prints the median over pairs of blocks of the CPU time with the recorder over that without."""
    from numstab_watch import watch

    plain, watched = make(), make()
    for _ in range(20):
        plain()
    with (
        tempfile.TemporaryDirectory() as folder,
        watch(
            *watched.parts,
            path=f"{folder}/trace.jsonl.gz",
            level=level,
        ),
    ):
        started = time.process_time()
        for _ in range(30):  # the recorder measures each of the first steps
            watched()
        start = time.process_time() - started
        for _ in range(STEADY_FROM - 30):
            watched()
        started = time.process_time()
        for _ in range(10):
            plain()
        each = (time.process_time() - started) / 10
        steps = max(10, int(BLOCK_SECONDS / each))
        ratios = []
        for block in range(_BLOCKS):
            times = {}
            for loop in (plain, watched) if block % 2 else (watched, plain):
                started = time.process_time()
                for _ in range(steps):
                    loop()
                times[loop] = time.process_time() - started
            ratios.append(times[watched] / times[plain] - 1)
    quartiles = statistics.quantiles(ratios, n=4)
    print(
        f"{name:28s} level {level:7s} {100 * quartiles[1]:+5.1f} % of CPU time "
        f"(quartiles {100 * quartiles[0]:+.1f} … {100 * quartiles[2]:+.1f}; {_BLOCKS} pairs of {steps} steps of "
        f"{1e3 * each:.1f} ms); the first 30 steps {100 * (start / (30 * each) - 1):+.0f} %",
        flush=True,
    )


class _Loop:
    """One training step at each call."""

    def __init__(self, model: Any, data: Callable[[], tuple[Any, Any]], lr: float) -> None:
        import torch

        optimizer = torch.optim.AdamW(model.parameters(), lr)
        self.parts = model, optimizer
        self._data = data

    def __call__(self) -> None:
        from torch.nn.functional import cross_entropy

        model, optimizer = self.parts
        x, y = self._data()
        optimizer.zero_grad()
        cross_entropy(model(x).flatten(0, -2), y.flatten()).backward()
        optimizer.step()


def _mlp() -> "_Loop":
    import torch
    from torch import nn

    torch.manual_seed(0)
    layers: list[Any] = []
    for _ in range(11):
        layers += [nn.Linear(256, 256), nn.ReLU()]
    model = nn.Sequential(*layers, nn.Linear(256, 10))
    x, y = torch.randn(64, 256), torch.randint(10, (64,))
    return _Loop(model, lambda: (x, y), 1e-4)


def _gpt() -> "_Loop":
    import torch
    from torch import nn

    torch.manual_seed(0)
    mask = nn.Transformer.generate_square_subsequent_mask(64)
    block = nn.TransformerEncoderLayer(128, 4, 512, 0.0, batch_first=True, norm_first=True)
    body = nn.TransformerEncoder(block, 4, enable_nested_tensor=False)

    class Gpt(nn.Module):  # type: ignore[misc]  # torch is Any here
        def __init__(self) -> None:
            super().__init__()
            self.embed, self.body, self.head = nn.Embedding(256, 128), body, nn.Linear(128, 256)

        def forward(self, words: Any) -> Any:
            return self.head(self.body(self.embed(words), mask=mask, is_causal=True))

    words = torch.randint(256, (8, 65))
    return _Loop(Gpt(), lambda: (words[:, :-1], words[:, 1:]), 1e-4)
