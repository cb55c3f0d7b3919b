"""A model behind an OpenAI-compatible address: vLLM, SGLang, `transformers serve` and the like."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, as_completed
from dataclasses import asdict, dataclass
from typing import Any

from vlcal.errors import UserError, one_line
from vlcal.parts import fresh_defaults
from vlcal.policy.engines.server import Server, chat_messages
from vlcal.text import Grammar
from vlcal.types import PromptBatch


@dataclass(frozen=True)
class Decoding:
    """How the server samples a completion.

    Args:
        temperature: Divides the logits; 0 is greedy decoding.
        top_p: Smallest share of probability to sample from, in (0, 1]; 1 samples from all.
        max_tokens: Longest completion.
        seed: Sent with every request; whether it makes answers reproducible depends on the server.
    """

    temperature: float = 0.6
    top_p: float = 0.95
    max_tokens: int = 2048
    seed: int = 0

    def __post_init__(self) -> None:
        if self.temperature < 0:
            raise UserError(f"`temperature` must be at least 0, which is greedy decoding; got {self.temperature}.")
        if not 0 < self.top_p <= 1:
            raise UserError(f"`top_p` must lie in (0, 1], where 1 samples from all tokens; got {self.top_p}.")
        if self.max_tokens < 1:
            raise UserError(f"`max_tokens` must be at least 1; got {self.max_tokens}.")


@dataclass(frozen=True)
class Inquiry:
    """One request: the id of its prompt, and its body."""

    prompt: str
    body: Mapping[str, Any]

    @property
    def key(self) -> str:
        """A digest that changes with the prompt's id, the model, the decoding, the question or a pixel."""
        written = json.dumps([self.prompt, self.body], sort_keys=True)
        return hashlib.blake2b(written.encode(), digest_size=16).hexdigest()


@dataclass(frozen=True)
class Answer:
    """The answer to a request.

    Args:
        text: The completion.
        truncated: True where it reached the length limit.
    """

    text: str
    truncated: bool


class Endpoint(Server):
    """Samples completions from a model behind an OpenAI-compatible address, many requests at a time.

    Args:
        url: Base address, for example http://localhost:8000/v1.
        model: Name of the model on the server.
        api_key_env: Environment variable that holds the key; None where the server needs none.
        concurrency: Requests in flight at a time.
        timeout: Seconds after which a request fails.
        retries: Further attempts, with exponential backoff, when the server is unreachable, busy or failing.
        decoding: How completions are sampled.
    """

    @fresh_defaults
    def __init__(
        self,
        url: str,
        model: str,
        api_key_env: str | None = None,
        concurrency: int = 16,
        timeout: float = 600.0,
        retries: int = 5,
        decoding: Decoding = Decoding(),
    ) -> None:
        super().__init__(url, model, api_key_env, concurrency, timeout, retries)
        self.decoding = decoding

    def inquiries(self, prompts: PromptBatch, grammar: Grammar) -> list[Inquiry]:
        """One request per prompt: its images as PNG, then its question with the grammar's instructions."""
        return [
            Inquiry(
                name, {"model": self.model, "messages": chat_messages(images, grammar.prompt(question)), **decoding}
            )
            for decoding in [asdict(self.decoding)]
            for name, images, question in zip(prompts.ids, prompts.images, prompts.questions, strict=True)
        ]

    def ask(self, inquiries: Sequence[Inquiry]) -> Iterator[tuple[Inquiry, Answer]]:
        """The answers in order of arrival.

        After a failure nothing more is sent; requests in flight still yield their answers before the failure is raised.

        Raises:
            UserError: If a request fails for good; names the prompt and the reason.
        """
        client = self.client()
        pool = ThreadPoolExecutor(self.concurrency)
        failure: BaseException | None = None
        try:
            waiting: dict[Future[Answer], Inquiry] = {
                pool.submit(self._answer, client, inquiry): inquiry for inquiry in inquiries
            }
            for done in as_completed(waiting):
                if done.cancelled():
                    continue
                if (error := done.exception()) is None:
                    yield waiting[done], done.result()
                elif failure is None:
                    failure = error
                    for other in waiting:
                        other.cancel()
        finally:
            pool.shutdown(cancel_futures=True)
            client.close()
        if failure is not None:
            raise failure

    def _answer(self, client: Any, inquiry: Inquiry) -> Answer:
        from openai import OpenAIError

        try:
            completion = client.chat.completions.create(**inquiry.body)
        except OpenAIError as error:
            reason = one_line(error)
            raise UserError(f"{self.url} did not answer prompt {inquiry.prompt}: {reason}") from error
        if not getattr(completion, "choices", None):
            raise UserError(f"{self.url} answered prompt {inquiry.prompt} without a choice. Is it a chat completion?")
        choice = completion.choices[0]
        return Answer(_text(choice.message), choice.finish_reason == "length")


def _text(message: Any) -> str:
    """The completion as the model wrote it.

    A server with a reasoning parser, such as `transformers serve` with Qwen3-VL or vLLM, cuts `<think>...</think>` out
    and returns its content in a field of its own. It is put back; where no answer follows, the model was truncated
    inside it, so that the closing tag is missing.
    """
    extra = message.model_extra or {}
    thinking = extra.get("reasoning_content") or extra.get("reasoning")
    answer = message.content or ""
    return answer if not thinking else f"<think>{thinking}</think>{answer}" if answer else f"<think>{thinking}"
