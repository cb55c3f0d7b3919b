"""What holds the policy close to the reference."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from vlcal.objectives import (
    ExactReferenceKL,
    NoReferenceKL,
    Predictions,
    ReferenceKL,
    SampledReferenceKL,
    SequenceMeanTokenMean,
)

MASK = torch.tensor([[True, True], [True, False]])
TOKENS = torch.tensor([[0, 1], [1, 0]])
TERMS = [ExactReferenceKL(2.0), SampledReferenceKL(2.0)]


def predictions(logits: Tensor) -> Predictions:
    """A model whose states are its logits over two tokens."""
    return Predictions(logits, lambda rows: rows, TOKENS, torch.ones_like(MASK), 1.0)


def logits(first: float) -> Tensor:
    """The same distribution everywhere, with this probability of the first token."""
    return torch.tensor([first, 1 - first]).log().expand(2, 2, 2).clone()


def test_the_exact_term_is_the_coefficient_times_kl_of_the_policy_from_the_reference() -> None:
    update = ExactReferenceKL(2.0)(predictions(logits(0.25)), predictions(logits(0.5)), MASK)

    # KL(reference || policy) = 0.5 log(0.5 / 0.25) + 0.5 log(0.5 / 0.75); the other direction gives 0.1308.
    kl = 0.5 * math.log(2) + 0.5 * math.log(2 / 3)
    assert kl == pytest.approx(0.1438, abs=1e-4)
    assert float(update.loss) == pytest.approx(2 * kl)
    assert update.stats == {"reference_kl": pytest.approx(kl)}


def test_the_sampled_term_is_the_coefficient_times_the_mean_k3_of_the_sampled_tokens() -> None:
    update = SampledReferenceKL(2.0)(predictions(logits(0.25)), predictions(logits(0.5)), MASK)

    # q/p is 2 at token 0, which was sampled once, and 2/3 at token 1, which was sampled twice.
    k3 = (2 - 1 - math.log(2) + 2 * (2 / 3 - 1 - math.log(2 / 3))) / 3
    assert float(update.loss) == pytest.approx(2 * k3)
    assert update.stats == {"reference_kl": pytest.approx(k3)}


def test_the_sampled_term_is_aggregated_as_asked() -> None:
    term = SampledReferenceKL(1.0, SequenceMeanTokenMean())

    update = term(predictions(logits(0.25)), predictions(logits(0.5)), MASK)

    at_0, at_1 = 1 - math.log(2), -1 / 3 - math.log(2 / 3)
    assert float(update.loss) == pytest.approx(((at_0 + at_1) / 2 + at_1) / 2)
    assert term.count(MASK) == 2 and SampledReferenceKL().count(MASK) == ExactReferenceKL().count(MASK) == 3


@pytest.mark.parametrize("term", TERMS)
def test_the_gradient_pulls_towards_the_reference_on_the_mask_alone_and_never_moves_the_reference(
    term: ReferenceKL,
) -> None:
    policy, reference = logits(0.25).requires_grad_(), logits(0.5).requires_grad_()

    term(predictions(policy), predictions(reference), MASK).loss.backward()

    assert policy.grad is not None and reference.grad is None
    assert (policy.grad[MASK].sum(0)[0] < 0) and (policy.grad[~MASK] == 0).all()


@pytest.mark.parametrize("term", TERMS)
def test_a_policy_that_is_the_reference_pays_nothing(term: ReferenceKL) -> None:
    assert float(term(predictions(logits(0.3)), predictions(logits(0.3)), MASK).loss) == pytest.approx(0, abs=1e-7)


def test_without_a_term_nothing_is_asked_of_the_reference_and_nothing_moves() -> None:
    policy = logits(0.25).requires_grad_()

    update = NoReferenceKL()(predictions(policy), predictions(logits(0.5)), MASK)
    update.loss.backward()

    assert float(update.loss.detach()) == 0 and update.stats == {} and NoReferenceKL().count(MASK) == 0
    assert policy.grad is not None and not policy.grad.any()
    assert [term.needs_reference for term in (NoReferenceKL(), *TERMS)] == [False, True, True]


@pytest.mark.parametrize("kind", [ExactReferenceKL, SampledReferenceKL])
def test_a_coefficient_that_penalises_nothing_is_refused(kind: type[ExactReferenceKL | SampledReferenceKL]) -> None:
    with pytest.raises(ValueError, match="`coefficient` must be above 0.*got 0.0. Use NoReferenceKL"):
        kind(0.0)
