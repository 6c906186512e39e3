"""A DeepSpeed engine for experts that are spread over ranks."""

from typing import Any

import torch.distributed as dist
from deepspeed import DeepSpeedConfig, DeepSpeedEngine
from deepspeed.utils import groups


def initialize(**arguments: Any) -> tuple[Any]:
    """What deepspeed.initialize is for other models."""
    config = DeepSpeedConfig(arguments["config"], arguments["mpu"])
    return (ExpertEngine(args=None, config_class=config, **arguments),)


class ExpertEngine(DeepSpeedEngine):
    """Knows of experts that no layer of DeepSpeed's own holds.

    Each rank that holds experts of its own writes all its weights into a file of its own; DeepSpeed
    would write a file for each expert of layers that it knows.
    """

    def _configure_distributed_model(self, model: Any) -> None:
        # Looked up from the classes of a model's layers otherwise.
        self.has_moe_layers = True
        super()._configure_distributed_model(model)

    def _save_moe_checkpoint(self, *args: Any, **named: Any) -> None:
        group = groups._get_expert_data_parallel_group(groups._get_max_expert_size_name())
        self.save_non_zero_checkpoint = dist.get_rank(group) == 0
        self._save_checkpoint(*args, **named)

    def load_checkpoint(self, *args: Any, **named: Any) -> Any:
        """As DeepSpeed does, of a model whose weights are in one file."""
        self.has_moe_layers = False
        try:
            return super().load_checkpoint(*args, **named)
        finally:
            self.has_moe_layers = True

    def _get_ckpt_name(self, folder: str, tag: str, *_: Any, **__: Any) -> str:
        rank = groups._get_expert_parallel_rank(groups._get_max_expert_size_name())
        return super()._get_ckpt_name(folder, tag, mp_placeholder=f"{rank:02d}")

    def _get_all_ckpt_names(self, folder: str, tag: str) -> list[str]:
        # A converted checkpoint has one file for all, and its weights elsewhere.
        if self.load_universal_checkpoint():
            return [super()._get_ckpt_name(folder, tag)]
        return [self._get_ckpt_name(folder, tag)]
