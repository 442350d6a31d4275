from __future__ import annotations

import gzip
import json
from pathlib import Path

import pytest

from rerank_server.cli.evaluate.questions import Question, load, question, read
from rerank_server.errors import UsageError

DOCS = ["a", "b", "c"]
RIGHT = b'{"query": "q", "docs": ["a", "b"], "relevant": [1]}'


def line(**values: object) -> bytes:
    return json.dumps({"query": "q", "docs": DOCS, **values}).encode()


@pytest.mark.parametrize(
    ("relevant", "grades"),
    [
        (None, None),
        ([], (0, 0, 0)),
        ([1], (0, 1, 0)),
        ([2, 0], (1, 0, 1)),
        ({"2": 3, "0": 1}, (1, 0, 3)),
        ({}, (0, 0, 0)),
        ([False, True, True], (0, 1, 1)),
        ([0, 0, 3], (0, 0, 3)),
        ([1, 1, 0], (1, 1, 0)),
    ],
)
def test_relevant_is_read_as_people_write_it(
    relevant: object, grades: tuple[int, ...] | None
) -> None:
    assert question(7, line(relevant=relevant)) == Question(7, "q", ("a", "b", "c"), grades)


def test_grades_are_one_for_each_document() -> None:
    assert question(1, line(grades=[0, 1, 2])).grades == (0, 1, 2)
    assert question(1, line(grades={"2": 5})).grades == (0, 0, 5)


def test_a_line_may_have_keys_of_its_own_and_no_labels() -> None:
    found = question(1, b'{"id": 12, "query": "q", "docs": [""], "source": {"a": 1}}')

    assert found == Question(1, "q", ("",))
    assert not found.has_relevant


def test_a_line_with_labels_may_have_others_beside_them() -> None:
    assert question(1, line(relevant=[1], scores=[0.5, 0.1, 0.2])).grades == (0, 1, 0)


def test_a_question_whose_grades_are_all_zero_has_nothing_relevant() -> None:
    assert not question(1, line(relevant=[0, 0, 0])).has_relevant
    assert question(1, line(relevant=[0, 0, 1])).has_relevant


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (b"{", "not JSON: Expecting property name enclosed in double quotes (column 2)"),
        (b"[1]", "a list; an object is needed: {"),
        (b'{"query": "\xff"}', "not UTF-8 (byte 12 of the line)"),
        (b"[" * 100_000, "not JSON that can be read: "),
        (b'{"query": ' + b"9" * 5000 + b"}", "not JSON that can be read: "),
        (b'{"query": "q", "query": "r", "docs": ["a"]}', "the key 'query' twice"),
        (b'{"docs": ["a"]}', "query is missing; a text is needed"),
        (line(query=""), "query is empty"),
        (line(query=7), "query is a number; a text is needed"),
        (line(query="\ud800"), "query has half of a surrogate pair, which is no character"),
        (line(docs=[]), "docs is an empty list; a list of one or more texts is needed"),
        (line(docs="a"), "docs is a text; a list of one or more texts is needed"),
        (line(docs=["a", {"text": "b"}]), "docs[1] is an object; a text is needed"),
        (line(docs=["a", True]), "docs[1] is true or false; a text is needed"),
        (line(relevent=[1]), "unknown key 'relevent'; did you mean 'relevant'?"),
        (b'{"Query": "q", "docs": ["a"]}', "unknown key 'Query'; did you mean 'query'?"),
        (line(relevant=1), "relevant is a number; a list is needed"),
        (line(grades="abc"), "grades is a text; a list is needed"),
        (line(grades=[1, 0, 0], relevant=[0]), "both relevant and grades; one is needed"),
        (line(grades=[1, 0]), "2 labels for 3 documents; one each is needed"),
        (line(grades=[0, 0, 1001]), "the grade 1001; 1000 is the highest"),
        (line(grades=[0, 0, 1.5]), "a label has 1.5; whole numbers from 0 are needed"),
        (line(relevant=[3]), "relevant names document 3, and the last of the 3 is 2"),
        (line(relevant=[-1]), "relevant has -1; whole numbers from 0 are needed"),
        (line(relevant=[0.5]), "relevant has 0.5; whole numbers from 0 are needed"),
        (line(relevant=["0"]), "relevant has a text; whole numbers from 0 are needed"),
        (line(relevant=[True, 1, 0]), "relevant has true or false; whole numbers from 0 are"),
        (line(relevant=[1, 1]), "relevant names document 1 twice"),
        (
            line(relevant=[0, 1, 2]),
            "relevant has 3 numbers for 3 documents: indices of all of them, or grades? write "
            '{"0": 1, ...} or [true, ...] for indices, "grades" for grades',
        ),
        (
            line(docs=["a"], relevant=[0]),
            "relevant has 1 number for 1 document: its index, or its grade? write "
            '{"0": 1} or [true] for the index, "grades" for the grade',
        ),
        (line(labels=[1, 0, 0]), "unknown key 'labels': labels are in relevant or grades"),
        (line(label=1), "unknown key 'label': labels are in relevant or grades"),
        (line(positives=[1]), "unknown key 'positives': labels are in relevant or grades"),
        (line(answers=["a"]), "unknown key 'answers': labels are in relevant or grades"),
        (line(Scores=[1, 0, 0]), "unknown key 'Scores': labels are in relevant or grades"),
        (line(relevant=[1, 2, 3]), "relevant has 3 numbers for 3 documents: indices of all of"),
        (line(relevant=[True]), "1 labels for 3 documents; one each is needed"),
        (line(relevant={"3": 1}), "relevant names document 3, and the last of the 3 is 2"),
        (line(relevant={"01": 1}), "relevant has the key '01', which is no document index"),
        (line(relevant={"1": 0.5}), "relevant['1'] has 0.5; whole numbers from 0 are needed"),
    ],
)
def test_what_is_wrong_with_a_line_is_said(wrong: bytes, message: str) -> None:
    questions, found = read([RIGHT, wrong])

    assert len(questions) == 1
    assert found[2].startswith(message)


def test_a_file_may_have_a_mark_empty_lines_and_carriage_returns(tmp_path: Path) -> None:
    file = tmp_path / "q.jsonl"
    file.write_bytes(b"\xef\xbb\xbf" + RIGHT + b"\r\n\r\n \n" + RIGHT)

    found = load(file)

    assert [question.line for question in found.questions] == [1, 4]
    assert found.name == str(file)


def test_a_packed_file_is_unpacked(tmp_path: Path) -> None:
    file = tmp_path / "q.jsonl.gz"
    file.write_bytes(gzip.compress(RIGHT))

    assert len(load(file).questions) == 1

    file.write_bytes(file.read_bytes()[:-9])
    with pytest.raises(UsageError, match="not a whole gzip file"):
        load(file)


def test_a_file_without_a_question_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "q.jsonl"
    file.write_bytes(b"\n")

    with pytest.raises(UsageError, match="no question in it; a line is"):
        load(file)


def test_all_wrong_lines_are_named_the_first_twenty_one_by_one(tmp_path: Path) -> None:
    file = tmp_path / "q.jsonl"
    file.write_bytes(b"\n".join([RIGHT, *([b"{}"] * 23)]))

    with pytest.raises(UsageError) as raised:
        load(file)

    head, first, *_, last = raised.value.message.splitlines()
    assert head == f"{file}: 23 of 24 lines are wrong; nothing was sent"
    assert first == "  line 2: query is missing; a text is needed"
    assert last == "  and 3 more"
    assert len(raised.value.message.splitlines()) == 22
