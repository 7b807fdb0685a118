"""numstab run: one experiment by itself."""

from argparse import ArgumentParser, Namespace
from typing import Any

from qa_service.answering.service import Service
from qa_service.fronts.terminal import options
from qa_service.model import Lang, RunStatus
from qa_service.model.events import EvidenceReady


def add_commands(parsers: Any) -> None:
    """Adds `run`."""
    parser: ArgumentParser = parsers.add_parser("run", help="run one experiment")
    parser.add_argument("experiment", help="its slug; `numstab experiments` lists them")
    options.add_lang(parser)
    options.add_params(parser)
    options.add_json(parser)
    parser.set_defaults(carry_out=carry_out)


def carry_out(arguments: Namespace, service: Service, lang: Lang) -> int:
    """Exit status 0 when it ran, 3 when it did not."""
    events = service.run(arguments.experiment, options.params(arguments.param), options.seed(arguments.seed))
    first = next(events)
    if arguments.json:
        *_, last = events
        assert isinstance(last, EvidenceReady)
        from qa_service.schemas.evidence import evidence_json

        options.print_json(evidence_json(last.evidence, lang).to_dict())
    else:
        from qa_service.fronts.terminal.screen import TerminalView

        screen = TerminalView(lang)
        with screen.progress() as progress:
            progress.take(first)
            for last in events:
                progress.take(last)
        assert isinstance(last, EvidenceReady)
        screen.evidence(last.evidence)
    return options.DONE if last.evidence.run.status is RunStatus.RAN else options.FAILED
