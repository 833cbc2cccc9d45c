# `make` alone lists what there is to run. Everything installs itself below .tools/ on first use,
# from the hashed locks in requirements/; only Python (3.11 to 3.14) and make must be there.
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
SHELL := /bin/bash

# Relative, so that nothing depends on the name of the folder that the project is in: make splits
# paths at blanks, and the shell reads characters such as & in them.
TOOLS := .tools
DEV := $(TOOLS)/dev/bin
SAM := $(TOOLS)/sam/bin/sam
UV := $(TOOLS)/uv/bin/uv

# No download, cache or setting leaves the project's folder.
export UV_CACHE_DIR := $(CURDIR)/$(TOOLS)/cache/uv
export UV_PYTHON_DOWNLOADS := never
export UV_LINK_MODE := hardlink
export PIP_CACHE_DIR := $(CURDIR)/$(TOOLS)/cache/pip
export PIP_DISABLE_PIP_VERSION_CHECK := 1
# The operator's settings that would install elsewhere.
export PIP_USER := 0
unexport PIP_TARGET PIP_PREFIX PIP_ROOT
export SAM_CLI_TELEMETRY := 0
export __SAM_CLI_APP_DIR := $(CURDIR)/$(TOOLS)/cache/sam
export PYTHONPATH := $(CURDIR):$(CURDIR)/layers/roomkeeper
export PYTHONDONTWRITEBYTECODE := 1

# The first interpreter that the locks and Lambda's runtimes know: Lambda's own version where it
# exists, else the one at hand.
IS_KNOWN := import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 14))
PYTHON ?= $(shell for python in python3.13 python3 python3.14 python3.12 python3.11 \
	"$${PYENV_ROOT:-$$HOME/.pyenv}"/versions/3.1[1-4]*/bin/python3; do \
	"$$python" -c '$(IS_KNOWN)' 2>/dev/null \
	&& "$$python" -c 'import sys; print(sys.executable)' && break; done)

# `make` lists the commands under these headings, in this order, wrapped to the terminal's width.
TO_TRY := demo up down vonage
TO_OPERATE := deploy configure callback-url smoke status events logs trace items redrive purge destroy cost
TO_DEVELOP := test check format reference schemas picture torture bench build clean lock help

.PHONY: help
help: ## list the commands
	@awk -F':.*## ' -v width="$$(stty size 2>/dev/null | cut -d' ' -f2)" \
		-v try="$(TO_TRY)" -v operate="$(TO_OPERATE)" -v develop="$(TO_DEVELOP)" ' \
		function list(heading, names,  count, name, i, j, words, text, column) { \
			print heading; count = split(names, name, " "); \
			for (i = 1; i <= count; i++) if (name[i] in told) { \
				printf "  make %-12s", name[i]; column = 19; \
				text = split(told[name[i]], words, " "); \
				for (j = 1; j <= text; j++) { \
					if (column + 1 + length(words[j]) > width) { printf "\n%19s", ""; column = 19 } \
					printf " %s", words[j]; column += 1 + length(words[j]) } \
				print "" } } \
		/^[a-z][a-z-]*:.*## / { told[$$1] = $$2 } \
		END { if (width < 40) width = 80; \
			list("Try it on this machine", try); list("\nOperate it in an AWS account (ENV=, STACK=)", operate); \
			list("\nDevelop it", develop) }' $(MAKEFILE_LIST)

# --- set-up ---------------------------------------------------------------------------------------

# $(call may_be_cleared,FOLDER): fails where the folder holds anything but a virtual environment.
may_be_cleared = [ ! -e $(1) ] || [ -e $(1)/pyvenv.cfg ] \
	|| { echo "$(1) is not a virtual environment: move it away, then try again." >&2; exit 1; }

$(UV): requirements/uv.txt
	@"$(PYTHON)" -c '$(IS_KNOWN)' 2>/dev/null || { echo "Roomkeeper runs on Python 3.11 to 3.14, the versions that AWS Lambda has; none was found$(if $(PYTHON), at $(PYTHON)). Install one, or name it: make PYTHON=/path/to/python3.13 ..." >&2; exit 1; }
	@$(call may_be_cleared,$(TOOLS)/uv)
	@echo "Setting up in .tools/ with $(PYTHON) (first use only)"
	@"$(PYTHON)" -m venv --clear $(TOOLS)/uv || { echo "Python cannot make virtual environments. Install its venv module (Debian and Ubuntu: the package python3-venv)." >&2; exit 1; }
	@$(TOOLS)/uv/bin/python -m pip install --quiet --require-hashes --requirement $<
	@touch $@

