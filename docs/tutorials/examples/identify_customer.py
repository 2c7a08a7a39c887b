"""Says who a signed-in customer is, for the chat's widget: a JWT that the shop signs. Needs PyJWT.

Usage: identify_customer.py SECRET_FILE CUSTOMER_ID NAME EMAIL
"""

import sys
import time
from pathlib import Path

import jwt


def identity(secret: str, customer: str, name: str, email: str) -> str:
    now = int(time.time())
    claims = {"iss": "https://shop.example", "aud": "parley", "sub": customer, "name": name, "email": email}
    return jwt.encode({**claims, "iat": now, "exp": now + 600}, secret, "HS256")


if __name__ == "__main__":
    file, customer, name, email = sys.argv[1:]
    print(identity(Path(file).read_text().strip(), customer, name, email))
