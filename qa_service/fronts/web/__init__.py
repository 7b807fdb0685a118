"""The web front: a chat page, and a page for every entry and every experiment."""

from typing import TYPE_CHECKING

from qa_service.answering.service import Service
from qa_service.settings import Settings
from qa_service.tools.doctor import DoctorCheck

if TYPE_CHECKING:
    from collections.abc import Callable

    from fastapi import APIRouter, Response
    from fastapi import Request as HttpRequest

    from qa_service.errors import NumstabError


def router(service: Service, settings: Settings) -> "APIRouter":
    """The routes of the pages, their assets and the chat's event stream. Imports jinja2 and the like when called."""
    from qa_service.fronts.web.routes import create_router

    return create_router(service, settings)


def not_found_page(service: Service) -> "Callable[[HttpRequest, NumstabError], Response]":
    """The handler that makes the page for an unknown address; hook of the app."""
    from qa_service.fronts.web.routes import not_found_response

    return not_found_response(service)


def checks(settings: Settings) -> list[DoctorCheck]:
    """The checks of this front for `numstab doctor`: chart script, font, browser."""
    from qa_service.fronts.web.installation_checks import check_build, check_chromium

    return [check_build(settings.cache), check_chromium()]


def prepare(settings: Settings) -> None:
    """Builds the chart script and the font of formulas into the cache folder, which takes about ten seconds once."""
    from qa_service.fronts.web.build import build_math_font, build_vega_bundle

    build_vega_bundle(settings.cache)
    build_math_font(settings.cache)