$(TOOLS)/%/.installed: requirements/%.txt | $(UV)
	@$(call may_be_cleared,$(TOOLS)/$*)
	@echo "Installing $*"
	@$(UV) venv --quiet --clear --python $(TOOLS)/uv/bin/python $(TOOLS)/$*
	@$(UV) pip sync --quiet --require-hashes --python $(TOOLS)/$* $<
	@touch $@

.PHONY: lock
lock: $(UV) ## update every locked version in requirements/
	@cd requirements && for name in uv layer dev lint sam ministack scan; do \
		../$(UV) pip compile --quiet --upgrade --universal --python-version 3.11 --generate-hashes \
			--no-header --no-emit-index-url --no-emit-find-links $$name.in --output-file $$name.txt || exit 1; done

# --- checks ---------------------------------------------------------------------------------------

.PHONY: check
check: $(TOOLS)/dev/.installed $(TOOLS)/sam/.installed check-texts check-security ## lint, format, types, import rules, template, texts, security
	@$(DEV)/ruff check .
	@$(DEV)/ruff format --check .
	@$(DEV)/mypy
	@$(DEV)/lint-imports
	@$(SAM) validate --lint --region eu-west-1
	@$(DEV)/cfn-lint template.yaml schemas/*.yaml operations/*.yaml examples/*/*.yaml

LINT := $(TOOLS)/lint/bin
# The renderer, kept from looking for a newer self and from counting in its file what it took.
RENDER = D2_CHECK_VERSION=off $(LINT)/d2 --elk-nodeNodeBetweenLayers 28 --elk-edgeNodeBetweenLayers 14

