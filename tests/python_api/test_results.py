"""What the functions of `numstab` return, and how it is shown."""

import json
import math
import re
import sys
from collections.abc import Callable
from fractions import Fraction

import numpy as np
import pytest

import numstab
from numstab.client import Client
from numstab.html import picture, static_chart
from numstab.results import HTML, MARKDOWN, PLAIN, SVG, VEGA_LITE, Result
from qa_service.errors import BadExpression, BadField, BadParameter, MissingPackage, UnknownExperiment, UnreadableRun
from qa_service.model import Lang
from qa_service.presentation.picture import VEGA_LITE_VERSIONS, to_svg

QUESTION = {
    "zh": "100 个 1.5 连乘会怎样？",
    "en": "What happens when 100 factors of 1.5 are multiplied, and when they are added?",
}
both_languages = pytest.mark.parametrize("lang", ["zh", "en"])
EXTERNAL = re.compile(r"<script|<link|<iframe|\bon[a-z]+=|(?:src|href)=[\"'](?!#|data:image/svg)")
"""What a self-contained page without scripts does not have, but for links in the text."""

IMAGE = '<img src="data:image/svg+xml;base64,'


def shown_as_html(result: Result) -> str:
    """The HTML of a result, which loads and runs nothing."""
    html = result._repr_html_()
    assert html == result._repr_mimebundle_()[HTML] == result._mime_()[1]
    assert result._mime_()[0] == HTML
    found = EXTERNAL.search(re.sub(r'<a href="https?://[^"]*"', "<a", html))
    assert not found, html[found.start() - 50 : found.end() + 50]
    return html


@both_languages
def test_an_answer_has_the_numbers_of_its_proof(client: Client, lang: Lang) -> None:
    answer = client.ask(QUESTION[lang])
    assert (answer.status, answer.entry, answer.lang) == ("answered", "multiply-vs-add", lang)
    exact = Fraction(3, 2) ** 100
    assert answer.metrics["product"] == pytest.approx(float(exact), rel=1e-4)
    assert answer.metrics["first_overflow_step"] is None
    assert set(answer.verdicts.values()) == {"holds"}
    assert [row["step"] for row in answer.rows] == list(range(1, 101))
    assert answer.receipt["params"] == {"n": 100, "x": 1.5, "dtype": "float32"}
    assert len(answer.receipt["code_hash"]) >= 12
    assert "4.07×10¹⁷" in answer.text
    assert answer[answer.evidence[0].data["id"]].metrics == answer.metrics


@both_languages
def test_an_answer_prints_what_the_terminal_prints(
    client: Client, terminal: Callable[..., object], lang: Lang, settings
) -> None:
    """The text is the same except for the duration of the run and a hint at an option of the command."""
    env = {"NUMSTAB_CACHE": str(settings.cache), "NUMSTAB_DATA": str(settings.data), "NUMSTAB_DEADLINE": "240"}
    printed = terminal("ask", QUESTION[lang], env=env).stdout

    def lines(text: str) -> list[str]:
        kept = (re.sub(r"seed=0 .*", "seed=0", line).rstrip() for line in text.splitlines())
        return [line for line in kept if line and "--full" not in line]

    assert lines(str(client.ask(QUESTION[lang]))) == lines(printed)


@both_languages
def test_a_notebook_shows_an_answer_with_its_picture_and_verdicts(client: Client, lang: Lang) -> None:
    bundle = client.ask(QUESTION[lang])._repr_mimebundle_()
    assert set(bundle) == {HTML, MARKDOWN, PLAIN}
    html = shown_as_html(client.ask(QUESTION[lang]))
    assert html.count(IMAGE) == 1
    assert {"zh": "成立", "en": "holds"}[lang] in html
    assert f'lang="{ {"zh": "zh-CN", "en": "en"}[lang] }"' in html
    assert "4.07×10¹⁷" in bundle[MARKDOWN]


def test_a_run_is_also_a_picture_and_a_vega_lite_chart(client: Client) -> None:
    run = client.run("pow_vs_sum", n=300, x=1.5)
    bundle = run._repr_mimebundle_()
    assert set(bundle) == {HTML, MARKDOWN, PLAIN, SVG, VEGA_LITE}
    assert bundle[SVG].startswith("<svg ")
    assert 'aria-label="' in bundle[SVG].partition(">")[0]
    assert bundle[VEGA_LITE]["$schema"].endswith("/v5.json")
    assert run.metrics["product"] == math.inf
    assert math.isinf(run.rows[-1]["product"])
    json.dumps(bundle, allow_nan=False)
    assert set(run._repr_mimebundle_(include=[SVG])) == {SVG}
    assert SVG not in run._repr_mimebundle_(exclude=[SVG])


