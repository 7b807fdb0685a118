"""Results: what was answered or measured, as Python values, and how a notebook, a terminal or a file shows it.

A result holds the JSON of the HTTP API (`data`), so that one of this process and one of a server are alike. Notebooks
get HTML with a picture (`_repr_mimebundle_`), which needs no script and is kept in a saved notebook.
"""

import io
import json
from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any

from numstab.json_object import JsonObject
from qa_service.errors import MissingPackage
from qa_service.model import Lang

if TYPE_CHECKING:
    import pandas as pd

MimeBundle = dict[str, Any]
HTML, MARKDOWN, PLAIN, SVG = "text/html", "text/markdown", "text/plain", "image/svg+xml"
VEGA_LITE = "application/vnd.vegalite.v5+json"
"""The newest Vega-Lite that JupyterLab draws by itself."""
_NONFINITE = {"Infinity": float("inf"), "-Infinity": float("-inf"), "NaN": float("nan")}


class Result:
    """Base of all results."""

    lang: Lang

    def _repr_mimebundle_(
        self, include: Sequence[str] | None = None, exclude: Sequence[str] | None = None
    ) -> MimeBundle:
        """The representations that IPython displays: MIME type → content."""
        wanted = [each for each in self._formats() if not include or each in include]
        return {each: self._formats()[each]() for each in wanted if not exclude or each not in exclude}

    def _repr_html_(self) -> str:
        """HTML by itself: styles inline, pictures inside, no script."""
        html: str = self._formats()[HTML]()
        return html

    def _mime_(self) -> tuple[str, str]:
        """The representation that marimo displays: (MIME type, content)."""
        return HTML, self._repr_html_()

    def _formats(self) -> dict[str, Any]:
        """MIME type → function that makes the content."""
        return {HTML: self._html, PLAIN: self.__str__}

    def _html(self) -> str:
        raise NotImplementedError


class ApiResult(Result):
    """Base of results that hold a reply of the HTTP API: its JSON is `data`."""

    def __init__(self, data: JsonObject, source: Any = None, *, lang: Lang) -> None:
        """`source` is what the service of this process made it from; None if it came from a server."""
        self.data = data
        self._source = source
        self.lang = lang

    def to_json(self) -> str:
        """The JSON of the API. `numstab replay` runs again what has a receipt."""
        return json.dumps(self.data, ensure_ascii=False, allow_nan=False)


class Table(Result):
    """Base of results that have rows."""

    @property
    def rows(self) -> list[JsonObject]:
        """One dictionary per row; inf and nan are floats."""
        raise NotImplementedError

    def to_pandas(self) -> "pd.DataFrame":
        """The rows as a `pandas.DataFrame`; raises `MissingPackage` where pandas is not installed."""
        try:
            import pandas as pd
        except ImportError as error:
            raise MissingPackage("pandas") from error
        return pd.DataFrame(self.rows)


