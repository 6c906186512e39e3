"""Sequence parallelism: neighbouring ranks hold the same weights and divide each row among them.

Attention sees whole rows through DeepSpeed's Ulysses: an all-to-all gives each rank some of the
heads for all positions (https://arxiv.org/abs/2309.14509). All else works on its own share.
"""

from dataclasses import dataclass, replace
from typing import Any

import torch
from torch.nn.functional import pad

from fsft.recipes.problems import Problem, Refused
from fsft.runtime.data.encode import IGNORED
from fsft.runtime.train.apart import mixes_by_itself
from fsft.runtime.train.batches import Batch
from fsft.runtime.train.mesh import Axis
from fsft.runtime.train.tensor import divides_heads
from fsft.runtime.train.whole_rows import attention_over

ATTENTION = "fsft_sequence_parallel"
"""The name under which transformers knows the attention."""


@dataclass(frozen=True)
class SequenceParallel:
    """What the ranks that divide rows with this one do."""

    axis: Axis

    def share(self, batch: Batch) -> Batch:
        """Its piece of each row; what counts whole rows is kept by the first rank alone."""
        if self.axis.size == 1:
            return batch
        padding = -batch.input_ids.shape[-1] % self.axis.size
        targets = self._piece(pad(batch.targets, (0, padding), value=IGNORED))
        positions = torch.cat(
            [batch.position_ids, torch.arange(padding).expand(len(targets), -1)], dim=1
        )
        return replace(
            batch,
            input_ids=self._piece(pad(batch.input_ids, (0, padding))),
            targets=targets,
            position_ids=self._piece(positions),
            num_tokens=batch.num_tokens * (self.axis.rank == 0),
            num_labels=int((targets != IGNORED).sum()),
            sum_squared_lengths=batch.sum_squared_lengths * (self.axis.rank == 0),
        )

    def _piece(self, whole: torch.Tensor) -> torch.Tensor:
        return whole.chunk(self.axis.size, dim=-1)[self.axis.rank]

    def divide(self, model: Any, num_rows: int, tensor: Axis) -> None:
        """Let the attention of a transformers model see whole rows.

        `num_rows`: rows of a micro batch. `tensor`: the ranks that divide the heads before. Raises
        Refused for a model with an attention of its own.
        """
        if self.axis.size == 1:
            return
        from deepspeed.runtime.sequence_parallel.ulysses_sp import UlyssesSPAttentionHF
        from transformers.configuration_utils import get_head_shapes
        from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS

        config = model.config.get_text_config()
        heads = config.num_attention_heads
        key_value_heads, head_size = get_head_shapes(config)
        reason = ""
        if not model._supports_attention_backend:
            reason = "has an attention of its own, which sees no whole rows."
        elif mixes_by_itself(model):
            reason = "mixes tokens outside of attention, where no rank sees whole rows."
        elif isinstance(head_size, list) or isinstance(key_value_heads, list):
            reason = "has layers that differ in their heads, and rows cannot be divided."
        if reason:
            reason = f"{type(model).__name__} {reason}"
            raise Refused(Problem(key="parallel.sequence", reason=reason, example="sequence = 1"))
        share = tensor.size if divides_heads(model) else 1
        divided = UlyssesSPAttentionHF(
            attn=attention_over(config._attn_implementation),
            batch_size=num_rows,
            attn_head_count=heads // share,
            attn_head_size=head_size,
            kv_head_count=key_value_heads // share,
            num_hidden_layers=config.num_hidden_layers,
            process_group=self.axis.group,
            seq_length_is_variable=True,
        )

        def with_heads_apart(*args: Any, **kwargs: Any) -> Any:
            """DeepSpeed joins the heads of its output, and GPT-2 joins the last two dimensions."""
            output, weights = divided.forward(*args, **kwargs)
            return output.unsqueeze(-2), weights

        # A name that transformers has no mask for: it would make one of this rank's share.
        ALL_ATTENTION_FUNCTIONS.register(ATTENTION, with_heads_apart)
        model.set_attn_implementation(ATTENTION)
