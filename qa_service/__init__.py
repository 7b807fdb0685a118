"""numstab: answers about numerical stability in deep learning, each with runnable evidence."""

__version__ = "0.1.0"
