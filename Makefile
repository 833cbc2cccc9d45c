# `make` without a target lists the commands. Tools are installed below .tools/ on first use, from the
# hashed lock files in requirements/. Only Python (3.11 to 3.14) and make must be installed already.
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:

# Relative, so that the project works in any folder: make splits paths at blanks, and the shell
# interprets characters such as &.
TOOLS := .tools
DEV := $(TOOLS)/dev/bin
SAM := $(TOOLS)/sam/bin/sam
UV := $(TOOLS)/uv/bin/uv

# Of the operator's settings for pip, uv and Python only those count that say where packages come from.
unexport $(filter-out PIP_%INDEX_URL PIP_NO_INDEX PIP_FIND_LINKS PIP_%CERT PIP_PROXY PIP_TRUSTED_HOST \
	PIP_%TIMEOUT PIP_RETRIES PIP_CONFIG_FILE PIP_KEYRING_PROVIDER UV_%INDEX_URL UV_DEFAULT_INDEX UV_INDEX \
	UV_INDEX_% UV_NO_INDEX UV_FIND_LINKS UV_NATIVE_TLS UV_SYSTEM_CERTS UV_INSECURE_HOST UV_%TIMEOUT \
	UV_HTTP_RETRIES UV_CONFIG_FILE UV_KEYRING_PROVIDER UV_OFFLINE,$(filter PIP_% UV_% PYTHON%,$(.VARIABLES)))

# An empty environment (env -i) has no PATH, which make needs itself.
export PATH := $(or $(PATH),/usr/local/bin:/usr/bin:/bin)

# All downloads, caches and settings stay in the project's folder.
export UV_CACHE_DIR := $(CURDIR)/$(TOOLS)/cache/uv
export UV_PYTHON_DOWNLOADS := never
export UV_LINK_MODE := hardlink
export PIP_CACHE_DIR := $(CURDIR)/$(TOOLS)/cache/pip
export PIP_DISABLE_PIP_VERSION_CHECK := 1
export PIP_USER := 0
export SAM_CLI_TELEMETRY := 0
export __SAM_CLI_APP_DIR := $(CURDIR)/$(TOOLS)/cache/sam
export PYTHONPATH := $(CURDIR):$(CURDIR)/layers/roomkeeper
export PYTHONPYCACHEPREFIX := $(CURDIR)/build/bytecode
# Files are UTF-8 in every locale.
export PYTHONUTF8 := 1

# The first Python that the lock files and Lambda support: preferably the version of the deployed
# functions, else another installed one.
IS_KNOWN := import sys; sys.exit(sys.implementation.name != "cpython" or not (3, 11) <= sys.version_info[:2] <= (3, 14))
# pyenv's shims are scripts that read BASH_ENV, whose output would be taken for a path.
unexport BASH_ENV
PYTHON ?= $(shell unset BASH_ENV; for python in python3.13 python3 python3.14 python3.12 python3.11 \
	"$${PYENV_ROOT:-$$HOME/.pyenv}"/versions/3.1[1-4]*/bin/python3; do \
	python=$$(command -v "$$python") && "$$python" -I -c '$(IS_KNOWN)' 2>/dev/null \
	&& "$$python" -I -c 'import sys; print(sys.executable)' && break; done)

