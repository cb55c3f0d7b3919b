"""What a response looks like: its grammar, how it is read, and which tokens say what."""

from vlcal.text.grammar import Grammar
from vlcal.text.parse import SPAN_NAMES, ParsedResponse, Span, parse
from vlcal.text.spans import Tokenizer, token_masks, token_offsets

__all__ = ["SPAN_NAMES", "Grammar", "ParsedResponse", "Span", "Tokenizer", "parse", "token_masks", "token_offsets"]
