"""The family of layouts, and the one that every model takes: each completion in a row of its own."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from itertools import groupby

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from vlcal.policy.layouts.continuations import Continuations, MicroBatch
from vlcal.policy.layouts.headless import HeadlessModel

UNLIMITED = 1 << 62  # a token budget under which a batch is one micro-batch


class Layout(ABC):
    """Lays prompts and their completions out in rows."""

    @abstractmethod
    def hidden(self, model: HeadlessModel, continuations: Continuations) -> Float[Tensor, "N T D"]:
        """The hidden states that predict each completion token; undefined outside the mask."""

    @abstractmethod
    def share(self, prompt: int, completions: Sequence[int], budget: int) -> list[list[int]]:
        """Divides the completions of one prompt into rows.

        Args:
            prompt: Tokens of the prompt.
            completions: Tokens of each completion.
            budget: Most tokens in a row; a single completion may exceed it.

        Returns:
            Indices of the completions in each row.
        """

    def micro_batches(self, continuations: Continuations, budget: int) -> list[MicroBatch]:
        """The continuations in parts whose rows, padded to the longest, hold at most `budget` tokens.

        The longest rows come first: padding is small, and too little memory shows at once. A single completion that
        exceeds the budget is a part of its own.
        """
        prompts = continuations.encoded.rows["attention_mask"].sum(1).tolist()
        lengths, owners = continuations.mask.sum(1).tolist(), continuations.prompt_index.tolist()
        rows: list[tuple[int, list[int]]] = []
        for owner, group in groupby(range(len(owners)), owners.__getitem__):
            members = list(group)
            for places in self.share(prompts[owner], [lengths[member] for member in members], budget):
                shared = [members[place] for place in places]
                rows.append((prompts[owner] + sum(lengths[member] for member in shared), shared))
        rows.sort(key=lambda row: row[0], reverse=True)
        parts = []
        while rows:
            fitting = max(1, budget // rows[0][0])
            parts.append(sorted(member for _, members in rows[:fitting] for member in members))
            rows = rows[fitting:]
        return [continuations.select(part) for part in parts]


class Plain(Layout):
    """Every completion in a row of its own, behind its own copy of the prompt: what any model takes."""

    def hidden(self, model: HeadlessModel, continuations: Continuations) -> Float[Tensor, "N T D"]:
        encoded, tokens = continuations.encoded, continuations.tokens
        inputs = encoded.select(continuations.prompt_index.tolist()).model_inputs()
        appended = {"input_ids": tokens, "attention_mask": self.attended(continuations)}
        for name in encoded.rows:
            values = appended.get(name, torch.zeros_like(tokens))
            inputs[name] = torch.cat([inputs[name], values.to(inputs[name].dtype)], 1)
        inputs |= self.positions(model, continuations)
        states: Tensor = model(**inputs, use_cache=False).last_hidden_state
        return states[:, encoded.length - 1 : -1]

    def attended(self, continuations: Continuations) -> Bool[Tensor, "N T"]:
        """True on the completion tokens that attention sees."""
        return continuations.mask

    def positions(self, model: HeadlessModel, continuations: Continuations) -> Mapping[str, Tensor]:
        """The argument that gives the positions of all tokens; empty where the model counts them itself."""
        return {}

    def share(self, prompt: int, completions: Sequence[int], budget: int) -> list[list[int]]:
        return [[place] for place in range(len(completions))]
