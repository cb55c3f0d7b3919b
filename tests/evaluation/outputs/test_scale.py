"""The scale of confidences: declared, plain, or refused; never guessed."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from vlcal.evaluation.outputs import DeclaredScale, PlainScale, scale_of
from vlcal.evaluation.outputs.sheet import Sheet


def sheet_of(**columns: list[float]) -> tuple[Sheet, dict[str, np.ndarray]]:
    rows = range(1, len(next(iter(columns.values()))) + 1)
    return Sheet(Path("out.csv"), columns, rows), {name: np.array(values) for name, values in columns.items()}


def test_fractions_up_to_one_are_plainly_0_to_1() -> None:
    sheet, written = sheet_of(a=[0.0, 0.7, np.nan, 1.0])

    np.testing.assert_array_equal(PlainScale()(sheet, written)["a"], [0.0, 0.7, np.nan, 1.0])


@pytest.mark.parametrize(("top", "expected"), [(10, [0.0, 0.7, 1.0]), (100, [0.0, 0.07, 0.1])])
def test_a_declared_scale_divides_by_its_top(top: int, expected: list[float]) -> None:
    sheet, written = sheet_of(a=[0.0, 7.0, 10.0])

    np.testing.assert_allclose(scale_of(top)(sheet, written)["a"], expected)


def test_a_number_above_one_is_refused_until_the_scale_is_declared() -> None:
    sheet, written = sheet_of(a=[0.5, 7.0])

    with pytest.raises(ValueError, match=r"out.csv, row 2, column `a`: 7 is above 1.*--scale 10 or --scale 100"):
        PlainScale()(sheet, written)


@pytest.mark.parametrize("values", [[0.0, 1.0], [1.0, 1.0], [0.0, 0.0, np.nan]])
def test_zeros_and_ones_alone_are_the_ends_of_any_scale_and_refused(values: list[float]) -> None:
    sheet, written = sheet_of(a=values)

    with pytest.raises(ValueError, match="every confidence in `a` is 0 or 1.*--scale 1, --scale 10 or --scale 100"):
        PlainScale()(sheet, written)
    np.testing.assert_array_equal(DeclaredScale(1)(sheet, written)["a"], values)


def test_one_column_with_fractions_settles_the_scale_of_the_file() -> None:
    sheet, written = sheet_of(a=[0.0, 1.0], b=[0.5, 1.0])

    assert PlainScale()(sheet, written)["a"].tolist() == [0.0, 1.0]


@pytest.mark.parametrize(("value", "message"), [(-1.0, "must not be negative; got -1"), (11.0, "0 to 10; got 11")])
def test_a_number_outside_the_declared_scale_is_refused_by_row(value: float, message: str) -> None:
    sheet, written = sheet_of(a=[3.0, value])

    with pytest.raises(ValueError, match=f"out.csv, row 2, column `a`: .*{message}"):
        DeclaredScale(10)(sheet, written)


def test_a_column_that_is_plainly_0_to_1_is_not_squashed_by_the_scale_of_another() -> None:
    sheet, written = sheet_of(overall=[0.7, 0.2], visual=[7.0, 2.0])

    with pytest.raises(
        ValueError, match="column `overall` has fractions and nothing above 1.*--scale 10, which would squash it"
    ):
        DeclaredScale(10)(sheet, written)


def test_a_scale_nobody_uses_is_refused() -> None:
    with pytest.raises(ValueError, match="`scale` must be 1, 10 or 100"):
        scale_of(5)
