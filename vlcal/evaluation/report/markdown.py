"""The report as Markdown: the same tables, and the numbers behind each figure."""

from __future__ import annotations

from collections.abc import Sequence

from vlcal.evaluation.report.content import Cell, Section, Table

_MARKUP = str.maketrans({mark: f"\\{mark}" for mark in "\\`*_{}[]<>#|~$"} | {"\n": " ", "\r": " "})


def markdown(title: str, facts: Sequence[str], sections: Sequence[Section]) -> str:
    """The whole report."""
    parts = [f"# {escaped(title)}", *(f"- {escaped(fact)}" for fact in facts)]
    for section in sections:
        parts += ["", f"## {escaped(section.title)}", "", escaped(section.lead)]
        parts += [markdown_table(table) for table in section.tables]
        parts += [markdown_table(figure.numbers, figure.note) for figure in section.figures]
        parts += [markdown_table(table) for table in section.folded]
    return "\n".join(parts) + "\n"


def markdown_table(table: Table, note: str = "") -> str:
    """A heading and a table under it."""
    lines = ["", f"### {escaped(table.caption)}", ""]
    if note:
        lines += [escaped(note), ""]
    lines.append(_line([escaped(name) for name in table.head]))
    lines.append(_line(["---", *["---:"] * (len(table.head) - 1)]))
    lines += [_line([_cell(cell) for cell in row]) for row in table.rows]
    return "\n".join(lines)


def escaped(text: str) -> str:
    """Text of which nothing is taken for markup."""
    return text.translate(_MARKUP)


def _cell(cell: Cell) -> str:
    text = f"**{escaped(cell.text)}**" if cell.strong else escaped(cell.text)
    return f"{text} ({escaped(cell.note)})" if cell.note else text


def _line(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"
