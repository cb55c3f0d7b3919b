"""The local server: one page, and two requests that it makes.

Nothing is kept between requests, so there is no session to outgrow the memory. Sizes, the queue and who may ask are
bounded here.
"""

from __future__ import annotations

import asyncio
import base64
import binascii
import json
from collections.abc import Callable
from dataclasses import asdict
from importlib.resources import files
from io import BytesIO
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.middleware import Middleware
from starlette.middleware.trustedhost import TrustedHostMiddleware
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route
from torch import Tensor
from torchvision.transforms.functional import to_pil_image

from vlcal.data.digits.glyphs import load_glyphs
from vlcal.data.digits.scene import draw_scene
from vlcal.data.images import ImageSize, image_size, image_tensor
from vlcal.errors import UserError
from vlcal.inference.examination import examine
from vlcal.inference.model import CalibratedModel, Question
from vlcal.perturbations import Blur, GaussianNoise, PatchMask, Perturbation

BODY_BYTES = 16_000_000  # of a request; an image of 12 MB in base64
DECODED_PIXELS = 40_000_000  # of an image as it comes, which takes 160 MB to decode
SHOWN_PIXELS = 1_003_520  # of an image as the model gets it: 1,280 tokens of Qwen2.5-VL
QUESTION_CHARACTERS = 4_000
WAITING = 8  # requests that wait for the model; one more is turned away
SPOILS: dict[str, Callable[[float], Perturbation]] = {
    "mask": PatchMask,
    "blur": lambda strength: Blur(strength, widest=0.3),
    "noise": GaussianNoise,
}
PAGE = {
    "/": ("index.html", "text/html"),
    "/page.css": ("page.css", "text/css"),
    "/page.js": ("page.js", "text/javascript"),
}
HEADERS = {
    "Content-Security-Policy": "default-src 'self'; img-src 'self' data: blob:; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "Cache-Control": "no-store",
}


class ModelServer:
    """Answers what the page asks, one request after the other.

    Args:
        model: The model that is asked.
        name: What the page calls it.
        hosts: Names under which the page may be reached, so that no other site's name leads here; "*" allows all.
    """

    def __init__(self, model: CalibratedModel, name: str, hosts: list[str]) -> None:
        self.model = model
        self.name = name
        self.hosts = hosts
        bounds = model.image_size
        self.size = ImageSize(min(bounds.min_pixels, SHOWN_PIXELS), int(min(bounds.max_pixels, SHOWN_PIXELS)), 200.0)
        self._turn = asyncio.Lock()
        self._waiting = 0

    def app(self) -> Starlette:
        """The application, for any ASGI server."""
        pages = [Route(path, _served(*page)) for path, page in PAGE.items()]
        asked = [Route("/scene", self._answering(self.scene), methods=["POST"])]
        asked.append(Route("/examine", self._answering(self.examined), methods=["POST"]))
        return Starlette(
            routes=[*pages, *asked], middleware=[Middleware(TrustedHostMiddleware, allowed_hosts=self.hosts)]
        )

    def scene(self, wanted: dict[str, Any]) -> dict[str, Any]:
        """A scene of unseen handwriting with a question: `seed` draws it."""
        rng = torch.Generator().manual_seed(_whole(wanted, "seed"))
        drawn = draw_scene(load_glyphs(held_out=True), 3, (0.0, 0.3), rng)
        assert drawn.image is not None  # a drawn scene is always shown
        return {"image": _data_url(drawn.image), "question": drawn.asked, "model": self.name}

    def examined(self, wanted: dict[str, Any]) -> dict[str, Any]:
        """The response to `question` about `image`, spoiled in the way `spoil` by `strength`, behind `reading`."""
        question, reading = _text(wanted, "question"), wanted.get("reading")
        clean = self._image(_text(wanted, "image"))
        spoil = wanted.get("spoil", "mask")
        if spoil not in SPOILS:
            raise UserError(f"`spoil` must be one of {', '.join(SPOILS)}; got {spoil!r}.")
        strength = wanted.get("strength", 0.0)
        if not isinstance(strength, int | float):
            raise UserError(f"`strength` must be a number in [0, 1]; got {strength!r}.")
        perturbation = SPOILS[spoil](float(strength))
        shown = perturbation(clean, torch.Generator().manual_seed(0), self.model.policy.grid(clean))
        given = None if reading is None else _text(wanted, "reading")
        return {**asdict(examine(self.model, Question(question, (shown,)), given)), "shown": _data_url(shown)}

    def _image(self, text: str) -> Float[Tensor, "3 H W"]:
        """The image of a data URL; no path is ever opened."""
        try:
            stored = base64.b64decode(text.partition(",")[2], validate=True)
        except binascii.Error as error:
            raise UserError(f"`image` must be a data URL in base64; {error}.") from error
        width, height = image_size(stored, Path())
        if width * height > DECODED_PIXELS:
            raise UserError(f"`image` must have at most {DECODED_PIXELS:,} pixels; got {width} x {height}.")
        return image_tensor(stored, Path(), self.size)

    def _answering(self, answer: Callable[[dict[str, Any]], dict[str, Any]]) -> Callable[[Request], Any]:
        """An endpoint that reads a JSON object, waits for its turn and answers with another."""

        async def endpoint(request: Request) -> Response:
            try:
                wanted = await _json(request)
                if self._waiting >= WAITING:
                    return _refused("too many questions wait for the model; ask again in a moment", 503)
                self._waiting += 1
                try:
                    async with self._turn:
                        found = await run_in_threadpool(answer, wanted)
                finally:
                    self._waiting -= 1
            except UserError as error:
                return _refused(str(error), 422)
            return JSONResponse(found, headers=HEADERS)

        return endpoint


