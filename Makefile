# Two commands are the contract: `make demo` and `make test`. Both set up .venv first.
# Without a GPU: TORCH_INDEX=<address of PyTorch's CPU wheels> takes the much smaller CPU build.
.DEFAULT_GOAL := help
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
PROMPT ?=
SIZE ?= 32
TORCH_INDEX ?=
# As the package sets it (decision 0030): benches import torch first, whose threads would spin while they wait.
export OMP_WAIT_POLICY ?= PASSIVE

HASH := \#
.PHONY: $(shell sed -n 's/^\([a-z0-9-]*\):.*$(HASH)$(HASH).*/\1/p' $(MAKEFILE_LIST))

help: ## this list
	@grep -hE '^[a-z0-9-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:[^#]*## /\t/' | expand -t 20

$(STAMP): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "dgx-pixels needs Python 3.11 or later: make PYTHON=/path/to/python3.12 ..."; exit 1; }
	$(PYTHON) -m venv $(VENV)
	$(if $(TORCH_INDEX),$(BIN)/pip install --quiet --disable-pip-version-check -c constraints.txt --index-url $(TORCH_INDEX) torch)
	$(BIN)/pip install --quiet --disable-pip-version-check --progress-bar on -c constraints.txt -e '.[dev]'
	@touch $@

setup: $(STAMP) ## the virtual environment, with everything that demo and test need

demo: setup ## draw three sprites and a floor tile into bevy_example/assets (PROMPT="red dragon" SIZE=32 draws that)
	@$(BIN)/dgx-pixels demo --size $(SIZE) $(if $(PROMPT),--prompt "$(PROMPT)")

# A worker for each core, four at most (1.5 GB each). A file's tests stay in one worker, since they share its fixtures.
# A worker that dies fails the run.
WORKERS := -n logical --maxprocesses 4 --dist loadfile --max-worker-restart 0

test: setup ## the tests that a change usually breaks (3 minutes on two cores)
	@$(BIN)/pytest $(WORKERS) -m "not slow"

contract: setup ## write down what clients see of every tool (tests/server/protocol/contract); a test compares
	@$(BIN)/python -m tests.server.protocol.tool_contract

test-all: setup ## every test that needs no GPU, no browser and no game
	@$(BIN)/pytest $(WORKERS)

# Cargo's target folder (2.3 GB) is kept outside the checkout, in ~/.cache/dgx-pixels, so that the next build takes seconds.
test-bevy: setup ## build the example game on Bevy 0.20 and test deploys into it while it runs (on Debian libvulkan1 mesa-vulkan-drivers libasound2-dev libudev-dev pkg-config)
	@$(BIN)/python -m tests.bevy_game.toolchain
	@DGX_PIXELS_BEVY=0.20 $(BIN)/pytest tests/bevy_game

test-bevy19: setup ## the same on Bevy 0.19
	@$(BIN)/python -m tests.bevy_game.toolchain --bevy 0.19
	@DGX_PIXELS_BEVY=0.19 $(BIN)/pytest tests/bevy_game

test-bevy-crates: setup ## a Bevy 0.20 game that reads our .aseprite, .ldtk, .tmx and RON with four crates (builds 15 to 30 minutes, once)
	@$(BIN)/python -m tests.bevy_game.toolchain
	@DGX_PIXELS_BEVY=0.20 $(BIN)/pytest tests/bevy_game/crates

test-brp-mcp: setup ## bevy_brp_mcp and this server in one session with the example game (builds 15 to 30 minutes, once)
	@$(BIN)/python -m tests.bevy_game.toolchain
	@DGX_PIXELS_BEVY=0.20 $(BIN)/pytest tests/bevy_game/brp_mcp

bench: setup ## SDXL with random weights beside the stock pipeline: full size on a GPU (10 minutes; LIMIT= seconds), tiny on a CPU
	@$(BIN)/python -m tests.bench.sdxl.table $(if $(LIMIT),--seconds $(LIMIT))

test-gpu: setup ## the SDXL tier on a CUDA card, with a tiny random model (1-3 minutes, nearly all of it compiling)
	@$(BIN)/pytest tests/gpu -rs

bench-embedded: setup ## the embedded model, prompt to PNG, beside the stock pipeline; 100 random prompts through the gates (2 minutes)
	@$(BIN)/python -m tests.bench.embedded.speed

test-faults: setup ## kills, races, a full disk (as root) and a soak of 3,000 calls; prints counts (10 minutes at most)
	@$(BIN)/python -m tests.faults

$(VENV)/.cluster: constraints.txt
	@$(BIN)/pip install --quiet --disable-pip-version-check -c constraints.txt ray
	@touch $@

test-cluster: setup $(VENV)/.cluster ## drawing by actors of a Ray cluster on this machine (installs Ray; 2 minutes)
	@$(BIN)/pytest tests/server/cluster

