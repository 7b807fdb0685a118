"""numstab for Python and notebooks: questions about numerical stability, answered with numbers measured here and now.

    import numstab
    numstab.ask("why is my loss nan?")
    numstab.run("pow_vs_sum", n=200, x=0.9)
    numstab.compare("pow_vs_sum", dtype=["float32", "bfloat16"])
    numstab.formula("log(1+exp(x))", x=100)
    numstab.diagnose("train.log")
    numstab.watch(model, optimizer)
    %load_ext numstab

The first call reads the entries and starts the lab, in whose child processes experiments run; `connect` asks a server
instead. Errors are `NumstabError`s with the message in both languages. Importing this module imports nothing heavy.
"""

from collections.abc import Mapping, Sequence
from os import PathLike
from typing import TYPE_CHECKING, Any

from qa_service import __version__
from qa_service.errors import NumstabError

if TYPE_CHECKING:
    from numstab.client import Client, Number
    from numstab.results import Answer, Comparison, Diagnosis, Formula, Listing, Run
    from qa_service.model import Lang

__all__ = [
    "NumstabError",
    "__version__",
    "ask",
    "compare",
    "connect",
    "diagnose",
    "entries",
    "experiments",
    "formula",
    "load_ipython_extension",
    "run",
    "watch",
]


def ask(
    question: str = "",
    *,
    lang: "Lang | None" = None,
    params: Mapping[str, Any] | None = None,
    seed: int = 0,
    seeds: int = 1,
    run: bool = True,
    compare: Mapping[str, Sequence[Any]] | Sequence[str] | None = None,
    entry: str | None = None,
    after: "Answer | None" = None,
) -> "Answer":
    """Answers a question, or asks an entry by its id.

    Args:
        question: in Chinese or English; the answer is in its language unless `lang` says otherwise.
        lang: "zh" or "en".
        params: parameters of the experiments; they override those that the question names.
        seed: of the random numbers.
        seeds: how many seeds every run is repeated with: in how many of them does a claim hold?
        run: False answers with text only.
        compare: parameter → values to run with, one after the other; a list of names compares all their choices.
        entry: the entry to answer with, instead of looking for one.
        after: the answer before, to which this is a follow-up.

    Raises:
        NumstabError: the request cannot be met; the message says what is allowed.
    """
    return _local().ask(
        question,
        lang=lang,
        params=params,
        seed=seed,
        seeds=seeds,
        run=run,
        compare=compare,
        entry=entry,
        after=after,
    )


def run(experiment: str, seed: int = 0, *, lang: "Lang | None" = None, **params: Any) -> "Run":
    """Runs one experiment; `experiments()` lists them with their parameters."""
    return _local().run(experiment, seed, lang=lang, **params)


def compare(experiment: str, seed: int = 0, *, lang: "Lang | None" = None, **params: Any) -> "Comparison":
    """Runs an experiment once for each value of the parameters that are given as lists.

    Numbers of two lists of the same length are paired; everything else is crossed.
    """
    return _local().compare(experiment, seed, lang=lang, **params)


def formula(
    expression: str,
    *,
    dtypes: Sequence[Any] = (),
    gradient: bool = False,
    stable: bool = True,
    lang: "Lang | None" = None,
    **variables: "Number | Sequence[Number]",
) -> "Formula":
    """Computes a formula in every float format beside exact numbers.

    Args:
        expression: as people write it: "log(1+exp(x))".
        dtypes: formats to show; the first is the one for which stable forms are compared.
        gradient: also the derivative, exact and by autograd.
        stable: also look for forms that lose fewer bits.
        lang: the language of the words, "zh" or "en".
        variables: the value of a variable, or a range: x=100, x=(-1e3, 1e3). One that is not given ranges over ±1000.
    """
    return _local().formula(expression, dtypes=dtypes, gradient=gradient, stable=stable, lang=lang, **variables)


def diagnose(path_or_text: "str | PathLike[str] | bytes", *, lang: "Lang | None" = None) -> "Diagnosis":
    """Diagnoses a training run from a log as text, or from the path of a log, a table or a trace."""
    return _local().diagnose(path_or_text, lang=lang)


def entries(*, lang: "Lang | None" = None) -> "Listing":
    """Every entry of the knowledge base, as a list of dictionaries that is shown as a table."""
    return _local().entries(lang=lang)


def experiments(*, lang: "Lang | None" = None) -> "Listing":
    """Every experiment with its parameters, as a list of dictionaries that is shown as a table."""
    return _local().experiments(lang=lang)


def connect(url: str, key: str | None = None, *, timeout: float = 120.0) -> "Client":
    """A server that answers instead of this machine: an object with the same methods.

    Args:
        url: its address, such as "http://127.0.0.1:8000".
        key: an API key, where it wants one.
        timeout: seconds of silence after which a request fails.
    """
    from numstab.client import Client
    from numstab.remote import HttpEngine

    return Client(HttpEngine(url, key, timeout))


def load_ipython_extension(ipython: Any) -> None:
    """`%load_ext numstab`: adds the magics %numstab and %%numstab, and completes the names of experiments."""
    from numstab.magics import add_magics

    add_magics(ipython)


def _local() -> "Client":
    from numstab.local import local_client

    return local_client()


def __getattr__(name: str) -> Any:
    """Imports the recorder, which needs torch, when `numstab.watch` is first used; returns its function `watch`."""
    if name != "watch":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from numstab.recorder import load_recorder

    return load_recorder().watch
