"""Prints a token for whoever is named: `python issue.py ada 900`. Makes the key the first time."""

import json
import secrets
import sys
import time
from pathlib import Path

from parley.tokens import Issuer, KeySet, SigningKey


def issue(name: str, ttl_s: float, now_s: float) -> str:
    file = Path("key.pem")
    if not file.exists():
        key = SigningKey.generate()
        file.touch(mode=0o600)
        file.write_text(key.to_pem())
        Path("jwks.json").write_text(json.dumps(KeySet([key]).to_jwks()))
    about = {"sub": name, "type": "account", "roles": ["member"], "sid": secrets.token_urlsafe(12)}
    issuer = Issuer(SigningKey.from_pem(file.read_text()))
    return issuer.issue(**about, jti=secrets.token_urlsafe(12), now_s=now_s, ttl_s=ttl_s)


if __name__ == "__main__":
    print(issue(sys.argv[1], float(sys.argv[2]), time.time()))
