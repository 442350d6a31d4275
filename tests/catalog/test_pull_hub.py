from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from rerank_server.catalog.progress import Silent
from rerank_server.catalog.pull import PullOptions, PullResult, pull
from rerank_server.catalog.pull_hub import Origin, pull_from_hub
from rerank_server.catalog.sources import Hub
from rerank_server.errors import CatalogError, UsageError
from tests.catalog.hub_server import COMMIT, FakeHub, served

if TYPE_CHECKING:
    from tests.catalog.conftest import Recorder

CONFIG = {"architectures": ["XLMRobertaForSequenceClassification"], "id2label": {"0": "L"}}
FILES = {
    "config.json": json.dumps(CONFIG).encode(),
    "model.safetensors": b"w" * 10_000,
    "pytorch_model.bin": b"pickle" * 5000,
    "tokenizer.json": b"{}",
    "tokenizer_config.json": b"{}",
    "rerank.py": b"raise SystemExit('a hub must not bring code that runs')",
    "requirements.txt": b"surprise",
    "README.md": b"# card",
}


@pytest.fixture
def hub() -> Iterator[FakeHub]:
    with served(FakeHub(files=dict(FILES))) as hub:
        yield hub


def options(hub: FakeHub, kind: Hub = Hub.HUGGING_FACE) -> PullOptions:
    return PullOptions(repo="org/model", hub=kind, endpoint=hub.url)


@contextmanager
def gone_after_a_break(hub: FakeHub) -> Iterator[None]:
    """The weights start once and break off at 4000 bytes; then the hub answers 503."""
    hub.break_off_after, hub.break_offs, hub.fails_after_break = 4000, 1, True
    yield
    hub.fails_after_break = False
    hub.statuses.clear()
    hub.requests.clear()


def bring(hub: FakeHub, models: Path, *, force: bool = False, kind: Hub = Hub.HUGGING_FACE) -> bool:
    origin = Origin("org/model", kind, endpoint=hub.url)
    return pull_from_hub("v9-x", origin, models, Silent(), force=force, pause=lambda _: None)


@pytest.mark.parametrize("kind", list(Hub))
def test_a_repository_becomes_a_version(
    hub: FakeHub, tmp_path: Path, recorder: Recorder, kind: Hub
) -> None:
    result = pull(["v9-x"], tmp_path / "models", recorder, options=options(hub, kind))

    assert result == PullResult(pulled=("v9-x",), kept=())
    version = tmp_path / "models" / "v9-x"
    found = {str(p.relative_to(version)) for p in version.rglob("*") if p.is_file()}
    assert found == {
        "README.md",
        "model/config.json",
        "model/model.safetensors",
        "origin.json",
        "rerank.py",
        "tokenizer/tokenizer.json",
        "tokenizer/tokenizer_config.json",
    }
    assert (version / "model" / "model.safetensors").read_bytes() == FILES["model.safetensors"]
    assert "cross_encoder.load(" in (version / "rerank.py").read_text()
    assert not any(path.is_symlink() for path in version.rglob("*"))
    assert [path.name for path in (tmp_path / "models").iterdir()] == ["v9-x"]
    done, total, label = recorder.updates[-1]
    assert (done, label) == (total, "v9-x")


def test_the_catalogue_knows_the_repositories_of_its_names(hub: FakeHub, tmp_path: Path) -> None:
    hub.repo = "BAAI/bge-reranker-v2-m3"

    pull(["v2-m3"], tmp_path, Silent(), options=PullOptions(revision="v1.0", endpoint=hub.url))

    origin = json.loads((tmp_path / "v2-m3" / "origin.json").read_text())
    assert origin["repo"] == "BAAI/bge-reranker-v2-m3"


def test_a_word_that_is_no_repository_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(CatalogError, match="it looks like org/name"):
        pull(["v9-x"], tmp_path, Silent(), options=PullOptions(repo="a/b/c"))


