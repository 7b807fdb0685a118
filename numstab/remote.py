"""The engine of a server: the HTTP API, with nothing but the standard library."""

import json
from collections.abc import Mapping
from http.client import HTTPException
from typing import IO, Any, ClassVar
from urllib.error import HTTPError, URLError
from urllib.parse import quote, urlencode
from urllib.request import HTTPRedirectHandler, Request, build_opener

from numstab.client import Reply
from numstab.json_object import JsonObject
from qa_service import errors
from qa_service.errors import BadField, BadRequest, NumstabError
from qa_service.model import Lang

_MAX_NAME_CHARS = 200
MAX_REPLY_BYTES = 64 << 20
"""A longer reply is refused; the reply with a hundred runs of many rows has a tenth of this size."""


class ServerError(NumstabError):
    """The server refused a request, or cannot be reached. `code` is the server's, `status` that of HTTP, 0 for none.

    The server gives its message in the language of the request; it stands for both languages here.
    """

    code: ClassVar[str] = "server_error"


class _NoRedirects(HTTPRedirectHandler):
    """Follows no redirect: it would take the key to another host."""

    def redirect_request(self, *_: Any) -> None:
        """Returns None, which makes urllib raise an HTTPError for the redirect."""


class HttpEngine:
    """Asks a server. Proxies are those of the environment."""

    def __init__(self, url: str, key: str | None, timeout: float) -> None:
        if not url.startswith(("http://", "https://")):
            raise BadField(
                zh=f"服务的地址应当以 http:// 或 https:// 开头，不能是 {url!r}",
                en=f"the address of a server begins with http:// or https://, unlike {url!r}",
                field="url",
            )
        self._base = f"{url.rstrip('/')}/api/v1"
        self._key = key
        self._timeout = timeout
        self._opener = build_opener(_NoRedirects)

    def ask(self, body: JsonObject, lang: Lang) -> Reply:
        """POST /ask."""
        return Reply(self._post("/ask", body, lang))

    def run(self, experiment: str, body: JsonObject, lang: Lang) -> Reply:
        """POST /experiments/{slug}/runs."""
        return Reply(self._post(f"/experiments/{quote(experiment, safe='')}/runs", body, lang))

    def formula(self, body: JsonObject, lang: Lang) -> Reply:
        """POST /formula."""
        return Reply(self._post("/formula", body, lang))

    def diagnose(self, data: bytes, name: str, lang: Lang) -> Reply:
        """POST /diagnose, the file as it is."""
        query = urlencode({"lang": lang, "name": name[-_MAX_NAME_CHARS:]})
        sent = {"Content-Type": "application/octet-stream"}
        return Reply(self._send(f"/diagnose?{query}", lang, data, sent))

    def entries(self) -> list[JsonObject]:
        """GET /entries."""
        listed: list[JsonObject] = self._send("/entries", "en")
        return listed

    def experiments(self) -> list[JsonObject]:
        """GET /experiments."""
        listed: list[JsonObject] = self._send("/experiments", "en")
        return listed

    def _post(self, path: str, body: JsonObject, lang: Lang) -> Any:
        data = json.dumps(body, allow_nan=False).encode()
        return self._send(path, lang, data, {"Content-Type": "application/json"})

    def _send(self, path: str, lang: Lang, data: bytes | None = None, headers: Mapping[str, str] | None = None) -> Any:
        """The JSON of the reply; raises `ServerError`, or the error of `qa_service.errors` with the server's code."""
        auth = {"Authorization": f"Bearer {self._key}"} if self._key else {}
        sent = {"Accept": "application/json", "Accept-Language": lang, **auth, **(headers or {})}
        request = Request(self._base + path, data, sent)  # noqa: S310  # its scheme is checked in __init__
        try:
            with self._opener.open(request, timeout=self._timeout) as reply:
                return _read_json(reply)
        except HTTPError as error:
            raise _refusal(error) from None
        except (URLError, OSError, HTTPException) as error:
            why = getattr(error, "reason", error)
            raise ServerError(
                zh=f"连不上 {self._base}：{why}", en=f"{self._base} cannot be reached: {why}", field="url"
            ) from error
        except (ValueError, RecursionError) as error:
            raise ServerError(
                zh=f"{self._base} 的回复不是 JSON，或者太大",
                en=f"the reply of {self._base} is not JSON, or too large",
                field="url",
            ) from error


def _read_json(reply: IO[bytes]) -> Any:
    """The body as JSON; raises ValueError if it is none or too large, RecursionError if it is nested too deep."""
    data = reply.read(MAX_REPLY_BYTES + 1)
    if len(data) > MAX_REPLY_BYTES:
        raise ValueError("too large")
    return json.loads(data)


def _refusal(error: HTTPError) -> NumstabError:
    """The server's problem+json as an exception: where the request is wrong, of the class that has its code here."""
    try:
        found = _read_json(error)
    except (ValueError, RecursionError, OSError, HTTPException):
        found = None
    finally:
        error.close()
    problem: JsonObject = found if isinstance(found, dict) else {}
    detail = str(problem.get("detail") or f"HTTP {error.code} {error.reason}")
    code = str(problem.get("code") or ServerError.code)
    known: dict[str, type[BadRequest]] = {each.code: each for each in vars(errors).values() if _is_request_error(each)}
    if code in known:
        return known[code](zh=detail, en=detail, field=problem.get("field"))
    refused = ServerError(zh=detail, en=detail, field=problem.get("field"))
    refused.code, refused.status = code, error.code  # type: ignore[misc]  # per instance: the server's
    return refused


def _is_request_error(each: object) -> bool:
    return isinstance(each, type) and issubclass(each, BadRequest)
