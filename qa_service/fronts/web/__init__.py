"""The page: a chat that answers with evidence, and every entry on a page of its own."""

from typing import TYPE_CHECKING

from qa_service.answering.service import Service
from qa_service.settings import Settings
from qa_service.tools.doctor import Check

if TYPE_CHECKING:
    from collections.abc import Callable

    from fastapi import APIRouter, Response
    from fastapi import Request as HttpRequest

    from qa_service.errors import NumstabError


def router(service: Service, settings: Settings) -> "APIRouter":
    """Pages, their assets, and the stream that the chat reads; what they are made of is imported only now."""
    from qa_service.fronts.web.routes import routes

    return routes(service, settings.cache)


def not_found_page(service: Service) -> "Callable[[HttpRequest, NumstabError], Response]":
    """What a browser gets at an address where there is nothing."""
    from qa_service.fronts.web.routes import not_found_page as page

    return page(service)


def checks(settings: Settings) -> list[Check]:
    """For `numstab doctor`: what draws charts, and what tests the page."""
    from qa_service.fronts.web.checks import bundle, chromium

    return [bundle(settings.cache), chromium()]


def prepare(settings: Settings) -> None:
    """The chart bundle and the font of formulas, which take some ten seconds the first time."""
    from qa_service.fronts.web.build import math_font, vega_bundle

    vega_bundle(settings.cache)
    math_font(settings.cache)
