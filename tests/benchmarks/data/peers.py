"""Others that make token ids of a jsonl file, as their documentation says to.

`python -m tests.benchmarks.data.peers NAME JSONL TOKENIZER PARQUET`, in a process of its own, so
that importing and starting count for all alike. A text ends with the end-of-text token.
"""

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

PROCESSES = 2
BATCH = 1000


def with_datasets(jsonl: Path, tokenizer: Path, parquet: Path) -> None:
    """datasets.map, batched, in two processes, and to_parquet."""
    from datasets import Dataset, load_dataset
    from transformers import AutoTokenizer

    tokens = AutoTokenizer.from_pretrained(tokenizer)

    def encode(batch: dict[str, list[str]]) -> dict[str, Any]:
        texts = [text + tokens.eos_token for text in batch["text"]]
        return {"input_ids": tokens(texts, add_special_tokens=False).input_ids}

    cache = str(parquet.parent / "cache")
    rows = load_dataset("json", data_files=str(jsonl), split="train", cache_dir=cache)
    assert isinstance(rows, Dataset)
    mapped = rows.map(
        encode,
        batched=True,
        batch_size=BATCH,
        num_proc=PROCESSES,
        remove_columns=["text"],
    )
    mapped.to_parquet(parquet)


def with_tokenizers(jsonl: Path, tokenizer: Path, parquet: Path) -> None:
    """Pyarrow reads and writes, tokenizers encodes on all cores."""
    import pyarrow as pa
    import pyarrow.json as pj
    import pyarrow.parquet as pq
    from tokenizers import Tokenizer
    from transformers import AutoTokenizer

    end = AutoTokenizer.from_pretrained(tokenizer).eos_token
    tokens = Tokenizer.from_file(str(tokenizer / "tokenizer.json"))
    schema = pa.schema([pa.field("input_ids", pa.list_(pa.int32()))])
    options = pj.ReadOptions(block_size=1 << 24)
    with pq.ParquetWriter(parquet, schema, compression="zstd", use_dictionary=False) as writer:
        for batch in pj.open_json(jsonl, read_options=options):
            texts = [text + end for text in batch.to_pydict()["text"]]
            for start in range(0, len(texts), BATCH):
                found = tokens.encode_batch_fast(
                    texts[start : start + BATCH], add_special_tokens=False
                )
                ids = [one.ids for one in found]
                writer.write_table(pa.table({"input_ids": ids}, schema=schema))


PEERS: dict[str, Callable[[Path, Path, Path], None]] = {
    "datasets": with_datasets,
    "tokenizers": with_tokenizers,
}

if __name__ == "__main__":
    PEERS[sys.argv[1]](*map(Path, sys.argv[2:5]))
