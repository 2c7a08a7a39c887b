"""Ogg Opus: headers that are kept, headers that are refused, links that follow each other, and the time of pages."""

from collections import deque

import pytest
from hypothesis import given
from hypothesis import strategies as st

from parley.dialects.ogg import (
    HEADER_BYTES_MAX,
    HEADER_PAGES_MAX,
    NO_GRANULE,
    TIMELESS_PAGES_MAX,
    Continuous,
    Kind,
    NotOggOpus,
    OpusHead,
    OpusStream,
    OpusTags,
    Page,
    Pages,
    build_page,
    build_pages,
    checksum,
    packet_samples,
)
from tests.ogg import FRAME, HEAD, TAGS, decoded, encoded, headers, joined, link, packet


def taken(pages: list[Page]) -> tuple[OpusStream, list[Kind]]:
    stream = OpusStream()
    return stream, [stream.take(page) for page in pages]


def refusal(pages: list[Page]) -> str:
    with pytest.raises(NotOggOpus) as refused:
        taken(pages)
    return str(refused.value)


def audio(number: int, packets: list[bytes], *, granule: int | None = None, serial: int = 1) -> Page:
    return build_page(packets, serial=serial, sequence=number + 2, granule=granule or (number + 1) * FRAME)


class TestHeaders:
    """RFC 7845 §3: "An Ogg Opus logical stream starts with two header packets"."""

    def test_are_kept_and_audio_follows(self) -> None:
        pages = link(3)
        stream, kinds = taken(pages)
        assert kinds == [Kind.HEADER, Kind.HEADER, Kind.AUDIO, Kind.AUDIO, Kind.AUDIO]
        assert stream.headers == pages[:2]
        assert stream.is_ready
        assert stream.has_ended
        assert (stream.head, stream.tags) == (HEAD, TAGS)

    def test_may_run_over_several_pages(self) -> None:
        pages = link(1, tags=OpusTags(b"x", (b"COVER=" + bytes(100_000),)))
        stream, kinds = taken(pages)
        assert kinds == [Kind.HEADER] * 3 + [Kind.AUDIO]
        assert stream.headers == pages[:3]

    def test_are_not_ready_before_the_last_of_them(self) -> None:
        pages = link(1, tags=OpusTags(b"x", (b"COVER=" + bytes(100_000),)))
        assert [taken(pages[:count])[0].is_ready for count in range(1, 5)] == [False, False, True, True]

    @given(st.binary(max_size=50), st.lists(st.binary(max_size=50), max_size=5), st.binary(max_size=9))
    def test_comments_are_read_as_they_are_written_and_padding_is_none(
        self, vendor: bytes, comments: list[bytes], padding: bytes
    ) -> None:
        tags = OpusTags(vendor, tuple(comments))
        assert OpusTags.parse(tags.packet() + padding) == tags

    @pytest.mark.parametrize("cut", range(len(HEAD.packet())))
    def test_a_head_truncated_at_every_byte_is_refused(self, cut: int) -> None:
        with pytest.raises(NotOggOpus):
            OpusHead.parse(HEAD.packet()[:cut])

    @pytest.mark.parametrize("cut", range(len(TAGS.packet())))
    def test_tags_truncated_at_every_byte_are_refused(self, cut: int) -> None:
        with pytest.raises(NotOggOpus):
            OpusTags.parse(TAGS.packet()[:cut])

    @pytest.mark.parametrize(
        ("mapping", "fine"),
        [
            (b"\x06\x00\x00\x80\xbb\x00\x00\x00\x00\x01\x04\x02" + bytes(6), True),
            (b"\x09\x00\x00\x80\xbb\x00\x00\x00\x00\x01\x04\x02" + bytes(9), False),
            (b"\x06\x00\x00\x80\xbb\x00\x00\x00\x00\x01\x00\x00" + bytes(6), False),
            (b"\x06\x00\x00\x80\xbb\x00\x00\x00\x00\x01\x04\x05" + bytes(6), False),
            (b"\x06\x00\x00\x80\xbb\x00\x00\x00\x00\x01\x04\x02" + bytes(5), False),
            (b"\x03\x00\x00\x80\xbb\x00\x00\x00\x00\x00", False),
            (b"\x00\x00\x00\x80\xbb\x00\x00\x00\x00\x00", False),
        ],
    )
    def test_channels_and_their_mapping(self, mapping: bytes, fine: bool) -> None:
        if fine:
            assert OpusHead.parse(b"OpusHead\x01" + mapping).channels == mapping[0]
        else:
            with pytest.raises(NotOggOpus):
                OpusHead.parse(b"OpusHead\x01" + mapping)

    def test_a_later_version_that_changes_the_meaning_is_refused(self) -> None:
        """RFC 7845 §5.1: "Implementations SHOULD ... assume any stream with a version number '1x' ... incompatible"."""
        OpusHead.parse(b"OpusHead\x0f" + HEAD.packet()[9:])
        with pytest.raises(NotOggOpus, match="version 16"):
            OpusHead.parse(b"OpusHead\x10" + HEAD.packet()[9:])


