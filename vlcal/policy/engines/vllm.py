"""An engine that samples from running `vllm serve` processes."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from torch.nn.utils.rnn import pad_sequence

from vlcal.errors import UserError, one_line
from vlcal.policy.engines.base import RolloutEngine, rollouts
from vlcal.policy.engines.published import PublishedAdapter
from vlcal.policy.engines.server import Server, chat_messages
from vlcal.policy.layouts.continuations import Continuations
from vlcal.policy.layouts.encoded import EncodedPrompts
from vlcal.policy.policy import Policy
from vlcal.types import Rollouts

FORBIDDEN = -100.0  # added to a logit: the least that the wire format takes


@dataclass(frozen=True)
class Written:
    """One completion as a server sent it: its tokens, the end token included, and their log-probabilities."""

    tokens: list[int]
    log_probs: list[float]


class VLLMEngine(RolloutEngine):
    """Samples from running `vllm serve` processes, which are handed the adapter after each update under a new name.

    How to start them: docs/guide/scale_out.md. Every call compares the log-probabilities that came with the
    completions of its first prompt with those of the policy itself: a server with other weights, an old adapter or
    another temperature ends the run. A smaller difference, of kernels and dtypes, is logged as
    `train/response/sampling_mismatch` and weighed by a `correction` such as `TruncatedImportance`. Of a batch that is
    not answered whole, nothing is learned.

    Args:
        servers: Of one base model, the checkpoint of the policy; prompts are dealt out among them. On several ranks
            each rank takes servers of its own, at least one.
        adapters: Folder that adapters are written to; the servers see it under the same path.
        max_new_tokens: Longest completion, end token included.
        temperature: Divides the logits; 1 samples from the policy itself.
        tolerance: Largest mean difference of log-probabilities, in nats a token, above 0.
    """

    forces_starts = False

    def __init__(
        self,
        servers: list[Server],
        adapters: Path,
        max_new_tokens: int = 512,
        temperature: float = 1.0,
        tolerance: float = 0.1,
    ) -> None:
        super().__init__(temperature)
        if not servers:
            raise UserError("`servers` must name at least one running `vllm serve`; got none.")
        if other := [type(server).__name__ for server in servers if type(server) is not Server]:
            raise UserError(f"`servers` must be of Server, since the engine decides how to sample; got {other[0]}.")
        if max_new_tokens < 1:
            raise UserError(f"`max_new_tokens` must be at least 1; got {max_new_tokens}.")
        if not tolerance > 0:
            raise UserError(f"`tolerance` must be above 0 nats, since kernels round differently; got {tolerance}.")
        self.servers = servers
        self.adapters = adapters
        self.max_new_tokens = max_new_tokens
        self.tolerance = tolerance
        self._published: PublishedAdapter | None = None

    @torch.no_grad()
    def sample(
        self,
        policy: Policy,
        encoded: EncodedPrompts,
        group_size: int,
        seeds: Sequence[int],
        starts: Sequence[Sequence[int]] | None = None,
    ) -> Rollouts:
        """Completions with the log-probabilities that the server drew them with.

        Raises:
            UserError: If a server does not answer, answers another prompt or model than was asked, or completions are
                to begin with given tokens.
        """
        if starts is not None and any(starts):
            raise UserError(
                "`starts` must be FreeStarts for VLLMEngine: its chat completions take texts, not the tokens that a "
                "completion is to begin with. Use GroupEngine for other starts."
            )
        self._published = self._published or PublishedAdapter(self.adapters)
        clients = {server: server.client() for server in self._own_servers()}
        try:
            self._published.publish(policy, clients)
            bodies = [
                self._body(policy, self._published.name, question, group_size, seed)
                for question, seed in zip(encoded.questions, seeds, strict=True)
            ]
            asked = _asked_of(list(clients.items()), bodies)
        finally:
            for client in clients.values():
                client.close()
        groups = [self._group(encoded, row, *reply, group_size) for row, reply in enumerate(asked)]
        completions = [each for group in groups for each in group]
        tokens = pad_sequence(
            [torch.tensor(each.tokens) for each in completions], batch_first=True, padding_value=policy.pad_token_id
        )
        log_probs = pad_sequence([torch.tensor(each.log_probs) for each in completions], batch_first=True)
        found = rollouts(policy, tokens.to(policy.device), log_probs.to(policy.device), group_size)
        self._check_weights(policy, encoded, found)
        return found

    def _own_servers(self) -> list[Server]:
        """The servers of this rank."""
        rank, ranks = (dist.get_rank(), dist.get_world_size()) if dist.is_initialized() else (0, 1)
        if len(self.servers) < ranks:
            raise UserError(
                f"`servers` must name at least one server for each of {ranks} ranks, which publish adapters of their "
                f"own; got {len(self.servers)}."
            )
        return self.servers[rank::ranks]

    def _body(
        self, policy: Policy, adapter: str, question: tuple[str, Any], group_size: int, seed: int
    ) -> dict[str, Any]:
        """The request for one group; what the server's own generation config could change is set."""
        text, images = question
        return {
            "model": adapter,
            "messages": chat_messages(images, text),
            "n": group_size,
            "seed": seed,
            "max_completion_tokens": self.max_new_tokens,
            "temperature": self.temperature,
            "top_p": 1.0,
            "frequency_penalty": 0.0,
            "presence_penalty": 0.0,
            "logit_bias": {str(token): FORBIDDEN for token in policy.placeholders},
            "logprobs": True,
            "top_logprobs": 0,
            "extra_body": {
                "top_k": 0,
                "min_p": 0.0,
                "repetition_penalty": 1.0,
                "stop_token_ids": list(policy.end_tokens),
                "return_token_ids": True,
                "return_tokens_as_token_ids": True,
            },
        }

    def _group(self, encoded: EncodedPrompts, row: int, server: Server, reply: Any, group_size: int) -> list[Written]:
        """The completions of one prompt, if they are of this prompt and whole.

        Raises:
            UserError: If not; says what is missing.
        """
        prompt = encoded.rows["input_ids"][row][encoded.rows["attention_mask"][row].bool()].tolist()
        read = getattr(reply, "prompt_token_ids", None)
        choices = sorted(reply.choices or [], key=lambda choice: choice.index)
        completions = [_written(choice) for choice in choices]
        if read is None or len(completions) != group_size or None in completions:
            raise UserError(
                f"{server.url} must answer with {group_size} completions, their token ids and log-probabilities; it "
                "did not. VLLMEngine needs vLLM, at least 0.11."
            )
        if read != prompt:
            raise UserError(
                f"{server.url} must read a prompt as the policy does; it read {len(read)} tokens, the policy "
                f"{len(prompt)}, equal up to token {_agreeing(read, prompt)}. Start `vllm serve` with the folder of "
                "the policy's processor and chat template, which `ModelExport` writes, and without overrides of "
                "either."
            )
        return completions  # type: ignore[return-value]  # None is refused above

    def _check_weights(self, policy: Policy, encoded: EncodedPrompts, found: Rollouts) -> None:
        """Refuse completions that were sampled from other weights than the policy's."""
        size = found.group_size
        tokens, mask = found.tokens[:size], found.mask[:size]
        own, _ = policy.score(Continuations.of(encoded.select([0]), tokens, mask), self.temperature)
        gap = float((own - found.log_probs[:size])[mask].abs().mean())
        if not gap <= self.tolerance:
            raise UserError(
                f"`tolerance` is {self.tolerance} nats a token, and the log-probabilities of the servers differ by "
                f"{gap:.3g} from those of the policy: they sample from other weights than those that learn, or report "
                "log-probabilities of another distribution. Check that they serve the checkpoint of the policy, with "
                "--logprobs-mode processed_logprobs."
            )


