#!/bin/sh
# Installs Debian's Chromium, in which the tests of the explain page run, and a font for it to draw with. Needs root.
set -eu

fail() {
  echo "install-chromium: $1" >&2
  exit 1
}

[ "$(id -u)" = 0 ] || fail "only root can install packages"
export DEBIAN_FRONTEND=noninteractive
apt-get update || fail "the package lists could not be fetched"
apt-get install -y --no-install-recommends chromium fonts-dejavu-core || fail "chromium could not be installed"
chromium --version || fail "chromium is installed, but does not start"
