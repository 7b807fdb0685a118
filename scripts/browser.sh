#!/bin/sh
# Sees to it that the page can be tested: a Chromium and a font with Chinese characters. Silent when both are there,
# installs them where it may (root on Debian and its kin), else says which tests will not run. With CI=true that is a failure.
set -u

browser() { command -v chromium || command -v google-chrome; }
font() { [ "$(uname)" = Darwin ] || fc-list :lang=zh family | grep .; } # macOS has its own
ready() { browser && font; }

ready > /dev/null 2>&1 && exit 0

if [ "$(id -u)" = 0 ] && command -v apt-get > /dev/null; then
    echo "installing chromium and fonts-noto-cjk for the tests of the page" >&2
    export DEBIAN_FRONTEND=noninteractive
    { apt-get update && apt-get install --yes --no-install-recommends chromium fontconfig fonts-noto-cjk; } >&2
    ready > /dev/null 2>&1 && exit 0
fi

browser > /dev/null 2>&1 && lacks="a font with Chinese characters (缺少中文字体)" || lacks="Chromium (缺少浏览器)"
cat >&2 << END
tests/test_web.py will not run (不会运行): $lacks
  Debian, Ubuntu:  sudo apt-get install chromium fontconfig fonts-noto-cjk
  macOS:           brew install --cask chromium
END
[ "${CI:-}" != true ]
