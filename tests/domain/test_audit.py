"""The audit log: what management leaves behind, and how it is read (CONTRACT section 3)."""

from typing import Any

from parley.domain import accounts, audit, members, messages, rooms, streams
from parley.domain.principal import OPERATOR
from tests.stage import Stage


def test_management_leaves_entries_newest_first(stage: Stage) -> None:
    ada = stage.account("ada")
    stage.do(ada, rooms.Create(room="hall"))
    stage.clock.forward(s=1)
    stage.do(ada, members.Invite("hall", "acme:7"))
    stage.do(ada, members.SetRole("hall", "acme:7", "moderator"))
    stage.do(ada, members.Remove("hall", "acme:7", ban=True, reason="rude"))
    stage.do(ada, rooms.Archive("hall"))
    entries = stage.do(OPERATOR, audit.List())["entries"]
    assert [entry["action"] for entry in entries] == [
        "room.archive",
        "room.remove",
        "room.set_role",
        "room.invite",
        "room.create",
        "account.create",
    ]
    assert entries[1] == {
        "id": entries[1]["id"],
        "at": "2027-01-15T08:00:01.000Z",
        "actor": ada.subject,
        "action": "room.remove",
        "target": "hall",
        "detail": {"subject": "acme:7", "ban": True, "reason": "rude"},
    }
    assert entries[2]["detail"] == {"subject": "acme:7", "role": "moderator", "before": "member"}


def test_entries_are_found_by_action_and_by_subject_in_pages(stage: Stage) -> None:
    ada = stage.account("ada")
    ben = stage.account("ben")
    stage.do(OPERATOR, accounts.SetRoles(ada.subject, ["agent"]))
    stage.do(ada, rooms.Create(room="hall"))
    stage.do(ada, rooms.Archive("hall"))

    def found(**wanted: Any) -> list[str]:
        return [entry["action"] for entry in stage.do(OPERATOR, audit.List(**wanted))["entries"]]

    assert found(subject=ada.subject) == ["room.archive", "room.create", "account.set_roles", "account.create"]
    assert found(subject=ben.subject) == ["account.create"]
    assert found(action="account.create") == ["account.create", "account.create"]
    assert found(action="account.create", subject=ada.subject) == ["account.create"]

    page = stage.do(OPERATOR, audit.List(limit=3))
    rest = stage.do(OPERATOR, audit.List(limit=3, after=page["next"]))
    assert [entry["action"] for entry in page["entries"] + rest["entries"]] == found()
    assert rest["next"] is None


def test_a_refused_command_leaves_none(stage: Stage) -> None:
    ada = stage.account("ada")
    stage.do(ada, rooms.Create(room="hall"))
    assert stage.refused(ada, members.Remove("hall", ada.subject)) == "conflict"
    assert [entry["action"] for entry in stage.do(OPERATOR, audit.List())["entries"]] == [
        "room.create",
        "account.create",
    ]


def test_what_was_changed_is_told_with_what_it_was(stage: Stage) -> None:
    ada = stage.account("ada")
    stage.do(ada, rooms.Create(room="hall", title="Hall"))
    stage.do(ada, rooms.Update("hall", visibility="private"))
    sent = stage.do(ada, messages.Send("hall", "rude"))["message"]["id"]
    stage.do(ada, messages.Edit(sent, "polite"))
    stage.do(ada, messages.Edit(sent, "polite"))
    stage.do(ada, streams.Create("radio"))
    told = [
        (e["action"], e["target"], e["detail"]) for e in stage.do(OPERATOR, audit.List(subject=ada.subject))["entries"]
    ]
    assert told[:-1] == [
        ("stream.create", "radio", {"visibility": "public"}),
        ("message.edit", sent, {"room": "hall"}),
        (
            "room.update",
            "hall",
            {"title": "Hall", "visibility": "private", "before": {"title": "Hall", "visibility": "public"}},
        ),
        ("room.create", "hall", {"title": "Hall", "visibility": "public"}),
    ]
