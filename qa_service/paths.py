"""Paths of the bundled content (kb/, demos/, watch/) and of the platform's data, cache and configuration folders."""

from pathlib import Path

_PACKAGE = Path(__file__).resolve().parent


def bundled(name: str) -> Path:
    """The folder `kb/`, `demos/` or `watch/`: inside the package in a wheel, next to it in a checkout."""
    inside = _PACKAGE / "_shipped" / name
    return inside if inside.is_dir() else _PACKAGE.parent / name


def watch_folder() -> Path:
    """The folder that holds the package `numstab_watch`, to be put on the path of a process that has torch."""
    return bundled("watch")


def data_folder() -> Path:
    """The platform's folder for an application's data (XDG_DATA_HOME on Linux)."""
    import platformdirs

    return Path(platformdirs.user_data_dir("numstab"))


def cache_folder() -> Path:
    """The platform's folder for an application's cache (XDG_CACHE_HOME on Linux)."""
    import platformdirs

    return Path(platformdirs.user_cache_dir("numstab"))


def config_folder() -> Path:
    """The platform's folder for an application's configuration (XDG_CONFIG_HOME on Linux)."""
    import platformdirs

    return Path(platformdirs.user_config_dir("numstab"))
