"""`/ask?q=…`, for browsers without scripts: redirects to the page of the entry that answers, or lists candidates.

Nothing is run; the entry's page shows what was measured before.
"""

from collections.abc import Mapping
from urllib.parse import urlencode

from anyio import to_thread
from fastapi import APIRouter, Request, Response
from fastapi.responses import HTMLResponse, RedirectResponse

from qa_service import model
from qa_service.answering.service import Service
from qa_service.errors import BadRequest
from qa_service.fronts.web import not_found, render
from qa_service.fronts.web.language import page_language
from qa_service.model import Answer, Lang


def add_ask_page(web: APIRouter, service: Service, headers: Mapping[str, str]) -> None:
    """Adds the route `/ask`."""

    @web.get("/ask")
    async def asked(http: Request) -> Response:
        lang = page_language(http)
        if lang is None:
            return HTMLResponse(render.unsupported_language_page(http.url.path), 422, dict(headers))
        question = http.query_params.get("q", "").strip()
        if not question:
            return RedirectResponse(f"/?lang={lang}", 303)
        request = model.Request(question=question, reader_lang=lang, run=False)
        try:
            answer = await to_thread.run_sync(service.ask, request)
        except BadRequest as error:
            return HTMLResponse(
                not_found.not_found_html(service, http.url.path, error, lang), error.status, dict(headers)
            )
        if address := _address_of(answer, lang):
            return RedirectResponse(address, 303)
        other: Lang = "en" if lang == "zh" else "zh"
        page = render.render_page(
            "asked.html",
            lang,
            here=http.url.path,
            other_address=f"/ask?{urlencode({'q': question, 'lang': other})}",
            question=question,
            sentence=render.sentence_html(answer),
            candidates=[(match.entry.address_in(lang), match.entry.question[lang]) for match in answer.matches[:3]],
        )
        return HTMLResponse(page, 200, dict(headers))


def _address_of(answer: Answer, lang: Lang) -> str:
    """The address of the page that answers, "" if there is none."""
    if answer.entry is not None:
        return answer.entry.address_in(lang)
    if answer.calculation is not None:
        return answer.calculation.address_in(lang)
    return ""
