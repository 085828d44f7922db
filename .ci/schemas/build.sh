#!/usr/bin/env bash
# Cut published JSON schemas out of two packages, into a cache outside the checkout: of CI files, compose files and
# Kubernetes' objects. The packages are held to their hashes, and nothing of them is installed or run. Prints the directory.
# Ends with 3 where they are not cached and cannot be fetched.
set -euo pipefail
here="$(cd "$(dirname "$0")" && pwd)"
python=${PYTHON:-python3}
key="$(cat "$here/requirements.lock" "$here/cut.py" | sha256sum | cut -c1-16)"
cache="${XDG_CACHE_HOME:-$HOME/.cache}/lockkeeper/schemas"
target="$cache/$key"
if [ ! -d "$target" ]; then
  mkdir -p "$cache"
  work="$(mktemp -d "$cache/.build-XXXXXX")"
  trap 'rm -rf "$work"' EXIT
  "$python" -m pip --disable-pip-version-check download --quiet --no-deps --require-hashes --only-binary :all: \
    -r "$here/requirements.lock" -d "$work" >&2 || { echo "the packages with schemas cannot be fetched" >&2; exit 3; }
  "$python" "$here/cut.py" "$work" "$work/cut"
  # The first of two concurrent builds wins; they are the same.
  mv -T "$work/cut" "$target" 2>/dev/null || [ -d "$target" ]
fi
echo "$target"