def test_an_answer_that_is_no_list_of_files_is_one_line(tmp_path: Path) -> None:
    strange = FakeHub(listing=b'{"Data": {}}')
    with served(strange), pytest.raises(CatalogError, match="not a list of files"):
        bring(strange, tmp_path, kind=Hub.MODELSCOPE)


def test_the_version_tells_where_it_came_from(hub: FakeHub, tmp_path: Path) -> None:
    bring(hub, tmp_path)

    origin = json.loads((tmp_path / "v9-x" / "origin.json").read_text())
    assert (origin["hub"], origin["repo"], origin["revision"]) == ("hf", "org/model", COMMIT)
    assert origin["files"]["model.safetensors"]["sha256"] == hub.sha256("model.safetensors")


def test_a_complete_version_needs_no_hub(hub: FakeHub, tmp_path: Path) -> None:
    bring(hub, tmp_path)
    nowhere = PullOptions(repo="org/model", endpoint="http://127.0.0.1:9")

    assert pull(["v9-x"], tmp_path, Silent(), options=nowhere).kept == ("v9-x",)
    assert not bring(hub, tmp_path)
    assert bring(hub, tmp_path, force=True)


def test_a_pull_that_broke_off_is_gone_on_with_by_the_next(hub: FakeHub, tmp_path: Path) -> None:
    with gone_after_a_break(hub), pytest.raises(CatalogError, match="broke off at 4000 of 10000"):
        bring(hub, tmp_path)
    assert not (tmp_path / "v9-x").exists()

    bring(hub, tmp_path)

    assert hub.requests == [("model.safetensors", "bytes=4000-")]
    assert (tmp_path / "v9-x" / "model" / "model.safetensors").read_bytes() == b"w" * 10_000
    assert [path.name for path in tmp_path.iterdir()] == ["v9-x"]


def test_the_start_of_another_revision_is_not_used(hub: FakeHub, tmp_path: Path) -> None:
    with gone_after_a_break(hub), pytest.raises(CatalogError, match="broke off"):
        bring(hub, tmp_path)
    hub.files["model.safetensors"] = b"n" * 10_000

    bring(hub, tmp_path)

    assert ("model.safetensors", None) in hub.requests
    assert (tmp_path / "v9-x" / "model" / "model.safetensors").read_bytes() == b"n" * 10_000


@pytest.mark.parametrize("kind", list(Hub))
def test_a_closed_repository_opens_with_the_users_token(
    hub: FakeHub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: Hub
) -> None:
    hub.token = "secret-word"
    with pytest.raises(CatalogError, match=r"refuses access|not found on the hub") as caught:
        bring(hub, tmp_path, kind=kind)
    assert "secret" not in caught.value.message
    assert list(tmp_path.iterdir()) == []

    monkeypatch.setenv("HF_TOKEN", "secret-word")
    monkeypatch.setenv("MODELSCOPE_API_TOKEN", "secret-word")
    assert bring(hub, tmp_path, kind=kind)


@pytest.mark.parametrize("kind", list(Hub))
def test_an_unknown_repository_is_one_line(hub: FakeHub, tmp_path: Path, kind: Hub) -> None:
    origin = PullOptions(repo="org/absent", hub=kind, endpoint=hub.url)

    with pytest.raises(CatalogError, match=r"org/absent: not found on the hub") as caught:
        pull(["v9-x"], tmp_path, Silent(), options=origin)

    assert "\n" not in caught.value.message
    assert list(tmp_path.iterdir()) == []


def test_an_unknown_revision_is_one_line(hub: FakeHub, tmp_path: Path) -> None:
    wanted = PullOptions(repo="org/model", revision="v7", endpoint=hub.url)

    with pytest.raises(CatalogError, match="org/model at v7: not found on the hub"):
        pull(["v9-x"], tmp_path, Silent(), options=wanted)


@pytest.mark.parametrize("kind", list(Hub))
def test_a_hub_that_cannot_be_reached_is_one_line(tmp_path: Path, kind: Hub) -> None:
    nowhere = PullOptions(repo="org/model", hub=kind, endpoint="http://127.0.0.1:9")

    with pytest.raises(CatalogError, match="cannot be reached") as caught:
        pull(["v9-x"], tmp_path, Silent(), options=nowhere)

    assert "\n" not in caught.value.message


