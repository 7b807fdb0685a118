"""Public names: no two different things have the same name."""

import ast
from collections import defaultdict
from collections.abc import Iterable, Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
CONVENTIONS = frozenset({
    "add_commands", "router", "create_router", "lifespan", "run_with_service", "main", "logger", "RULES", "ROOT", "T",
    "revision", "down_revision", "upgrade", "downgrade",
})  # fmt: skip
"""What a module of its kind has: a front, a command, a program, a migration of alembic, a table of rules, a script."""
OF_THE_WIRE = ROOT / "qa_service" / "schemas" / "values.py"
"""Its types have the names that the OpenAPI document shows, which are those of the model's values."""
IN_BOTH_DISTRIBUTIONS = frozenset({"Phase"})
"""The recorder is installed without the service: what both have to know is written twice, and must be the same."""


def definitions(statements: Iterable[ast.stmt]) -> Iterator[tuple[str, ast.AST | None]]:
    """Every public name that these statements of a module define, with its value where it has one."""
    for statement in statements:
        match statement:
            case ast.FunctionDef() | ast.AsyncFunctionDef() | ast.ClassDef():
                found = [(statement.name, None)]
            case ast.Assign(targets=targets, value=value):
                found = [(each.id, value) for target in targets for each in ast.walk(target) if is_name(each)]
            case ast.AnnAssign(target=ast.Name(id=name), value=value):
                found = [(name, value)]
            case ast.If(body=body, orelse=other) | ast.Try(body=body, orelse=other):
                found = [*definitions(body), *definitions(other)]
            case _:
                found = []
        yield from ((name, value) for name, value in found if not name.startswith("_"))


def is_name(node: ast.AST) -> bool:
    return isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store)


def defined_in(*folders: str) -> dict[str, dict[str, str]]:
    """For each name, the modules that define it, with its value as code ("" for a function or class)."""
    found: dict[str, dict[str, str]] = defaultdict(dict)
    for path in (path for folder in folders for path in sorted((ROOT / folder).rglob("*.py"))):
        if path != OF_THE_WIRE:
            for name, value in definitions(ast.parse(path.read_text(encoding="utf-8")).body):
                found[name][str(path.relative_to(ROOT))] = ast.unparse(value) if value is not None else ""
    return found


def test_no_two_things_share_a_public_name():
    """Equal things are defined once and imported; different things have different names."""
    found = defined_in("qa_service", "watch/numstab_watch", "bench", "scripts")
    shared = {name: modules for name, modules in found.items() if len(modules) > 1}
    assert len(found) > 1500
    assert not {name: [*where] for name, where in shared.items() if name not in CONVENTIONS | IN_BOTH_DISTRIBUTIONS}
    assert not CONVENTIONS - shared.keys()


def test_no_two_things_of_the_python_api_share_a_public_name():
    """Its names may repeat those of the service's modules, as they stand for the same things."""
    found = defined_in("numstab")
    assert not {name: [*where] for name, where in found.items() if len(where) > 1}


def test_what_both_distributions_know_is_the_same():
    found = defined_in("qa_service", "watch/numstab_watch")
    for name in IN_BOTH_DISTRIBUTIONS:
        assert len(found[name]) == 2
        assert len(set(found[name].values())) == 1
