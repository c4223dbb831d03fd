#!/bin/sh
# Installs Mesa's lavapipe (a Vulkan driver that computes on the processor) on Debian 12, for CI and for machines without a GPU.
# Debian 12's own Mesa is too old for Dawn, so it comes from bookworm-backports. The mirror is the one the system uses already: a second
# .sources file is derived from the system's own, with its URIs and its key. Needs root. ROOT is for tests: where /etc and /usr are.
set -eu

root="${ROOT:-}"
release=bookworm
suite="$release-backports"
lists="$root/etc/apt/sources.list.d"
derived="$lists/tokenloom-$suite.sources"

fail() {
  echo "install-lavapipe: $1" >&2
  exit 1
}

[ -r "$root/etc/os-release" ] || fail "this is no Debian: /etc/os-release is missing"
codename=$(. "$root/etc/os-release" && echo "${VERSION_CODENAME:-unknown}")
[ "$codename" = "$release" ] ||
  fail "this is for Debian 12 ($release), not $codename; elsewhere the system's own mesa-vulkan-drivers may do"
[ -n "$root" ] || [ "$(id -u)" = 0 ] || fail "only root can install packages"

# The first stanza of a deb822 file that gives binary packages of the release proper, as: URIs, a line break, its Signed-By line.
stanza() {
  awk -v RS= -v release="$release" '
    /(^|\n)Enabled: *no/ { next }
    /(^|\n)Types: *([a-z-]+ )*deb( |\n|$)/ {
      uris = ""; signed = ""; suites = ""
      count = split($0, lines, "\n")
      for (i = 1; i <= count; i++) {
        if (lines[i] ~ /^URIs:/) uris = lines[i]
        if (lines[i] ~ /^Signed-By:/) {
          signed = lines[i]
          # A key may be written out, on lines that begin with a space.
          while (i < count && lines[i + 1] ~ /^ /) signed = signed "\n" lines[++i]
        }
        if (lines[i] ~ /^Suites:/) suites = " " substr(lines[i], 8) " "
      }
      if (uris != "" && index(suites, " " release " ") > 0) {
        print uris
        if (signed != "") print signed
        exit
      }
    }' "$1"
}

# The same from a line of the older format: deb [signed-by=KEY] URI release main
line() {
  awk -v release="$release" '
    $1 == "deb" {
      uri = 2; key = ""
      if ($2 ~ /^\[/) {
        for (; uri <= NF; uri++) {
          part = $uri; gsub(/[][]/, "", part)
          if (part ~ /^signed-by=/) key = substr(part, 11)
          if ($uri ~ /\]$/) { uri++; break }
        }
      }
      if ($(uri + 1) == release) {
        print "URIs: " $uri
        if (key != "") print "Signed-By: " key
        exit
      }
    }' "$1"
}

has_backports() {
  for file in "$root/etc/apt/sources.list" "$lists"/*.list "$lists"/*.sources; do
    if [ -r "$file" ] && grep -v '^ *#' "$file" | grep -q -w -e "$suite"; then return 0; fi
  done
  return 1
}

if ! has_backports; then
  found=""
  for file in "$lists"/*.sources; do
    [ -z "$found" ] && [ -r "$file" ] && found=$(stanza "$file")
  done
  for file in "$root/etc/apt/sources.list" "$lists"/*.list; do
    [ -z "$found" ] && [ -r "$file" ] && found=$(line "$file")
  done
  [ -n "$found" ] || fail "no package source of $release found to derive $suite from"
  printf 'Types: deb\n%s\nSuites: %s\nComponents: main\n' "$found" "$suite" >"$derived" || fail "cannot write $derived"
  echo "install-lavapipe: wrote $derived"
fi

export DEBIAN_FRONTEND=noninteractive
apt-get update || fail "the package lists could not be fetched"
apt-get install -y --no-install-recommends -t "$suite" mesa-vulkan-drivers libvulkan1 ||
  fail "mesa-vulkan-drivers could not be installed from $suite"
for icd in "$root"/usr/share/vulkan/icd.d/lvp_icd*.json; do
  [ -r "$icd" ] && echo "install-lavapipe: $icd" && exit 0
done
fail "the packages are installed, but lavapipe's driver file is not there"
