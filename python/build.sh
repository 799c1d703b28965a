#!/usr/bin/env bash
# Builds the wheel of the Python module, with the C library and the workers' program in it:
#
#   python/build.sh [PYTHON]      PYTHON: one that has maturin; python3 unless given
#
# It lies in python/dist then. A wheel is for machines with a C library as new as this one's.
set -euo pipefail
cd "$(dirname "$0")/.."
python=${1:-python3}
command -v "$python" >/dev/null || { echo "there is no $python; name a Python that has maturin" >&2; exit 2; }
python=$(command -v "$python")
# Absolute, and still a virtual environment's own: links are not followed.
python=$(cd "$(dirname "$python")" && pwd)/$(basename "$python")
installed=$(capi/build.sh | tail -n 1)
install -m 755 "$installed"/lib/libpinpool.so.1 "$installed"/lib/pinpool-worker python/pinpool/
install -m 644 "$installed"/include/pinpool.h python/pinpool/
cd python
rm -rf dist
"$python" -m maturin build --release --locked --compatibility linux --auditwheel skip --out dist
ls dist/*.whl