class TestRefusals:
    def test_the_middle_of_a_stream(self) -> None:
        assert "first page" in refusal(link(3)[2:])

    def test_ogg_of_something_else_by_its_name(self) -> None:
        page = build_page([b"\x01vorbis" + bytes(23)], serial=1, sequence=0, granule=0, bos=True)
        assert "Vorbis" in refusal([page])

    def test_two_streams_beside_each_other(self) -> None:
        assert "before the one before" in refusal([headers(serial=1)[0], *headers(serial=2)])

    def test_a_head_that_shares_its_page(self) -> None:
        page = build_page([HEAD.packet(), b"x"], serial=1, sequence=0, granule=0, bos=True)
        assert "one packet" in refusal([page])

    def test_audio_on_the_page_of_the_comments(self) -> None:
        page = build_page([TAGS.packet(), packet(0)], serial=1, sequence=1, granule=FRAME)
        assert "audio begins" in refusal([headers()[0], page])

    def test_audio_without_comments(self) -> None:
        assert "no Opus comment header" in refusal([headers()[0], *link(1)[2:]])

    def test_a_gigantic_comment_header(self) -> None:
        pages = headers(tags=OpusTags(b"x", (b"COVER=" + bytes(16 * 1024 * 1024),)))
        stream = OpusStream()
        with pytest.raises(NotOggOpus, match="128 KiB"):
            deque(map(stream.take, pages), maxlen=0)
        assert sum(len(page.data) for page in stream.headers) <= HEADER_BYTES_MAX

    def test_a_flood_of_header_pages(self) -> None:
        whole = OpusTags(b"x", (bytes(255 * 100),)).packet()
        pieces = [whole[at : at + 255] for at in range(0, 255 * (HEADER_PAGES_MAX + 1), 255)]
        pages = [headers()[0]]
        for piece in pieces:
            # Each with one segment of 255 bytes, so that the packet goes on in the next.
            made = build_pages([piece + bytes(1)], serial=1, sequence=len(pages), granule=-1)[0]
            cut = bytearray(made.data[:27] + b"\xff" + piece)
            cut[26], cut[5] = 1, int(len(pages) > 1)
            cut[22:26] = checksum(bytes(cut))
            pages += Pages().feed(cut)
        assert len(pages) == HEADER_PAGES_MAX + 2
        assert f"{HEADER_PAGES_MAX} pages" in refusal(pages)

    def test_links_that_are_nothing_but_headers(self) -> None:
        assert "before the one before" in refusal(headers(serial=1) + headers(serial=2))

    def test_pages_that_hold_no_audio(self) -> None:
        empty = [build_page([], serial=1, sequence=2, granule=FRAME)] * (TIMELESS_PAGES_MAX + 1)
        taken(link(1, ends=False) + empty[:-1] + link(1, ends=False)[2:])
        assert "no audio" in refusal(link(1, ends=False) + empty)

    def test_pages_of_nobody(self) -> None:
        assert "no audio" in refusal(link(1, ends=False) + link(1, serial=9)[2:] * (TIMELESS_PAGES_MAX + 1))

    def test_a_granule_position_that_jumps(self) -> None:
        pages = [*link(1, ends=False), audio(1, [packet(1)], granule=FRAME * 60 * 60 * 51)]
        assert "hour" in refusal(pages)


class TestLinks:
    """RFC 3533 §4: "chaining ... logical bitstreams ... one after the other"."""

    def test_follow_each_other_and_time_goes_on(self) -> None:
        first, second = link(3, serial=1), link(4, serial=2)
        stream, kinds = taken(first + second)
        assert stream.links == 2
        assert stream.headers == second[:2]
        assert kinds.count(Kind.AUDIO) == 7
        assert stream.samples == 7 * FRAME

    def test_may_have_the_same_serial_as_a_file_that_loops(self) -> None:
        stream, kinds = taken(link(3) * 4)
        assert stream.links == 4
        assert Kind.OTHER not in kinds
        assert stream.samples == 12 * FRAME

    def test_begin_without_an_end_where_the_encoder_died(self) -> None:
        stream, kinds = taken(link(3, serial=1, ends=False) + link(2, serial=2) + link(4, serial=1)[2:3])
        assert stream.links == 2
        assert kinds[-1] is Kind.OTHER
        assert stream.samples == 5 * FRAME

    def test_what_follows_the_end_is_dropped(self) -> None:
        assert taken(link(2) + link(2)[2:])[1][-2:] == [Kind.OTHER, Kind.OTHER]


