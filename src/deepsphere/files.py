"""Files that are written whole or not at all."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Give a temporary path to write to, which then replaces `path` in one step.

    Whoever reads `path` finds the old file or the new one, never a part of it; after an error
    the old one is still there.

    Parameters
    ----------
    path : Path
        Where the file goes; its directory is made if it does not exist.

    Yields
    ------
    Path
        A new name in the same directory with the same suffix.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.stem}-{uuid.uuid4().hex}{path.suffix}")
    try:
        yield temporary
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)
