"""The programs of "A chat on your site": an agent, a customer whom the shop vouches for, a department, a reply."""

import json
import re
import subprocess
import sys
from pathlib import Path

from tests.serving import ROOT, ServerProcess
from tests.tutorials.running import EXAMPLES

PAGE = (ROOT / "docs" / "tutorials" / "chat-on-your-site.md").read_text()


def test_a_customer_is_known_and_departments_and_replies_are_made_as_it_says(tmp_path: Path) -> None:
    secret = tmp_path / "shop.secret"
    secret.write_text("5d" * 32 + "\n")
    found = re.search(r"PARLEY_AUTH__ISSUERS='(.*?)'", PAGE, re.DOTALL)
    assert found
    issuers = found[1].replace("shop.secret", str(secret))
    with ServerProcess(tmp_path / "data", "--demo", auth__issuers=issuers) as server:
        program = [sys.executable, EXAMPLES / "identify_customer.py", secret, "42", "Vi", "vi@shop.example"]
        identity = subprocess.run(program, capture_output=True, text=True, check=True).stdout.strip()
        admin, agent = server.login("admin"), server.login("agent")
        for method, params in re.findall(r"^rpc (\S+) '(.*)'$", PAGE, re.MULTILINE):
            named = params.replace("Orders", "Sales").replace('"delivery"', '"days"')  # the demo has those
            call = {"jsonrpc": "2.0", "id": 1, "method": method, "params": json.loads(named)}
            assert "result" in server.post("/rpc", call, admin)[1], method
        body = {"message": "Where is it?", "department": "Sales", "identity": identity}
        status, begun = server.post("/conversations", body)
        assert status == 201, begun
        call = {"jsonrpc": "2.0", "id": 1, "method": "conversation.list", "params": {"visitor": "shop:42"}}
        (listed,) = server.post("/rpc", call, agent)[1]["result"]["conversations"]
        assert (listed["visitor"]["name"], listed["visitor"]["verified"]) == ("Vi", True)
