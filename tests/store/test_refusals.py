"""The file of refusals: private, bounded, written by several processes, found again by incident."""

import os
import stat
import threading
from collections.abc import Callable
from pathlib import Path

from parley.store.refusals import NAME, RefusalFile, find, older


def at_once(write: Callable[[], None]) -> None:
    write()


def test_a_record_is_found_by_its_incident_and_the_file_is_private(tmp_path: Path) -> None:
    file = RefusalFile(tmp_path, at_once)
    for number in range(3):
        file.keep({"incident": f"{number:012x}", "code": "token_expired"})
    assert find(tmp_path, "000000000001") == {"incident": "000000000001", "code": "token_expired"}
    assert find(tmp_path, "000000000009") is None
    assert find(tmp_path / "nowhere", "000000000001") is None
    assert stat.S_IMODE((tmp_path / NAME).stat().st_mode) == 0o600


def test_there_are_never_more_than_two_files_of_the_size_that_is_set(tmp_path: Path) -> None:
    file = RefusalFile(tmp_path, at_once, bytes_max=1000)
    for number in range(200):
        file.keep({"incident": f"{number:012x}", "code": "token_expired"})
    sizes = [path.stat().st_size for path in tmp_path.iterdir()]
    assert len(sizes) <= 2
    assert max(sizes) < 1100
    assert find(tmp_path, f"{199:012x}")
    assert find(tmp_path, f"{190:012x}")  # it may be in the older one
    assert find(tmp_path, f"{0:012x}") is None


def test_several_who_write_and_put_aside_lose_nothing_that_is_still_kept(tmp_path: Path) -> None:
    def write(side: int) -> None:
        file = RefusalFile(tmp_path, at_once, bytes_max=4000)
        for number in range(100):
            file.keep({"incident": f"{side}-{number}"})

    sides = [threading.Thread(target=write, args=(side,)) for side in range(4)]
    for side in sides:
        side.start()
    for side in sides:
        side.join()
    lines = (older(tmp_path / NAME).read_bytes() + (tmp_path / NAME).read_bytes()).splitlines()
    assert len(set(lines)) == len(lines) > 100
    assert all(line.startswith(b'{"incident":"') and line.endswith(b'"}') for line in lines)


def test_while_the_disk_hangs_only_the_newest_wait(tmp_path: Path) -> None:
    begun: list[Callable[[], None]] = []
    file = RefusalFile(tmp_path, begun.append)
    for number in range(3000):
        file.keep({"incident": f"{number:012x}"})
    assert len(begun) == 1
    begun[0]()
    assert len((tmp_path / NAME).read_bytes().splitlines()) == 1000
    assert find(tmp_path, f"{2999:012x}")
    file.keep({"incident": "next"})
    assert len(begun) == 2


def test_a_directory_that_is_gone_stops_nobody(tmp_path: Path) -> None:
    file = RefusalFile(tmp_path / "gone", at_once)
    file.keep({"incident": "a"})
    os.mkdir(tmp_path / "gone")
    file.keep({"incident": "b"})
    assert find(tmp_path / "gone", "b")


def test_a_line_that_is_damaged_is_passed_over(tmp_path: Path) -> None:
    (tmp_path / NAME).write_text('{"incident": "a"\n"a"\n{"incident":"a"}\n')
    assert find(tmp_path, "a") == {"incident": "a"}
