"""What models write is made fit to print."""

from __future__ import annotations

import pytest

from engines.protocols import Bilingual
from engines.words.answers import LONGEST, bilingual, cleaned
from engines.words.vocabulary import vocabulary
from pipeline.errors import RejectedInput


@pytest.mark.parametrize(
    ("written", "printed"),
    [
        ("a red dress on a hanger", "A red dress on a hanger."),
        ("Here is a description of the image: a red dress.", "A red dress."),
        ('Sure! Here\'s a short caption for this photo:\n\n"A red dress."', "A red dress."),
        ("Certainly. The image shows a red dress. It also shows a hat.", "A red dress."),
        ("arafed woman in a red dress", "Woman in a red dress."),
        ("there is a araffe red dress", "A red dress."),
        ("a close up photography of a red dress", "A red dress."),
        ("a picture of a photo of a red dress", "A red dress."),
        ("**A red dress** <b>on</b> `sale`", "A red dress on sale."),
        ("a red dress, see https://evil.example/x?y and www.evil.example", "A red dress, see and."),
        ("a red\u202e dress\x00\x1b[31m", "A red dress 31m."),
        ("a red red red red dress", "A red dress."),
        ("a black and black and black and black and", "A black and."),
        ("Is this a dress?", "Is this a dress?"),
        ("caf\u0065\u0301 chair", "Caf\u00e9 chair."),
    ],
)
def test_one_plain_sentence_is_left(written: str, printed: str) -> None:
    assert cleaned(written) == printed
    assert cleaned(printed) == printed


@pytest.mark.parametrize(
    "empty", ["", "  \n", "...", "Here is a description of the image:", "<|im_end|>", "\u200b"]
)
def test_nothing_is_a_rejected_input(empty: str) -> None:
    with pytest.raises(RejectedInput, match="empty-answer"):
        cleaned(empty)


def test_what_is_too_long_is_cut_at_a_word() -> None:
    cut = cleaned("dress number " + " ".join(str(number) for number in range(200)))
    assert LONGEST - 5 <= len(cut) <= LONGEST + 1
    assert cut.rstrip(".").split()[-1] == str(len(cut.split()) - 3)
    assert len(cleaned("x" * 1000)) == LONGEST + 1


def test_the_chinese_lists_what_the_english_names() -> None:
    words = vocabulary()
    said = "Two light blue T-shirts and a pair of navy jeans."
    assert bilingual(said, words) == Bilingual(said, "图中可见：浅蓝色、T恤、藏青色、牛仔裤。")
    assert bilingual("A thing.", words) == Bilingual("A thing.", "一张商品照片。")


def test_words_within_words_are_not_named() -> None:
    assert bilingual("A tangerine-coloured redder clay panel.", vocabulary()).zh == "一张商品照片。"
