"""Previews of links to entries on other sites: the entry's card as a picture, and oEmbed 1.0 (https://oembed.com)."""

import hashlib
import json
import re
import subprocess
import sys
import threading
from collections.abc import Mapping
from contextlib import suppress
from html import escape
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlencode, urlsplit

from anyio import to_thread
from fastapi import APIRouter, Request, Response
from fastapi.responses import JSONResponse

from qa_service.answering.execute import cached_own_evidence
from qa_service.answering.knowledge import Knowledge
from qa_service.answering.service import Service
from qa_service.errors import BadField, BadRequest, Overloaded
from qa_service.files import delete_unused, mark_used, write_atomically
from qa_service.fronts.web import markup
from qa_service.fronts.web.language import page_language
from qa_service.lab.clients import CLIENT
from qa_service.model import LANGS, Entry, Evidence, Lang, RunStatus, Verdict
from qa_service.model import Request as Question
from qa_service.model.events import Done
from qa_service.presentation import card, chart, picture, prose
from qa_service.schemas import requests
from qa_service.server.problems import HttpProblem

EMBED_PATH = "/embed/entries/"
EMBED_WIDTH, EMBED_HEIGHT = 720, 640
"""Default size of a frame in pixels."""
ANY_ORIGIN_HEADERS = {"Cross-Origin-Resource-Policy": "cross-origin"}
"""Headers of resources that pages of other sites may load."""
_LINK = re.compile(r"/(?:entries|e|embed/entries)/([a-z0-9-]+)")
_OF_THIS_HOST = {"Cache-Control": "no-store"}
_DAY = 86400
_DRAW_CODE = (
    "import sys; from qa_service.presentation.card import draw_card; "
    "sys.stdout.buffer.write(draw_card(sys.stdin.buffer.read()))"
)
DRAW_SECONDS, _RETRY_SECONDS = 30, 5
_MAX_WAITING = 4  # pictures being drawn or waiting: each occupies a thread of the pool that all routes share
_CACHED_CARDS, _UNUSED_DAYS = 50, 30.0
_SIGNS = {Verdict.HOLDS: "✓", Verdict.FAILS: "✗"}


class CardPictures:
    """Draws cards of entries, one at a time, and caches them in a folder, by language and version of the entry."""

    def __init__(self, service: Service, cache: Path) -> None:
        self._service = service
        self._cache = cache
        self._lock = threading.Lock()
        self._places = threading.BoundedSemaphore(_MAX_WAITING)

    def png(self, entry: Entry, knowledge: Knowledge, lang: Lang) -> bytes:
        """The picture as PNG, from the cache or newly drawn, after running the proof if it is not cached. Blocks.

        A picture that has to be drawn counts as a request of its client. Raises `RateLimited`, and `Overloaded` if too
        many others wait or drawing takes too long.
        """
        path = self._cache / f"card-{self._key(entry, knowledge, lang)}.png"
        with suppress(OSError):
            png = path.read_bytes()
            mark_used(path)
            return png
        if not self._places.acquire(blocking=False):
            raise Overloaded(_MAX_WAITING, _RETRY_SECONDS)
        try:
            return self._draw_and_cache(path, entry, knowledge, lang)
        except subprocess.TimeoutExpired as error:
            raise Overloaded(_MAX_WAITING, _RETRY_SECONDS) from error
        finally:
            self._places.release()

    def _draw_and_cache(self, path: Path, entry: Entry, knowledge: Knowledge, lang: Lang) -> bytes:
        """The picture, drawn in a subprocess and cached if it is complete."""
        with self._lock:
            with suppress(OSError):
                return path.read_bytes()  # another thread has drawn it
            CLIENT.get().charge(1)
            evidence = self._proof(entry, knowledge)
            png, is_complete = draw_in_subprocess(entry, evidence, lang)
            if is_complete:
                with suppress(OSError):
                    write_atomically(path, lambda file: file.write_bytes(png))
                    delete_unused(self._cache, "card-*.png", keep=_CACHED_CARDS, days=_UNUSED_DAYS)
            return png

    def _proof(self, entry: Entry, knowledge: Knowledge) -> Evidence | None:
        """The evidence of the first block at the entry's parameters, cached or new; None for an entry without any."""
        if not entry.evidence:
            return None
        block = entry.evidence[0].id
        before = cached_own_evidence(entry, knowledge.experiments, self._service.runner)
        kept = next((one for one in before if one.block == block), None)
        if kept is not None:
            return kept
        *_, last = self._service.stream(Question(question="", entry=entry.id, blocks=(block,)), knowledge=knowledge)
        assert isinstance(last, Done)
        return last.answer.evidence[0]

    def _key(self, entry: Entry, knowledge: Knowledge, lang: Lang) -> str:
        """A hash of the entry, the experiment, the language and the code that draws the picture."""
        code = [Path(str(module.__file__)).read_bytes() for module in (card, chart, picture)]
        hashes = [knowledge.experiments[block.experiment].hash for block in entry.evidence[:1]]
        parts = [entry.hash.encode(), *(each.encode() for each in hashes), lang.encode(), *code]
        return hashlib.sha256(b"\0".join(parts)).hexdigest()[:32]


