"""Derives all golden values anew: builds the references' environments and runs them there.

`make parity`. Downloads a few hundred megabytes the first time; `.parity-venv` may be deleted.
"""

from __future__ import annotations

import subprocess
import sys
import venv
from pathlib import Path

ROOT = Path(__file__).parents[2]
ENVIRONMENTS = ROOT / ".parity-venv"

# The newest FlagEmbedding runs its encoders and its plain LLM reranker with transformers 5, but
# - its encoder path there goes from ids back to text and loses empty texts and unknown characters,
# - its layer-wise and lightweight models do not run there at all,
# so its numbers come from the transformers it was written for. Seen with 5.23.
PACKAGES = {
    "before": [
        ["torch==2.13.0", "FlagEmbedding==1.4.2", "transformers==4.46.3", "peft==0.13.2"],
        # It asks for a newer transformers than the one its tokenizer calls exist in and works.
        ["--no-deps", "mxbai-rerank==0.1.6", "batched==0.1.4", "aiocache==0.12.3"],
    ],
    "now": [
        [
            "torch==2.13.0",
            "FlagEmbedding==1.4.2",
            "transformers==5.23.0",
            "sentence-transformers==6.2.0",
        ],
    ],
}


def main(models: Path) -> None:
    """Build what is missing and run every reference."""
    for name, installs in PACKAGES.items():
        python = _environment(name, installs)
        command = [str(python), "-m", "tests.parity.record", name, str(models)]
        subprocess.run(command, cwd=ROOT, check=True)


def _environment(name: str, installs: list[list[str]]) -> Path:
    directory = ENVIRONMENTS / name
    python, stamp = directory / "bin" / "python", directory / "stamp"
    if stamp.is_file() and stamp.read_text(encoding="utf-8") == repr(installs):
        return python
    print(f"building {directory}")
    venv.create(directory, clear=True, with_pip=True)
    pip = [str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    for packages in installs:
        subprocess.run([*pip, *packages], check=True)
    stamp.write_text(repr(installs), encoding="utf-8")
    return python


if __name__ == "__main__":
    main(Path(sys.argv[1]).resolve() if len(sys.argv) > 1 else ROOT / "models")
