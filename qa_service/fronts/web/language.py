"""In which language a page comes."""

from fastapi import Request

from qa_service.model import LANGS, Lang


def page_language(http: Request) -> Lang | None:
    """`?lang=`, else the first of the browser's languages that we speak, else Chinese; None for one we do not speak."""
    asked = http.query_params.get("lang")
    if asked is not None:
        return next((lang for lang in LANGS if lang == asked), None)
    spoken = http.headers.get("accept-language", "").lower().split(",")
    wanted = [word.partition(";")[0].strip().partition("-")[0] for word in spoken]
    return next((lang for word in wanted for lang in LANGS if lang == word), "zh")
