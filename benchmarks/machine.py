"""What the figures were measured on."""

from __future__ import annotations

import datetime
import os
import platform
import re
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

_FLAGS = ("avx2", "avx512f", "avx512_bf16", "avx512_vnni", "amx_bf16", "amx_int8")
_PACKAGES = ("torch", "transformers", "onnxruntime", "openvino", "gunicorn", "uvicorn", "starlette")


def describe() -> str:
    """Return one paragraph: date, processor, the flags that matter, versions."""
    text = Path("/proc/cpuinfo").read_text()
    found = re.search(r"model name\s*: (.*)", text)
    flags = re.search(r"flags\s*: (.*)", text)
    present = set(flags.group(1).split()) if flags else set()
    packages = [f"{name} {_version(name)}" for name in _PACKAGES]
    return (
        f"{datetime.date.today():%Y-%m-%d}, {len(os.sched_getaffinity(0))} cores of "
        f"{found.group(1) if found else platform.machine()} "
        f"({', '.join(f for f in _FLAGS if f in present)}), Python {platform.python_version()}, "
        + ", ".join(packages)
    )


def _version(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return "absent"
