"""Counts the hooks registered on a model, to check that watches and diagnoses remove theirs."""

from torch import nn

# The only private names of torch that tests read: it has no public way to ask which hooks are registered.
_OF_MODULES = ("_forward_hooks", "_forward_pre_hooks", "_backward_hooks", "_backward_pre_hooks")


def hook_count(model: nn.Module) -> int:
    """The number of hooks registered on a model's modules and parameters."""
    of_modules = sum(len(getattr(module, name)) for module in model.modules() for name in _OF_MODULES)
    return of_modules + sum(len(each._backward_hooks or ()) for each in model.parameters())
