#!/usr/bin/env bash
# Builds the real tools that the tests run (cosign, crane, olareg ...) into .tools/bin/<folder name>.
#
# Each folder here with a go.mod pins one tool by its `tool` directive and its go.sum. A finished
# binary is kept outside the checkout under the hash of those two files, so that a fresh clone
# only copies it. Arguments name the folders to build; without any, all of them.
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
root=$(cd "$here/../.." && pwd)
cache=${XDG_CACHE_HOME:-$HOME/.cache}/lockkeeper/tools
bin=$root/.tools/bin
stamps=$root/.tools/stamps
# The small and the most used come first, so that an interrupted run is already of use.
order=(crane registry actionlint kustomize helm cosign3 cosign2 regctl oras olareg promtool syft grype trivy)
# Scanners name their version in reports; a build from a module does not know it by itself.
version_of() {
  sed -n "s,^[[:space:]]*github.com/[a-z]*/$1 v\([0-9.]*\).*,\1,p" "$here/$1/go.mod"
}

# trivy reads JSON by encoding/json/v2, which Go 1.26 has as an experiment; the others need none.
settings_of() {
  case $1 in
    trivy) echo CGO_ENABLED=0 GOEXPERIMENT=jsonv2 "GOFLAGS=-ldflags=-X=github.com/aquasecurity/trivy/pkg/version/app.ver=$(version_of trivy)" ;;
    grype | syft) echo CGO_ENABLED=0 "GOFLAGS=-ldflags=-X=main.version=$(version_of "$1")" ;;
    # Checking rules needs no cloud's service discovery, which is most of it.
    promtool) echo CGO_ENABLED=0 GOFLAGS=-tags=remove_all_sd ;;
    *) echo CGO_ENABLED=0 ;;
  esac
}

fail() {
  echo "tools: $*" >&2
  exit 1
}

# The hash names everything that decides the binary: pins, this script's flags, the platform.
stamp_of() {
  { cat "$here/$1/go.mod" "$here/$1/go.sum"; settings_of "$1"; uname -sm; } | sha256sum | cut -c1-32
}

compile() {
  local name=$1 target=$2 package
  command -v go >/dev/null || fail "building $name needs Go (https://go.dev/dl/); there is no 'go' in PATH"
  package=$(sed -n 's/^tool //p' "$here/$name/go.mod")
  [ -n "$package" ] || fail "$name/go.mod has no 'tool' directive"
  echo "tools: building $name ($package)" >&2
  (cd "$here/$name" && env $(settings_of "$name") go build -mod=readonly -trimpath -o "$target" "$package")
}

provide() {
  local name=$1 stamp kept
  [ -f "$here/$name/go.sum" ] || fail "$name has no go.sum"
  stamp=$(stamp_of "$name")
  if [ -x "$bin/$name" ] && [ "$(cat "$stamps/$name" 2>/dev/null)" = "$stamp" ]; then
    return
  fi
  kept=$cache/$stamp/$name
  if [ ! -x "$kept" ]; then
    mkdir -p "$cache/$stamp"
    compile "$name" "$kept.partial.$$"
    mv "$kept.partial.$$" "$kept"
  fi
  # A link costs nothing; across file systems it has to be a copy. Renamed into place either way,
  # so that a tool that runs at this moment keeps its file.
  rm -f "$bin/.$name.$$"
  ln "$kept" "$bin/.$name.$$" 2>/dev/null || cp "$kept" "$bin/.$name.$$"
  mv -f "$bin/.$name.$$" "$bin/$name"
  echo "$stamp" >"$stamps/$name"
}

mkdir -p "$bin" "$stamps"
if [ "${1:-}" = --one ]; then
  provide "$2"
  exit
fi
wanted=("$@")
[ ${#wanted[@]} -gt 0 ] || wanted=("${order[@]}")
for name in "${wanted[@]}"; do
  [ -f "$here/$name/go.mod" ] || fail "no such tool: $name (there are: ${order[*]})"
done
# Two at a time: one links while the other compiles. In the order of use, whatever ends first.
printf '%s\n' "${wanted[@]}" | xargs -P 2 -n 1 bash "$0" --one
