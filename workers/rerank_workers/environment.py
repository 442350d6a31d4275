"""What the process is given before the version's imports: threads, offline hubs, OOM order."""

from __future__ import annotations

import os
from collections.abc import Iterator, MutableMapping
from pathlib import Path, PurePosixPath

_THREAD_KEYS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "RAYON_NUM_THREADS")

SPIN_COUNT = "2000"
"""How often a thread of torch's looks for its next work before it sleeps, well under 0.1 ms.

GNU's OpenMP, which torch's wheels carry, looks 300,000 times by default, on a core that somebody
else wants: next to a busy process, scoring took up to eight times as long as with this.
https://gcc.gnu.org/onlinedocs/libgomp/GOMP_005fSPINCOUNT.html
"""

OOM_SCORE = 300
"""Added to our oom_score_adj: the kernel takes a worker before the supervisor."""


def usable_cores() -> int:
    """Return how many cores this process may really use: affinity and cgroup quota."""
    affinity = len(os.sched_getaffinity(0))
    quota = cgroup_cores(Path("/"))
    return affinity if quota is None else max(1, min(affinity, int(quota)))


def cgroup_cores(root: Path) -> float | None:
    """Return the tightest CPU quota of our cgroup and its parents in cores; None: no quota."""
    quotas: list[float] = []
    for line in _text(root / "proc/self/cgroup").splitlines():
        _, controllers, path = line.split(":", 2)
        if controllers == "":
            quotas += _quotas_v2(root / "sys/fs/cgroup", path)
        elif "cpu" in controllers.split(","):
            quotas += _quotas_v1(root / "sys/fs/cgroup" / controllers, path)
            quotas += _quotas_v1(root / "sys/fs/cgroup/cpu", path)
    return min(quotas, default=None)


def prepare(environment: MutableMapping[str, str], threads: int | None, cores: int) -> int:
    """Set what libraries read when they are imported; return the threads the model may use.

    A number in the config wins over `OMP_NUM_THREADS` of the version's own `env`, and that wins
    over the usable cores.
    """
    own = environment.get("OMP_NUM_THREADS", "")
    if threads is None:
        threads = int(own) if own.isdecimal() and int(own) > 0 else cores
    for key in _THREAD_KEYS:
        environment[key] = str(threads)
    # A version runs on its files alone; whoever wants the hub pulls beforehand.
    environment["HF_HUB_OFFLINE"] = "1"
    environment["TRANSFORMERS_OFFLINE"] = "1"
    # The tokenizing thread is one; a pool beside it would take the device thread's cores.
    environment.setdefault("TOKENIZERS_PARALLELISM", "false")
    environment.setdefault("GOMP_SPINCOUNT", SPIN_COUNT)
    return threads


def raise_oom_score(path: Path = Path("/proc/self/oom_score_adj")) -> None:
    """Offer this process to the kernel first when memory ends; without the right, do nothing."""
    try:
        path.write_text(str(min(1000, int(path.read_text()) + OOM_SCORE)))
    except (OSError, ValueError):
        return


def _quotas_v2(mount: Path, path: str) -> Iterator[float]:
    for folder in _folders(mount, path):
        words = _text(folder / "cpu.max").split()
        if len(words) == 2 and words[0].isdecimal() and int(words[1]) > 0:
            yield int(words[0]) / int(words[1])


def _quotas_v1(mount: Path, path: str) -> Iterator[float]:
    for folder in _folders(mount, path):
        quota = _text(folder / "cpu.cfs_quota_us").strip()
        period = _text(folder / "cpu.cfs_period_us").strip()
        if quota.isdecimal() and period.isdecimal() and int(period) > 0:
            yield int(quota) / int(period)


def _folders(mount: Path, path: str) -> Iterator[Path]:
    """Walk a cgroup and its parents; in a container the path may not exist under the mount."""
    inside = PurePosixPath(path.lstrip("/"))
    yield mount / inside
    for parent in inside.parents:
        yield mount / parent


def _text(path: Path) -> str:
    try:
        return path.read_text()
    except OSError:
        return ""
