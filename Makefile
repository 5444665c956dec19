.DEFAULT_GOAL := help
PYTHON := .venv/bin/python

help:  ## list the daily habits
	@grep -E '^[a-z]+:.*##' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "%-10s %s\n", $$1, $$2}'

install: .venv/installed  ## install everything for development

.venv/installed: pyproject.toml constraints.txt
	python3 -m venv .venv
	.venv/bin/pip install -q -c constraints.txt --config-settings editable_mode=strict -e '.[dev]'
	touch $@

run: install  ## solve a question on the offline model
	.venv/bin/metascale solve --model simulated --preset paper --seed 7 "A robe takes 2 bolts of blue fiber and half that much white fiber.  How many bolts in total does it take?"

test: install  ## run the tests
	.venv/bin/pytest -n auto

coverage: install  ## run the tests and say which lines and branches they miss
	.venv/bin/pytest -n auto --cov --cov-report=term-missing

mutants: install  ## change the policies, the budget and the reducers, and see whether tests notice
	.venv/bin/pip install -q -c constraints.txt mutmut
	$(PYTHON) -m benchmarks.mutation

fuzz: install  ## fuzz every parser of model output for ten minutes
	$(PYTHON) -m benchmarks.fuzz --minutes 10

lint: install  ## check style
	.venv/bin/ruff check .
	.venv/bin/ruff format --check .

types: install  ## check types, strictly
	.venv/bin/mypy

studio: install  ## start LangGraph's development server for Studio
	@test -e .env || cp .env.example .env
	METASCALE_STUDIO=1 LANGGRAPH_CLI_NO_ANALYTICS=1 .venv/bin/langgraph dev

notebooks: install  ## execute the offline notebooks, and keep their outputs
	.venv/bin/python notebooks/execute.py notebooks/0[1-5]*.ipynb
	.venv/bin/pytest tests/test_notebooks.py

picture: install  ## draw the README's picture of the live view
	.venv/bin/metascale solve --model simulated --seed 7 --budget 24 --set evolution=always --set stop_on_agreement=null --svg docs/images/live.svg "A robe takes 2 bolts of blue fiber and half that much white fiber.  How many bolts in total does it take?"

serverfuzz: install  ## fuzz `metascale serve` against its OpenAPI document
	test -x .venv-fuzz/bin/schemathesis || (python3 -m venv .venv-fuzz && .venv-fuzz/bin/pip install -q 'schemathesis>=4.32')
	.venv/bin/python -m benchmarks.api_fuzz

audit: install  ## look all pinned dependencies up in a vulnerability database (needs the network)
	test -x .venv-audit/bin/pip-audit || (python3 -m venv .venv-audit && .venv-audit/bin/pip install -q pip-audit)
	.venv-audit/bin/pip-audit --strict --disable-pip --no-deps -r constraints.txt

release: install  ## build sdist and wheel into dist/, checked
	.ci/release

docs: install  ## build the documentation into site/
	.venv/bin/pip install -q -c constraints.txt --config-settings editable_mode=strict -e '.[docs]'
	.venv/bin/mkdocs build --strict

.PHONY: help install run test coverage mutants fuzz serverfuzz lint types studio notebooks picture audit release docs
