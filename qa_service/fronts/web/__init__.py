"""The web front: chat, pages of entries and experiments, formulas, diagnoses, and what other sites embed."""

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
    """The routes of the pages, their assets and event streams. Imports jinja2 and other large packages when called."""
    from qa_service.fronts.web.routes import create_router

    return create_router(service, settings)


def not_found_page(service: Service) -> "Callable[[HttpRequest, NumstabError], Response]":
    """The handler that returns the page for an unknown address."""
    from qa_service.fronts.web.routes import not_found_response

    return not_found_response(service)


def checks(settings: Settings) -> list[DoctorCheck]:
    """The checks of this front for `numstab doctor`: chart script, font, browser."""
    from qa_service.fronts.web.installation_checks import check_build, check_chromium

    return [check_build(settings.cache), check_chromium()]


def prepare(settings: Settings) -> None:
    """Builds the chart script and the font of formulas in the cache folder unless they exist, in some ten seconds."""
    from qa_service.fronts.web.build import build_math_font, build_vega_bundle

    build_vega_bundle(settings.cache)
    build_math_font(settings.cache)
