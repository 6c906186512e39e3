"""Layers compiled by torch.compile."""

from typing import Any

from fsft.recipes.problems import Problem, Refused


def compile_layers(model: Any) -> None:
    """Compile each layer of a transformers model, for micro batches of any shape.

    Layers are alike, so one program serves all of them, and it is made once for rows of one sample
    and once for packed ones. Raises Refused where a model has no layers that transformers could
    checkpoint, which are what is compiled.
    """
    from transformers.modeling_layers import GradientCheckpointingLayer

    layers = [part for part in model.modules() if isinstance(part, GradientCheckpointingLayer)]
    if not layers:
        reason = f"{type(model).__name__} has no layers that are known to be alike."
        raise Refused(Problem(key="model.compile", reason=reason, example="compile = false"))
    for layer in layers:
        # Not the whole model: its head would be taken apart, and ZeRO sees layers end.
        layer.compile(dynamic=True)
