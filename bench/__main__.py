"""Runs the measurements named on the command line, or all of them."""

import sys

from bench import asking, experiments, indexing, load, matching, page, running, soak

MEASUREMENTS = {
    "ask": asking.first_answer,
    "cold": asking.cold_start,
    "run": running.isolation_cost,
    "experiments": experiments.experiment_cost,
    "match": matching.time_per_question,
    "reliability": matching.reliability,
    "index": indexing.index_sizes,
    "page": page.page_load,
    "load": load.load_test,
    "soak": soak.soak_test,
}


def main() -> int:
    """Prints a table per measurement."""
    names = sys.argv[1:] or list(MEASUREMENTS)
    unknown = [name for name in names if name not in MEASUREMENTS]
    if unknown:
        print(f"no measurement {unknown[0]!r}; there are: {', '.join(MEASUREMENTS)}", file=sys.stderr)
        return 2
    for name in names:
        print(f"## {name}: {(MEASUREMENTS[name].__doc__ or '').splitlines()[0]}", flush=True)
        MEASUREMENTS[name]()
    return 0


if __name__ == "__main__":
    sys.exit(main())
