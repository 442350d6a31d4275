import pytest
import yaml

from rerank_server.yaml_faults import describe
from rerank_server.yaml_text import Document, Loader, Problem, dotted, read, shown

LOADERS = [yaml.SafeLoader, yaml.CSafeLoader]
both_loaders = pytest.mark.parametrize("loader", LOADERS, ids=["python", "libyaml"])


def value_of(text: str, loader: Loader = yaml.SafeLoader) -> object:
    document = read(text, loader=loader)
    assert isinstance(document, Document)
    assert not document.problems
    return document.value


def fault_of(text: str, loader: Loader = yaml.SafeLoader) -> str:
    problem = read(text, loader=loader)
    assert isinstance(problem, Problem)
    return problem.at("c.yaml")


@both_loaders
@pytest.mark.parametrize(
    ("word", "value"),
    [
        ("true", True),
        ("false", False),
        ("null", None),
        ("~", None),
        ("", None),
        ("7", 7),
        ("-7", -7),
        ("10_000", 10_000),
        ("0.5", 0.5),
        (".5", 0.5),
        ("1e3", 1000.0),
        ("yes", "yes"),
        ("no", "no"),
        ("on", "on"),
        ("True", "True"),
        ("010", "010"),
        ("0x1F", "0x1F"),
        ("1:30", "1:30"),
        (".inf", ".inf"),
        ("2024-01-31", "2024-01-31"),
        ("v1", "v1"),
        ("'7'", "7"),
        ('"true"', "true"),
        ("|\n  text", "text"),
        ("9" * 65, "9" * 65),
    ],
)
def test_a_word_means_what_it_looks_like(word: str, value: object, loader: Loader) -> None:
    read_value = value_of(f"a: {word}", loader)

    assert read_value == {"a": value}
    assert isinstance(read_value, dict)
    assert type(read_value["a"]) is type(value)


@both_loaders
def test_each_key_and_item_knows_its_line(loader: Loader) -> None:
    document = read("a:\n  b: 1\n  c:\n    - x\n    - y: 2\n", loader=loader)

    assert isinstance(document, Document)
    assert document.lines == {
        ("a",): 1,
        ("a", "b"): 2,
        ("a", "c"): 3,
        ("a", "c", 0): 4,
        ("a", "c", 1): 5,
        ("a", "c", 1, "y"): 5,
    }
    assert document.problem(("a", "zz", "q"), "x") == Problem(1, ("a", "zz", "q"), "x")
    assert document.problem(("zz",), "x").line == 1


def test_a_key_is_its_text_whatever_it_looks_like() -> None:
    assert value_of("1: a\ntrue: b\nnull: c\n1.0: d\n") == {
        "1": "a", "true": "b", "null": "c", "1.0": "d",
    }  # fmt: skip


def test_a_byte_order_mark_and_windows_line_ends_are_taken() -> None:
    document = read("\ufeffa: 1\r\nb: 2\r\n")

    assert isinstance(document, Document)
    assert document.value == {"a": 1, "b": 2}
    assert document.lines["b",] == 2


@both_loaders
def test_a_repeated_key_is_told_and_the_first_one_stands(loader: Loader) -> None:
    document = read("a: 1\nb: {c: 1, c: [{d: 2}]}\na: {x: {x: 1}}\n", loader=loader)

    assert isinstance(document, Document)
    assert document.value == {"a": 1, "b": {"c": 1}}
    assert [problem.at("c.yaml") for problem in document.problems] == [
        "c.yaml:2: b.c: given twice, first on line 2; keep one",
        "c.yaml:3: a: given twice, first on line 1; keep one",
    ]


@both_loaders
def test_aliases_stand_for_finished_values(loader: Loader) -> None:
    text = "a: &x {k: 1}\nb: *x\nc: [*x, &y 5, *y]\n"

    assert value_of(text, loader) == {"a": {"k": 1}, "b": {"k": 1}, "c": [{"k": 1}, 5, 5]}


