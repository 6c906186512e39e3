"""Processes that prepare data do without torch."""

import subprocess
import sys

from tests.runtime.data.tokenized import tokenizer_folder

LOADS = """
import sys
import fsft.runtime.data.without_torch
from transformers import AutoTokenizer
print(AutoTokenizer.from_pretrained(sys.argv[1])("plan a run").input_ids, sys.modules["torch"])
"""


def ids(program: str) -> "subprocess.CompletedProcess[str]":
    command = [sys.executable, "-c", program, str(tokenizer_folder())]
    return subprocess.run(command, capture_output=True, text=True, check=True)


def test_a_tokenizer_is_the_same_without_torch_and_nobody_is_warned() -> None:
    with_torch = LOADS.replace("import fsft.runtime.data.without_torch", "import torch")
    found, expected = ids(LOADS), ids(with_torch)
    assert found.stdout.endswith(" None\n")
    assert found.stderr == ""
    assert found.stdout.partition("]")[0] == expected.stdout.partition("]")[0] != ""
