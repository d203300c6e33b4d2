# The tasks of the project. CI runs `make check docs` in a fresh virtual environment (.ci/run).
PYTHON ?= python
LOWEST := build/lowest
LOOSE := arg-type assignment call-overload index method-assign misc operator return-value union-attr

.PHONY: install test slow lint format types docs serve check lowest dist

install:  ## what a contributor needs, into the active environment
	$(PYTHON) -m pip install -c constraints.txt -e '.[test,docs]'

test:  ## the suite, in another order each time
	$(PYTHON) -m pytest

slow:  ## the tests that start many processes: launchers of training, the page about more than one machine
	$(PYTHON) -m pytest -m slow

lint:
	$(PYTHON) -m ruff check .
	$(PYTHON) -m ruff format --check .

format:
	$(PYTHON) -m ruff check --fix .
	$(PYTHON) -m ruff format .

types:  ## strictly the package; of benchmarks, which no test runs, that what they call is there
	$(PYTHON) -m mypy
	MYPYPATH=src:benchmarks:tests $(PYTHON) -m mypy --config-file= --follow-imports=silent --ignore-missing-imports \
		--check-untyped-defs $(LOOSE:%=--disable-error-code=%) benchmarks

docs:  ## the site in build/site; a dead link, a page outside the navigation or a file from another host is an error
	NO_MKDOCS_2_WARNING=1 $(PYTHON) -m mkdocs build --strict
	! grep -rE '<(script|link|img)[^>]+(src|href)="?(https?:)?//' build/site --include='*.html'

serve:
	$(PYTHON) -m mkdocs serve

check: lint types test

lowest:  ## the suite with the lowest versions that pyproject.toml allows, in an environment of its own
	$(PYTHON) -m venv --clear $(LOWEST)
	$(LOWEST)/bin/python -m pip install --quiet uv
	$(LOWEST)/bin/uv pip compile --quiet --resolution lowest-direct --python $(LOWEST)/bin/python \
		--no-header --extra test pyproject.toml --output-file $(LOWEST)/lowest.txt
	$(LOWEST)/bin/uv pip install --quiet --python $(LOWEST)/bin/python -r $(LOWEST)/lowest.txt
	PYTHONPATH=$(CURDIR)/src nice -n 19 $(LOWEST)/bin/python -m pytest

dist:  ## the source archive and the wheel, in dist/
	$(PYTHON) -m build
