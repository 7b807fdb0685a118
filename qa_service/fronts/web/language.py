"""Content negotiation: the language of a page."""

from fastapi import Request

from qa_service.model import LANGS, Lang


def page_language(http: Request) -> Lang | None:
    """`?lang=`, else the first supported one of Accept-Language, else Chinese; None for an unsupported `?lang=`."""
    requested = http.query_params.get("lang")
    if requested is not None:
        return next((lang for lang in LANGS if lang == requested), None)
    accepted = http.headers.get("accept-language", "").lower().split(",")
    codes = [part.partition(";")[0].strip().partition("-")[0] for part in accepted]
    return next((lang for code in codes for lang in LANGS if lang == code), "zh")
