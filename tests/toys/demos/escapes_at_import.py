"""Tries to get out of its process while its code is imported. A test puts the action and a file or port in place."""

import os
import pathlib
import socket
import subprocess
import threading
import time

TITLE = {"zh": "escapes at import", "en": "escapes at import"}
PARAMS = {"steps": {"zh": "步数", "en": "steps", "ge": 1, "le": 100000}}
COLUMNS = {"step": {"zh": "步", "en": "step"}}
METRICS = {"escaped": {"zh": "出去了", "en": "escaped"}}
CHART = {"mark": "point", "encoding": {"x": {"field": "step", "type": "quantitative"}}}
ACTION, PLACE = "nothing", ""
RUNNING = threading.Event()


def _write() -> None:
    """Leaves a folder with the number of this process for its name: files may have no bytes."""
    pathlib.Path(PLACE, str(os.getpid())).mkdir()


def _write_during_the_run() -> None:
    RUNNING.wait()
    _write()


if ACTION == "network":
    socket.create_connection(("127.0.0.1", int(PLACE)), timeout=5).close()
elif ACTION == "write":
    _write()
elif ACTION == "daemon":
    if os.fork() == 0:
        os.setsid()
        _write()
        time.sleep(60)
        os._exit(0)
    while not any(pathlib.Path(PLACE).iterdir()):  # until it has left the group that ends with the run
        time.sleep(0.01)
elif ACTION == "program":
    subprocess.run(["mkdir", os.path.join(PLACE, "program")], check=True)
elif ACTION == "thread":
    THREAD = threading.Thread(target=_write_during_the_run)
    THREAD.start()
elif ACTION == "memory":
    MEMORY = b"\1" * (5 << 30)
elif ACTION == "hang":
    time.sleep(60)


def run(steps: int = 1):
    RUNNING.set()
    if ACTION == "thread":
        THREAD.join()
    yield {"step": steps}
    return {"escaped": 1}
