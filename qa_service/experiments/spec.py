"""Parses demo files into `Experiment`s without running them, so that forms, schemas and listings need no torch.

Names, types and defaults of the parameters come from the signature of `run`; bounds, units and texts from the tables of
literals in the file.
"""

import ast
import hashlib
import math
import threading
from collections.abc import Mapping
from functools import cache, lru_cache
from pathlib import Path
from typing import Any, get_args

from qa_service.errors import BadExperiment, UnknownExperiment
from qa_service.model import Companion, Experiment, FieldInfo, Limit, Parameter, Text
from qa_service.parse_cache import ParseCache

TABLES = {"TITLE", "PARAMS", "LIMITS", "COLUMNS", "METRICS", "WORDS", "CHART", "BESIDE"}
"""The names of the tables that a demo file may have; those not in `_OPTIONAL` it must have."""
_OPTIONAL = {"LIMITS", "WORDS", "BESIDE"}
_KINDS = {"int": "int", "float": "float", "bool": "bool", "str": "text"}
_PARSING = threading.Lock()
_GRAMMARS = get_args(Parameter.__annotations__["grammar"])


class _InvalidSpec(Exception):
    """A demo file lacks what is `expected`, at this line."""

    def __init__(self, line: int, expected: str) -> None:
        super().__init__(expected)
        self.line = line


def load_specs(folder: Path, parsed: ParseCache | None = None) -> dict[str, Experiment]:
    """Slug → experiment, of every `*.py` in and below the folder. Texts that `parsed` has are not parsed again.

    Raises `BadExperiment` with the problems of all files at once.
    """
    parsed = parsed or ParseCache()
    experiments: dict[str, Experiment] = {}
    problems: list[str] = []
    for path in sorted(folder.rglob("*.py"), key=lambda path: path.stem):
        if path.stem in experiments:
            problems.append(f"{path}:1: a name of its own: {experiments[path.stem].path} has this one")
            continue
        try:
            experiments[path.stem] = read_experiment(path, folder, parsed)
        except _InvalidSpec as problem:
            problems.append(f"{path}:{problem.line}: {problem}")
        except SyntaxError as error:
            problems.append(f"{path}:{error.lineno}: not Python: {error.msg}")
    problems += [
        f"{experiment.path}:1: BESIDE to name {kind} that there is, not {name!r}"
        for experiment in experiments.values()
        for companion in experiment.companions
        for kind, name in _unknown_names(experiment, companion, experiments)
    ]
    if problems:
        raise BadExperiment(tuple(problems))
    return experiments


def require_experiment(experiments: Mapping[str, Experiment], slug: str) -> Experiment:
    """`experiments[slug]`; raises `UnknownExperiment`, which lists the slugs there are."""
    if slug not in experiments:
        names = ", ".join(experiments)
        raise UnknownExperiment(
            zh=f"没有名为 {slug!r} 的实验。现有：{names}", en=f"there is no experiment {slug!r}. There are: {names}"
        )
    return experiments[slug]


def parse_python(source: str) -> ast.Module:
    """The syntax tree of a demo, as `ast.parse`, in one thread at a time.

    Python 3.11 counts the depth of all threads' trees together, and raises SystemError where two overlap.
    """
    with _PARSING:
        return ast.parse(source)


def read_experiment(path: Path, folder: Path, parsed: ParseCache) -> Experiment:
    """The experiment of one demo file below `folder`. Raises `_InvalidSpec` or SyntaxError."""
    source = path.read_text(encoding="utf-8")
    outline = parsed.get(f"demo {_outline_version()}", source, read_outline)
    tables = outline["tables"]
    return Experiment(
        slug=path.stem,
        path=str(path),
        file=path.relative_to(folder).as_posix(),
        title=_bilingual_text("TITLE", tables["TITLE"]),
        doc=outline["doc"],
        params=_parameters(outline["run"], tables["PARAMS"]),
        limits=tuple(
            Limit(names=tuple(limit["product"]), le=limit["le"])
            if "product" in limit
            else Limit(names=tuple(limit["ascending"]), ascending=True)
            for limit in tables.get("LIMITS", ())
        ),
        columns=_field_infos("COLUMNS", tables["COLUMNS"]),
        metrics=_field_infos("METRICS", tables["METRICS"]),
        words={word: _bilingual_text(f"WORDS[{word!r}]", text) for word, text in tables.get("WORDS", {}).items()},
        chart=tables["CHART"],
        source=source,
        hash=hashlib.sha256(source.encode()).hexdigest(),
        companions=tuple(_companion(row) for row in tables.get("BESIDE", ())),
    )


@cache
def _outline_version() -> str:
    """The hash of this module: an outline cached by another version of it may lack what this one reads."""
    return hashlib.sha256(Path(__file__).read_bytes()).hexdigest()


