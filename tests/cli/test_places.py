from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rerank_server.cli.options import StartOptions, replay
from rerank_server.cli.places import find_config
from rerank_server.errors import ConfigError
from rerank_server.supervisor.rundir import RunDir, StateDir


def made(path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("")
    return path


def test_the_config_is_the_first_of_flag_environment_and_the_place_here(tmp_path: Path) -> None:
    usual = made(tmp_path / "etc/config.yaml")
    flagged, named = made(tmp_path / "flag.yaml"), made(tmp_path / "env.yaml")
    environ = {"RERANK_SERVER_CONFIG": str(named)}

    assert find_config(flagged, environ, tmp_path) == flagged
    assert find_config(Path("flag.yaml"), environ, tmp_path) == flagged
    assert find_config(None, environ, tmp_path) == named
    assert find_config(None, {}, tmp_path) == usual


def test_a_config_named_but_absent_is_refused_by_who_named_it(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"no.yaml: no such file \(named by --config\)"):
        find_config(Path("no.yaml"), {}, tmp_path)
    with pytest.raises(ConfigError, match=r"no such file \(named by RERANK_SERVER_CONFIG\)"):
        find_config(None, {"RERANK_SERVER_CONFIG": "/no.yaml"}, tmp_path)


paths = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), min_size=1).map(
    lambda text: Path("/") / text
)


@given(
    st.builds(
        StartOptions,
        config=paths,
        run=paths.map(RunDir),
        state=paths.map(StateDir),
        models_dir=st.none() | paths,
        host=st.none() | st.text(min_size=1),
        port=st.none() | st.integers(0, 65_535),
    )
)
def test_a_servers_command_line_gives_back_what_it_was_started_with(
    options: StartOptions,
) -> None:
    assert replay(options.command()) == options


def test_a_command_line_made_by_others_gives_nothing() -> None:
    assert replay(["python", "-m", "rerank_server", "start", "--foreground"]) is None
