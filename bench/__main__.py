"""Runs the benchmarks named on the command line, or all of them; options behind a name are given to its benchmark."""

import itertools
import sys

from bench import (
    asking,
    chat,
    cluster,
    deep_learning,
    diagnosis,
    experiments,
    formula,
    formula_latency,
    hostile,
    indexing,
    load,
    matching,
    memory,
    page,
    questions,
    running,
    sharing,
    soak,
    watch,
)

BENCHMARKS = {
    "ask": asking.first_answer,
    "chat": chat.chat_latency,
    "cold": asking.cold_start,
    "run": running.isolation_cost,
    "cluster": cluster.cluster_figures,
    "experiments": experiments.experiment_cost,
    "formula-latency": formula_latency.formula_latency,
    "match": matching.time_per_question,
    "reliability": matching.reliability,
    "hostile": hostile.hostile_texts,
    "index": indexing.index_sizes,
    "page": page.page_load,
    "load": load.load_test,
    "memory": memory.memory_use,
    "questions": questions.question_rate,
    "formula": formula.stable_forms,
    "formulas": deep_learning.formulas,
    "sharing": sharing.sharing,
    "soak": soak.soak_test,
    "watch": watch.watch_overhead,
    "diagnosis": diagnosis.figures,
}


def main() -> int:
    """Runs the benchmarks, each of which prints its results; returns exit status 2 for an unknown name."""
    names = list(itertools.takewhile(lambda argument: not argument.startswith("-"), sys.argv[1:])) or list(BENCHMARKS)
    unknown = [name for name in names if name not in BENCHMARKS]
    if unknown:
        print(f"no benchmark {unknown[0]!r}; there are: {', '.join(BENCHMARKS)}", file=sys.stderr)
        return 2
    for name in names:
        print(f"## {name}: {(BENCHMARKS[name].__doc__ or '').splitlines()[0]}", flush=True)
        BENCHMARKS[name]()
    return 0


if __name__ == "__main__":
    sys.exit(main())