def check_both_versions(run: numstab.client.Run) -> None:
    """Asserts that both versions of Vega-Lite draw the same SVG, except for numbers in ids of gradients and clip
    paths.
    """
    drawn = [to_svg(static_chart(run.data), version) for version in VEGA_LITE_VERSIONS]
    first, second = (re.sub(r"(gradient|clip)_?\d+", r"\1", svg) for svg in drawn)
    assert first == second


@pytest.mark.parametrize("slug", ["pow_vs_sum", "loss_surface", "dtype_ladder"])
def test_vega_lite_5_and_6_draw_the_same_picture(client: Client, slug: str) -> None:
    check_both_versions(client.run(slug))


@pytest.mark.exhaustive
@pytest.mark.parametrize("part", range(16))
def test_vega_lite_5_and_6_draw_the_same_pictures_of_all_experiments(client: Client, part: int) -> None:
    for each in client.experiments()[part::16]:
        run = client.run(each["slug"])
        if run.status == "ran" and run.rows:
            check_both_versions(run)


def test_pictures_in_one_notebook_do_not_share_names(client: Client) -> None:
    """With shared ids, a clip path of the first picture would cut the second."""
    pictures = [client.run("loss_surface", seed).svg for seed in (0, 1)]
    names = [set(re.findall(r'\bid="([^"]+)"', svg)) for svg in pictures]
    assert all(names)
    assert not names[0] & names[1]
    for svg, own in zip(pictures, names, strict=True):
        assert set(re.findall(r"url\(#([^)]+)\)", svg)) <= own


def test_a_run_without_rows_has_no_picture() -> None:
    assert picture({"rows": [], "chart": {}}) == ""


def test_rows_become_a_data_frame(client: Client) -> None:
    frame = client.run("pow_vs_sum", n=300).to_pandas()
    assert next(iter(frame.columns)) == "step"
    assert len(frame) == 300
    assert np.isinf(frame["product"].iloc[-1])
    assert list(client.compare("pow_vs_sum", x=[0.9, 1.1]).to_pandas()["x"]) == [0.9, 1.1]


