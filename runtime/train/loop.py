"""The training loop of one process."""

import time
from collections.abc import Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from pathlib import Path

import torch
import torch.distributed as dist

from fsft.recipes.events import (
    CheckpointSaved,
    StagesMeasured,
    Step,
    TrainFinished,
    TrainStarted,
    Warned,
)
from fsft.recipes.planner.flops import training_flops
from fsft.recipes.problems import RunFailed
from fsft.recipes.schema import Recipe
from fsft.runtime.data.images.files import image_folder
from fsft.runtime.data.images.processor import ImageProcessor
from fsft.runtime.data.training_set import TokenRows
from fsft.runtime.event_log import EventLog
from fsft.runtime.launch.whereabouts import Whereabouts
from fsft.runtime.run_directory import RunDirectory
from fsft.runtime.train.apart import require_apart
from fsft.runtime.train.batches import Batch, BatchPlan
from fsft.runtime.train.checkpoints import Saver, layout_mark, load_checkpoint
from fsft.runtime.train.device import device_label, matmul_flops_per_second, peak_memory_bytes
from fsft.runtime.train.engine import make_engine
from fsft.runtime.train.evaluation import EvalRows, Evaluation
from fsft.runtime.train.marks import damaged_checkpoints, latest_checkpoint, needs_conversion
from fsft.runtime.train.mesh import Mesh
from fsft.runtime.train.model import (
    attention_kernel,
    attention_width,
    build_model,
    joins_rows,
    load_tokenizer,
    num_matmul_parameters,
)
from fsft.runtime.train.offload import clear, nvme_folder
from fsft.runtime.train.pipeline import PipelineSteps
from fsft.runtime.train.sample_attention import attend_by_sample
from fsft.runtime.train.sequence import SequenceParallel
from fsft.runtime.train.stages import Stages, plan_stages
from fsft.runtime.train.steps import Steps
from fsft.runtime.train.stop import StopRequest
from fsft.runtime.train.tensor import divide
from fsft.runtime.train.vision import BatchMaker
from fsft.runtime.train.whole_steps import WholeSteps


@dataclass(frozen=True)
class _Totals:
    """Sums over the global batch, on all processes that have rows."""

    num_labels: int
    num_tokens: int
    num_positions: int
    sum_squared_lengths: int


