#!/bin/sh
# Sees to it that the page can be tested: a Chromium, a font with Chinese characters, and on Linux the one library that
# playwright's driver needs beyond a bare system. Silent when all are there, installs what lacks where it may (root on Debian
# and its kin), else says which tests will not run. With CI=true that is a failure.
set -u

lacking() { # as packages of Debian
    command -v chromium || command -v google-chrome || echo chromium >&3
    [ "$(uname)" = Darwin ] && return # has such fonts and needs no such library
    fc-list :lang=zh family | grep -q . || echo fontconfig fonts-noto-cjk >&3
    PATH=$PATH:/usr/sbin:/sbin ldconfig -p | grep -q 'libatomic\.so\.1' || echo libatomic1 >&3
}
lacks=$(lacking 3>&1 > /dev/null 2>&1)
[ -z "$lacks" ] && exit 0

if [ "$(id -u)" = 0 ] && command -v apt-get > /dev/null; then
    export DEBIAN_FRONTEND=noninteractive
    # shellcheck disable=SC2086  # a list of words
    { echo "installing" $lacks; apt-get update && apt-get install --yes --no-install-recommends $lacks; } >&2
    lacks=$(lacking 3>&1 > /dev/null 2>&1)
    [ -z "$lacks" ] && exit 0
fi

# shellcheck disable=SC2086
cat >&2 << END
the tests of the pages (tests/pages) will not run; lacking (不会运行，缺少): $(echo $lacks)
  Debian, Ubuntu:  sudo apt-get install $(echo $lacks)
  macOS:           brew install --cask chromium
END
[ "${CI:-}" != true ]
