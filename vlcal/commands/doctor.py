"""`vlcal doctor`: checks a run before it starts; what it does is in `checkup`, which takes seconds to import."""

from __future__ import annotations


def doctor(args: list[str]) -> None:
    """Check a config as `vlcal fit` would use it: checkpoint, data, length of prompts, memory, form of the responses.

    On a GPU one real step is run. Ends with status 1 where something must be changed.

    Args:
        args: `--config FILE` and overrides, as `vlcal fit` takes them; `--memory GB` of the card, left out, that of the
            GPU here; `--sample N` to load the weights and have N prompts answered, 8 on a GPU and none without.
    """
    from vlcal.commands.checkup import check

    check(args)