def _served(name: str, kind: str) -> Callable[[Request], Response]:
    content = files("vlcal.ui").joinpath("page", name).read_bytes()

    def endpoint(request: Request) -> Response:
        return Response(content, media_type=kind, headers=HEADERS)

    return endpoint


def _refused(why: str, status: int) -> Response:
    return JSONResponse({"error": why}, status, headers=HEADERS)


async def _json(request: Request) -> dict[str, Any]:
    """The body, read no further than it may be long.

    Raises:
        UserError: If it is longer, or no JSON object.
    """
    # A form of another site can send no such type without asking first, which is never granted.
    if request.headers.get("content-type", "").partition(";")[0] != "application/json":
        raise UserError("a request must be of the type application/json.")
    body = BytesIO()
    async for part in request.stream():
        if body.tell() + len(part) > BODY_BYTES:
            raise UserError(f"a request must have at most {BODY_BYTES:,} bytes. Take a smaller image.")
        body.write(part)
    try:
        found = json.loads(body.getvalue())
    except (ValueError, RecursionError) as error:
        raise UserError(f"a request must be JSON; {error}.") from error
    if not isinstance(found, dict):
        raise UserError("a request must be a JSON object.")
    return found


def _text(wanted: dict[str, Any], key: str) -> str:
    found = wanted.get(key)
    if not isinstance(found, str) or not found.strip():
        raise UserError(f"`{key}` must be a text; got {'none' if not found else type(found).__name__}.")
    if key != "image" and len(found) > QUESTION_CHARACTERS:
        raise UserError(f"`{key}` must have at most {QUESTION_CHARACTERS:,} characters; got {len(found):,}.")
    return found


def _whole(wanted: dict[str, Any], key: str) -> int:
    found = wanted.get(key)
    if not isinstance(found, int) or not 0 <= found < 2**31:
        raise UserError(f"`{key}` must be a whole number from 0 to 2^31 - 1; got {found!r}.")
    return found


def _data_url(image: Float[Tensor, "3 H W"]) -> str:
    stored = BytesIO()
    to_pil_image(image.cpu()).save(stored, "PNG")
    return f"data:image/png;base64,{base64.b64encode(stored.getvalue()).decode()}"
