"""The console's desk where two things happen at once: answers that come late, lines that are lost in between.

The real client on a socket that a story scripts (`console_modules.mjs`), so that each order of events is forced.
"""

import json
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.npm import need

Tell = Callable[[str], Any]

HERE = Path(__file__).resolve().parent


@pytest.fixture
def outcome(repository: Path) -> Tell:
    def told(story: str) -> Any:
        node = need("node", "the page's modules run on it")
        command = [node, "--no-warnings", HERE / "console_modules.mjs", repository / "src" / "parley" / "web", story]
        done = subprocess.run(command, capture_output=True, text=True, timeout=60)
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)

    return told


def test_a_conversation_left_before_it_was_begun_is_not_followed_and_can_be_shown_again(outcome: Tell) -> None:
    assert outcome("left_before_it_was_begun") == {"followed": 0, "texts": ["hello"]}


def test_a_list_that_was_read_before_an_event_does_not_undo_it(outcome: Tell) -> None:
    # It brings what events do not: the last line, and how many are unread.
    assert outcome("list_is_older_than_an_event") == {"waiting": [], "others": [["a", "Bo", "hello", 1]]}


@pytest.mark.parametrize("story", ["agents_are_older_than_an_answer", "lists_are_later_than_agents"])
def test_agents_that_were_read_before_do_not_undo_ones_own_status(outcome: Tell, story: str) -> None:
    assert outcome(story) == {"status": "away"}


def test_a_claim_that_is_answered_late_takes_nobody_away_from_where_they_went(outcome: Tell) -> None:
    assert outcome("claim_is_answered_after_one_went_elsewhere") == {"current": "b", "mine": ["a", "b"]}
    assert outcome("claim_is_answered_where_one_stayed") == {"current": "a", "texts": ["hello"]}


def test_that_one_read_is_told_again_where_it_was_lost_with_the_line(outcome: Tell) -> None:
    assert outcome("receipt_is_lost_with_the_line") == {"marked": [4], "last": 4, "unread": 0}


def test_what_one_has_read_is_asked_again_where_the_answer_was_lost_with_the_line(outcome: Tell) -> None:
    assert outcome("how_far_one_read_is_lost_with_the_line") == {"unread": 0}


def test_what_one_reads_in_another_tab_is_read_here(outcome: Tell) -> None:
    assert outcome("read_in_another_tab") == {"before": 1, "after": 0}


def test_nobody_types_for_ever_because_the_line_was_lost(outcome: Tell) -> None:
    assert outcome("typing_when_the_line_was_lost") == {"before": 1, "after": 0}


def test_an_answered_message_stays_in_sight_until_its_event_comes(outcome: Tell) -> None:
    both = [["hello", "my answer"], 0]
    assert outcome("line_is_lost_between_answer_and_event") == {"between": both, "after": both}


def test_what_was_missed_rings_once_and_only_for_who_still_waits(outcome: Tell) -> None:
    told = outcome("back_after_lunch")
    assert told == {"rung": ["f"], "reads": 0, "lines": ["hello", "I am still here", "I too"]}


def test_a_closed_conversation_that_its_visitor_reopens_rings_and_shows_what_they_wrote(outcome: Tell) -> None:
    assert outcome("reopened_by_a_message") == {"rung": ["a"], "lines": ["one thing more"]}


def test_a_list_that_is_refused_for_the_moment_is_asked_for_again(outcome: Tell) -> None:
    assert outcome("list_is_refused_for_the_moment") == {"before": 0, "troubles": ["unavailable"], "after": 1}


def test_the_queue_says_what_those_who_wait_wrote_since(outcome: Tell) -> None:
    assert outcome("what_waiting_visitors_add") == {"before": ["hello"], "after": [["are you there?", 2]]}


def test_what_those_who_wait_wrote_is_drawn_once_and_only_where_it_is_news(outcome: Tell) -> None:
    lines = ["are you there?", "are you there?", "hello"]
    assert outcome("what_waiting_visitors_add_is_drawn_once") == {"unchanged": 0, "changes": 1, "lines": lines}


def test_a_queue_that_was_read_to_its_end_stays_so(outcome: Tell) -> None:
    assert outcome("a_list_that_was_read_to_its_end") == {"before": True, "after": False}


def test_what_was_erased_does_not_stay_in_the_lists(outcome: Tell) -> None:
    assert outcome("erased_while_it_is_listed") == {"before": ["I live at number seven"], "after": [["", 1]]}


def test_another_log_takes_the_place_of_the_one_before(outcome: Tell) -> None:
    assert outcome("another_log") == {"texts": ["hello"]}