bench-cluster: setup $(VENV)/.cluster ## sprites a second with 2 and 4 actors beside one process, and 50 actors killed over 500 sprites
	@$(BIN)/python -m tests.bench.cluster.throughput

bench-clients: setup ## 50 clients with tokens at one server: errors, fairness, p95 beside the simulation, memory (2 minutes on two free cores)
	@$(BIN)/python -m tests.bench.server.clients

bench-library: setup ## a library of 10,000 assets: list_assets, the gallery, comparisons (COUNT=)
	@$(BIN)/python -m tests.bench.server.library --count $(or $(COUNT),10000)

bench-server: setup ## start of the server beside a bare one, and a tool call outside the engine
	@$(BIN)/python -m tests.bench.server.start

.venv-clients/.installed: tests/clients/requirements.txt
	$(PYTHON) -m venv .venv-clients
	.venv-clients/bin/pip install --quiet --disable-pip-version-check -r $<
	@touch $@

.npm-clients/.installed: tests/clients/package.json
	@mkdir -p .npm-clients && cp $< .npm-clients/
	@command -v npm >/dev/null && npm install --prefix .npm-clients --no-audit --no-fund --silent || echo "npm is missing or failed: the programs are skipped"
	@touch $@

test-clients: setup .venv-clients/.installed .npm-clients/.installed ## real clients with a scripted model: three agent libraries, the Inspector, six assistants (10 minutes)
	@DGX_PIXELS_CLIENTS=1 $(BIN)/pytest tests/clients -rs

test-gallery: setup ## the results page and the studio page in Chromium (on Debian as root it is installed where it is missing)
	@command -v chromium >/dev/null || command -v google-chrome >/dev/null || { test "$$(id -u)" = 0 && command -v apt-get >/dev/null && \
		apt-get update -qq && apt-get install -y -qq --no-install-recommends chromium; } || \
		{ echo "Chromium is missing: apt-get install chromium (or what your system calls it)"; exit 1; }
	@DGX_PIXELS_BROWSER=1 $(BIN)/pytest tests/browser

test-studio: setup ## the studio in a real terminal, in tmux (on Debian as root it is installed where it is missing)
	@command -v tmux >/dev/null || { test "$$(id -u)" = 0 && command -v apt-get >/dev/null && \
		apt-get update -qq && apt-get install -y -qq --no-install-recommends tmux; } || \
		{ echo "tmux is missing: apt-get install tmux (or what your system calls it)"; exit 1; }
	@DGX_PIXELS_STUDIO=1 $(BIN)/pytest tests/server/terminal

bench-studio: setup ## the studio in a pseudo-terminal: start, key to screen while a sprite is drawn, frames a second
	@$(BIN)/python -m tests.bench.server.studio

test-tiled: setup ## our tilesets in Tiled's own tools (on Debian as root it is installed where it is missing)
	@command -v tmxrasterizer >/dev/null || { test "$$(id -u)" = 0 && command -v apt-get >/dev/null && \
		apt-get update -qq && apt-get install -y -qq --no-install-recommends tiled; } || \
		{ echo "Tiled is missing: apt-get install tiled (or what your system calls it)"; exit 1; }
	@DGX_PIXELS_TILED=1 $(BIN)/pytest tests/tiled

# Training data is not part of the project: a folder with tiles/, packs/ and sheets/ (docs/model.md has their form).
DATA ?= $(DGX_PIXELS_DATA)
need = $(if $(1),,@echo "$@ needs $(2). docs/model.md has the form of the data."; exit 1)

eval: setup ## the embedded model: a table and contact sheets in runs/eval (DATA=training data, for the near-copies)
	@$(BIN)/python -m tests.bench.embedded.quality $(if $(DATA),--data $(DATA)) --out runs/eval

SHEETS ?= $(if $(DATA),$(wildcard $(DATA)/sheets))
PACKS ?= $(if $(DATA),$(wildcard $(DATA)/packs))
ANSWERS ?=
eval-motion: setup ## numbered strips without labels, for a blind judge, in runs/eval-motion (SHEETS=, PACKS= training data; ANSWERS=file scores them)
	@$(if $(ANSWERS),$(BIN)/python -m tests.bench.motion.strips score runs/eval-motion $(ANSWERS),\
		$(BIN)/python -m tests.bench.motion.strips draw runs/eval-motion $(if $(SHEETS),--sheets $(SHEETS)) $(if $(SHEETS),&& \
		$(BIN)/python -m tests.bench.motion.painting $(SHEETS) $(if $(PACKS),--packs $(PACKS)) --picture runs/eval-motion/held-out.png))

