"""Bodies as HTTP responses."""

from collections.abc import Sequence

from starlette.responses import JSONResponse

from qa_service.schemas.values import Body


class BodyResponse(JSONResponse):
    """A body, or a list of bodies, as JSON. FastAPI's own writing of a model makes null of inf and nan."""

    def render(self, content: Body | Sequence[Body]) -> bytes:
        """The bytes that are sent."""
        if isinstance(content, Body):
            return content.to_json()
        return b"[%b]" % b",".join([each.to_json() for each in content])
