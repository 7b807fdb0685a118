"""The engine of this process: the service, its knowledge and its lab, made at the first question."""

import os
import threading
from contextlib import closing
from functools import cache
from typing import TYPE_CHECKING

from numstab.client import Client, Reply
from numstab.json_object import JsonObject
from qa_service.model import Evidence, Lang

if TYPE_CHECKING:
    from qa_service.answering.service import Service

_LOCK = threading.Lock()


class LocalEngine:
    """Answers in this process; experiments run in child processes of the lab."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._built: Service | None = None

    def ask(self, body: JsonObject, lang: Lang) -> Reply:  # noqa: ARG002  # errors have both languages
        """The answer with all its evidence. An interrupt ends the run that is executing."""
        from qa_service.model.events import Done
        from qa_service.schemas.answers import answer_json
        from qa_service.schemas.requests import read_request

        request = read_request(body)
        with closing(self._service(runs=request.run).stream(request)) as events:
            *_, last = events
        assert isinstance(last, Done)
        return Reply(answer_json(last.answer).to_dict(), last.answer)

    def run(self, experiment: str, body: JsonObject, lang: Lang) -> Reply:
        """The evidence of one run."""
        from qa_service.model.events import EvidenceReady
        from qa_service.schemas.evidence import evidence_json
        from qa_service.schemas.requests import read_run_request

        asked = read_run_request(body)
        with closing(self._service().run(experiment, asked.params, asked.seed)) as events:
            *_, last = events
        assert isinstance(last, EvidenceReady)
        return Reply(evidence_json(last.evidence, lang).to_dict(), last.evidence)

    def formula(self, body: JsonObject, lang: Lang) -> Reply:
        """The result of measuring a formula."""
        from qa_service.answering.formula import FormulaStudy
        from qa_service.model.events import EvidenceReady
        from qa_service.schemas.formula import formula_json, read_formula_request

        study = FormulaStudy.of(read_formula_request(body))
        with closing(study.stream(self._service())) as events:
            *_, last = events
        assert isinstance(last, EvidenceReady)
        result = study.result(last.evidence)
        return Reply(formula_json(result, lang).to_dict(), result)

    def diagnose(self, data: bytes, name: str, lang: Lang) -> Reply:
        """The diagnosis of a log, a table or a trace."""
        from qa_service.answering.diagnosing import diagnose_file, require_readable
        from qa_service.answering.diagnosis_runs import run_experiments
        from qa_service.schemas.diagnosis import diagnosis_json

        found = require_readable(diagnose_file(data, name))
        measured: list[Evidence] = []
        if found.experiment is not None:
            with closing(run_experiments(found, self._service(), measured.append, lambda: False)) as events:
                for _ in events:
                    pass
        return Reply(diagnosis_json(found, lang, measured).to_dict(), found)

    def entries(self) -> list[JsonObject]:
        """Every entry, as JSON."""
        from qa_service.schemas.catalogue import entry_json

        return [entry_json(each).to_dict() for each in self._service(runs=False).knowledge.library.values()]

    def experiments(self) -> list[JsonObject]:
        """Every experiment, as JSON."""
        from qa_service.schemas.catalogue import experiment_json

        return [experiment_json(each).to_dict() for each in self._service(runs=False).knowledge.experiments.values()]

    def _service(self, *, runs: bool = True) -> "Service":
        """The service of the environment's settings, built at the first call; with `runs`, torch is imported
        meanwhile.
        """
        with self._lock:
            if self._built is None:
                from qa_service.answering.composition import build
                from qa_service.lab.runner import CLI_PRELOAD
                from qa_service.settings import Settings

                self._built = build(Settings.load(os.environ), warm=CLI_PRELOAD if runs else None)
            return self._built


@cache
def _client() -> Client:
    return Client(LocalEngine())


def local_client() -> Client:
    """The client that this process shares, whose engine is a `LocalEngine`."""
    with _LOCK:
        return _client()
