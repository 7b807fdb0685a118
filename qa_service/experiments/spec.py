"""A demo file's text → an `Experiment`. Nothing of the demo is run: names, types and defaults come from the signature
of `run`, bounds, units and texts from the literal tables beside it. So a form, a schema or a listing needs no torch.
"""

import ast
import hashlib
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any, get_args

from qa_service.errors import BadExperiment, UnknownExperiment
from qa_service.model import Companion, Experiment, Labelled, Limit, Parameter, Text, Value

TABLES = {"TITLE", "PARAMS", "LIMITS", "COLUMNS", "METRICS", "WORDS", "CHART", "BESIDE"}
_OPTIONAL = {"LIMITS", "WORDS", "BESIDE"}
_KINDS = {"int": "int", "float": "float", "bool": "bool"}


class _Problem(Exception):
    def __init__(self, line: int, expected: str) -> None:
        super().__init__(expected)
        self.line = line


def load_specs(folder: Path) -> dict[str, Experiment]:
    """Every `*.py` in and below the folder; raises `BadExperiment` with all problems of all files at once."""
    found: dict[str, Experiment] = {}
    problems: list[str] = []
    for path in sorted(folder.rglob("*.py"), key=lambda path: path.stem):
        if path.stem in found:
            problems.append(f"{path}:1: a name of its own: {found[path.stem].path} has this one")
            continue
        try:
            found[path.stem] = read_experiment(path, folder)
        except _Problem as problem:
            problems.append(f"{path}:{problem.line}: {problem}")
        except SyntaxError as broken:
            problems.append(f"{path}:{broken.lineno}: not Python: {broken.msg}")
    problems += [
        f"{one.path}:1: BESIDE to name {what} that there is, not {name!r}"
        for one in found.values()
        for other in one.beside
        for what, name in _missing(one, other, found)
    ]
    if problems:
        raise BadExperiment(tuple(problems))
    return found


def require_experiment(experiments: Mapping[str, Experiment], slug: str) -> Experiment:
    """`experiments[slug]`; raises `UnknownExperiment`, which lists the slugs there are."""
    if slug not in experiments:
        names = ", ".join(experiments)
        raise UnknownExperiment(
            zh=f"没有名为 {slug!r} 的实验。现有：{names}", en=f"there is no experiment {slug!r}. There are: {names}"
        )
    return experiments[slug]


def read_experiment(path: Path, folder: Path) -> Experiment:
    """One demo of the folder. The hash is of its source, so that a receipt can say which code ran."""
    source = path.read_text(encoding="utf-8")
    tree = ast.parse(source)
    doc = ast.get_docstring(tree)
    if not doc:
        raise _Problem(1, "a docstring whose first line says what the experiment shows")
    tables = _tables(tree)
    run = next((node for node in tree.body if isinstance(node, ast.FunctionDef) and node.name == "run"), None)
    if run is None:
        raise _Problem(1, "a function run(...)")
    return Experiment(
        slug=path.stem,
        path=str(path),
        file=path.relative_to(folder).as_posix(),
        title=_text("TITLE", tables["TITLE"]),
        doc=doc,
        params=_parameters(run, tables["PARAMS"]),
        limits=tuple(
            Limit(names=tuple(limit["product"]), le=limit["le"])
            if "product" in limit
            else Limit(names=tuple(limit["ascending"]), ascending=True)
            for limit in tables.get("LIMITS", ())
        ),
        columns=_quantities("COLUMNS", tables["COLUMNS"]),
        metrics=_quantities("METRICS", tables["METRICS"]),
        words={word: _text(f"WORDS[{word!r}]", text) for word, text in tables.get("WORDS", {}).items()},
        chart=tables["CHART"],
        source=source,
        hash=hashlib.sha256(source.encode()).hexdigest(),
        beside=tuple(_beside(row) for row in tables.get("BESIDE", ())),
    )


