"""The pages' modules as files: their types, what they may not do, and that nothing of them is missing."""

import re
import subprocess
from pathlib import Path

import pytest

from tests.npm import need, node_modules


@pytest.fixture(scope="module")
def sources(repository: Path) -> dict[str, str]:
    web = repository / "src" / "parley" / "web"
    return {path.relative_to(web).as_posix(): path.read_text() for path in sorted(web.rglob("*.js"))}


def test_the_types_hold(repository: Path) -> None:
    compiler = node_modules() / "typescript" / "bin" / "tsc"
    done = subprocess.run(
        [need("node", "the type checker runs on it"), compiler, "--project", repository / "tests" / "web"],
        capture_output=True,
        text=True,
        timeout=100,
    )
    assert done.returncode == 0, done.stdout


def test_text_reaches_the_page_as_text_only(sources: dict[str, str]) -> None:
    forbidden = re.compile(
        r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\(|new Function|setHTML|DOMParser|srcdoc"
    )
    found = [f"{name}: {match.group()}" for name, text in sources.items() for match in forbidden.finditer(text)]
    assert found == []


def test_the_client_knows_no_page(sources: dict[str, str]) -> None:
    client = {name: text for name, text in sources.items() if name == "parley.js" or name.startswith("client/")}
    assert len(client) > 5
    code = {name: re.sub(r"/\*.*?\*/|//[^\n]*", "", text, flags=re.DOTALL) for name, text in client.items()}
    found = [name for name, text in code.items() if re.search(r"\bdocument\b|\bwindow\b|\.\./elements|\.\./chat", text)]
    assert found == []


def test_every_module_says_first_what_it_owns(sources: dict[str, str]) -> None:
    assert [name for name, text in sources.items() if not text.startswith("/**\n * ")] == []


def test_no_module_outgrew_its_reader(sources: dict[str, str]) -> None:
    assert {name: lines for name, text in sources.items() if (lines := text.count("\n")) > 400} == {}


def test_nothing_comes_from_another_host(repository: Path) -> None:
    web = repository / "src" / "parley" / "web"
    named = re.compile(r"""(?:src|href|url|from|import)\s*[=(:]?\s*["'(]\s*(?:https?:)?//""")
    found = [path.name for path in web.rglob("*") if path.is_file() and named.search(path.read_text())]
    assert found == []
