"""Planted duplicates, leaks and languages are found; clean data gives none."""

import json
import random
from pathlib import Path
from typing import Any

import pytest

from fsft.recipes.files import parse_recipe
from fsft.recipes.inputs import resolve_paths
from fsft.recipes.problems import Refused
from fsft.runtime.data.quality.check import check_quality
from fsft.runtime.data.quality.languages import UNKNOWN, language_of
from fsft.runtime.data.quality.lengths import measure
from fsft.runtime.data.quality.result import Quality
from tests.support import TINY_RECIPE, dialogue, write_jsonl

WORDS = [f"{a}{b}{c}" for a in "bdfgklm" for b in ("an", "el", "iro", "um") for c in "dnrst"]


def prose(seed: int, number: int = 60) -> str:
    """Words in an order that no other seed gives."""
    return " ".join(random.Random(seed).choices(WORDS, k=number))


def quality_of(
    folder: Path, train: list[dict[str, Any]], evaluation: list[dict[str, Any]], **options: int
) -> Quality:
    """What is found out about the rows."""
    write_jsonl(folder / "train.jsonl", train)
    write_jsonl(folder / "eval.jsonl", evaluation)
    text = TINY_RECIPE + '\n[[data.eval]]\npath = "eval.jsonl"\n' * bool(evaluation)
    return check_quality(resolve_paths(parse_recipe(text), folder), **options)


def test_clean_data_gives_nothing(tmp_path: Path) -> None:
    rows = [dialogue(f"question {seed}", prose(seed)) for seed in range(300)]
    quality = quality_of(tmp_path, rows[:250], rows[250:])
    train, evaluation = quality.splits
    assert (train.name, train.num_samples, evaluation.num_samples) == ("train", 250, 50)
    for split in quality.splits:
        assert (split.num_exact, split.num_near, split.hints) == (0, 0, {})
        assert split.is_whole
    assert quality.contamination is not None
    assert quality.contamination.num_samples == 0
    assert quality.summary().num_contaminated == 0


def test_duplicates_are_told_with_what_they_repeat(tmp_path: Path) -> None:
    rows = [dialogue("q", prose(seed)) for seed in range(40)]
    rows.append(dialogue("Q ", prose(3).upper().replace(" ", "\n")))
    words = prose(5).split()
    rows.append(dialogue("q", " ".join([*words[:30], "changed", *words[31:]])))
    split = quality_of(tmp_path, rows, []).splits[0]
    assert (split.num_exact, split.num_near) == (1, 1)
    places = [(pair.place.line, pair.of.line, pair.is_exact) for pair in split.duplicates]
    assert places == [(41, 4, True), (42, 6, False)]
    assert split.duplicates[0].place.file == str(tmp_path / "train.jsonl")


def test_evaluation_seen_in_training_is_told_by_how_it_was_seen(tmp_path: Path) -> None:
    train = [dialogue(f"question {seed}", prose(seed)) for seed in range(30)]
    words = prose(4).split()
    evaluation = [
        dialogue("question 2", prose(2)),
        dialogue("question 4", " ".join([*words[:20], "other", *words[21:]])),
        dialogue("another", " ".join(prose(6).split()[5:40])),
        dialogue("new", prose(1000)),
    ]
    found = quality_of(tmp_path, train, evaluation).contamination
    assert found is not None
    assert (found.num_exact, found.num_near, found.num_grams) == (1, 1, 1)
    assert [(pair.place.line, pair.of.line) for pair in found.examples] == [(1, 3), (2, 5)]


def test_chinese_evaluation_is_compared_by_characters(tmp_path: Path) -> None:
    article = "合同一方不履行义务或者履行义务不符合约定的应当承担继续履行采取补救措施等责任"
    train = [
        dialogue("法律", "前言：" + article + "。以上是第五百七十七条的内容，仅供参考，谢谢大家。")
    ]
    found = quality_of(tmp_path, train, [dialogue("问", article[3:])]).contamination
    assert found is not None
    assert found.num_samples == 1


def test_hints_are_placed(tmp_path: Path) -> None:
    rows = [dialogue("hello", "there"), dialogue("mail", "jane@mail.org")]
    split = quality_of(tmp_path, rows, []).splits[0]
    assert split.hints == {"e-mail": 1}
    (finding,) = split.findings
    assert str(finding.place) == f"{tmp_path / 'train.jsonl'}:2"


def test_of_much_data_the_first_samples_of_each_source_are_looked_at(tmp_path: Path) -> None:
    rows = [dialogue(f"question {seed}", prose(seed)) for seed in range(50)]
    quality = quality_of(tmp_path, rows, rows[:5], most_samples=10)
    train, evaluation = quality.splits
    assert (train.num_samples, train.is_whole) == (10, False)
    assert (evaluation.num_samples, evaluation.is_whole) == (5, True)
    assert not quality.summary().is_whole
    assert quality.most_samples == 10


def test_broken_rows_are_refused_with_their_line(tmp_path: Path) -> None:
    write_jsonl(tmp_path / "train.jsonl", [dialogue("q", "a")])
    with (tmp_path / "train.jsonl").open("a") as file:
        file.write("{\n")
    with pytest.raises(Refused, match=r"train\.jsonl:2"):
        check_quality(resolve_paths(parse_recipe(TINY_RECIPE), tmp_path))


@pytest.mark.parametrize(
    ("language", "texts"),
    [
        ("zh", ["你好", "你是谁？", "帮我写一首诗", "繁體中文的測試", "怎么做红烧肉", "没问题"]),
        ("ja", ["こんにちは", "詩を書いてください", "契約違反の場合どうすればいいですか", "はい"]),
        (
            "en",
            ["Who are you?", "What is a recipe?", "How do I cook rice?", "Thank you very much."],
        ),
        ("de", ["Wie geht es dir heute?"]),
        ("ko", ["안녕하세요"]),
        ("ru", ["Привет, как дела?"]),
        (UNKNOWN, ["4", "2 + 2 = 4", "", "!?", "x"]),
    ],
)
def test_short_chats_are_of_their_language(language: str, texts: list[str]) -> None:
    assert [language_of(text) for text in texts] == [language] * len(texts)


def test_lengths_are_counted_in_powers_of_two() -> None:
    found = measure("turns", [0, 1, 2, 3, 4, 7, 8])
    assert found is not None
    assert found.bins == ((0, 1, 1), (1, 2, 1), (2, 4, 2), (4, 8, 2), (8, 16, 1))
    assert (found.least, found.median, found.most) == (0, 3, 8)
    assert measure("turns", []) is None


def test_a_result_is_plain_json(tmp_path: Path) -> None:
    from dataclasses import asdict

    quality = quality_of(tmp_path, [dialogue("q", "a@mail.org")] * 2, [dialogue("q", "a")])
    told = json.loads(json.dumps(asdict(quality)))
    assert told["splits"][0]["duplicates"][0]["of"]["line"] == 1