class Trainer:
    """One process's share of a training run; the methods follow the order of a run."""

    def __init__(self, run: RunDirectory, accelerator: str) -> None:
        """Build the model and resume from the newest checkpoint; the process group is up."""
        self.run = run
        self.recipe = run.recipe()
        self.rank, self.num_processes = dist.get_rank(), dist.get_world_size()
        self.events = EventLog(run.events_file) if self.rank == 0 else None
        folders = [image_folder(source) for source in self.recipe.data.train]
        self.rows = TokenRows(run.data / "train", folders)
        parallel = self.recipe.parallel.settled
        self.mesh = Mesh.of_world(parallel)
        self.sequence = SequenceParallel(self.mesh.sequence)
        self.plan = make_plan(self.recipe, self.rows, self.mesh.replica.size)
        self.total_steps = self.plan.total_steps(self.recipe.budget)
        tokenizer = load_tokenizer(run.tokenizer)
        model = build_model(self.recipe, tokenizer, accelerator)
        one_row = joins_rows(attention_kernel(self.recipe.model, accelerator))
        if one_row or self.recipe.data.packing:
            require_apart(model, packing=self.recipe.data.packing)
        num_rows = 1 if one_row else parallel.micro_batch
        self.batches = BatchMaker(
            model,
            tokenizer,
            ImageProcessor.load(run.tokenizer),
            one_row=one_row,
            always_sees=self.rows.images.any,
        )
        attend_by_sample()
        latest = latest_checkpoint(run.checkpoints)
        stages = plan_stages(self.recipe, model, latest, self._sample)
        self._tell_stages(stages)
        self.sequence.divide(model, num_rows, self.mesh.tensor)
        self.num_parameters = sum(p.numel() for p in model.parameters())
        self.num_layer_parameters, self.num_head_parameters = num_matmul_parameters(model)
        self.num_layers = model.config.get_text_config().num_hidden_layers
        self.attention_width = attention_width(model)
        mark = layout_mark(model, self.recipe, global_batch=self.plan.global_batch, stages=stages)
        divide(model, self.mesh.tensor)
        self.nvme = nvme_folder(self.recipe.parallel, run.path.name)
        clear(self.nvme)
        self.engine = make_engine(
            model,
            self.recipe,
            self.mesh,
            self.total_steps,
            stages=stages,
            load_universal=needs_conversion(latest, mark),
            nvme=self.nvme,
        )
        self._tell_damage()
        self.step = load_checkpoint(self.engine, run.checkpoints, self.recipe, mark)
        self.steps: Steps
        if stages:
            self.steps = PipelineSteps(self.engine, self.mesh)
        else:
            self.steps = WholeSteps(self.engine, self.recipe, self.mesh.data, self.batches.filled)
        rows = None
        if self.recipe.data.eval:
            rows = EvalRows(run, self.recipe, self.batches, self.mesh, self.steps)
        self.evaluation = Evaluation(rows, run, self.recipe, self.plan, self.events)
        self.saver = Saver(self.engine, run.checkpoints, self.recipe, mark)

    def train(self, stop: StopRequest, whereabouts: Whereabouts) -> None:
        """All steps that are left; ends early, with a checkpoint, when asked to stop."""
        self.whereabouts = whereabouts
        self._tell_start()
        is_stop = False
        saved = self.step
        self.engine.train()
        # Due when training was stopped, and left for now.
        self.evaluation.look(self.step, whereabouts)
        try:
            while self.step < self.total_steps and not (is_stop or self.evaluation.is_over):
                is_stop = self._one_step(stop) and self.step < self.total_steps
                self.saver.check()
                is_best = not is_stop and self.evaluation.look(self.step, whereabouts)
                if is_best or self.plan.is_due(self.recipe.checkpoint.every, self.step):
                    saved = self._save(goes_on=is_stop)
            if saved != self.step:
                self._save(goes_on=is_stop)
        finally:
            self.saver.wait()
        clear(self.nvme)
        memory: list[int] = [0] * self.num_processes
        dist.all_gather_object(memory, peak_memory_bytes())
        if self.events:
            early = self.step < self.total_steps and self.evaluation.is_over
            self.events.write(
                TrainFinished(
                    step=self.step, stopped=is_stop, ended_early=early, memory_bytes=memory
                )
            )

    def _one_step(self, stop: StopRequest) -> bool:
        """One optimizer step; True when any process was asked to stop."""
        start = time.perf_counter()
        step = self.step + 1
        self.whereabouts.mark(step, "rows")
        self._seed(step)
        batches = self._micro_batches(step)
        self.whereabouts.mark(step, "computing")
        totals = self._totals(batches)
        learning_rate = self.engine.get_lr()[0]
        taken = self.steps.take(batches, totals.num_labels)
        asked = torch.tensor(float(stop.asked()), device=self.engine.device)
        dist.all_reduce(asked)
        self._require_finite(step, "loss", taken.loss)
        self._require_finite(step, "gradient norm", taken.grad_norm)
        self.step = step
        if self.events:
            self.events.write(
                Step(
                    step=step,
                    loss=taken.loss,
                    learning_rate=learning_rate,
                    grad_norm=taken.grad_norm,
                    tokens=totals.num_tokens,
                    padding=totals.num_positions - totals.num_tokens,
                    flops=self._flops(totals),
                    seconds=time.perf_counter() - start,
                    memory_bytes=peak_memory_bytes(),
                )
            )
        return asked.item() > 0

    def _seed(self, step: int) -> None:
        """Drawn anew for each step, so that a resumed run goes on with the same random numbers.

        Ranks that divide weights must draw the same.
        """
        data, pipeline = self.mesh.data, self.mesh.pipeline
        place, places = pipeline.rank * data.size + data.rank, pipeline.size * data.size
        torch.manual_seed((self.recipe.seed << 32) + step * places + place)

    def _micro_batches(self, step: int) -> list[Batch]:
        """The rows of this rank; the stages between the first and the last need none."""
        pipeline = self.mesh.pipeline
        if 0 < pipeline.rank < pipeline.size - 1:
            return []
        return [
            self.sequence.share(self.batches.collated([self.rows[int(i)] for i in rows]))
            for rows in self.plan.micro_batches(step, self.mesh.replica.rank)
        ]

    def _sample(self) -> Batch:
        """The micro batch of the first step that is in the middle by length."""
        each = self.plan.micro_batches(1, self.mesh.replica.rank)
        return self.batches.collated([self.rows[int(i)] for i in each[len(each) // 2]])

    def _totals(self, batches: Sequence[Batch]) -> _Totals:
        own = [
            (b.num_labels, b.num_tokens, b.input_ids.numel(), b.sum_squared_lengths)
            for b in batches
        ]
        sums = torch.tensor(own or [(0,) * 4], device=self.engine.device).sum(dim=0)
        dist.all_reduce(sums, group=self.mesh.data.group)
        return _Totals(*(int(value) for value in sums.tolist()))

    def _flops(self, totals: _Totals) -> float:
        return training_flops(
            num_layer_parameters=self.num_layer_parameters,
            num_head_parameters=self.num_head_parameters,
            num_layers=self.num_layers,
            attention_width=self.attention_width,
            num_tokens=totals.num_tokens,
            num_labels=totals.num_labels,
            sum_squared_lengths=totals.sum_squared_lengths,
        )

    def _require_finite(self, step: int, name: str, value: float) -> None:
        """Stop before a broken step is saved; the last checkpoint is sound."""
        if not torch.isfinite(torch.tensor(value)):
            raise RunFailed(
                f"the {name} became {value} at step {step}. Checkpoints from before are kept. "
                "Lower optimizer.learning_rate, raise optimizer.warmup, or look at the data."
            )

    def _save(self, *, goes_on: bool) -> int:
        start, step = time.perf_counter(), self.step
        self.whereabouts.mark(step, "saving")
        waited = Future[float]()

        def tell(path: Path) -> None:
            # Written in the foreground, training has waited until now.
            later = self.saver.in_background
            seconds = waited.result() if later else time.perf_counter() - start
            if self.events:
                place = str(path.relative_to(self.run.path))
                self.events.write(CheckpointSaved(step=step, path=place, seconds=seconds))

        self.saver.save(
            step=step,
            evaluated=self.evaluation.standing,
            goes_on=goes_on,
            when_whole=tell,
        )
        waited.set_result(time.perf_counter() - start)
        return step

    def _tell_stages(self, stages: Stages) -> None:
        if self.events and stages.times:
            self.events.write(
                StagesMeasured(
                    units=stages.units,
                    seconds=list(stages.times.units),
                    embedding_seconds=stages.times.embedding,
                    head_seconds=stages.times.head,
                    stages=list(stages.sizes),
                )
            )

    def _tell_damage(self) -> None:
        latest = latest_checkpoint(self.run.checkpoints)
        if self.events and latest:
            for problem in damaged_checkpoints(self.run.checkpoints):
                message = f"{problem} Training goes on from {latest.tag}, which is whole."
                self.events.write(Warned(message=message))

    def _tell_start(self) -> None:
        dtype = torch.bfloat16 if self.recipe.model.dtype == "bfloat16" else torch.float32
        dist.barrier()
        peak = torch.tensor(matmul_flops_per_second(self.engine.device, dtype))
        peak = peak.to(self.engine.device)
        dist.all_reduce(peak)
        if self.events:
            self.events.write(
                TrainStarted(
                    num_processes=self.num_processes,
                    device=device_label(),
                    num_parameters=self.num_parameters,
                    num_matmul_parameters=self.num_layer_parameters + self.num_head_parameters,
                    total_steps=self.total_steps,
                    first_step=self.step + 1,
                    global_batch=self.plan.global_batch,
                    peak_tflops=float(peak) / 1e12,
                )
            )


def make_plan(recipe: Recipe, rows: TokenRows, num_replicas: int) -> BatchPlan:
    """The batch plan of a recipe."""
    return BatchPlan(
        rows.lengths,
        rows.extent,
        seed=recipe.seed,
        micro_batch=recipe.parallel.settled.micro_batch,
        gradient_accumulation=recipe.parallel.settled.gradient_accumulation,
        num_replicas=num_replicas,
        group_by_length=recipe.data.group_by_length and not recipe.data.packing,
    )
