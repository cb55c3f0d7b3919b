"""Every line of corpus.tsv: a target, an answer as people and models write it, and the verdict of a careful person."""

from __future__ import annotations

import csv
from collections.abc import Callable
from pathlib import Path

import pytest

from vlcal.verifiers import (
    ChoiceVerifier,
    CountVerifier,
    DecimalVerifier,
    ExactVerifier,
    LetterSetVerifier,
    ListVerifier,
    MathVerifier,
    NearestOptionVerifier,
    NumericVerifier,
    OptionVerifier,
    PhraseVerifier,
    RelaxedVerifier,
    RoundedVerifier,
    TruncatedVerifier,
    Verifier,
    YesNoVerifier,
    verdicts,
)

with (Path(__file__).parent / "corpus.tsv").open(encoding="utf-8", newline="") as file:
    ROWS = list(csv.DictReader(file, delimiter="\t", quoting=csv.QUOTE_NONE))
KINDS = sorted({row["kind"] for row in ROWS})
BY_NAME: dict[str, Callable[[list[str]], Verifier]] = {
    "count": lambda options: CountVerifier(),
    "decimal": lambda options: DecimalVerifier(timeout=30.0),
    "exact": lambda options: ExactVerifier(),
    "letter": lambda options: ChoiceVerifier(),
    "letters": lambda options: LetterSetVerifier(),
    "list": lambda options: ListVerifier(timeout=30.0),
    "math": lambda options: MathVerifier(timeout=30.0),
    "nearest": NearestOptionVerifier,
    "numeric": lambda options: NumericVerifier(),
    "option": OptionVerifier,
    "phrase": lambda options: PhraseVerifier(),
    "relaxed": lambda options: RelaxedVerifier(),
    "rounded1": lambda options: RoundedVerifier(1),
    "truncated": lambda options: TruncatedVerifier(),
    "yesno": lambda options: YesNoVerifier(),
}


def verifier(row: dict[str, str]) -> Verifier:
    return BY_NAME[row["verifier"]](row["options"].split(" | "))


@pytest.mark.parametrize("kind", KINDS)
def test_every_answer_gets_the_verdict_of_a_careful_person(kind: str) -> None:
    rows = [row for row in ROWS if row["kind"] == kind]

    judged = verdicts([(verifier(row), row["answer"], row["target"]) for row in rows])

    assert [row for row, verdict in zip(rows, judged, strict=True) if verdict != float(row["verdict"])] == []


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_has_answers_of_both_verdicts(kind: str) -> None:
    assert {row["verdict"] for row in ROWS if row["kind"] == kind} == {"0", "1"}


def test_a_target_is_right_by_the_verifier_that_judges_it() -> None:
    cases = [(verifier(row), row["target"], row["target"]) for row in ROWS]

    assert set(verdicts(cases)) == {1.0}
