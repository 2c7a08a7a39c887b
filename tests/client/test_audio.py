"""What a broadcast sends of what it is given: small pages, one link for as long as it can be, true time."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from parley.client.audio import BLOCK_SAMPLES, Block, Repaged
from parley.dialects.ogg import Kind, NotOggOpus, OpusHead, OpusStream, OpusTags, Page, Pages, build_page, build_pages
from tests.ogg import FRAME, HEAD, decoded, encoded, headers, joined, link, packet


def repaged(*pieces: bytes) -> list[Block]:
    audio = Repaged(7)
    return [block for piece in pieces for block in audio.feed(piece)] + list(audio.flush())


def as_sent(blocks: list[Block]) -> bytes:
    """What a server gets: headers where they are new."""
    out, told = b"", None
    for block in blocks:
        if block.headers is not told:
            out += block.closing + b"".join(block.headers)
            told = block.headers
        out += block.data
    return out


def packets_of(pages: list[Page]) -> list[bytes]:
    stream = OpusStream()
    return [one for page in pages if stream.take(page) is Kind.AUDIO for one in page.packets()]


def test_pages_of_seconds_become_pages_of_a_tenth_with_the_same_packets() -> None:
    sent = Pages().feed(encoded(2.2, page_ms=1000))
    blocks = repaged(joined(sent))
    made = Pages().feed(as_sent(blocks))
    assert packets_of(made) == packets_of(sent)
    assert len(blocks) == 23
    assert [block.at_s for block in blocks] == [pytest.approx(n / 10) for n in range(23)]
    assert not any(page.continued for page in made)
    # A last page may say that the end of its packet is not to be heard (RFC 7845 §4.4): 20 ms at most.
    assert 0 <= len(decoded(joined(made))) - len(decoded(joined(sent))) < FRAME * 2


@given(st.lists(st.integers(1, 200), max_size=10))
def test_however_the_bytes_are_cut(cuts: list[int]) -> None:
    whole = joined(link(12, packets=3))
    pieces, at = [], 0
    for cut in cuts:
        pieces.append(whole[at : at + cut])
        at += cut
    assert repaged(*pieces, whole[at:]) == repaged(whole)


def test_a_file_that_loops_is_one_stream_whose_time_goes_on() -> None:
    blocks = repaged(joined(link(10)) * 3)
    assert len({id(block.headers) for block in blocks}) == 1
    made = Pages().feed(as_sent(blocks))
    assert [page.sequence for page in made] == list(range(len(made)))
    assert made[-1].granule == 30 * FRAME
    assert not any(page.eos for page in made)


def test_another_head_begins_another_link_and_ends_the_one_before() -> None:
    stereo = OpusHead(2, HEAD.pre_skip, HEAD.input_rate, 0, 0, 1)
    other = link(10, serial=9)
    other[0] = build_page([stereo.packet()], serial=9, sequence=0, granule=0, bos=True)
    made = Pages().feed(as_sent(repaged(joined(link(10)), joined(other))))
    assert [page.serial for page in made if page.bos] == [7, 8]
    assert [(page.serial, page.granule) for page in made if page.eos] == [(7, 10 * FRAME)]
    stream = OpusStream()
    assert Kind.OTHER not in [stream.take(page) for page in made]
    assert stream.samples == 20 * FRAME


def test_pictures_are_left_out_and_titles_kept() -> None:
    cover = b"metadata_block_picture=" + bytes(700_000)
    blocks = repaged(joined(link(5, tags=OpusTags(b"v", (b"TITLE=A", cover, b"ARTIST=B")))))
    stream = OpusStream()
    for page in Pages().feed(as_sent(blocks)):
        stream.take(page)
    assert stream.tags.comments == (b"TITLE=A", b"ARTIST=B")


def test_a_hole_stays_one() -> None:
    sent = headers()
    for number in range(10):
        begins = number * FRAME + (48_000 if number >= 5 else 0)
        sent.append(build_page([packet(number)], serial=1, sequence=2 + number, granule=begins + FRAME))
    blocks = repaged(joined(sent))
    assert [block.at_s for block in blocks] == [0, 1.1]
    assert Pages().feed(blocks[-1].data)[-1].granule == 48_000 + 10 * FRAME


def test_packets_over_several_pages_are_joined_and_halves_are_not_sent() -> None:
    long = packet(1, 70_000)
    pages = build_pages([packet(0), long, packet(2)], serial=1, sequence=2, granule=3 * FRAME)
    assert len(pages) == 2
    made = Pages().feed(as_sent(repaged(joined(headers() + pages))))
    assert b"".join(page.body for page in made[2:]) == packet(0) + long + packet(2)
    torn = repaged(joined(headers() + pages[1:] + link(3)[2:]))
    assert packets_of(Pages().feed(as_sent(torn))) == [packet(2), packet(0), packet(1), packet(2)]


def test_what_is_no_opus_is_refused() -> None:
    with pytest.raises(NotOggOpus):
        repaged(encoded(0.1)[500:])


def test_a_block_is_no_longer_than_it_must_be() -> None:
    for block in repaged(joined(link(40, packets=7))):
        assert round(block.length_s * 48_000) <= BLOCK_SAMPLES
