"""Where the parameters of a model are."""

from fsft.recipes.models.shape import Layer, ModelShape, Norm, Stack


def parameters_by_module(shape: ModelShape) -> dict[str, int]:
    """Parameters of each part that the model has; they add up to all of its parameters."""
    parts = {"embedding": shape.num_embedding_parameters}
    if shape.vision:
        projector = shape.vision.num_projector_parameters
        parts["vision tower"] = shape.vision.num_parameters - projector
        parts["vision projector"] = projector
    if shape.encoder:
        parts["encoder"] = shape.encoder.num_parameters + _of_norms(shape.encoder_norms)
    parts |= parameters_of_layers(shape.stack)
    parts["final norm"] = _of_norms(shape.final_norms)
    parts["head"] = shape.num_head_parameters
    return {name: count for name, count in parts.items() if count}


def parameters_of_layers(stack: Stack) -> dict[str, int]:
    """Parameters of all layers by what they do; routers and shared experts are feed-forward."""
    parts = dict.fromkeys(("attention", "feed-forward", "experts", "layer norms"), 0)
    for layer, count in stack.layers:
        for name, each in _of_layer(layer).items():
            parts[name] += count * each
    return parts


def _of_layer(layer: Layer) -> dict[str, int]:
    attention = layer.attention.num_parameters
    if layer.cross_attention:
        attention += layer.cross_attention.num_parameters
    experts = layer.num_expert_parameters
    return {
        "attention": attention,
        "feed-forward": layer.feed_forward.num_parameters - experts,
        "experts": experts,
        "layer norms": _of_norms(layer.norms) + layer.num_other_parameters,
    }


def _of_norms(norms: tuple[Norm, ...]) -> int:
    return sum(norm.num_parameters for norm in norms)
