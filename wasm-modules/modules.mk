# Included by the Makefile at the top. `make modules` builds every guest to wasm-modules/dist/NAME.wasm: those in Go need Go alone, those in C
# are left out, with the command that installs what is missing, where there is no clang or wasm-ld.
DIST      := wasm-modules/dist
GUESTS_GO := stable-speed label-remap reshape
GUESTS_C  := label-remap-c
CLANG     ?= clang
CFLAGS_WASM  := --target=wasm32 -O3 -std=c11 -Wall -Wextra -Werror -mbulk-memory -fno-builtin -nostdlib -I wasm-modules/sdk/c
# --stack-first: a stack that overflows traps, and does not overwrite data first.
LDFLAGS_WASM := -Wl,--no-entry,--stack-first,-z,stack-size=65536,--strip-debug

.PHONY: modules modules-c c-module $(GUESTS_GO:%=$(DIST)/%.wasm)
modules: $(GUESTS_GO:%=$(DIST)/%.wasm) modules-c ## wasm-modules/dist/NAME.wasm

# Go itself knows whether there is something to do.
$(GUESTS_GO:%=$(DIST)/%.wasm): $(DIST)/%.wasm:
	@mkdir -p $(DIST)
	GOOS=wasip1 GOARCH=wasm $(GO) build -buildmode=c-shared -trimpath -ldflags='-s -w' -o $@ ./wasm-modules/$*

ifneq (,$(and $(shell command -v $(CLANG) 2>/dev/null),$(shell command -v wasm-ld 2>/dev/null)))
modules-c: $(GUESTS_C:%=$(DIST)/%.wasm)
else
modules-c:
	@echo 'C modules ($(GUESTS_C)) not built: clang or wasm-ld is missing. Debian: apt-get install -y clang lld'
endif

$(GUESTS_C:%=$(DIST)/%.wasm): $(DIST)/%.wasm: wasm-modules/%/main.c wasm-modules/sdk/c/sluice.h
	@mkdir -p $(DIST)
	$(CLANG) $(CFLAGS_WASM) $(LDFLAGS_WASM) -o $@ $<

c-module: ## any module of one file in C: make c-module SRC=fast-only.c OUT=fast-only.wasm
	@$(CLANG) $(CFLAGS_WASM) $(LDFLAGS_WASM) -o $(OUT) $(SRC)