# An upgrade of the system may remove the Python that the tools run on: then all are installed again.
ifneq ($(shell [ -L $(TOOLS)/uv/bin/python ] && [ ! -e $(TOOLS)/uv/bin/python ] && echo gone),)
$(shell rm -f $(UV) $(TOOLS)/*/.installed)
endif

# $(call quoted,TEXT): the text as one word of the shell, whatever characters it has.
quoted = '$(subst ','\'',$(1))'
# $(call option,NAME,VALUE): the option --NAME=VALUE; nothing if the value is empty.
option = $(if $(2),--$(1)=$(call quoted,$(2)))
# $(call flag,NAME,VALUE): the option --NAME; nothing if the value is empty, 0, no or false.
flag = $(if $(filter-out 0 no false,$(2)),--$(1))

# The commands in the order and groups of the help, which wraps them to the terminal's width.
TO_TRY := demo up down vonage
TO_OPERATE := deploy configure callback-url smoke status events logs trace items redrive purge bench-lambda destroy cost
TO_DEVELOP := test test-pythons check format reference schemas picture torture machines bench build clean lock help

.PHONY: help
help: ## list the commands
	@awk -F':.*## ' -v width="$$(stty size 2>/dev/null | cut -d' ' -f2)" \
		-v try="$(TO_TRY)" -v operate="$(TO_OPERATE)" -v develop="$(TO_DEVELOP)" ' \
		function list(heading, names,  count, name, i, j, words, text, column) { \
			print heading; count = split(names, name, " "); \
			for (i = 1; i <= count; i++) if (name[i] in help) { \
				printf "  make %-12s", name[i]; column = 19; \
				text = split(help[name[i]], words, " "); \
				for (j = 1; j <= text; j++) { \
					if (column + 1 + length(words[j]) > width) { printf "\n%19s", ""; column = 19 } \
					printf " %s", words[j]; column += 1 + length(words[j]) } \
				print "" } } \
		/^[a-z][a-z-]*:.*## / { help[$$1] = $$2 } \
		END { if (width < 40) width = 80; \
			list("Try it on this machine", try); list("\nOperate it in an AWS account (ENV=, STACK=)", operate); \
			list("\nDevelop it", develop) }' $(MAKEFILE_LIST)

# --- set-up ---------------------------------------------------------------------------------------

# $(call may_be_cleared,FOLDER): fails if the folder exists and is not a virtual environment.
may_be_cleared = [ ! -e $(1) ] || [ -e $(1)/pyvenv.cfg ] \
	|| { echo "$(1) exists but is not a virtual environment. Move it away, then run the command again." >&2; exit 1; }

$(UV): requirements/uv.txt
	@case "$$PWD" in *:*) echo "Python cannot work in a folder whose path contains a colon. Move the project: $$PWD" >&2; exit 1;; esac
	@"$(PYTHON)" -I -c '$(IS_KNOWN)' 2>/dev/null || { echo "Roomkeeper needs Python 3.11 to 3.14, the versions that AWS Lambda supports. None was found$(if $(PYTHON), at $(PYTHON)). Install one, or give its path: make PYTHON=/path/to/python3.13 ..." >&2; exit 1; }
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
lock: $(UV) ## update all locked versions in requirements/
	@cd ./requirements && for name in uv layer layer-for-intake layer-for-vonage dev lint sam ministack scan; do \
		../$(UV) pip compile --quiet --upgrade --universal --python-version 3.11 --generate-hashes \
			--no-header --no-emit-index-url --no-emit-find-links $$name.in --output-file $$name.txt || exit 1; done

# --- checks ---------------------------------------------------------------------------------------

# The SAM CLI refuses to validate with a profile that does not exist, cfn-lint with such a region.
WITHOUT_AWS := env -u AWS_PROFILE -u AWS_DEFAULT_PROFILE -u AWS_REGION -u AWS_DEFAULT_REGION \
	AWS_CONFIG_FILE=/dev/null AWS_SHARED_CREDENTIALS_FILE=/dev/null

.PHONY: check
check: $(TOOLS)/dev/.installed $(TOOLS)/sam/.installed check-texts check-security ## check style, types, import rules, template, texts and security
	@$(DEV)/ruff check .
	@$(DEV)/ruff format --check .
	@$(DEV)/mypy
	@$(DEV)/lint-imports
	@$(WITHOUT_AWS) $(SAM) validate --lint --region eu-west-1
	@$(WITHOUT_AWS) $(DEV)/cfn-lint template.yaml schemas/*.yaml operations/*.yaml examples/*/*.yaml

LINT := $(TOOLS)/lint/bin
# D2_CHECK_VERSION=off: the renderer does not look for updates.
RENDER = D2_CHECK_VERSION=off $(LINT)/d2 --elk-nodeNodeBetweenLayers 28 --elk-edgeNodeBetweenLayers 14

# The home may be a folder that cannot be written.
check-texts check-security: export XDG_CACHE_HOME := $(CURDIR)/build/cache

.PHONY: check-texts
check-texts: $(TOOLS)/lint/.installed $(TOOLS)/dev/.installed
	@$(LINT)/codespell $$(git ls-files | grep -vE '\.(txt|svg)$$')
	@$(LINT)/shellcheck .ci/run
	@$(LINT)/check-jsonschema --quiet --builtin-schema vendor.github-workflows .github/workflows/*.yml
	@$(LINT)/zizmor --quiet --offline .github/workflows
	@$(LINT)/pre-commit validate-config
	@mkdir -p build && $(RENDER) docs/pictures/flow.d2 build/flow.svg 2>build/picture.log || { cat build/picture.log >&2; exit 1; }
	@cmp -s build/flow.svg docs/pictures/flow.svg || { echo "docs/pictures/flow.svg is not up to date: run make picture" >&2; exit 1; }

.PHONY: check-security
check-security: $(TOOLS)/scan/.installed $(TOOLS)/dev/.installed
	@mkdir -p build && $(TOOLS)/scan/bin/checkov --config-file .checkov.yaml >build/checkov.log 2>&1 \
		&& ! grep -E 'Parsing errors: [1-9]|YAML error' build/checkov.log \
		|| { cat build/checkov.log >&2; exit 1; }
	@$(DEV)/python -m tools.audit requirements/dev.txt

.PHONY: picture
picture: $(TOOLS)/lint/.installed ## generate the pictures in docs/pictures/
	@$(RENDER) docs/pictures/flow.d2 docs/pictures/flow.svg 2>/dev/null

.PHONY: reference
reference: $(TOOLS)/dev/.installed ## generate docs/reference.md from the template and the event types
	@$(DEV)/python -m tools.reference

.PHONY: schemas
schemas: $(TOOLS)/dev/.installed ## generate docs/events/ and schemas/ from the event types
	@$(DEV)/python -m tools.event_schemas

.PHONY: format
format: $(TOOLS)/dev/.installed ## format the code
	@$(DEV)/ruff check --fix .
	@$(DEV)/ruff format .

# --- the product, on this machine -----------------------------------------------------------------

LOCAL := $(TOOLS)/dev/.installed $(TOOLS)/sam/.installed $(TOOLS)/ministack/.installed
PORT ?= 4566
VONAGE_PORT ?= 4570

.PHONY: demo
demo: $(LOCAL) ## run meetings of both products locally and check the results (JSON=FILE for a report)
	@$(DEV)/python -m local.demo $(call option,json,$(JSON))

.PHONY: up
up: $(LOCAL) ## start the same local stack and keep it running (PORT=, VONAGE_PORT=)
	@$(DEV)/python -m local.up up --port=$(call quoted,$(PORT)) --vonage-port=$(call quoted,$(VONAGE_PORT))

.PHONY: down
down: $(LOCAL) ## stop the local stack that make up started (PORT=)
	@$(DEV)/python -m local.up down --port=$(call quoted,$(PORT))

.PHONY: clean
clean: ## remove build products and leftovers of local runs, except the last run's logs (ALL=1: also these and .tools)
	@[ -n "$(PYTHON)" ] || { echo "No Python 3.11 or newer was found. Install one, or give its path: make PYTHON=/path/to/python3 ..." >&2; exit 1; }
	@"$(PYTHON)" -B -m local.clean $(call flag,all,$(ALL))

.PHONY: vonage
vonage: PORT := 8200
vonage: $(TOOLS)/dev/.installed ## run the Vonage emulator alone (PORT=, 8200 by default)
	@$(DEV)/python -m local.vonage --port=$(call quoted,$(PORT))

.PHONY: test
test: $(LOCAL) ## run all tests, including those against the local stack (ARGS= for pytest)
ifdef ARGS
	@$(DEV)/pytest $(ARGS)
else
	@$(DEV)/pytest -n 3 --dist loadgroup
endif

.PHONY: machines
machines: $(LOCAL) ## try make in fresh clones with odd paths, shells and settings, each by itself (ARGS= for pytest)
	@$(DEV)/pytest tests/machines --full $(ARGS)

VERSIONS ?= 3.11 3.12 3.13 3.14
SUITES ?= tests/unit tests/integration

# $(call python_of,VERSION): prints the path of that Python, if the machine has it.
python_of = for python in python$(1) "$${PYENV_ROOT:-$$HOME/.pyenv}"/versions/$(1).*/bin/python3; do \
	"$$python" -c 'import sys; sys.exit(sys.version_info[:2] != tuple(map(int, "$(1)".split("."))))' 2>/dev/null \
	&& "$$python" -c 'import sys; print(sys.executable)' && break; done

$(TOOLS)/python-%/.installed: requirements/dev.txt | $(UV)
	@$(call may_be_cleared,$(TOOLS)/python-$*)
	@echo "Installing the tests' libraries for Python $*"
	@$(UV) venv --quiet --clear --python "$$($(call python_of,$*))" $(TOOLS)/python-$*
	@$(UV) pip sync --quiet --require-hashes --python $(TOOLS)/python-$* $<
	@touch $@

.PRECIOUS: $(TOOLS)/python-%/.installed
test-on-%: $(TOOLS)/python-%/.installed
	@$(TOOLS)/python-$*/bin/pytest -n 2 $(SUITES)

.PHONY: test-pythons
test-pythons: $(LOCAL) ## run the unit and integration tests on each promised Python of this machine (VERSIONS=, SUITES=)
	@$(foreach version,$(VERSIONS),python=$$($(call python_of,$(version))); \
		if [ -z "$$python" ]; then missing="$$missing $(version)"; \
		else echo "Python $(version): $$python"; \
			if $(MAKE) --no-print-directory test-on-$(version); then passed="$$passed $(version)"; \
			else failed="$$failed $(version)"; fi; fi;) \
	echo "Passed:$${passed:- none}. Failed:$${failed:- none}. Not on this machine:$${missing:- none}."; \
	[ -z "$$failed" ] && [ -n "$$passed" ]

.PHONY: torture
torture: $(LOCAL) ## stress-test with faults, crashes, hostile input and leak checks (JSON=FILE for the measurements)
	@$(DEV)/pytest tests/torture --full --measurements=$(call quoted,$(or $(JSON),build/torture.json)) $(ARGS)

.PHONY: bench
bench: $(LOCAL) ## measure speed and size within 15 minutes (JSON=FILE, BASELINE=FILE to compare with, ONLY=)
	@$(DEV)/python -m benchmarks --json=$(call quoted,$(or $(JSON),build/bench.json)) $(call option,baseline,$(BASELINE)) \
		$(if $(ONLY),--only $(ONLY))

.PHONY: bench-lambda
bench-lambda: $(TOOLS)/dev/.installed ## measure a deployed stack's functions by their logs and metrics (ENV=, STACK=, DAYS=)
	@$(DEV)/python -m operations.bench_lambda $(ON_STACK) $(call option,days,$(DAYS))

.PHONY: cost
cost: $(TOOLS)/dev/.installed ## compute the monthly bill (CALLBACKS=, RECORDINGS=, ROOMS= per month) and the cost of an attack (RATE=, BURST=)
	@$(DEV)/python -m tools.cost $(call option,callbacks,$(CALLBACKS)) \
		$(call option,recordings,$(RECORDINGS)) $(call option,rooms,$(ROOMS)) $(call option,rate,$(RATE)) \
		$(call option,burst,$(BURST)) $(call option,copy-mb,$(COPY_MB))

# --- the product, in an account -------------------------------------------------------------------

# ENV is a section of samconfig.toml. Its stack is roomkeeper for ENV=default, else roomkeeper-ENV;
# STACK overrides that. PARAMETERS set parameters of template.yaml.
ENV ?= default
ifeq ($(origin ENV)$(findstring /,$(ENV)),environment/)
# The file that a POSIX shell reads at its start, which some systems export.
ENV := default
endif
STACK ?= roomkeeper$(addprefix -,$(filter-out default,$(ENV)))
ON_STACK = --stack=$(call quoted,$(STACK))

.PHONY: build
build: $(TOOLS)/dev/.installed $(TOOLS)/sam/.installed ## build functions and layers into build/ (PARAMETERS=)
	@$(DEV)/python -m operations.deploy --only-build $(call option,parameters,$(PARAMETERS))

.PHONY: deploy
deploy: $(TOOLS)/dev/.installed $(TOOLS)/sam/.installed ## deploy into the current AWS account (ENV=, STACK=, PARAMETERS="Name=value ...", CONFIRM=, ARGS= for sam deploy)
	@$(DEV)/python -m operations.deploy --environment=$(call quoted,$(ENV)) $(ON_STACK) $(call option,confirm,$(CONFIRM)) \
		$(call option,parameters,$(PARAMETERS)) $(call option,arguments,$(ARGS))

.PHONY: configure
configure: $(TOOLS)/dev/.installed ## store Vonage credentials from FILE=, standard input or a hidden prompt (PRODUCT=, ENV=, STACK=)
	@$(DEV)/python -m operations.configure $(ON_STACK) $(call option,product,$(PRODUCT)) $(call option,file,$(FILE))

.PHONY: callback-url
callback-url: $(TOOLS)/dev/.installed ## print the URLs to enter at Vonage, with their tokens, and where (PRODUCT=, ENV=, STACK=)
	@$(DEV)/python -m operations.callback_url $(ON_STACK) $(call option,product,$(PRODUCT))

.PHONY: destroy
destroy: $(TOOLS)/dev/.installed ## delete the stack except its table, after confirmation (ENV=, STACK=, CONFIRM=)
	@$(DEV)/python -m operations.destroy $(ON_STACK) $(call option,confirm,$(CONFIRM))

.PHONY: smoke
smoke: $(TOOLS)/dev/.installed ## send a test callback of each product through the stack, then remove it (PRODUCT=)
	@$(DEV)/python -m operations.smoke $(ON_STACK) $(call option,product,$(PRODUCT))

.PHONY: status
status: $(TOOLS)/dev/.installed ## show the deployment, the jobs' last runs, worklists, dead letters and alarms
	@$(DEV)/python -m operations.status $(ON_STACK)

.PHONY: events
events: $(TOOLS)/dev/.installed ## print events as they are published (COUNT=, SECONDS= to stop, PRODUCT=, JSON=1 for complete events)
	@$(DEV)/python -m operations.events $(ON_STACK) $(call option,product,$(PRODUCT)) $(call option,count,$(COUNT)) \
		$(call option,seconds,$(SECONDS)) $(call flag,json,$(JSON))

.PHONY: logs
logs: $(TOOLS)/dev/.installed ## print the functions' latest log lines (FUNCTION=, SINCE=10m, FOLLOW=1)
	@$(DEV)/python -m operations.logs $(ON_STACK) $(call option,function,$(FUNCTION)) $(call option,since,$(SINCE)) \
		$(call flag,follow,$(FOLLOW))

.PHONY: items
items: $(TOOLS)/dev/.installed ## print up to 50 items of the table, recordings first (RECORDING=, SESSION=, ROOM=, PRODUCT=)
	@$(DEV)/python -m operations.items $(ON_STACK) $(call option,recording,$(RECORDING)) \
		$(call option,session,$(SESSION)) $(call option,room,$(ROOM)) $(call option,product,$(PRODUCT))

.PHONY: purge
purge: $(TOOLS)/dev/.installed ## remove items that Vonage's API never confirmed, such as forged ones (FROM=, TO=, PRODUCT=, ARGS=--refused, ENV=, STACK=, CONFIRM=)
	@$(DEV)/python -m operations.purge $(ON_STACK) --from=$(call quoted,$(FROM)) --to=$(call quoted,$(TO)) \
		$(call option,product,$(PRODUCT)) $(call option,confirm,$(CONFIRM)) $(ARGS)

.PHONY: redrive
redrive: $(TOOLS)/dev/.installed ## publish the events of the messages in the dead-letter queue (ENV=, STACK=)
	@$(DEV)/python -m operations.redrive $(ON_STACK)

.PHONY: trace
trace: $(TOOLS)/dev/.installed ## show the history of a recording (RECORDING=, STACK=, DAYS= of logs)
	@$(DEV)/python -m operations.trace $(ON_STACK) $(call option,days,$(DAYS)) -- $(call quoted,$(RECORDING))
