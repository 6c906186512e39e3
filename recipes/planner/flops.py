"""How much arithmetic training takes."""


def training_flops(
    *,
    num_layer_parameters: int,
    num_head_parameters: int,
    num_layers: int,
    attention_width: float,
    num_tokens: int,
    num_labels: int,
    sum_squared_lengths: int,
) -> float:
    """Model FLOPs of forward and backward: 6·N·tokens + 6·H·labels + 6·L·w·Σs².

    Each matmul parameter costs a multiplication and an addition per token forward, and twice that
    backward: those of the layers (N) for every token, those of the output projection (H) for
    those that are learned. Causal attention of a sample of s tokens is two products of s²/2 · w
    multiply-adds per layer forward (4·w·s²/2 FLOPs), and twice that backward. Source: PaLM (arXiv
    2204.02311), appendix B, with the causal half. `attention_width` is heads × head size, Σs² runs
    over samples.
    """
    linear = 6.0 * (num_layer_parameters * num_tokens + num_head_parameters * num_labels)
    attention = 6.0 * num_layers * attention_width * sum_squared_lengths
    return linear + attention


def classical_flops(*, num_parameters: int, num_tokens: int) -> float:
    """8·P·tokens: forward, recomputed forward and backward of every parameter, no attention.

    The estimate that Megatron-style scripts report (arXiv 2104.04473), whether or not they
    recompute.
    """
    return 8.0 * num_parameters * num_tokens
