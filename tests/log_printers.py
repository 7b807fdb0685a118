# ruff: noqa: E501 - lines of logs are as long as they are
"""Prints a training run in the formats of many trainers, together with the values that each line should be read as.

The format strings are taken from the trainers' own printing code, not from our patterns. Every run ends in nan.
"""

import json
import math
from collections.abc import Callable
from dataclasses import dataclass, field

NAN = math.nan


@dataclass
class Printed:
    """The lines of a printed log, and the values that each line should be read as."""

    lines: list[str] = field(default_factory=list)
    said: list[tuple[int, int | None, dict[str, float]]] = field(default_factory=list)
    """(number of the line, step over the whole run, key → value as printed)."""
    informative: set[int] = field(default_factory=set)
    """Numbers of the lines that must be understood."""
    joint: str = "\n"

    def add(self, line: str, step: int | None, **values: float | str) -> None:
        """Adds a line with these values, which the reader of logs must recognise."""
        self.lines.append(line)
        self.said.append((self.number, step, {key: float(value) for key, value in values.items()}))
        self.informative.add(self.number)

    def event(self, line: str) -> None:
        """Adds a line without values that must be understood, such as a message of a scaler."""
        self.lines.append(line)
        self.informative.add(self.number)

    def noise(self, *lines: str) -> None:
        """Adds lines that contain no values of the run."""
        self.lines += lines

    @property
    def number(self) -> int:
        """The number of the last line."""
        return len(self.lines) if self.joint == "\n" else 1

    @property
    def text(self) -> str:
        """The log."""
        return self.joint.join(self.lines) + "\n"


LOSSES = (2.4113, 2.2871, 2.1904, 2.0552, 1.9873, 1.9011, 1.8642, 1.8127, NAN, NAN)
NORMS = (1.8402, 1.7213, 1.6604, 2.0113, 1.5532, 1.4871, 1.9333, 9.7411, NAN, NAN)
RATES = (1e-05, 2e-05, 3e-05, 4e-05, 5e-05, 4.8e-05, 4.5e-05, 4.2e-05, 3.9e-05, 3.6e-05)
PRINTED_RUN = tuple(zip(LOSSES, NORMS, RATES, strict=True))
PRINTERS: dict[str, Callable[[], Printed]] = {}


def _prints(form: str, name: str = "") -> Callable[[Callable[[Printed], None]], Callable[[Printed], None]]:
    def register(printer: Callable[[Printed], None]) -> Callable[[Printed], None]:
        def make() -> Printed:
            out = Printed()
            printer(out)
            return out

        PRINTERS[f"{form} {name}".strip()] = make
        return printer

    return register


@_prints("hf_trainer")
def _hf(out: Printed) -> None:
    for i, (loss, norm, rate) in enumerate(PRINTED_RUN, start=1):
        shown = 0.0 if math.isnan(loss) else loss  # the filter prints 0.0
        out.add(
            str({"loss": shown, "grad_norm": norm, "learning_rate": rate, "epoch": round(i / 50, 2)}),
            None,
            loss=shown,
            grad_norm=norm,
            lr=rate,
        )
    out.add(
        "{'eval_loss': nan, 'eval_runtime': 5.1, 'eval_samples_per_second': 19.6, 'eval_steps_per_second': 2.4, 'epoch': 0.2}",
        None,
        val_loss=NAN,
    )
    out.add(
        "{'train_runtime': 100.5, 'train_samples_per_second': 8.0, 'train_steps_per_second': 1.0, 'train_loss': 1.65, 'epoch': 0.2}",
        None,
    )


@_prints("hf_trainer", "strings and bar")
def _hf_strings(out: Printed) -> None:
    for i, (loss, norm, rate) in enumerate(PRINTED_RUN, start=1):
        out.noise(f"\r{i:3d}%|▏         | {i * 10}/1000 [00:{i:02d}<16:10,  1.02it/s]")
        out.add(
            str(
                {
                    "loss": f"{loss:.4g}",
                    "grad_norm": f"{norm:.4g}",
                    "learning_rate": f"{rate:.4g}",
                    "epoch": f"{i / 50:.4g}",
                }
            ),
            i * 10,
            loss=f"{loss:.4g}",
            grad_norm=f"{norm:.4g}",
            lr=f"{rate:.4g}",
        )


@_prints("hf_trainer", "trl")
def _trl(out: Printed) -> None:
    for i, (loss, norm, rate) in enumerate(PRINTED_RUN, start=1):
        row = {
            "loss": loss,
            "grad_norm": norm,
            "learning_rate": rate,
            "rewards/chosen": 0.01 * i,
            "rewards/rejected": -0.02 * i,
            "rewards/accuracies": 0.5,
            "kl": 0.001 * i,
            "entropy": 1.5,
            "epoch": round(i / 50, 2),
        }
        out.add(
            str(row),
            None,
            loss=loss,
            grad_norm=norm,
            lr=rate,
            kl=0.001 * i,
            entropy=1.5,
            **{"rewards/chosen": 0.01 * i, "rewards/rejected": -0.02 * i},
        )


@_prints("llama_factory")
def _llama_factory(out: Printed) -> None:
    for i, (loss, _, rate) in enumerate(PRINTED_RUN, start=1):
        row = {
            "current_steps": 5 * i,
            "total_steps": 300,
            "loss": loss,
            "lr": rate,
            "epoch": 0.05 * i,
            "percentage": 1.67 * i,
            "elapsed_time": "0:00:12",
            "remaining_time": "0:11:48",
        }
        out.add(json.dumps(row), 5 * i, loss=loss, lr=rate)


