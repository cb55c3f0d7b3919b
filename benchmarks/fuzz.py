"""What hostile responses and images do: a fuzzer that follows coverage, and every error that is not ours.

    pip install atheris
    python benchmarks/fuzz.py responses --runs 1000000 --output runs/fuzz_responses.json
    python benchmarks/fuzz.py images --runs 10000 --output runs/fuzz_images.json

Atheris (libFuzzer for Python) keeps an input that reaches a new branch of vlcal or of Pillow's readers, and mutates it
further. A response is parsed, and its answer judged by one of eight verifiers in turn; of one in fifty the tokens are
found under the tokenizer of the embedded model, and one in ten thousand is also judged by algebra, in processes of its
own. An image is read by its header and decoded. Ours are the result and `UserError`; anything else is counted by the
place that raised it. An input that takes longer than a minute ends the run.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
import time
import traceback
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path

try:
    import atheris
except ImportError:
    sys.exit("benchmarks/fuzz.py needs atheris: pip install atheris")

with atheris.instrument_imports(include=["vlcal.text", "vlcal.verifiers", "vlcal.data.images", "PIL"]):
    import torch
    from PIL import Image
    from transformers import AutoTokenizer

    import vlcal
    from vlcal.data.images import ImageSize, image_size, image_tensor
    from vlcal.errors import UserError
    from vlcal.files import write_whole
    from vlcal.text import Grammar, behind, parse, unclosed
    from vlcal.text.spans import token_masks, token_offsets
    from vlcal.verifiers import (
        ChoiceVerifier,
        ExactVerifier,
        LetterSetVerifier,
        MathVerifier,
        NumericVerifier,
        OptionVerifier,
        PhraseVerifier,
        RelaxedVerifier,
        YesNoVerifier,
    )

ATHERIS_SECONDS = 60  # for one input
LONGEST = {"responses": 512, "images": 65536}  # bytes
TOKENS_EVERY, ALGEBRA_EVERY = 50, 10_000


class Target(ABC):
    """What is given mutated bytes."""

    seeds: list[bytes]
    words: list[bytes]

    @abstractmethod
    def __call__(self, data: bytes, number: int) -> None:
        """Do with these bytes what a run does.

        Args:
            data: The bytes.
            number: How many inputs came before.
        """


class Responses(Target):
    """Reads bytes as the text of a response."""

    def __init__(self) -> None:
        self.grammar = Grammar()
        self.tokenizer = AutoTokenizer.from_pretrained(Path(vlcal.__file__).parent / "base")
        self.seeds = [*map(str.encode, _responses(self.grammar))]
        self.words = [tag.encode() for tag in self.grammar.tags] + [
            b"\\frac{",
            b"\\sqrt",
            b"^{",
            b"\\text{",
            b"\xe2\x80\x8b",
        ]
        self.judged = (
            *((ExactVerifier(), "7"), (NumericVerifier(), "7.5"), (YesNoVerifier(), "yes"), (ChoiceVerifier(), "B")),
            *((LetterSetVerifier(), "AB"), (OptionVerifier(("one", "two", "3")), "B"), (PhraseVerifier(), "a cat")),
            (RelaxedVerifier(), "7"),
        )
        self.algebra = MathVerifier(timeout=2.0)

    def __call__(self, data: bytes, number: int) -> None:
        text = data.decode("utf-8", "replace")
        said = parse(text, self.grammar)
        behind(unclosed(text), text)
        verifier, target = self.judged[number % len(self.judged)]
        assert 0 <= verifier(said.answer, target) <= 1
        if number % TOKENS_EVERY == 0:
            self.find_tokens(text)
        if number % ALGEBRA_EVERY == 0:
            self.algebra(said.answer, "\\frac{1}{2}")

    def find_tokens(self, text: str) -> None:
        """Find the tokens of every part of a response."""
        ids = self.tokenizer.encode(text, add_special_tokens=False)
        decoded, offsets = token_offsets(self.tokenizer, ids)
        spans = parse(decoded, self.grammar).spans
        masks = token_masks(offsets, spans, len(ids))
        for name, span in spans.items():
            assert bool(masks[name].any()) == (span is not None and span[0] < span[1]), name


class Images(Target):
    """Reads bytes as an image file."""

    def __init__(self) -> None:
        self.seeds = [*_images()]
        self.words = [b"Exif", b"IHDR", b"IDAT", b"acTL", b"iCCP", b"tRNS", b"\xff\xd8", b"GIF89a", b"II*\0", b"RIFF"]
        self.size = ImageSize(max_pixels=256 * 256)

    def __call__(self, data: bytes, number: int) -> None:
        image_size(data, Path())
        pixels = image_tensor(data, Path(), self.size)
        assert pixels.ndim == 3 and len(pixels) == 3 and bool(((pixels >= 0) & (pixels <= 1)).all())


class Campaign:
    """Counts what comes of inputs, and writes it down as it goes.

    Args:
        target: What is tried.
        runs: How many inputs.
        output: The figures, as JSON.
    """

    def __init__(self, target: Target, runs: int, output: Path) -> None:
        self.target, self.runs, self.output = target, runs, output
        self.count = self.refused = 0
        self.longest = 0.0
        self.faults: Counter[str] = Counter()
        self.start = time.monotonic()

    def __call__(self, data: bytes) -> None:
        """Try one input."""
        begun = time.monotonic()
        try:
            self.target(data, self.count)
        except UserError:
            self.refused += 1
        except Exception as error:  # noqa: BLE001 - what is looked for
            self._note(error, data)
        self.longest = max(self.longest, time.monotonic() - begun)
        self.count += 1
        if self.count % 1000 == 0 or self.count == self.runs:
            self._write()

    def _note(self, error: Exception, data: bytes) -> None:
        place = traceback.extract_tb(error.__traceback__)[-1]
        name = f"{type(error).__name__} at {Path(place.filename).name}:{place.lineno}"
        if name not in self.faults:
            write_whole(self.output.with_name(f"{self.output.stem}-fault{len(self.faults)}.bin"), data)
        self.faults[name] += 1

    def _write(self) -> None:
        figures = {
            "inputs": self.count,
            "refused in one line": self.refused,
            "errors that are not ours": dict(self.faults),
            "longest input in seconds": round(self.longest, 2),
            "seconds": round(time.monotonic() - self.start),
        }
        write_whole(self.output, json.dumps(figures, indent=1) + "\n")


def _responses(grammar: Grammar) -> Iterator[str]:
    """Responses that are right, wrong and odd, as seeds."""
    whole = grammar.render("a 7 and a 2", "7 + 2 = 9", "9", "both clear", 8, 10)
    yield from (whole, whole[:60], whole.replace("9", "\\frac{9}{1}"), whole * 2, "<think>" * 50, "\\boxed{" * 50)
    for answer in ("1,234.5 cm^2", "(A) two", "[1, 2]", "yes.", "3 \\times 10^{-4}", "50\\%", "\\sqrt{2}", "中文 🙂"):
        yield grammar.render("a cat", "so", answer, "sure", 0, 5)


def _images() -> Iterator[bytes]:
    """A small image in each mode and format, as seeds."""
    grey = Image.linear_gradient("L").resize((24, 16))
    modes = {mode: grey.convert(mode) for mode in ("1", "L", "P", "RGB", "RGBA", "CMYK", "I", "F", "LA")}
    modes["I;16"] = Image.new("I;16", (24, 16), 40000)
    for image in modes.values():
        for kind in (
            "PNG",
            "JPEG",
            "GIF",
            "TIFF",
            "WEBP",
            "BMP",
            "PPM",
            "TGA",
            "ICO",
            "PCX",
            "DDS",
            "JPEG2000",
            "AVIF",
        ):
            content = BytesIO()
            try:
                image.save(content, kind)
            except (OSError, KeyError, ValueError):  # not every format has every mode, nor every Pillow every format
                continue
            yield content.getvalue()
    for kind in ("GIF", "PNG", "TIFF", "WEBP"):  # animated
        content = BytesIO()
        grey.save(content, kind, save_all=True, append_images=[grey.rotate(180)])
        yield content.getvalue()
    turned, content = Image.Exif(), BytesIO()
    turned[0x0112] = 6
    grey.save(content, "JPEG", exif=turned)
    yield content.getvalue()


TARGETS = {"responses": Responses, "images": Images}


def main() -> None:
    """Fuzz one target."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("target", choices=TARGETS)
    parser.add_argument("--runs", type=int, required=True, help="inputs")
    parser.add_argument("--output", type=Path, required=True, help="the figures, as JSON")
    parser.add_argument("--seed", type=int, default=1)
    given = parser.parse_args()
    torch.set_num_threads(1)
    given.output.parent.mkdir(parents=True, exist_ok=True)
    target = TARGETS[given.target]()
    with tempfile.TemporaryDirectory() as folder:
        corpus, words = Path(folder) / "corpus", Path(folder) / "words"
        corpus.mkdir()
        for number, seed in enumerate(target.seeds):
            (corpus / str(number)).write_bytes(seed)
        words.write_text("".join(f'"{"".join(f"{chr(92)}x{byte:02x}" for byte in word)}"\n' for word in target.words))
        options = {
            "dict": words, "runs": given.runs, "seed": given.seed, "max_len": LONGEST[given.target],
            "timeout": ATHERIS_SECONDS, "rss_limit_mb": 8192, "artifact_prefix": f"{given.output.with_suffix('')}-",
        }  # fmt: skip
        campaign = Campaign(target, given.runs, given.output)
        atheris.Setup(
            [sys.argv[0], *(f"-{name}={value}" for name, value in options.items()), os.fspath(corpus)], campaign
        )
        atheris.Fuzz()


if __name__ == "__main__":
    main()
