"""Keeps torch's compiler, `torch._dynamo`, and its algebra of sizes out of processes that compile nothing.

The first step of any optimiser imports the compiler, only to call two of its functions, which do nothing outside of a
compiled program: 800 modules, 68 MiB, more than a second. The first gradient of a tensor that is not a scalar imports
the algebra, with all of sympy, only to compare two shapes: 486 modules, a quarter of a second in each child. A stub has
these functions, and is replaced by the module as soon as any other attribute is used.
"""

import importlib
import sys
from collections.abc import Callable
from types import ModuleType
from typing import Any

_COMPILER = "torch._dynamo"
_SIZES = "torch.fx.experimental.symbolic_shapes"


class _Stub(ModuleType):
    """A stand-in for a module, which is imported when an attribute is used that the stand-in lacks."""

    def __getattr__(self, name: str) -> Any:
        """An attribute of the module; imports the module."""
        if name.startswith("__"):  # the import system looks these up in any module
            raise AttributeError(name)
        return getattr(_imported(self.__name__), name)


class _CompilerStub(_Stub):
    """A stand-in for the module `torch._dynamo`, in a process that has not compiled anything."""

    @staticmethod
    def graph_break(msg: str = "") -> None:
        """Does nothing: it would divide a program that is being compiled, and there is none."""

    @staticmethod
    def disable(fn: Callable[..., Any] | None = None, *_: Any, **__: Any) -> Callable[..., Any]:
        """The function itself, which is not compiled anyway."""
        return fn or (lambda function: function)


class _SizesStub(_Stub):
    """A stand-in for the module `symbolic_shapes`, in a process whose sizes are all numbers."""

    @staticmethod
    def sym_eq(x: Any, y: Any) -> bool:
        """Whether two sizes, or two shapes, are equal."""
        return bool(x == y)

    @staticmethod
    def expect_true(a: bool, *_: Any, **__: Any) -> bool:
        """Returns `a`: it would be recorded as a condition only in a program that is being compiled."""
        return a


def stub_compiler() -> None:
    """Put the stubs in place of the compiler and its algebra, unless these are imported already."""
    sys.modules.setdefault(_COMPILER, _CompilerStub(_COMPILER))
    sys.modules.setdefault(_SIZES, _SizesStub(_SIZES))


def import_compiler() -> ModuleType:
    """Import the compiler, in place of its stub, and the algebra that it needs."""
    _imported(_SIZES)
    return _imported(_COMPILER)


def needs_compiler(source: str) -> bool:
    """Whether Python code names the compiler. What reaches it by another name imports it when it runs."""
    return any(name in source for name in ("torch.compile", "torch.export", "_dynamo"))


def _imported(name: str) -> ModuleType:
    """The module itself, in place of its stub."""
    if isinstance(sys.modules.get(name), _Stub):
        del sys.modules[name]
    return importlib.import_module(name)