@_prints("tqdm")
def _tqdm(out: Printed) -> None:
    out.joint = "\r"
    for i, (loss, _, rate) in enumerate(PRINTED_RUN, start=1):
        out.add(
            f"Epoch 1:  {i * 10}%|{'█' * i}{' ' * (10 - i)}| {i * 100}/1000 [00:{i * 3:02d}<00:{30 - i * 3:02d}, 32.21it/s, loss={loss:.3g}, lr={rate:.2e}]",
            i * 100,
            loss=f"{loss:.3g}",
            lr=rate,
        )


@_prints("lightning")
def _lightning(out: Printed) -> None:
    out.joint = "\r"
    for i, (loss, _, _) in enumerate(PRINTED_RUN):
        out.add(
            f"Epoch 2:  {i * 10}%|{'█' * i}{' ' * (10 - i)}| {i * 4}/40 [00:0{i}<00:0{9 - i}, 12.31it/s, v_num=3, train_loss_step={loss:.3g}, val_loss=2.310, train_loss_epoch=2.500]",
            80 + i * 4,
            loss=f"{loss:.3g}",
            val_loss=2.31,
            train_loss_epoch=2.5,
        )


@_prints("keras", "2")
def _keras_2(out: Printed) -> None:
    for epoch in (1, 2, 3):
        out.event(f"Epoch {epoch}/20")
        loss = LOSSES[(epoch - 1) * 3]
        out.add(
            f"  1/469 [..............................] - ETA: 2:01 - loss: {loss:.4f} - accuracy: 0.0938",
            (epoch - 1) * 469 + 1,
            loss=f"{loss:.4f}",
            accuracy=0.0938,
        )
        out.add(
            f"235/469 [==============>...............] - ETA: 1s - loss: {loss:.4f} - accuracy: 0.1938",
            (epoch - 1) * 469 + 235,
            loss=f"{loss:.4f}",
            accuracy=0.1938,
        )
        out.add(
            "469/469 [==============================] - 3s 6ms/step - loss: nan - accuracy: 0.0987 - val_loss: nan - val_accuracy: 0.0980",
            epoch * 469,
            loss=NAN,
            accuracy=0.0987,
            val_loss=NAN,
            val_accuracy=0.098,
        )


@_prints("keras", "3")
def _keras_3(out: Printed) -> None:
    for epoch in (1, 2, 3, 4):
        out.event(f"Epoch {epoch}/9")
        loss = LOSSES[epoch * 2]
        for n, bar in ((1, "\x1b[37m━━━━━━━━━━━━━━━━━━━━\x1b[0m"), (157, "━━━━━━━━━━\x1b[37m━━━━━━━━━━\x1b[0m")):
            out.add(
                f"\x1b[1m{n:3d}/313\x1b[0m \x1b[32m{bar} \x1b[1m1s\x1b[0m 5ms/step - accuracy: 0.5312 - loss: {loss:.4f}",
                (epoch - 1) * 313 + n,
                loss=f"{loss:.4f}",
                accuracy=0.5312,
            )
        out.add(
            f"\x1b[1m313/313\x1b[0m \x1b[32m━━━━━━━━━━━━━━━━━━━━\x1b[0m\x1b[37m\x1b[0m \x1b[1m2s\x1b[0m 5ms/step - accuracy: 0.5521 - loss: {loss:.4f} - val_accuracy: 0.5521 - val_loss: 0.6931 - learning_rate: 0.0010",
            epoch * 313,
            loss=f"{loss:.4f}",
            accuracy=0.5521,
            val_accuracy=0.5521,
            val_loss=0.6931,
            lr=0.001,
        )


@_prints("keras", "verbose=2")
def _keras_verbose(out: Printed) -> None:
    for epoch in range(1, 6):
        out.event(f"Epoch {epoch}/5")
        loss = LOSSES[2 * epoch - 1]
        out.add(
            f"469/469 - 3s - loss: {loss:.4f} - accuracy: 0.9123 - val_loss: 0.3131 - val_accuracy: 0.9101 - 3s/epoch - 6ms/step",
            epoch * 469,
            loss=f"{loss:.4f}",
            accuracy=0.9123,
            val_loss=0.3131,
            val_accuracy=0.9101,
        )


@_prints("megatron")
def _megatron(out: Printed) -> None:
    for i, (loss, norm, rate) in enumerate(PRINTED_RUN, start=1):
        string = f" [2024-03-01 10:11:{i:02d}] iteration {i * 100:8d}/{500000:8d} |"
        string += f" consumed samples: {i * 25600:12d} |"
        string += " elapsed time per iteration (ms): 812.3 |"
        string += f" learning rate: {rate:.6E} |"
        string += f" global batch size: {256:5d} |"
        string += f" lm loss: {loss:.6E} |"
        string += " loss scale: 65536.0 |"
        string += f" grad norm: {norm:.3f} |"
        string += f" number of skipped iterations: {i % 2:3d} |"
        string += f" number of nan iterations: {int(math.isnan(loss)):3d} |"
        out.add(
            string,
            i * 100,
            loss=f"{loss:.6E}",
            lr=rate,
            grad_norm=f"{norm:.3f}",
            loss_scale=65536,
            skipped=i % 2,
            nan_iterations=int(math.isnan(loss)),
        )
    out.noise("-" * 80)
    out.add(
        " validation loss at iteration 1000 | lm loss value: 2.345678E+00 | lm loss PPL: 1.044041E+01 | ",
        1000,
        val_loss=2.345678,
    )
    out.noise("-" * 80)


