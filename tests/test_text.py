"""What a terminal may be shown."""

import unicodedata

from hypothesis import given
from hypothesis import strategies as st

from trajflow.text import HIDDEN, MARKS, MAX_MARKS, file_name, needs_escape, plain, safe, width


@given(st.text(st.characters(), max_size=200))
def test_nothing_a_terminal_obeys_passes(text):
    shown = safe(text)
    assert len(shown) <= 64
    assert not [c for c in shown if unicodedata.category(c) in HIDDEN or needs_escape(c)]
    assert safe(shown) == shown


@given(st.text(st.characters(), max_size=200))
def test_a_plain_text_keeps_its_lines_and_nothing_else_that_moves(text):
    shown = plain(text)
    assert shown.count("\n") == text.count("\n")
    assert not [c for c in shown if c != "\n" and needs_escape(c)]
    assert plain(shown) == shown


def test_what_has_no_width_or_no_ink_is_seen():
    assert safe("a\u200bb\u2060\ufeff\xad") == "a\\u200bb\\u2060\\ufeff\\xad"
    assert safe("\u3164\u2800\u115f") == "\\u3164\\u2800\\u115f"
    assert safe("\ufe0f\U000e0041") == "\\ufe0f\\U000e0041"


def test_few_marks_are_writing_and_a_pile_is_not():
    assert safe("e\u0301") == "e\u0301"
    shown = safe("e" + "\u0301" * 20, limit=400)
    assert sum(unicodedata.category(c) in MARKS for c in shown) == MAX_MARKS


def test_escapes_are_visible():
    assert safe("a\x1b]52;c;x\x07b") == "a\\x1b]52;c;x\\x07b"
    assert safe("\u202egnp") == "\\u202egnp"
    assert safe("\ud800") == "\\ud800"
    assert safe("\U000f0000") == "\\U000f0000"
    assert safe("a\nb\x9b") == "a\\x0ab\\x9b"


def test_plain_words_of_any_script_pass():
    words = "Zürich 東京 [red] µ"
    assert safe(words) == words
    assert safe(7) == "7"


def test_long_strings_are_cut_with_a_mark():
    assert safe("x" * 64) == "x" * 64
    assert safe("x" * 65) == "x" * 63 + "…"
    assert safe("\x00" * 10, limit=12) == "\\x00\\x00\\x0…"


def test_width_counts_terminal_columns():
    assert width("abc") == 3
    assert width("東京") == 4
    assert width("e\u0301") == 1


@given(st.text(st.characters(), max_size=80), st.text(st.characters(), max_size=80))
def test_a_name_of_a_file_leads_nowhere_and_is_its_own(one, other):
    name = file_name(one)
    assert not {"/", "\\", "\0"} & set(name)
    assert not name.startswith(".")
    assert len(name) <= 69 or name == one
    assert (name == file_name(other)) == (one == other)


def test_usual_names_of_files_stay():
    assert [file_name(name) for name in ("zara1", "a-b_c.2", "")] == ["zara1", "a-b_c.2", ""]