def test_without_pandas_the_error_says_what_to_install(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    run = client.run("pow_vs_sum")
    monkeypatch.setitem(sys.modules, "pandas", None)
    with pytest.raises(MissingPackage) as error:
        run.to_pandas()
    assert "pip install pandas" in error.value["zh"]
    assert "pip install pandas" in error.value["en"]


@both_languages
def test_a_comparison_runs_every_value(client: Client, lang: Lang) -> None:
    """Numbers of two lists of one length are paired, everything else is crossed."""
    both = client.compare("pow_vs_sum", n=[10, 20], x=[2.0, 4.0], lang=lang)
    assert both.metrics["product"] == [2.0**10, 4.0**20]
    crossed = client.compare("pow_vs_sum", n=50, dtype=["float32", "float16"], x=[1.5, 2.0, 3.0])
    assert len(crossed) == 6
    assert [each.params["n"] for each in crossed] == [50] * 6
    html = shown_as_html(both)
    assert "n=10, x=2" in html
    assert html.count(IMAGE) == 2
    assert "1024" in str(both)
    assert "| n=10, x=2 | n=20, x=4 |" in both._repr_mimebundle_()[MARKDOWN]


@pytest.mark.parametrize("params", [{"n": 10}, {"n": list(range(1, 202))}])
def test_a_comparison_of_nothing_or_of_too_much_is_refused(client: Client, params: dict[str, object]) -> None:
    with pytest.raises(BadField):
        client.compare("pow_vs_sum", **params)


@both_languages
def test_a_formula_in_every_format(client: Client, lang: Lang) -> None:
    formula = client.formula("log(1+exp(x))", x=100, lang=lang)
    assert formula.exact == 100
    assert formula.values["float32"] == math.inf
    assert formula.values["float64"] == 100
    assert any("softplus" in form for form in formula.stable)
    html = shown_as_html(formula)
    assert "float32" in html
    assert "softplus" in html
    assert "softplus" in str(formula)
    ranged = client.formula("log(1+exp(x))", x=(-1e3, 1e3), dtypes=["float32"])
    assert ranged.breaks_at["float32"] == pytest.approx(math.log(2**128), rel=1e-3)


def test_a_question_for_a_value_is_answered_with_a_calculation(client: Client) -> None:
    answer = client.ask("what is 2048+1 in float16?")
    assert answer.status == "answered"
    assert answer.entry is None
    assert "2048" in shown_as_html(answer)
    assert "2048" in str(answer)


def test_numbers_and_formats_of_other_libraries_are_taken(client: Client) -> None:
    class Dtype:
        def __str__(self) -> str:
            return "torch.float16"

    run = client.run("pow_vs_sum", np.int64(0), n=np.int64(30), x=np.float32(1.5), dtype=Dtype())
    assert run.params == {"n": 30, "x": 1.5, "dtype": "float16"}
    assert run.metrics["product"] == math.inf


def test_a_follow_up_stays_with_the_entry(client: Client) -> None:
    first = client.ask(QUESTION["en"])
    second = client.ask("and in float16?", after=first)
    assert second.entry == first.entry
    assert second.evidence[0].params["dtype"] == "float16"


@both_languages
def test_what_is_not_covered_is_declined(client: Client, lang: Lang) -> None:
    answer = client.ask({"zh": "怎么烤面包？", "en": "how do I bake bread?"}[lang])
    assert answer.status == "not_covered"
    assert (answer.entry, answer.metrics, answer.rows, answer.receipt) == (None, {}, [], {})
    assert IMAGE not in shown_as_html(answer)
    assert "numstab" in str(answer)


def test_text_alone_runs_nothing(client: Client) -> None:
    answer = client.ask("", entry="multiply-vs-add", run=False, lang="zh")
    assert answer.evidence == []
    assert "连乘" in answer.text
    shown_as_html(answer)


def test_lists_are_shown_as_tables(client: Client) -> None:
    entries, experiments = client.entries(lang="zh"), client.experiments()
    assert "multiply-vs-add" in {each["id"] for each in entries}
    assert "pow_vs_sum" in shown_as_html(experiments)
    assert "为什么乘法变加法会让训练更稳定？" in str(entries)
    assert {"slug", "title", "parameters"} == set(experiments.to_pandas().columns)


def test_errors_are_in_both_languages(client: Client) -> None:
    """In a traceback, the Chinese text is a note of the exception."""
    for kind, call in (
        (UnknownExperiment, lambda: client.run("nope")),
        (BadParameter, lambda: client.run("pow_vs_sum", n=-1)),
        (BadExpression, lambda: client.formula("1 +")),
        (BadField, lambda: client.ask("why nan?", seed=-1)),
        (BadField, lambda: client.diagnose("missing.log")),
    ):
        with pytest.raises(kind) as error:
            call()
        assert re.search(r"[\u3400-\u9fff]", error.value["zh"])
        assert not re.search(r"[\u3400-\u9fff]", str(error.value))
        assert error.value.__notes__ == [error.value["zh"]]


def test_numstab_replay_repeats_what_was_saved(client: Client, terminal: Callable[..., object], tmp_path) -> None:
    file = tmp_path / "run.json"
    file.write_text(client.run("pow_vs_sum", 3, n=20).to_json(), "utf-8")
    done = terminal("replay", str(file), env={"NUMSTAB_DEADLINE": "240", "NUMSTAB_DATA": str(tmp_path)})
    assert done.returncode == 0
    assert "identical" in done.stdout


def test_formulas_survive_a_sanitiser(client: Client) -> None:
    """A sanitiser that removes unknown tags, such as MathML's, keeps the letters in them."""
    html = client.ask(QUESTION["en"])._repr_html_()
    assert "<math" not in html
    assert "√" in re.sub(r"<[^>]*>", "", html)


LOG = "".join(f"step {step}: loss {2.5 * 1.4**step:.4f} grad_norm {1.3**step:.2f}\n" for step in range(60)) + "".join(
    f"step {step}: loss nan grad_norm nan\n" for step in range(60, 70)
)


@both_languages
def test_a_log_is_diagnosed(client: Client, lang: Lang, tmp_path) -> None:
    """The log is given as text or as the path of a file; what is not a log is refused."""
    file = tmp_path / "train.log"
    file.write_text(LOG, "utf-8")
    found = client.diagnose(file, lang=lang)
    assert found.verdict in ("sick", "cannot_tell")
    assert found.causes[0]["because"]
    assert found.summary in str(found)
    assert found.summary in shown_as_html(found)
    assert [each["id"] for each in client.diagnose(LOG, lang=lang).causes] == [each["id"] for each in found.causes]
    assert found.patch == found.causes[0]["patch"]
    assert {each["text"] for each in found.facts} >= set(found.causes[0]["because"])
    with pytest.raises(UnreadableRun):
        client.diagnose("bread is baked in an oven", lang=lang)
