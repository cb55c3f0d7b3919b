"""What is measured on the tokens of completions, given the images and given perturbed ones."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from vlcal.functional.vocabulary import token_statistics, vocabulary_kl
from vlcal.policy import UNLIMITED, Continuations, EncodedPrompts, MicroBatch, Policy
from vlcal.types import Evidence, Rollouts


@torch.no_grad()
def measure(
    policy: Policy,
    encoded: EncodedPrompts,
    perturbed: Sequence[EncodedPrompts],
    rollouts: Rollouts,
    vision: Bool[Tensor, "N T"],
    temperature: float = 1.0,
    budget: int = UNLIMITED,
) -> Evidence:
    """Log-probabilities and entropy given the images, and on vision tokens KL(p(. | image) || p(. | perturbed image)).

    The KL is averaged over the perturbed copies. A perturbed pass ends with the last vision token of each completion:
    nothing behind it is asked for.
    """
    tokens, mask = rollouts.tokens, rollouts.mask
    log_probs, entropy, kl = (torch.zeros(tokens.shape, device=tokens.device) for _ in range(3))
    for part in policy.micro_batches(Continuations.of(encoded, tokens, mask), budget):
        rows = part.rows
        hidden = policy.hidden(part)
        scorable_mask = policy.scorable_mask(part.tokens, part.mask)
        log_probs[rows], entropy[rows] = token_statistics(hidden, policy.head, part.tokens, scorable_mask)
        if temperature != 1.0:
            log_probs[rows], _ = token_statistics(hidden, policy.head, part.tokens, scorable_mask, temperature)
        for copied in perturbed:
            kl[rows] += visual_kl(policy, replace(part, encoded=copied.select(part.prompts)), hidden, vision[rows])
    return Evidence(log_probs, entropy, kl / max(len(perturbed), 1))


def visual_kl(
    policy: Policy, perturbed: MicroBatch, hidden: Float[Tensor, "N T D"], vision: Bool[Tensor, "N T"]
) -> Float[Tensor, "N T"]:
    """KL of the distributions given the images from those given perturbed ones; 0 outside vision tokens.

    Args:
        policy: What wrote the tokens.
        perturbed: The completions behind prompts with perturbed images.
        hidden: States given the images.
        vision: True on vision tokens.
    """
    until = vision.flip(1).cummax(1).values.flip(1)
    last = int(until.sum(1).max())
    kl = torch.zeros(vision.shape, device=vision.device)
    if last:
        states = policy.hidden(replace(perturbed, tokens=perturbed.tokens[:, :last], mask=until[:, :last]))
        kl[:, :last] = vocabulary_kl(hidden[:, :last], states, policy.head, vision[:, :last])
    return kl