@pytest.mark.process
def test_offline_mode_is_respected(hub: FakeHub, tmp_path: Path) -> None:
    code = f"""
from pathlib import Path
from rerank_server.catalog.progress import Silent
from rerank_server.catalog.pull import PullOptions, pull
from rerank_server.errors import CatalogError
try:
    pull(["v9-x"], Path({str(tmp_path)!r}), Silent(), options=PullOptions(repo="org/model"))
except CatalogError as error:
    print(error.message)
"""
    environment = {"HF_HUB_OFFLINE": "1", "HF_ENDPOINT": hub.url, "HOME": str(tmp_path)}

    ran = subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True
    )

    assert "offline" in ran.stdout.lower()
    assert hub.requests == []


@pytest.mark.process
def test_a_disk_that_fills_up_is_one_line(hub: FakeHub, tmp_path: Path) -> None:
    # A limit on file sizes fails writes as a full disk does, and can be set without a disk.
    code = f"""
import resource
from pathlib import Path
from rerank_server.catalog.progress import Silent
from rerank_server.catalog.pull import PullOptions, pull
from rerank_server.errors import CatalogError
resource.setrlimit(resource.RLIMIT_FSIZE, (5000, 5000))
try:
    options = PullOptions(repo="org/model", endpoint={hub.url!r})
    pull(["v9-x"], Path({str(tmp_path)!r}), Silent(), options=options)
except CatalogError as error:
    print(error.message)
"""

    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert ran.stdout == f"{tmp_path}: the disk is full\n"
    assert not (tmp_path / "v9-x").exists()


def test_a_models_directory_that_is_read_only_is_one_line(hub: FakeHub) -> None:
    # Nobody makes directories there, not even root.
    with pytest.raises(CatalogError, match=r"/sys/kernel/.*cannot be written") as caught:
        bring(hub, Path("/sys/kernel/models"))

    assert "\n" not in caught.value.message


def test_a_repository_larger_than_the_disk_is_refused_at_once(hub: FakeHub, tmp_path: Path) -> None:
    hub.told_sizes = {"model.safetensors": 10**18}

    with pytest.raises(CatalogError, match="GB are needed and"):
        bring(hub, tmp_path)

    assert hub.requests == []


def test_a_repository_without_a_tokenizer_is_refused_at_once(hub: FakeHub, tmp_path: Path) -> None:
    del hub.files["tokenizer.json"]

    with pytest.raises(CatalogError, match="no tokenizer in it"):
        bring(hub, tmp_path)

    assert hub.requests == []
    assert list(tmp_path.iterdir()) == []


def test_a_classifier_with_three_labels_is_refused_before_its_weights(
    hub: FakeHub, tmp_path: Path
) -> None:
    labels = {**CONFIG, "id2label": {"0": "a", "1": "b", "2": "c"}}
    hub.files["config.json"] = json.dumps(labels).encode()

    with pytest.raises(CatalogError, match="has 3 labels"):
        bring(hub, tmp_path)

    assert "model.safetensors" not in {path for path, _ in hub.requests}


@pytest.mark.parametrize(
    ("names", "wanted"),
    [
        (["v1", "v2-m3"], PullOptions(repo="org/model")),
        (["v1-colbert"], PullOptions(hub=Hub.MODELSCOPE)),
        (["v1-colbert"], PullOptions(revision="main")),
    ],
)
def test_options_that_do_not_fit_the_names_are_refused(
    tmp_path: Path, names: list[str], wanted: PullOptions
) -> None:
    with pytest.raises(UsageError):
        pull(names, tmp_path, Silent(), options=wanted)


def test_an_own_repository_still_needs_a_version_name(tmp_path: Path) -> None:
    with pytest.raises(CatalogError, match="not a version name"):
        pull(["Model"], tmp_path, Silent(), options=PullOptions(repo="org/model"))
