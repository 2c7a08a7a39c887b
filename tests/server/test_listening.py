"""Where a node says that the others reach it."""

import socket

import pytest

from parley.server.listening import own_address


def test_a_machine_is_where_its_name_leads_to(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(socket, "gethostbyname", lambda _: "192.0.2.7")
    assert own_address() == "192.0.2.7"


def test_a_name_that_leads_to_the_machine_itself_tells_the_others_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """As Debian has it in /etc/hosts."""
    monkeypatch.setattr(socket, "gethostbyname", lambda _: "127.0.1.1")
    address = own_address()
    assert address != "127.0.1.1"
    with socket.socket() as listening:
        listening.bind((address, 0))  # it is one of this machine's
