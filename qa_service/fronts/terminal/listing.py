"""`numstab entries` and `numstab experiments`: list the knowledge base and the experiments."""

from argparse import Namespace
from collections.abc import Sequence
from typing import Any

from qa_service.answering.service import Service
from qa_service.fronts.terminal import options
from qa_service.model import Lang


def add_commands(parsers: Any) -> None:
    """Adds the commands `entries` and `experiments`."""
    for name, about, function in (
        ("entries", "list the entries of the knowledge base", list_entries),
        ("experiments", "list the experiments", list_experiments),
    ):
        parser = parsers.add_parser(name, help=about)
        options.add_lang(parser)
        options.add_json(parser)
        parser.set_defaults(run_with_service=function, no_run=True)


def list_entries(arguments: Namespace, service: Service, lang: Lang) -> int:
    """Prints item, id and question of every entry; returns exit status 0."""
    if arguments.json:
        from qa_service.schemas.catalogue import entry_json

        options.print_json([entry_json(entry).to_dict() for entry in service.knowledge.library.values()])
        return options.EXIT_OK
    rows = [
        ("" if entry.expands else str(entry.item), entry.id, entry.question[lang])
        for entry in service.knowledge.library.values()
    ]
    return _print_table(lang, {"zh": ("题", "词条", "问题"), "en": ("item", "entry", "question")}[lang], rows)


def list_experiments(arguments: Namespace, service: Service, lang: Lang) -> int:
    """Prints slug, title and parameters of every experiment; returns exit status 0."""
    experiments = service.knowledge.experiments.values()
    if arguments.json:
        from qa_service.schemas.catalogue import experiment_json

        options.print_json([experiment_json(experiment).to_dict() for experiment in experiments])
        return options.EXIT_OK
    rows = [(experiment.slug, experiment.title[lang], " ".join(experiment.params)) for experiment in experiments]
    return _print_table(lang, {"zh": ("实验", "标题", "参数"), "en": ("experiment", "title", "parameters")}[lang], rows)


def _print_table(lang: Lang, head: tuple[str, ...], rows: Sequence[tuple[str, ...]]) -> int:
    from qa_service.fronts.terminal.screen import TerminalView

    TerminalView(lang).print_table(head, rows)
    return options.EXIT_OK
