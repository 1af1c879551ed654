"""Token estimates of prose, numbers and binary text."""

from __future__ import annotations

import base64

import pytest

from ipycachechat.providers.model_data import PIECE_LENGTH, count_tokens


@pytest.mark.parametrize(
    ("text", "least", "most"),
    [
        ("", 0, 0),
        ("hello", 1, 1),
        ("the quick brown fox jumps over the lazy dog " * 100, 850, 1000),
        ("0.123, 0.456, " * 200, 1600, 2000),
        ("<|endoftext|>", 1, 10),
        ("数据分析 " * 100, 300, 1000),
        ("half \ud800 a character", 3, 12),
    ],
)
def test_estimate_is_near_for_prose_numbers_and_binary_text(text: str, least: int, most: int) -> None:
    assert least <= count_tokens(text) <= most


def test_a_long_word_is_counted_in_pieces() -> None:
    word = base64.b64encode(b"\0" * 8 * PIECE_LENGTH).decode()
    pieces = [word[start : start + PIECE_LENGTH] for start in range(0, len(word), PIECE_LENGTH)]
    assert count_tokens(word) == sum(map(count_tokens, pieces))
