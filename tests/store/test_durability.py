"""What was answered is on disk: kills under load, and the order of system calls (DESIGN, "Promises")."""

import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

from parley.domain import messages
from tests.lengths import LONG
from tests.serving import die_with_parent
from tests.stage import Stage, somebody

ADA = somebody("ada")
ROOT = Path(__file__).resolve().parents[2]
KILLS = 20 if LONG else 3
ROOMS = 5
WINDOW = 10
WRITTEN = re.compile(r"pwrite64\(\d+<[^>]*parley\.db-wal>")
#: A sync that has returned; a call that others came in between of is told in two lines.
SYNCED = re.compile(r"(fdatasync|fsync)\(\d+<[^>]*parley\.db-wal>\) += 0|(fdatasync|fsync) resumed.*= 0")
ANSWERED = re.compile(r'write\(1<[^>]*>, "room-0 \d+')


def sending(url: str, turn: str, *, rooms: int, window: int, under: Sequence[str] = ()) -> "subprocess.Popen[bytes]":
    return subprocess.Popen(
        [*under, sys.executable, "-m", "tests.store.sending_process", url, turn, str(rooms), str(window)],
        stdout=subprocess.PIPE,
        cwd=ROOT,
        preexec_fn=die_with_parent,
    )


def stored(stage: Stage, room: str) -> dict[int, tuple[str, str]]:
    """(id, client_id) of every message of a room, by seq."""
    found: dict[int, tuple[str, str]] = {}
    complete = False
    while not complete:
        page = stage.do(ADA, messages.List(room, after=max(found, default=0), limit=200))
        found.update({message["seq"]: (message["id"], message["client_id"]) for message in page["messages"]})
        complete = page["complete"]
    return found


def test_killed_under_load_no_answered_message_is_lost_none_is_twice_and_no_seq_is_missing(store_url: str) -> None:
    answered: dict[str, dict[int, tuple[str, str]]] = {}
    for turn in range(KILLS):
        # Every second turn sends once more what the killed one sent: what was stored and never answered included.
        with sending(store_url, f"turn-{turn // 2}", rooms=ROOMS, window=WINDOW) as process:
            assert process.stdout is not None
            lines = [process.stdout.readline() for _ in range(300 + 211 * turn)]
            process.kill()
            lines += process.stdout.readlines()
        for line in lines:
            if line.endswith(b"\n"):
                room, seq, message_id, client_id = line.decode().split()
                known = answered.setdefault(room, {}).setdefault(int(seq), (message_id, client_id))
                assert known == (message_id, client_id), "the same answer every time"
    stage = Stage(store_url)
    assert len(answered) == ROOMS
    for room, answers in answered.items():
        kept = stored(stage, room)
        assert answers.items() <= kept.items(), "what was answered is there, with its seq"
        assert sorted(kept) == list(range(2, len(kept) + 2)), "no seq is missing"
        assert len({client_id for _, client_id in kept.values()}) == len(kept), "nothing is there twice"
        assert len(stage.log(room)) == len(kept) + 1
    stage.close()


def test_between_the_last_write_and_an_answer_stands_a_sync(sqlite_url: str, tmp_path: Path) -> None:
    """A kill cannot tell FULL from OFF: the kernel keeps what was written. The order of the calls can."""
    strace = shutil.which("strace")
    if strace is None:
        pytest.skip("strace is missing")
    trace = tmp_path / "trace"
    calls = "trace=pwrite64,write,fdatasync,fsync"
    with sending(
        sqlite_url, "x", rooms=1, window=1, under=[strace, "-f", "-y", "-o", str(trace), "-e", calls]
    ) as process:
        assert process.stdout is not None
        for _ in range(50):
            assert process.stdout.readline()
        # The tracer ends when the one it traces is gone.
        (traced,) = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
        os.kill(int(traced), signal.SIGKILL)
    answers = written = 0
    unsynced = False
    for line in trace.read_text().splitlines():
        if WRITTEN.search(line):
            unsynced = True
            written += 1
        elif SYNCED.search(line):
            unsynced = False
        elif ANSWERED.search(line):
            answers += 1
            assert not unsynced, f"answer {answers} left before the log was synced"
    assert answers >= 50
    assert written >= answers
