"""What is asked under `/conversations`: a visitor's beginning, with or without an account.

Decides nothing: `service/helpdesk.py` does.
"""

from collections.abc import Awaitable, Callable
from typing import Any, Final

import msgspec
from starlette.requests import Request
from starlette.responses import Response

from parley.dialects.parameters import bad_string, read_params
from parley.domain.beginnings import Start
from parley.domain.principal import Principal
from parley.service.helpdesk import Helpdesk
from parley.tokens.bearer import CONVERSATION_START, Endpoint
from parley.transport import bodies
from parley.transport.auth import LIMIT_KEY

_NO_STORE: Final = {"Cache-Control": "no-store"}


class Conversations:
    """The answers. `bearer` says who asks, None where nobody says so; or raises the refusal of their credential.

    `read` gives their body.
    """

    def __init__(
        self,
        helpdesk: Helpdesk,
        bearer: Callable[[Request, Endpoint], Awaitable[Principal | None]],
        read: Callable[[Request, Principal | None], Awaitable[bytes]],
    ) -> None:
        self._helpdesk = helpdesk
        self._bearer = bearer
        self._read = read

    async def start(self, request: Request) -> Response:
        """`POST /conversations`."""
        principal = await self._bearer(request, CONVERSATION_START)
        bodies.require_media_type(request, (bodies.JSON,))
        body = await self._read(request, principal)
        # What is wrong with it as JSON is said as everywhere under HTTP; a lone surrogate msgspec would not even read.
        if (bad := bad_string(bodies.json_object(body))) is not None:
            raise bad
        params = read_params("conversation.start", body)
        assert isinstance(params, Start)
        address, agent = request.scope[LIMIT_KEY], request.headers.get("user-agent")
        welcomed = await self._helpdesk.welcome(params, principal, address, agent)
        answer: dict[str, Any] = {"conversation": welcomed.conversation}
        if welcomed.tokens is not None:
            answer |= {
                "access_token": welcomed.tokens.access_token,
                "token_type": "Bearer",
                "expires_in": welcomed.tokens.expires_in,
                "refresh_token": welcomed.tokens.refresh_token,
            }
        return Response(msgspec.json.encode(answer), 201, headers=_NO_STORE, media_type=bodies.JSON)
