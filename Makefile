# `make` alone lists what there is to run. Everything installs itself below .tools/ on first use,
# from the hashed locks in requirements/; only python3 (3.11 or newer) and make must be there.
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
SHELL := /bin/bash

TOOLS := $(CURDIR)/.tools
DEV := $(TOOLS)/dev/bin
SAM := $(TOOLS)/sam/bin/sam
UV := $(TOOLS)/uv/bin/uv

# No download, cache or setting leaves the project's folder.
export UV_CACHE_DIR := $(TOOLS)/cache/uv
export UV_PYTHON_DOWNLOADS := never
export UV_LINK_MODE := hardlink
export PIP_CACHE_DIR := $(TOOLS)/cache/pip
export PIP_DISABLE_PIP_VERSION_CHECK := 1
export SAM_CLI_TELEMETRY := 0
export __SAM_CLI_APP_DIR := $(TOOLS)/cache/sam
export PYTHONPATH := $(CURDIR):$(CURDIR)/layers/roomkeeper
export PYTHONDONTWRITEBYTECODE := 1

# The first interpreter that is new enough: Lambda's own version where it exists, else what is at hand.
PYTHON ?= $(shell for python in python3.13 python3 python3.14 python3.12 python3.11 \
	$${PYENV_ROOT:-$$HOME/.pyenv}/versions/3.1[1-4]*/bin/python3; do \
	"$$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null \
	&& "$$python" -c 'import sys; print(sys.executable)' && break; done)

.PHONY: help
help: ## list the commands
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | awk -F':.*## ' '{printf "  make %-14s %s\n", $$1, $$2}'

# --- set-up ---------------------------------------------------------------------------------------

$(UV): requirements/uv.txt
	@[ -n "$(PYTHON)" ] || { echo "No Python 3.11 or newer was found. Install one, or name it: make PYTHON=/path/to/python3 ..." >&2; exit 1; }
	@echo "Setting up in .tools/ with $(PYTHON) (first use only)"
	@"$(PYTHON)" -m venv --clear $(TOOLS)/uv || { echo "Python cannot make virtual environments. Install its venv module (Debian and Ubuntu: the package python3-venv)." >&2; exit 1; }
	@$(TOOLS)/uv/bin/pip install --quiet --require-hashes --requirement $<
	@touch $@

$(TOOLS)/%/.installed: requirements/%.txt | $(UV)
	@echo "Installing $*"
	@$(UV) venv --quiet --clear --python $(TOOLS)/uv/bin/python $(TOOLS)/$*
	@$(UV) pip sync --quiet --require-hashes --python $(TOOLS)/$* $<
	@touch $@

.PHONY: lock
lock: $(UV) ## update every locked version in requirements/
	@cd requirements && for name in uv layer dev sam ministack; do \
		$(UV) pip compile --quiet --upgrade --universal --python-version 3.11 --generate-hashes \
			--no-header --no-emit-index-url --no-emit-find-links $$name.in --output-file $$name.txt || exit 1; done

# --- checks ---------------------------------------------------------------------------------------

.PHONY: check
check: $(TOOLS)/dev/.installed $(TOOLS)/sam/.installed ## lint, format, types, import rules, template
	@$(DEV)/ruff check .
	@$(DEV)/ruff format --check .
	@$(DEV)/mypy
	@$(DEV)/lint-imports
	@$(SAM) validate --lint --region eu-west-1
	@$(DEV)/cfn-lint template.yaml

.PHONY: schemas
schemas: $(TOOLS)/dev/.installed ## write docs/events/ anew from the code's types
	@$(DEV)/python -m operations.event_schemas

.PHONY: format
format: $(TOOLS)/dev/.installed ## put code into the project's format
	@$(DEV)/ruff check --fix .
	@$(DEV)/ruff format .

# --- the product, on this machine -----------------------------------------------------------------

LOCAL := $(TOOLS)/dev/.installed $(TOOLS)/sam/.installed $(TOOLS)/ministack/.installed
PORT ?= 4566
VONAGE_PORT ?= 4570

.PHONY: demo
demo: $(LOCAL) ## play a meeting through the deployed template and check it (JSON=FILE for a report)
	@$(DEV)/python -m local.demo $(if $(JSON),--json "$(JSON)")

.PHONY: up
up: $(LOCAL) ## leave the same stack running to play with (PORT=, VONAGE_PORT=)
	@$(DEV)/python -m local.up up --port $(PORT) --vonage-port $(VONAGE_PORT)

.PHONY: down
down: $(LOCAL) ## end the stack that make up has left running
	@$(DEV)/python -m local.up down

.PHONY: vonage
vonage: PORT := 8200
vonage: $(TOOLS)/dev/.installed ## run the Vonage emulator alone (PORT=, 8200 by default)
	@$(DEV)/python -m local.vonage --port $(PORT)

.PHONY: test
test: $(LOCAL) ## run every test, those against the deployed template included (ARGS= for pytest)
	@$(DEV)/pytest $(ARGS)

.PHONY: torture
torture: $(LOCAL) ## try the promises hard: faults, crashes, hostile input, leaks (JSON=FILE for the figures)
	@$(DEV)/pytest tests/torture --full --figures "$(or $(JSON),build/torture.json)" $(ARGS)

.PHONY: bench
bench: $(LOCAL) ## measure speed and size against the floor (JSON=FILE, BASELINE=FILE to compare with)
	@$(DEV)/python -m benchmarks --json "$(or $(JSON),build/bench.json)" $(if $(BASELINE),--baseline "$(BASELINE)")

CALLBACKS ?= 1000000
RECORDINGS ?= $(shell echo $$(($(CALLBACKS) / 10)))
ROOMS ?= 1000

.PHONY: cost
cost: $(TOOLS)/dev/.installed ## the monthly bill (CALLBACKS=, RECORDINGS=, ROOMS= a month)
	@$(DEV)/python -m benchmarks.cost --callbacks $(CALLBACKS) --recordings $(RECORDINGS) --rooms $(ROOMS)

# --- the product, in an account -------------------------------------------------------------------

STACK ?= roomkeeper
# Compiled libraries go with the Python that builds them; PARAMETERS are those of template.yaml.
OVERRIDES = --parameter-overrides Runtime=python$(shell $(TOOLS)/uv/bin/python -c \
	'import sys; print("%d.%d" % sys.version_info[:2])') $(PARAMETERS)

.PHONY: build
build: $(TOOLS)/sam/.installed ## build functions and layer into build/sam (PARAMETERS=)
	@PATH="$(TOOLS)/uv/bin:$$PATH" $(SAM) build $(OVERRIDES)
	@$(TOOLS)/uv/bin/python -m operations.bytecode build/sam

.PHONY: deploy
deploy: build ## deploy into the AWS account at hand (STACK=, PARAMETERS="Name=value ...")
	@$(SAM) deploy --stack-name $(STACK) $(OVERRIDES) $(ARGS)

.PHONY: callback-url
callback-url: $(TOOLS)/dev/.installed ## print the URL to enter at Vonage, its token included (STACK=)
	@$(DEV)/python -m operations.callback_url --stack $(STACK)

.PHONY: redrive
redrive: $(TOOLS)/dev/.installed ## publish again what waits in the dead-letter queue (STACK=)
	@$(DEV)/python -m operations.redrive --stack $(STACK)
