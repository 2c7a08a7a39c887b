"""Every command once, natively and by GraphQL: the answers have the same members, to the last one.

GraphQL's types are declared apart from what the commands answer; a member that was added to the one and not to the
other would be missing there, without an error.
"""

from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import httpx2
import pytest

from parley.domain import accounts
from parley.domain.commands import COMMANDS
from parley.service.passwords import hash_password
from tests.here import Door, HereServer, serving
from tests.serving import NativeClient

pytestmark = pytest.mark.anyio

#: About a connection; GraphQL has them in a form of its own.
ELSEWHERE = {"session.authenticate", "session.refresh", "room.subscribe", "room.unsubscribe"}


def shape(value: Any) -> Any:
    """What kind of thing it is: the members of objects, whatever their values."""
    if isinstance(value, dict):
        return {name: shape(part) for name, part in sorted(value.items())}
    if isinstance(value, list):
        return [shape(part) for part in value]
    return type(value).__name__


class Story:
    """Everybody there is, each with a connection, and what their commands answered."""

    def __init__(self, server: HereServer, stack: AsyncExitStack) -> None:
        self._server = server
        self._stack = stack
        self._clients: dict[str, NativeClient] = {}
        self.answers: list[tuple[str, Any]] = []

    async def enter(self, name: str, token: str) -> None:
        self._clients[name] = await self._stack.enter_async_context(self._server.client(token))

    async def __call__(self, who: str, name: str, /, **params: Any) -> Any:
        answer = await self._clients[who].call(name, **params)
        self.answers.append((name, shape(answer)))
        return answer


async def tell(story: Story, visitor: dict[str, Any], account: str) -> None:
    """Each command of the registry, at least once."""
    await story("ada", "session.describe")
    await story("root", "session.list", subject=account)
    await story("ada", "room.create", room="den", title="Den")
    await story("ada", "room.invite", room="den", subject="ben")
    await story("ben", "room.join", room="den")
    await story("ada", "room.set_role", room="den", subject="ben", role="moderator")
    await story("ada", "room.update", room="den", title="The den")
    sent = (await story("ada", "message.send", room="den", text="one", client_id="a", data={"x": [1, None]}))["message"]
    await story("ben", "message.send", room="den", text="two", reply_to=sent["id"])
    await story("ada", "message.edit", message=sent["id"], text="one!")
    await story("ada", "message.get", message=sent["id"])
    gone = (await story("ben", "message.send", room="den", text="three"))["message"]
    await story("root", "message.delete", message=gone["id"], reason="spam")
    await story("ben", "message.list", room="den")
    await story("ben", "event.list", room="den", after=0)
    await story("ben", "receipt.mark", room="den", seq=sent["seq"])
    await story("ben", "receipt.list", room="den")
    await story("ben", "typing.set", room="den", active=True)
    await story("ben", "presence.list", room="den")
    await story("ben", "room.members", room="den")
    await story("ben", "room.list", mine=True)
    await story("ben", "room.get", room="den")
    await story("ben", "room.leave", room="den")
    await story("ada", "room.invite", room="den", subject="cy")
    await story("ada", "room.remove", room="den", subject="cy", ban=True)
    await story("ada", "room.archive", room="den")

    made = (await story("root", "department.create", name="Sales"))["department"]
    await story("root", "department.update", department=made["id"], name="Sales and more")
    await story("ava", "department.list")
    reply = (await story("root", "reply.create", shortcut="hi", text="Hello there"))["reply"]
    await story("root", "reply.update", reply=reply["id"], text="Hello")
    await story("ava", "reply.list")
    await story("root", "reply.delete", reply=reply["id"])
    await story("ava", "agent.set_status", status="available", capacity=5)
    await story("bo", "agent.set_status", status="available")
    agents = (await story("ava", "agent.list"))["agents"]

    id = visitor["conversation"]["id"]
    await story("vi", "conversation.get", conversation=id)
    await story("ava", "conversation.list")
    await story("ava", "conversation.claim", conversation=id)
    bo = next(agent["subject"] for agent in agents if agent["name"] == "bo")
    await story("ava", "conversation.assign", conversation=id, agent=bo)
    await story("bo", "conversation.transfer", conversation=id, department=made["id"], reason="yours")
    await story("ava", "conversation.claim", conversation=id)
    await story("vi", "conversation.update", conversation=id, name="Vivi", email="vi@example.org")
    await story("ava", "conversation.close", conversation=id)
    await story("vi", "conversation.rate", conversation=id, score=5, comment="quick")
    await story("ava", "conversation.reopen", conversation=id)
    for form in ("json", "text"):
        await story("ava", "conversation.export", conversation=id, format=form)
    await story("ada", "conversation.start", message="me too")
    subject = visitor["conversation"]["visitor"]["subject"]
    await story("root", "visitor.export", subject=subject)
    await story("ava", "conversation.block", conversation=id, reason="rude")
    await story("ava", "conversation.unblock", conversation=id)
    await story("root", "visitor.erase", subject=subject)

    await story("ada", "stream.create", stream="radio-den", title="Radio")
    await story("ada", "stream.set_publishers", stream="radio-den", subjects=["ben"])
    await story("ben", "stream.get", stream="radio-den")
    await story("ben", "stream.list")
    await story("ada", "stream.stop", stream="radio-den")
    await story("ada", "stream.delete", stream="radio-den")

    new = await story("root", "account.create", username="eve", password="eve's password", roles=["member"])
    await story("root", "account.set_roles", account=new["account"]["id"], roles=["member", "agent"])
    await story("root", "account.set_password", account=new["account"]["id"], password="eve's new password")
    await story("root", "account.list")
    await story("root", "account.disable", account=new["account"]["id"])
    await story("root", "audit.list")
    await story("root", "session.revoke", subject="nobody")


async def answers(door: Door, data: Path) -> list[tuple[str, Any]]:
    async with serving(data, limits__ping_interval=0, limits__messages_per_s=0) as server, AsyncExitStack() as stack:
        server.door = door
        story = Story(server, stack)
        async with httpx2.AsyncClient(base_url=server.url, verify=False) as http:
            account = ""
            for name, role in (("ava", "agent"), ("bo", "agent"), ("root", "admin")):
                made = server.store.execute(accounts.Create(name, hash_password(name), [role]))  # type: ignore[list-item]
                account = account or made.reply["account"].id
                signed_in = await http.post("/auth/login", json={"username": name, "password": name})
                await story.enter(name, signed_in.json()["access_token"])
            for name in ("ada", "ben", "cy"):
                await story.enter(name, server.token(name))
            visitor = (await http.post("/conversations", json={"name": "Vi", "message": "my order?"})).json()
        await story.enter("vi", visitor["access_token"])
        await tell(story, visitor, account)
        return story.answers


async def test_every_command_answers_the_same_members_by_both(tmp_path: Path) -> None:
    native, graphql = await answers("native", tmp_path / "native"), await answers("graphql", tmp_path / "graphql")
    for one, other in zip(native, graphql, strict=True):
        assert one == other
    unheard = set(COMMANDS) - ELSEWHERE - {name for name, _ in native}
    # Each needs what is not here: an issuer of others, a mail server.
    assert unheard <= {"conversation.identify", "conversation.send_link"}, "tell the story with them"
