"""Two processes on one database: nothing fails that one alone would have done, and nobody sees a deadlock."""

import subprocess
import sys
from collections import Counter
from pathlib import Path

from parley.domain import members, rooms
from parley.domain.principal import OPERATOR
from tests.lengths import LONG
from tests.serving import die_with_parent
from tests.stage import Stage
from tests.store.talking_process import PEOPLE, ROOMS

ROOT = Path(__file__).resolve().parents[2]
PAIRS = 5000 if LONG else 400
#: What these commands may be refused with when they are told one after the other.
EXPECTED = {"ok", "forbidden", "banned", "not_found", "conflict", "invalid_params"}


def test_random_pairs_of_commands_from_two_processes_all_end_as_one_by_one(store_url: str) -> None:
    stage = Stage(store_url)
    for room in ROOMS:
        stage.do(OPERATOR, rooms.Create(room=room))
        for who in PEOPLE:
            stage.do(who, members.Join(room))
    processes = [
        subprocess.Popen(
            [sys.executable, "-m", "tests.store.talking_process", store_url, str(seed), str(PAIRS)],
            stdout=subprocess.PIPE,
            text=True,
            cwd=ROOT,
            preexec_fn=die_with_parent,
        )
        for seed in (1, 2)
    ]
    ended: Counter[str] = Counter()
    for process in processes:
        told, _ = process.communicate(timeout=100)
        assert process.returncode == 0
        for line in told.splitlines():
            how, count = line.split("\t")
            ended[how] += int(count)
    assert set(ended) <= EXPECTED, ended
    assert sum(ended.values()) == 4 * PAIRS
    assert ended["ok"] > PAIRS
    for room in ROOMS:
        assert [event["seq"] for event in stage.log(room)] == list(range(1, len(stage.log(room)) + 1))
        assert stage.do(OPERATOR, rooms.Get(room))["room"]["seq"] == len(stage.log(room))
    stage.close()