def _tables(tree: ast.Module) -> dict[str, Any]:
    tables: dict[str, Any] = {}
    for node in tree.body:
        if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name) and node.targets[0].id in TABLES:
            try:
                tables[node.targets[0].id] = ast.literal_eval(node.value)
            except ValueError:
                raise _Problem(node.lineno, f"{node.targets[0].id} to be a plain literal") from None
    missing = TABLES - _OPTIONAL - tables.keys()
    if missing:
        raise _Problem(1, f"the table(s) {', '.join(sorted(missing))}")
    return tables


def _text(name: str, value: Any) -> Text:
    if not (isinstance(value, Mapping) and value.get("zh") and value.get("en")):
        raise _Problem(1, f"{name} with zh and en")
    return Text(value["zh"], value["en"])


def _beside(row: Any) -> Companion:
    if not (isinstance(row, Mapping) and set(row) == {"parameter", "experiment", "params"}):
        raise _Problem(1, "BESIDE to be a list of tables of parameter, experiment and params")
    params = {name: tuple(value) if isinstance(value, list) else value for name, value in row["params"].items()}
    return Companion(parameter=row["parameter"], experiment=row["experiment"], params=params)


def _missing(one: Experiment, other: Companion, found: Mapping[str, Experiment]) -> list[tuple[str, str]]:
    """What a table BESIDE names and nobody has."""
    if other.experiment not in found:
        return [("an experiment", other.experiment)]
    numbers = {name for name, parameter in one.params.items() if parameter.kind in ("int", "float")}
    taken = [name for value in other.params.values() if isinstance(value, tuple) for name in value]
    theirs = found[other.experiment].params
    return [
        *(("a parameter of its own", name) for name in (other.parameter,) if name not in one.params),
        *(("numbers of its own", name) for name in taken if name not in numbers),
        *((f"a parameter of {other.experiment}", name) for name in other.params if name not in theirs),
    ]


def _quantities(name: str, table: Mapping[str, Any]) -> dict[str, Labelled]:
    return {key: Labelled(title=_text(f"{name}[{key!r}]", row), unit=row.get("unit", "1"))
            for key, row in table.items()}  # fmt: skip


def _parameters(run: ast.FunctionDef, table: Mapping[str, Any]) -> dict[str, Parameter]:
    arguments, defaults = run.args.args, run.args.defaults
    if len(arguments) != len(defaults):
        raise _Problem(run.lineno, "a default for every parameter of run")
    names = [argument.arg for argument in arguments]
    if sorted(names) != sorted(table):
        raise _Problem(run.lineno, f"PARAMS to name exactly the parameters of run: {', '.join(names)}")
    return {
        argument.arg: _parameter(argument, _literal(default), table[argument.arg])
        for argument, default in zip(arguments, defaults, strict=True)
    }


def _literal(default: ast.expr) -> Any:
    try:
        return ast.literal_eval(default)
    except ValueError:
        raise _Problem(default.lineno, "a plain literal as default") from None


def _parameter(argument: ast.arg, default: Value, row: Mapping[str, Any]) -> Parameter:
    choices: tuple[str, ...] = ()
    match argument.annotation:
        case ast.Name(id=kind) if kind in _KINDS:
            pass
        case ast.Subscript(value=ast.Name(id="Literal"), slice=inner):
            kind = "choice"
            literal = ast.literal_eval(inner)
            choices = literal if isinstance(literal, tuple) else (literal,)
        case _:
            raise _Problem(argument.lineno, f"{argument.arg}: int, float, bool or Literal[...]")
    allowed = get_args(Parameter.__annotations__["kind"])
    assert kind in allowed
    return Parameter(
        name=argument.arg,
        kind=kind,  # type: ignore[arg-type]  # one of the four, asserted above
        default=float(default) if kind == "float" else default,
        title=_text(f"PARAMS[{argument.arg!r}]", row),
        unit=row.get("unit", "1"),
        ge=row.get("ge", -math.inf if kind == "float" else None),
        le=row.get("le", math.inf if kind == "float" else None),
        nonfinite=bool(row.get("nonfinite", False)),
        choices=choices,
    )
