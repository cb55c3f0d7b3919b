"""From the text of a response to what it says; any text at all is read, and nothing raises."""

from __future__ import annotations

import math
import re
import unicodedata
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise

from vlcal.text.grammar import LAYOUT, Grammar

Span = tuple[int, int]

BOX = "\\boxed{"
SPAN_NAMES = ("vision", "reasoning", "answer", "visual_confidence", "reasoning_confidence")

_TAGS = tuple(tag for tag, _ in LAYOUT if tag.startswith("<"))
_OPENS = {tag: name for tag, name in LAYOUT if tag in _TAGS and name is not None}
_TAG = re.compile("|".join(re.escape(tag) for tag in _TAGS))
# Letters and a symbol without a shape: fillers of Hangul, and Braille without a dot.
_BLANK = frozenset("\u115f\u1160\u3164\uffa0\u2800")
_BOXES = r"\\(?:boxed|fbox)(?![a-zA-Z])\s*"
# Braces, tags (which no box may reach across), boxes around a single token, and what hides a brace: an escaped one, or
# a double backslash, unless it is the stray backslash of an over-escaped `\\boxed{`.
_BRACE = re.compile(
    rf"\\\\(?!{_BOXES[2:]}\{{)|\\[{{}}]|(?P<box>{_BOXES}\{{)|{_BOXES}(?P<token>\\[a-zA-Z]+(?:\{{[^{{}}]*\}})+|[^\s{{}}\\$<]+)"
    rf"|[{{}}]|{_TAG.pattern}"
)


@dataclass(frozen=True)
class ParsedResponse:
    """What one response says.

    Args:
        vision: What it saw; None where the part is missing, repeated, unclosed or has a tag inside. The same holds
            for `reasoning` and `analysis`.
        answer: The content of the last complete box with balanced braces, wherever it stands.
        visual_confidence: In [0, 1]; NaN where it is missing, repeated or none of the grammar's levels.
        reasoning_confidence: Likewise.
        well_formed: True where the text is the whole grammar and nothing else: each tag once, in order, white space
            at most between blocks, both levels valid, and something visible in the vision part and the answer (a
            vision part of white space or zero-width characters would be a way to dodge every measure of it).
        spans: For each of `SPAN_NAMES` the characters of its content, None where it is absent. An invalid level has
            no span: nothing was stated there.
    """

    vision: str | None
    reasoning: str | None
    answer: str | None
    analysis: str | None
    visual_confidence: float
    reasoning_confidence: float
    well_formed: bool
    spans: Mapping[str, Span | None]


def parse(text: str, grammar: Grammar) -> ParsedResponse:
    """What `text` says under `grammar`, in time linear in its length.

    >>> said = parse(Grammar().render("a 7", "7 + 2 = 9", "9", "clear", 7, 10), Grammar())
    >>> said.answer, said.visual_confidence, said.reasoning_confidence, said.well_formed
    ('9', 0.7, 1.0, True)
    """
    marks = list(_TAG.finditer(text))
    parts = _parts(marks)
    parts["answer"] = _last_box(text)
    contents = {name: None if span is None else text[slice(*span)] for name, span in parts.items()}
    levels = {name: _level(text, parts[name], grammar) for name in ("visual_confidence", "reasoning_confidence")}
    stated = {name: span for name, (_, span) in levels.items()}
    confidences = {name: confidence for name, (confidence, _) in levels.items()}
    complete = (
        [mark.group() for mark in marks] == list(_TAGS)
        and text.count(BOX) == 1
        and _skeleton(text, parts) == "".join(grammar.tags)
    )
    return ParsedResponse(
        vision=contents["vision"],
        reasoning=contents["reasoning"],
        answer=contents["answer"],
        analysis=contents["analysis"],
        visual_confidence=confidences["visual_confidence"],
        reasoning_confidence=confidences["reasoning_confidence"],
        well_formed=complete
        and not any(math.isnan(confidence) for confidence in confidences.values())
        and all(visible(contents[name] or "") for name in ("vision", "answer")),
        spans={name: stated.get(name, parts[name]) for name in SPAN_NAMES},
    )


