"""NFC of whatever may come: the same as Unicode's own, at a price that a sender cannot raise."""

import time
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from parley.domain.normal_form import MARKS_MAX, SHRINKS_BY, normal_form

#: Of processor time, which a busy machine does not stretch.
CPU_S_MAX = 0.5
SOME = st.sampled_from("ae\u1112\u1161\u11ab\uac00\u1f82\u0301\u0316\u0344\u0345\u0f71\u0f73\u200b\U0001f600")


@given(st.text(alphabet=st.one_of(st.characters(exclude_categories=["Cs"]), SOME), max_size=300))
def test_it_is_that_of_unicode(text: str) -> None:
    assert normal_form(text) in (unicodedata.normalize("NFC", text), None)


@pytest.mark.parametrize("text", ["", "plain", "e\u0301" * 8000, "\u1f82" * 8000, "a" + "\u0301" * MARKS_MAX])
def test_what_people_write_has_one(text: str) -> None:
    assert normal_form(text) == unicodedata.normalize("NFC", text)


@pytest.mark.parametrize("marks", ["\u0301\u0316", "\u0345\u0301\u0316\u0334", "\u0344", "\u0f73", "\U00016ff0"])
def test_a_heap_of_marks_has_none_and_costs_next_to_nothing(marks: str) -> None:
    heap = "a" + marks * (64_000 // len(marks))
    normal_form("é" * 300)  # what is made once is made
    begun_s = time.process_time()
    assert normal_form(heap) is None
    assert normal_form(f"first {heap} and then") is None
    assert time.process_time() - begun_s < CPU_S_MAX


def test_no_character_comes_of_more_than_it_shrinks_by() -> None:
    assert max(len(unicodedata.normalize("NFD", chr(code))) for code in range(0xD800)) == SHRINKS_BY
