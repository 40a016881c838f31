"""Where everything is kept: SQLite in one file. `open_store` turns a location into a store."""

from __future__ import annotations

from pathlib import Path

from ratchet import plugins
from ratchet.errors import ConfigError, StoreError, StoreReadOnlyError
from ratchet.ports import Store

DEFAULT_LOCATION = ".ratchet/ratchet.db"


def open_store(location: str | Path | None = None, *, read_only: bool = False) -> Store:
    """The store at this location, made with its folders where it isn't there yet.

    Args:
        location: A path, "sqlite:///relative/path", "sqlite:////absolute/path", or the URL of a store that a
            plugin brings; None: `.ratchet/ratchet.db` in the working directory.

    Raises:
        ConfigError: The location is of no known kind.
        StoreError: The store can't be opened; its kinds say why.
    """
    scheme, separator, _ = str(location or "").partition("://")
    if not separator:
        return _open_sqlite(Path(location or DEFAULT_LOCATION), read_only)
    if scheme == "sqlite":
        return _open_sqlite(_path_of(str(location)), read_only)
    if scheme.partition("+")[0] in ("postgresql", "postgres"):
        # the URL may hold a password, so only its scheme is shown
        raise ConfigError(
            f"{scheme}:// stores are not available yet.\n"
            f"  What works: a path such as {DEFAULT_LOCATION}, or sqlite:///{DEFAULT_LOCATION}"
        )
    return plugins.store(scheme)(str(location), read_only=read_only)


def _path_of(url: str) -> Path:
    prefix = "sqlite:///"
    if not url.startswith(prefix) or len(url) == len(prefix):
        raise ConfigError(
            f"{url!r} names no file; expected sqlite:///relative/path or sqlite:////absolute/path"
        )
    return Path(url[len(prefix) :])


def _open_sqlite(path: Path, read_only: bool) -> Store:
    from ratchet.stores.sqlite import SQLiteStore

    if not read_only:
        _make_folder(path.parent)
    return SQLiteStore(path, read_only=read_only)


def _make_folder(folder: Path) -> None:
    if folder.is_dir():
        return
    try:
        folder.mkdir(parents=True, exist_ok=True)
        if folder.name == ".ratchet":
            # what is kept there is data, never a part of the user's repository
            (folder / ".gitignore").write_text("*\n", encoding="utf-8")
    except PermissionError as error:
        raise StoreReadOnlyError(
            f"the folder {folder} can't be made: {error.strerror}.\n"
            "  Choose another place with the `store` setting, or make the parent folder writable",
            path=folder,
        ) from error
    except OSError as error:
        raise StoreError(
            f"the folder {folder} can't be made: {error.strerror}.\n"
            "  Choose another place with the `store` setting",
            path=folder,
        ) from error
