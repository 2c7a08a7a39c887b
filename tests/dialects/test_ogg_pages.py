"""Ogg pages, cut everywhere, torn everywhere, with anything between them, and back into bytes."""

import itertools
import time
from contextlib import nullcontext

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from parley.dialects.ogg_pages import (
    CAPTURE,
    DEBT_BYTES_MAX,
    PAGE_BYTES_MAX,
    NotOggOpus,
    Page,
    Pages,
    build_page,
    build_pages,
    checksum,
    parse_page,
    renumbered,
)
from tests.ogg import encoded, joined, link


def crc_by_the_book(data: bytes) -> int:
    """RFC 3533 §6: "generator polynomial 0x04c11db7", bit by bit, from the highest."""
    crc = 0
    for byte in data:
        crc ^= byte << 24
        for _ in range(8):
            crc = (crc << 1 ^ (0x04C11DB7 if crc >> 31 else 0)) & 0xFFFFFFFF
    return crc


@st.composite
def some_pages(draw: st.DrawFn) -> list[Page]:
    """Pages of one stream, of packets that may be empty, fill pages, and run over several."""
    sizes = st.sampled_from([0, 1, 20, 254, 255, 256, 510, 3000]) | st.just(PAGE_BYTES_MAX + 300)
    pages: list[Page] = []
    for _ in range(draw(st.integers(1, 4))):
        packets = [bytes([draw(st.integers(0, 255))]) * size for size in draw(st.lists(sizes, max_size=3))]
        pages += build_pages(packets, serial=draw(st.integers(0, 2**32 - 1)), sequence=len(pages), granule=len(pages))
    return pages


def fed(pages: Pages, pieces: list[bytes]) -> None:
    for piece in pieces:
        assert pages.feed(piece) == []


class TestChecksum:
    @given(st.binary(min_size=27, max_size=300))
    @example(bytes(27))
    @example(b"\xff" * 282)
    def test_zlib_with_mirrored_bytes_gives_the_crc_of_the_standard(self, page: bytes) -> None:
        blank = page[:22] + bytes(4) + page[26:]
        assert checksum(page) == crc_by_the_book(blank).to_bytes(4, "little")

    def test_others_pages_have_it_too(self) -> None:
        pages = Pages()
        found = pages.feed(encoded(0.1))
        assert len(found) > 5
        assert pages.lost_bytes == 0
        assert pages.pending_bytes == 0


