"""`numstab keys`: manages the API keys of a server that is not public."""

from argparse import Namespace
from typing import Any

from qa_service.fronts.terminal import options
from qa_service.server.api_keys import SCOPES, ApiKeyStore
from qa_service.settings import Settings


def add_commands(parsers: Any) -> None:
    """Adds the command `keys` with the verbs `add`, `rotate`, `revoke` and `list`."""
    verbs = parsers.add_parser("keys", help="manage API keys: add, list, rotate, revoke").add_subparsers(
        metavar="VERB", required=True
    )
    for name, about, function in (
        ("add", "create a key; it is shown once and stored as a hash", _add),
        ("rotate", "replace a key by a new one with the same scopes", _rotate),
        ("revoke", "delete a key, with immediate effect", _revoke),
        ("list", "list names, scopes and dates of the keys", _list),
    ):
        verb = verbs.add_parser(name, help=about)
        if function is not _list:
            verb.add_argument("name", metavar="NAME")
        if function is _add:
            verb.add_argument("--scope", choices=SCOPES, default="ask", help="what the key allows (default: ask)")
        options.add_lang(verb)
        verb.set_defaults(run_with_settings=function)


def _add(arguments: Namespace, settings: Settings) -> int:
    options.print_line(ApiKeyStore.of(settings).add(arguments.name, (arguments.scope,)))
    return options.EXIT_OK


def _rotate(arguments: Namespace, settings: Settings) -> int:
    options.print_line(ApiKeyStore.of(settings).rotate(arguments.name))
    return options.EXIT_OK


def _revoke(arguments: Namespace, settings: Settings) -> int:
    ApiKeyStore.of(settings).revoke(arguments.name)
    return options.EXIT_OK


def _list(_arguments: Namespace, settings: Settings) -> int:
    for key in ApiKeyStore.of(settings).all().values():
        options.print_line(f"{key.name}\t{','.join(key.scopes)}\t{key.made}")
    return options.EXIT_OK
