#!/usr/bin/env bash
# Fetches the libraries of the report from npm. Run by go generate.
set -euo pipefail
cd "$(dirname "$0")"

D3=7.9.0
PLOT=0.6.17
AXE=4.14.1

tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT

# take PACKAGE VERSION: unpacks a release into $tmp/package.
take() {
  rm -rf "$tmp/package"
  tar -xzf "$tmp/$(cd "$tmp" && npm pack --silent "$1@$2")" -C "$tmp"
}

take d3 $D3
cp "$tmp/package/dist/d3.min.js" .
cp "$tmp/package/LICENSE" d3.LICENSE
take @observablehq/plot $PLOT
cp "$tmp/package/dist/plot.umd.min.js" .
cp "$tmp/package/LICENSE" plot.LICENSE
take axe-core $AXE
cp "$tmp/package/axe.min.js" ../testdata/
cp "$tmp/package/LICENSE" ../testdata/axe.LICENSE

sha256sum d3.min.js plot.umd.min.js
