"""What a report is made of, before it is written in any format."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True)
class Cell:
    """A figure in a table.

    Args:
        text: The figure.
        note: Smaller print under it, for example its interval.
        strong: Whether it is more than chance.
    """

    text: str
    note: str = ""
    strong: bool = False


Row = tuple[Cell, ...]


@dataclass(frozen=True)
class Table:
    """Rows under a head; the first cell of each names the row.

    Args:
        caption: What it shows.
        head: Name of each column.
        rows: As many cells each.
        accents: For each column the number of the run it belongs to, None where to none.
    """

    caption: str
    head: tuple[str, ...]
    rows: tuple[Row, ...]
    accents: tuple[int | None, ...] = ()

    def __post_init__(self) -> None:
        wrong = [len(row) for row in self.rows if len(row) != len(self.head)]
        if wrong:
            raise ValueError(f"`rows` must hold {len(self.head)} cells like the head; got {wrong[0]}.")


@dataclass(frozen=True)
class Figure:
    """A drawing with the numbers behind it.

    Args:
        caption: What it shows.
        svg: The drawing, in colours that are CSS variables.
        numbers: The same as a table, for whoever does not see it.
        run: Number of the run whose accent it has; None where it shows several.
        note: A line of figures under the caption.
    """

    caption: str
    svg: str
    numbers: Table
    run: int | None = None
    note: str = ""


@dataclass(frozen=True)
class Section:
    """A part of the report: figures, then tables, then tables to unfold.

    Args:
        name: Its anchor.
        title: Its heading.
        lead: What to look for, in a sentence or three.
        columns: Figures side by side where there is room.
        legend: Whether the names of the runs are shown with their colours.
    """

    name: str
    title: str
    lead: str
    figures: tuple[Figure, ...] = ()
    tables: tuple[Table, ...] = ()
    folded: tuple[Table, ...] = field(default=())
    columns: int = 3
    legend: bool = False
