"""What a response looks like: its grammar and how it is read; `vlcal.text.spans` says which tokens hold which part."""

from vlcal.text.grammar import Grammar
from vlcal.text.parse import SPAN_NAMES, ParsedResponse, Span, behind, parse, unclosed

__all__ = ["SPAN_NAMES", "Grammar", "ParsedResponse", "Span", "behind", "parse", "unclosed"]
