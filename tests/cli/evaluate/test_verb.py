from __future__ import annotations

import json
import os
import signal
import subprocess
from pathlib import Path

import pexpect
import pytest

from tests.cli.conftest import Done, finished, program
from tests.cli.evaluate.conftest import QUESTIONS, Place


def test_a_labelled_file_is_judged(place: Place) -> None:
    done = place.compare("--k", "2")

    assert (done.code, done.err) == (0, [])
    assert done.out[0] == f"{place.file}: 3 questions, 3 documents each, graded labels"
    assert done.out[3].split()[:2] == ["MRR", "1.000"]
    assert "note: v1 was left out: FAILED (no model files; run: rerank-server pull v1)" in done.out
    # Once each to warm up, then in turns.
    assert place.behaviour.asked == [
        *(("v2-m3", "first"), ("v2-gemma", "first")),
        *(("v2-m3", "first"), ("v2-gemma", "first")),
        *(("v2-gemma", "second"), ("v2-m3", "second")),
        *(("v2-m3", "third"), ("v2-gemma", "third")),
    ]


def test_json_goes_to_stdout_and_the_page_to_its_file(place: Place, tmp_path: Path) -> None:
    page = tmp_path / "report.html"

    done = place.compare("--json", "--html", str(page), "--versions", "v2-gemma,v2-m3")

    value = json.loads("\n".join(done.out))
    assert [one["version"] for one in value["versions"]] == ["v2-gemma", "v2-m3"]
    assert value["versions"][1]["quality"]["nDCG@10"]["mean"] == pytest.approx(1)
    assert value["versions"][0]["memory_bytes"] == 612_345_678
    assert (done.code, done.err) == (0, [f"report: {page}"])
    assert page.read_text().startswith("<!doctype html>")
    assert page.stat().st_mode & 0o777 == 0o644


def test_questions_from_standard_input_without_labels_give_agreement_only(place: Place) -> None:
    lines = place.file.read_text().replace('"relevant"', '"of_no_meaning"')

    done = subprocess.run(
        program(*place.arguments("--file", "-")),
        input=lines,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )

    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("standard input: 3 questions, 3 documents each, no labels\n")
    assert "note: no question has labels: agreement can be told" in done.stdout
    assert "MRR" not in done.stdout


def test_a_wrong_line_is_named_and_nothing_is_sent(place: Place) -> None:
    with place.file.open("a") as file:
        file.write('{"query": "q", "docs": ["a", "b"], "relevant": [4]}\n')

    done = place.compare()

    assert (done.code, done.out, place.behaviour.asked) == (2, [], [])
    assert done.err == [
        f"error: {place.file}: 1 of 4 lines are wrong; nothing was sent",
        "  line 4: relevant names document 4, and the last of the 2 is 1",
    ]


def test_a_question_that_fails_is_counted_and_named_and_the_rest_is_measured(
    place: Place,
) -> None:
    place.write(*QUESTIONS, {"query": "fail", "docs": ["0.1", "0.2"], "relevant": [1]})

    done = place.compare()

    assert (done.code, done.err) == (1, [])
    assert done.out[-2:] == [
        "requests that failed: 1",
        "line 4, v2-gemma: the model failed (HTTP 500)",
    ]
    assert (
        "note: every version answered 3 of 4 questions; quality and agreement rest on these"
        in done.out
    )


def test_a_version_that_is_busy_is_asked_again_when_it_says(place: Place) -> None:
    place.behaviour.later = {"second": 0, "third": 0}

    done = place.compare()

    told = "v2-gemma: the queue is full (HTTP 429); asking again in 0 s"
    assert (done.code, done.err) == (0, [told, told])
    assert "note: v2-gemma could not always answer at once: 2 waits, 0 s in all" in done.out
    assert not any("failed" in line for line in done.out)


def test_an_interruption_ends_the_wait_for_a_version_that_is_busy(place: Place) -> None:
    place.behaviour.later = {"third": 30}
    process = subprocess.Popen(
        program(*place.arguments()), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    assert process.stderr is not None

    assert process.stderr.readline().endswith("asking again in 30 s\n")
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=15)

    assert (process.returncode, err) == (130, "")
    assert "note: stopped after 3 of 3 questions: interrupted" in out
    assert "v2-gemma could not always answer at once: 1 wait, 30 s in all" in out


