from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from rerank_server.config import Config
from rerank_server.config_wording import explain, sections


class Step(BaseModel):
    model_config = ConfigDict(extra="forbid")

    share: float


class Plan(BaseModel):
    model_config = ConfigDict(extra="forbid")

    steps: list[Step] = []
    arms: dict[str, Step] | None = None
    code: Annotated[str, Field(pattern="^x+$")] = "x"
    names: Annotated[list[str], Field(max_length=1)] = []


def explained(value: object) -> list[tuple[tuple[str | int, ...], str]]:
    try:
        Plan.model_validate(value)
    except ValidationError as error:
        return [explain(one, sections(Plan)) for one in error.errors(include_url=False)]
    return []


def test_sections_are_found_under_mappings_lists_and_options() -> None:
    assert list(sections(Plan)) == [(), ("steps", "[]"), ("arms", "*")]
    assert list(sections(Config)) == [
        (),
        ("versions", "*"),
        ("versions", "*", "preprocess"),
        ("versions", "*", "cascade", "[]"),
        ("global_config",),
        ("mirror",),
        ("rollout",),
        ("rollout", "guards"),
        ("server",),
    ]


def test_mistakes_inside_lists_are_told_with_their_index() -> None:
    assert explained({"steps": [{"share": 1}, {"shar": 1}]}) == [
        (("steps", 1, "share"), "is missing"),
        (("steps", 1, "shar"), "unknown key; did you mean 'share'?"),
    ]


def test_a_key_of_another_section_is_told_where_it_belongs() -> None:
    assert explained({"share": 1}) == [(("share",), "unknown key; it belongs under steps")]


def test_kinds_of_mistake_without_own_words_keep_the_validator_s() -> None:
    assert explained({"code": "y", "names": ["a", "b"]}) == [
        (("code",), "String should match pattern '^x+$', not 'y'"),
        (("names",), "List should have at most 1 item after validation, not 2, not a list"),
    ]
