"""Any valid recipe."""

from typing import Any

from hypothesis import strategies as st

from fsft.recipes.schema import Recipe

TEXT = st.text(st.characters(blacklist_categories=["Cs", "Cc"]), min_size=1, max_size=12)
POSITIVE = st.floats(1e-9, 1e3, allow_nan=False)


def tables(**fields: st.SearchStrategy[Any]) -> st.SearchStrategy[dict[str, Any]]:
    """Tables in which any of the fields may be left out."""
    return st.fixed_dictionaries({}, optional=fields)


SOURCES = st.lists(
    st.fixed_dictionaries(
        {"path": TEXT},
        optional={
            "format": st.sampled_from(["auto", "alpaca", "text"]),
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
MODELS = st.one_of(
    st.fixed_dictionaries({"path": TEXT}, optional={"revision": TEXT}),
    st.fixed_dictionaries({"path": TEXT, "init": st.just("random")}),
)
DOCUMENTS = st.fixed_dictionaries(
    {
        "schema": st.just(1),
        "name": st.from_regex(r"[A-Za-z0-9][A-Za-z0-9._-]{0,10}", fullmatch=True),
        "model": MODELS,
        "data": st.fixed_dictionaries(
            {"train": SOURCES},
            optional={
                "eval": SOURCES,
                "variables": st.dictionaries(TEXT, TEXT, max_size=3),
                "template": TEXT,
                "sequence_length": st.integers(8, 10**6),
                "packing": st.booleans(),
                "on_error": st.sampled_from(["stop", "skip"]),
            },
        ),
        "budget": BUDGETS,
        "optimizer": st.fixed_dictionaries(
            {"learning_rate": POSITIVE},
            optional={"warmup": st.floats(0, 0.9), "clip": st.floats(0, 10)},
        ),
    },
    optional={
        "description": TEXT,
        "seed": st.integers(0, 2**31 - 1),
        "parallel": tables(zero=st.sampled_from([0, 1, 2, 3]), micro_batch=st.integers(1, 64)),
        "checkpoint": tables(every=st.integers(1, 1000), keep_last=st.integers(1, 9)),
        "convert": tables(max_shard_size=st.one_of(st.integers(1, 10**12), st.just("5GB"))),
        "serve": tables(port=st.integers(1, 65535)),
    },
)
RECIPES = DOCUMENTS.map(Recipe.model_validate)