def draw_in_subprocess(entry: Entry, evidence: Evidence | None, lang: Lang) -> tuple[bytes, bool]:
    """(PNG, whether it may be cached). A Chinese card is drawn in English if no font has its characters."""
    ran = evidence is not None and evidence.run.status is RunStatus.RAN
    for each in (lang, "en"):
        job = _card_job(entry, evidence if ran else None, "zh" if each == "zh" else "en")
        done = subprocess.run(
            [sys.executable, "-c", _DRAW_CODE], input=job, capture_output=True, check=False, timeout=DRAW_SECONDS
        )
        if done.returncode != card.EXIT_NO_FONT:
            done.check_returncode()
            return done.stdout, (ran or not entry.evidence) and each == lang
    raise AssertionError("English needs no font of its own")


def _card_job(entry: Entry, evidence: Evidence | None, lang: Lang) -> bytes:
    """The input of `card.draw_card`, as JSON."""
    shown = [evidence] if evidence else []
    sentence = markup.first_paragraph(prose.fill_text(entry.short[lang], entry, shown, lang, prose.NOT_MEASURED[lang]))
    verdicts = [
        (_SIGNS[verdict], claim.says[lang])
        for one in shown
        for claim, verdict in zip(one.claims, one.verdicts, strict=True)
        if claim.proves == "short" and verdict in _SIGNS
    ]
    spec = picture.static_spec(chart.evidence_spec(evidence, lang)) if evidence and evidence.run.rows else None
    job = {
        "lang": lang,
        "question": entry.question[lang],
        "sentence": "" if "\\" in sentence else sentence,  # a formula would be shown as LaTeX
        "verdicts": verdicts,
        "spec": spec,
    }
    return json.dumps(job).encode()


def add_link_previews(web: APIRouter, service: Service, cache: Path, *, embeddable: bool) -> None:
    """Adds the routes of the cards and of oEmbed, which answers 404 unless entries are `embeddable`."""
    pictures = CardPictures(service, cache)

    @web.get("/entries/{entry_id}/card.png")
    async def card_picture(http: Request, entry_id: str) -> Response:
        lang, knowledge = _language(http), service.knowledge
        png = await to_thread.run_sync(pictures.png, knowledge.library[entry_id], knowledge, lang)
        etag = f'"{hashlib.sha256(png).hexdigest()[:16]}"'
        headers = ANY_ORIGIN_HEADERS | {
            "Cache-Control": f"public, max-age={_DAY}",
            "ETag": etag,
            "Vary": "Accept-Language",
        }
        if http.headers.get("if-none-match") == etag:
            return Response(status_code=304, headers=headers)
        return Response(png, media_type="image/png", headers=headers)

    @web.get("/oembed")
    async def oembed(http: Request) -> Response:
        if http.query_params.get("format", "json") != "json":
            raise HttpProblem(501)
        found = _entry_of_link(http, service) if embeddable else None
        if found is None:
            raise HttpProblem(404)
        entry, query = found
        return JSONResponse(_oembed_json(http, entry, query), headers=_OF_THIS_HOST)


def _language(http: Request) -> Lang:
    return page_language(http) or "en"


def _entry_of_link(http: Request, service: Service) -> tuple[Entry, dict[str, str]] | None:
    """(entry, query) of the link in the parameter `url`; None if it is not a link to an entry of this server."""
    try:
        link = urlsplit(http.query_params.get("url", ""))
        found = _LINK.fullmatch(link.path)
        if link.scheme not in ("http", "https") or link.netloc.lower() != http.url.netloc.lower() or not found:
            return None
        query = dict(parse_qsl(link.query))
        rest, _, _ = requests.split_compare_and_seeds(query)
        entry, _ = service.plan(requests.read_query(found[1], rest))
        return entry, rest
    except (ValueError, BadRequest):
        pass
    return None


def _oembed_json(http: Request, entry: Entry, query: Mapping[str, str]) -> dict[str, Any]:
    """The reply, of type `rich`: a frame within maxwidth and maxheight, and the card as thumbnail if it fits, too."""
    widest, highest = (_size_limit(http, name) for name in ("maxwidth", "maxheight"))
    lang: Lang = next((each for each in LANGS if each == query.get("lang")), _language(http))
    base = str(http.base_url)
    address = f"{base}{EMBED_PATH[1:]}{entry.id}?{urlencode({**query, 'lang': lang})}"
    width, height = min(EMBED_WIDTH, widest), min(EMBED_HEIGHT, highest)
    frame = (
        f'<iframe src="{escape(address)}" width="{width}" height="{height}" title="{escape(entry.question[lang])}" '
        'style="border:0;max-width:100%" loading="lazy"></iframe>'
    )
    reply: dict[str, Any] = {
        "version": "1.0",
        "type": "rich",
        "provider_name": "numstab",
        "provider_url": base,
        "title": entry.question[lang],
        "html": frame,
        "width": width,
        "height": height,
        "cache_age": _DAY,
    }
    if widest >= card.CARD_WIDTH and highest >= card.CARD_HEIGHT:
        reply |= {
            "thumbnail_url": card_address(base, entry, lang),
            "thumbnail_width": card.CARD_WIDTH,
            "thumbnail_height": card.CARD_HEIGHT,
        }
    return reply


def card_address(base: str, entry: Entry, lang: Lang) -> str:
    """The address of an entry's card."""
    return f"{base}entries/{entry.id}/card.png?lang={lang}"


def _size_limit(http: Request, name: str) -> int:
    """The value of maxwidth or maxheight, by default 100000; raises `BadField`."""
    text = http.query_params.get(name, "100000")
    if text.isascii() and text.isdecimal() and int(text[:9]) >= 1:
        return int(text[:9])
    raise BadField(zh=f"{name} 应当是正整数", en=f"{name} should be a positive integer", field=name)
