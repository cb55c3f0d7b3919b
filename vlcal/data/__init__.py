"""Where prompts come from."""

from vlcal.data.records import RecordPrompts

__all__ = ["RecordPrompts"]