@_prints("megatron", "all skipped")
def _megatron_skipped(out: Printed) -> None:
    for i in range(1, 10):
        out.add(
            f" iteration {i:8d}/     100 | consumed samples: {i * 16:12d} | elapsed time per iteration (ms): 8123.4 | learning rate: 0.000E+00 | global batch size:    16 | loss scale: {2.0 ** (32 - i):.1f} | number of skipped iterations:   1 | number of nan iterations:   0 |",
            i,
            lr=0,
            loss_scale=2.0 ** (32 - i),
            skipped=1,
            nan_iterations=0,
        )


@_prints("neox")
def _neox(out: Printed) -> None:
    out.add(
        "[2023-05-11 10:00:01,123] [INFO] [logging.py:60:log_dist] [Rank 0] step=2, skipped=0, lr=[9.375e-06, 9.375e-06], mom=[[0.9, 0.95], [0.9, 0.95]]",
        2,
        lr=9.375e-06,
        skipped=0,
    )
    for i, (loss, _, rate) in enumerate(PRINTED_RUN, start=1):
        out.add(
            f" samples/sec: 33.204 | iteration {i * 10:8d}/  320000 | elapsed time per iteration (ms): 963.1 | learning rate: {rate:.3E} | approx flops per GPU: 41.2TFLOPS | lm_loss: {loss:.6E} | loss scale: 4294967296.0 | number of skipped iterations:   0 | number of nan iterations:   0 |",
            i * 10,
            loss=f"{loss:.6E}",
            lr=rate,
            loss_scale=4294967296,
            skipped=0,
            nan_iterations=0,
        )


@_prints("deepspeed")
def _deepspeed(out: Printed) -> None:
    for i in range(9):
        scale = 2 ** (16 - i)
        out.add(
            f"[2023-04-02 12:00:{i:02d},001] [INFO] [loss_scaler.py:183:update_scale] [deepspeed] OVERFLOW! Rank 0 Skipping step. Attempted loss scale: {scale}, reducing to {scale // 2}",
            None,
            loss_scale=scale // 2,
        )
    out.event(
        "[deepspeed] OVERFLOW! Rank 0 Skipping step. Attempted loss scale: 128, but hysteresis is 2. Reducing hysteresis to 1"
    )
    out.event(
        "[2020-10-12 00:00:00,001] [INFO] [stage2.py:1361:step] [deepscale] OVERFLOW! Rank 0 Skipping step. Attempted loss scale: 128, reducing to 64.0"
    )


@_prints("deepspeed_step")
def _deepspeed_step(out: Printed) -> None:
    for i, rate in enumerate(RATES, start=1):
        out.add(
            f"[2023-04-02 12:00:{i:02d},001] [INFO] [logging.py:96:log_dist] [Rank 0] step={i * 10}, skipped={i // 3}, lr=[{rate}, {rate}], mom=[(0.9, 0.95), (0.9, 0.95)]",
            i * 10,
            lr=rate,
            skipped=i // 3,
        )
    out.noise(
        "[2023-04-02 12:00:10,001] [INFO] [timer.py:215:stop] epoch=0/micro_step=100/global_step=100, RunningAvgSamplesPerSec=9.11, CurrSamplesPerSec=9.0, MemAllocated=5.1GB, MaxMemAllocated=9.2GB"
    )


@_prints("apex")
def _apex(out: Printed) -> None:
    for i in range(9):
        out.add(
            f"Gradient overflow.  Skipping step, loss scaler 0 reducing loss scale to {2.0 ** (15 - i)}",
            None,
            loss_scale=2.0 ** (15 - i),
        )


@_prints("fairseq")
def _fairseq(out: Printed) -> None:
    out.event(
        "2023-01-01 10:00:00 | INFO | fairseq.trainer | NOTE: gradient overflow detected, ignoring gradient, setting loss scale to: 64.0"
    )
    for i, (loss, norm, rate) in enumerate(PRINTED_RUN, start=1):
        out.add(
            f"2023-01-01 10:{i:02d}:00 | INFO | train_inner | epoch 001:  {i * 100:5d} / 5000 loss={loss:.3f}, nll_loss={loss - 0.2:.3f}, ppl=15293.2, wps=31000.1, ups=3.1, wpb=10000.2, bsz=310.3, num_updates={i * 100}, lr={rate:g}, gnorm={norm:.3f}, clip=12, loss_scale=64, train_wall=30, gb_free=10.1, wall=120",
            i * 100,
            loss=f"{loss:.3f}",
            nll_loss=f"{loss - 0.2:.3f}",
            perplexity=15293.2,
            lr=rate,
            grad_norm=f"{norm:.3f}",
            loss_scale=64,
            clip=12,
        )
    out.add(
        "2023-01-01 10:11:00 | INFO | valid | epoch 001 | valid on 'valid' subset | loss 9.123 | nll_loss 8.871 | ppl 468.2 | wps 80000.1 | wpb 9000.1 | bsz 300 | num_updates 1000",
        1000,
        val_loss=9.123,
    )


@_prints("fairseq", "json")
def _fairseq_json(out: Printed) -> None:
    for i, (loss, norm, rate) in enumerate(PRINTED_RUN, start=1):
        row = {
            "epoch": 1,
            "update": round(i / 50, 3),
            "loss": f"{loss:.3f}",
            "ppl": "77.1",
            "wps": "31000.1",
            "ups": "3.1",
            "num_updates": str(i * 100),
            "lr": f"{rate:g}",
            "gnorm": f"{norm:.3f}",
            "clip": "0",
            "loss_scale": "128",
            "train_wall": "30",
        }
        out.add(
            f"2023-01-01 10:{i:02d}:00 | INFO | train_inner | {json.dumps(row)}",
            i * 100,
            loss=f"{loss:.3f}",
            lr=rate,
            grad_norm=f"{norm:.3f}",
            loss_scale=128,
            perplexity=77.1,
            clip=0,
        )


