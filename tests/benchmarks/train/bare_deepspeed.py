"""The peer: the loop that DeepSpeed's documentation shows, around the same model."""

import deepspeed
import torch
import torch.distributed as dist

from fsft.runtime.train.activation_checkpointing import apply_checkpointing
from fsft.runtime.train.engine import deepspeed_config
from fsft.runtime.train.optimizer import make_optimizer, schedule_maker
from tests.benchmarks.train.peer import Peer


def main() -> None:
    """Train as fsft would, and write the speed."""
    deepspeed.init_distributed()
    peer = Peer()
    recipe = peer.recipe
    apply_checkpointing(peer.model, recipe.parallel.settled.activation_checkpointing)
    engine, *_ = deepspeed.initialize(
        model=peer.model,
        optimizer=make_optimizer(peer.model, recipe.optimizer),
        lr_scheduler=schedule_maker(recipe.optimizer, peer.num_steps),
        config=deepspeed_config(recipe) | {"gradient_clipping": recipe.optimizer.clip},
        dist_init_required=False,
    )
    engine.train()
    for step in range(1, peer.num_steps + 1):
        total = torch.zeros((), device=engine.device)
        micro_batches = peer.plan.micro_batches(step, peer.rank)
        for rows in micro_batches:
            inputs = peer.inputs([peer.rows[int(row)] for row in rows])
            loss = engine(**{name: value.to(engine.device) for name, value in inputs.items()}).loss
            engine.backward(loss)
            engine.step()
            total += loss.detach() / len(micro_batches)
        dist.all_reduce(total)
        total.item()
        peer.end_step()
    peer.write()


if __name__ == "__main__":
    main()
