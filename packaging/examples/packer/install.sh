#!/bin/sh
# Installs the agent in a box that becomes an image. Run by Packer, as the image's own account.
set -eu

: "${PACKAGE_URL:?is not set}" "${PACKAGE_SHA256:?is not set}"
# What this box is still doing to itself would be half done in the image.
cloud-init status --wait >/dev/null || true

file=/var/tmp/fleetkey-agent.deb
python3 -c 'import shutil, sys, urllib.request
with urllib.request.urlopen(sys.argv[1], timeout=30) as answer, open(sys.argv[2], "wb") as file:
    shutil.copyfileobj(answer, file)' "$PACKAGE_URL" "$file"
echo "$PACKAGE_SHA256  $file" | sha256sum --check --status || {
    echo 'the package is not what its SHA-256 says' >&2
    exit 1
}
sudo env DEBIAN_FRONTEND=noninteractive apt-get --yes --no-install-recommends -o DPkg::Lock::Timeout=300 install "$file"
rm "$file"

# The image has the agent, and none of its state.
sudo systemctl stop fleetkey-agent.service
sudo rm -rf /var/lib/fleetkey
sudo cloud-init clean --logs
# A box that finds it empty makes one of its own.
sudo truncate --size=0 /etc/machine-id
