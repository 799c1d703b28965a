#!/usr/bin/env bash
# Builds the C interface and lays it out as it is installed:
#
#   capi/build.sh [PREFIX]        PREFIX: target/capi unless given
#
#   PREFIX/include/pinpool.h, pinpool.f90
#   PREFIX/lib/libpinpool.so -> libpinpool.so.1, libpinpool.a, pinpool-worker
#   PREFIX/lib/pkgconfig/pinpool.pc
#
# `pinpool-worker` lies beside the library, where the pools of hosts that load it look for it.
set -euo pipefail
cd "$(dirname "$0")/.."
prefix=${1:-target/capi}
target=${CARGO_TARGET_DIR:-target}
abi=$(sed -n 's/^pub const PP_ABI_VERSION: u32 = \([0-9]*\);$/\1/p' src/capi/library.rs)
version=$(sed -n 's/^version = "\(.*\)"$/\1/p' Cargo.toml | head -1)
soname=libpinpool.so.$abi

# Both libraries of one compilation.
cargo rustc --release --lib --no-default-features --features capi \
    --crate-type cdylib,staticlib -- -C "link-arg=-Wl,-soname,$soname"
cargo build --release -p pinpool-worker

mkdir -p "$prefix/include" "$prefix/lib/pkgconfig"
prefix=$(cd "$prefix" && pwd)
install -m 644 include/pinpool.h include/pinpool.f90 "$prefix/include/"
install -m 755 "$target/release/libpinpool.so" "$prefix/lib/$soname"
ln -sf "$soname" "$prefix/lib/libpinpool.so"
install -m 644 "$target/release/libpinpool.a" "$prefix/lib/"
install -m 755 "$target/release/pinpool-worker" "$prefix/lib/"
cat > "$prefix/lib/pkgconfig/pinpool.pc" <<END
prefix=$prefix
includedir=\${prefix}/include
libdir=\${prefix}/lib

Name: pinpool
Description: pinned worker processes over shared-memory arrays
Version: $version
Cflags: -I\${includedir}
Libs: -L\${libdir} -lpinpool
Libs.private: -lpthread -ldl -lm -lgcc_s -lutil -lrt
END
echo "$prefix"
