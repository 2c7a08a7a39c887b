"""`conformance --jws`: a line in, a verdict out, over everything in `tests/vectors`."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

from tests.tokens.test_vectors import DIFFERENT, RFC_EXAMPLES, WYCHEPROOF

ROOT = Path(__file__).resolve().parents[2]


def run(*lines: Any) -> subprocess.CompletedProcess[str]:
    asked = "".join((line if isinstance(line, str) else json.dumps(line)) + "\n" for line in lines)
    command = [sys.executable, "-m", "tests.interop.conformance", "--jws"]
    return subprocess.run(command, input=asked, capture_output=True, text=True, cwd=ROOT)


def test_each_vector_gets_its_verdict_in_one_line() -> None:
    tests = [
        (group.get("public") or group["private"], test) for group in WYCHEPROOF["testGroups"] for test in group["tests"]
    ]
    ran = run(
        *({"keys": example["keys"], "jws": example["jws"]} for example in RFC_EXAMPLES),
        *({"keys": [key], "jws": test["jws"]} for key, test in tests),
    )
    assert (ran.returncode, ran.stderr) == (0, "")
    verdicts = ran.stdout.splitlines()
    assert verdicts[: len(RFC_EXAMPLES)] == ["valid"] * len(RFC_EXAMPLES)
    assert len(verdicts) == len(RFC_EXAMPLES) + 401
    for (_, test), said in zip(tests, verdicts[len(RFC_EXAMPLES) :], strict=True):
        if test["tcId"] in DIFFERENT:
            assert said == DIFFERENT[test["tcId"]]
        else:
            assert (said == "valid") is (test["result"] == "valid"), test["comment"]


def test_a_key_that_cannot_be_used_is_no_key_and_the_next_line_is_read_all_the_same() -> None:
    example = RFC_EXAMPLES[0]
    good = {"keys": example["keys"], "jws": example["jws"]}
    weak = {"keys": [{"kty": "oct", "k": "c2hvcnQ"}], "jws": example["jws"]}
    assert run(weak, good, {"keys": [], "jws": "x"}).stdout.split() == ["token_unknown_key", "valid", "token_malformed"]


def test_a_line_of_another_form_ends_it_and_is_named() -> None:
    for line in ("no JSON", "[]", '{"keys": []}', '{"jws": "a.b.c"}'):
        ran = run({"keys": [], "jws": "x"}, line)
        assert ran.stdout == "token_malformed\n"
        assert ran.returncode == 1
        assert ran.stderr.startswith("line 2: ")