class Run(ApiResult, Table):
    """One run of an experiment: metrics, rows, claims with verdicts, and the receipt that repeats it."""

    def __repr__(self) -> str:
        return f"<numstab.Run {self.call} {self.status}>"

    def __str__(self) -> str:
        """As `numstab run` prints it."""
        from numstab import text

        return text.run_text(self.data, self._source, self.lang)

    @property
    def experiment(self) -> str:
        """The name of the experiment."""
        return str(self.data["experiment"])

    @property
    def call(self) -> str:
        """The run as a call: pow_vs_sum(n=100, x=1.5, dtype=float32)."""
        return f"{self.experiment}({', '.join(f'{name}={value}' for name, value in self.data['params'].items())})"

    @property
    def status(self) -> str:
        """`ran`, `raised`, `timed_out`, `crashed` or `out_of_memory`."""
        return str(self.data["status"])

    @property
    def note(self) -> str:
        """Why it did not finish, else ""."""
        return str(self.data["note"])

    @cached_property
    def params(self) -> JsonObject:
        """The parameters of the run."""
        return {name: json_number(value) for name, value in self.data["params"].items()}

    @cached_property
    def metrics(self) -> dict[str, float | None]:
        """Metric → value; None for an event that did not happen, such as an overflow."""
        return {name: _metric(each["value"]) for name, each in self.data["metrics"].items()}

    @cached_property
    def rows(self) -> list[JsonObject]:
        """The rows that the experiment measured, one per step."""
        return [{name: json_number(cell) for name, cell in row.items()} for row in self.data["rows"]]

    @property
    def verdicts(self) -> dict[str, str]:
        """Claim → `holds`, `fails` or `unknown`; empty for an experiment that was run by itself."""
        return {each["id"]: each["verdict"] for each in self.data["claims"]}

    @property
    def receipt(self) -> JsonObject:
        """The data needed to repeat the run: experiment, parameters, seed, hashes, versions, machine."""
        return {
            **{name: self.data[name] for name in ("experiment", "params", "seed")},
            **self.data["receipt"],
        }

    @property
    def chart(self) -> JsonObject:
        """The chart in Vega-Lite, its data included."""
        spec: JsonObject = self.data["chart"]
        return spec

    @cached_property
    def svg(self) -> str:
        """The picture of the chart; "" where it cannot be drawn."""
        from numstab import html

        return html.picture(self.data)

    def _formats(self) -> dict[str, Any]:
        from numstab import html, text

        pictures = {SVG: lambda: self.svg, VEGA_LITE: lambda: html.static_chart(self.data)} if self.svg else {}
        return {**super()._formats(), MARKDOWN: lambda: text.run_markdown(self.data, self.lang), **pictures}

    def _html(self) -> str:
        from numstab import html

        return html.run_html(self.data, self.svg, self.lang)


class Answer(ApiResult, Table):
    """The answer to a question. Metrics, rows, verdicts and receipt are those of its proof, the first evidence."""

    def __init__(self, data: JsonObject, source: Any = None) -> None:
        super().__init__(data, source, lang=data["lang"])

    def __repr__(self) -> str:
        return f"<numstab.Answer {self.entry or self.status}>"

    def __str__(self) -> str:
        """As `numstab ask` prints it."""
        from numstab import text

        return text.answer_text(self.data, self._source)

    @property
    def status(self) -> str:
        """`answered`, `clarify`, `not_covered` or `acknowledged`."""
        return str(self.data["status"])

    @property
    def entry(self) -> str | None:
        """The id of the entry that answers; None without one."""
        found = self.data["entry"]
        return found["id"] if found else None

    @property
    def question(self) -> str:
        """The question as the entry puts it, else as it was asked."""
        found = self.data["entry"]
        return str(found["question"] if found else self.data["question"])

    @property
    def text(self) -> str:
        """The whole text as Markdown, with its measured numbers."""
        return str(self.data["answer"])

    @property
    def confidence(self) -> float:
        """The probability that the entry answers the question, 0 to 1."""
        return float(self.data["confidence"])

    @property
    def params(self) -> JsonObject:
        """The parameters of the answer: from the question, its context and the request."""
        return {name: json_number(value) for name, value in self.data["params"].items()}

    @property
    def notes(self) -> list[str]:
        """Notes on parameters that were assumed, clamped or corrected."""
        return list(self.data["notes"])

    @property
    def context(self) -> JsonObject:
        """The context to pass to a follow-up question (`after`)."""
        context: JsonObject = self.data["context"]
        return context

    @cached_property
    def evidence(self) -> list[Run]:
        """Every run, the proof first; each with its claims and verdicts."""
        sources = self._source.evidence if self._source else [None] * len(self.data["evidence"])
        return [Run(one, each, lang=self.lang) for one, each in zip(self.data["evidence"], sources, strict=True)]

    def __getitem__(self, block: str) -> Run:
        """The evidence with this id; raises `KeyError`."""
        for each in self.evidence:
            if each.data["id"] == block:
                return each
        raise KeyError(block)

    @property
    def metrics(self) -> dict[str, float | None]:
        """Metric → value, of the proof."""
        return self.evidence[0].metrics if self.evidence else {}

    @property
    def rows(self) -> list[JsonObject]:
        """The rows of the proof."""
        return self.evidence[0].rows if self.evidence else []

    @property
    def verdicts(self) -> dict[str, str]:
        """Claim → verdict, of the proof."""
        return self.evidence[0].verdicts if self.evidence else {}

    @property
    def receipt(self) -> JsonObject:
        """The receipt of the proof; empty if nothing was run."""
        return self.evidence[0].receipt if self.evidence else {}

    def _formats(self) -> dict[str, Any]:
        from numstab import text

        return {**super()._formats(), MARKDOWN: lambda: text.answer_markdown(self.data)}

    def _html(self) -> str:
        from numstab import html

        return html.answer_html(self.data, [each.svg for each in self.evidence[:1]])


