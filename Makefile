# Two commands do everything: `make run` and `make test`. The others are for those who work on Parley.
PYTHON ?= python3
export PYTHON

.PHONY: .venv run test bench autobahn conformance docs lock clean

# Everything that the lock names, and .venv/bin/parley.
.venv:
	@tools/venv requirements.lock

# The demo: four sign-ins, a room, and a shop with the widget on it. More arguments: make run ARGS='--port 9000'
run: .venv
	@.venv/bin/parley serve --demo $(ARGS)

# Every check and test. PARLEY_TEST_LONG=1 makes the long form of it.
test:
	@tools/venv requirements-dev.lock
	@tools/check

# Beside its peers, as ratios. More arguments: make bench ARGS='--long'
bench:
	@tools/venv requirements-dev.lock
	@bench/run $(ARGS)

# The Autobahn suite; PARLEY_TEST_PYTHON27 names a Python 2.7 that has it.
autobahn:
	@tools/venv requirements-dev.lock
	@tools/autobahn

# The official Engine.IO and Socket.IO suites, from a checkout: make conformance SUITES=DIR
conformance:
	@tools/venv requirements-dev.lock
	@tools/conformance $(SUITES)

docs:
	@tools/venv requirements-dev.lock
	@.venv/bin/sphinx-build -q -W --keep-going -b html docs docs/_build/html

lock: .venv
	@tools/lock

clean:
	rm -rf .venv .boot docs/_build bench/build tests/node_modules
