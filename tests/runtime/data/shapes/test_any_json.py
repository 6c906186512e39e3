"""Whatever a row holds, it becomes a sample or a reason why not."""

from collections.abc import Callable
from typing import Any, get_args

from hypothesis import given
from hypothesis import strategies as st

from fsft.recipes.schema import DataFormat
from fsft.runtime.data.sample import Sample
from fsft.runtime.data.shapes import detect_format, renamed, to_sample
from fsft.runtime.data.shapes.tokens import TokenRow, read_tokens

FIELDS = [
    "messages",
    "conversations",
    "conversation",
    "role",
    "from",
    "content",
    "value",
    "type",
    "text",
    "image_url",
    "url",
    "weight",
    "user",
    "assistant",
    "system",
    "tool",
    "tools",
    "tool_calls",
    "function",
    "name",
    "arguments",
    "reasoning",
    "images",
    "category",
    "instruction",
    "input",
    "output",
    "history",
    "prompt",
    "answer",
    "completion",
    "label",
    "kto_tag",
    "chosen",
    "rejected",
    "source",
    "target",
    "m2",
    "input_ids",
    "labels",
    "cu_seqlens",
    "x",
]
TEXTS = ["user", "assistant", "gpt", "function_call", "text", "image", "<image>", "<image", "{}"]
M2_LINES = st.lists(st.sampled_from(["S a b", "A 0 1|||R|||c|||x|||y|||0", "A", "", "A 9 9|||"]))
JSON_VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=5)
    | st.sampled_from(TEXTS)
    | M2_LINES.map("\n".join),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(FIELDS), inner, max_size=5)
        | st.fixed_dictionaries({"role": st.sampled_from(TEXTS), "content": inner})
        | st.fixed_dictionaries({"from": st.sampled_from(TEXTS), "value": inner})
    ),
    max_leaves=15,
)
FORMATS = st.sampled_from(get_args(DataFormat))


def attempt(function: Callable[..., Any], *values: Any) -> Any:
    """What a function returns, or the reason that it gives why not."""
    try:
        return function(*values)
    except ValueError as error:
        return str(error)


def require_sample_or_reason(result: Any) -> None:
    """A sample whose turns chat templates can take, or words."""
    assert result
    if isinstance(result, Sample):
        assert isinstance(result.text, str)
        assert isinstance(result.is_empty, bool)
        for turn in (*result.messages, *result.rejected):
            assert isinstance(turn["content"], str)
            assert turn["role"] in ("system", "user", "assistant", "tool")


@given(JSON_VALUES, FORMATS)
def test_any_json_is_a_sample_or_a_reason(value: Any, data_format: DataFormat) -> None:
    require_sample_or_reason(attempt(to_sample, value, data_format))
    if found := detect_format(value):
        require_sample_or_reason(attempt(to_sample, value, found))


@given(JSON_VALUES, st.dictionaries(st.sampled_from(FIELDS), st.sampled_from(FIELDS)))
def test_columns_of_any_json_are_renamed_or_missed(value: Any, columns: dict[str, str]) -> None:
    result = attempt(renamed, value, columns)
    assert isinstance(result, str) or not isinstance(value, dict) or columns.keys() <= result.keys()


@given(JSON_VALUES)
def test_any_json_is_token_ids_or_a_reason(value: Any) -> None:
    result = attempt(read_tokens, value)
    assert isinstance(result, TokenRow) or result


@given(st.sampled_from(FIELDS), JSON_VALUES, FORMATS)
def test_any_value_in_any_field_is_a_sample_or_a_reason(
    field: str, value: Any, data_format: DataFormat
) -> None:
    row = {
        "messages": [{"role": "user", "content": "q"}],
        "conversations": [{"from": "human", "value": "q"}],
        "instruction": "q",
        "output": "a",
        "prompt": "q",
        "answer": "a",
        "completion": "a",
        "label": True,
        field: value,
    }
    require_sample_or_reason(attempt(to_sample, row, data_format))


@given(st.sampled_from(FIELDS), JSON_VALUES)
def test_any_value_in_a_turn_is_a_sample_or_a_reason(field: str, value: Any) -> None:
    row = {"messages": [{"role": "assistant", "content": "q", field: value}]}
    require_sample_or_reason(attempt(to_sample, row, "messages"))
