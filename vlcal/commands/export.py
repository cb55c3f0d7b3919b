"""`vlcal export`: what a run learned, as a checkpoint folder that needs neither vlcal nor peft."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from vlcal.errors import UserError, one_line

if TYPE_CHECKING:
    from vlcal.callbacks.model_card import ModelCard
    from vlcal.inference.run_config import RunConfig
    from vlcal.policy import Policy, PolicySpec

BESIDE = "adapter"  # folder of the adapter that belongs to the base in 4 bits, below the merged model
OTHER_BASE = "The adapters learned over a base in 4 bits and are merged into the same in full precision: {}."


def export(config: Path, folder: Path, ckpt_path: Path | None = None) -> None:
    """Write the policy of a run as an ordinary checkpoint folder, adapters merged into its weights.

    The folder holds weights in safetensors, processor, tokenizer, chat template and generation settings, and appears
    when it is complete. Adapters are merged into the base in the dtype of the policy; those of QLoRA into the base as
    it was before it was quantised, which needs the host memory of that base and no GPU. That is another model than was
    trained: how far its log-probabilities and confidences are off is measured on a few prompts of the run and printed,
    and the adapter itself is written into `adapter` below the folder, to be loaded over the base in 4 bits. Beside the
    weights stand vlcal.yaml, by which `vlcal.load` asks for responses and reads them as the run did, and README.md, the
    model card: base, data, prompt, the figures of the latest predictions with verdicts in the run's folder, limits.

    Args:
        config: Config of the run: the file given to `vlcal fit --config`, or the config.yaml that the run wrote.
        folder: Where to; it must be new, empty, or a checkpoint folder, which is replaced.
        ckpt_path: Checkpoint that the run wrote, such as last.ckpt. Left out, the policy is written as the run starts
            it, which makes sense where `adapter` names what an earlier run learned.
    """
    from vlcal.inference.run_config import RunConfig
    from vlcal.inference.stored import trained_policy
    from vlcal.policy.adapters import merge, save_learned
    from vlcal.policy.folder import refuse_other_content, write_checkpoint_folder, write_contract

    refuse_other_content(folder)
    run = RunConfig(config)
    spec = run.policy()
    if ckpt_path is None and getattr(spec.adaptation, "adapter", None) is None:
        raise UserError(
            f"`ckpt_path` must name a checkpoint of the run, since {config} starts from no `adapter` that could be "
            "merged without one; got none."
        )
    card = _card(run)
    policy = trained_policy(spec.in_full_precision(), ckpt_path)
    quantised = spec.quantised
    shift = _measured(config, trained_policy(spec, ckpt_path), policy) if quantised else ""

    def write(partial: Path) -> None:
        if quantised:
            save_learned(policy.adapted, partial / BESIDE)
        merge(policy.adapted).save_pretrained(partial)
        policy.processor.save_pretrained(partial)
        if run.states_confidences:
            write_contract(partial, run.part("model"), run.part("data.init_args.image_size"))
        replace(card, notes=[OTHER_BASE.format(shift)] if quantised else []).write(partial)

    write_checkpoint_folder(folder, write)
    if quantised:
        _say_that_it_is_another_model(spec, folder, shift)


def _card(run: RunConfig) -> ModelCard:
    """What the folder holds, for its reader."""
    from vlcal.callbacks.model_card import ModelCard, validated

    root = run.part("trainer.default_root_dir")
    first, *_ = run.path.read_text(encoding="utf-8").splitlines()
    command = first.removeprefix("# ") if first.startswith("# vlcal ") else f"vlcal fit --config {run.path.name}"
    grammar = run.asking()[0].reader.grammar if run.states_confidences else None
    found, why = validated(None if root is None else Path(root))
    return ModelCard(run.policy().path, run.part("data") or {}, command, grammar, found, why)


def _measured(config: Path, trained: Policy, merged: Policy) -> str:
    """How far two policies are apart on a few prompts of a run, or why that is not known."""
    import torch
    from jsonargparse import ArgumentError

    from vlcal.commands.merged_shift import answered, shift

    device = "cuda" if torch.cuda.is_available() else "cpu"
    try:
        return str(shift(answered(config, trained.to(device)), merged))
    except (UserError, ArgumentError) as error:  # a run can be exported where its data are not
        return f"how far is not measured, since the prompts of the run cannot be had: {one_line(error)}"


def _say_that_it_is_another_model(spec: PolicySpec, folder: Path, shift: str) -> None:
    from rich.console import Console

    said = (
        f"exported    {folder}: adapters merged into {spec.path} as it was before it was quantised",
        f"note        this is another model than was trained, over 4 bits: {shift}",
        f"as trained  load {spec.path} in 4 bits with the adapter in {folder / BESIDE}; or validate {folder} again",
    )
    Console(highlight=False, soft_wrap=True).print("\n".join(said), markup=False)
