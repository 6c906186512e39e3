"""Any valid recipe."""

from typing import Any, get_args

from hypothesis import strategies as st

from fsft.recipes.schema import DataFormat, Recipe

TEXT = st.text(st.characters(blacklist_categories=["Cs", "Cc"]), min_size=1, max_size=12)
POSITIVE = st.floats(1e-9, 1e3, allow_nan=False)


def tables(**fields: st.SearchStrategy[Any]) -> st.SearchStrategy[dict[str, Any]]:
    """Tables in which any of the fields may be left out."""
    return st.fixed_dictionaries({}, optional=fields)


SOURCES = st.lists(
    st.fixed_dictionaries(
        {"path": TEXT},
        optional={
            "format": st.sampled_from((*get_args(DataFormat), "auto")),
            "max_samples": st.integers(1, 10**6),
        },
    ),
    min_size=1,
    max_size=3,
)
BUDGETS = st.one_of(
    st.fixed_dictionaries({"epochs": POSITIVE}),
    st.fixed_dictionaries({"tokens": st.one_of(st.integers(1, 10**12), st.just("0.7B"))}),
    st.fixed_dictionaries({"steps": st.integers(1, 10**6)}),
)
DTYPES = st.sampled_from(["float32", "bfloat16"])
MODEL_SETTINGS = {
    "dtype": DTYPES,
    "attention": st.sampled_from(["auto", "sdpa", "eager", "flash_attention_3"]),
}
DATA_SETTINGS = {
    "eval": SOURCES,
    "variables": st.dictionaries(TEXT, TEXT, max_size=3),
    "template": TEXT,
    "sequence_length": st.integers(8, 10**6),
    "packing": st.booleans(),
    "too_long": st.sampled_from(["drop", "truncate"]),
    "loss_on": st.sampled_from(["answers", "all"]),
    "on_error": st.sampled_from(["stop", "skip"]),
}
CONFIG_VALUES = st.recursive(
    st.booleans() | st.integers(-(2**63) + 1, 2**63 - 1) | st.floats(-1e9, 1e9) | TEXT,
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(TEXT, inner, max_size=2),
    max_leaves=5,
)
EVERY = st.one_of(st.just("epoch"), st.integers(1, 1000))
TOKENIZERS = tables(vocab_size=st.integers(259, 10**6))
PRETRAINED = st.fixed_dictionaries(
    {
        "model": st.fixed_dictionaries(
            {"path": TEXT}, optional=MODEL_SETTINGS | {"revision": TEXT}
        ),
        "data": st.fixed_dictionaries({"train": SOURCES}, optional=DATA_SETTINGS),
    }
)
RANDOM = st.fixed_dictionaries(
    {
        "model": st.fixed_dictionaries(
            {"path": TEXT, "init": st.just("random")}, optional=MODEL_SETTINGS
        ),
        "data": st.fixed_dictionaries(
            {"train": SOURCES}, optional=DATA_SETTINGS | {"tokenizer": TOKENIZERS}
        ),
    }
)
FROM_NOTHING = st.fixed_dictionaries(
    {
        "model": st.fixed_dictionaries(
            {
                "init": st.just("random"),
                "config": st.dictionaries(TEXT, CONFIG_VALUES, max_size=4).map(
                    lambda config: {**config, "model_type": "llama"}
                ),
            },
            optional=MODEL_SETTINGS,
        ),
        "data": st.fixed_dictionaries(
            {"train": SOURCES, "tokenizer": TOKENIZERS}, optional=DATA_SETTINGS
        ),
    }
)
REST = st.fixed_dictionaries(
    {
        "schema": st.just(1),
        "name": st.from_regex(r"[A-Za-z0-9][A-Za-z0-9._-]{0,10}", fullmatch=True),
        "budget": BUDGETS,
        "optimizer": st.fixed_dictionaries(
            {"learning_rate": POSITIVE},
            optional={
                "schedule": st.sampled_from(["cosine", "linear", "constant"]),
                "warmup": st.floats(0, 0.9),
                "betas": st.lists(st.floats(0, 0.999), min_size=2, max_size=2),
                "eps": POSITIVE,
                "weight_decay": st.floats(0, 1),
                "clip": st.floats(0, 10),
            },
        ),
    },
    optional={
        "description": TEXT,
        "seed": st.integers(0, 2**31 - 1),
        "hardware": tables(
            accelerator=st.sampled_from(["auto", "cpu", "cuda"]),
            devices_per_node=st.one_of(st.just("auto"), st.integers(1, 64)),
        ),
        "method": tables(type=st.just("full")),
        "parallel": tables(
            zero=st.sampled_from([0, 1, 2, 3]),
            micro_batch=st.integers(1, 64),
            gradient_accumulation=st.integers(1, 64),
            activation_checkpointing=st.sampled_from(["none", "full"]),
        ),
        "checkpoint": tables(
            every=EVERY,
            keep_last=st.integers(1, 9),
            keep_best=st.booleans(),
            weights_only=st.booleans(),
        ),
        "convert": tables(
            checkpoint=st.sampled_from(["newest", "best"]),
            dtype=DTYPES,
            max_shard_size=st.one_of(st.integers(1, 10**12), st.just("5GB")),
        ),
        "evaluate": tables(
            every=EVERY,
            patience=st.integers(1, 9),
            split=st.just("train"),
            max_samples=st.integers(0, 1000),
            max_new_tokens=st.integers(1, 1000),
            batch_size=st.integers(1, 64),
            samples=st.integers(0, 9),
        ),
        "serve": tables(
            engine=st.sampled_from(["auto", "transformers", "vllm"]),
            host=TEXT,
            port=st.integers(1, 65535),
        ),
    },
)
DOCUMENTS = st.builds(
    lambda rest, model_and_data: {**rest, **model_and_data},
    REST,
    st.one_of(PRETRAINED, RANDOM, FROM_NOTHING),
)
RECIPES = DOCUMENTS.map(Recipe.model_validate)
