"""Rows that are token ids already."""

from typing import Any

import pytest

from fsft.runtime.data.shapes import detect_format
from fsft.runtime.data.shapes.tokens import TokenRow, read_tokens


def test_token_ids_are_read_with_what_stands_beside_them() -> None:
    row = {
        "input_ids": [1, 2, 3],
        "labels": [-100, 2, 3],
        "cu_seqlens": [0, 1, 3],
        "position_ids": [0, 0, 1],
        "category": None,
    }
    assert detect_format(row) == "tokens"
    assert read_tokens(row) == TokenRow([1, 2, 3], [-100, 2, 3], [0, 1, 3], [0, 0, 1])


@pytest.mark.parametrize(
    ("row", "said"),
    [
        ({"input_ids": []}, "input_ids is empty"),
        ({"input_ids": "abc"}, "must be a list of whole numbers, not text"),
        ({"input_ids": [1, 2.0]}, "must hold whole numbers, not a number"),
        ({"input_ids": [1, True]}, "must hold whole numbers, not a boolean"),
        ({"input_ids": [-1]}, "from 0"),
        ({"input_ids": [2**31]}, "from 0 to 2147483647"),
        ({"input_ids": [1, 2], "labels": [1]}, "labels has 1 numbers, and input_ids 2"),
        ({"input_ids": [1, 2], "labels": [1, -5]}, "token ids or -100, not -5"),
        ({"input_ids": [1, 2], "cu_seqlens": [0, 1]}, "rise from 0 to the row's length, 2"),
        ({"labels": [1]}, "needs the field input_ids"),
        ([1, 2], "needs the field input_ids"),
    ],
)
def test_what_cannot_be_token_ids_is_said(row: Any, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        read_tokens(row)
