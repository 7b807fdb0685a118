"""Addresses of runs: a receipt has all that is needed to repeat a run, so that any worker can, without a store."""

import base64
import json
import zlib
from dataclasses import dataclass

from pydantic import TypeAdapter

from qa_service.errors import BadField
from qa_service.model import Evidence, Experiment, Lang, Params, Value
from qa_service.schemas.requests import Seed

_MAX_BYTES = 1 << 16  # of a receipt once it is decompressed
_HASH_CHARACTERS = 16
_FIELDS = TypeAdapter(tuple[str, dict[str, Value], Seed, str, Lang])


@dataclass(frozen=True, slots=True)
class CompactReceipt:
    """Experiment, parameters and seed of a run, a prefix of the hash of its code, and the language of its texts."""

    experiment: str
    params: Params
    seed: int
    code_hash: str
    lang: Lang

    @classmethod
    def of(cls, evidence: Evidence, lang: Lang) -> "CompactReceipt":
        """The receipt of a run."""
        experiment = evidence.experiment
        return cls(experiment.slug, evidence.params, evidence.seed, experiment.hash[:_HASH_CHARACTERS], lang)

    def encode(self) -> str:
        """The receipt as a segment of a URI: compressed JSON in URL-safe base64."""
        fields = [self.experiment, dict(self.params), self.seed, self.code_hash, self.lang]
        data = json.dumps(fields, ensure_ascii=False, separators=(",", ":"), sort_keys=True)
        return base64.urlsafe_b64encode(zlib.compress(data.encode(), 9)).decode().rstrip("=")

    @classmethod
    def decode(cls, text: str) -> "CompactReceipt":
        """The receipt that `encode` wrote; raises `BadField` for any other text."""
        try:
            data = zlib.decompressobj().decompress(base64.urlsafe_b64decode(text + "=" * (-len(text) % 4)), _MAX_BYTES)
            return cls(*_FIELDS.validate_json(data, strict=True))
        except (ValueError, zlib.error):
            raise BadField(
                zh="这不是 numstab 给出的运行地址；请用工具结果里的 numstab://runs/… 地址",
                en="this is no address of a run as numstab gives it; take numstab://runs/… from a tool's result",
                field="receipt",
            ) from None

    def check(self, experiment: Experiment) -> None:
        """Raises `BadField` if the code of the experiment has changed since the run."""
        if not experiment.hash.startswith(self.code_hash):
            raise BadField(
                zh=f"实验 {experiment.slug} 的代码在这次运行之后改过了，无法原样重复。请重新运行 run_experiment。",
                en=f"the code of the experiment {experiment.slug} has changed since this run, which can therefore not "
                "be repeated as it was. Call run_experiment again.",
                field="receipt",
            )
