"""Answers of an endpoint, kept in a file, so that a run that was cut short goes on where it was."""

from __future__ import annotations

import json
import warnings
from pathlib import Path

from vlcal.policy.endpoint import Answer, Inquiry


class AnswerFile:
    """Answers by request, one JSON line each, written as they come.

    An answer is found again only for the very same request: prompt id, model, decoding, question and images.

    Args:
        path: The file; made with its folder when the first answer comes.

    Raises:
        ValueError: If a line that is not the last is damaged; names file and row.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._known = self._read() if path.exists() else {}

    def __len__(self) -> int:
        return len(self._known)

    def find(self, inquiry: Inquiry) -> Answer | None:
        """The answer to this very request, if it came before."""
        return self._known.get(inquiry.key)

    def keep(self, inquiry: Inquiry, answer: Answer) -> None:
        """Write an answer down, now."""
        row = {"id": inquiry.prompt, "request": inquiry.key, "text": answer.text, "truncated": answer.truncated}
        self.path.parent.mkdir(parents=True, exist_ok=True)
        # Half a surrogate pair, which UTF-8 cannot hold, becomes its escape, which is how JSON spells it.
        with self.path.open("a", encoding="utf-8", errors="backslashreplace", newline="\n") as file:
            file.write(json.dumps(row, ensure_ascii=False) + "\n")
        self._known[inquiry.key] = answer

    def _read(self) -> dict[str, Answer]:
        known: dict[str, Answer] = {}
        lines = self.path.read_bytes().splitlines(keepends=True)
        whole = 0
        for number, line in enumerate(lines, 1):
            try:
                row = json.loads(line)
                known[row["request"]] = Answer(row["text"], row["truncated"])
                if not line.endswith(b"\n"):
                    raise ValueError("it has no end")
            except (ValueError, KeyError, TypeError) as error:
                if number < len(lines):
                    raise ValueError(
                        f"{self.path}, row {number}: no answer: {error}. Take the line out, or name another file."
                    ) from error
                self._drop(whole, number)
            whole += len(line)
        return known

    def _drop(self, whole: int, number: int) -> None:
        """Cut the last line off, or the next answer would be written behind it."""
        warnings.warn(f"{self.path}, row {number}: cut short; dropped, and asked again.", stacklevel=2)
        with self.path.open("r+b") as file:
            file.truncate(whole)
