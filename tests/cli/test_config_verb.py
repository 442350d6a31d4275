from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from rerank_server.cli.effective import Effective, Said, Setting, as_yaml
from rerank_server.config import Config, parse
from rerank_server.yaml_text import Document, Key, read
from tests.cli.conftest import Fake, finished, program
from tests.core.state_json import state, version

ROOT = Path(__file__).parents[2]
TEXT = """\
default_version: v2-m3
versions:
  v2-m3: &shared
    batch_size: 4
    env: {TOKEN: "very secret"}
  v1:
    preprocess: {clean: true}
  v1-other: *shared
global_config:
  max_length: 128
server: {port: 9000}
"""


def effective(text: str, over: dict[Key, Said] | None = None) -> dict[Key, Setting]:
    document = read(text)
    assert isinstance(document, Document)
    made = Effective(parse(text, path="c"), document, Path("/etc/rr/c.yaml"), over or {})
    return {setting.key: setting for setting in made.settings()}


@pytest.mark.parametrize(
    ("key", "value", "origin"),
    [
        (("default_version",), "v2-m3", "c.yaml:1"),
        (("models_dir",), "/etc/rr", "default"),
        (("last_resort",), "v1", "default"),
        (("versions", "v2-m3", "batch_size"), 4, "c.yaml:4"),
        (("versions", "v2-m3", "max_length"), 128, "c.yaml:10"),
        (("versions", "v2-m3", "use_fp16"), True, "default"),
        (("versions", "v2-m3", "endpoint"), "/rerank/v2-m3", "default"),
        (("versions", "v2-m3", "env"), {"TOKEN": "(hidden)"}, "c.yaml:5"),
        (("versions", "v1", "preprocess", "clean"), True, "c.yaml:7"),
        (("versions", "v1", "batch_size"), 16, "default"),
        (("versions", "v1-other", "batch_size"), 4, "c.yaml:8"),
        (("server", "port"), 9000, "c.yaml:11"),
        (("server", "host"), "127.0.0.1", "default"),
    ],
)
def test_each_value_that_holds_is_told_with_its_origin(
    key: Key, value: object, origin: str
) -> None:
    assert effective(TEXT)[key] == Setting(key, value, origin)


def test_a_command_line_goes_over_the_file() -> None:
    key = ("server", "port")

    assert effective(TEXT, {key: Said(0, "command line of PID 7")})[key] == Setting(
        key, 0, "command line of PID 7"
    )


@pytest.mark.parametrize("name", ["config.yaml", "demo.yaml"])
def test_what_is_shown_is_a_configuration_that_means_the_same(name: str) -> None:
    text = (ROOT / "etc" / name).read_text()
    config = parse(text, path=name)

    shown = "\n".join(as_yaml(iter(effective(text).values())))
    again = parse(shown, path="shown")

    assert meaning(again) == meaning(config.model_copy(update={"models_dir": "/etc/models"}))


def meaning(config: Config) -> list[object]:
    names = list(config.versions)
    return [
        names,
        [config.endpoint_of(name) for name in names],
        [config.source_of(name) for name in names],
        [config.inference_of(name) for name in names],
        [config.versions[name].description for name in names],
        [config.versions[name].enabled for name in names],
        config.models_dir,
        config.server,
        config.effective_last_resort(),
    ]


@pytest.mark.parametrize("text", ["true", "12", "a: b", "x #y", "- z", "", "~", "日本語", "it's"])
def test_a_text_is_quoted_where_it_would_mean_something_else(text: str) -> None:
    (line,) = as_yaml(iter([Setting(("key",), text, "default")]))

    document = read(line)
    assert isinstance(document, Document)
    assert document.value == {"key": text}


def test_config_shows_the_file_and_keeps_secrets(short_dir: Path) -> None:
    path = short_dir / "config.yaml"
    path.write_text(TEXT)
    run = ("--run-dir", str(short_dir / "run"))

    done = finished(program("config", "--config", str(path), "--port", "8123", *run))

    assert (done.code, done.err, done.out[0]) == (0, [], f"# {path}")
    lines = [" ".join(line.split()) for line in done.out]
    assert "port: 8123 # this command line" in lines
    assert "max_length: 128 # config.yaml:10" in lines
    assert not any("very secret" in line for line in lines)


def test_config_of_a_running_server_takes_its_file_and_command_line(fake: Fake) -> None:
    started = replace(fake, options=replace(fake.options, port=8123))
    picture = state(version("v2-m3", "RUNNING"))
    server = picture["server"]
    assert isinstance(server, dict)
    server["config"] = str(fake.options.config)
    started.tell(state=picture)
    started.start(wait="0")

    done = started.command("config", "--json")

    shown = {one["key"]: one for one in json.loads("\n".join(done.out))}
    by = f"command line of PID {fake.pid()}"
    assert shown["server.port"] == {"key": "server.port", "value": 8123, "origin": by}
    assert shown["versions.v2-gemma.enabled"]["origin"] == "config.yaml:5"


def test_an_invalid_configuration_is_3(short_dir: Path) -> None:
    path = short_dir / "config.yaml"
    path.write_text("versions: {}\n")

    done = finished(program("config", "--config", str(path), "--run-dir", str(short_dir / "run")))

    assert (done.code, done.out) == (3, [])
