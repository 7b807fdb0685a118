"""Tries one operation that the sandbox forbids or allows: network, files, processes, threads."""

import os
import pathlib
import socket
import subprocess
import tempfile
import threading
from typing import Literal

TITLE = {"zh": "reaches out", "en": "reaches out"}
PARAMS = {"what": {"zh": "什么", "en": "what"}}
COLUMNS = {"step": {"zh": "步", "en": "step"}}
METRICS = {"done": {"zh": "成功", "en": "done"}}
CHART = {"mark": "point", "encoding": {"x": {"field": "step", "type": "quantitative"}}}


def run(
    what: Literal[
        "network", "local_socket", "write", "delete", "fork", "program", "kill", "read", "thread"
    ] = "network",
):
    if what == "network":
        socket.create_connection(("127.0.0.1", 9), timeout=0.1)
    elif what == "local_socket":
        socket.socket(socket.AF_UNIX)
    elif what == "write":
        open(os.path.join(tempfile.gettempdir(), "reached"), "w").close()
    elif what == "delete":
        pathlib.Path(f"{tempfile.gettempdir()}/numstab-nothing-here").unlink()
    elif what == "fork" and os.fork() == 0:
        os._exit(0)
    elif what == "program":
        subprocess.run(["true"], check=True)
    elif what == "kill":
        os.kill(os.getppid(), 0)
    elif what == "read":
        open(os.__file__).close()
    elif what == "thread":
        thread = threading.Thread(target=lambda: None)
        thread.start()
        thread.join()
    return {"done": 1}
