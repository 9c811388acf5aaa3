# demo, test, test-long, lint, format, bench: each makes the virtual environment it needs on first use.
#
#   make demo                    a real orchestration run, and its rows
#   make test                    all tests, in parallel
#   make test ARGS="-k journal"  some of them
#   make PYTHON=python3.12 ...   another interpreter (3.10 to 3.13); the newest one found is the default

VENV  ?= .venv
BIN   := $(VENV)/bin
STAMP := $(VENV)/.installed
ARGS  ?=
# The newest supported interpreter that runs and can make virtual environments: a pyenv shim may be found, yet not run.
FIND_PYTHON = for python in $(PYTHON) $(if $(PYTHON),,python3.13 python3.12 python3.11 python3.10 python3 python); do \
	$$python -c 'import ensurepip, sys, venv; sys.exit(not (3, 10) <= sys.version_info[:2] <= (3, 13))' \
		2>/dev/null && echo $$python && break; done

.DEFAULT_GOAL := help
.PHONY: help demo test test-long lint format bench bench-quick clean

help:  ## Show this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "make %-11s %s\n", $$1, $$2}' $(firstword $(MAKEFILE_LIST))

# Some rows, in SQL that every warehouse takes: T-SQL has no LIMIT, SQLite no TOP.
comma := ,
newest = SELECT $(1) FROM (SELECT $(1), ROW_NUMBER() OVER (ORDER BY $(3)) AS place FROM meta.$(2)) AS newest WHERE place <= 6 ORDER BY place

demo: $(STAMP)  ## Run a real, small orchestration and show its rows; ARGS=--fail lets some of it fail
	@$(BIN)/dbbtrace demo $(ARGS)
	@for query in \
		"$(call newest,table_name$(comma) status$(comma) rows_written$(comma) duration$(comma) error_type,monitoring_integration,timestamp DESC$(comma) table_name)" \
		$(if $(findstring --fabric,$(ARGS)),,"$(call newest,unique_id$(comma) status$(comma) rows_affected$(comma) execution_time,monitoring_transformation_dbt WHERE process_stage = 'execute',generated_at DESC$(comma) process_started_at)") \
		"$(call newest,semantic_model_name$(comma) status$(comma) duration,monitoring_semantic_model_refresh,process_started_at DESC)"; \
	do \
		printf '\nThe newest rows of meta.%s:\n' "$$(expr "$$query" : '.*meta\.\([a-z_]*\)')"; \
		DBBTRACE_WAREHOUSE="$${DBBTRACE_WAREHOUSE:-sqlite:///.demo/dbb_warehouse.db}" $(BIN)/dbbtrace query "$$query"; \
	done

# The tests start hundreds of programs: each would compile all of dbbtrace again.
unexport PYTHONDONTWRITEBYTECODE

test: $(STAMP)  ## Run the tests in parallel; ARGS="-k word" picks some
	@$(BIN)/python -m pytest -n logical --maxprocesses 8 --dist loadgroup $(ARGS)

test-long: $(STAMP)  ## Run the tests that take minutes each: thousands of kills and failing file operations
	@$(BIN)/python -m pytest -n logical --maxprocesses 8 --dist loadgroup -m long $(ARGS)

lint: $(STAMP)  ## Check style, format and types
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy

format: $(STAMP)  ## Put the code into the project's format
	@$(BIN)/ruff check --fix-only --quiet .
	@$(BIN)/ruff format .

bench: $(STAMP)  ## Measure every path against what one would have without it; ARGS="load dbt" picks some
	@$(BIN)/python -m benchmarks --json bench.json --markdown bench.md $(ARGS)

bench-quick: $(STAMP)  ## The same in a few minutes, less to be trusted
	@$(BIN)/python -m benchmarks --json bench.json --markdown bench.md --quick $(ARGS)

clean:  ## Remove the virtual environment and what the tools left
	rm -rf $(VENV) .demo build dist .mypy_cache .pytest_cache .ruff_cache .hypothesis

$(BIN)/python:
	@python=$$($(FIND_PYTHON)); \
	if [ -z "$$python" ]; then \
		echo "make: no Python 3.10 to 3.13 with venv found$(if $(PYTHON), under the name $(PYTHON))." \
			"On Debian and Ubuntu: apt-get install python3 python3-venv. Elsewhere: make PYTHON=/path/to/python3.12" >&2; \
		exit 1; fi; \
	echo "Making $(VENV) with $$($$python --version)" && $$python -m venv $(VENV)

# Installed again only when pyproject.toml changed: the code itself is linked (an editable install).
$(STAMP): pyproject.toml | $(BIN)/python
	@echo "Installing the packages of pyproject.toml into $(VENV) (once; a few minutes)"
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[dev]'
	@touch $@
