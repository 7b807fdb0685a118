"""The callbacks for transformers and Lightning: they leave losses unchanged and record what the training loops do."""

import gzip
import json
from pathlib import Path
from typing import Any

import numstab_watch
import pytest
import torch
from torch import nn

from qa_service.diagnosis.trace_file import read_trace

pytestmark = pytest.mark.filterwarnings("ignore")


class Classifier(nn.Module):
    """A model with the interface of transformers' models: returns loss and logits."""

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(nn.Linear(8, 16), nn.ReLU(), nn.Linear(16, 3))

    def forward(self, x: Any = None, labels: Any = None) -> dict[str, Any]:
        logits = self.body(x)
        return {"loss": nn.functional.cross_entropy(logits, labels), "logits": logits}


def modules_seen(path: Path) -> set[str]:
    rows = [json.loads(line) for line in gzip.decompress(path.read_bytes()).splitlines()[1:]]
    return {name for row in rows if "m" in row for name in row["m"]}


def test_a_trainer_of_transformers(tmp_path, monkeypatch):
    """Tested with gradient accumulation and evaluation; the recorded losses are those that the trainer logs."""
    from transformers import Trainer, TrainingArguments

    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    generator = torch.Generator().manual_seed(1)
    data = [{"x": torch.randn(8, generator=generator), "labels": torch.tensor(i % 3)} for i in range(32)]

    def train(*callbacks: Any) -> list[float]:
        torch.manual_seed(0)
        arguments = TrainingArguments(
            str(tmp_path / "out"), max_steps=8, per_device_train_batch_size=4, gradient_accumulation_steps=2,
            logging_steps=1, report_to=[], disable_tqdm=True, use_cpu=True, eval_strategy="steps", eval_steps=4,
            save_strategy="no",
        )  # fmt: skip
        trainer = Trainer(Classifier(), arguments, train_dataset=data, eval_dataset=data, callbacks=[*callbacks])
        trainer.train()
        return [float(entry["loss"]) for entry in trainer.state.log_history if "loss" in entry]

    path = tmp_path / "trace.jsonl.gz"
    logged = train(numstab_watch.HuggingFaceCallback(path=path))
    assert logged == train()
    run = read_trace(path.read_bytes())
    assert [record.value for record in run.series["loss"]] == pytest.approx(logged, abs=1e-3)
    assert run.settings["backwards"] == 2
    assert len(run.series["val_loss"]) == 2
    assert run.events[-1].text == "closed"
    assert {"", "body.0", "body.1"} <= modules_seen(path)


def test_a_trainer_of_lightning(tmp_path):
    """Lightning's optimizer steps with a closure; clipping and validation are recorded too."""
    import lightning

    class Module(lightning.LightningModule):
        def __init__(self) -> None:
            super().__init__()
            self.body = nn.Sequential(nn.Linear(8, 16), nn.ReLU(), nn.Linear(16, 3))
            self.losses: list[float] = []

        def training_step(self, batch: Any, index: int) -> Any:
            loss = nn.functional.cross_entropy(self.body(batch[0]), batch[1])
            self.losses.append(loss.item())
            return loss

        def validation_step(self, batch: Any, index: int) -> None:
            self.log("val_loss", nn.functional.cross_entropy(self.body(batch[0]), batch[1]))

        def configure_optimizers(self) -> Any:
            return torch.optim.Adam(self.parameters(), 1e-2)

    def train(*callbacks: Any) -> list[float]:
        torch.manual_seed(0)
        module = Module()
        data = torch.utils.data.TensorDataset(torch.randn(32, 8), torch.randint(0, 3, (32,)))
        loader = torch.utils.data.DataLoader(data, 8)
        trainer = lightning.Trainer(
            max_epochs=2, accelerator="cpu", logger=False, enable_checkpointing=False, enable_progress_bar=False,
            enable_model_summary=False, gradient_clip_val=0.1, callbacks=[*callbacks], default_root_dir=tmp_path,
        )  # fmt: skip
        trainer.fit(module, loader, loader)
        return module.losses

    path = tmp_path / "trace.jsonl.gz"
    losses = train(numstab_watch.LightningCallback(path=path))
    assert losses == train()
    run = read_trace(path.read_bytes())
    assert [record.value for record in run.series["loss"]] == pytest.approx(losses, rel=1e-3)
    assert run.settings["clip"] == 0.1
    assert run.settings["batch_size"] == 8
    assert len(run.series["val_loss"]) == 2
    assert min(record.value for record in run.series["grad_norm"]) > 0.1  # before clipping
    updates = [record.values["update_ratio"] for record in run.layers if "update_ratio" in record.values]
    assert min(updates) > 0
    assert "body.1" in modules_seen(path)
