"""Expert parallelism: neighbouring ranks divide the experts of each layer, and send tokens to them.

Each token goes to the ranks of its experts and comes back (https://arxiv.org/abs/2006.16668); none
is dropped. Only transformers' module of experts is changed: routers, their losses and shared
experts know nothing of it. DeepSpeed's AutoEP puts a whole layer of its own in the place of the
model's, with another router and weights of other names and shapes, which neither the checkpoints
of other layouts nor transformers know; so only DeepSpeed's groups and optimizers are used here.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import torch
import torch.distributed as dist
from torch.distributed._functional_collectives import all_to_all_single_autograd

from fsft.recipes.problems import Problem, Refused

IMPLEMENTATION = "fsft_expert_parallel"
"""The name under which transformers knows the experts."""


def spread_experts(model: Any, size: int) -> None:
    """Leave each rank its share of the experts of a transformers model.

    Raises Refused for a model without experts that can be spread.
    """
    from deepspeed.utils import groups
    from transformers.integrations.moe import ALL_EXPERTS_FUNCTIONS

    modules = list(_expert_modules(model))
    _require_divisible(modules, model, size)
    groups._create_expert_and_data_parallel(size)
    name = f"ep_size_{size}"
    group = groups._get_expert_parallel_group(name)
    for module in modules:
        _keep_share(module, dist.get_rank(group), size, name)
    whole = modules[0].config._experts_implementation
    compute = ALL_EXPERTS_FUNCTIONS.get_interface(whole, type(modules[0]).forward.__wrapped__)
    ALL_EXPERTS_FUNCTIONS.register(IMPLEMENTATION, Exchange(group, size, compute))
    for module in modules:
        module.config._experts_implementation = IMPLEMENTATION


@dataclass(frozen=True)
class Exchange:
    """Computes experts that are spread over ranks; called as transformers calls its own."""

    group: Any
    size: int
    compute: Callable[..., torch.Tensor]
    """Computes the experts of this rank."""

    def __call__(
        self,
        experts: Any,
        hidden_states: torch.Tensor,
        top_k_index: torch.Tensor,
        top_k_weights: torch.Tensor,
    ) -> torch.Tensor:
        """The weighted sum of what a token's experts make of it: (tokens, hidden), as came in.

        `top_k_index` and `top_k_weights`: (tokens, experts of a token).
        """
        chosen = top_k_index.flatten()
        order = chosen.argsort(stable=True)
        counts = chosen.bincount(minlength=experts.num_experts * self.size)
        theirs = torch.empty_like(counts)
        dist.all_to_all_single(theirs, counts, group=self.group)
        sent, received = (n.view(self.size, -1).sum(dim=1).tolist() for n in (counts, theirs))
        rows = self._exchange(hidden_states[order // top_k_index.shape[-1]], received, sent)
        numbers = torch.arange(experts.num_experts, device=rows.device).repeat(self.size)
        done = self._computed(experts, rows, numbers.repeat_interleave(theirs))
        back = self._exchange(done, sent, received)[order.argsort()]
        weighted = back.view(*top_k_index.shape, back.shape[-1]) * top_k_weights.unsqueeze(-1)
        return weighted.sum(dim=1).to(hidden_states.dtype)

    def _computed(self, experts: Any, rows: torch.Tensor, numbers: torch.Tensor) -> torch.Tensor:
        # A row of zeros more: where no token comes, backward would not reach the experts and the
        # exchange before them, which other ranks wait for.
        rows = torch.cat([rows, rows.new_zeros(1, rows.shape[1])])
        numbers = torch.cat([numbers, numbers.new_zeros(1)])[:, None]
        # Weighted where the router is, so that its gradient needs no exchange.
        weights = torch.ones_like(numbers, dtype=rows.dtype)
        return self.compute(experts, rows, numbers, weights)[:-1]

    def _exchange(self, rows: torch.Tensor, received: list[int], sent: list[int]) -> torch.Tensor:
        return all_to_all_single_autograd(rows.contiguous(), received, sent, self.group)


def is_spread(parameter: torch.Tensor) -> bool:
    """Whether other ranks hold other experts in this parameter."""
    return not getattr(parameter, "allreduce", True)


def group_of_experts(parameter: Any) -> Any:
    """The ranks that hold the other experts of a parameter that is spread."""
    from deepspeed.utils import groups

    return groups._get_expert_parallel_group(parameter.group_name)


def spread_names(model: torch.nn.Module) -> list[str]:
    """The names of parameters that hold other experts on other ranks."""
    return [name for name, parameter in model.named_parameters() if is_spread(parameter)]


def whole_shape(parameter: torch.Tensor) -> list[int]:
    """The shape of a parameter that is spread, with the experts of all ranks."""
    experts, *rest = parameter.shape
    return [experts * dist.get_world_size(group_of_experts(parameter)), *rest]


def own_share(whole: torch.Tensor, parameter: torch.Tensor) -> torch.Tensor:
    """Of a parameter with the experts of all ranks, what `parameter` holds on this rank."""
    if not is_spread(parameter):
        return whole
    group = group_of_experts(parameter)
    return whole.chunk(dist.get_world_size(group))[dist.get_rank(group)]


def _expert_modules(model: torch.nn.Module) -> Iterator[Any]:
    """The modules whose computation transformers lets be exchanged."""
    return (module for module in model.modules() if hasattr(module, "_is_expert_parallel"))


def _keep_share(module: Any, rank: int, size: int, group_name: str) -> None:
    for name, whole in list(module.named_parameters(recurse=False)):
        if whole.ndim == 1:
            continue
        own = whole.detach().chunk(size)[rank].clone()
        share = torch.nn.Parameter(own, requires_grad=whole.requires_grad)
        # What DeepSpeed knows parameters of experts by.
        share.allreduce = False  # type: ignore[attr-defined]
        share.group_name = group_name  # type: ignore[attr-defined]
        setattr(module, name, share)
    module.num_experts //= size


def _require_divisible(modules: list[Any], model: Any, size: int) -> None:
    reason = ""
    if not modules:
        reason = f"{type(model).__name__} has no experts that can be spread."
    elif undivided := {m.num_experts for m in modules if m.num_experts % size}:
        reason = f"{min(undivided)} experts cannot be divided by {size}."
    if reason:
        raise Refused(Problem(key="parallel.expert", reason=reason, example="expert = 1"))
