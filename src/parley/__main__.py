"""`parley` and `python -m parley`: the command line, or the one line that says how to install it.

The command line itself is `cli`; without the extra `server` it cannot even be imported.
"""

import sys


def main() -> int:
    """Run the command line; the exit status."""
    try:
        from parley.cli import main as run
    except ModuleNotFoundError as missing:
        if missing.name is not None and missing.name.partition(".")[0] == "parley":
            raise
        sys.stderr.write("The command parley needs the server: pip install 'parley-chat[server]'\n")
        return 1
    return run()


if __name__ == "__main__":
    sys.exit(main())
