from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from rerank_workers.failures import DeviceBrokenError, VersionFileError, failure_of
from rerank_workers.scorer import Context, DeviceMemoryError
from rerank_workers.scoring import Model, ModelError
from rerank_workers.version_file import import_version, load_model
from rerank_workers.wire import EXIT_CRASHED, EXIT_NO_DEVICE_MEMORY, EXIT_WOULD_FAIL_AGAIN

BARE = "def rerank(query, docs):\n    return [0.5 for _ in docs]\n"


@pytest.fixture(autouse=True)
def clean_imports() -> Iterator[None]:
    """Each version file is meant for a process of its own; undo what it leaves in this one."""
    path = list(sys.path)
    yield
    sys.path[:] = path
    for name in ("_rerank_version", "beside"):
        sys.modules.pop(name, None)


def load(directory: Path, source: str) -> Model:
    (directory / "rerank.py").write_text(source)
    return load_model(import_version(directory), Context("v1", directory))


@pytest.mark.parametrize(
    ("source", "reason"),
    [
        ("import foo_is_missing\n", "rerank.py: ModuleNotFoundError: No module named "),
        ("def rerank(query docs):\n  pass\n", "rerank.py:1: SyntaxError: "),
        ("x = 1\n", "rerank.py: it defines no function rerank(query, docs)"),
        ("rerank = 3\n", "rerank.py: it defines no function rerank(query, docs)"),
        ("raise OSError('no model files')\n", "rerank.py: OSError: no model files"),
        ("raise SystemExit(2)\n", "rerank.py: SystemExit: 2"),
        ("raise ValueError('two\\nlines')\n", "rerank.py: ValueError: two lines"),
        (BARE + "load = 4\n", "rerank.py: load is not a function"),
        (
            BARE + "def load(context):\n    return context\n",
            "rerank.py: load(context) returned Context without mixes_requests, info, encode",
        ),
    ],
)
def test_a_broken_file_is_told_in_one_line_and_not_tried_again(
    tmp_path: Path, source: str, reason: str
) -> None:
    with pytest.raises(BaseException) as caught:  # SystemExit is one of them
        load(tmp_path, source)

    failure = failure_of(caught.value)

    assert failure.reason.startswith(reason)
    assert "\n" not in failure.reason
    assert failure.exit_code == EXIT_WOULD_FAIL_AGAIN


def test_a_missing_file_is_told(tmp_path: Path) -> None:
    with pytest.raises(VersionFileError, match="no such file"):
        import_version(tmp_path)


@pytest.mark.parametrize(
    ("error", "exit_code"),
    [
        (FileNotFoundError(2, "No such file", "model.safetensors"), EXIT_WOULD_FAIL_AGAIN),
        (RuntimeError("size mismatch for encoder"), EXIT_WOULD_FAIL_AGAIN),
        (RuntimeError("CUDA error: device-side assert triggered"), EXIT_CRASHED),
        (OSError(28, "No space left on device"), EXIT_CRASHED),
        (ConnectionResetError(104, "reset"), EXIT_CRASHED),
        (MemoryError(), EXIT_CRASHED),
        (DeviceMemoryError("asked for 9 GB"), EXIT_NO_DEVICE_MEMORY),
        (
            type("OutOfMemoryError", (RuntimeError,), {})("CUDA out of memory"),
            EXIT_NO_DEVICE_MEMORY,
        ),
        (RuntimeError("CUDA error: out of memory\nCUDA kernel errors"), EXIT_NO_DEVICE_MEMORY),
        (RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when"), EXIT_NO_DEVICE_MEMORY),
        (RuntimeError("cuDNN error: CUDNN_STATUS_ALLOC_FAILED"), EXIT_NO_DEVICE_MEMORY),
    ],
)
def test_the_kind_of_error_decides_whether_a_respawn_can_help(
    error: Exception, exit_code: int
) -> None:
    assert failure_of(error).exit_code == exit_code


@pytest.mark.parametrize(
    ("error", "cause"),
    [
        (RuntimeError("CUDA error: an illegal memory access was encountered"), "gpu_error"),
        (type("AcceleratorError", (RuntimeError,), {})("CUDA error: unknown"), "gpu_error"),
        (DeviceBrokenError("CUDA error"), "gpu_error"),
        (RuntimeError("CUDA driver version is insufficient"), None),
        (type("OutOfMemoryError", (RuntimeError,), {})("CUDA error: out of memory"), None),
        (type("AcceleratorError", (RuntimeError,), {})("CUDA error: out of memory"), None),
        (ValueError("CUDA error"), None),
    ],
)
def test_a_cuda_error_is_blamed_on_the_card(error: Exception, cause: str | None) -> None:
    assert failure_of(error).cause == cause


def test_a_long_reason_is_cut() -> None:
    failure = failure_of(ValueError("x" * 1000))

    assert len(failure.reason) == 300
    assert failure.reason.endswith("…")


def test_a_bare_rerank_scores_a_request_in_one_call(tmp_path: Path) -> None:
    model = load(tmp_path, "def rerank(query, docs):\n    return [len(d) / 10 for d in docs]\n")

    raw = model.score(model.encode("q", ["a", "bbb"]))

    assert model.whole_requests
    assert not model.scorer.mixes_requests
    assert raw == model.unit(raw) == [0.1, 0.3]


def test_a_bare_rerank_outside_0_to_1_is_told_the_rule(tmp_path: Path) -> None:
    model = load(tmp_path, "def rerank(query, docs):\n    return [0.5, 1.25]\n")

    with pytest.raises(ModelError, match=r"rerank must return scores within 0\.\.1: .* document 1"):
        model.unit(model.score(model.encode("q", ["a", "b"])))


def test_a_file_beside_can_be_imported_but_shadows_nothing(tmp_path: Path) -> None:
    (tmp_path / "beside.py").write_text("value = 0.25\n")
    (tmp_path / "json.py").write_text("raise RuntimeError\n")
    source = "import beside, json\ndef rerank(query, docs):\n    return [beside.value]\n"

    model = load(tmp_path, source)

    assert model.score(model.encode("q", ["a"])) == [0.25]


def test_loading_leaves_no_bytecode_of_the_version_file(tmp_path: Path) -> None:
    load(tmp_path, BARE)

    assert [path.name for path in tmp_path.iterdir()] == ["rerank.py"]


def test_dataclasses_and_pickles_find_the_module(tmp_path: Path) -> None:
    source = (
        "from __future__ import annotations\nimport pickle\nfrom dataclasses import dataclass\n"
        "@dataclass\nclass Point:\n    x: int\n"
        "assert pickle.loads(pickle.dumps(Point(3))).x == 3\n" + BARE
    )

    assert load(tmp_path, source).whole_requests
