#!/bin/sh
# Checks what the browser tests need: Chromium, a font with Chinese characters, and on Linux libatomic, which playwright's
# driver links to. Prints nothing if all are installed; installs missing packages if it can (root on Debian and its
# derivatives); else prints which tests will not run, which is a failure if CI=true.
set -u

missing_packages() { # prints names of Debian packages on file descriptor 3
    command -v chromium || command -v google-chrome || echo chromium >&3
    [ "$(uname)" = Darwin ] && return # macOS has such fonts and needs no libatomic
    fc-list :lang=zh family | grep -q . || echo fontconfig fonts-noto-cjk >&3
    PATH=$PATH:/usr/sbin:/sbin ldconfig -p | grep -q 'libatomic\.so\.1' || echo libatomic1 >&3
}
missing=$(missing_packages 3>&1 > /dev/null 2>&1)
[ -z "$missing" ] && exit 0

if [ "$(id -u)" = 0 ] && command -v apt-get > /dev/null; then
    export DEBIAN_FRONTEND=noninteractive
    # shellcheck disable=SC2086  # a list of words
    { echo "installing" $missing; apt-get update && apt-get install --yes --no-install-recommends $missing; } >&2
    missing=$(missing_packages 3>&1 > /dev/null 2>&1)
    [ -z "$missing" ] && exit 0
fi

# shellcheck disable=SC2086
cat >&2 << END
tests/pages/ will not run; missing (不会运行，缺少): $(echo $missing)
  Debian, Ubuntu:  sudo apt-get install $(echo $missing)
  macOS:           brew install --cask chromium
END
[ "${CI:-}" != true ]
