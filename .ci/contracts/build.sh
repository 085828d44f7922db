#!/usr/bin/env bash
# Cut GitHub's published schemas to what the tests need, into a cache outside the checkout.
# Prints the directory. Ends with 3 where they are not cached and npm is missing.
set -euo pipefail
here="$(cd "$(dirname "$0")" && pwd)"
cut="$here/../../tests/contract/cut.py"
key="$(cat "$here/package-lock.json" "$cut" | sha256sum | cut -c1-16)"
cache="${XDG_CACHE_HOME:-$HOME/.cache}/lockkeeper/contracts"
target="$cache/$key"
if [ ! -d "$target" ]; then
  command -v npm >/dev/null || { echo "npm is missing; it brings GitHub's schemas" >&2; exit 3; }
  mkdir -p "$cache"
  work="$(mktemp -d "$cache/.build-XXXXXX")"
  trap 'rm -rf "$work"' EXIT
  cp "$here/package.json" "$here/package-lock.json" "$here/.npmrc" "$work/"
  (cd "$work" && npm ci --no-progress --loglevel=error >&2)
  "${PYTHON:-python3}" "$cut" "$work/node_modules/@octokit" "$work/cut"
  # The first of two concurrent builds wins; they are the same.
  mv -T "$work/cut" "$target" 2>/dev/null || [ -d "$target" ]
fi
echo "$target"
