"""Which rows are computed when, and as which tensors."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from fsft.recipes.schema import Budget
from fsft.runtime.data.training_set import Extent, TokenRow
from fsft.runtime.train.batches import BATCHES_GROUPED, BatchPlan, collate


def plan(
    lengths: list[int],
    *,
    micro_batch: int = 1,
    accumulation: int = 1,
    num_replicas: int = 1,
    group_by_length: bool = False,
) -> BatchPlan:
    return BatchPlan(
        np.asarray(lengths, dtype=np.int32),
        Extent(len(lengths), sum(lengths), int(np.argmax(lengths))),
        seed=3,
        micro_batch=micro_batch,
        gradient_accumulation=accumulation,
        num_replicas=num_replicas,
        group_by_length=group_by_length,
    )


def row(*sample_lengths: int) -> TokenRow:
    total = sum(sample_lengths)
    ids = np.arange(1, total + 1, dtype=np.int32)
    bounds = np.cumsum([0, *sample_lengths]).astype(np.int32)
    labels = ids.copy()
    labels[bounds[:-1]] = -100
    return TokenRow(input_ids=ids, labels=labels, cu_seqlens=bounds)


LENGTHS = st.lists(st.integers(1, 50), min_size=1, max_size=40)


@given(LENGTHS, st.integers(1, 4))
def test_each_pass_reads_every_row_once(lengths: list[int], batch: int) -> None:
    batches = plan(lengths, micro_batch=batch)
    num_passes = batch
    num_steps = len(lengths) * num_passes // batch
    rows = np.concatenate([batches.rows_of_step(step) for step in range(1, num_steps + 1)])
    assert np.bincount(rows, minlength=len(lengths)).tolist() == [num_passes] * len(lengths)


@given(LENGTHS)
def test_the_first_micro_batch_holds_the_longest_row(lengths: list[int]) -> None:
    first = plan(lengths, micro_batch=2, num_replicas=2).micro_batches(1, replica=0)[0]
    assert lengths[first[0]] == max(lengths)


@given(LENGTHS, st.integers(1, 9))
def test_a_step_has_the_same_rows_however_they_are_split(lengths: list[int], step: int) -> None:
    whole = sorted(plan(lengths, micro_batch=8).rows_of_step(step).tolist())
    for micro_batch, accumulation, num_replicas in [(1, 8, 1), (2, 1, 4), (2, 2, 2), (4, 1, 2)]:
        split = plan(
            lengths,
            micro_batch=micro_batch,
            accumulation=accumulation,
            num_replicas=num_replicas,
        )
        parts = [split.micro_batches(step, replica) for replica in range(num_replicas)]
        assert all(len(part) == accumulation for part in parts)
        assert sorted(int(r) for part in parts for rows in part for r in rows) == whole


def test_passes_differ_in_order_and_repeat_with_the_seed() -> None:
    first, again = plan([4] * 50), plan([4] * 50)
    orders = [
        [int(first.rows_of_step(s)[0]) for s in range(p * 50 + 1, p * 50 + 51)] for p in (0, 1)
    ]
    assert orders[0] != orders[1]
    assert [int(again.rows_of_step(s)[0]) for s in range(51, 101)] == orders[1]


@pytest.mark.parametrize(
    ("budget", "steps"),
    [
        (Budget(steps=7), 7),
        (Budget(epochs=2), 5),
        (Budget(epochs=0.1), 1),
        (Budget(tokens=80), 2),
    ],
)
def test_a_budget_is_rounded_up_to_whole_steps(budget: Budget, steps: int) -> None:
    assert plan([10] * 10, micro_batch=4).total_steps(budget) == steps


def test_positions_begin_again_with_each_sample_and_padding_is_apart() -> None:
    batch = collate([row(3, 2), row(2)], pad_token_id=0, one_row=False)
    assert batch.position_ids.tolist() == [[0, 1, 2, 0, 1], [0, 1, 0, 1, 2]]
    assert batch.input_ids.tolist() == [[1, 2, 3, 4, 5], [1, 2, 0, 0, 0]]
    assert batch.targets.tolist()[1] == [2, -100, -100, -100, -100]
    assert (batch.num_tokens, batch.num_labels, batch.sum_squared_lengths) == (7, 4, 9 + 4 + 4)


def test_one_row_holds_no_padding() -> None:
    batch = collate([row(3, 2), row(2)], pad_token_id=0, one_row=True)
    assert batch.input_ids.tolist() == [[1, 2, 3, 4, 5, 1, 2]]
    assert batch.position_ids.tolist() == [[0, 1, 2, 0, 1, 0, 1]]


@pytest.mark.parametrize(
    "attention", ["sdpa", "eager", pytest.param("flex_attention", marks=pytest.mark.slow)]
)
@pytest.mark.parametrize("one_row", [False, True])
def test_a_packed_sample_does_not_see_its_neighbour(
    attention: str, monkeypatch: pytest.MonkeyPatch, *, one_row: bool
) -> None:
    from transformers import LlamaConfig, LlamaForCausalLM
    from transformers.integrations import flex_attention

    # Computed by PyTorch's reference instead of a compiled kernel.
    monkeypatch.setattr(flex_attention, "is_torchdynamo_compiling", lambda: True)
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=64,
        hidden_size=32,
        intermediate_size=48,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
    )
    model = LlamaForCausalLM._from_config(config, attn_implementation=attention).eval()

    def logits(first_token: int) -> torch.Tensor:
        packed = row(4, 5)
        packed.input_ids[0] = first_token
        batch = collate([packed, row(3)], pad_token_id=0, one_row=one_row)
        with torch.inference_mode():
            output = model(
                input_ids=batch.input_ids, position_ids=batch.position_ids, use_cache=False
            )
        return output.logits[0]

    one, other = logits(7), logits(50)
    assert not torch.equal(one[:4], other[:4])
    assert torch.equal(one[4:9], other[4:9])
    alone = collate(
        [TokenRow(row(4, 5).input_ids[4:], row(5).labels, row(5).cu_seqlens)], 0, one_row=False
    )
    with torch.inference_mode():
        expected = model(input_ids=alone.input_ids, position_ids=alone.position_ids).logits[0]
    torch.testing.assert_close(one[4:9], expected, atol=1e-5, rtol=1e-5)


@given(LENGTHS, st.integers(1, 4))
def test_rows_grouped_by_length_are_still_each_read_once_a_pass(
    lengths: list[int], batch: int
) -> None:
    batches = plan(lengths, micro_batch=batch, group_by_length=True)
    # A whole number of groups and of passes.
    num_steps = BATCHES_GROUPED * len(lengths)
    rows = np.concatenate([batches.rows_of_step(step) for step in range(1, num_steps + 1)])
    counts = np.bincount(rows, minlength=len(lengths))
    assert counts.tolist() == [BATCHES_GROUPED * batch] * len(lengths)


def test_grouping_by_length_pads_less_and_still_mixes() -> None:
    lengths = np.random.default_rng(0).integers(1, 500, 4096).tolist()
    shares, firsts = [], []
    for grouped in (False, True):
        batches = plan(lengths, micro_batch=16, group_by_length=grouped)
        steps = [[lengths[row] for row in batches.rows_of_step(s)] for s in range(1, 65)]
        shares.append(sum(map(sum, steps)) / sum(max(step) * len(step) for step in steps))
        firsts.append([max(step) for step in steps])
    assert shares[0] < 0.7
    assert shares[1] > 0.95
    assert firsts[1] != sorted(firsts[1])
    assert firsts[1] != sorted(firsts[1], reverse=True)
    assert firsts[1][0] == max(lengths)


@given(LENGTHS, st.integers(1, 10**9))
def test_any_step_can_be_asked_for_without_those_before(lengths: list[int], step: int) -> None:
    for grouped in (False, True):
        one, other = (plan(lengths, micro_batch=2, group_by_length=grouped) for _ in range(2))
        one.rows_of_step(1)
        assert one.rows_of_step(step).tolist() == other.rows_of_step(step).tolist()


@given(LENGTHS, st.integers(1, 90))
def test_with_every_epoch_something_is_due_when_a_pass_ends(lengths: list[int], batch: int) -> None:
    batches = plan(lengths, micro_batch=batch)
    due = [step for step in range(1, 60) if batches.is_due("epoch", step)]
    ends = range(len(lengths), 59 * batch + 1, len(lengths))
    assert due == sorted({-(-rows // batch) for rows in ends})


@given(st.integers(1, 9), st.integers(1, 90))
def test_with_a_number_of_steps_something_is_due_after_each_so_many(every: int, step: int) -> None:
    assert plan([1, 2]).is_due(every, step) == (step % every == 0)
