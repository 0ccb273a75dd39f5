#!/bin/sh
# Installs the agent on a box that boots for the first time. cloud-init runs this from user-data as the first of
# `runcmd`; the lines above it set fleetkey_url, fleetkey_sha256 and fleetkey_format. It ends the run when it fails, so
# that cloud-init tells an error and nothing of the role is done on a box that nobody keeps; whoever launched the box
# can log in all the same, with the key that cloud-init has put there.
# shellcheck disable=SC2154 # they are set above it

fleetkey_fail() {
    echo "fleetkey: the agent is NOT installed: $1" >&2
    exit 1
}

# One attempt, by what the image has; every cloud-init runs in Python.
fleetkey_fetch() {
    if command -v curl >/dev/null; then
        curl --fail --silent --show-error --location --connect-timeout 10 --max-time 300 \
            --output "$fleetkey_file" "$fleetkey_url"
    elif command -v wget >/dev/null; then
        # Quiet, since it says the URL, signature and all, and this is written down and shown on the console.
        wget --quiet --tries=1 --timeout=30 --output-document="$fleetkey_file" "$fleetkey_url"
    else
        python3 -c 'import shutil, sys, urllib.request
with urllib.request.urlopen(sys.argv[1], timeout=30) as answer, open(sys.argv[2], "wb") as file:
    shutil.copyfileobj(answer, file)' "$fleetkey_url" "$fleetkey_file"
    fi
}

fleetkey_folder=$(mktemp -d) || fleetkey_fail 'there is no temporary folder'
trap 'rm -rf "$fleetkey_folder"' EXIT
fleetkey_file=$fleetkey_folder/fleetkey-agent.$fleetkey_format

fleetkey_attempt=1
until fleetkey_fetch; do
    [ "$fleetkey_attempt" -lt 10 ] || fleetkey_fail "it cannot be fetched; is the URL still good? ${fleetkey_url%%\?*}"
    fleetkey_attempt=$((fleetkey_attempt + 1))
    sleep 5
done

echo "$fleetkey_sha256  $fleetkey_file" | sha256sum --check --status ||
    fleetkey_fail "what was fetched has the SHA-256 $(sha256sum <"$fleetkey_file" | cut -c1-64), not $fleetkey_sha256"

# An image of a box has the agent already: the same or a newer one stays. agent.toml, which is this box's own and was
# written before, is kept as it is.
if [ "$fleetkey_format" = deb ]; then
    fleetkey_here=$(dpkg-query --show --showformat='${db:Status-Status} ${Version}' fleetkey-agent 2>/dev/null)
    fleetkey_offered=$(dpkg-deb --field "$fleetkey_file" Version) || fleetkey_fail 'the file is no Debian package'
    if [ "${fleetkey_here%% *}" != installed ] ||
        dpkg --compare-versions "${fleetkey_here#* }" lt "$fleetkey_offered"; then
        # Others may be installing at the same time.
        DEBIAN_FRONTEND=noninteractive apt-get --yes --quiet --no-install-recommends -o DPkg::Lock::Timeout=300 \
            -o Dpkg::Options::=--force-confold install "$fleetkey_file" </dev/null || fleetkey_fail 'apt-get failed'
    fi
else
    fleetkey_here=$(rpm --query --queryformat '%{VERSION}-%{RELEASE}' fleetkey-agent 2>/dev/null)
    fleetkey_offered=$(rpm --query --package --queryformat '%{VERSION}-%{RELEASE}' "$fleetkey_file") ||
        fleetkey_fail 'the file is no RPM package'
    if [ "$fleetkey_here" != "$fleetkey_offered" ]; then
        # Only this file: no repository is asked, so none can hold it up.
        "$(command -v dnf || command -v yum)" --assumeyes --quiet --disablerepo='*' install "$fleetkey_file" ||
            fleetkey_fail 'dnf failed'
    fi
fi

# On a box made from an image it may run already.
systemctl enable --quiet fleetkey-agent.service || fleetkey_fail 'its service cannot be enabled'
if ! systemctl reload-or-restart fleetkey-agent.service || ! systemctl is-active --quiet fleetkey-agent.service; then
    fleetkey_fail 'it is there, but its service does not start: see journalctl -u fleetkey-agent'
fi
rm -rf "$fleetkey_folder"
trap - EXIT
echo 'fleetkey: the agent is installed and runs'
