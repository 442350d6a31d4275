import contextlib
import json
from pathlib import Path

import yaml
from hypothesis import example, given, settings
from hypothesis import strategies as st

from rerank_server.config import parse
from rerank_server.errors import ConfigError
from rerank_server.yaml_text import Document, read

SEED = Path(__file__).with_name("seed.config-gpu.yaml").read_text()
PIECES = [
    "\t", "\n", "\n    ", ": ", "- ", "? ", "#", "&a ", "*a", "!!x ", "|\n", ">-\n", "'", '"',
    "[", "]", "{", "}", ",", "\\", "%YAML 1.1\n", "---\n", "...\n", "<<: ", "\x00", "\ud800",
    "\u2028", "null", "true", "~", "-1", "1e400", ".nan", "0x10", "9" * 70, "v1", "versions:",
    "fallback: v1",
]  # fmt: skip

NAMES = st.sampled_from(
    ["default_version", "versions", "global_config", "server", "last_resort", "models_dir",
     "v1", "v2-m3", "bad name", "enabled", "endpoint", "source", "fallback", "env",
     "preprocess", "PYTHONPATH", "A", "host", "port", "max_length", "max_batch_tokens",
     "description", "traffic", "mirror", "rollout", "to", "share", "steps", "guards", "cascade",
     "version", "keep", "protect", "cors_origins", "replicas", "zz"]
)  # fmt: skip
SCALARS = (
    st.none()
    | st.booleans()
    | st.integers(-(10**20), 10**20)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.sampled_from(["v1", "v2-m3", "none", "/rerank/v1", "/a", "", "cpu", "~", "yes"])
    | st.text(st.characters(codec="utf-8", categories=("L", "N", "P", "S", "Zs")), max_size=20)
)
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(NAMES, inner, max_size=6),
    max_leaves=25,
)


@st.composite
def mangled(draw: st.DrawFn) -> str:
    text = SEED
    for _ in range(draw(st.integers(1, 5))):
        start = draw(st.integers(0, len(text)))
        length = draw(st.integers(0, 12))
        piece = draw(st.sampled_from(PIECES) | st.text(max_size=5))
        text = text[:start] + piece + text[start + length :]
    return text


@settings(max_examples=500, deadline=None)
@given(mangled() | st.text())
@example("\ufeff")
@example("%")
@example("a: &a")
def test_no_text_raises_anything_but_a_config_error(text: str) -> None:
    with contextlib.suppress(ConfigError):
        parse(text, path="config.yaml")

    assert read(text, loader=yaml.SafeLoader) is not None


@settings(max_examples=300, deadline=None)
@given(VALUES)
def test_values_written_as_json_are_read_as_they_are(value: object) -> None:
    document = read(json.dumps(value, ensure_ascii=False))

    assert isinstance(document, Document)
    assert document.value == value


@settings(max_examples=500, deadline=None)
@given(st.dictionaries(NAMES, VALUES, max_size=8))
def test_every_problem_is_one_line_with_a_place(value: dict[str, object]) -> None:
    text = json.dumps(value, ensure_ascii=False, indent=1)
    try:
        config = parse(text, path="config.yaml")
    except ConfigError as error:
        lines = error.message.split("\n")

        assert lines == error.problems
        assert all(line.startswith("config.yaml:") for line in lines)
        assert all(1 <= int(line.split(":")[1]) <= text.count("\n") + 1 for line in lines)
        assert all(len(line) < 600 for line in lines)
    else:
        assert config.default_version in config.versions
