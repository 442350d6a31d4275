"""Cards that are files, and a version that pretends to load its model onto one."""

from __future__ import annotations

import subprocess
from pathlib import Path

SOURCE = Path(__file__).with_name("fake_nvml.c")

PRETENDER = '''
"""A version that takes memory of a card that is a file, as a model would of a real one."""
import os
import time
from dataclasses import dataclass
from pathlib import Path

from rerank_workers.scorer import DeviceMemoryError

FOLDER = Path(os.environ["TEST_CARDS"])
NEED_MB = int(os.environ.get("TEST_NEED_MB", "2000"))
LOAD_S = float(os.environ.get("TEST_LOAD_S", "0"))
CLAIM = FOLDER / "claims" / str(os.getpid())


@dataclass(frozen=True)
class Pair:
    doc: str
    tokens: int = 1
    truncated: bool = False


class Pretender:
    mixes_requests = True

    def __init__(self, device, model):
        self.info = {"device": device, "model": model}
        self.on_card = device.startswith("cuda")

    @property
    def gpu_memory_bytes(self):
        return NEED_MB * 1024 * 1024 if self.on_card else 0

    def encode(self, query, docs):
        return [Pair(doc) for doc in docs]

    def score(self, items):
        for item in items:
            if self.on_card and item.doc == "please run out of memory":
                raise DeviceMemoryError("CUDA out of memory")
            if self.on_card and item.doc == "please break the card":
                raise RuntimeError("CUDA error: an illegal memory access was encountered")
        return [0.9 if self.on_card else 0.4 for _ in items]

    def to_unit(self, raw):
        return raw


def load(context):
    time.sleep(LOAD_S)
    if context.device == "cuda:0":
        seen = os.environ["CUDA_VISIBLE_DEVICES"]
        if (FOLDER / "out of memory at load").exists():
            raise DeviceMemoryError("CUDA out of memory. Tried to allocate 1.5 GiB")
        partial = CLAIM.with_suffix(".partial")
        partial.write_text(f"{seen} {NEED_MB}\\n")
        partial.rename(CLAIM)
    else:
        assert os.environ["CUDA_VISIBLE_DEVICES"] == ""
    return Pretender(context.device, context.model)


def rerank(query, docs):
    return [0.5 for _ in docs]
'''


def compile_driver(into: Path) -> Path:
    """Compile the fake driver's library; return the directory it lies in."""
    library = into / "libnvidia-ml.so.1"
    flags = ("-shared", "-fPIC", "-O1", "-Wall", "-Wextra", "-Werror")
    subprocess.run(["gcc", *flags, "-o", str(library), str(SOURCE)], check=True)
    return into


class FakeCards:
    """The directory the fake driver serves from. Sizes in MB."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._cards: dict[int, tuple[int, int, str]] = {}
        (folder / "claims").mkdir(parents=True)
        self.write("return_s", "0.3")

    def set(
        self, index: int = 0, *, total: int = 8000, tenants: int = 0, state: str = "ok"
    ) -> None:
        """Make a card be so; `tenants` is what other programs take of it."""
        self._cards[index] = (total, tenants, state)
        lines = [f"{self.uuid(n)} Fake {t} {o} {s}" for n, (t, o, s) in sorted(self._cards.items())]
        self.write("cards", "\n".join(lines))

    def free(self, mb: int, index: int = 0) -> None:
        """Let other programs take all of the card but this and what the server's own have."""
        total, _, state = self._cards[index]
        self.set(index, total=total, tenants=max(0, total - self.claimed(index) - mb), state=state)

    def claimed(self, index: int = 0) -> int:
        """Return what living processes have of a card."""
        claims = [claim.read_text().split() for claim in self._claims()]
        return sum(int(mb) for uuid, mb in claims if uuid == self.uuid(index))

    def write(self, name: str, text: str) -> None:
        """Replace one of the files."""
        partial = self.folder / f".{name}"
        partial.write_text(text + "\n")
        partial.rename(self.folder / name)

    def uuid(self, index: int) -> str:
        """Return a card's UUID."""
        return f"GPU-fake-{index}"

    def _claims(self) -> list[Path]:
        claims = (self.folder / "claims").glob("[0-9]*")
        return [claim for claim in claims if Path("/proc", claim.name).exists()]
