#!/bin/sh
# Installs libvpx (VP8, VP9) as a static library: distributions have it shared, or too old, and the addon must not need
# it where it runs. Untried, like the workflow that runs it.
set -eu
git clone --quiet --depth 1 --branch "v$LIBVPX" https://github.com/webmproject/libvpx /tmp/libvpx
cd /tmp/libvpx
./configure --prefix="$1" --enable-pic --disable-shared --disable-examples --disable-tools --disable-docs \
  --disable-unit-tests
make -j 4 install