@_prints("nanogpt")
def _nanogpt(out: Printed) -> None:
    out.noise("tokens per iteration will be: 491,520", "number of parameters: 123.59M")
    out.add("step 0: train loss 10.9541, val loss 10.9532", 0, val_loss=10.9532)
    for i, (loss, _, _) in enumerate(PRINTED_RUN):
        out.add(f"iter {i * 10}: loss {loss:.4f}, time 412.55ms, mfu 31.02%", i * 10, loss=f"{loss:.4f}")


@_prints("plain", "llm.c")
def _llm_c(out: Printed) -> None:
    for i, (loss, norm, rate) in enumerate(PRINTED_RUN, start=1):
        out.add(
            f"step {i:4d}/18865 | loss {loss:7.6f} (+0.12z)| norm {norm:6.4f} (+nanz)| lr {rate:.2e} | 312.55 ms | 41.3% bf16 MFU | 167720 tok/s",
            i,
            loss=f"{loss:.6f}",
            grad_norm=f"{norm:.4f}",
            lr=rate,
        )


@_prints("mmengine")
def _mmengine(out: Printed) -> None:
    for i, (loss, norm, rate) in enumerate(PRINTED_RUN, start=1):
        out.add(
            f"2024/01/02 10:11:{i:02d} - mmengine - INFO - Epoch(train)  [1][{i * 50:4d}/1466]  base_lr: 1.0000e-03 lr: {rate:.4e}  eta: 2:01:44  time: 0.4101  data_time: 0.0100  memory: 6124  grad_norm: {norm:.4f}  loss: {loss:.4f}  loss_cls: {loss / 2:.4f}  loss_bbox: 1.1021",
            i * 50,
            loss=f"{loss:.4f}",
            lr=rate,
            grad_norm=f"{norm:.4f}",
            loss_cls=f"{loss / 2:.4f}",
            loss_bbox=1.1021,
        )
    out.add(
        "2024/01/02 10:21:00 - mmengine - INFO - Epoch(val) [1][625/625]    coco/bbox_mAP: 0.0000  coco/bbox_mAP_50: 0.0000  data_time: 0.0010  time: 0.0311",
        625,
    )


@_prints("mmengine", "iterations")
def _mmengine_iterations(out: Printed) -> None:
    for i, (loss, _, rate) in enumerate(PRINTED_RUN, start=1):
        out.add(
            f"01/02 10:11:{i:02d} - mmengine - INFO - Iter(train) [{i * 50:5d}/40000]  lr: {rate:.4e}  eta: 5:01:44  time: 0.2101  data_time: 0.0100  memory: 3124  loss: {loss:.4f}  decode.loss_ce: {loss:.4f}  decode.acc_seg: 45.1200",
            i * 50,
            loss=f"{loss:.4f}",
            lr=rate,
            **{"decode.loss_ce": f"{loss:.4f}"},
        )


@_prints("mmcv")
def _mmcv(out: Printed) -> None:
    for i, (loss, norm, rate) in enumerate(PRINTED_RUN, start=1):
        out.add(
            f"2022-05-01 10:00:{i:02d},123 - mmdet - INFO - Epoch [2][{i * 50}/7330]\tlr: {rate:.3e}, eta: 14:21:11, time: 0.588, data_time: 0.051, memory: 3784, loss_rpn_cls: 0.6123, loss_cls: 1.2011, acc: 91.2109, loss: {loss:.4f}, grad_norm: {norm:.4f}",
            7330 + i * 50,
            loss=f"{loss:.4f}",
            lr=rate,
            grad_norm=f"{norm:.4f}",
            loss_rpn_cls=0.6123,
            loss_cls=1.2011,
            accuracy=91.2109,
        )


@_prints("ultralytics")
def _ultralytics(out: Printed) -> None:
    out.event(("%11s" * 7) % ("Epoch", "GPU_mem", "box_loss", "cls_loss", "dfl_loss", "Instances", "Size"))
    for i, (loss, _, _) in enumerate(PRINTED_RUN, start=1):
        row = ("%11s" * 2 + "%11.4g" * 5) % (f"{i}/100", "2.31G", loss, 2.745, 1.345, 23, 640)
        out.add(
            f"{row}: 100%|██████████| 120/120 [00:15<00:00,  7.61it/s]",
            i,
            box_loss=f"{loss:.4g}",
            cls_loss=2.745,
            dfl_loss=1.345,
        )


@_prints("ultralytics", "YOLOv5")
def _yolo_5(out: Printed) -> None:
    out.event(("%10s" * 7) % ("Epoch", "gpu_mem", "box", "obj", "cls", "labels", "img_size"))
    for i, (loss, _, _) in enumerate(PRINTED_RUN):
        row = ("%10s" * 2 + "%10.4g" * 5) % (f"{i}/299", "3.5G", loss, 0.0421, 0.0213, 41, 640)
        out.add(
            f"{row}: 100%|██████████| 184/184 [00:31<00:00,  5.91it/s]",
            i,
            box_loss=f"{loss:.4g}",
            obj_loss=0.0421,
            cls_loss=0.0213,
        )


@_prints("darknet")
def _darknet(out: Printed) -> None:
    for i, (loss, _, _) in enumerate(PRINTED_RUN, start=1):
        out.add(
            f" {i}: {loss:f}, {loss + 0.1:f} avg loss, 0.001000 rate, 5.210000 seconds, {i * 64} images, -1.000000 hours left",
            i,
            loss=f"{loss:f}",
            loss_average=f"{loss + 0.1:f}",
            lr=0.001,
        )


