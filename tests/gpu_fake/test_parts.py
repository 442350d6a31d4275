"""The small files around placement: what the driver lists, host memory, what was learnt."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from rerank_server.config import parse
from rerank_server.core.wanted import MB
from rerank_server.supervisor.gpu_cards import visible
from rerank_server.supervisor.host_memory import free_bytes
from rerank_server.supervisor.learnt import LearntFile
from rerank_server.supervisor.nvml import LIBRARY, has_driver
from rerank_server.supervisor.wishes import weights_bytes, wish_of
from tests.gpu_fake.cards import FakeCards

UUIDS = ["GPU-aaaa-1", "GPU-aabb-2", "GPU-cccc-3"]


@pytest.mark.parametrize(
    ("listed", "expected"),
    [
        (None, [0, 1, 2]),
        ("", []),
        ("2,0", [2, 0]),
        ("GPU-cccc-3", [2]),
        ("GPU-aab", [1]),
        ("GPU-aa", []),
        ("0,7,1", [0]),
        ("-1,0", []),
        ("1,1", [1]),
        (" 1 , 2 ", [1, 2]),
        ("MIG-1234", ["MIG-1234"]),
    ],
    ids=[
        "not set", "none", "by number", "by UUID", "by its beginning", "not unique",
        "ends at what is not there", "nothing", "twice", "blanks", "part of a card",
    ],
)  # fmt: skip
def test_the_cards_of_cuda_visible_devices_are_seen_in_its_order(
    listed: str | None, expected: list[int | str]
) -> None:
    assert visible(listed, UUIDS) == expected


def test_a_driver_is_found_without_loading_it(tmp_path: Path) -> None:
    cache = tmp_path / "ld.so.cache"
    cache.write_bytes(b"\0libm.so.6\0")
    assert not has_driver({}, cache)
    assert not has_driver({"LD_LIBRARY_PATH": f":{tmp_path}"}, cache)

    cache.write_bytes(b"\0libnvidia-ml.so.1\0/usr/lib/libnvidia-ml.so.1\0")
    assert has_driver({}, cache)
    cache.unlink()
    (tmp_path / LIBRARY).touch()
    assert has_driver({"LD_LIBRARY_PATH": str(tmp_path)}, cache)


WATCH = """
import asyncio
from rerank_server.supervisor.nvml import GpuWatch

async def first():
    found = asyncio.get_running_loop().create_future()
    watch = GpuWatch(asyncio.get_running_loop(), lambda s: found.done() or found.set_result(s))
    sights = [watch.start(), await found]
    watch.close()
    return sights

for sight in asyncio.run(first()):
    print(sight.trouble, sight.gpus, sight.host_free_bytes is not None)
"""


@pytest.mark.parametrize("mode", ["ok", "error"])
def test_host_memory_is_known_whatever_the_driver_says(
    driver: Path, short_dir: Path, mode: str
) -> None:
    cards = FakeCards(short_dir)
    cards.set()
    cards.write("mode", mode)
    environment = {"LD_LIBRARY_PATH": str(driver), "FAKE_NVML_DIR": str(cards.folder)}

    told = subprocess.run(
        [sys.executable, "-c", WATCH], env=environment, capture_output=True, text=True, check=True
    )

    start, first = told.stdout.splitlines()
    assert start == "None None True"
    assert first.startswith("Unknown Error None" if mode == "error" else "None (Gpu(")
    assert first.endswith("True")


def tree(root: Path, files: dict[str, str]) -> Path:
    for name, text in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)
    return root


MEMINFO = "MemTotal: 9 kB\nMemAvailable:     4096 kB\n"


@pytest.mark.parametrize(
    ("files", "expected"),
    [
        ({}, None),
        ({"proc/meminfo": MEMINFO}, 4096 * 1024),
        (
            {
                "proc/meminfo": MEMINFO,
                "proc/self/cgroup": "0::/app.slice/it\n",
                "sys/fs/cgroup/app.slice/it/memory.max": "max\n",
                "sys/fs/cgroup/app.slice/it/memory.current": "500\n",
                "sys/fs/cgroup/app.slice/memory.max": "3000\n",
                "sys/fs/cgroup/app.slice/memory.current": "2500\n",
                "sys/fs/cgroup/app.slice/memory.stat": "anon 2\ninactive_file 100\n",
            },
            600,
        ),
        (
            {
                "proc/meminfo": MEMINFO,
                "proc/self/cgroup": "4:memory:/box\n",
                "sys/fs/cgroup/memory/box/memory.limit_in_bytes": "900\n",
                "sys/fs/cgroup/memory/box/memory.usage_in_bytes": "1000\n",
            },
            0,
        ),
    ],
    ids=["nothing tells", "host", "a parent's limit", "version 1"],
)
def test_host_memory_is_what_the_tightest_limit_leaves(
    tmp_path: Path, files: dict[str, str], expected: int | None
) -> None:
    assert free_bytes(tree(tmp_path, files)) == expected


def test_learnt_memory_outlives_the_server(tmp_path: Path) -> None:
    file = LearntFile(tmp_path / "memory.json")
    assert file.read() == {}

    file.save({"a": 5}, 0.0)
    file.save({"a": 6}, 1.0)
    assert LearntFile(tmp_path / "memory.json").read() == {"a": 5}
    file.save({"a": 6}, 2.0, is_last=True)

    assert LearntFile(tmp_path / "memory.json").read() == {"a": 6}


@pytest.mark.parametrize("text", ["", "[]", '{"bytes": 3}', '{"bytes": {"a": "x"}}'])
def test_learnt_memory_of_no_use_is_forgotten(tmp_path: Path, text: str) -> None:
    (tmp_path / "memory.json").write_text(text)

    assert LearntFile(tmp_path / "memory.json").read() == {}


def test_weights_are_counted_in_one_format(tmp_path: Path) -> None:
    tree(tmp_path, {"model.safetensors": "12345", "pytorch_model.bin": "1", "config.json": "{}"})

    assert weights_bytes(tmp_path) == 5
    assert weights_bytes(tmp_path / "absent") == 0


@pytest.mark.parametrize(
    ("keys", "files", "device", "stand_in"),
    [
        ("", {"model/m.bin": "1"}, "auto", "model"),
        ("", {"model/m.bin": "1", "model_cpu/m.onnx": "12"}, "auto", "model_cpu"),
        ("cpu_model: model", {"model/m.bin": "1", "model_cpu/m.onnx": "12"}, "auto", "model"),
        ("", {"rerank.py": ""}, "cpu", "model"),
        ("gpu_memory_mb: 10", {"rerank.py": ""}, "auto", "model"),
        ("device: cuda", {"rerank.py": ""}, "cuda", "model"),
    ],
)
def test_what_a_version_wants_follows_from_its_config_and_files(
    tmp_path: Path, keys: str, files: dict[str, str], device: str, stand_in: str
) -> None:
    text = f"default_version: v1\nversions:\n  v1:\n    gpu_memory_threshold_mb: 3\n    {keys}\n"
    version = parse(text, path="config.yaml").versions["v1"]

    wish = wish_of(version, tree(tmp_path, files))

    assert (wish.device, wish.stand_in_model) == (device, stand_in)
    assert wish.threshold_bytes == 3 * MB
