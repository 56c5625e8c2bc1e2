# Included by the Makefile at the top. `make modules` builds every guest to wasm-modules/dist/NAME.wasm: those in Go need Go alone, those in other
# languages are left out, with the command that installs what is missing, where their toolchain is not there.
DIST      := wasm-modules/dist
SDK       := wasm-modules/sdk
TOOLS     ?= $(or $(XDG_CACHE_HOME),$(HOME)/.cache)/sluice
GUESTS_GO := stable-speed label-remap reshape vibration-features downsample dedupe-change

.PHONY: modules
modules: $(GUESTS_GO:%=$(DIST)/%.wasm) ## wasm-modules/dist/NAME.wasm

# module, a template: name, source, make target, what it is made of besides. It builds one guest that is not in Go.
define module
modules: $(DIST)/$(1).wasm
$(DIST)/$(1).wasm: $(2) $(4)
	@mkdir -p $(DIST)
	@missing=$$$$($(MAKE) -s --no-print-directory $(3)-missing); if [ -n "$$$$missing" ]; then echo "$(1) not built: $$$$missing"; else \
		echo "make $(3) SRC=$(2) OUT=$$@"; $(MAKE) -s --no-print-directory $(3) SRC=$(2) OUT=$$@; fi
endef
$(eval $(call module,label-remap-c,wasm-modules/label-remap-c/main.c,c-module,$(SDK)/c/sluice.h))
$(eval $(call module,sample-c,$(SDK)/c/sample/main.c,c-module,$(SDK)/c/sluice.h))
$(eval $(call module,sample-rust,$(SDK)/rust/sample/lib.rs,rust-module,$(wildcard $(SDK)/rust/src/*)))
$(eval $(call module,sample-as,$(SDK)/assemblyscript/sample/main.ts,as-module,$(wildcard $(SDK)/assemblyscript/sluice/*)))
$(eval $(call module,sample-zig,$(SDK)/zig/sample/main.zig,zig-module,$(SDK)/zig/sluice.zig))

# Go itself knows whether there is something to do.
.PHONY: $(GUESTS_GO:%=$(DIST)/%.wasm) $(DIST)/sample-go.wasm
BUILD_GO = GOOS=wasip1 GOARCH=wasm $(GO) build -buildmode=c-shared -trimpath -ldflags='-s -w' -o $@
$(GUESTS_GO:%=$(DIST)/%.wasm): $(DIST)/%.wasm:
	@mkdir -p $(DIST)
	$(BUILD_GO) ./wasm-modules/$*
modules: $(DIST)/sample-go.wasm
$(DIST)/sample-go.wasm:
	@mkdir -p $(DIST)
	$(BUILD_GO) ./$(SDK)/go/sample

# Any module of one file: make LANGUAGE-module SRC=fast-only.c OUT=fast-only.wasm. LANGUAGE-module-missing says what to install, nothing where all is there.
.PHONY: c-module c-module-missing rust-module rust-module-missing as-module as-module-missing zig-module zig-module-missing

CLANG     ?= clang
CFLAGS_WASM  := --target=wasm32 -O3 -std=c11 -Wall -Wextra -Werror -mbulk-memory -fno-builtin -nostdlib
# --stack-first: a stack that overflows traps, and does not overwrite data first.
LDFLAGS_WASM := -Wl,--no-entry,--stack-first,-z,stack-size=65536,--strip-debug
c-module-missing:
	@{ command -v $(CLANG) && command -v wasm-ld; } >/dev/null || echo 'clang or wasm-ld is missing. Debian: apt-get install -y clang lld'
c-module:
	@$(CLANG) $(CFLAGS_WASM) -I $(SDK)/c $(LDFLAGS_WASM) -o $(OUT) $(SRC)

# The first rustc that has the standard library for WebAssembly: rustup's with the target added, or the distribution's, which rustup's hides in PATH.
RUSTC_WASM ?= $(shell for r in rustc /usr/bin/rustc; do \
	d=$$($$r --print target-libdir --target wasm32-unknown-unknown 2>/dev/null) && [ -d "$$d" ] && echo $$r && break; done)
RUSTFLAGS_WASM := --target wasm32-unknown-unknown --edition 2021 -C opt-level=3 -C panic=abort -C target-feature=+bulk-memory
RUSTLINK_WASM  := -C lto=fat -C strip=symbols -C link-arg=-zstack-size=65536
rust-module-missing:
	@[ -n "$(RUSTC_WASM)" ] || echo 'rustc with the target wasm32-unknown-unknown is missing.' \
		'Debian: apt-get install -y rustc libstd-rust-dev-wasm32 lld; rustup: rustup target add wasm32-unknown-unknown'
rust-module:
	@d=$$(mktemp -d) && trap 'rm -r "$$d"' EXIT && r=$(RUSTC_WASM) && \
	$$r $(RUSTFLAGS_WASM) --crate-type rlib --crate-name sluice -o $$d/libsluice.rlib $(SDK)/rust/src/lib.rs && \
	$$r $(RUSTFLAGS_WASM) $(RUSTLINK_WASM) --crate-type cdylib --extern sluice=$$d/libsluice.rlib -o $(OUT) $(SRC)

ASC ?= $(firstword $(wildcard $(TOOLS)/assemblyscript-0.28.20/node_modules/.bin/asc) $(shell command -v asc 2>/dev/null))
# incremental: what a filter allocates is given back; stub would never, minimal when the host says so.
ASFLAGS_WASM := -O3 --runtime incremental
as-module-missing:
	@[ -n "$(ASC)" ] || echo 'asc is missing: npm install --prefix $(TOOLS)/assemblyscript-0.28.20 assemblyscript@0.28.20'
as-module:
	@$(ASC) $(SRC) $(ASFLAGS_WASM) --use abort=$(SDK)/assemblyscript/sluice/index/abort -o $(OUT)

ZIG ?= $(firstword $(wildcard $(TOOLS)/ziglang-0.17.1/ziglang/zig) $(shell command -v zig 2>/dev/null))
ZIGFLAGS_WASM := -target wasm32-freestanding -O ReleaseFast -fno-entry -rdynamic -fstrip --stack 65536
zig-module-missing:
	@[ -n "$(ZIG)" ] || echo 'zig is missing: pip install --target $(TOOLS)/ziglang-0.17.1 ziglang==0.17.1'
zig-module:
	@$(ZIG) build-exe $(ZIGFLAGS_WASM) --dep sluice -Mroot=$(SRC) -Msluice=$(SDK)/zig/sluice.zig -femit-bin=$(OUT)

# What runs filters in JavaScript: half a minute, once. `make modules` builds it too where it can; all but scripts work without.
.PHONY: script-engine modules-script js-module js-module-missing
ENGINE := wasm-modules/script-engine
script-engine: $(DIST)/script-engine.wasm
$(DIST)/script-engine.wasm: $(wildcard $(ENGINE)/*.c) $(ENGINE)/build.sh $(SDK)/c/sluice.h
	CLANG=$(CLANG) $(ENGINE)/build.sh $@
modules: modules-script
modules-script:
	@if CLANG=$(CLANG) $(ENGINE)/build.sh --check; then $(MAKE) -s --no-print-directory script-engine; fi
js-module-missing:
	@CLANG=$(CLANG) $(ENGINE)/build.sh --check 2>&1 || true
js-module: script-engine # OUT is the engine: a script needs no building
	@cp $(DIST)/script-engine.wasm $(OUT)
