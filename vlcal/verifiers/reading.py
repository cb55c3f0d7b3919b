r"""The text of an answer without the marks that carry no meaning: LaTeX layout, Markdown, Unicode variants, lead-ins.

Every verifier reads answers and targets by `cleaned`; `vlcal.verifiers.values` makes typed values of the result.
"""

from __future__ import annotations

import re
import unicodedata

LONGEST = 4000  # characters: a longer answer is not read, only compared as it stands
# Marks around what stood in `\text{...}`, so that a unit can be distinguished from a product of variables.
TEXT_OPEN, TEXT_CLOSE = "\ue000", "\ue001"

_INVISIBLE = re.compile("[\u00ad\u200b-\u200f\u202a-\u202e\u2060-\u2064\ufe0f\ufeff\ue000\ue001]")
_DASHES, _APOSTROPHES, _QUOTES = "‐‑‒–—―−﹣－", "‘’‚′＇", "“”„«»″＂"
_CHARACTERS = str.maketrans(
    {
        **dict.fromkeys(_DASHES, "-"),
        **dict.fromkeys(_APOSTROPHES, "'"),
        **dict.fromkeys(_QUOTES, '"'),
        **dict.fromkeys("º˚", "°"),
        **dict.fromkeys("·⋅∙×✕", r"\times "),
        **dict.fromkeys("【〔［「", "["),
        **dict.fromkeys("】〕］」", "]"),
        **dict.fromkeys("≈≃≅", r"\approx "),
        "△": r"\triangle ",
        "∠": r"\angle ",
        "⊥": r"\perp ",
        "∥": r"\parallel ",
        "π": r"\pi ",
        "∞": r"\infty ",
        "≤": r"\leq ",
        "≥": r"\geq ",
        "∪": r"\cup ",
        "±": r"\pm ",
        "÷": "/",
        "⁄": "/",
        "。": ".",
        "、": ", ",
        "∈": r"\in ",
    }
)
_SUPERSCRIPT = re.compile("[⁰¹²³⁴-⁹⁻⁺]+")
_VULGAR = re.compile(r"(?<=\d)(?=[¼-¾⅐-⅞])")
_THOUSANDS = re.compile(r"(?<=\d)(?:\{,\}|\\,|,\\!|\\ |~|\u00a0|\u2009|\u202f|\u2007)(?=\d{3}(?!\d))")
_LAYOUT = re.compile(
    r"\\(?:left|right|[bB]igg?[lr]?|displaystyle|textstyle|limits|hfill|(?:med|thin|thick)space)(?![a-zA-Z])"
    r"|\\(?:q?quad|enspace|newline)(?![a-zA-Z])|(?<!\\)\\[,;:!> ]|~|\\(?=[%€£¥&#])|\\\$|\$|\\[()\[\]]"
)
_TEXT = re.compile(
    r"\\(?:text(?:bf|it|rm|normal|sf|tt|up|md)?|math(?:rm|bf|it|sf|tt|normal)|operatorname\*?|mbox|hbox|emph|bm|boldsymbol"
    r"|underline|unit|f?box|boxed)(?![a-zA-Z])\s*"
)
_DEGREE = re.compile(
    r"\^\s*(?:\{\s*(?:\\circ|∘|°)\s*\}|\\circ(?![a-zA-Z])|∘|°)|\\(?:degrees?|textdegree)(?![a-zA-Z])|∘"
)
_ROOT = re.compile(r"√\s*(?:\(([^()]*)\)|(\d+(?:\.\d+)?|[a-zA-Z]))")
_FRACTION = re.compile(r"\\[dtc]frac(?![a-zA-Z])")
_MARKDOWN = (
    re.compile(r"\*\*([^*]+)\*\*"),
    re.compile(r"(?<!\w)__([^_]+)__(?!\w)"),
    re.compile(r"(?<![\w*)\]}])\*([^*\s][^*]*)\*(?![\w*])"),
    re.compile(r"(?<!\w)_([^_\s][^_]*)_(?!\w)"),
    re.compile(r"`+([^`]+)`+"),
    re.compile(r"^\s*(?:#+|>)\s+()"),
)
_LEAD = re.compile(
    r"(?:(?:so|thus|therefore|hence)\s*,?\s+)?(?:(?:the|my)\s+)?(?:(?:correct|final|right|best)\s+)*"
    r"(?:(?:answer|option|choice|result)\s*(?:is\b\s*:?|:)|(?:answer|option|choice)\s+(?=[(\[]?[a-z][)\]]?(?:[.:),]|\s*$)))\s*"
    r"|(?:so|thus|therefore|hence)\s*,?\s+(?=[-\d\\])|it\s+is\s+(?=[-\d\\])"
    r"|(?:=|\\approx(?![a-zA-Z])|\\sim(?![a-zA-Z])|\\simeq(?![a-zA-Z])|:)\s*",
    re.IGNORECASE,
)
_QUOTED = re.compile(r"""(["'])([^"']+)\1""")


