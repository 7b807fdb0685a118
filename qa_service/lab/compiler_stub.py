"""Keeps torch's compiler, `torch._dynamo`, out of processes that compile nothing.

The first step of any optimiser imports it, only to call two of its functions, which do nothing outside of a compiled
program: 800 modules, 68 MiB, more than a second. A stub has these two, and is replaced by the compiler as soon as
any other attribute is used.
"""

import importlib
import sys
from collections.abc import Callable
from types import ModuleType
from typing import Any

_COMPILER = "torch._dynamo"


class _CompilerStub(ModuleType):
    """The module `torch._dynamo` of a process that has not compiled anything."""

    @staticmethod
    def graph_break(msg: str = "") -> None:
        """Does nothing: it would divide a program that is being compiled, and there is none."""

    @staticmethod
    def disable(fn: Callable[..., Any] | None = None, *_: Any, **__: Any) -> Callable[..., Any]:
        """The function itself, which is not compiled anyway."""
        return fn or (lambda function: function)

    def __getattr__(self, name: str) -> Any:
        """An attribute of the compiler, which is imported for it."""
        if name.startswith("__"):  # the import system looks these up in any module
            raise AttributeError(name)
        return getattr(import_compiler(), name)


def stub_compiler() -> None:
    """Put the stub in place of the compiler, unless that is imported already."""
    sys.modules.setdefault(_COMPILER, _CompilerStub(_COMPILER))


def import_compiler() -> ModuleType:
    """Import the compiler, in place of its stub."""
    if isinstance(sys.modules.get(_COMPILER), _CompilerStub):
        del sys.modules[_COMPILER]
    return importlib.import_module(_COMPILER)


def needs_compiler(source: str) -> bool:
    """Whether Python code names the compiler. What reaches it by another name imports it when it runs."""
    return any(name in source for name in ("torch.compile", "torch.export", "_dynamo"))
