"""Schema models as HTTP responses, and whether a client takes them compressed."""

from collections.abc import Mapping, Sequence

from starlette.responses import JSONResponse

from qa_service.schemas.values import Body


class BodyResponse(JSONResponse):
    """A body, or a list of bodies, as JSON. FastAPI's own serialisation of a model turns inf and nan into null."""

    def render(self, content: Body | Sequence[Body]) -> bytes:
        """The bytes that are sent."""
        if isinstance(content, Body):
            return content.to_json()
        return b"[%b]" % b",".join([each.to_json() for each in content])


def accepts_gzip(headers: Mapping[str, str]) -> bool:
    """Whether the client that sent these headers takes a compressed reply."""
    return "gzip" in headers.get("accept-encoding", "")
