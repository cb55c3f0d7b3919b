"""Certainty from the outcomes of several continuations of one reading: no label but the verifier's."""

from __future__ import annotations

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from vlcal.certainty.base import CertaintyEstimator, visual_tokens
from vlcal.functional.forks import itself, of_group, siblings
from vlcal.functional.masked import masked_mean
from vlcal.types import Certainty, Evidence, Responses, Rollouts


class ForkedCertainty(CertaintyEstimator):
    """Labels of both confidences by experiment: does the reading suffice, and is this conclusion from it right.

    Of the n continuations of a reading v let c_1 ... c_n be the verdicts, independent given v. With a(v) = 1 where the
    reading suffices for the right answer and 0 where not, and q(v) the chance to conclude rightly from one that does,
    P(c_k = 1 | v) = a(v) q(v), where no wrong reading is right by luck.

        score_i = mean of c_1 ... c_n                         E = a q, the joint of both confidences: unbiased
        s_i     = 1 if some c_k = 1, else 0                   E = a (1 - (1 - q)^n): a bias of -a (1 - q)^n
        t_i     = c_i where some c_k = 1, k != i, else NaN    E = q given that it is counted: unbiased

    The visual label s is the a of the greatest likelihood. No function of n verdicts is unbiased for a: its mean is a
    polynomial in a q, and a is none. More continuations take the bias away: with q = .8 it is .04 for two and .0016 for
    four. The reasoning label t is the verdict on this conclusion, not on its siblings'; whether it is counted does not
    depend on it, which a mean over all siblings of a reading with one right among them, q / (1 - (1 - q)^n), ignores.
    A wrong reading that is right by luck, with chance g, is taken for one that suffices with 1 - (1 - g)^n.

    A reading with one continuation has no label. A counterfactual completion is judged by itself and its siblings
    among the policy's own, and judges none of them.
    """

    @torch.no_grad()
    def __call__(self, evidence: Evidence, rollouts: Rollouts, responses: Responses) -> Certainty:
        """The three labels; every vision token has that of its response."""
        size, vision = rollouts.group_size, visual_tokens(evidence, responses)
        own = itself(len(rollouts), size).to(vision.device)
        alike = siblings(rollouts.tokens, rollouts.shared, size)
        heard = of_group((~rollouts.counterfactual).float(), size).bool()
        others, correct = alike & ~own & heard, of_group(responses.correct, size)
        known = others.any(1) & vision.any(1)
        seen, concluded = _right(correct, others | own), _right(correct, others)
        label = torch.where(known, seen.float(), torch.nan)
        return Certainty(
            token=torch.where(vision & known[:, None], label[:, None], 0.5),
            response=label,
            score=torch.where(known, masked_mean(correct, others | own), torch.nan),
            reasoning=torch.where(known & concluded, responses.correct, torch.nan),
        )


def _right(correct: Float[Tensor, "N G"], among: Bool[Tensor, "N G"]) -> Bool[Tensor, " N"]:
    """True where one of those among each row is right."""
    return ((correct >= 0.5) & among).any(1)