class TestFraming:
    @given(some_pages(), st.data())
    def test_any_split_of_the_bytes_gives_the_same_pages(self, sent: list[Page], data: st.DataObject) -> None:
        whole, pages, found, at = joined(sent), Pages(), [], 0
        for cut in [*sorted(data.draw(st.lists(st.integers(0, len(whole)), max_size=8))), len(whole)]:
            found += pages.feed(whole[at:cut])
            assert pages.pending_bytes < PAGE_BYTES_MAX
            at = cut
        assert found == sent
        assert pages.lost_bytes == 0
        assert pages.pending_bytes == 0

    def test_byte_by_byte(self) -> None:
        sent, pages = link(3), Pages()
        assert [page for byte in joined(sent) for page in pages.feed(bytes([byte]))] == sent

    @given(st.lists(st.binary(max_size=80) | st.just(CAPTURE) | st.just(CAPTURE * 3), min_size=4, max_size=4))
    @example([b"Ogg", b"OggS", b"OggS\x01", b"O"])
    def test_any_garbage_between_pages_is_skipped(self, garbage: list[bytes]) -> None:
        sent, pages = link(2), Pages()
        dirty = b"".join(rubbish + page.data for rubbish, page in zip(garbage, sent, strict=True))
        # A piece of garbage may promise a page of up to 64 KiB, which must come before it can be found out.
        found = pages.feed(dirty + bytes(PAGE_BYTES_MAX))
        assert found == sent
        assert pages.lost_bytes == sum(map(len, garbage)) + PAGE_BYTES_MAX - pages.pending_bytes

    def test_truncated_at_every_byte_each_page_before_and_after_is_found(self) -> None:
        sent = link(2)
        for torn in range(len(sent)):
            before, page, after = sent[:torn], sent[torn].data, sent[torn + 1 :]
            for cut in range(1, len(page)):
                pages = Pages()
                # What is torn may promise 64 KiB, which must come before it can be found out.
                found = pages.feed(joined(before) + page[:cut] + joined(after) + b"\1" * PAGE_BYTES_MAX)
                assert found == before + after

    def test_one_wrong_bit_anywhere_loses_that_page_and_no_other(self) -> None:
        first, second, third = link(1)
        for bit in range(len(second.data) * 8):
            wrong = bytearray(second.data)
            wrong[bit // 8] ^= 1 << bit % 8
            pages = Pages()
            # A wrong length may swallow what follows, until that many bytes have come.
            found = pages.feed(first.data + wrong + third.data + bytes(20_000))
            assert found == [first, third]

    def test_a_page_is_never_held_longer_than_it_is_incomplete(self) -> None:
        page = build_page([bytes(65_000)], serial=1, sequence=0, granule=0)
        pages = Pages()
        assert pages.feed(page.data[:-1]) == []
        assert pages.pending_bytes == len(page.data) - 1
        assert pages.feed(page.data[-1:]) == [page]
        assert pages.pending_bytes == 0


class TestWhatIsNotOgg:
    @pytest.mark.parametrize("garbage", [bytes(1024), b"OggS" * 256, b"ID3\x04" + bytes(1000), b"OggS\x00" * 200])
    def test_is_refused_before_long(self, garbage: bytes) -> None:
        pages = Pages()
        with pytest.raises(NotOggOpus, match="not Ogg"):
            fed(pages, [garbage] * (2 * DEBT_BYTES_MAX // len(garbage)))

    @pytest.mark.parametrize("data", [b"ID3\x04", b"O", b"Ogg", b"OggS", b"OggS\x00", b"OggT", b"OggS\x01", b"\0"])
    def test_is_refused_with_its_first_byte_where_that_must_be_a_pages(self, data: bytes) -> None:
        for cut in range(len(data) + 1):
            pages, is_refused = Pages(from_start=True), not CAPTURE.startswith(data)
            with pytest.raises(NotOggOpus, match="begin") if is_refused else nullcontext():
                fed(pages, [data[:cut], data[cut:]])
        pages = Pages(from_start=True)
        assert pages.feed(joined(link(1))[:100]) + pages.feed(b"lost" + joined(link(1))) != []

    def test_costs_no_more_the_worse_it_is(self) -> None:
        """Each 27 bytes promise a page of 60 KiB: searched without a bound, a megabyte would take seconds."""
        hostile = (CAPTURE + b"\xff" * 22) * 40_000
        begun = time.process_time()
        with pytest.raises(NotOggOpus):
            Pages().feed(hostile)
        assert time.process_time() - begun < 0.5

    def test_good_pages_pay_for_bad_ones(self) -> None:
        pages, good = Pages(), build_page([bytes(5000)], serial=1, sequence=0, granule=0)
        torn = good.data[:-1] + b"\x01"
        for _ in range(4 * DEBT_BYTES_MAX // len(torn)):
            pages.feed(torn + good.data * 3)

    @pytest.mark.parametrize("data", [b"", b"OggS", link(1)[0].data + b"x", b"x" + link(1)[0].data])
    def test_is_no_one_page(self, data: bytes) -> None:
        with pytest.raises(NotOggOpus):
            parse_page(data)


class TestWriting:
    @given(st.lists(st.binary(max_size=600), max_size=20), st.integers(-1, 2**63 - 1), st.booleans(), st.booleans())
    def test_what_is_built_is_read(self, packets: list[bytes], granule: int, bos: bool, eos: bool) -> None:
        if sum(len(packet) // 255 + 1 for packet in packets) > 255:
            return
        made = build_page(packets, serial=2**32 - 1, sequence=7, granule=granule, bos=bos, eos=eos)
        assert parse_page(made.data) == made
        assert made.packets() == packets
        assert (made.serial, made.sequence, made.granule, made.bos, made.eos) == (2**32 - 1, 7, granule, bos, eos)

    @given(some_pages())
    def test_packets_run_over_pages_and_back(self, pages: list[Page]) -> None:
        for before, page in itertools.pairwise(pages):
            assert page.continued is not before.is_complete
        assert all(parse_page(page.data) == page for page in pages)

    @pytest.mark.parametrize("size", [0, 254, 255, 255 * 255 - 1, 255 * 255, 255 * 255 + 1, 200_000])
    def test_a_packet_of_any_size(self, size: int) -> None:
        packet = bytes(number & 255 for number in range(size))
        pages = build_pages([packet], serial=1, sequence=0, granule=9)
        assert b"".join(page.body for page in pages) == packet
        assert [page.is_complete for page in pages] == [False] * (len(pages) - 1) + [True]
        assert [page.granule for page in pages] == [-1] * (len(pages) - 1) + [9]

    def test_what_does_not_fit_in_one_page_is_refused(self) -> None:
        with pytest.raises(ValueError, match="256 segments"):
            build_page([bytes(255 * 255)], serial=1, sequence=0, granule=0)

    @given(some_pages(), st.integers(0, 2**40), st.integers(-1, 2**63 - 1), st.booleans())
    def test_a_page_numbered_anew_has_the_same_packets(
        self, pages: list[Page], sequence: int, granule: int, eos: bool
    ) -> None:
        for page in pages:
            made = renumbered(page, serial=3, sequence=sequence, granule=granule, eos=eos)
            assert parse_page(made.data) == made
            assert (made.body, made.lacing, made.continued, made.bos) == (
                page.body, page.lacing, page.continued, page.bos,
            )  # fmt: skip
            assert (made.serial, made.sequence, made.granule, made.eos) == (3, sequence % 2**32, granule, eos)
