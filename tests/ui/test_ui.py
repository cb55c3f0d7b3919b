"""The local page: what its server answers, what it refuses, and who may ask."""

from __future__ import annotations

import asyncio
import base64
import json
import socket
import sys
from collections.abc import Callable
from io import BytesIO
from pathlib import Path
from typing import Any

import httpx2
import pytest
import torch
from PIL import Image

from vlcal.cli import main
from vlcal.commands.ui import _hosts
from vlcal.data.digits.datamodule import DigitsScenes, prompt_batch
from vlcal.inference import CalibratedModel, Question, load
from vlcal.inference.examination import examine
from vlcal.perturbations import NoPerturbation
from vlcal.ui import server
from vlcal.ui.server import ModelServer

BASE = Path(server.__file__).parents[1] / "base"
Post = Callable[..., tuple[int, dict[str, Any]]]


@pytest.fixture(scope="module")
def base() -> CalibratedModel:
    return load(BASE, device="cpu")


@pytest.fixture(scope="module")
def post(base: CalibratedModel) -> Post:
    """Sends a JSON object, or other content, to the page's server."""
    app = ModelServer(base, "the base", ["localhost"]).app()

    async def sent(path: str, content: bytes, host: str, kind: str) -> httpx2.Response:
        transport = httpx2.ASGITransport(app=app)
        async with httpx2.AsyncClient(transport=transport, base_url=f"http://{host}") as client:
            return await client.post(path, content=content, headers={"Content-Type": kind})

    def answer(
        path: str, wanted: object, host: str = "localhost", kind: str = "application/json"
    ) -> tuple[int, dict[str, Any]]:
        reply = asyncio.run(sent(path, json.dumps(wanted).encode(), host, kind))
        return reply.status_code, reply.json() if "json" in reply.headers["content-type"] else {}

    return answer


def data_url(image: Image.Image) -> str:
    stored = BytesIO()
    image.save(stored, "PNG")
    return f"data:image/png;base64,{base64.b64encode(stored.getvalue()).decode()}"


def test_a_scene_is_asked_about_spoiled_and_read_otherwise(post: Post) -> None:
    _, scene = post("/scene", {"seed": 1})
    _, own = post("/examine", scene)
    _, masked = post("/examine", scene | {"spoil": "mask", "strength": 1.0})
    other = f"{(int(own['reading'][0]) + 5) % 10}{own['reading'][1:]}"
    _, altered = post("/examine", scene | {"reading": other})

    assert own["shown"] == scene["image"] and masked["shown"] != scene["image"]
    assert "".join(piece["text"] for piece in own["pieces"]).startswith(f"<think><vision>{own['reading']}</vision>")
    assert altered["reading"] == other and altered["expected"] != own["expected"]
    vision = [piece for piece in own["pieces"] if piece["part"] == "vision"]
    assert "".join(piece["text"] for piece in vision) == own["reading"]
    assert all(0 <= piece["certainty"] <= 1 for piece in vision)
    assert all(piece["certainty"] is None for piece in own["pieces"] if piece["part"] != "vision")
    assert all(0 <= own["expected"][kind] <= 1 for kind in ("visual", "reasoning", "overall"))


def test_where_training_perturbs_no_image_a_vision_token_is_as_certain_as_it_is_likely(
    base: CalibratedModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(base.pipeline, "perturbation", NoPerturbation())
    name, asked = DigitsScenes("test", 1, lambda _: (0.0, 0.0), seed=1)[0]
    prompts = prompt_batch([(name, asked)])
    question = Question(prompts.questions[0], (prompts.images[0][0],))

    own = examine(base, question)
    assert own.reading is not None
    other = examine(base, question, f"{(int(own.reading[0]) + 5) % 10}{own.reading[1:]}")
    blank = examine(base, Question(prompts.questions[0], (torch.zeros(3, 32, 96),)))
    read, altered = ([p.certainty for p in found.pieces if p.part == "vision"] for found in (own, other))

    assert read[0] is not None and altered[0] is not None and read[0] > 0.9 > 0.1 > altered[0]  # a clear scene
    assert {piece.certainty for piece in blank.pieces} == {None}


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"question": " "}, "`question` must be a text"),
        ({"question": "?" * 5000}, "`question` must have at most 4,000 characters"),
        ({"image": "/etc/passwd"}, "cannot be read as an image"),
        ({"image": "data:,###"}, "`image` must be a data URL in base64"),
        ({"image": data_url(Image.new("1", (8000, 8000)))}, "`image` must have at most 40,000,000 pixels"),
        ({"spoil": "burn"}, "`spoil` must be one of mask, blur, noise"),
        ({"strength": 2}, "`strength` must lie in"),
        ({"strength": "much"}, "`strength` must be a number"),
        ({"reading": "7</vision>"}, "without the tags of a response"),
        ({"reading": "7" * 100}, "must leave room below `max_new_tokens`"),
    ],
)
def test_what_cannot_be_asked_is_refused_in_one_line(post: Post, change: dict[str, Any], said: str) -> None:
    wanted = {"image": data_url(Image.new("RGB", (96, 32))), "question": "What is the number?"} | change

    status, found = post("/examine", wanted)

    assert status == 422 and said in found["error"] and "\n" not in found["error"]


def test_another_site_can_neither_ask_by_a_form_nor_by_a_name_of_its_own(post: Post) -> None:
    assert post("/scene", {"seed": 1}, host="evil.example")[0] == 400
    assert post("/scene", {"seed": 1}, kind="text/plain") == (
        422,
        {"error": "a request must be of the type application/json."},
    )
    assert _hosts("127.0.0.1") == ["localhost", "127.0.0.1"] and _hosts("0.0.0.0") == ["*"]


def test_requests_are_bounded_in_size_and_number(post: Post, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server, "BODY_BYTES", 10)
    assert "a request must have at most 10 bytes" in post("/scene", {"seed": 12345})[1]["error"]

    monkeypatch.undo()
    monkeypatch.setattr(server, "WAITING", 0)
    assert post("/scene", {"seed": 1})[0] == 503


def test_the_page_asks_nothing_of_the_network() -> None:
    page = Path(server.__file__).with_name("page")

    assert [path.name for path in page.iterdir() if "//" in path.read_text(encoding="utf-8").replace("// ", "")] == []


def test_an_address_that_is_taken_is_refused_before_a_model_is_loaded() -> None:
    with (
        socket.create_server(("127.0.0.1", 0)) as taken,
        pytest.raises(SystemExit, match="must be a free IPv4 address"),
    ):
        main(["ui", str(BASE), "--port", str(taken.getsockname()[1])])


def test_a_missing_library_is_one_line_with_its_installation(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "uvicorn", None)
    with pytest.raises(SystemExit, match="`vlcal ui` needs uvicorn; install it with: pip install 'vlcal.ui.'"):
        main(["ui", str(BASE)])
