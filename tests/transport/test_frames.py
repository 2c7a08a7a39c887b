"""Frames that we build: sizes in their shortest form, control frames within their bounds, codes that may be sent."""

import pytest

from parley.transport.frames import frame_binary, frame_close, frame_ping, frame_pong, frame_text


@pytest.mark.parametrize("size", [0, 125, 126, 65_535, 65_536])
def test_frames_carry_their_size_in_the_shortest_form(size: int) -> None:
    head = {0: b"\0", 125: b"\x7d", 126: b"\x7e\x00\x7e", 65_535: b"\x7e\xff\xff", 65_536: b"\x7f\0\0\0\0\0\1\0\0"}[
        size
    ]
    assert frame_text(b"x" * size) == b"\x81" + head + b"x" * size
    assert frame_binary(b"x" * size) == b"\x82" + head + b"x" * size


def test_control_frames_keep_within_125_bytes_and_reasons_are_cut_between_characters() -> None:
    assert frame_ping(b"x") == b"\x89\x01x"
    assert frame_pong(b"x") == b"\x8a\x01x"
    assert frame_close(1000) == b"\x88\x02\x03\xe8"
    assert frame_close(4401, "token_expired") == b"\x88\x0f\x11\x31token_expired"
    assert frame_close(1000, "é" * 100) == b"\x88\x7c\x03\xe8" + "é".encode() * 61
    with pytest.raises(AssertionError):
        frame_ping(b"x" * 126)


@pytest.mark.parametrize("code", [0, 999, 1004, 1006, 1015, 2999, 5000])
def test_a_code_that_must_not_be_sent_is_a_bug_of_the_caller(code: int) -> None:
    with pytest.raises(AssertionError):
        frame_close(code)