@_prints("darknet", "first version")
def _darknet_1(out: Printed) -> None:
    out.noise("Learning Rate: 0.0001, Momentum: 0.9, Decay: 0.0005", "Loaded: 0.000051 seconds")
    for i, (loss, _, _) in enumerate(PRINTED_RUN, start=1):
        sign = "-" if math.isnan(loss) else ""
        out.event(
            f"Region Avg IOU: {sign}nan, Class: {sign}nan, Obj: {sign}nan, No Obj: 0.5011, Avg Recall: 0.000000,  count: 0"
        )
        out.add(
            f"{i}: {sign}{loss:f}, {sign}{loss:f} avg, 0.000100 rate, 3.110000 seconds, {i * 64} images",
            i,
            loss=f"{loss:f}",
            loss_average=f"{loss:f}",
            lr=0.0001,
        )


@_prints("darknet_yolo2")
def _yolo_2(out: Printed) -> None:
    for i, (loss, _, _) in enumerate(PRINTED_RUN, start=1):
        out.add(
            f"{i * 32}: nGT 65, recall 3, proposals 120, loss: x {1.5:f}, y {1.25:f}, w {loss:f}, h {2.5:f}, conf {20.5:f}, cls {3.5:f}, total {loss + 29:f}",
            i * 32,
            loss=f"{loss + 29:f}",
            loss_x=1.5,
            loss_y=1.25,
            loss_w=f"{loss:f}",
            loss_h=2.5,
            loss_conf=20.5,
            loss_cls=3.5,
        )


@_prints("metric_logger")
def _metric_logger(out: Printed) -> None:
    for i, (loss, norm, rate) in enumerate(PRINTED_RUN):
        out.add(
            f"Epoch: [3]  [{i * 50:4d}/1251]  eta: 0:10:00  lr: {rate:.6f}  loss: {loss:.4f} ({loss + 0.1:.4f})  loss_scale: 65536.0000 (65536.0000)  grad_norm: {norm:.4f} (nan)  time: 0.3112  data: 0.0002  max mem: 5021",
            3 * 1251 + i * 50,
            loss=f"{loss:.4f}",
            loss_average=f"{loss + 0.1:.4f}",
            lr=f"{rate:.6f}",
            loss_scale=65536,
            grad_norm=f"{norm:.4f}",
            grad_norm_average=NAN,
        )
    out.event(
        "Averaged stats: lr: 0.000036  loss: nan (nan)  loss_scale: 65536.0000 (65536.0000)  grad_norm: nan (nan)"
    )
    out.add(
        "Test:  [  0/261]  eta: 0:05:00    loss: 0.8221 (0.8221)  acc1: 82.8125 (82.8125)  acc5: 95.3125 (95.3125)  time: 1.1511  data: 1.0012  max mem: 5021",
        3 * 1251 + 450,
        val_loss=0.8221,
        val_accuracy=82.8125,
    )


@_prints("detectron2")
def _detectron2(out: Printed) -> None:
    for i, (loss, _, rate) in enumerate(PRINTED_RUN, start=1):
        out.add(
            f"\x1b[32m[04/12 10:00:{i:02d} d2.utils.events]: \x1b[0m eta: 0:10:00  iter: {i * 20 - 1}  total_loss: {loss:.4g}  loss_cls: 1.011  loss_box_reg: 0.1213  loss_rpn_cls: 0.6911    time: 0.4312  last_time: 0.4101  data_time: 0.0101  last_data_time: 0.0031   lr: {rate:.5g}  max_mem: 3012M",
            i * 20 - 1,
            loss=f"{loss:.4g}",
            lr=f"{rate:.5g}",
            loss_cls=1.011,
            loss_box_reg=0.1213,
            loss_rpn_cls=0.6911,
        )
    out.event("FloatingPointError: Loss became infinite or NaN at iteration=201!")


@_prints("detectron2", "maskrcnn-benchmark")
def _maskrcnn(out: Printed) -> None:
    for i, (loss, _, rate) in enumerate(PRINTED_RUN, start=1):
        out.add(
            f"2018-11-01 10:00:{i:02d},120 maskrcnn_benchmark.trainer INFO: eta: 1 day, 2:03:04  iter: {i * 20}  loss: {loss:.4f} ({loss + 0.5:.4f})  loss_classifier: 0.9511 (1.2011)  loss_objectness: 0.6811 (0.6831)  time: 0.5211 (0.6011)  data: 0.0101 (0.0311)  lr: {rate:.6f}  max mem: 4711",
            i * 20,
            loss=f"{loss:.4f}",
            loss_average=f"{loss + 0.5:.4f}",
            lr=f"{rate:.6f}",
            loss_classifier=0.9511,
            loss_objectness=0.6811,
        )


@_prints("timm")
def _timm(out: Printed) -> None:
    for i, (loss, _, rate) in enumerate(PRINTED_RUN):
        out.add(
            f"Train: 1 [{i * 50:>4d}/1251 ({4 * i:>3.0f}%)]  Loss: {loss:#.3g} ({loss + 0.1:#.3g})  Time: 0.312s, 3281.01/s  (0.412s, 2485.01/s)  LR: {rate:.3e}  Data: 0.011 (0.021)",
            1251 + i * 50,
            loss=f"{loss:#.3g}",
            loss_average=f"{loss + 0.1:#.3g}",
            lr=rate,
        )
    out.add(
        "Test: [   0/48]  Time: 1.101 (1.101)  Loss:  0.9121 (0.9121)  Acc@1: 81.250 (81.250)  Acc@5: 94.531 (94.531)",
        1251 + 450,
        val_loss=0.9121,
        val_accuracy=81.25,
    )


