#!/bin/sh
# build.sh OUT.wasm: the script engine, from QuickJS-ng 0.16.2 as the crate rquickjs-sys carries it. cargo fetches the crate into its own cache, outside
# the tree; what is built is what the checksum below names. OUT.LICENSE is QuickJS-ng's. CLANG is the compiler to use. build.sh --check only tells
# whether all is there that it takes.
set -eu
crate=rquickjs-sys version=0.14.0
sum=cee271d0eeba64f0915b846cb7ae02e16faf3dfdffdca91731101d9d30fe3423
out=$1 here=$(dirname "$0") clang=${CLANG:-clang}

for tool in cargo "$clang" wasm-ld; do
	command -v "$tool" >/dev/null || missing="${missing:-}$tool "
done
echo 'int main(void) { return 0; }' | "$clang" --target=wasm32-wasi -x c - -o /dev/null 2>/dev/null || missing="${missing:-}a libc for wasm32-wasi"
if [ -n "${missing:-}" ]; then
	echo "script engine not built, missing: $missing. Debian: apt-get install -y clang lld wasi-libc libclang-rt-14-dev-wasm32 cargo" >&2
	exit 1
fi
[ "$out" != --check ] || exit 0

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
file() { find "${CARGO_HOME:-$HOME/.cargo}/registry/cache" -name "$crate-$version.crate" 2>/dev/null | head -n 1; }
if [ -z "$(file)" ]; then
	printf '[package]\nname = "engine"\nversion = "0.0.0"\nedition = "2021"\n[lib]\npath = "/dev/null"\n[dependencies]\n%s = "=%s"\n' $crate $version >"$work/Cargo.toml"
	cargo fetch --quiet --manifest-path "$work/Cargo.toml"
fi
echo "$sum  $(file)" | sha256sum --check --quiet || exit 1
tar -xzf "$(file)" -C "$work"
source=$work/$crate-$version/quickjs

# --stack-first: a stack that overflows traps, and does not overwrite data first; the engine's own check is far above its end. A frame of the interpreter
# takes 50 times as much of the host's stack as of this one, so 256 KiB are some 400 calls deep and 8 MiB there.
flags="--target=wasm32-wasi -O2 -mbulk-memory -mexec-model=reactor -funsigned-char -DNDEBUG -D_GNU_SOURCE -DQUICKJS_NG_BUILD
	-D_WASI_EMULATED_PROCESS_CLOCKS -D_WASI_EMULATED_SIGNAL"
for part in libregexp libunicode dtoa; do
	"$clang" $flags -w -c "$source/$part.c" -o "$work/$part.o"
done
"$clang" $flags -Wall -Wextra -isystem "$source" -I "$here/../sdk/c" "$here/engine.c" "$work"/*.o \
	-lwasi-emulated-process-clocks -lwasi-emulated-signal -Wl,-s,--stack-first,-z,stack-size=262144 -o "$work/engine.wasm"

mkdir -p "$(dirname "$out")"
cp "$source/LICENSE" "${out%.wasm}.LICENSE"
mv "$work/engine.wasm" "$out"
