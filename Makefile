# Two commands do everything: `make run` and `make test`. The others are for those who work on Parley.
PYTHON ?= python3
export PYTHON
PARLEY = .venv/bin/parley

.PHONY: .venv run test bench lock docs clean

.venv:
	@tools/venv requirements.lock

run: .venv
	@$(PARLEY) serve --demo $(ARGS)

test:
	@tools/venv requirements-dev.lock
	@tools/check

lock: .venv
	@tools/lock

clean:
	rm -rf .venv .boot docs/_build bench/build node_modules tests/node_modules
