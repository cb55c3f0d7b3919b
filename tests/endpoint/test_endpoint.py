"""Requests to servers that fail, stall and recover, and what is kept of their answers."""

from __future__ import annotations

import base64
import io
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image
from torchvision.transforms.functional import pil_to_tensor

from vlcal.policy.engines.endpoint import Answer, Decoding, Endpoint, Inquiry
from vlcal.policy.engines.endpoint_answers import AnswerFile
from vlcal.text import Grammar
from vlcal.types import PromptBatch

pytest.importorskip("openai")


def prompts(count: int) -> PromptBatch:
    images = tuple((torch.full((3, 4, 6), number / 255),) for number in range(count))
    names = tuple(f"p{number}" for number in range(count))
    return PromptBatch(names, images, tuple(f"What is {name}?" for name in names), ("1",) * count, ({},) * count)


def question(body: dict[str, Any]) -> str:
    return str(body["messages"][0]["content"][-1]["text"])


def answers(endpoint: Endpoint, count: int) -> dict[str, str]:
    inquiries = endpoint.inquiries(prompts(count), Grammar(instructions=""))
    return {inquiry.prompt: answer.text for inquiry, answer in endpoint.ask(inquiries)}


def test_each_answer_comes_back_to_the_prompt_that_asked_for_it(serve: Callable[..., Any]) -> None:
    server = serve(lambda body, _: (200, question(body)))

    found = answers(Endpoint(server.url, "m", concurrency=4), 12)

    assert found == {f"p{number}": f"What is p{number}?" for number in range(12)}


def test_a_request_holds_the_pixels_the_question_and_the_decoding(serve: Callable[..., Any]) -> None:
    server = serve(lambda *_: (200, "x"))

    answers(Endpoint(server.url, "some-model", decoding=Decoding(0.5, 0.9, 7, 3)), 1)

    (body,) = server.bodies
    assert {name: body[name] for name in ("model", "temperature", "top_p", "max_tokens", "seed")} == {
        "model": "some-model",
        "temperature": 0.5,
        "top_p": 0.9,
        "max_tokens": 7,
        "seed": 3,
    }
    image, text = body["messages"][0]["content"]
    kind, encoded = image["image_url"]["url"].split(",")
    assert kind == "data:image/png;base64"
    assert pil_to_tensor(Image.open(io.BytesIO(base64.b64decode(encoded)))).shape == (3, 4, 6)
    assert text == {"type": "text", "text": "What is p0?"}


def test_as_many_requests_are_under_way_as_concurrency_says(serve: Callable[..., Any]) -> None:
    def slow(body: dict[str, Any], before: int) -> tuple[int, str]:
        time.sleep(0.1)
        return 200, "x"

    server = serve(slow)

    answers(Endpoint(server.url, "m", concurrency=3), 9)

    assert server.most_at_once == 3


def test_a_server_in_trouble_is_asked_again(serve: Callable[..., Any]) -> None:
    server = serve(lambda _, before: (503, "starting") if before < 2 else (200, "late"))

    assert answers(Endpoint(server.url, "m", retries=2), 1) == {"p0": "late"}
    assert len(server.bodies) == 3


def test_a_server_that_stays_in_trouble_is_named_with_prompt_and_reason(serve: Callable[..., Any]) -> None:
    server = serve(lambda *_: (500, "out of memory"))

    with pytest.raises(ValueError, match=f"{server.url} did not answer prompt p0: .*out of memory"):
        answers(Endpoint(server.url, "m", retries=1), 1)
    assert len(server.bodies) == 2


def test_a_request_the_server_refuses_is_not_repeated_and_ends_the_others(serve: Callable[..., Any]) -> None:
    server = serve(lambda *_: (400, "prompt too long"))

    with pytest.raises(ValueError, match="prompt too long"):
        answers(Endpoint(server.url, "m", concurrency=1), 50)
    assert len(server.bodies) < 50


