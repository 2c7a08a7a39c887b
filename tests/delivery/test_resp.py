"""What the bus reads of Redis: values out of bytes in any pieces."""

import pytest
from redis.exceptions import InvalidResponse, ResponseError

from parley.delivery.resp import Push, Values, packed

SAID = (
    b"+PONG\r\n:3\r\n$5\r\na\r\nbc\r\n$-1\r\n_\r\n*2\r\n$1\r\nx\r\n*1\r\n:-4\r\n"
    b">3\r\n$7\r\nmessage\r\n$2\r\nch\r\n$0\r\n\r\n%1\r\n+k\r\n#t\r\n"
)
MEANT = [b"PONG", 3, b"a\r\nbc", None, None, [b"x", [-4]], [b"message", b"ch", b""], [b"k", b"t"]]


def test_a_command_is_an_array_of_its_parts() -> None:
    assert packed(b"PUBLISH", b"ch", b"\r\n") == b"*3\r\n$7\r\nPUBLISH\r\n$2\r\nch\r\n$2\r\n\r\n\r\n"


@pytest.mark.parametrize("size", [1, 2, 3, 7, 64, len(SAID)])
def test_values_are_whole_however_the_bytes_come(size: int) -> None:
    values = Values()
    found = [value for at in range(0, len(SAID), size) for value in values.feed(SAID[at : at + size])]
    assert found == MEANT


def test_what_the_server_says_by_itself_is_told_apart_from_answers() -> None:
    assert [isinstance(value, Push) for value in Values().feed(b"*1\r\n:1\r\n>1\r\n:1\r\n")] == [False, True]


def test_a_refusal_is_a_value_that_says_why() -> None:
    plain, long = Values().feed(b"-MOVED 7 127.0.0.1:1\r\n!5\r\nERR x\r\n")
    assert isinstance(plain, ResponseError)
    assert str(plain) == "MOVED 7 127.0.0.1:1"
    assert isinstance(long, ResponseError)
    assert str(long) == "ERR x"


@pytest.mark.parametrize("said", [b"HTTP/1.1 400 Bad Request\r\n", b"$x\r\n", b"*1.5\r\n"])
def test_what_is_not_resp_is_said_so_and_not_waited_for(said: bytes) -> None:
    with pytest.raises(InvalidResponse):
        Values().feed(said)
