#!/usr/bin/env bash
# Install the local signing services of the tests, into a cache outside the checkout.
# Prints the directory. Ends with 3 where they are not cached and node or npm is missing.
set -euo pipefail
here="$(cd "$(dirname "$0")" && pwd)"
key="$(sha256sum < "$here/package-lock.json" | cut -c1-16)"
cache="${XDG_CACHE_HOME:-$HOME/.cache}/lockkeeper/sigstore"
target="$cache/$key"
for tool in node npm; do
  command -v "$tool" >/dev/null || { echo "$tool is missing; it brings the local signing services" >&2; exit 3; }
done
if [ ! -d "$target" ]; then
  mkdir -p "$cache"
  work="$(mktemp -d "$cache/.build-XXXXXX")"
  trap 'rm -rf "$work"' EXIT
  cp "$here/package.json" "$here/package-lock.json" "$here/.npmrc" "$work/"
  (cd "$work" && npm ci --no-progress --loglevel=error >&2)
  # The first of two concurrent builds wins; they are the same.
  mv -T "$work" "$target" 2>/dev/null || [ -d "$target" ]
fi
echo "$target"
