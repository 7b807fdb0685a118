"""Notebooks as users run them: a kernel, outputs that are saved, opened again and still shown; the magics."""

import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from processes import run_async

ROOT = Path(__file__).resolve().parent.parent.parent
EXAMPLES = sorted((ROOT / "docs" / "notebooks").glob("*.ipynb"))
HTML, MARKDOWN, PLAIN, SVG = "text/html", "text/markdown", "text/plain", "image/svg+xml"
VEGA_LITE = "application/vnd.vegalite.v5+json"
CELLS = [
    "import asyncio, numstab\nassert asyncio.get_event_loop().is_running()",
    'numstab.ask("100 个 1.5 连乘会怎样？")',
    'numstab.run("pow_vs_sum", n=300)',
    "%load_ext numstab",
    "%numstab what's 0.9 multiplied 200 times?",
    "%%numstab --seed 3 --lang en\nWhy does my loss\nbecome nan?",
    "%numstab run pow_vs_sum n=20 x=2",
    "_.metrics['product'] == 2.0**20",
    "numstab.run('pow_vs_sum', n=-1)",
    "%numstab --seed x why",
]
COMPLETIONS = """
from IPython.core.completer import provisionalcompleter
shell = get_ipython()
def names(line):
    with provisionalcompleter():
        return {each.text for each in shell.Completer.completions(line, len(line))}
assert "pow_vs_sum" in names('numstab.run("pow'), names('numstab.run("pow')
assert "pow_vs_sum" in names("%numstab run pow"), names("%numstab run pow")
assert "dtype=" in names("%numstab run pow_vs_sum dt"), names("%numstab run pow_vs_sum dt")
assert "--seed" in names("%numstab --se"), names("%numstab --se")
"""


@pytest.fixture
def execute(cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Any]:
    """A function that executes a notebook in a kernel of this Python, saves it, and opens it again."""
    env = {
        "NUMSTAB_CACHE": cache, "NUMSTAB_DATA": tmp_path / "data", "NUMSTAB_DEADLINE": "240", "PYTHONPATH": ROOT,
        "IPYTHONDIR": tmp_path / "ipython", "LANG": "C.UTF-8",
    }  # fmt: skip
    for name, value in env.items():
        monkeypatch.setenv(name, str(value))

    def run(notebook: Any, **options: object) -> Any:
        import nbformat
        from nbclient import NotebookClient

        client = NotebookClient(notebook, timeout=240, kernel_name="python3", **options)
        run_async(client.async_execute())
        nbformat.write(notebook, tmp_path / "saved.ipynb")
        reopened = nbformat.read(tmp_path / "saved.ipynb", nbformat.NO_CONVERT)
        nbformat.validate(reopened)
        return reopened

    return run


def shown(cell: Any) -> Any:
    """What a cell's last expression shows."""
    (output,) = (each.data for each in cell.outputs if each.output_type == "execute_result")
    return output


@pytest.mark.skipif(os.name != "posix", reason="kernels are started as on Linux and macOS")
def test_a_saved_notebook_still_shows_answers_and_runs(execute: Callable[..., Any]) -> None:
    """Outputs are HTML with the picture and without scripts, Markdown and plain text; runs also SVG and Vega-Lite."""
    from nbformat.v4 import new_code_cell, new_notebook

    saved = execute(new_notebook(cells=[new_code_cell(source) for source in CELLS]), allow_errors=True)
    _, answer, run, _, line, cell, magic_run, equal, refused, bad_option = saved.cells
    assert set(shown(answer)) == {HTML, MARKDOWN, PLAIN}
    assert set(shown(run)) == {HTML, MARKDOWN, PLAIN, SVG, VEGA_LITE}
    for each in (answer, run, line, cell, magic_run):
        html = shown(each)[HTML]
        assert "data:image/svg+xml" in html
        assert "<script" not in html
        assert not [output for output in each.outputs if output.output_type == "stream"], "nothing is printed beside it"
    assert "4.07×10¹⁷" in shown(answer)[PLAIN]
    assert "multiply-vs-add" in shown(line)[HTML]
    assert "nan" in shown(cell)[MARKDOWN]
    assert shown(equal)[PLAIN] == "True"
    for each, kind in ((refused, "BadParameter"), (bad_option, "BadField")):
        (error,) = (output for output in each.outputs if output.output_type == "error")
        assert error.ename == kind
        assert re.search("[\u3400-\u9fff]", "".join(error.traceback)), "the note in Chinese"


@pytest.mark.exhaustive
def test_names_of_experiments_are_completed(execute: Callable[..., Any]) -> None:
    """Names and parameters are completed in the magic and in calls."""
    from nbformat.v4 import new_code_cell, new_notebook

    cells = [new_code_cell(source) for source in ("%load_ext numstab\nimport numstab", COMPLETIONS)]
    execute(new_notebook(cells=cells))


@pytest.mark.exhaustive
@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_the_example_notebooks_run(execute: Callable[..., Any], path: Path) -> None:
    """They run without an error, show a picture for every answer, and are stored without outputs."""
    import nbformat

    notebook = nbformat.read(path, nbformat.NO_CONVERT)
    assert not [cell for cell in notebook.cells if cell.get("outputs")]
    done = execute(notebook)
    pictures = [
        cell
        for cell in done.cells
        if any("data:image/svg+xml" in each.get("data", {}).get(HTML, "") for each in cell.get("outputs", ()))
    ]
    assert len(pictures) >= 5


def test_there_are_examples_in_both_languages() -> None:
    assert {path.name for path in EXAMPLES} == {"numstab.ipynb", "numstab.zh.ipynb"}
