"""The page of a diagnosis, with and without scripts: the user pastes a log or chooses a file, and reads the report."""

import gzip
import json
import math
import re
from collections.abc import Callable

import httpx
import pytest
from browsing import PageLook, ask_and_wait, check_accessibility, check_contrast, label_text
from playwright.sync_api import Locator, Page, expect

from qa_service.fronts.web.diagnosis_page import MAX_UPLOAD_BYTES
from qa_service.model import Lang, Text

SICK = "\n".join(
    [f"step: {i} loss: {2.0 * 3.0**i:.4f} lr: 0.5" for i in range(9)]
    + [f"step: {i} loss: nan lr: 0.5" for i in range(9, 15)]
)
COLLAPSE = (
    "\n".join(
        f"step={i}, skipped={i}, loss={2.3 - 0.01 * i:.3f}\n[deepspeed] OVERFLOW! Rank 0 Skipping step. "
        f"Attempted loss scale: {65536 / 2**i:g}, reducing to {32768 / 2**i:g}"
        for i in range(16)
    )
    + "\nException: Current loss scale already at minimum - cannot decrease scale anymore. Exiting run."
)
LONG = "\n".join(
    f"step {i}: train loss {0.4 + 1.9 * math.exp(-i / 400) + 0.02 * math.sin(i):.4f}, lr 3e-4, time 123.4ms, "
    f"{'a long tail ' * 12}"
    for i in range(2000)
)
HEALTHY = "\n".join(f"Epoch {i}/40 - loss: {0.2 + 2.1 * math.exp(-i / 9):.4f}" for i in range(1, 41))
NAMES = {
    "sick": Text("步子太大", "The steps are too large"),
    "collapse": Text("系数", "The loss scale collapses"),
}
RUN_HERE = Text("为什么我的 loss 变成 nan 了？\n", "Why is my loss nan?\n")


def diagnose(page: Page, lang: Lang, log: str) -> Locator:
    """Opens the page, pastes a log, sends it, and waits for the report."""
    page.goto(f"/diagnose?lang={lang}")
    page.locator("[data-part=log]").fill(log)
    page.locator("[data-part=log-form] button").click()
    report = page.locator("[data-part=report]")
    expect(report).to_be_visible()
    return report


def test_a_sick_log(visit: Callable[..., Page], look: PageLook) -> None:
    """Checks one report in several ways, as making it and drawing its charts takes most of the time."""
    page = visit("/robots.txt")
    report = diagnose(page, look.lang, SICK)
    is_told_in_order(page, report, look.lang)
    the_curve_has_its_words_and_a_strip_of_nan(report, look.lang)
    a_cited_line_is_shown_and_led_to(page, report)
    is_taken_home_as_json(page, report, look.lang)


def is_told_in_order(page: Page, report: Locator, lang: Lang) -> None:
    """The order is: verdict, evidence with links to lines, marked curve, excluded causes, entry, both runs, patch, what
    the log lacks.
    """
    heading = report.locator("h1")
    expect(heading).to_contain_text(NAMES["sick"][lang])
    expect(heading).to_be_focused()
    expect(report.locator("[data-part=verdict]")).to_have_text(label_text("diagnosis_sick", lang))
    names = ["evidence", "curve", "excluded", "experiment", "cure", "unseen"]
    titles = report.locator("h2").all_inner_texts()
    places = [titles.index(label_text(f"diagnosis_{name}", lang)) for name in names]
    assert places == sorted(places), titles
    expect(report.locator("a[href^='/entries/']")).to_have_count(1)
    columns = report.locator("[data-part=compared-metrics] tbody tr").first.locator("td")
    assert float(columns.nth(0).inner_text()) > 1 > float(columns.nth(1).inner_text())
    expect(report.locator("[data-part=tried] [data-part=chart] svg")).to_have_count(2)
    expect(report.locator("[data-part=copy]")).to_have_count(2)
    check_accessibility(page)


def the_curve_has_its_words_and_a_strip_of_nan(report: Locator, lang: Lang) -> None:
    """The text alternative says where the loss ends and where nan begins; exactly one of the two drawings is
    visible.
    """
    curve = report.locator("[data-part=curve]").first
    picture = curve.get_by_role("img")
    said = picture.get_attribute("aria-label") or ""
    assert all(word in said for word in ("13122", "nan", "9")), said
    expect(curve.locator("svg:visible")).to_have_count(1)
    expect(curve.locator("svg:visible text.word-nan")).to_have_text("nan")
    expect(curve.locator("figcaption li")).to_have_count(curve.locator("svg:visible circle.mark").count())
    titles = curve.locator("svg:visible .axis-title")
    expect(titles).to_have_count(2)
    expect(titles.last).to_contain_text("对数" if lang == "zh" else "log scale")


