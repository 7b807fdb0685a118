"""Checks that the page's templates and scripts use the same names in `data-part`, and that parts.js lists them."""

import re
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PART_MADE = re.compile(r'data-part="([\w-]+)"|dataset\.part = "([\w-]+)"')
PART_SOUGHT = re.compile(r"""\[data-part=["']?([\w-]+)""")
SELECTOR = re.compile(r"""\.(?:querySelector(?:All)?|closest|matches)\(\s*(["'`])(.*?)\1""")
ATTRIBUTE_OR_VALUE = re.compile(r"\[.*?\]|\$\{.*?\}")
ID_OR_CLASS = re.compile(r"[.#][A-Za-z_]")
GET_ELEMENTS = re.compile(r"\bgetElement(?:ById|sByClassName)\b")


def main() -> int:
    """Prints the parts on which templates and scripts disagree; returns the exit status."""
    tests = [ROOT / "tests" / "browsing.py", *sorted((ROOT / "tests" / "pages").glob("*.py"))]
    problems = contract_problems(ROOT / "qa_service" / "fronts" / "web", tests)
    for problem in problems:
        print(problem, file=sys.stderr)
    return int(bool(problems))


def contract_problems(web: Path, tests: list[Path]) -> list[str]:
    """Parts that are missing or not listed, and what selects by id or class, in the front `web` and in these tests.

    A name that a script gives to `part` of parts.js and that is not listed is an error of its type.
    """
    scripts, templates = sorted((web / "static").glob("*.js")), sorted((web / "templates").glob("*.html"))
    listing = web / "static" / "parts.js"
    listed = set(re.findall(r'"([\w-]+)"', listing.read_text("utf-8").partition("([")[2].partition("])")[0]))
    made = {part for path in (*templates, *scripts) for part in groups_in(path, PART_MADE)}
    problems = [f"{listing}: no template and no script has the part {part!r}" for part in sorted(listed - made)]
    problems += [f"{listing}: the part {part!r} is not listed" for part in sorted(made - listed)]
    for path in (*scripts, *tests):
        problems += [f"{path}: there is no part {part!r}" for part in sorted(groups_in(path, PART_SOUGHT) - listed)]
    for path in scripts:
        for number, line in enumerate(path.read_text("utf-8").splitlines(), 1):
            selectors = [ATTRIBUTE_OR_VALUE.sub("", selector) for _, selector in SELECTOR.findall(line)]
            if GET_ELEMENTS.search(line) or any(map(ID_OR_CLASS.search, selectors)):
                problems.append(f"{path}:{number}: selects by id or class; use data-part")
    return problems


def groups_in(path: Path, pattern: re.Pattern[str]) -> set[str]:
    """The texts that the groups of a pattern match in a file."""
    return {group for match in pattern.finditer(path.read_text("utf-8")) for group in match.groups() if group}


if __name__ == "__main__":
    sys.exit(main())
