"""Other readings of an image: what a reading becomes when a part of it is changed."""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from collections.abc import Sequence
from random import Random


class Alteration(ABC):
    """Makes another reading of a reading."""

    @abstractmethod
    def __call__(self, reading: str, others: Sequence[str], rng: Random) -> str | None:
        """Another reading; None where there is none.

        Args:
            reading: The vision part of a response.
            others: The vision parts of the other responses.
            rng: What is drawn from.
        """


class OtherWord(Alteration):
    """Replaces one digit by one that another response has; in a reading without digits one word by another's."""

    def __call__(self, reading: str, others: Sequence[str], rng: Random) -> str | None:
        kind = r"\d" if re.search(r"\d", reading) else r"\w+"
        known = sorted({word for other in others for word in re.findall(kind, other)})
        places = list(re.finditer(kind, reading))
        if not places:
            return None
        place = rng.choice(places)
        words = [word for word in known if word != place.group()]
        return f"{reading[: place.start()]}{rng.choice(words)}{reading[place.end() :]}" if words else None
