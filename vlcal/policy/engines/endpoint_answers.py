"""Answers of an endpoint, stored in a file, so that an interrupted run continues."""

from __future__ import annotations

import json
import warnings
from pathlib import Path

from vlcal.errors import UserError
from vlcal.policy.engines.endpoint import Answer, Inquiry


class AnswerFile:
    """Answers by request, one JSON line each, written on arrival.

    An answer is reused for an identical request alone: prompt id, model, decoding, question and images.

    Args:
        path: The file; made with its folder at the first answer.

    Raises:
        UserError: If a line that is not the last is damaged; names file and row.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._known = self._read() if path.exists() else {}

    def __len__(self) -> int:
        return len(self._known)

    def find(self, inquiry: Inquiry) -> Answer | None:
        """The stored answer to an identical request; None if there is none."""
        return self._known.get(inquiry.key)

    def keep(self, inquiry: Inquiry, answer: Answer) -> None:
        """Append an answer to the file."""
        row = {"id": inquiry.prompt, "request": inquiry.key, "text": answer.text, "truncated": answer.truncated}
        self.path.parent.mkdir(parents=True, exist_ok=True)
        # Half a surrogate pair has no UTF-8 encoding; its backslash escape is valid JSON.
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
                    raise UserError("it has no end")
            except (ValueError, KeyError, TypeError) as error:
                if number < len(lines):
                    raise UserError(
                        f"{self.path}, row {number}: no answer: {error}. Take the line out, or name another file."
                    ) from error
                self._drop(whole, number)
            whole += len(line)
        return known

    def _drop(self, whole: int, number: int) -> None:
        """Remove the incomplete last line, to which the next answer would be appended."""
        warnings.warn(f"{self.path}, row {number}: cut short; dropped, and asked again.", stacklevel=2)
        with self.path.open("r+b") as file:
            file.truncate(whole)