def test_an_interruption_reports_what_was_measured(place: Place, tmp_path: Path) -> None:
    page = tmp_path / "report.html"
    place.write(*QUESTIONS, {"query": "wait", "docs": ["0.1", "0.2"], "relevant": [1]})
    process = subprocess.Popen(
        program(*place.arguments("--html", str(page))),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )

    assert place.behaviour.waits.wait(30)
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=30)

    assert (process.returncode, err) == (130, f"report: {page}\n")
    assert "note: stopped after 4 of 4 questions: interrupted" in out
    assert "MRR" in out
    assert "interrupted" in page.read_text()


def test_a_reader_that_goes_away_does_not_cost_the_page(place: Place, tmp_path: Path) -> None:
    page = tmp_path / "report.html"
    process = subprocess.Popen(
        program(*place.arguments("--html", str(page))),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    process.stdout.close()

    assert process.wait(60) == 1
    assert page.read_text().endswith("</html>\n")
    assert process.stderr is not None
    assert process.stderr.read() == f"report: {page}\n"
    process.stderr.close()


def test_a_terminal_sees_a_bar_and_then_only_the_report(place: Place) -> None:
    place.write(*QUESTIONS, {"query": "wait", "docs": ["0.1", "0.2"], "relevant": [1]})
    command = program(*place.arguments())
    child = pexpect.spawn(
        command[0], command[1:], encoding="utf-8", dimensions=(40, 100), env={**os.environ}
    )
    try:
        assert place.behaviour.waits.wait(30)
        child.expect(r"requests .*6/8")
        place.behaviour.go_on.set()
        child.expect("agreement")
        child.expect(pexpect.EOF)
    finally:
        child.close()
    assert child.exitstatus == 0


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["compare", "q"], "compare needs QUERY and DOCs, or --file"),
        (["compare"], "compare needs QUERY and DOCs, or --file"),
        (["compare", "q", "d", "--file", "f"], "compare takes QUERY and DOCs, or --file, not both"),
        (["compare", "q", "d", "--html", "p"], "--html goes with --file"),
        (["compare", "q", "d", "--k", "3"], "--k goes with --file"),
    ],
)
def test_arguments_that_do_not_go_together_are_a_usage_error(
    arguments: list[str], message: str
) -> None:
    done = finished(program(*arguments))

    assert (done.code, done.out) == (2, [])
    assert done.err[0] == f"error: {message}"


@pytest.mark.parametrize(
    ("versions", "code", "message"),
    [
        ("v2-m3", 2, "compare --file needs two versions that run, and there is 1"),
        ("v2-m3,v9", 2, "no version 'v9' here"),
        (
            "v2-m3,v1",
            1,
            "cannot be compared now: v1: FAILED (no model files; run: rerank-server pull v1)",
        ),
    ],
)
def test_versions_that_cannot_be_compared_are_refused(
    place: Place, versions: str, code: int, message: str
) -> None:
    done = place.compare("--versions", versions)

    assert (done.code, done.out, place.behaviour.asked) == (code, [], [])
    assert done.err[0].startswith(f"error: {message}")


@pytest.mark.parametrize("name", ["missing/report.html", "."])
def test_a_page_that_cannot_be_written_is_refused_before_anything_is_measured(
    place: Place, tmp_path: Path, name: str
) -> None:
    done = place.compare("--html", str(tmp_path / name))

    assert (done.code, place.behaviour.asked) == (2, [])
    assert done.err == [f"error: --html {tmp_path / name}: no file can be written there"]


def test_a_page_for_standard_output_is_refused(place: Place) -> None:
    done = place.compare("--html", "-")

    assert (done.code, place.behaviour.asked) == (2, [])
    assert done.err == [
        "error: --html -: the page goes to a file, not to standard output; name one"
    ]


def test_a_file_that_is_not_there_is_one_line(place: Place) -> None:
    place.file.unlink()

    assert place.compare() == Done(1, [], [f"error: {place.file}: No such file or directory"])


def test_without_the_extra_labels_are_refused_with_the_command_that_installs_it(
    place: Place, tmp_path: Path
) -> None:
    # As seen by a Python that has the server's packages and not those of the extra.
    site = tmp_path / "site"
    site.mkdir()
    (site / "sitecustomize.py").write_text(
        "import sys\n"
        "class Absent:\n"
        "    def find_spec(self, name, path=None, target=None):\n"
        "        if name in ('ir_measures', 'scipy'):\n"
        "            raise ModuleNotFoundError(name, name=name)\n"
        "sys.meta_path.insert(0, Absent())\n"
    )

    done = place.compare(PYTHONPATH=str(site))

    assert (done.code, done.out, place.behaviour.asked) == (1, [], [])
    assert done.err == [
        "error: labelled questions are judged with ir_measures, which is not installed here; "
        "install: pip install 'rerank-server[compare]'"
    ]
