from __future__ import annotations

import os
from pathlib import Path

import pytest

from rerank_workers.environment import cgroup_cores, prepare, raise_oom_score, usable_cores
from rerank_workers.process import gpu_bytes, resident_bytes


def lay(root: Path, files: dict[str, str]) -> Path:
    for name, text in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)
    return root


V2 = {"proc/self/cgroup": "0::/a/b\n"}
V1 = {"proc/self/cgroup": "4:cpu,cpuacct:/a\n3:memory:/a\n"}


@pytest.mark.parametrize(
    ("files", "cores"),
    [
        ({}, None),
        (V2, None),
        (V2 | {"sys/fs/cgroup/a/b/cpu.max": "max 100000\n"}, None),
        (V2 | {"sys/fs/cgroup/a/b/cpu.max": "150000 100000\n"}, 1.5),
        (
            V2
            | {
                "sys/fs/cgroup/a/b/cpu.max": "400000 100000\n",
                "sys/fs/cgroup/a/cpu.max": "200000 100000\n",
                "sys/fs/cgroup/cpu.max": "max 100000\n",
            },
            2.0,
        ),
        (V2 | {"sys/fs/cgroup/cpu.max": "300000 100000\n"}, 3.0),
        (V2 | {"sys/fs/cgroup/cpu.max": "nonsense\n"}, None),
        (
            V1
            | {
                "sys/fs/cgroup/cpu,cpuacct/a/cpu.cfs_quota_us": "250000\n",
                "sys/fs/cgroup/cpu,cpuacct/a/cpu.cfs_period_us": "100000\n",
            },
            2.5,
        ),
        (
            V1
            | {
                "sys/fs/cgroup/cpu/a/cpu.cfs_quota_us": "-1\n",
                "sys/fs/cgroup/cpu/a/cpu.cfs_period_us": "100000\n",
            },
            None,
        ),
    ],
)
def test_the_tightest_quota_counts(
    tmp_path: Path, files: dict[str, str], cores: float | None
) -> None:
    assert cgroup_cores(lay(tmp_path, files)) == cores


def test_usable_cores_are_at_most_the_affinity() -> None:
    assert 1 <= usable_cores() <= len(os.sched_getaffinity(0))


@pytest.mark.parametrize(
    ("own", "threads", "expected"),
    [
        ({}, None, 4),
        ({}, 2, 2),
        ({"OMP_NUM_THREADS": "3"}, None, 3),
        ({"OMP_NUM_THREADS": "3"}, 1, 1),
    ]
    + [({"OMP_NUM_THREADS": bad}, None, 4) for bad in ("", "0", "2,1", "many")],
)
def test_threads_come_from_the_config_the_environment_or_the_cores(
    own: dict[str, str], threads: int | None, expected: int
) -> None:
    environment = dict(own)

    assert prepare(environment, threads, cores=4) == expected
    assert environment["OMP_NUM_THREADS"] == environment["MKL_NUM_THREADS"] == str(expected)


def test_hubs_are_off_and_tokenizers_stay_in_their_thread() -> None:
    environment = {"HF_HUB_OFFLINE": "0"}

    prepare(environment, None, cores=1)

    assert environment["HF_HUB_OFFLINE"] == environment["TRANSFORMERS_OFFLINE"] == "1"
    assert environment["TOKENIZERS_PARALLELISM"] == "false"


@pytest.mark.parametrize(("own", "expected"), [({}, "2000"), ({"GOMP_SPINCOUNT": "9"}, "9")])
def test_torchs_threads_sleep_soon_unless_the_version_says_otherwise(
    own: dict[str, str], expected: str
) -> None:
    environment = dict(own)

    prepare(environment, None, cores=2)

    assert environment["GOMP_SPINCOUNT"] == expected


@pytest.mark.parametrize(("before", "after"), [("0\n", "300"), ("900\n", "1000"), ("x", "x")])
def test_the_worker_offers_itself_to_the_kernel_first(
    tmp_path: Path, before: str, after: str
) -> None:
    path = tmp_path / "oom_score_adj"
    path.write_text(before)

    raise_oom_score(path)

    assert path.read_text() == after


def test_a_missing_oom_file_is_no_obstacle(tmp_path: Path) -> None:
    raise_oom_score(tmp_path / "missing")

    assert list(tmp_path.iterdir()) == []


def test_resident_memory_is_that_of_this_process() -> None:
    assert 1 << 20 < resident_bytes() < 1 << 36


def test_a_process_on_the_cpu_holds_no_gpu_memory() -> None:
    assert gpu_bytes("cpu") == 0


def test_a_scorer_may_say_itself_what_it_holds() -> None:
    class OnCard:
        gpu_memory_bytes = 7

    assert gpu_bytes("cuda:0", OnCard()) == 7
    assert gpu_bytes("cuda:0", object()) == 0