def _asked_of(clients: Sequence[tuple[Server, Any]], bodies: Sequence[dict[str, Any]]) -> list[tuple[Server, Any]]:
    """The replies to all requests, which are dealt out among servers, each with the server that it came from.

    Raises:
        UserError: If one is not answered; the others are given up.
    """
    pool = ThreadPoolExecutor(sum(server.concurrency for server, _ in clients))
    try:
        waiting = [pool.submit(_reply, *clients[row % len(clients)], body) for row, body in enumerate(bodies)]
        return [each.result() for each in waiting]
    finally:
        pool.shutdown(wait=False, cancel_futures=True)


def _reply(server: Server, client: Any, body: dict[str, Any]) -> tuple[Server, Any]:
    from openai import OpenAIError

    try:
        return server, client.chat.completions.create(**body)
    except OpenAIError as error:
        raise UserError(
            f"{server.url} did not complete a prompt, and nothing was learned from this batch: "
            f"{one_line(error)} Start it again, and resume the run with --ckpt_path last."
        ) from error


def _written(choice: Any) -> Written | None:
    """A completion; None where token ids or log-probabilities are missing."""
    tokens, logged = getattr(choice, "token_ids", None), choice.logprobs and choice.logprobs.content
    if not tokens or not logged or len(tokens) != len(logged):
        return None
    return Written(list(tokens), [float(each.logprob) for each in logged])


def _agreeing(one: Sequence[int], other: Sequence[int]) -> int:
    """How many tokens both begin with."""
    return next((at for at, (a, b) in enumerate(zip(one, other, strict=False)) if a != b), min(len(one), len(other)))