.PHONY: check-texts
check-texts: $(TOOLS)/lint/.installed $(TOOLS)/dev/.installed
	@$(LINT)/codespell $$(git ls-files | grep -vE '\.(txt|svg)$$')
	@$(LINT)/shellcheck .ci/run
	@$(LINT)/check-jsonschema --quiet --builtin-schema vendor.github-workflows .github/workflows/*.yml
	@$(LINT)/zizmor --quiet --offline .github/workflows
	@$(LINT)/pre-commit validate-config
	@mkdir -p build && $(RENDER) docs/pictures/flow.d2 build/flow.svg 2>build/picture.log || { cat build/picture.log >&2; exit 1; }
	@cmp -s build/flow.svg docs/pictures/flow.svg || { echo "docs/pictures/flow.svg is not what its source says: run make picture" >&2; exit 1; }

.PHONY: check-security
check-security: $(TOOLS)/scan/.installed $(TOOLS)/dev/.installed
	@$(TOOLS)/scan/bin/checkov --config-file .checkov.yaml
	@$(DEV)/python -m tools.audit requirements/dev.txt

.PHONY: picture
picture: $(TOOLS)/lint/.installed ## draw docs/pictures/ anew from its source
	@$(RENDER) docs/pictures/flow.d2 docs/pictures/flow.svg 2>/dev/null

.PHONY: reference
reference: $(TOOLS)/dev/.installed ## write docs/reference.md anew from the template and the events
	@$(DEV)/python -m tools.reference

.PHONY: schemas
schemas: $(TOOLS)/dev/.installed ## write docs/events/ and schemas/ anew from the code's types
	@$(DEV)/python -m tools.event_schemas

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
down: $(LOCAL) ## end the stack that make up has left running (PORT=)
	@$(DEV)/python -m local.up down --port $(PORT)

.PHONY: clean
clean: ## remove build products and leftovers of local runs, but for the last one's logs (ALL=1: these and .tools too)
	@[ -n "$(PYTHON)" ] || { echo "No Python 3.11 or newer was found. Install one, or name it: make PYTHON=/path/to/python3 ..." >&2; exit 1; }
	@"$(PYTHON)" -m local.clean $(if $(ALL),--all)

.PHONY: vonage
vonage: PORT := 8200
vonage: $(TOOLS)/dev/.installed ## run the Vonage emulator alone (PORT=, 8200 by default)
	@$(DEV)/python -m local.vonage --port $(PORT)

.PHONY: test
test: $(LOCAL) ## run every test, those against the deployed template included (ARGS= for pytest)
	@$(DEV)/pytest $(ARGS)

.PHONY: torture
torture: $(LOCAL) ## try the promises hard: faults, crashes, hostile input, leaks (JSON=FILE for the figures)
	@$(DEV)/pytest tests/torture --full --measurements "$(or $(JSON),build/torture.json)" $(ARGS)

.PHONY: bench
bench: $(LOCAL) ## measure speed and size against the floor (JSON=FILE, BASELINE=FILE to compare with)
	@$(DEV)/python -m benchmarks --json "$(or $(JSON),build/bench.json)" $(if $(BASELINE),--baseline "$(BASELINE)")

CALLBACKS ?= 1000000
RECORDINGS ?= $(shell echo $$(($(CALLBACKS) / 10)))
ROOMS ?= 1000

.PHONY: cost
cost: $(TOOLS)/dev/.installed ## the monthly bill (CALLBACKS=, RECORDINGS=, ROOMS= a month), and what an attack can cost (RATE=, BURST=)
	@$(DEV)/python -m tools.cost --callbacks $(CALLBACKS) --recordings $(RECORDINGS) --rooms $(ROOMS) \
		$(if $(RATE),--rate $(RATE)) $(if $(BURST),--burst $(BURST))

# --- the product, in an account -------------------------------------------------------------------

# One of samconfig.toml's environments. Its stack is roomkeeper, or roomkeeper-ENV for any other than
# the default one, unless STACK names it. PARAMETERS are those of template.yaml.
ENV ?= default
STACK ?= roomkeeper$(addprefix -,$(filter-out default,$(ENV)))

.PHONY: build
build: $(TOOLS)/dev/.installed $(TOOLS)/sam/.installed ## build functions and layer into build/sam (PARAMETERS=)
	@$(DEV)/python -m operations.deploy --only-build --parameters $(PARAMETERS)

.PHONY: deploy
deploy: $(TOOLS)/dev/.installed $(TOOLS)/sam/.installed ## deploy into the AWS account at hand (ENV=, STACK=, PARAMETERS="Name=value ...", ARGS= for sam deploy)
	@$(DEV)/python -m operations.deploy --environment $(ENV) --stack $(STACK) --parameters $(PARAMETERS) --arguments $(ARGS)

.PHONY: configure
configure: $(TOOLS)/dev/.installed ## store Vonage's credentials, from FILE=, standard input or typed unseen (ENV=, STACK=)
	@$(DEV)/python -m operations.configure --stack $(STACK) $(if $(FILE),--file "$(FILE)")

.PHONY: callback-url
callback-url: $(TOOLS)/dev/.installed ## print the URL to enter at Vonage, its token included (ENV=, STACK=)
	@$(DEV)/python -m operations.callback_url --stack $(STACK)

.PHONY: destroy
destroy: $(TOOLS)/dev/.installed ## delete the stack but for its table, once its name is typed (ENV=, STACK=, CONFIRM=)
	@$(DEV)/python -m operations.destroy --stack $(STACK) --confirm "$(CONFIRM)"

.PHONY: smoke
smoke: $(TOOLS)/dev/.installed ## send one marked callback through the stack, then remove it
	@$(DEV)/python -m operations.smoke --stack $(STACK)

.PHONY: status
status: $(TOOLS)/dev/.installed ## show what is deployed, what the jobs did, what waits, and what is wrong
	@$(DEV)/python -m operations.status --stack $(STACK)

.PHONY: events
events: $(TOOLS)/dev/.installed ## print events as they happen (COUNT=, SECONDS= to end, JSON=1 for whole ones)
	@$(DEV)/python -m operations.events --stack $(STACK) $(if $(COUNT),--count "$(COUNT)") \
		$(if $(SECONDS),--seconds "$(SECONDS)") $(if $(JSON),--json)

.PHONY: logs
logs: $(TOOLS)/dev/.installed ## print the functions' last log lines (FUNCTION=, SINCE=10m, FOLLOW=1)
	@$(DEV)/python -m operations.logs --stack $(STACK) $(if $(FUNCTION),--function "$(FUNCTION)") \
		$(if $(SINCE),--since "$(SINCE)") $(if $(FOLLOW),--follow)

.PHONY: items
items: $(TOOLS)/dev/.installed ## print what the table holds, recordings first, up to fifty items (RECORDING=, SESSION=, ROOM=)
	@$(DEV)/python -m operations.items --stack $(STACK) --recording "$(RECORDING)" --session "$(SESSION)" --room "$(ROOM)"

.PHONY: purge
purge: $(TOOLS)/dev/.installed ## remove items that only callbacks say exist (FROM=, TO=, ARGS=--refused, ENV=, STACK=, CONFIRM=)
	@$(DEV)/python -m operations.purge --stack $(STACK) --start "$(FROM)" --end "$(TO)" --confirm "$(CONFIRM)" $(ARGS)

.PHONY: redrive
redrive: $(TOOLS)/dev/.installed ## publish again what waits in the dead-letter queue (ENV=, STACK=)
	@$(DEV)/python -m operations.redrive --stack $(STACK)

.PHONY: trace
trace: $(TOOLS)/dev/.installed ## tell what happened to a recording (RECORDING=, STACK=, DAYS= of logs)
	@$(DEV)/python -m operations.trace --stack $(STACK) $(if $(DAYS),--days $(DAYS)) -- "$(RECORDING)"
