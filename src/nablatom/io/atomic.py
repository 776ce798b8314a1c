"""Files that are written whole or not at all."""
# ruff: noqa: PTH101, PTH105, PTH108, PTH112, PTH116, PTH118, PTH120, PTH123
# pathlib takes as long as writing a small map

import errno
import os
import stat
from collections.abc import Iterable
from contextlib import suppress

__all__ = ["write"]


def write(path: str | os.PathLike[str], pieces: Iterable[bytes | memoryview]) -> None:
    """Put the pieces into the file at ``path``: all of them, or the old content stays.

    They go to a new file in the same folder, are flushed to the disk, and then that file takes
    the name, with the permissions of the file that it replaces. Links keep pointing to the
    file; what is no regular file (a pipe, a terminal) is written to directly.
    """
    target = os.path.realpath(path)
    mode = _mode(target)
    if mode is not None and not stat.S_ISREG(mode):
        with open(target, "wb") as file:
            file.writelines(pieces)
        return
    folder = os.path.dirname(target)
    if mode is None and not os.path.isdir(folder):
        raise FileNotFoundError(errno.ENOENT, "No such folder to write to", folder)
    temporary = os.path.join(folder, f".nablatom-{os.urandom(8).hex()}.tmp")
    try:
        with open(temporary, "xb") as file:
            file.writelines(pieces)
            file.flush()
            if mode is not None and mode != os.fstat(file.fileno()).st_mode:
                os.chmod(temporary, stat.S_IMODE(mode))
            os.fsync(file.fileno())
        os.replace(temporary, target)
    except BaseException:
        with suppress(OSError):
            os.unlink(temporary)
        raise


def _mode(path: str) -> int | None:
    """Kind and permissions of the file at a path; None if there is none."""
    try:
        return os.stat(path).st_mode
    except FileNotFoundError:
        return None
