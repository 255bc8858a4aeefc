# What to type: `make demo` shows geosync at work, `make test` runs its tests. Both set up all they
# need in .venv, on any machine with python3 (3.11 or newer, with venv) and make.

SHELL := /bin/bash
PYTHON ?= python3
VENV := .venv
RUN := $(VENV)/bin/python
SEED ?=
RUNS ?= 100
CRASHES ?=
BENCH ?=
MINUTES ?= 5
WORKERS ?= 4

.PHONY: help demo test check docs crash sim soak torture service redmine soak-redmine recipes bench environment keystone-environment lock clean

help:
	@echo "make demo    three sites on this machine, through a real OpenStack Swift: what happens, in plain words"
	@echo "make test    all tests, with a real Swift, and a real Keystone where it can be set up: WORKERS=n TESTS=path"
	@echo "make check   lint, types, layers between packages"
	@echo "make docs    the documentation as a site, man pages and completions of shells, in build/"
	@echo "make crash   kills at every system call, power cuts on ext4, xfs and btrfs (as root): CRASHES=\"--every 10\""
	@echo "make sim     deterministic simulation: SEED=n RUNS=n (RUNS=$(RUNS))"
	@echo "make torture real daemons, programs of all kinds and faults: SEED=n MINUTES=n (MINUTES=$(MINUTES))"
	@echo "make service the unit under a real systemd, in a container that forgets everything (as root)"
	@echo "make redmine Redmine on two sites, as root: set up, started, and accepted; stop it with recipes/redmine/stop"
	@echo "make soak-redmine  the same with random users and faults, an hour long: MINUTES=n SEED=n"
	@echo "make recipes DokuWiki, Maildir, git and images of virtual machines on two sites, as root"
	@echo "make bench   geosync and its peers side by side (as root), into docs/performance.md: BENCH=\"--only W3\""
	@echo "make clean   removes what the others have set up"

demo: environment
	$(RUN) -m geosync demo

test: environment keystone-environment
	$(RUN) -m pytest -n $(WORKERS) --dist worksteal $(TESTS)

check: environment
	$(VENV)/bin/ruff check .
	$(VENV)/bin/ruff format --check .
	$(VENV)/bin/mypy
	$(VENV)/bin/lint-imports

docs: .venv-docs/complete
	.venv-docs/bin/sphinx-build --quiet --fail-on-warning --keep-going -b html docs build/site
	mkdir -p build/man build/completion
	PYTHONPATH=. .venv-docs/bin/argparse-manpage --module geosync.commands.command_parser --function command_parser \
	  --prog geosync --project-name geosync --manual-title "geosync" \
	  --description "one directory, the same on several sites" --output build/man/geosync.1
	for shell in bash zsh; do \
	  PYTHONPATH=. .venv-docs/bin/shtab --shell $$shell geosync.commands.command_parser.command_parser \
	    > build/completion/geosync.$$shell || exit 1; done
	@echo "build/site/index.html, build/man/geosync.1, build/completion/geosync.bash and .zsh"

.venv-docs/complete: requirements/docs.lock .ci/make-environment
	bash .ci/make-environment $(PYTHON) .venv-docs requirements/docs.lock
	touch $@

crash: environment
	$(RUN) -m tests.crash.run $(CRASHES)

sim: environment
	$(RUN) -m tests.simulation.run --runs $(RUNS) $(if $(SEED),--seed $(SEED))

torture: environment
	$(RUN) -m tests.torture.run --minutes $(MINUTES) $(if $(SEED),--seed $(SEED))

service: environment
	GEOSYNC_SERVICE=1 $(RUN) -m pytest tests/service

redmine: environment
	recipes/redmine/setup --once
	recipes/redmine/start
	recipes/redmine/as-client $(RUN) -m recipes.redmine.acceptance

soak-redmine: MINUTES = 60
soak-redmine: environment
	recipes/redmine/setup --once
	recipes/redmine/start
	recipes/redmine/as-client $(RUN) -m recipes.redmine.soak --minutes $(MINUTES) $(if $(SEED),--seed $(SEED))

recipes: environment
	$(RUN) -m recipes.applications.git_repositories
	$(RUN) -m recipes.applications.vm_images
	recipes/applications/install-packages
	$(RUN) -m recipes.applications.maildir
	$(RUN) -m recipes.applications.dokuwiki

bench: environment
	$(RUN) -m benchmarks.run --write $(BENCH)

environment: $(VENV)/complete

$(VENV)/complete: requirements/development.lock pyproject.toml .ci/make-environment
	bash .ci/make-environment $(PYTHON) $(VENV) requirements/development.lock
	$(RUN) -m pip install --quiet --no-deps --no-build-isolation --editable .
	touch $@

# Keystone wants packages of its own; without it the tests that need it are skipped and say so.
keystone-environment: .venv-keystone/complete

.venv-keystone/complete: requirements/keystone.lock .ci/make-environment
	bash .ci/make-environment $(PYTHON) .venv-keystone requirements/keystone.lock
	touch $@

# Needs uv; writes no address of a package index.
lock:
	uv pip compile --quiet --universal --generate-hashes --extra demo --group dev pyproject.toml \
	  --output-file requirements/development.lock --custom-compile-command "make lock"
	uv pip compile --quiet --universal --generate-hashes --python-version 3.11 requirements/keystone.in \
	  --output-file requirements/keystone.lock --custom-compile-command "make lock"
	uv pip compile --quiet --universal --generate-hashes --python-version 3.11 requirements/docs.in \
	  --output-file requirements/docs.lock --custom-compile-command "make lock"

clean:
	rm -rf $(VENV) .venv-keystone .venv-docs build *.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis
