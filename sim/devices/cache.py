"""The per-user cache of what is slow to make: emitted Verilog and built simulators."""

import fcntl
import hashlib
import os
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from accel.errors import DeviceError

__all__ = ["cache_directory", "cached_file", "digest_of"]


def cache_directory() -> Path:
    """Return the cache directory of this user, made when missing.

    It is `systolite` in XDG_CACHE_HOME or ~/.cache, and may be deleted at any time.

    Raises
    ------
    DeviceError
        When it cannot be made.
    """
    root = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    path = Path(root) / "systolite"
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise DeviceError(
            f"cannot make the cache directory {path}: {error.strerror}; set XDG_CACHE_HOME to a "
            "directory that can be written"
        ) from None
    return path


def digest_of(parts: Iterable[str | bytes]) -> str:
    """Return a short hexadecimal digest of strings and bytes, their borders included."""
    state = hashlib.sha256()
    for part in parts:
        data = part.encode() if isinstance(part, str) else part
        state.update(len(data).to_bytes(8, "little") + data)
    return state.hexdigest()[:24]


@contextmanager
def _lock(path: Path) -> Iterator[None]:
    with open(path, "w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def cached_file(name: str, make: Callable[[Path], None]) -> Path:
    """Return the cached file called `name`, made by `make` when it is not there.

    Parameters
    ----------
    name : str
        File name that holds a digest of everything the content depends on.
    make : callable
        Writes the file to the path it is given, a temporary one in the cache. Two processes never
        make the same file at once: the second waits and takes the first one's.
    """
    path = cache_directory() / name
    if path.exists():
        return path
    with _lock(path.with_name(f"{name}.lock")):
        if not path.exists():
            temporary = path.with_name(f".{name}.{os.getpid()}")
            try:
                make(temporary)
                os.replace(temporary, path)
            finally:
                temporary.unlink(missing_ok=True)
    return path