def test_an_address_where_nobody_listens_is_one_error(serve: Callable[..., Any]) -> None:
    with pytest.raises(ValueError, match="did not answer prompt p0: Connection error"):
        answers(Endpoint("http://127.0.0.1:9/v1", "m", retries=0), 1)


def test_thinking_that_the_server_cut_out_is_put_back(serve: Callable[..., Any]) -> None:
    apart = {"reasoning_content": "<vision>a 7</vision>"}
    server = serve(lambda _, before: (200, {**apart, "content": "\\boxed{7}"} if before == 0 else apart))
    endpoint = Endpoint(server.url, "m")

    assert answers(endpoint, 1) == {"p0": "<think><vision>a 7</vision></think>\\boxed{7}"}
    assert answers(endpoint, 1) == {"p0": "<think><vision>a 7</vision>"}


def test_the_key_is_sent_and_never_written_down(serve: Callable[..., Any], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SOME_KEY", "abc")
    server = serve(lambda *_: (200, "x"))
    endpoint = Endpoint(server.url, "m", api_key_env="SOME_KEY")

    answers(endpoint, 1)

    assert server.headers[0]["authorization"] == "Bearer abc"
    assert "abc" not in str(vars(endpoint))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"url": "localhost:8000"}, "`url` must start with http:// or https://"),
        ({"concurrency": 0}, "`concurrency` must be at least 1"),
        ({"timeout": 0}, "`timeout` must be above 0 seconds"),
        ({"retries": -1}, "`retries` must be at least 0"),
    ],
)
def test_settings_that_cannot_work_are_refused(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Endpoint(**{"url": "http://localhost/v1", "model": "m", **settings})


@pytest.mark.parametrize("settings", [{"temperature": -0.1}, {"top_p": 0.0}, {"max_tokens": 0}])
def test_decoding_that_cannot_work_is_refused(settings: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=f"`{next(iter(settings))}` must"):
        Decoding(**settings)


def test_a_key_that_is_not_set_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MISSING_KEY", raising=False)

    with pytest.raises(ValueError, match="MISSING_KEY is not set"):
        answers(Endpoint("http://localhost/v1", "m", api_key_env="MISSING_KEY"), 1)


def test_a_kept_answer_is_found_by_the_same_request_alone(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "answers.jsonl"
    same, other = Inquiry("p", {"seed": 0}), Inquiry("p", {"seed": 1})

    AnswerFile(path).keep(same, Answer("é 😀\n\ud83d", truncated=True))
    again = AnswerFile(path)

    assert again.find(Inquiry("p", {"seed": 0})) == Answer("é 😀\n\ud83d", truncated=True)
    assert again.find(other) is None
    assert again.find(Inquiry("q", {"seed": 0})) is None


@pytest.mark.parametrize("damage", [b'{"id": "b", "requ', b"\x00\x00\x00\n", b'{"id": "b"}\n'])
def test_a_damaged_last_line_is_dropped_and_the_next_answer_stands_on_its_own(tmp_path: Path, damage: bytes) -> None:
    path = tmp_path / "answers.jsonl"
    first, second = Inquiry("a", {}), Inquiry("b", {})
    AnswerFile(path).keep(first, Answer("one", truncated=False))
    path.write_bytes(path.read_bytes() + damage)

    with pytest.warns(UserWarning, match="row 2: cut short; dropped"):
        file = AnswerFile(path)
    file.keep(second, Answer("two", truncated=False))

    again = AnswerFile(path)
    assert [again.find(inquiry) for inquiry in (first, second)] == [Answer("one", False), Answer("two", False)]


def test_a_damaged_line_between_others_is_refused_by_row(tmp_path: Path) -> None:
    path = tmp_path / "answers.jsonl"
    path.write_text('{"id"\n{"id": "b", "request": "k", "text": "", "truncated": false}\n')

    with pytest.raises(ValueError, match="row 1: no answer"):
        AnswerFile(path)
