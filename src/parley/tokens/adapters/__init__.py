"""Adapters: the token library at the sockets and requests of other frameworks, and key sets fetched by URL.

Each imports the framework that it is named after, and nothing else of this package imports an adapter; they do I/O and
read the clock, which the library's core does not.

    websockets    `serve(…, process_request=gate.process_request)` of the library `websockets`
    starlette     WebSocket endpoints and HTTP requests of Starlette and FastAPI
    socketio      python-socketio's `connect` handler
    jwks_http     a JWK set by URL: cached, renewed on an unknown `kid`, kept while its server is away
"""
