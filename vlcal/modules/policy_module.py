"""What both kinds of training share."""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any

import lightning
import torch
from lightning.pytorch.trainer.states import TrainerFn
from lightning.pytorch.utilities import rank_zero_warn
from torch import Tensor
from torch.nn.parallel import DistributedDataParallel

from vlcal.errors import NonFiniteError, UserError
from vlcal.modules.trained_under import (
    HELD_BY_TRAINING,
    HELD_BY_WEIGHTS,
    WEIGHTS,
    changes,
    described,
    forgotten,
    refuse,
    weights_digest,
)
from vlcal.parts import fresh_defaults, settings_of
from vlcal.policy import Policy, PolicySpec
from vlcal.training.guard import FiniteGuard
from vlcal.training.limits import Limits
from vlcal.training.optimization import Optimization
from vlcal.training.ranks import add_gradients, on_every_rank, summed
from vlcal.training.sampling import draw_seed
from vlcal.training.shards import clip_gradients


class PolicyModule(lightning.LightningModule):
    """What both kinds of training share: a policy built late, its optimizer, checkpoints of what learns.

    Args:
        policy: Checkpoint and adaptation; built when training or validation starts.
        optimization: How weights are updated.
        guard: What becomes of a step whose numbers are not finite.
    """

    @fresh_defaults
    def __init__(self, policy: PolicySpec, optimization: Optimization, guard: FiniteGuard = FiniteGuard()) -> None:
        super().__init__()
        self.spec = policy
        self.optimization = optimization
        self.guard = guard
        self.automatic_optimization = False
        self.strict_loading = False
        self.limits = Limits()
        self.settings: dict[str, Any] = {}
        self._policy: Policy | None = None
        self._steps = 0  # of the whole run
        self._seed = 0  # of the random stream of every step
        self._updates = 0  # of this step

    @property
    def policy(self) -> Policy:
        """The policy, once `configure_model` has run."""
        if self._policy is None:
            raise RuntimeError("`policy` is built when training or validation starts; call `configure_model` first.")
        return self._policy

    def policies(self) -> list[Policy]:
        """All models that passes go through."""
        return [self.policy]

    def parts(self) -> dict[str, object]:
        """The parts whose settings go into a checkpoint, by name."""
        return {"policy": self.spec, "optimization": self.optimization}

    def setup(self, stage: str) -> None:
        """Refuse a training in which nothing learns, and validate a short epoch at its end; ahead of the policy."""
        if stage == "fit":
            self.spec.check_learning()
        data: lightning.LightningDataModule | None = getattr(self.trainer, "datamodule", None)
        if stage == "fit" and data is not None:
            unreached = unreached_validation(self.trainer, len(data.train_dataloader()))
            if unreached is not None:
                rank_zero_warn(unreached)
                self.trainer.val_check_interval = 1.0  # epochs

    def configure_model(self) -> None:
        """Build the policy, once, and note what it will be trained under."""
        if self._policy is None:
            self._policy = self.spec.build()
            self.settings = self._settings()

    def on_fit_start(self) -> None:
        """Switch the dropout of adapters on, which a policy is built without."""
        self.policy.train()

    def configure_optimizers(self) -> torch.optim.Optimizer:
        """The optimizer of what learns."""
        return self.optimization.build(self.policy.parameters())

    def on_train_start(self) -> None:
        """Plan the learning rate over the whole run.

        Raises:
            UserError: If the run has no end.
        """
        steps = self.trainer.estimated_stepping_batches
        if math.isinf(steps) or steps < 1:
            raise UserError(
                "`trainer.max_steps`, or `trainer.max_epochs` with data that has a length, must be set, since the "
                "learning rate is planned over the whole run; got neither."
            )
        self._steps = int(steps)
        self._seed = torch.initial_seed()

    def on_train_batch_start(self, batch: Any, batch_idx: int) -> None:
        """Set the learning rate and the random stream of this step, which follow from its number alone.

        So a resumed run has them too, whenever it was interrupted.
        """
        self._updates = 0
        step = self.global_step
        torch.manual_seed(draw_seed(self._seed, "step", str(step), str(self.global_rank)))
        optimizer = self.optimizers(use_pl_optimizer=False)
        lr = self.optimization.govern(optimizer, step, self._steps)  # type: ignore[arg-type]
        self.log("train/schedule/learning_rate", lr, batch_size=1)

    def training_step(self, batch: Any, batch_idx: int) -> dict[str, Any] | None:
        """What `learn` hands on; of a step whose numbers are not finite, that it was skipped."""
        try:
            outputs = self.learn(batch)
        except NonFiniteError as error:
            file = Path(self.trainer.default_root_dir) / "skipped" / f"rank{self.global_rank}.pt"
            self.guard.skip(error, file, step=self.global_step, batch=batch, weights=self.state_dict())
            outputs = {"skipped": True}
        else:
            self.guard.passed()
        self.log("train/skipped_steps", float(self.guard.skipped), batch_size=1)
        self.log("train/memory/halvings", float(sum(summed([self.limits.halvings]))), batch_size=1)
        return outputs

    @abstractmethod
    def learn(self, batch: Any) -> dict[str, Any] | None:
        """Learn from a batch; what callbacks are given.

        Raises:
            NonFiniteError: On all ranks, if a number that weights would follow is not finite on one.
        """

    def state_dict(self, *args: Any, **kwargs: Any) -> dict[str, Any]:  # type: ignore[override]
        """The weights that learn; the others are in the checkpoint the policy was built from."""
        learning = {name for name, weight in self.named_parameters() if weight.requires_grad}
        return {name: value for name, value in super().state_dict(*args, **kwargs).items() if name in learning}

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Keep what the weights were trained under."""
        checkpoint["settings"] = self.settings

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Refuse a checkpoint of another policy before any weight is touched; say under what else a run goes on.

        Raises:
            UserError: If its weights do not fit, or mean something else under these settings.
        """
        if "settings" not in checkpoint:
            raise UserError("`ckpt_path` must be a checkpoint that says what it was trained under; this one does not.")
        changed = changes(checkpoint["settings"], self.settings)
        refuse(changed, HELD_BY_WEIGHTS)
        if self._trainer is not None and self._trainer.state.fn != TrainerFn.FITTING:
            # So that an evaluation stands in the log at the step of its weights, not over that of the weights before.
            if "loops" in checkpoint:  # not where weights alone were saved
                self._trainer.fit_loop.load_state_dict(checkpoint["loops"]["fit_loop"])
                batches = self._trainer.fit_loop.epoch_loop
                done = batches.batch_progress.total.processed  # type: ignore[attr-defined]  # declared below what it is
                batches._batches_that_stepped = done
        elif self._trainer is not None:
            refuse(changed, HELD_BY_TRAINING)
            if changed:
                rank_zero_warn(described(changed, forgotten(checkpoint.get("pipeline", {}), changed, "pipeline")))
        expected = {(name, weight.shape) for name, weight in self.state_dict().items()}
        saved = {(name, weight.shape) for name, weight in checkpoint["state_dict"].items()}
        if expected != saved:
            raise UserError(
                f"`ckpt_path` holds {len(saved)} weights, of which {len(saved & expected)} fit this policy, "
                f"which learns {len(expected)}. Use the policy and adaptation it was trained with."
            )

    def update_weights(self, losses: Callable[[], Iterable[Tensor]]) -> Tensor:
        """One update along the gradient of the sum of `losses()`; gives its norm before clipping.

        A step is a batch, into however many updates it is cut: the first of them counts it. So limits, schedules,
        checkpoints and logs, all of which Lightning looks at between batches, count alike.

        The backward pass of each loss ends before the next loss is computed, so that one graph at a time is in memory.
        The losses of all ranks add up to that of the step: gradients are added over ranks, once, after the last loss.
        Where memory runs out, the gradient is dropped and made anew under smaller limits, by the same random numbers;
        other ranks need not know, since until the last loss nothing is exchanged.

        Raises:
            TooLittleMemoryError: On all ranks, if a pass that cannot be cut does not fit on one.
            NonFiniteError: On all ranks, if a loss or the gradient is not finite; no weight has moved.
        """
        optimizer = self.optimizers()
        optimizer.zero_grad()  # type: ignore[union-attr]
        self.policy.train()  # dropout acts, and activations are recomputed, while losses are made and nowhere else
        restart = self._restart()
        on_every_rank(lambda: self.limits.retried(lambda: self._accumulate(losses()), restart))
        add_gradients(self.policy.parameters())
        # In float16 losses are scaled up, and a scale that was too high shows in the gradient: the scaler skips that
        # step and lowers it.
        scaler = getattr(self.trainer.precision_plugin, "scaler", None)
        scale = 1.0 if scaler is None else float(scaler.get_scale())
        norm = clip_gradients(self.policy.parameters(), self.optimization.clip * scale) / scale
        if not norm.isfinite() and scale <= 1.0:
            raise NonFiniteError(f"The gradient must be finite; its norm is {float(norm)}.")
        if not self._updates:
            optimizer.step()  # type: ignore[union-attr]
        else:  # what Lightning's own `step` does, but for counting
            self.trainer.strategy.optimizer_step(optimizer.optimizer, lambda: None)  # type: ignore[union-attr]
        self._updates += 1
        return norm

    def _restart(self) -> Callable[[], None]:
        """Drops all gradients, and puts the random streams back to where they are now."""
        devices = [self.device] if self.device.type == "cuda" else []
        here, there = torch.get_rng_state(), [torch.cuda.get_rng_state(device) for device in devices]

        def restart() -> None:
            self.policy.zero_grad()
            torch.set_rng_state(here)
            for device, state in zip(devices, there, strict=True):
                torch.cuda.set_rng_state(state, device)

        return restart

    def _accumulate(self, losses: Iterable[Tensor]) -> None:
        """The gradient of the sum of losses, on this rank."""
        with self._own_gradients():
            for loss in losses:
                if not loss.isfinite():
                    raise NonFiniteError(f"The loss must be finite; it is {float(loss.detach())}.")
                self.manual_backward(loss)

    def _settings(self) -> dict[str, Any]:
        """The settings of all parts, and a digest of the weights that the policy starts from."""
        settings = {key: value for name, part in self.parts().items() for key, value in settings_of(name, part).items()}
        start = self.policy.named_parameters()
        if settings.get("policy.adaptation.adapter") is None:
            start = ((name, weight) for name, weight in start if "lora_" not in name)  # drawn anew by every run
        else:
            for ignored in ("rank", "alpha"):  # an existing adapter brings its own
                settings.pop(f"policy.adaptation.{ignored}")
        return {**settings, WEIGHTS: weights_digest(start)}

    def _own_gradients(self) -> AbstractContextManager[None]:
        """A context in which no pass waits for other ranks, which may need more passes or fewer."""
        wrapped = self.trainer.strategy.model
        return wrapped.no_sync() if isinstance(wrapped, DistributedDataParallel) else nullcontext()


def unreached_validation(trainer: lightning.Trainer, batches: int) -> str | None:
    """What becomes of a `val_check_interval` that an epoch of so many batches does not reach, which Lightning refuses.

    None where it is reached.
    """
    limit, interval = trainer.limit_train_batches, trainer.val_check_interval
    batches = min(batches, limit) if isinstance(limit, int) else int(batches * limit)
    if not isinstance(interval, int) or trainer.check_val_every_n_epoch is None or interval <= batches:
        return None
    return (
        f"`trainer.val_check_interval` is {interval} batches, and an epoch has {batches}: validation takes place at "
        "the end of each epoch."
    )
