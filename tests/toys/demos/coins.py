"""A fair coin: heads in half of the seeds."""

import torch

TITLE = {"zh": "硬币", "en": "Coin"}
PARAMS = {"always": {"zh": "总是正面", "en": "always heads"}}
COLUMNS = {"toss": {"zh": "次", "en": "toss"}}
METRICS = {"heads": {"zh": "正面", "en": "heads"}}
CHART = {"mark": "point", "encoding": {"x": {"field": "toss", "type": "quantitative"}}}


def run(always: bool = False):
    yield {"toss": 1}
    return {"heads": 1 if always else int(torch.rand(()) < 0.5)}
