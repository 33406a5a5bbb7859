"""Files that are written beside and renamed into place, and what would keep them from it."""

import os
import secrets
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path


def check_new_file(path: Path, suffixes: Sequence[str], *, overwrite: bool = False) -> None:
    """Raise what would keep a file from being written: its kind, its place, an older one.

    Raises
    ------
    ValueError
        If the suffix is not one of `suffixes`, or the file is there and may not be replaced.
    OSError
        If it cannot be written.
    """
    if path.suffix.lower() not in suffixes:
        kinds = ", ".join(suffixes)
        raise ValueError(f"cannot write {path}: its name should end in one of {kinds}")
    if path.is_dir():
        raise ValueError(f"cannot write {path}: it is a folder")
    if path.exists() and not overwrite:
        raise ValueError(f"{path} exists; choose another name, or replace it with --overwrite")
    check_writable(path.resolve(), path)


@contextmanager
def new_file(path: Path) -> Iterator[Path]:
    """Give a hidden file name beside `path` to write to; rename it to `path` at the end."""
    target = path.resolve()
    target.parent.mkdir(parents=True, exist_ok=True)
    hidden = hidden_sibling(target)
    try:
        yield hidden
        hidden.replace(target)
    except BaseException:
        hidden.unlink(missing_ok=True)
        raise


def free_name(path: Path) -> Path:
    """Return `path` if nothing is there, else the first of path-2, path-3, ... that is free."""
    number, free = 1, path
    while os.path.lexists(free):
        number += 1
        free = path.with_name(f"{path.name}-{number}")
    return free


def check_writable(target: Path, path: Path) -> None:
    """Try it where it will happen: permissions do not tell of full or read-only disks."""
    parent = target.parent
    while not parent.exists():
        parent = parent.parent
    if not parent.is_dir():
        raise ValueError(f"cannot write {path}: {parent} is a file, not a folder")
    probe = parent / f".{secrets.token_hex(4)}.partial"
    try:
        probe.mkdir()
        probe.rmdir()
    except OSError as error:
        raise OSError(f"cannot write {path}: {error.strerror or error}") from error


def hidden_sibling(target: Path, ending: str = "partial") -> Path:
    """Return a hidden name beside `target` that nobody else takes."""
    return target.with_name(f".{target.name}.{secrets.token_hex(4)}.{ending}")