class Comparison(Table):
    """Runs of one experiment that differ in parameters."""

    def __init__(self, runs: Sequence[Run]) -> None:
        self.runs = list(runs)
        self.lang = self.runs[0].lang

    def __repr__(self) -> str:
        return f"<numstab.Comparison {self.runs[0].experiment} {len(self)} runs>"

    def __str__(self) -> str:
        from numstab import text

        return text.comparison_text([each.data for each in self.runs], self.lang)

    def __len__(self) -> int:
        return len(self.runs)

    def __iter__(self) -> Iterator[Run]:
        return iter(self.runs)

    def __getitem__(self, index: int) -> Run:
        return self.runs[index]

    @property
    def metrics(self) -> dict[str, list[float | None]]:
        """Metric → its value in every run."""
        names = dict.fromkeys(name for each in self.runs for name in each.metrics)
        return {name: [each.metrics.get(name) for each in self.runs] for name in names}

    @property
    def rows(self) -> list[JsonObject]:
        """One row per run: the compared parameters and the metrics."""
        return [
            {**{name: json_number(value) for name, value in each.data["compared"].items()}, **each.metrics}
            for each in self.runs
        ]

    @property
    def receipt(self) -> list[JsonObject]:
        """The receipt of each run."""
        return [each.receipt for each in self.runs]

    def _formats(self) -> dict[str, Any]:
        from numstab import text

        data = [each.data for each in self.runs]
        return {**super()._formats(), MARKDOWN: lambda: text.comparison_markdown(data, self.lang)}

    def _html(self) -> str:
        from numstab import html

        return html.comparison_html([each.data for each in self.runs], [each.svg for each in self.runs], self.lang)


class Formula(ApiResult, Table):
    """A formula in every float format beside exact numbers."""

    def __repr__(self) -> str:
        return f"<numstab.Formula {self.data['expression']}>"

    def __str__(self) -> str:
        """As `numstab formula` prints it."""
        from numstab import text

        return text.formula_text(self.data, self._source, self.lang)

    @property
    def exact(self) -> Any:
        """The value in exact arithmetic, rounded to float64; a list for a vector, None where there is none."""
        return json_number(self.data["exact"])

    @property
    def values(self) -> dict[str, Any]:
        """Format → the value of the formula in it."""
        return {dtype: json_number(each["value"]) for dtype, each in self.data["values"].items()}

    @property
    def metrics(self) -> dict[str, float | None]:
        """Format → error in units in the last place."""
        return {dtype: _metric(each["ulp"]) for dtype, each in self.data["values"].items()}

    @property
    def breaks_at(self) -> dict[str, float | None]:
        """Format → an input at which it goes wrong, None where none was found; empty without a range."""
        return {dtype: _metric(each) for dtype, each in self.data["breaks_at"].items()}

    @property
    def stable(self) -> list[str]:
        """Forms that lose fewer bits, as code for torch, the best first."""
        return [str(each["torch"]) for each in self.data["stable"]]

    @property
    def rows(self) -> list[JsonObject]:
        """One row per format: value, error in units in the last place, status."""
        return [
            {
                "dtype": dtype,
                "value": json_number(each["value"]),
                "ulp": json_number(each["ulp"]),
                "status": each["status"],
            }
            for dtype, each in self.data["values"].items()
        ]

    @property
    def receipt(self) -> JsonObject:
        """Hashes, versions and machine of the run."""
        receipt: JsonObject = self.data["receipt"]
        return receipt

    def _formats(self) -> dict[str, Any]:
        from numstab import text

        return {**super()._formats(), MARKDOWN: lambda: text.formula_markdown(self.data, self.lang)}

    def _html(self) -> str:
        from numstab import html

        return html.formula_html(self.data, self.lang)


