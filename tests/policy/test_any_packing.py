"""Packed rows give what plain rows give, whatever is packed."""

from __future__ import annotations

import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.strategies import DataObject

from tests.policy.conftest import image
from vlcal.policy import Continuations, Policy
from vlcal.policy.layouts.grouped import Grouped
from vlcal.policy.layouts.layout import Plain
from vlcal.policy.layouts.packing import Packed, Packing
from vlcal.text import Grammar
from vlcal.types import PromptBatch

PICTURES = st.lists(st.tuples(st.sampled_from([32, 64]), st.sampled_from([32, 48, 128])), max_size=2)
Asked = list[tuple[str, list[tuple[int, int]]]]
PROMPTS = st.lists(st.tuples(st.text("ab 7?", min_size=1, max_size=12), PICTURES), min_size=1, max_size=3)
WIDTH = 7


@settings(deadline=None, max_examples=15)
@given(asked=PROMPTS, group=st.integers(1, 4), data=st.data())
def test_any_prompts_and_completions_score_alike_in_every_layout(
    frozen_policy: Policy,
    grammar: Grammar,
    asked: list[tuple[str, list[tuple[int, int]]]],
    group: int,
    data: DataObject,
) -> None:
    prompts = PromptBatch(
        ids=tuple(map(str, range(len(asked)))),
        images=tuple(tuple(image(*size, 1) for size in sizes) for _, sizes in asked),
        questions=tuple(text for text, _ in asked),
        targets=("1",) * len(asked),
        extras=({},) * len(asked),
    )
    ordinary = sorted(set(range(len(frozen_policy.tokenizer))) - set(frozen_policy.placeholders))
    rows = len(asked) * group
    lengths = torch.tensor(data.draw(st.lists(st.integers(0, WIDTH), min_size=rows, max_size=rows)))
    drawn = data.draw(st.lists(st.sampled_from(ordinary), min_size=rows * WIDTH, max_size=rows * WIDTH))
    mask = torch.arange(WIDTH) < lengths[:, None]
    tokens = torch.tensor(drawn).view(rows, WIDTH).masked_fill(~mask, frozen_policy.pad_token_id)
    continuations = Continuations.of(frozen_policy.encode(prompts, grammar), tokens, mask)
    packing = Packing.of(continuations)

    scores = []
    for layout in (Plain(), Grouped(frozen_policy.headless), Packed()):
        frozen_policy.__dict__["layout"] = layout
        with torch.no_grad():
            scores.append(frozen_policy.score(continuations)[0])
    del frozen_policy.__dict__["layout"]

    assert int((packing.segments > 0).sum()) == int(mask.sum())  # every token of a completion has a place
    for packed in scores[1:]:
        torch.testing.assert_close(packed[mask], scores[0][mask], rtol=1e-4, atol=1e-4)
