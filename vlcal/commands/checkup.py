"""What `vlcal doctor` looks at: checkpoint, data, length of prompts, memory."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

import torch
from rich.console import Console
from rich.table import Table

from vlcal.commands.rehearsal import GIB, form, measure
from vlcal.commands.trainer import Cli
from vlcal.data import ImageSize
from vlcal.errors import UserError
from vlcal.modules import ReinforcementModule
from vlcal.modules.policy_module import unreached_validation
from vlcal.policy import FrozenCopy, TransformersEngine
from vlcal.policy.chat import check_vocabulary, prompt_opening
from vlcal.policy.memory.footprint import ROOMY, Footprint, Workload, footprint, largest_chunk
from vlcal.policy.memory.lengths import PromptLength, PromptRuler
from vlcal.policy.memory.skeleton import Skeleton
from vlcal.text.levels import level_tokens

if TYPE_CHECKING:
    from lightning.pytorch.cli import LightningArgumentParser
    from torch import nn
    from transformers import ProcessorMixin

    from vlcal.training.optimization import Optimization
    from vlcal.types import PromptBatch

MEASURED = 8  # the longest prompts, whose length the processor gives
NAMED = 5  # prompts that a finding names
ASKED = 8  # prompts that the model answers on a GPU
PROBE = 1 << 16  # size of the weight whose optimizer state is measured
CHUNK = "model.init_args.sampling.init_args.chunk_prompts"


def check(args: list[str]) -> None:
    """Check a config as `vlcal fit` would use it, and end with status 1 where something must be changed."""
    console, cli = Console(highlight=False), Prepared(args)
    module, card = sampled_here(cli.model), cli.card()
    module.spec.check_learning()
    skeleton, processor = Skeleton(module.spec), module.spec.processor()
    console.print(f"checkpoint  {module.spec.path}: {_many(skeleton.count)} weights")
    ruler = PromptRuler(processor, skeleton.config.image_token_id, module.pipeline.reader.grammar)
    survey = PromptSurvey(cli)
    longest = ruler.longest(survey.batches(), MEASURED)
    console.print(f"data        {survey.prompts} prompts can be read, {len(survey.bad)} batches cannot")
    if (unreached := unreached_validation(cli.trainer, len(survey.loaders[0]))) is not None:
        console.print(f"note        {unreached}", soft_wrap=True)
    findings = survey.findings() + conversation(module, skeleton, processor, console)
    if longest:
        lengths = sorted(((ruler.length(prompt), prompt) for prompt in longest), key=lambda one: -one[0].tokens)
        work = workload(module, [length for length, _ in lengths], survey.batch_size, cli.trainer.world_size)
        state = optimizer_bytes(module.optimization, skeleton.learning)
        taken, most = footprint(skeleton, work, state, card), largest_chunk(skeleton, work, state, card)
        console.print(_lengths(lengths), _table(taken, card))
        chunks = f"{work.chunk} of {work.prompts} prompts a step; most that fit: `{CHUNK}: {most}`"
        console.print(f"at once     {chunks}", soft_wrap=True)
        findings += [*_too_long(ruler, lengths, work, skeleton), *_too_large(taken, card, most)]
        if findings:
            console.print("form        not tried: first what must be changed")
        else:
            findings += form(module, survey.first(cli.asked), console)
        if not findings:
            # Two chunks, so that what the first one leaves behind would show in the second.
            findings += measure(module, lengths[0][1], min(work.prompts, 2 * work.chunk), console)
    console.print("\n".join(findings) or "verdict     nothing was found that must be changed", soft_wrap=True)
    if findings:
        sys.exit(1)


def sampled_here(model: object) -> ReinforcementModule:
    """The model, if its memory can be estimated.

    Raises:
        UserError: If not.
    """
    if isinstance(model, ReinforcementModule) and isinstance(model.sampling.training, TransformersEngine):
        return model
    raise UserError(
        f"`model` must be a ReinforcementModule that samples in this process; got {type(model).__name__}. For a run "
        "that samples from servers, name GroupEngine here and add the memory of the servers."
    )


def conversation(
    module: ReinforcementModule, skeleton: Skeleton, processor: ProcessorMixin, console: Console
) -> list[str]:
    """What prompts open of a response; a finding for a tokenizer that fits neither the model nor the levels."""
    opening = prompt_opening(processor)
    begun = f"prompts open a response by {opening!r}" if opening else "prompts end where the response begins"
    console.print(f"chat        {begun}", markup=False)
    checks: list[Callable[[], object]] = [lambda: check_vocabulary(processor.tokenizer, skeleton.embeddings)]
    if module.update.confidence.needs_levels:
        checks.append(lambda: level_tokens(processor.tokenizer, module.pipeline.reader.grammar))
    findings = []
    for check in checks:
        try:
            check()
        except UserError as error:
            findings.append(f"change      {error}")
    return findings


class Prepared(Cli):
    """What `vlcal fit` would build from the same arguments, without the run."""

    def __init__(self, args: list[str]) -> None:
        super().__init__(args, run=False)

    def add_arguments_to_parser(self, parser: LightningArgumentParser) -> None:
        """Add the argument of this command alone."""
        super().add_arguments_to_parser(parser)
        parser.add_argument("--memory", type=float | None, default=None, help="Memory of the card in GB; 16 for 16 GB.")
        parser.add_argument("--sample", type=int | None, default=None, help="Prompts that the model answers.")

    def card(self) -> int:
        """Bytes of the GPU.

        Raises:
            UserError: If neither `--memory` nor a GPU gives them.
        """
        if self.config["memory"] is not None:
            return int(self.config["memory"] * GIB)
        if not torch.cuda.is_available():
            raise UserError("`--memory` must be the memory of the card in GB, since there is no GPU here to ask.")
        return torch.cuda.mem_get_info()[1]

    @property
    def asked(self) -> int:
        """Prompts that the model answers, for which its weights are loaded; left out, some where there is a GPU."""
        asked: int | None = self.config["sample"]
        if asked is not None and asked < 0:
            raise UserError(f"`--sample` must be 0 or more prompts; got {asked}.")
        return asked if asked is not None else ASKED * torch.cuda.is_available()


class PromptSurvey:
    """Reads all prompts of a run once, and collects the errors.

    Args:
        cli: The run.
    """

    def __init__(self, cli: Prepared) -> None:
        from lightning.pytorch.trainer.states import TrainerFn

        cli.trainer.state.fn = TrainerFn.FITTING
        cli.trainer.strategy.connect(cli.model)
        cli.datamodule.trainer = cli.trainer
        cli.datamodule.setup("fit")
        self.loaders = [cli.datamodule.train_dataloader()]
        found = cli.datamodule.val_dataloader()
        self.loaders += found if isinstance(found, list) else [found]
        self.prompts = 0
        self.batch_size = 0
        self.bad: list[str] = []

    def batches(self) -> Iterator[PromptBatch]:
        """All batches without errors."""
        for loader in self.loaders:
            batches = iter(loader)
            while True:
                try:
                    batch = next(batches)
                except StopIteration:
                    break
                except UserError as error:
                    self.bad.append(str(error))
                    continue
                self.prompts += len(batch)
                self.batch_size = max(self.batch_size, len(batch))
                yield batch

    def first(self, count: int) -> list[PromptBatch]:
        """The first prompts to learn from, so many at most."""
        found: list[PromptBatch] = []
        for batch in self.loaders[0] if count else ():
            found.append(batch.select([*range(min(len(batch), count))]))
            if not (count := count - len(found[-1])):
                break
        return found

    def findings(self) -> list[str]:
        """The errors, as findings."""
        nothing = [] if self.prompts else ["no prompt could be read"]
        return [f"change      data: {message}" for message in nothing + self.bad[:NAMED]]


def workload(module: ReinforcementModule, lengths: list[PromptLength], prompts: int, ranks: int) -> Workload:
    """The largest step of a module with these prompts."""
    sampling = module.sampling
    return Workload(
        prompts=prompts,
        chunk=min(prompts, sampling.chunk_prompts),
        prompt_tokens=max(length.tokens for length in lengths),
        image_tokens=max(length.image_tokens for length in lengths),
        pixel_values=max(length.pixel_values for length in lengths),
        group_size=sampling.group_size,
        completion_tokens=sampling.training.max_new_tokens,  # type: ignore[attr-defined]  # as `sampled_here` made sure
        token_budget=module.update.token_budget,
        copies=module.pipeline.copies,
        anchored=module.update.reference_kl.needs_reference,
        second_copy=isinstance(module.update.reference, FrozenCopy),
        ranks=ranks,
    )


def optimizer_bytes(optimization: Optimization, weights: list[nn.Parameter]) -> int:
    """Bytes of optimizer state for these weights, measured in one step on a small weight of each dtype."""
    rates: dict[tuple[int, torch.dtype], float] = {}
    for weight in weights:
        size = min(weight.numel(), PROBE)
        if (size, weight.dtype) not in rates:
            probe = torch.nn.Parameter(torch.zeros(size, 1, dtype=weight.dtype))
            optimizer = optimization.build([probe])
            probe.grad = torch.ones_like(probe)
            optimizer.step()
            kept = [value for value in optimizer.state[probe].values() if isinstance(value, torch.Tensor)]
            rates[size, weight.dtype] = sum(value.nbytes for value in kept) / size
    return round(sum(rates[min(weight.numel(), PROBE), weight.dtype] * weight.numel() for weight in weights))


def _too_long(
    ruler: PromptRuler, lengths: list[tuple[PromptLength, PromptBatch]], work: Workload, skeleton: Skeleton
) -> list[str]:
    """Prompts that leave no room for a completion, with the bound on pixels under which they do."""
    positions = getattr(skeleton.config.get_text_config(), "max_position_embeddings", work.token_budget)
    limit, whose = min((work.token_budget, "of `token_budget`"), (positions, "that the model reads"))
    room = max(limit - work.completion_tokens, 0)
    ways = "lower `max_new_tokens` or leave the row out"
    findings = []
    for length, prompt in lengths[:NAMED]:
        if length.tokens <= room:
            continue
        pixels = ruler.fitting_pixels(prompt, room, lambda most, wide, high: ImageSize(max_pixels=most)(wide, high))
        advice = (
            f"`image_size` with max_pixels {pixels} would make it fit"
            if pixels is not None
            else f"no smaller image would help: {'' if limit == positions else 'raise `token_budget`, '}{ways}"
        )
        findings.append(
            f"change      prompt {length.name}: {length.tokens} tokens, {length.image_tokens} of them of images; "
            f"{room} fit beside the {work.completion_tokens} of `max_new_tokens` into the {limit} {whose}; {advice}"
        )
    return findings


def _too_large(taken: Footprint, card: int, most: int) -> list[str]:
    if taken.peak <= ROOMY * card:
        return []
    advice = {
        "rollouts": "shorter completions (`max_new_tokens`)",
        "update": "a smaller `token_budget`, RecomputedActivations where they are kept, or fewer pixels",
        "scoring": "a smaller `token_budget`",
        "images": "fewer pixels (`image_size`)",
        "optimizer": "fewer weights that learn, or PagedAdamW8bit",
    }[taken.largest]
    if most:
        advice = f"fewer prompts at once, `{CHUNK}: {most}`, which changes nothing that is learned"
    return [
        f"change      memory: {taken.peak / GIB:.1f} GiB of {card / GIB:.1f} in the phase of {taken.largest}, where "
        f"{ROOMY:.0%} is as much as an estimate may fill; {advice}"
    ]


def _many(count: int) -> str:
    """A number of weights: 1.70 M, 4.44 B."""
    return f"{count / 1e9:.2f} B" if count >= 1e9 else f"{count / 1e6:.2f} M"


def _lengths(lengths: list[tuple[PromptLength, PromptBatch]]) -> Table:
    table = Table("longest prompts", title_justify="left", box=None)
    for name in ("tokens", "of images"):
        table.add_column(name, justify="right")
    for length, _ in lengths[:NAMED]:
        table.add_row(length.name, f"{length.tokens:,}", f"{length.image_tokens:,}")
    return table


def _table(taken: Footprint, card: int) -> Table:
    table = Table("memory", box=None)
    table.add_column("GiB", justify="right")
    for part, held in taken.resident.items():
        if held:
            table.add_row(part, f"{held / GIB:.2f}")
    for phase, parts in taken.phases.items():
        style = "bold" * (phase == taken.largest)
        table.add_row(f"{phase}, while it lasts", f"{taken.of(phase) / GIB:.2f}", style=style)
        for part, held in parts.items():
            table.add_row(f"  {part}", f"{held / GIB:.2f}", style="dim")
    table.add_row("at the peak", f"{taken.peak / GIB:.2f}", style="bold", end_section=True)
    table.add_row("of the card", f"{card / GIB:.2f}")
    return table