class Diagnosis(ApiResult):
    """The report on a training run."""

    def __repr__(self) -> str:
        return f"<numstab.Diagnosis {self.verdict}>"

    def __str__(self) -> str:
        from numstab import text

        return text.diagnosis_text(self.data, self.lang)

    @property
    def verdict(self) -> str:
        """`sick`, `healthy`, `not_numerics` or `cannot_tell`."""
        return str(self.data["verdict"])

    @property
    def summary(self) -> str:
        """The verdict in one sentence."""
        return str(self.data["summary"])

    @property
    def causes(self) -> list[JsonObject]:
        """The causes, the most probable first: id, name, entry, probability, word, because, cure, patch."""
        return list(self.data["causes"])

    @property
    def facts(self) -> list[JsonObject]:
        """The facts about the causes: line or step, layer, text, and how much it speaks for each of them."""
        return [
            {**each, "weights": {cause: json_number(weight) for cause, weight in each["weights"].items()}}
            for each in self.data["facts"]
        ]

    @property
    def ruled_out(self) -> list[JsonObject]:
        """The causes that one would think of, and why it is none of them: id, name, entry, because."""
        return list(self.data["ruled_out"])

    @property
    def ask(self) -> str | None:
        """The question whose answer decides between two causes that fit; None if there is none."""
        found: str | None = self.data["ask"]
        return found

    @property
    def patch(self) -> str:
        """The smallest change of code for the first cause; "" without one."""
        return str(self.data["patch"])

    @property
    def next(self) -> str:
        """The one line of code to add that would tell more; "" without one."""
        return str(self.data["next"])

    @property
    def evidence(self) -> list[Run]:
        """The experiment at the numbers of the run, then with the cure; empty where there is none."""
        return [Run(each, lang=self.lang) for each in self.data["evidence"]]

    @property
    def receipt(self) -> JsonObject:
        """Hash of the code, versions and machine that made the diagnosis; its runs have receipts of their own."""
        receipt: JsonObject = self.data["receipt"]
        return receipt

    def _formats(self) -> dict[str, Any]:
        from numstab import text

        return {**super()._formats(), MARKDOWN: lambda: text.diagnosis_markdown(self.data, self.lang)}

    def _html(self) -> str:
        from numstab import html

        return html.diagnosis_html(self.data, [each.svg for each in self.evidence], self.lang)


class Listing(list[JsonObject], Table):
    """A list of entries or experiments as the API describes them, shown as a table."""

    def __init__(self, rows: Sequence[JsonObject], lang: Lang, columns: Mapping[str, str]) -> None:
        """`columns`: field of the rows → the heading of its column in the table."""
        super().__init__(rows)
        self.lang = lang
        self._columns = columns

    def __str__(self) -> str:
        out = io.StringIO()
        for row in self.rows:
            out.write("  ".join(str(cell) for cell in row.values()) + "\n")
        return out.getvalue()

    @property
    def rows(self) -> list[JsonObject]:
        """The columns of the table, texts in one language."""
        return [{title: _in_short(row[name], self.lang) for name, title in self._columns.items()} for row in self]

    def _html(self) -> str:
        from numstab import html

        return html.listing_html(self.rows, self.lang)


def json_number(value: Any) -> Any:
    """A value of the JSON with its infinities and nan as floats."""
    if isinstance(value, list):
        return [json_number(each) for each in value]
    return _NONFINITE.get(value, value) if isinstance(value, str) else value


def _metric(value: Any) -> float | None:
    return None if value is None else float(json_number(value))


def _in_short(cell: Any, lang: Lang) -> Any:
    """A cell of a listing: a text in one language, a JSON Schema as its names and defaults."""
    if isinstance(cell, dict) and set(cell) == {"zh", "en"}:
        return cell[lang]
    if isinstance(cell, dict) and "properties" in cell:
        return ", ".join(f"{name}={each.get('default')}" for name, each in cell["properties"].items())
    return cell
