"""`numstab run`: runs one experiment."""

from argparse import ArgumentParser, Namespace
from typing import Any

from qa_service.answering.service import Service
from qa_service.fronts.terminal import options
from qa_service.model import Lang, RunStatus
from qa_service.model.events import EvidenceReady


def add_commands(parsers: Any) -> None:
    """Adds the command `run`."""
    parser: ArgumentParser = parsers.add_parser("run", help="run one experiment")
    parser.add_argument("experiment", help="its slug; `numstab experiments` lists them")
    options.add_lang(parser)
    options.add_params(parser)
    options.add_json(parser)
    parser.set_defaults(run_with_service=run_with_service)


def run_with_service(arguments: Namespace, service: Service, lang: Lang) -> int:
    """Runs the experiment; returns exit status 0 if it ran to its end, else 3."""
    events = service.run(
        arguments.experiment, options.parse_params(arguments.param), options.parse_seed(arguments.seed)
    )
    first = next(events)
    if arguments.json:
        *_, last = events
        assert isinstance(last, EvidenceReady)
        from qa_service.schemas.evidence import evidence_json

        options.print_json(evidence_json(last.evidence, lang).to_dict())
    else:
        from qa_service.fronts.terminal.screen import TerminalView

        view = TerminalView(lang)
        with view.run_progress() as progress:
            progress.on_event(first)
            for last in events:
                progress.on_event(last)
        assert isinstance(last, EvidenceReady)
        view.print_evidence(last.evidence)
    return options.EXIT_OK if last.evidence.run.status is RunStatus.RAN else options.EXIT_EXPERIMENT_FAILED
