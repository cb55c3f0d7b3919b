"""The GPU memory of a step, by part and phase."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Mapping
from dataclasses import dataclass, replace
from math import ceil

from vlcal.functional.vocabulary import FREE_SHARE, LARGEST_BLOCK, LOGIT_BYTES
from vlcal.policy.memory.skeleton import Skeleton

CONTEXT = 512 * 2**20  # bytes of a CUDA context with the workspace of its matrix products
SLACK = 0.05  # share of temporary memory that fragmentation costs
ROOMY = 0.95  # share of the GPU memory that an estimate may fill
RECORD_BYTES = 80  # of one completion token in the records of a step, with their copy for the update


@dataclass(frozen=True)
class Workload:
    """The sizes of the largest step on one device.

    Args:
        prompts: Prompts a step.
        chunk: Of these, the prompts that are on the device at once.
        prompt_tokens: Of the longest prompt, image tokens included.
        image_tokens: Of the prompt with the most.
        pixel_values: Numbers that the processor makes of the images of that prompt.
        group_size: Completions per prompt.
        completion_tokens: Longest completion.
        token_budget: Tokens that go through the model at once.
        copies: Perturbed copies per image.
        anchored: Whether the update runs the reference too.
        second_copy: Whether the reference is a second model in memory.
        ranks: Devices, each with a step of this size.
    """

    prompts: int
    chunk: int
    prompt_tokens: int
    image_tokens: int
    pixel_values: int
    group_size: int
    completion_tokens: int
    token_budget: int
    copies: int = 1
    anchored: bool = False
    second_copy: bool = False
    ranks: int = 1

    @property
    def tokens_at_once(self) -> int:
        """Tokens of the largest pass: the budget, or a single completion with its prompt where that exceeds it."""
        return max(self.token_budget, self.prompt_tokens + self.completion_tokens)


@dataclass(frozen=True)
class Footprint:
    """Bytes of a step by part.

    Args:
        resident: Held throughout training.
        phases: Held beside that in each phase of a step; phases do not overlap.
    """

    resident: Mapping[str, int]
    phases: Mapping[str, Mapping[str, int]]

    @property
    def largest(self) -> str:
        """The phase that holds the most."""
        return max(self.phases, key=self.of)

    @property
    def peak(self) -> int:
        """Bytes that the GPU needs."""
        return sum(self.resident.values()) + self.of(self.largest)

    def of(self, phase: str) -> int:
        """Bytes of a phase, fragmentation included."""
        return ceil((1 + SLACK) * sum(self.phases[phase].values()))


def footprint(skeleton: Skeleton, work: Workload, optimizer_bytes: int, card: int) -> Footprint:
    """The footprint of a step.

    Args:
        skeleton: The policy.
        work: The sizes of the step.
        optimizer_bytes: Of the optimizer's state.
        card: Bytes of the GPU, since vocabulary blocks grow with free memory.
    """
    resident = _resident(skeleton, work, optimizer_bytes)
    update = skeleton.update_bytes(work.tokens_at_once)
    scoring = skeleton.scoring_bytes(work.tokens_at_once)
    states = work.tokens_at_once * skeleton.width * skeleton.dtype.itemsize
    fitting = max(1, (work.tokens_at_once - work.prompt_tokens) // work.completion_tokens)
    seen = work.completion_tokens * (work.prompt_tokens + work.completion_tokens)
    groups = skeleton.grouping_bytes(work.tokens_at_once, work.prompt_tokens, fitting)
    groups += fitting * seen * (skeleton.dtype.itemsize + 1)  # the mask, boolean and additive
    free = card - sum(resident.values())
    blocks = [
        _vocabulary(skeleton, tokens, free - busy)
        for tokens, busy in (
            (work.tokens_at_once, update.kept + 3 * states + groups),
            (work.tokens_at_once, scoring + 2 * states + groups),
        )
    ]
    phases = {
        "images": _images(skeleton, work),
        "rollouts": _rollouts(skeleton, work),
        "scoring": {
            "one pass": scoring,
            "prompt beside completions": groups,
            "states of both passes": 2 * states,
            "vocabulary": blocks[1],
        },
        "update": {
            "kept for the backward pass": update.kept,
            "prompt beside completions": groups,
            "states": 3 * states,  # gathered, padded and chosen
            # These do not overlap.
            "backward pass, vocabulary or reference": max(
                update.peak - update.kept, blocks[0], work.anchored * (scoring + states)
            ),
        },
        "optimizer": {"changes of the weights": sum(weight.nbytes for weight in skeleton.learning)},
    }
    return Footprint(resident, phases)


def largest_chunk(skeleton: Skeleton, work: Workload, optimizer_bytes: int, card: int) -> int:
    """The most prompts that may be on the device at once; 0 where not even one may.

    Args:
        skeleton: The policy.
        work: The sizes of the step.
        optimizer_bytes: Of the optimizer's state.
        card: Bytes of the GPU, of which an estimate may fill `ROOMY`.
    """

    def too_large(chunk: int) -> bool:
        return footprint(skeleton, replace(work, chunk=chunk), optimizer_bytes, card).peak > ROOMY * card

    return bisect_left(range(1, work.prompts + 1), True, key=too_large)


def _resident(skeleton: Skeleton, work: Workload, optimizer_bytes: int) -> dict[str, int]:
    weights = skeleton.weight_bytes()
    gradients = sum(weight.nbytes for weight in skeleton.learning)
    feature = skeleton.width * skeleton.layers_of_features * skeleton.dtype.itemsize
    return {
        **weights,
        "gradients": gradients,
        "gradients on their way to other ranks": gradients * (work.ranks > 1),
        "optimizer": optimizer_bytes,
        "reference": sum(weights.values()) * work.second_copy,
        "image features": work.chunk * work.image_tokens * feature * (1 + work.copies),
        "records of the step": work.prompts * work.group_size * work.completion_tokens * RECORD_BYTES,
        "CUDA context": CONTEXT,
    }


def _images(skeleton: Skeleton, work: Workload) -> dict[str, int]:
    pixels = work.chunk * work.pixel_values
    return {"pixels": 4 * pixels, "vision tower": skeleton.encoding_bytes(ceil(pixels / skeleton.patch_values()))}


def _rollouts(skeleton: Skeleton, work: Workload) -> dict[str, int]:
    """Prompts are cached once per group; completions at their longest, since only whole groups leave the cache."""
    cache = skeleton.cache_bytes
    slots = work.chunk * (work.prompt_tokens + work.group_size * work.completion_tokens)
    drawing = work.chunk * work.group_size * skeleton.vocabulary * LOGIT_BYTES
    return {
        "cache": slots * cache.token + work.chunk * cache.row,
        "prompts or drawing": max(skeleton.scoring_bytes(work.chunk * work.prompt_tokens), drawing),
    }


def _vocabulary(skeleton: Skeleton, tokens: int, free: int) -> int:
    return int(min(LARGEST_BLOCK, max(0.0, FREE_SHARE * free), tokens * skeleton.vocabulary * LOGIT_BYTES))
