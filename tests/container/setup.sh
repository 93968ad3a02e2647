#!/usr/bin/env bash
# Installs what the container tests need on a bare Debian or Ubuntu machine. Installs nothing that is there.
set -euo pipefail

# catatonit is podman's `--init`; netavark, aardvark-dns and iptables make its bridges and published ports.
wanted=()
for package in podman buildah runc catatonit netavark aardvark-dns iptables debootstrap; do
  dpkg-query --show --showformat='${db:Status-Status}' "$package" 2>/dev/null | grep -qx installed || wanted+=("$package")
done
[ ${#wanted[@]} -eq 0 ] && exit 0

if [ "$(id -u)" -ne 0 ]; then
  echo "Not root: cannot install ${wanted[*]}; the container tests will be skipped." >&2
  exit 0
fi
apt-get update -qq
DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "${wanted[@]}" >/dev/null