def _superscript(found: re.Match[str]) -> str:
    return "^{" + unicodedata.normalize("NFKC", found[0]).replace("\N{MINUS SIGN}", "-") + "}"


def marked(written: str) -> str:
    r"""A text in ASCII spelling without layout and emphasis, with the contents of `\text` between two marks."""
    text = written
    if not text.isascii():
        text = _INVISIBLE.sub("", text)
        text = _SUPERSCRIPT.sub(_superscript, _VULGAR.sub(" ", text.translate({0xB4: "'"})))
        text = _THOUSANDS.sub(",", text)
        text = unicodedata.normalize("NFKC", text.translate(_CHARACTERS)).translate(_CHARACTERS)
    text = _DEGREE.sub("°", _THOUSANDS.sub(",", text))
    text = _unwrapped(_LAYOUT.sub(" ", text))
    text = _FRACTION.sub(r"\\frac", _ROOT.sub(lambda found: rf"\sqrt{{{found[1] or found[2]}}}", text))
    for pattern in _MARKDOWN * 2:  # emphasis within emphasis
        text = pattern.sub(r"\1", text)
    return _without_full_stop(text)


def cleaned(written: str) -> str:
    r"""A text as a person reads it: no LaTeX or Markdown marks, one full stop less at its end, single spaces.

    >>> cleaned("**two** cats."), cleaned(r"5\text{ cm}^2"), cleaned("17{,}800"), cleaned(r"37^\circ")
    ('two cats', '5 cm^2', '17,800', '37°')
    """
    if len(written) > LONGEST:
        return written
    return plain(marked(written))


def plain(text: str) -> str:
    r"""A marked text without its marks.

    The space between a number and what stood in `\text` is one of the source or none.
    """
    return " ".join(text.replace(TEXT_OPEN, "").replace(TEXT_CLOSE, "").split())


def folded(written: str) -> str:
    """What words are compared by: cleaned, without case and quotation marks around the whole.

    >>> folded("  Two   **Cats**. ")
    'two cats'
    """
    text = without_lead(cleaned(written))
    quoted = _QUOTED.fullmatch(text)
    # What consists of marks alone stands for itself.
    return (quoted[2] if quoted else text or written).strip().casefold()


def without_lead(text: str) -> str:
    """A cleaned text without what announces an answer.

    >>> without_lead("The correct answer is: 5"), without_lead("= 5"), without_lead("option B")
    ('5', '5', 'B')
    """
    for _ in range(3):
        lead = _LEAD.match(text)
        rest = text[lead.end() :].strip() if lead else ""
        if not rest or rest == text:
            break
        text = rest
    return _without_full_stop(text)


def _without_full_stop(text: str) -> str:
    text = text.strip()
    return text[:-1].rstrip() if text.endswith(".") and not text.endswith("..") else text


def _unwrapped(text: str) -> str:
    r"""A text with the braces of `\text{...}` and its relatives replaced by two marks, in one pass."""
    if "\\" not in text:
        return text
    parts: list[str] = []
    closings: list[str] = []
    at = 0
    while at < len(text):
        command = _TEXT.match(text, at) if text[at] == "\\" else None
        symbol = text[at]
        if command is not None and text[command.end() : command.end() + 1] == "{":
            parts.append(TEXT_OPEN)
            closings.append(TEXT_CLOSE)
            at = command.end() + 1
            continue
        if command is not None:
            at = command.end()
            continue
        if symbol == "\\" and at + 1 < len(text):
            parts.append(text[at : at + 2])
            at += 2
            continue
        if symbol == "{":
            closings.append("}")
        elif symbol == "}" and closings:
            symbol = closings.pop()
        parts.append(symbol)
        at += 1
    return "".join(parts)
