"""GraphQL over HTTP by the eyes of its own audit suite, npm's `graphql-http`."""

import json
import subprocess
from pathlib import Path

from tests.npm import need, node_modules
from tests.serving import ServerProcess

SUITE = Path(__file__).with_name("graphql_audits.mjs")


def test_every_audit_of_graphql_over_http_passes_must_should_and_may(tmp_path: Path) -> None:
    node_modules()
    node = need("node", "the audit suite runs on it")
    with ServerProcess(tmp_path / "data", "--demo") as server:
        ran = subprocess.run(
            [node, str(SUITE), f"{server.url}/graphql", server.login("ada")],
            capture_output=True,
            text=True,
            timeout=60,
            check=True,
        )
    audits = [json.loads(line) for line in ran.stdout.splitlines()]
    assert len(audits) > 50, ran.stderr
    assert [audit for audit in audits if audit["status"] != "ok"] == []
    assert {audit["name"].split()[0] for audit in audits} == {"MUST", "SHOULD", "MAY"}
