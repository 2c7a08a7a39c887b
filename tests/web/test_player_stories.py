"""The player's lines where two things happen at once, on a socket that a story scripts (`player_stories.mjs`)."""

import json
import subprocess
from pathlib import Path
from typing import Any

from tests.npm import need


def outcome(repository: Path, story: str) -> Any:
    node = need("node", "the page's modules run on it")
    script = Path(__file__).resolve().parent / "player_stories.mjs"
    command = [node, "--no-warnings", script, repository / "src" / "parley" / "web", story]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_a_look_that_is_answered_after_the_end_does_not_say_that_one_is_on_the_air(repository: Path) -> None:
    assert outcome(repository, "look_is_older_than_the_end") == {"live": False, "may": True}


def test_a_line_lost_before_the_first_sound_is_ones_own_too(repository: Path) -> None:
    told = outcome(repository, "line_lost_before_the_first_sound")
    assert told == {"phase": "opening", "said": None, "lines": 3}


def test_a_browsers_own_player_and_the_socket_do_not_both_listen(repository: Path) -> None:
    # It was played again before the page did so by itself.
    assert outcome(repository, "played_again_before_the_pause_is_over") == {"phase": "live", "open": 0}