def unclosed(text: str) -> str:
    r"""The end of a text from the first of its tags that is left open; empty where every tag is closed.

    Of a prompt, that is what it has written of the response already.

    >>> unclosed("assistant\n<think>\n")
    '<think>\n'
    >>> unclosed("assistant\n<think>\n\n</think>\n\n")
    ''
    """
    opened: list[re.Match[str]] = []
    counts: Counter[str] = Counter()  # of each tag in `opened`
    for mark in _TAG.finditer(text):
        tag = mark.group().replace("</", "<", 1)
        if mark.group() == tag:
            opened.append(mark)
            counts[tag] += 1
            continue
        while counts[tag]:  # back to where it was opened last
            last = opened.pop().group()
            counts[last] -= 1
            if last == tag:
                break
    return text[opened[0].start() :] if opened else ""


def behind(opening: str, response: str) -> str:
    r"""The part of a response behind its opening, whose white space may differ; all of it where it starts differently.

    >>> behind("<think>\n", "<think><vision>a 7</vision>")
    '<vision>a 7</vision>'
    """
    if response.startswith(opening):
        return response[len(opening) :]
    written = re.match(r"\s*".join(map(re.escape, opening.split())), response)
    return response[written.end() :] if written else response


def visible(text: str, start: int = 0, end: int | None = None) -> bool:
    """Whether a text, or its part from `start` to `end`, has a letter, digit, punctuation mark or symbol that is seen.

    >>> visible("7"), visible(f" {chr(0x200B)}"), visible("🙂")
    (True, False, True)
    """
    # Without a copy of the part: boxes may be nested as deep as the text is long.
    places = range(start, len(text) if end is None else end)
    return any(text[place] not in _BLANK and unicodedata.category(text[place])[0] in "LNPS" for place in places)


def _parts(marks: list[re.Match[str]]) -> dict[str, Span | None]:
    """The content of each part between tags: opened once, closed once, no other tag between."""
    counts = Counter(mark.group() for mark in marks)
    parts: dict[str, Span | None] = dict.fromkeys(_OPENS.values())
    for mark, following in pairwise(marks):
        name = _OPENS.get(mark.group())
        closing = mark.group().replace("<", "</", 1)
        if name and following.group() == closing and counts[mark.group()] == counts[closing] == 1:
            parts[name] = (mark.end(), following.start())
    return parts


def _last_box(text: str) -> Span | None:
    """The content of the complete box that opens last, found in one pass with a stack of open braces.

    An empty box counts only where no filled one is.
    """
    last: tuple[bool, int, int] | None = None
    open_braces: list[int | None] = []
    for found in _BRACE.finditer(text):
        symbol, box = found.group(), None
        if found["box"]:
            open_braces.append(found.end())
        elif found["token"]:
            box = found.span("token")
        elif symbol == "{":
            open_braces.append(None)
        elif symbol.startswith("<"):
            open_braces.clear()
        elif symbol == "}" and open_braces:
            start = open_braces.pop()
            box = None if start is None else (start, found.start())
        if box is not None:
            filled = (visible(text, *box), *box)
            last = filled if last is None else max(last, filled)
    return None if last is None else last[1:]


def _level(text: str, span: Span | None, grammar: Grammar) -> tuple[float, Span | None]:
    """The confidence stated in a span and where its level stands, without white space; NaN and None where invalid."""
    if span is None:
        return math.nan, None
    content = text[slice(*span)]
    level = content.strip()
    confidences = {str(level): grammar.confidence(level) for level in grammar.levels}
    if level not in confidences:
        return math.nan, None
    start = span[0] + content.index(level)
    return confidences[level], (start, start + len(level))


def _skeleton(text: str, parts: Mapping[str, Span | None]) -> str:
    """What is left of a text without its contents and white space: the tags alone, if it is well-formed."""
    left: list[str] = []
    cursor = 0
    for start, end in sorted(span for span in parts.values() if span is not None):
        left.append(text[cursor:start])
        cursor = max(cursor, end)
    left.append(text[cursor:])
    return "".join("".join(left).split())