@_prints("paddle", "PaddleNLP")
def _paddle_nlp(out: Printed) -> None:
    for i, (loss, _, rate) in enumerate(PRINTED_RUN, start=1):
        out.add(
            f"\x1b[32m[2022-07-27 08:53:{i:02d},036] [    INFO]\x1b[0m - global step {i * 10}, epoch: 1, batch: {i * 10}, loss: {loss:.5f}, accu: 0.51000, speed: 2.11 step/s, learning rate: {rate:.8f}\x1b[0m",
            i * 10,
            loss=f"{loss:.5f}",
            accuracy=0.51,
            lr=rate,
        )


@_prints("paddle", "PaddleOCR")
def _paddle_ocr(out: Printed) -> None:
    for i, (loss, _, rate) in enumerate(PRINTED_RUN, start=1):
        out.add(
            f"[2022/07/27 08:53:{i:02d}] ppocr INFO: epoch: [1/500], global_step: {i * 10}, lr: {rate:.6f}, acc: 0.011300, norm_edit_dis: 0.011211, loss: {loss:.6f}, avg_reader_cost: 0.10211 s, avg_batch_cost: 0.40211 s, avg_samples: 128.0, ips: 318.32 samples/s, eta: 2:11:00",
            i * 10,
            loss=f"{loss:.6f}",
            accuracy=0.0113,
            lr=f"{rate:.6f}",
        )


@_prints("paddle", "PaddleSeg")
def _paddle_seg(out: Printed) -> None:
    for i, (loss, _, rate) in enumerate(PRINTED_RUN, start=1):
        out.add(
            f"2022-07-27 08:53:{i:02d} [INFO]\t[TRAIN] epoch: 1, iter: {i * 10}/80000, loss: {loss:.4f}, lr: {rate:.6f}, batch_cost: 0.4021, reader_cost: 0.10211, ips: 4.9731 samples/sec | ETA 08:56:00",
            i * 10,
            loss=f"{loss:.4f}",
            lr=f"{rate:.6f}",
        )


@_prints("paddle_detection")
def _paddle_detection(out: Printed) -> None:
    for i, (loss, _, rate) in enumerate(PRINTED_RUN):
        out.add(
            f"[04/12 10:00:{i:02d}] ppdet.engine INFO: Epoch: [0] [{i * 20:3d}/1000] learning_rate: {rate:.6f} loss_xywh: 1.201100 loss_obj: 20.110000 loss: {loss:.6f} eta: 1 day, 2:03:04 batch_cost: 0.4021 data_cost: 0.0002 ips: 19.8912 images/s",
            i * 20,
            loss=f"{loss:.6f}",
            lr=f"{rate:.6f}",
            loss_xywh=1.2011,
            loss_obj=20.11,
        )


@_prints("paddle_classification")
def _paddle_clas(out: Printed) -> None:
    for i, (loss, _, rate) in enumerate(PRINTED_RUN):
        out.add(
            f"[2022/07/27 08:53:{i:02d}] ppcls INFO: [Train][Epoch 1/20][Iter: {i * 10}/250]lr(PiecewiseDecay): {rate:.8f}, top1: 0.01211, top5: 0.05211, CELoss: {loss:.5f}, loss: {loss:.5f}, batch_cost: 0.40211s, reader_cost: 0.10211, ips: 159.21 samples/s, eta: 0:33:00",
            i * 10,
            loss=f"{loss:.5f}",
            accuracy=0.01211,
            lr=f"{rate:.8f}",
            top5=0.05211,
        )


@_prints("torchtitan")
def _torchtitan(out: Printed) -> None:
    for i, (loss, norm, _) in enumerate(PRINTED_RUN):
        step = i * 10 or 1
        out.add(
            f"[rank0]:[titan] 2025-01-01 10:11:{i:02d},123 - root - INFO - \x1b[31mstep: {step:2}  \x1b[32mloss: {loss:7.4f}  \x1b[38;2;180;60;0mgrad_norm: {norm:7.4f}  \x1b[38;2;54;234;195mmemory: 40.11GiB(42.22%)  \x1b[34mtps: 7,301  \x1b[36mtflops: 201.11  \x1b[35mmfu: 20.31%\x1b[39m",
            step,
            loss=f"{loss:.4f}",
            grad_norm=f"{norm:.4f}",
        )


@_prints("torchtune")
def _torchtune(out: Printed) -> None:
    out.joint = "\r"
    for i, (loss, _, _) in enumerate(PRINTED_RUN, start=1):
        out.add(
            f"1|{i * 25}|Loss: {loss}:   {i}%|▎         | {i * 25}/800 [00:{i:02d}<05:00,  2.11it/s]", i * 25, loss=loss
        )


@_prints("maxtext")
def _maxtext(out: Printed) -> None:
    for i, (loss, _, _) in enumerate(PRINTED_RUN):
        out.add(
            f"completed step: {i}, seconds: 3.211, TFLOP/s/device: 50.123, Tokens/s/device: 1021.301, total_weights: 8192, loss: {loss:.3f}",
            i,
            loss=f"{loss:.3f}",
        )


@_prints("mlx")
def _mlx(out: Printed) -> None:
    out.add("Iter 1: Val loss 2.812, Val took 10.112s", 1, val_loss=2.812)
    for i, (loss, _, rate) in enumerate(PRINTED_RUN, start=1):
        out.add(
            f"Iter {i * 10}: Train loss {loss:.3f}, Learning Rate {rate:.3e}, It/sec 0.512, Tokens/sec 101.123, Trained Tokens {i * 1000}, Peak mem 5.123 GB",
            i * 10,
            loss=f"{loss:.3f}",
            lr=rate,
        )


