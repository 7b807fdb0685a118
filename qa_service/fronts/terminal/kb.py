"""`numstab kb new`, `lint` and `fmt`: drafts, checks and formats entries."""

import re
from argparse import Namespace
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

from qa_service.errors import BadField, BadLibrary
from qa_service.experiments.spec import load_specs
from qa_service.files import write_atomically
from qa_service.fronts.terminal import options
from qa_service.knowledge import clues, glossary, scaffold
from qa_service.knowledge.lengths import length_problems
from qa_service.knowledge.library import Library, duplicate_phrasings
from qa_service.knowledge.markup import markup_problems
from qa_service.settings import Settings


def add_commands(parsers: Any) -> None:
    """Adds the command `kb` with the verbs `new`, `lint` and `fmt`."""
    verbs = parsers.add_parser("kb", help="draft, check and format entries: new, lint, fmt").add_subparsers(
        metavar="VERB", required=True
    )
    new = verbs.add_parser("new", help="draft an entry, and an experiment unless it exists")
    new.add_argument("id", metavar="ID", help="the new entry's id: lower-case words with hyphens")
    new.add_argument("--expands", metavar="ENTRY", required=True, help="the entry that it expands")
    new.add_argument("--experiment", metavar="SLUG", help="its experiment (default: a new one named like the entry)")
    options.add_lang(new)
    new.set_defaults(run_with_settings=_new)
    for name, about, function in (
        ("lint", "print every problem of the entries, each with file and line", _lint),
        ("fmt", "write one phrasing per line, without duplicates; keeps comments", _fmt),
    ):
        verb = verbs.add_parser(name, help=about)
        verb.add_argument("files", nargs="*", metavar="FILE", help="only these (default: all)")
        options.add_lang(verb)
        verb.set_defaults(run_with_settings=function)


def _new(arguments: Namespace, settings: Settings) -> int:
    """Writes drafts beside the entry that is expanded, and beside its first experiment; raises `BadField`."""
    if not re.fullmatch(r"[a-z0-9]+(-[a-z0-9]+)*", arguments.id):
        raise BadField(
            zh=f"词条的 id 由小写字母、数字和连字符组成，不能是 {arguments.id!r}",
            en=f"an entry's id is made of lower-case letters, digits and hyphens, not {arguments.id!r}",
            field="id",
        )
    experiments = load_specs(settings.demos)
    parent = Library.read(settings.kb, experiments)[arguments.expands]
    slug = arguments.experiment or arguments.id.replace("-", "_")
    experiment = experiments.get(slug)
    if experiment is None and arguments.experiment:
        names = ", ".join(experiments)
        raise BadField(
            zh=f"没有名为 {slug!r} 的实验。现有：{names}",
            en=f"there is no experiment {slug!r}. There are: {names}",
            field="--experiment",
        )
    metric = next(iter(experiment.metrics)) if experiment else "last"
    folder = next(settings.kb.glob(f"*/{parent.id}.toml"), settings.kb / f"{parent.id}.toml").parent
    visible = next(iter(experiment.params)) if experiment else "n"
    text = scaffold.draft_entry(
        item=parent.item, expands=parent.id, experiment=slug, metric=metric, visible=visible, phrasings={}
    )
    written = [folder / f"{arguments.id}.toml"]
    scaffold.write_new_file(written[0], text)
    if experiment is None:
        theme = Path(experiments[parent.evidence[0].experiment].file).parent if parent.evidence else ""
        written.append(settings.demos / theme / f"{slug}.py")
        scaffold.write_new_file(written[1], scaffold.draft_experiment())
    for path in written:
        options.print_line(path)
    return options.EXIT_OK


def _lint(arguments: Namespace, settings: Settings) -> int:
    """Prints every problem of the files, or of all of kb/ and demos/; returns exit status 1 if there is one."""
    paths = _files(arguments.files, settings)
    experiments = load_specs(settings.demos)
    try:
        library = Library.read(settings.kb, experiments)
    except BadLibrary as broken:
        problems = [problem for problem in broken.problems if _concerns(problem, paths)]
        for problem in problems:
            options.print_line(problem)
        return options.EXIT_NOT_ANSWERED if problems else options.EXIT_OK
    clue_paths = {path.stem: path for path in paths if path.parent.name == clues.FOLDER}
    paths_by_id = {path.stem: path for path in paths if path.parent.name != clues.FOLDER}
    problems = [
        f"{paths_by_id[entry.id]}: {problem}"
        for entry in library.values()
        if entry.id in paths_by_id
        for problem in (*length_problems(entry), *markup_problems(entry), *glossary.entry_problems(entry))
    ]
    problems += [
        f"{clue_paths[clue.id]}: {problem}"
        for clue in library.clues
        if clue.id in clue_paths
        for problem in clues.clue_problems(clue)
    ]
    if not arguments.files:
        problems += clues.duplicate_clues(library.clues)
        problems += [
            f"{experiment.path}: {problem}"
            for experiment in experiments.values()
            for problem in glossary.experiment_problems(experiment)
        ]
    problems += duplicate_phrasings(library)
    for problem in problems:
        options.print_line(problem)
    return options.EXIT_NOT_ANSWERED if problems else options.EXIT_OK


def _fmt(arguments: Namespace, settings: Settings) -> int:
    """Formats the files, or all of kb/, and prints the paths of those that changed."""
    for path in _files(arguments.files, settings):
        try:
            source = path.read_text("utf-8")
            formatted = scaffold.format_entry(source)
        except ValueError as error:  # not UTF-8 or not TOML; lint says where
            raise BadField(zh=f"{path} 不是 TOML：{error}", en=f"{path} is no TOML: {error}", field="FILE") from error
        if formatted != source:
            write_atomically(path, partial(Path.write_text, data=formatted, encoding="utf-8"))
            options.print_line(path)
    return options.EXIT_OK


def _files(names: Sequence[str], settings: Settings) -> list[Path]:
    """The named files, or all of kb/; raises `BadField` for one that does not exist."""
    paths = [Path(name) for name in names] or sorted(settings.kb.rglob("*.toml"))
    for path in paths:
        if not path.is_file():
            raise BadField(zh=f"没有文件 {path}", en=f"there is no file {path}", field="FILE")
    return paths


def _concerns(problem: str, paths: Sequence[Path]) -> bool:
    """Whether a problem is about one of the paths; a problem that names no file is about all of them."""
    file_name = re.match(r"(.*\.toml):\d+:", problem)
    return file_name is None or any(Path(file_name[1]).resolve() == path.resolve() for path in paths)
