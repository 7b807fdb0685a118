"""What service, driver and nodes of a cluster tell each other, as JSON: jobs one way, messages the other.

Imported once there is a cluster: pydantic, which checks it, takes longer to import than a question takes in the
terminal. inf and nan are written as in the cache of runs (`run_json`).
"""

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter
from pydantic_core import to_json

from qa_service.model import Value

_Cell = float | int | str | bool | None


class _Sent(BaseModel):
    """Base of what is sent: other fields are ignored, as one of another version may have more."""

    model_config = ConfigDict(frozen=True, strict=True, ser_json_inf_nan="constants")


class ClusterJob(_Sent):
    """Runs of one experiment: with one seed its rows are sent as they come, with several only the runs."""

    slug: str
    path: str
    source: str
    metrics: list[str]
    params: dict[str, Value] = {}
    seeds: Annotated[list[int], Field(min_length=1)] = [0]
    deadline: float
    """The time limit of one run, in seconds."""
    memory: int
    """The memory limit of one run, in MiB."""
    clients: list[str] = []
    """Hashes of the names of those who wait for it, which is enough for their turns in the queue."""


class NodeDescription(_Sent):
    """What a service must know of a machine."""

    slots: Annotated[int, Field(ge=1)]
    numstab: str
    environment: tuple[str, ...]
    machine: str = ""
    process: int = 0


class ListedNode(NodeDescription):
    """A machine that takes jobs, by its id in the cluster."""

    id: str


JobMessage = (
    tuple[Literal["rows"], list[dict[str, _Cell]]]
    | tuple[Literal["position"], int]
    | tuple[Literal["run"], str]
    | tuple[Literal["end"]]
    | tuple[Literal["lost"], str]
)
"""What a job sends: rows, its place in the queue, the JSON of a run, that it has ended, or why it is lost."""
DriverMessage = tuple[Literal["nodes"], list[ListedNode]] | tuple[Literal["refused", "problem"], str]
"""What the driver says of itself: the machines, why one takes no jobs, why the cluster is out of reach."""

OWN_MESSAGES = 0
"""The number before the driver's own messages, in the place of a job's."""
# From the left: to find which member fits best would take pydantic three times as long over a thousand rows.
_JOB_MESSAGE: TypeAdapter[JobMessage] = TypeAdapter(Annotated[JobMessage, Field(union_mode="left_to_right")])
_DRIVER_MESSAGE: TypeAdapter[DriverMessage] = TypeAdapter(DriverMessage)


def encode_cluster_message(message: JobMessage | DriverMessage) -> bytes:
    """The message as JSON, which has no line break."""
    return to_json(message, inf_nan_mode="constants")


def decode_cluster_line(line: bytes) -> tuple[int, JobMessage | DriverMessage]:
    """A line of the driver as (number of the job or 0, message); raises ValueError for any other text."""
    number, _, text = line.partition(b" ")
    schema: TypeAdapter[Any] = _DRIVER_MESSAGE if int(number) == OWN_MESSAGES else _JOB_MESSAGE
    return int(number), schema.validate_json(text, strict=True)