@lru_cache(maxsize=1024)
def read_outline(source: str) -> Mapping[str, Any]:
    """The parts of a demo's text that are used, as values for JSON: docstring, tables, and the parameters of `run`.

    Cached, so that a reload parses only the files that have changed.
    """
    tree = parse_python(source)
    doc = ast.get_docstring(tree)
    if not doc:
        raise _InvalidSpec(1, "a docstring whose first line says what the experiment shows")
    tables = _tables(tree)
    run = next((node for node in tree.body if isinstance(node, ast.FunctionDef) and node.name == "run"), None)
    if run is None:
        raise _InvalidSpec(1, "a function run(...)")
    arguments, defaults = run.args.args, run.args.defaults
    if len(arguments) != len(defaults):
        raise _InvalidSpec(run.lineno, "a default for every parameter of run")
    return {
        "doc": doc,
        "tables": tables,
        "run": {
            "line": run.lineno,
            "arguments": {
                argument.arg: {
                    "line": argument.lineno,
                    "default": _literal_default(default),
                    **_annotation(argument.annotation),
                }
                for argument, default in zip(arguments, defaults, strict=True)
            },
        },
    }


def _annotation(annotation: ast.expr | None) -> Mapping[str, Any]:
    """The kind of a parameter and its choices; the kind is "" for an annotation that is not supported."""
    match annotation:
        case ast.Name(id=name) if name in _KINDS:
            return {"kind": _KINDS[name], "choices": []}
        case ast.Subscript(value=ast.Name(id="Literal"), slice=inner):
            literal = ast.literal_eval(inner)
            return {"kind": "choice", "choices": list(literal) if isinstance(literal, tuple) else [literal]}
    return {"kind": "", "choices": []}


def _tables(tree: ast.Module) -> dict[str, Any]:
    """Name → value of the tables among the module's assignments."""
    tables: dict[str, Any] = {}
    for node in tree.body:
        if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name) and node.targets[0].id in TABLES:
            try:
                tables[node.targets[0].id] = ast.literal_eval(node.value)
            except ValueError:
                raise _InvalidSpec(node.lineno, f"{node.targets[0].id} to be a plain literal") from None
    missing = TABLES - _OPTIONAL - tables.keys()
    if missing:
        raise _InvalidSpec(1, f"the table(s) {', '.join(sorted(missing))}")
    return tables


def _bilingual_text(name: str, value: Any) -> Text:
    if not (isinstance(value, Mapping) and value.get("zh") and value.get("en")):
        raise _InvalidSpec(1, f"{name} with zh and en")
    return Text(value["zh"], value["en"])


def _companion(row: Any) -> Companion:
    if not (isinstance(row, Mapping) and set(row) == {"parameter", "experiment", "params"}):
        raise _InvalidSpec(1, "BESIDE to be a list of tables of parameter, experiment and params")
    params = {name: tuple(value) if isinstance(value, list) else value for name, value in row["params"].items()}
    return Companion(parameter=row["parameter"], experiment=row["experiment"], params=params)


def _unknown_names(
    experiment: Experiment, companion: Companion, experiments: Mapping[str, Experiment]
) -> list[tuple[str, str]]:
    """(what is expected, name) for each name in a companion that does not exist."""
    if companion.experiment not in experiments:
        return [("an experiment", companion.experiment)]
    numeric = {name for name, parameter in experiment.params.items() if parameter.kind in ("int", "float")}
    factors = [name for value in companion.params.values() if isinstance(value, tuple) for name in value]
    accepted = experiments[companion.experiment].params
    return [
        *(("a parameter of its own", name) for name in (companion.parameter,) if name not in experiment.params),
        *(("numbers of its own", name) for name in factors if name not in numeric),
        *((f"a parameter of {companion.experiment}", name) for name in companion.params if name not in accepted),
    ]


def _field_infos(name: str, table: Mapping[str, Any]) -> dict[str, FieldInfo]:
    return {
        key: FieldInfo(title=_bilingual_text(f"{name}[{key!r}]", row), unit=row.get("unit", "1"))
        for key, row in table.items()
    }


def _parameters(run: Mapping[str, Any], table: Mapping[str, Any]) -> dict[str, Parameter]:
    """Parameters from the signature of `run` and the table PARAMS."""
    arguments: Mapping[str, Mapping[str, Any]] = run["arguments"]
    if sorted(arguments) != sorted(table):
        raise _InvalidSpec(run["line"], f"PARAMS to name exactly the parameters of run: {', '.join(arguments)}")
    return {name: _parameter(name, argument, table[name]) for name, argument in arguments.items()}


def _literal_default(default: ast.expr) -> Any:
    try:
        return ast.literal_eval(default)
    except ValueError:
        raise _InvalidSpec(default.lineno, "a plain literal as default") from None


def _parameter(name: str, argument: Mapping[str, Any], row: Mapping[str, Any]) -> Parameter:
    kind, default = argument["kind"], argument["default"]
    if not kind:
        raise _InvalidSpec(argument["line"], f"{name}: int, float, bool, Literal[...] or a text, str")
    assert kind in get_args(Parameter.__annotations__["kind"])
    grammar = row.get("grammar", "")
    if grammar not in _GRAMMARS or (kind == "text") != bool(grammar and row.get("le")):
        raise _InvalidSpec(
            argument["line"], f"{name}: a text with a grammar ({', '.join(filter(None, _GRAMMARS))}) and le"
        )
    return Parameter(
        name=name,
        kind=kind,
        default=float(default) if kind == "float" else default,
        title=_bilingual_text(f"PARAMS[{name!r}]", row),
        unit=row.get("unit", "1"),
        ge=row.get("ge", -math.inf if kind == "float" else None),
        le=row.get("le", math.inf if kind == "float" else None),
        nonfinite=bool(row.get("nonfinite", False)),
        choices=tuple(argument["choices"]),
        grammar=grammar,
    )