eval-blind: setup ## numbered sheets without labels in runs/blind, and the score of an answers.txt that lies there
	@$(BIN)/python -m tests.bench.embedded.blind $(if $(wildcard runs/blind/*/answers.txt),score,draw)

eval-workflows: setup ## every workflow, a batch that is killed again and again, 24 animations
	@$(BIN)/python -m tests.bench.server.workflows

eval-tilesets: setup ## 50 tilesets of ten pairs of terrains through the gates, and which way of sampling tiles best
	@$(BIN)/python -m tests.bench.server.tilesets

eval-more: setup ## effects and the other kinds beside sprites, tiles and motions: 5 seeds through the gates, sheets into docs/images
	@$(BIN)/python -m tests.bench.server.kinds

LORA_DATA ?= $(if $(DATA),$(DATA)/tiles $(DATA)/packs)
REAL ?= runs/gervais
eval-lora: setup $(REAL) ## teach three unseen styles from 40 sprites each and measure what was learned (DATA= or LORA_DATA=, REAL=folders of 32x32 sprites)
	$(call need,$(LORA_DATA),DATA=folder with tiles/ and packs/ or LORA_DATA=folders of sprites)
	@$(BIN)/python -m tests.bench.loras.prove $(LORA_DATA) --real $$(ls -d $(REAL) 2>/dev/null) --out runs/eval-lora --picture docs/images/lora.png

# Real styles come out of Debian's packages; without apt the proof is of the two made ones.
runs/gervais: PACKAGES = angband angband-data
runs/crossfire: PACKAGES = crossfire-client-images
runs/gervais runs/crossfire:
	@mkdir -p $@.part && (cd $@.part && apt-get download -qq $(PACKAGES) && for file in *.deb; do dpkg-deb -x $$file .; done) && mv $@.part $@ || \
		echo "No $(PACKAGES) from apt: this real style is left out (REAL=folders of sprites with metadata.jsonl take its place)"

eval-lora-kill: setup ## a training job under kill -9 at 20 random moments, and its losses against a run without a break
	@$(BIN)/python -m tests.bench.loras.killed bevy_example/assets/sprites --out runs/eval-lora-kill

readme-media: setup ## docs/images/session.gif from a real session with the running example game (make test-bevy builds it)
	@$(BIN)/python -m tests.bench.server.readme_media

game-media: setup ## docs/images/bevy-game.png and .gif: the example game, played by keys (make test-bevy builds it)
	@$(BIN)/python -m tests.bench.server.game_media

bundle: setup ## dist/dgx-pixels.mcpb, for clients that install bundles
	@$(BIN)/python -m server.publishing.bundle dist/dgx-pixels.mcpb

check: setup ## format, lint, types
	@$(BIN)/ruff format --check . && $(BIN)/ruff check . && $(BIN)/pyright

.venv-audit/.installed:
	$(PYTHON) -m venv .venv-audit
	.venv-audit/bin/pip install --quiet --disable-pip-version-check pip-audit==2.10.1
	@touch $@

fuzz: setup ## 5,000 calls of all tools with arguments made from their schemas, in ten parts (SEEDS= repeats some of them)
	@for seed in $(or $(SEEDS),1 2 3 4 5 6 7 8 9 10); do FASTMCP_LOG_ENABLED=false DGX_PIXELS_FUZZ=500 DGX_PIXELS_FUZZ_SEED=$$seed \
		$(BIN)/pytest tests/security/test_fuzz_tools.py -s || exit 1; done

audit: .venv-audit/.installed ## known vulnerabilities of the pinned packages and of the example game's crates (says so where a database is away)
	@$(PYTHON) -m tests.bench.audit .venv-audit/bin/pip-audit

clean: ## the virtual environment and caches
	rm -rf $(VENV) .pytest_cache .ruff_cache

SNAPPER_CACHE := $(HOME)/.cache/dgx-pixels/bench
SNAPPER := $(SNAPPER_CACHE)/bin/spritefusion-pixel-snapper
.venv-bench/.peers-2:
	$(PYTHON) -m venv .venv-bench
	.venv-bench/bin/pip install --quiet --disable-pip-version-check proper-pixel-art==2.0.0 perfect-pixel==0.1.4 unfake==1.0.7
	@test -x $(SNAPPER) || ! command -v cargo >/dev/null || \
		cargo install spritefusion-pixel-snapper --version 1.0.0 --quiet --root $(SNAPPER_CACHE) || echo "pixel-snapper could not be built: it is left out"
	@touch $@

bench-finishing: export OMP_NUM_THREADS = 1
TILES ?= $(if $(DATA),$(DATA)/tiles)
bench-finishing: setup .venv-bench/.peers-2 ## finishing beside four peers on 1,000 inputs, into docs/finishing.md (DATA= or TILES=folder of sprites, else the example's; 6 minutes)
	@$(BIN)/python -m tests.bench.finishing.table $(or $(TILES),bevy_example/assets) --peers .venv-bench/bin/python \
		$$(test -x $(SNAPPER) && echo --snapper $(SNAPPER)) --write docs/finishing.md
