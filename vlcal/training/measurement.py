"""What is measured on the tokens of completions, given the images and given perturbed ones."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from vlcal.functional.vocabulary import token_log_probs, token_statistics, vocabulary_kl
from vlcal.policy import Continuations, EncodedPrompts, MicroBatch, Policy
from vlcal.training.limits import Limits
from vlcal.types import Evidence, PromptBatch, Rollouts


def with_evidence(prompts: PromptBatch) -> Bool[Tensor, " P"]:
    """True where a prompt has an image to perturb: one that is not of a single colour, in which nothing can be seen."""
    return torch.tensor([any(_shows_something(image) for image in images) for images in prompts.images])


def _shows_something(image: Float[Tensor, "3 H W"]) -> bool:
    return bool((image.amax((1, 2)) > image.amin((1, 2))).any())


@torch.no_grad()
def measure(
    policy: Policy,
    encoded: EncodedPrompts,
    perturbed: Sequence[EncodedPrompts],
    rollouts: Rollouts,
    vision: Bool[Tensor, "N T"],
    evident: Bool[Tensor, " P"],
    temperature: float = 1.0,
    limits: Limits | None = None,
) -> Evidence:
    """Log-probabilities and entropy given the images, and on vision tokens KL(p(. | image) || p(. | perturbed image)).

    The KL is averaged over the perturbed copies; it is 0 without one, as at strength 0, where both images are the same.
    A perturbed pass ends with the last vision token of each completion: nothing behind it is asked for.

    Args:
        policy: What wrote the completions.
        encoded: The prompts.
        perturbed: The same with perturbed images, once per copy.
        rollouts: The completions.
        vision: True on vision tokens.
        evident: True where a prompt has an image to perturb; the KL of all others is NaN.
        temperature: The completions were sampled at.
        limits: What goes through the model at once; all where it is left out.
    """
    tokens, mask = rollouts.tokens, rollouts.mask
    unseen = ~evident.to(tokens.device).repeat_interleave(rollouts.group_size)[:, None]
    vision = vision & ~unseen
    log_probs, plain, entropy, kl, blurred = (torch.zeros(tokens.shape, device=tokens.device) for _ in range(5))
    for part in (limits or Limits()).parts(policy, Continuations.of(encoded, tokens, mask)):
        rows = part.rows
        hidden = policy.hidden(part)
        scorable_mask = policy.scorable_mask(part.tokens, part.mask)
        plain[rows], entropy[rows] = token_statistics(hidden, policy.head, part.tokens, scorable_mask)
        log_probs[rows] = plain[rows]
        if temperature != 1.0:
            log_probs[rows] = token_log_probs(hidden, policy.head, part.tokens, scorable_mask, temperature)
        copies = [
            with_perturbed(policy, replace(part, encoded=copied.select(part.prompts)), hidden, vision[rows])
            for copied in perturbed
        ]
        for total, found in zip((kl, blurred), zip(*copies, strict=True), strict=bool(copies)):
            total[rows] = torch.stack(found).sum(0)  # not added: a part may come again
    if not perturbed:
        blurred = plain.masked_fill(~vision, 0)
    policy.headless.require_finite(
        "Log-probabilities, entropy and KL", torch.stack([log_probs, plain, entropy, kl, blurred])
    )
    kl, blurred = ((total / max(len(perturbed), 1)).masked_fill(unseen, torch.nan) for total in (kl, blurred))
    return Evidence(log_probs, entropy, kl, plain, blurred)


def with_perturbed(
    policy: Policy, perturbed: MicroBatch, hidden: Float[Tensor, "N T D"], vision: Bool[Tensor, "N T"]
) -> tuple[Float[Tensor, "N T"], Float[Tensor, "N T"]]:
    """KL of the distributions given the images from those given perturbed ones, and log-probabilities given these.

    Both are 0 outside vision tokens.

    Args:
        policy: What wrote the tokens.
        perturbed: The completions behind prompts with perturbed images.
        hidden: States given the images.
        vision: True on vision tokens.
    """
    until = vision.flip(1).cummax(1).values.flip(1)
    last = min(policy.lockstep.most(int(until.sum(1).max())), vision.shape[1])
    kl, log_probs = (torch.zeros(vision.shape, device=vision.device) for _ in range(2))
    if last:
        tokens = perturbed.tokens[:, :last]
        states = policy.hidden(replace(perturbed, tokens=tokens, mask=until[:, :last]))
        kl[:, :last] = vocabulary_kl(hidden[:, :last], states, policy.head, vision[:, :last])
        scorable = policy.scorable_mask(tokens, vision[:, :last])
        log_probs[:, :last] = token_log_probs(states, policy.head, tokens, scorable)
    return kl, log_probs
