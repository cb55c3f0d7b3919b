"""The part of the wire format of vLLM 0.33 that rollouts use: chat completions and adapters at run time.

Names, types and bounds are those of its OpenAI-compatible protocol; whatever a request has beyond them is refused,
where vLLM itself ignores it, so that a name that is spelled wrong is found.
"""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

INT64 = 2**63


class Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)


class ImageUrl(Strict):
    url: str = Field(pattern=r"^data:image/png;base64,")


class Part(Strict):
    type: Literal["text", "image_url"]
    text: str | None = None
    image_url: ImageUrl | None = None


class Message(Strict):
    role: Literal["user"]
    content: list[Part]


class ChatRequest(Strict):
    model: str
    messages: list[Message]
    n: int = 1
    seed: int | None = Field(None, ge=-INT64, lt=INT64)
    max_completion_tokens: int | None = None
    temperature: float | None = None
    top_p: float | None = None
    frequency_penalty: float | None = None
    presence_penalty: float | None = None
    logit_bias: dict[str, float] | None = None
    logprobs: bool | None = False
    top_logprobs: int | None = 0
    # Beyond the API of OpenAI.
    top_k: int | None = None
    min_p: float | None = None
    repetition_penalty: float | None = None
    stop_token_ids: list[int] | None = []
    return_token_ids: bool | None = None
    return_tokens_as_token_ids: bool | None = None


class LogProb(Strict):
    token: str = Field(pattern=r"^token_id:\d+$")
    logprob: float
    bytes: list[int] | None = None
    top_logprobs: list[LogProb] = []


class LogProbs(Strict):
    content: list[LogProb]


class Reply(Strict):
    role: Literal["assistant"] = "assistant"
    content: str


class Choice(Strict):
    index: int
    message: Reply
    logprobs: LogProbs
    finish_reason: Literal["stop", "length"]
    stop_reason: int | str | None = None
    token_ids: list[int] | None


class Usage(Strict):
    prompt_tokens: int
    total_tokens: int
    completion_tokens: int


class ChatReply(Strict):
    id: str
    object: Literal["chat.completion"] = "chat.completion"
    created: int
    model: str
    choices: list[Choice]
    usage: Usage
    prompt_token_ids: list[int] | None


class LoadAdapter(Strict):
    lora_name: str
    lora_path: str
    load_inplace: bool = False


class UnloadAdapter(Strict):
    lora_name: str
    lora_int_id: int | None = None