class TestTime:
    @pytest.mark.parametrize(
        ("first", "ms"),
        [(b"\x00", 10), (b"\x18", 60), (b"\x19", 120), (b"\x60", 10), (b"\x69", 40), (b"\x80", 2.5), (b"\xf8", 20),
         (b"\xf9", 40), (b"\xfa", 40), (b"\xfb\x03", 60), (b"\xfb\xc6", 120), (b"\xfb\x07", 0), (b"\xfb\x00", 0),
         (b"\xfb", 0), (b"", 0)],
    )  # fmt: skip
    def test_a_packet_says_how_long_it_is(self, first: bytes, ms: float) -> None:
        assert packet_samples(first) == ms * 48

    def test_real_streams_have_the_length_that_they_were_made_with(self) -> None:
        stream, _ = taken(Pages().feed(encoded(0.5)))
        # The encoder fills its last frame: up to 20 ms more.
        assert 0.5 <= stream.position_s < 0.53

    def test_the_pre_skip_is_not_heard(self) -> None:
        stream, _ = taken(link(50))
        assert stream.position_s == (50 * FRAME - 312) / 48_000

    def test_granule_positions_need_not_begin_at_zero(self) -> None:
        """RFC 7845 §4.3: a stream captured live may begin anywhere."""
        late = [audio(n, [packet(n)], granule=1_000_000_000 + n * FRAME) for n in range(5)]
        assert taken(headers() + late)[0].samples == 5 * FRAME

    def test_a_pause_counts_as_time(self) -> None:
        pages = [audio(0, [packet(0)]), audio(1, [packet(1)], granule=FRAME + 48_000)]
        stream, _ = taken(headers() + pages)
        assert stream.samples == FRAME + 48_000
        assert stream.page_samples == 48_000

    @pytest.mark.parametrize("granule", [1, FRAME, NO_GRANULE, -(2**62)])
    def test_a_granule_position_that_stands_still_or_goes_back_hides_no_audio(self, granule: int) -> None:
        pages = [audio(n, [packet(n)], granule=granule) for n in range(10)]
        assert taken(headers() + pages)[0].samples == 10 * FRAME

    def test_a_packet_over_several_pages_counts_where_it_ends(self) -> None:
        pages = build_pages([packet(0), packet(1, 150_000), packet(2)], serial=1, sequence=2, granule=3 * FRAME)
        stream = OpusStream()
        counted = [(stream.take(page), stream.page_samples)[1] for page in headers() + pages]
        assert counted == [0, 0, FRAME, 0, 2 * FRAME]

    def test_bytes_are_time_too_so_that_headers_are_not_for_nothing(self) -> None:
        big = OpusTags(b"x", (bytes(100_000),))
        stream, _ = taken(link(1, tags=big) * 10)
        assert stream.position_s < 0.2
        assert stream.paced_s > 15
        assert taken(link(50, size=160))[0].paced_s == 1


class TestContinuous:
    def test_links_and_losses_become_one_stream_that_decodes(self) -> None:
        one, two = Pages().feed(encoded(0.3)), Pages().feed(encoded(0.3, source="sine=frequency=880"))
        stream, made = OpusStream(), Continuous(77)
        out: list[Page] = []
        for number, page in enumerate(one + two):
            kind = stream.take(page)
            if kind is Kind.AUDIO and number not in (6, 7):
                out.append(made.audio(page, stream.page_samples))
            elif kind is Kind.AUDIO:
                made.samples += stream.page_samples
            elif stream.is_ready and stream.links == 1:
                out = made.headers(stream.headers)
        out.append(made.end())
        assert {page.serial for page in out} == {77}
        assert [page.sequence for page in out] == list(range(len(out)))
        granules = [page.granule for page in out]
        assert granules == sorted(granules)
        assert granules[-1] == stream.samples
        assert [page.bos for page in out] == [True] + [False] * (len(out) - 1)
        assert [page.eos for page in out] == [False] * (len(out) - 1) + [True]
        assert len(decoded(joined(out))) > 0.55 * 48_000 * 2

    def test_pages_on_which_no_packet_ends_say_so(self) -> None:
        pages = build_pages([packet(0, 150_000)], serial=1, sequence=2, granule=FRAME)
        made = Continuous(5, sequence=2, samples=100)
        assert [made.audio(page, samples).granule for page, samples in zip(pages, (0, 0, FRAME), strict=True)] == [
            NO_GRANULE, NO_GRANULE, 100 + FRAME,
        ]  # fmt: skip