def a_cited_line_is_shown_and_led_to(page: Page, report: Locator) -> None:
    """Each link in the evidence leads to the line of the log with that number."""
    links = report.locator("a[href^='#line-']")
    assert links.count() > 3
    lines = SICK.splitlines()
    for link in links.all():
        number = link.get_attribute("href").removeprefix("#line-")  # type: ignore[union-attr]
        assert number in link.inner_text()
        expect(page.locator(f"#line-{number} td")).to_have_text(lines[int(number) - 1])
    links.first.click()
    expect(page.locator(".excerpt :target")).to_be_in_viewport()


def is_taken_home_as_json(page: Page, report: Locator, lang: Lang) -> None:
    with page.expect_download() as download:
        report.locator("[data-part=json]").click()
    body = json.loads(download.value.path().read_text("utf-8"))
    assert (body["lang"], body["verdict"]) == (lang, "sick")
    assert [bool(each["metrics"]) for each in body["evidence"]] == [True, True]  # as it is, and with the cure


def test_a_collapse_of_the_loss_scale(visit: Callable[..., Page], look: PageLook) -> None:
    page = visit("/robots.txt")
    report = diagnose(page, look.lang, COLLAPSE)
    expect(report.locator("h1")).to_contain_text(NAMES["collapse"][look.lang])
    expect(report.locator("#line-33")).to_contain_text("already at minimum")
    expect(report.locator("[data-part=curve]")).to_have_count(2)


@pytest.mark.exhaustive
def test_two_thousand_healthy_lines(visit: Callable[..., Page], look: PageLook) -> None:
    """The run is called healthy, without evidence, cure or warning; the short report comes first and the log stays on
    the page.
    """
    page = visit("/robots.txt")
    report = diagnose(page, look.lang, LONG)
    expect(report.locator("[data-part=verdict]")).to_have_text(label_text("diagnosis_healthy", look.lang))
    expect(report).to_be_in_viewport()
    assert report.locator("h2").all_inner_texts() == [label_text("diagnosis_curve", look.lang)]
    assert page.evaluate("document.querySelectorAll('main *').length") < 250
    page.locator("details.again > summary").click()
    expect(page.locator("[data-part=log]")).to_have_value(LONG)


def test_what_is_no_log_is_said_and_kept(visit: Callable[..., Page], look: PageLook) -> None:
    """The error is in the user's language, and the text stays in the box, also if the request or its reply fails."""
    page = visit("/robots.txt", expected="status of 422|ERR_FAILED", alone=False)
    report = diagnose(page, look.lang, "dear diary\nnothing happened")
    expect(report.locator("[data-part=verdict]")).to_have_text(label_text("diagnosis_unreadable", look.lang))
    expect(page.locator("[data-part=log]")).to_be_visible()
    expect(page.locator("[data-part=log]")).to_have_value("dear diary\nnothing happened")
    page.goto(f"/diagnose?lang={look.lang}")
    page.locator("[data-part=log-form] button").click()
    expect(page.locator("[data-part=log-status]")).to_contain_text("粘贴" if look.lang == "zh" else "paste one")
    page.route("**/diagnose?lang=*", lambda route: route.abort())
    page.locator("[data-part=log]").fill(SICK)
    page.locator("[data-part=log-form] button").click()
    expect(page.locator("[data-part=log-status]")).to_have_text(label_text("diagnosis_kept", look.lang))
    expect(page.locator("[data-part=log]")).to_have_value(SICK)


def test_a_file_is_read(visit: Callable[..., Page], look: PageLook) -> None:
    """A compressed file is read too; one that contains no run is refused, and one that is too large is not sent."""
    page = visit(f"/diagnose?lang={look.lang}", expected="status of 422", alone=False)
    file = page.locator("input[type=file]")
    file.set_input_files({"name": "a.pt", "mimeType": "application/octet-stream", "buffer": b"PK\x03\x04" + bytes(99)})
    page.locator("[data-part=log-form] button").click()
    expect(page.locator("[data-part=log-status]")).to_contain_text("TensorBoard")
    large = {"name": "a.log", "mimeType": "text/plain", "buffer": bytes(MAX_UPLOAD_BYTES + 1)}
    file.set_input_files(large)  # type: ignore[arg-type]
    page.locator("[data-part=log-form] button").click()
    expect(page.locator("[data-part=log-status]")).to_have_text(label_text("diagnosis_too_large", look.lang).format(8))
    packed = {"name": "run.log.gz", "mimeType": "application/gzip", "buffer": gzip.compress(SICK.encode())}
    file.set_input_files(packed)  # type: ignore[arg-type]
    page.locator("[data-part=log-form] button").click()
    expect(page.locator("[data-part=report] h1")).to_contain_text(NAMES["sick"][look.lang])


