"""Stands in for `qa_service.lab.cluster_driver`: machines as told on the command line, each with a behaviour.

Every argument is MACHINE=BEHAVIOUR: `runs` (says what the file RAY_TEST_RUNS holds as the run of this experiment,
number of steps and seed; where that is not there, rows without end), `dies` after two rows, `differs` in its rows,
`silent`, `wrong` (a field of its run is), or `old`, of another version. A machine named `head` with the behaviour
`dies` ends this process after two rows. Jobs and cancellations are logged to the file RAY_TEST_LOG.
"""

import itertools
import json
import os
import sys
import threading
import time
from pathlib import Path

from qa_service import __version__

LOCK = threading.Lock()
CANCELLED = set()
RUNS = json.loads(Path(os.environ["RAY_TEST_RUNS"]).read_text())


def send(number, message):
    with LOCK:
        sys.stdout.buffer.write(b"%d %s\n" % (number, json.dumps(message).encode()))
        sys.stdout.buffer.flush()


def log(*words):
    with LOCK, Path(os.environ["RAY_TEST_LOG"]).open("a") as out:
        print(*words, file=out)


def events(job):
    """The messages of one run of a job, row by row, according to the machine's behaviour."""
    for seed in job["seeds"]:
        text = RUNS.get(f"{job['slug']} {job['params']['steps']} {seed}")
        rows = json.loads(text)["rows"] if text else ({"step": step} for step in itertools.count())
        for row in rows if len(job["seeds"]) == 1 else ():
            yield "rows", [row]
            time.sleep(0 if text else 0.01)
        yield "run", text


def execute(number, machine, behaviour, job):
    rows = 0
    for kind, content in events(job):
        if number in CANCELLED:
            return
        if behaviour == "dies" and (kind == "run" or rows == 2):
            if machine == "head":
                os._exit(1)
            send(number, ["lost", "killed"])
            return
        if kind == "rows":
            rows += 1
            if behaviour == "differs":
                content[0] |= {"value": -1.0}
        is_wrong = behaviour == "wrong" and kind == "run"
        send(number, [kind, json.dumps(json.loads(content) | {"rows": [[1]]}) if is_wrong else content])
    send(number, ["end"])


def main():
    machines = dict(word.split("=") for word in sys.argv[1:])
    nodes = [
        {
            "id": machine, "slots": 1, "environment": ["fake", str(behaviour == "differs")],
            "numstab": "0" if behaviour == "old" else __version__,
        }
        for machine, behaviour in machines.items()
    ]  # fmt: skip
    send(0, ["nodes", nodes])
    for line in sys.stdin.buffer:
        word, number, *rest = line.rstrip(b"\n").split(b" ", 3)
        if word == b"cancel":
            CANCELLED.add(int(number))
            log("cancel", int(number))
            continue
        machine, job = rest[0].decode(), json.loads(rest[1])
        log("run", machine, job["seeds"])
        if machines[machine] != "silent":
            arguments = (int(number), machine, machines[machine], job)
            threading.Thread(target=execute, args=arguments, daemon=True).start()


main()
