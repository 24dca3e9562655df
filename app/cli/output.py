"""Where a command's data goes: to stdout, or to a file that appears whole or not at all."""

import errno
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from app.errors import BandshiftError, Mistake

_NO_ROOM = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})


@contextmanager
def open_output(path: Path | None) -> Iterator[IO[str]]:
    """A stream to write to: stdout for None.

    A file is written beside its place and moved there at the end, so that a reader never sees half of it and an error
    leaves what was there before. It is opened before anything else happens: raises Mistake at once if it cannot be, and
    BandshiftError when there is no room for what is written.
    """
    if path is None:
        with _stdout() as out:
            yield out
        return
    try:
        with _replaced(path) if is_kept_back(path) else _opened(path, "w", path) as out:
            yield out
    except OSError as error:
        if error.errno not in _NO_ROOM or error.filename is not None:  # of another file than this one
            raise
        raise BandshiftError(f"--output {path} cannot be written: {_why(error)}") from error


def is_kept_back(path: Path | None) -> bool:
    """Whether nobody sees what is written before its end: stdout, a pipe and a device show every part at once."""
    return path is not None and (path.is_file() or path.is_dir() or not path.exists())


@contextmanager
def _stdout() -> Iterator[IO[str]]:
    """Stdout, flushed; a reader who goes away, as `head` does, ends the writing and nothing else."""
    try:
        yield sys.stdout
        sys.stdout.flush()
    except BrokenPipeError:
        # What is still buffered would raise again when Python flushes on its way out.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


@contextmanager
def _replaced(path: Path) -> Iterator[IO[str]]:
    if path.is_dir():
        raise Mistake(f"--output {path} is a folder; name a file in it")
    place = path.resolve()
    beside = place.with_name(f".{place.name}.{os.getpid()}.part")
    try:
        with _opened(beside, "x", path) as out:
            yield out
            out.flush()
            os.fsync(out.fileno())
        beside.replace(place)
    finally:
        beside.unlink(missing_ok=True)


def _opened(path: Path, mode: str, asked: Path) -> IO[str]:
    try:
        return path.open(mode, encoding="utf-8", newline="")
    except OSError as error:
        raise Mistake(f"--output {asked} cannot be written: {_why(error)}") from error


def _why(error: OSError) -> str:
    return (error.strerror or str(error)).lower()