def test_it_works_without_scripts(visit: Callable[..., Page], look: PageLook) -> None:
    """The form sends the log itself; the report has curve, metrics and links; the log comes back in the box."""
    page = visit("/robots.txt", expected="status of 422", java_script_enabled=False)
    report = diagnose(page, look.lang, SICK)
    expect(report.locator("h1")).to_contain_text(NAMES["sick"][look.lang])
    expect(report.locator("[data-part=curve] svg:visible")).to_have_count(1)
    expect(report.locator("[data-part=compared-metrics]")).to_be_visible()
    expect(report.locator("[data-part=chart]").first).to_be_hidden()
    expect(page.locator("[data-part=log]")).to_have_value(SICK)
    page.goto(f"/diagnose?lang={look.lang}")
    page.locator("[data-part=log-form] button").click()
    expect(page.get_by_role("alert")).to_contain_text("粘贴" if look.lang == "zh" else "paste one")


def test_an_answer_to_a_question_with_a_log_leads_to_the_report(visit: Callable[..., Page], look: PageLook) -> None:
    """The verdict stands in the answer; its button brings the whole log to the page."""
    page = visit(f"/?lang={look.lang}")
    ask_and_wait(page, RUN_HERE[look.lang] + SICK)
    line = page.locator("[data-part=diagnosis]")
    expect(line).to_contain_text(NAMES["sick"][look.lang])
    check_contrast(page)
    line.get_by_role("button", name=label_text("diagnosis_whole", look.lang)).click()
    expect(page.locator("[data-part=report] h1")).to_contain_text(NAMES["sick"][look.lang])
    expect(page.locator("[data-part=log]")).to_have_value(RUN_HERE[look.lang] + SICK)


def test_a_healthy_log_is_answered_by_its_verdict_alone(visit: Callable[..., Page], look: PageLook) -> None:
    """The answer has no entry about a fault and offers none; its button leads to the curve."""
    page = visit(f"/?lang={look.lang}")
    ask_and_wait(page, HEALTHY)
    expect(page.locator("[data-part=prose]")).to_contain_text(re.compile("健康|Healthy"))
    assert not page.locator("[data-part=candidates], [data-part=hero]").count()
    page.locator("[data-part=diagnosis]").get_by_role("button").click()
    expect(page.locator("[data-part=curve]").first).to_be_visible()


def test_a_report_prints_without_its_form(visit: Callable[..., Page]) -> None:
    page = visit("/robots.txt", viewport={"width": 720, "height": 1000})
    report = diagnose(page, "en", SICK)
    page.emulate_media(media="print")
    expect(report.locator("h1")).to_be_visible()
    for hidden in ("header.top", "[data-part=log-form]", "[data-part=copy]", "[data-part=json]"):
        assert not page.locator(hidden).first.is_visible(), hidden


@pytest.mark.parametrize("lang", ["zh", "en"])
def test_forms_that_cannot_be_read_are_refused(client: httpx.Client, lang: Lang) -> None:
    """Too large, empty, or no form: a page in the user's language, never a traceback."""
    cases = [
        ({"files": {"file": ("a.log", bytes(MAX_UPLOAD_BYTES + (1 << 20)))}}, 413),
        ({"data": {"text": " \n"}}, 422),
        ({"content": b"--x\r\nnonsense", "headers": {"content-type": "multipart/form-data; boundary=x"}}, 422),
        ({"content": b"nonsense", "headers": {"content-type": "multipart/form-data"}}, 422),
    ]
    for sent, status in cases:
        response = client.post(f"/diagnose?lang={lang}", **sent)  # type: ignore[arg-type]
        assert response.status_code == status, sent
        assert 'role="alert"' in response.text
        assert ("Training log" in response.text) == (lang == "en")
    assert client.post("/diagnose?lang=fr", data={"text": SICK}).status_code == 422


def test_markup_in_a_log_is_text(client: httpx.Client) -> None:
    """It is shown as text in the excerpt, in quotations of findings, and in the box."""
    log = COLLAPSE.replace("cannot decrease", "<b onclick=x>cannot</b> decrease") + "\n</textarea><script>x</script>"
    page = client.post("/diagnose?lang=en", data={"text": log}).text
    assert "<b onclick" not in page and "<script>x" not in page
    assert page.count("&lt;b onclick") > 2
