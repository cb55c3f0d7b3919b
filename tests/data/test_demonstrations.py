"""Responses that a warm-up imitates, made of one's own rows."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import pytest

from vlcal.commands.init import init
from vlcal.data import Columns, DemonstratedForm, Demonstrations, JsonLines, datamodule
from vlcal.errors import UserError
from vlcal.text import Grammar, parse
from vlcal.types import DemonstrationBatch

GRAMMAR = Grammar(levels=(3, 5, 8))


def table(folder: Path, *rows: str) -> JsonLines:
    (folder / "rows.jsonl").write_text("\n".join(rows), encoding="utf-8")
    return JsonLines(folder / "rows.jsonl", Columns(images=()))


def batch(data: Demonstrations) -> DemonstrationBatch:
    data.trainer = SimpleNamespace(lightning_module=None, state=SimpleNamespace(fn=None))  # type: ignore[assignment]
    data.setup("fit")
    return next(iter(data.train_dataloader()))  # type: ignore[no-any-return]


def test_a_response_has_the_answer_of_its_row_and_stand_ins_are_given(tmp_path: Path) -> None:
    rows = table(tmp_path, '{"question": "How many red cups?", "answer": "3"}')

    demonstrated = batch(Demonstrations(rows, form=DemonstratedForm(GRAMMAR)))

    (text,), (given,) = demonstrated.completions, demonstrated.given
    said = parse(text, GRAMMAR)
    assert said.well_formed and said.answer == "3"
    assert said.visual_confidence in (0, 0.4, 1) and said.reasoning_confidence in (0, 0.4, 1)
    shown = [text[start:end] for start, end in given]
    assert shown == [said.vision, said.reasoning, said.analysis]
    assert all("How many red cups?".startswith(words) for words in shown)


def test_a_named_column_is_imitated_where_it_holds_something(tmp_path: Path) -> None:
    rows = table(
        tmp_path,
        '{"question": "How many?", "answer": "3", "seen": "three cups"}',
        '{"question": "How many?", "answer": "3", "seen": " "}',
    )

    demonstrated = batch(Demonstrations(rows, form=DemonstratedForm(GRAMMAR, vision="seen")))

    told = {
        parse(text, GRAMMAR).vision: len(given)
        for text, given in zip(demonstrated.completions, demonstrated.given, strict=True)
    }
    assert told.pop("three cups") == 2  # reasoning and analysis alone
    assert [*told.values()] == [3]


def test_confidences_are_drawn_evenly_and_say_nothing(tmp_path: Path) -> None:
    form = DemonstratedForm(GRAMMAR)
    stated = [parse(form.demonstrate(str(name), "Q", "1", {})[0], GRAMMAR).visual_confidence for name in range(600)]

    assert all(150 < stated.count(confidence) < 250 for confidence in (0.0, 0.4, 1.0))
    assert form.demonstrate("7", "Q", "1", {}) == form.demonstrate("7", "Q", "1", {})


def test_a_row_that_would_break_the_form_is_named_before_anything_is_loaded(tmp_path: Path) -> None:
    rows = table(
        tmp_path,
        '{"question": "Q", "answer": "3", "vision": "a cup"}',
        '{"question": "Q", "answer": "3", "vision": "</vision>"}',
    )

    with pytest.raises(UserError, match="rows.jsonl, row 2: a response to demonstrate must be in the form"):
        batch(Demonstrations(rows, form=DemonstratedForm(vision="vision")))


def test_a_column_that_no_row_has_is_refused(tmp_path: Path) -> None:
    rows = table(tmp_path, '{"question": "Q", "answer": "3"}')

    with pytest.raises(UserError, match="`columns` must name columns of .*rows.jsonl; .* no sight"):
        batch(Demonstrations(rows, form=DemonstratedForm(vision="sight")))


def test_init_names_the_columns_of_a_table_that_say_what_is_seen(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    lines = [f'{{"question": "Q {n}", "answer": "{n}", "images": [], "vision": "a {n}"}}' for n in range(40)]
    table(tmp_path, *lines)

    init(tmp_path / "rows.jsonl", output=tmp_path / "warmup.yaml", recipe="warmup")

    assert "form: {vision: vision}" in (tmp_path / "warmup.yaml").read_text(encoding="utf-8")
    assert "vision" in capsys.readouterr().out


def test_no_more_processes_decode_images_than_there_are_processors(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(datamodule.os, "sched_getaffinity", lambda _: {0, 1, 2}, raising=False)

    assert [datamodule.loading_workers(1, asked) for asked in (0, 2, 3, 64)] == [0, 2, 3, 3]
