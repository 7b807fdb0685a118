"""numstab entries, experiments: what there is."""

from argparse import Namespace
from collections.abc import Sequence
from typing import Any

from qa_service.answering.service import Service
from qa_service.fronts.terminal import options
from qa_service.model import Lang


def add_commands(parsers: Any) -> None:
    """Adds `entries` and `experiments`."""
    for name, about, function in (
        ("entries", "list the knowledge base", entries),
        ("experiments", "list what can be measured", experiments),
    ):
        parser = parsers.add_parser(name, help=about)
        options.add_lang(parser)
        options.add_json(parser)
        parser.set_defaults(carry_out=function, no_run=True)


def entries(arguments: Namespace, service: Service, lang: Lang) -> int:
    """Item, id and question of every entry."""
    if arguments.json:
        from qa_service.schemas.catalogue import entry_json

        options.print_json([entry_json(entry).to_dict() for entry in service.library.values()])
        return options.DONE
    rows = [
        ("" if entry.expands else str(entry.item), entry.id, entry.question[lang]) for entry in service.library.values()
    ]
    return _table(lang, {"zh": ("条", "词条", "问题"), "en": ("item", "entry", "question")}[lang], rows)


def experiments(arguments: Namespace, service: Service, lang: Lang) -> int:
    """Slug, title and parameters of every experiment."""
    listed = service.lab.experiments.values()
    if arguments.json:
        from qa_service.schemas.catalogue import experiment_json

        options.print_json([experiment_json(experiment).to_dict() for experiment in listed])
        return options.DONE
    rows = [(experiment.slug, experiment.title[lang], " ".join(experiment.params)) for experiment in listed]
    return _table(lang, {"zh": ("实验", "标题", "参数"), "en": ("experiment", "title", "parameters")}[lang], rows)


def _table(lang: Lang, head: tuple[str, ...], rows: Sequence[tuple[str, ...]]) -> int:
    from qa_service.fronts.terminal.screen import TerminalView

    TerminalView(lang).table(head, rows)
    return options.DONE
