"""Turns an exception met while a version starts into one line, and a verdict on trying again."""

from __future__ import annotations

import errno
import traceback
from dataclasses import dataclass
from pathlib import Path

from rerank_workers.scorer import DeviceMemoryError
from rerank_workers.wire import (
    CAUSE_GPU_ERROR,
    EXIT_CRASHED,
    EXIT_NO_DEVICE_MEMORY,
    EXIT_WOULD_FAIL_AGAIN,
)

LONGEST_REASON = 300

_BAD_FILES = frozenset({None, errno.ENOENT, errno.ENOTDIR, errno.EISDIR, errno.EACCES})
"""OSError numbers that say the files are wrong; transformers raises OSError without a number."""

_DEVICE_WORDS = ("cuda", "cudnn", "cublas", "nccl", "device-side assert", "driver")
"""A RuntimeError that speaks of these may be the device's passing trouble, not the files'."""

_MEMORY_WORDS = (
    "cuda error: out of memory",
    "cublas_status_alloc_failed",
    "cudnn_status_alloc_failed",
)
"""What a full card says outside torch's allocator: a context, a workspace of cuBLAS or cuDNN."""


@dataclass(frozen=True, slots=True)
class Failure:
    """Why the worker gives up, in one line, and the code it exits with."""

    reason: str
    exit_code: int
    cause: str | None = None
    """What of the device is to blame, if that is; a name of the wire contract."""

    @property
    def would_fail_again(self) -> bool:
        """Whether a respawn with the same files cannot help."""
        return self.exit_code == EXIT_WOULD_FAIL_AGAIN


class DeviceBrokenError(Exception):
    """The device does not answer this process any more; nothing can be scored here."""


class VersionFileError(Exception):
    """The version's `rerank.py` does not keep the contract; the message is for its author."""


def failure_of(error: BaseException, file: str = "rerank.py") -> Failure:
    """Judge an exception that left `file` while it was imported, loaded or warmed up."""
    if is_device_broken(error):
        return Failure(reason_of(error, file), EXIT_CRASHED, CAUSE_GPU_ERROR)
    return Failure(reason_of(error, file), _exit_code(error))


def reason_of(error: BaseException, file: str) -> str:
    """Say in one line what went wrong: file, error class, message."""
    match error:
        case VersionFileError():
            return one_line(f"{file}: {error}")
        case SyntaxError(filename=str(name), lineno=int(line)):
            return one_line(f"{Path(name).name}:{line}: {type(error).__name__}: {error.msg}")
        case _:
            return one_line(f"{file}: {named(error)}")


def named(error: BaseException) -> str:
    """Return `Class: message`, as the last line of a traceback has it."""
    text = str(error)
    return f"{type(error).__name__}: {text}" if text else type(error).__name__


def one_line(text: str) -> str:
    """Join lines and cut what is too long for a status line."""
    line = " ".join(text.split())
    return line if len(line) <= LONGEST_REASON else line[: LONGEST_REASON - 1] + "…"


def site_of(error: BaseException) -> str:
    """Name an error's class and where it was raised; never its message, which may quote texts."""
    frames = traceback.extract_tb(error.__traceback__)
    if not frames:
        return type(error).__name__
    return f"{type(error).__name__} at {Path(frames[-1].filename).name}:{frames[-1].lineno}"


def is_device_memory(error: BaseException) -> bool:
    """Whether the device ran out of memory; torch's error is known by name, without torch."""
    if isinstance(error, DeviceMemoryError) or type(error).__name__ == "OutOfMemoryError":
        return True
    text = str(error).lower()
    return isinstance(error, RuntimeError) and any(word in text for word in _MEMORY_WORDS)


def is_device_broken(error: BaseException) -> bool:
    """Whether a CUDA error has ended this process's use of its card: every later call fails, too.

    torch raises them as RuntimeError, newer releases as its subclass AcceleratorError.
    """
    if isinstance(error, DeviceBrokenError):
        return True
    text = str(error).lower()
    is_cuda = "cuda error" in text or "device-side assert" in text
    return isinstance(error, RuntimeError) and is_cuda and not is_device_memory(error)


def _exit_code(error: BaseException) -> int:
    if is_device_memory(error):
        return EXIT_NO_DEVICE_MEMORY
    if isinstance(error, MemoryError | ConnectionError | TimeoutError):
        return EXIT_CRASHED
    if isinstance(error, OSError) and error.errno not in _BAD_FILES:
        return EXIT_CRASHED
    text = str(error).lower()
    if isinstance(error, RuntimeError) and any(word in text for word in _DEVICE_WORDS):
        return EXIT_CRASHED
    return EXIT_WOULD_FAIL_AGAIN
