"""What a comparison found, as values; everything that is shown of it is read from here."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from rerank_server.cli.asking import Answer
from rerank_server.cli.evaluate.identity import Identity
from rerank_server.cli.evaluate.questions import Question
from rerank_server.cli.evaluate.significance import Estimate

SIGNIFICANT = 0.05


@dataclass(frozen=True, slots=True)
class Subject:
    """What was compared on what, and by which server."""

    file: str
    sha256: str
    questions: int
    """In the file."""
    made_at: float
    """Wall clock, seconds."""
    release: str
    generation: int
    k: int
    versions: tuple[str, ...]
    left_out: Mapping[str, str]
    """Versions that were to be compared, and why they were not."""


@dataclass(frozen=True, slots=True)
class Arm:
    """One version: which model it was, and how it did."""

    identity: Identity
    model_digest: str | None
    answered: int
    failed: int
    p50_ms: float | None
    p95_ms: float | None
    docs_per_s: float | None
    """Documents scored by the time spent waiting for them, one request at a time."""
    quality: Mapping[str, Estimate]
    """By measure; empty without labels."""

    @property
    def version(self) -> str:
        """The version's name."""
        return self.identity.version


@dataclass(frozen=True, slots=True)
class Difference:
    """By how much the mean of one measure is larger for version b than for version a."""

    measure: str
    a: str
    b: str
    estimate: Estimate
    p: float
    p_adjusted: float
    """For all differences of the report together."""
    better: int
    """On how many questions b is the better."""
    worse: int
    same: int

    @property
    def is_significant(self) -> bool:
        """Whether chance is no likely explanation."""
        return self.p_adjusted < SIGNIFICANT


@dataclass(frozen=True, slots=True)
class Agreement:
    """How alike two versions rank, whoever is right: means over questions."""

    a: str
    b: str
    questions: int
    top_1: float
    tau: float | None
    overlap: float


@dataclass(frozen=True, slots=True)
class Failure:
    """A question that a version did not answer."""

    line: int
    version: str
    reason: str


@dataclass(frozen=True, slots=True)
class Result:
    """One question with all that came of it."""

    question: Question
    answers: Mapping[str, Answer]
    quality: Mapping[str, Mapping[str, float]]
    """By version, then by measure; empty where it does not count."""


@dataclass(frozen=True, slots=True)
class Report:
    """The whole."""

    subject: Subject
    arms: tuple[Arm, ...]
    measures: tuple[str, ...]
    """Empty without labels."""
    judged: int
    """On how many questions the measures rest."""
    differences: tuple[Difference, ...]
    agreements: tuple[Agreement, ...]
    failures: tuple[Failure, ...]
    results: tuple[Result, ...]
    stopped: str | None
    is_interrupted: bool
    notes: tuple[str, ...]
    """What a reader must know to read the figures rightly."""

    @property
    def pairs(self) -> list[tuple[str, str]]:
        """Which versions stand against which, in the order asked for."""
        return [(agreement.a, agreement.b) for agreement in self.agreements]

    @property
    def main_measure(self) -> str | None:
        """The one that questions are sorted by: nDCG."""
        return self.measures[1] if self.measures else None