@both_loaders
@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("versions:\n\tv1: {}\n", "2: a tab indents this line; use spaces only"),
        ("a: 1\n\tb: 2\n", "2: a tab indents this line; use spaces only"),
        ("a: @x\n", "1: a value cannot start with '@'; put it in quotes"),
        ("a: `x\n", "1: a value cannot start with '`'; put it in quotes"),
        (
            "a: b: c\n",
            "1: a ':' where no key can stand; check the indentation and the line above, "
            "and quote a text that holds ': '",
        ),
        ('x: 1\na: "x\nb: 1\n', "2: the quote opened here is never closed"),
        ("a: 'x\n", "1: the quote opened here is never closed"),
        ("a: 'x\n---\n", "1: the quote opened here is never closed"),
        ("a: [1,\n  2\nb: 3\n", "1: the '[' opened here is never closed; write ']'"),
        ("a: {x: 1\n", "1: the '{' opened here is never closed; write '}'"),
        (
            "a:\n  b: 1\n c: 2\n",
            "3: this line does not fit the lines above; check its indentation and quotes",
        ),
        (
            "a: 1\n- b\n",
            "2: this line does not fit the lines above; check its indentation and quotes",
        ),
        (
            'a: "C:\\q"\n',
            "1: an unknown escape after '\\' in double quotes; write '\\\\', or use single quotes",
        ),
        ("a: 1\nb\nc: 2\n", "2: a key without ':'; write 'key: value'"),
        ("a: !x!y b\n", "1: tags (!...) are not taken here; remove it"),
        ("a: !!python/none x\n", "1: tags (!...) are not taken here; remove it"),
        ("a: !!map {}\n", "1: tags (!...) are not taken here; remove it"),
        ("a: 1\n---\nb: 2\n", "2: a second document starts here; keep only one"),
        ("a: ]\n", "1: not valid YAML here; check quotes, colons and indentation"),
        ("? [a]\n: 1\n", "1: a key must be a plain word"),
        ("a: &x b\n*x : 1\n", "2: a key must be a plain word"),
        ('"a\\0b": 1\n', "1: a key must be a plain word"),
        (
            "a: {}\n<<: {}\n",
            "2: merge keys (<<) are not taken here; shared settings go in global_config",
        ),
        ("a: *x\n", "1: '*x' names no finished anchor above it"),
        ("a: &x [*x]\n", "1: '*x' names no finished anchor above it"),
        ("*x\n", "1: '*x' names no finished anchor above it"),
        ("x: 1\na: " + "[" * 40, "2: nested more than 32 levels deep"),
        ("a: 1\nb: \x1b\n", "2: holds the character U+001B; remove it"),
        ("a: \ud800\n", "1: holds the character U+D800; remove it"),
        ("#" * 1_000_001, "1: the file is longer than 1000000 characters"),
    ],
)
def test_text_that_cannot_be_read_is_told_by_line_in_plain_words(
    text: str, said: str, loader: Loader
) -> None:
    assert fault_of(text, loader) == f"c.yaml:{said}"


@both_loaders
def test_aliases_that_stand_for_billions_of_values_are_refused(loader: Loader) -> None:
    lines = ["a0: &a0 [1, 2, 3, 4, 5, 6, 7, 8, 9]"]
    for n in range(1, 10):
        lines.append(f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]")

    assert fault_of("\n".join(lines), loader) == (
        "c.yaml:5: more than 20000 values, aliases included"
    )


def test_an_escape_for_a_character_no_value_may_hold_is_told_at_its_key() -> None:
    document = read('a: "x\\0y"\nb: "\\e[31m"\n')

    assert isinstance(document, Document)
    assert document.value == {"a": "xy", "b": "[31m"}
    assert [problem.at("c.yaml") for problem in document.problems] == [
        "c.yaml:1: a: holds the character U+0000, which no value may; remove it",
        "c.yaml:2: b: holds the character U+001B, which no value may; remove it",
    ]


def test_an_escape_beyond_unicode_is_no_crash() -> None:
    assert fault_of('a: "\\U99999999"') == (
        "c.yaml:1: not valid YAML here; check quotes, colons and indentation"
    )


def test_a_parser_error_without_a_place_is_told_at_the_first_line() -> None:
    assert describe(yaml.MarkedYAMLError(problem="odd"), "") == (
        1,
        "not valid YAML here; check quotes, colons and indentation",
    )


def test_a_tab_within_a_line_is_not_called_indentation() -> None:
    assert fault_of("a: 1\nb\t: 1\n") == "c.yaml:2: a tab stands in this line; use spaces only"


def test_an_empty_text_is_an_empty_document() -> None:
    assert value_of("") is None
    assert value_of("# only a comment\n") is None


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, "nothing"),
        (True, "true"),
        (2.5, "2.5"),
        (10**50, "1" + "0" * 39 + "…"),
        ("a\nb", "'a\\nb'"),
        ("a" * 99, "'" + "a" * 60 + "…'"),
        ({}, "a mapping"),
        ([], "a list"),
    ],
)
def test_values_are_shown_on_one_short_line(value: object, text: str) -> None:
    assert shown(value) == text


def test_keys_are_shown_dotted_and_odd_ones_in_quotes() -> None:
    assert dotted(("versions", "v2.5-gemma2", "steps", 0, "a\nb")) == (
        "versions.v2.5-gemma2.steps[0].'a\\nb'"
    )