@_prints("composer")
def _composer(out: Printed) -> None:
    for i, (loss, norm, rate) in enumerate(PRINTED_RUN, start=1):
        out.event(f"[batch={i}/4800]:")
        out.noise("\t Train time/epoch: 0", f"\t Train time/batch: {i - 1}")
        out.add(f"\t Train loss/train/total: {loss:.4f}", i, loss=f"{loss:.4f}")
        out.add(f"\t Train l2_norm/grad/global: {norm:.4f}", i)
        out.add(f"\t Train lr-DecoupledAdamW/group0: {rate}", i, lr=rate)
        out.noise("\t Train throughput/tokens_per_sec: 12011.2311")


@_prints("plain", "litgpt")
def _litgpt(out: Printed) -> None:
    for i, (loss, _, _) in enumerate(PRINTED_RUN, start=1):
        out.add(
            f"Epoch 1 | iter {i * 8} step {i} | loss train: {loss:.3f}, val: n/a | iter time: 512.11 ms (step) remaining time: 0:11:12",
            i,
            loss=f"{loss:.3f}",
        )


@_prints("plain", "NeMo")
def _nemo(out: Printed) -> None:
    for i, (loss, _, rate) in enumerate(PRINTED_RUN):
        out.add(
            f"Training epoch 0, iteration {i}/99 | lr: {rate:.4g} | global_batch_size: 8 | global_step: {i} | reduced_train_loss: {loss:.4g} | train_step_timing in s: 1.211 | consumed_samples: {8 * i + 8}",
            i,
            loss=f"{loss:.4g}",
            lr=f"{rate:.4g}",
        )


@_prints("table", "fastai")
def _fastai(out: Printed) -> None:
    out.event("epoch     train_loss  valid_loss  accuracy  time    ")
    for i, (loss, _, _) in enumerate(PRINTED_RUN):
        out.add(
            f"{i:<10d}{loss:<12.6f}{0.512311:<12.6f}{0.712011:<10.6f}00:12     ",
            i,
            loss=f"{loss:.6f}",
            val_loss=0.512311,
            accuracy=0.712011,
        )


@_prints("csv", "notebook of Hugging Face")
def _notebook(out: Printed) -> None:
    out.event("Step\tTraining Loss\tValidation Loss\tAccuracy")
    for i, (loss, _, _) in enumerate(PRINTED_RUN, start=1):
        out.add(
            f"{i * 100}\t{loss:.6f}\t{'No log' if i == 1 else '1.234500'}\t0.512300",
            i * 100,
            loss=f"{loss:.6f}",
            **({} if i == 1 else {"val_loss": 1.2345}),
            accuracy=0.5123,
        )


@_prints("pytorch_tutorial")
def _tutorial(out: Printed) -> None:
    for i, (loss, _, _) in enumerate(PRINTED_RUN):
        epoch, step = i // 5 + 1, (i % 5 + 1) * 2000
        out.add(f"[{epoch}, {step:5d}] loss: {loss:.3f}", (epoch - 1) * 10000 + step, loss=f"{loss:.3f}")


@_prints("espnet")
def _espnet(out: Printed) -> None:
    for i, (loss, norm, rate) in enumerate(PRINTED_RUN, start=1):
        out.add(
            f"[node01:0/4] 2021-01-01 10:00:{i:02d},120 (trainer:762) INFO: 2epoch:train:{i * 100 - 99}-{i * 100}batch: iter_time=0.101, forward_time=0.212, loss_ctc=300.111, loss_att=201.311, acc=0.101, loss={loss:.3f}, backward_time=0.311, grad_norm={norm:.3f}, clip=100.000, loss_scale=6.554e+04, optim_step_time=0.051, optim0_lr0={rate:.3e}, train_time=1.012",
            i * 100,
            loss=f"{loss:.3f}",
            grad_norm=f"{norm:.3f}",
            lr=rate,
            loss_scale=65540,
            loss_ctc=300.111,
            loss_att=201.311,
            accuracy=0.101,
            clip=100,
        )


@_prints("opennmt")
def _opennmt(out: Printed) -> None:
    for i, (loss, _, rate) in enumerate(PRINTED_RUN, start=1):
        out.add(
            f"[2019-01-01 10:00:{i:02d},000 INFO] Step {i * 50:d}/{100000:5d}; acc: {3.08:6.2f}; ppl: {15463.61:5.2f}; xent: {loss:4.2f}; lr: {rate:7.5f}; {6479:3.0f}/{6534:3.0f} tok/s; {8:6.0f} sec",
            i * 50,
            loss=f"{loss:4.2f}",
            lr=f"{rate:7.5f}",
            accuracy=3.08,
            perplexity=15463.61,
        )


@_prints("coqui")
def _coqui(out: Printed) -> None:
    for i, (loss, norm, _) in enumerate(PRINTED_RUN, start=1):
        out.event(
            f"\x1b[1m   --> TIME: 2023-01-01 10:00:{i:02d} -- STEP: {i * 24}/406 -- GLOBAL_STEP: {i * 24 + 1}\x1b[0m"
        )
        out.add(
            f"     | > loss: {loss:.5f}  ({loss + 0.1:.5f})",
            i * 24 + 1,
            loss=f"{loss:.5f}",
            loss_average=f"{loss + 0.1:.5f}",
        )
        out.add(f"     | > grad_norm: {norm:.5f}  ({norm:.5f})", i * 24 + 1, grad_norm=f"{norm:.5f}")
        out.noise("     | > step_time: 0.51120  (0.6112)", "")


