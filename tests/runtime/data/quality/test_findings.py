"""Personal data and secrets are found, masked, and not seen where there are none."""

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fsft.runtime.data.quality.findings import find_hints, mask

PLANTED = [
    ("e-mail", "Write to jane.doe+news@mail.gmail.com, please.", "jane.doe+news@mail.gmail.com"),
    ("e-mail", "请发邮件到zhang@163.com谢谢", "zhang@163.com"),
    ("phone", "Call +49 30 12345678 at noon", "+49 30 12345678"),
    ("phone", "or (212) 555-0123.", "(212) 555-0123"),
    ("phone", "手机13812345678，谢谢", "13812345678"),
    ("IBAN", "IBAN: DE89 3704 0044 0532 0130 00.", "DE89 3704 0044 0532 0130 00"),
    ("IBAN", "pay GB82WEST12345698765432 now", "GB82WEST12345698765432"),
    ("credit card", "card 4111-1111-1111-1111, thanks", "4111-1111-1111-1111"),
    ("credit card", "378282246310005", "378282246310005"),
    ("credit card", "5555 5555 5555 4444 is mine", "5555 5555 5555 4444"),
    ("IP address", "ping 8.8.8.8.", "8.8.8.8"),
    ("IP address", "at 2001:4860:4860::8888 too", "2001:4860:4860::8888"),
    ("AWS key", "id=AKIA" + "IOSFODNN7EXAMPLE", "AKIA" + "IOSFODNN7EXAMPLE"),
    ("private key", "-----BEGIN RSA PRIVATE KEY-----\nMII", "-----BEGIN RSA PRIVATE KEY-----"),
    ("GitHub token", "use ghp_" + "a1B2" * 9, "ghp_" + "a1B2" * 9),
    ("GitHub token", "github_pat_" + "a1B2" * 9, "github_pat_" + "a1B2" * 9),
    ("GitLab token", "glpat-" + "a1B2" * 5, "glpat-" + "a1B2" * 5),
    ("Slack token", "xoxb-123456789012-abc", "xoxb-123456789012-abc"),
    ("API key", "OPENAI_API_KEY=sk-proj-" + "a1B2" * 6, "sk-proj-" + "a1B2" * 6),
    ("Google key", "AIza" + "a1B2c" * 7, "AIza" + "a1B2c" * 7),
    ("Hugging Face token", "hf_" + "a1B2c" * 7, "hf_" + "a1B2c" * 7),
    ("Stripe key", "sk_live_" + "a1B2" * 5, "sk_live_" + "a1B2" * 5),
    ("web token", "eyJ" + "a" * 12 + ".eyJ" + "b" * 12 + "." + "c" * 12, "eyJ" + "a" * 12),
]

CLEAN = [
    "What is 2 + 2? It is 4, and 1,000,000 is a million.",
    "Version 1.2.3 of 2026-11-25 at 12:30:45 had 4111111111111112 downloads.",
    "Our network is 192.168.0.1/24, and 127.0.0.1 is this machine.",
    "Write to someone@example.com; @user mentioned user@home.",
    "ISBN 978-3-16-148410-0, order no. 12345-67890, call 911.",
    "The task-oriented sk-learn and disk-based-storage-of-some-kind are words.",
    "DE89 3704 0044 0532 0130 01 has a wrong check digit.",
    "C++ std::vector::begin is a name, and a::b::c too.",
    "-----BEGIN CERTIFICATE----- is public.",
    "圆周率是3.14159265358979，人口14亿。",
]


@pytest.mark.parametrize(("kind", "text", "value"), PLANTED)
def test_what_is_planted_is_found_once_and_masked(kind: str, text: str, value: str) -> None:
    (hint,) = find_hints(text)
    assert hint.kind == kind
    assert value not in hint.shown
    kept = [c for c in hint.shown.partition(" (")[0] if c != "…"]
    assert len(kept) <= max(8, len(value) // 2)


@pytest.mark.parametrize("text", CLEAN)
def test_clean_text_gives_nothing(text: str) -> None:
    assert list(find_hints(text)) == []


def test_a_value_is_told_once_however_often_it_stands_there() -> None:
    assert len(list(find_hints("a@mail.org b@mail.org a@mail.org"))) == 2


@given(st.text(max_size=300))
def test_no_text_makes_the_search_fail(text: str) -> None:
    for hint in find_hints(text):
        assert hint.shown


@given(st.text(min_size=1, max_size=60))
def test_a_mask_hides_more_than_half(value: str) -> None:
    flat = " ".join(value.split())
    shown = mask(value).removesuffix(f" ({len(flat)} characters)")
    assert len(shown) - 1 <= len(flat) * 2 / 5


def test_long_texts_of_digits_and_dots_are_searched_in_linear_time() -> None:
    for text in ("1" * 20_000, "1." * 10_000, "a@" * 10_000, "A1" * 10_000, "1:" * 10_000):
        list(find_hints(text))


def test_patterns_are_packaged() -> None:
    project = Path(__file__).parents[4] / "pyproject.toml"
    assert "data/quality/*.toml" in project.read_text()
    assert json.dumps([h.kind for h in find_hints("x@y.io")]) == '["e-mail"]'