@_prints("stable_baselines")
def _stable_baselines(out: Printed) -> None:
    for i, (loss, _, rate) in enumerate(PRINTED_RUN, start=1):
        out.noise("-" * 42, "| rollout/                |              |")
        out.noise(f"|    ep_len_mean          | {22.3:<12} |")
        out.add(f"|    ep_rew_mean          | {i * 1.5:<12} |", i * 2048, **{"rollout/ep_rew_mean": i * 1.5})
        out.noise(
            "| time/                   |              |",
            f"|    fps                  | {512:<12} |",
            f"|    total_timesteps      | {i * 2048:<12} |",
            "| train/                  |              |",
        )
        out.add(f"|    learning_rate        | {rate:<12} |", i * 2048, lr=rate)
        out.add(f"|    loss                 | {loss:<12} |", i * 2048, loss=loss)
        out.add(f"|    value_loss           | {48.2:<12} |", i * 2048, **{"train/value_loss": 48.2})
        out.noise("-" * 42)


@_prints("tqdm", "AllenNLP")
def _allennlp(out: Printed) -> None:
    out.joint = "\r"
    for i, (loss, _, _) in enumerate(PRINTED_RUN, start=1):
        out.add(
            f"accuracy: 0.5123, batch_loss: {loss + 0.1:.4f}, loss: {loss:.4f} ||: {i * 10:3d}%|{'#' * i:<10}| {i * 10}/100 [00:0{i % 10}<00:09,  9.11it/s]",
            i * 10,
            loss=f"{loss:.4f}",
            accuracy=0.5123,
            batch_loss=f"{loss + 0.1:.4f}",
        )


@_prints("tensorflow_estimator")
def _tensorflow(out: Printed) -> None:
    for i, (loss, _, _) in enumerate(PRINTED_RUN):
        if i:
            out.noise("INFO:tensorflow:global_step/sec: 31.2011")
        out.add(f"INFO:tensorflow:loss = {loss}, step = {i * 100} (3.205 sec)", i * 100, loss=loss)
    out.event("ERROR:tensorflow:Model diverged with loss = NaN.")


@_prints("caffe")
def _caffe(out: Printed) -> None:
    for i, (loss, _, _) in enumerate(PRINTED_RUN):
        out.add(
            f"I0413 12:00:{i:02d}.123456 12345 solver.cpp:218] Iteration {i * 20} (4.21 iter/s, 4.7506s/20 iters), loss = {loss:.6g}",
            i * 20,
            loss=f"{loss:.6g}",
        )
        out.add(f"I0413 12:00:{i:02d}.123999 12345 sgd_solver.cpp:105] Iteration {i * 20}, lr = 0.01", i * 20, lr=0.01)


@_prints("plain", "PyTorch example of MNIST")
def _mnist(out: Printed) -> None:
    for i, (loss, _, _) in enumerate(PRINTED_RUN):
        out.add(f"Train Epoch: 1 [{i * 640}/60000 ({i:.0f}%)]\tLoss: {loss:.6f}", i * 640, loss=f"{loss:.6f}")
    out.noise("")
    out.add("Test set: Average loss: 0.0512, Accuracy: 9800/10000 (98%)", 9 * 640, val_loss=0.0512, val_accuracy=0.98)


@_prints("plain", "PyTorch example of ImageNet")
def _imagenet(out: Printed) -> None:
    for i, (loss, _, _) in enumerate(PRINTED_RUN):
        out.add(
            f"Epoch: [2][{i * 10:4d}/5005]\tTime  0.501 ( 0.612)\tData  0.011 ( 0.101)\tLoss {loss:.4e} ({loss + 0.1:.4e})\tAcc@1  10.16 ( 11.21)\tAcc@5  28.12 ( 30.11)",
            5005 + i * 10,
            loss=f"{loss:.4e}",
            loss_average=f"{loss + 0.1:.4e}",
            accuracy=10.16,
            accuracy_average=11.21,
        )


@_prints("plain", "PyTorch example of a language model")
def _word_model(out: Printed) -> None:
    for i, (loss, _, _) in enumerate(PRINTED_RUN, start=1):
        out.add(
            f"| epoch   1 | {i * 200:5d}/ 2983 batches | lr 20.00 | ms/batch 15.21 | loss {loss:5.2f} | ppl {11.15:8.2f}",
            i * 200,
            loss=f"{loss:.2f}",
            lr=20,
            perplexity=11.15,
        )


@_prints("plain", "a loop of one's own")
def _own(out: Printed) -> None:
    for i, (loss, norm, _) in enumerate(PRINTED_RUN, start=1):
        out.add(
            f"step: {i * 3:3d}|loss: {loss:.1f}| norm: {norm:.1f}", i * 3, loss=f"{loss:.1f}", grad_norm=f"{norm:.1f}"
        )


@_prints("plain", "in Chinese")
def _chinese(out: Printed) -> None:
    for i, (loss, _, rate) in enumerate(PRINTED_RUN, start=1):
        out.add(
            f"第 {i} 轮，训练损失：{loss:.4f}，验证损失：0.5123，准确率：0.8121，学习率：{rate:g}",
            i,
            loss=f"{loss:.4f}",
            val_loss=0.5123,
            accuracy=0.8121,
            lr=rate,
        )


@_prints("trainer_state")
def _trainer_state(out: Printed) -> None:
    out.noise("{", '  "best_metric": null,', '  "log_history": [')
    for i, (loss, norm, rate) in enumerate(PRINTED_RUN, start=1):
        out.noise("    {")
        out.event(f'      "epoch": {i / 10},')
        out.event(f'      "grad_norm": {json.dumps(norm)},')
        out.event(f'      "learning_rate": {rate},')
        out.event(f'      "loss": {json.dumps(loss)},')
        out.add(f'      "step": {i * 10}', i * 10, loss=loss, grad_norm=norm, lr=rate)
        out.noise("    },")
