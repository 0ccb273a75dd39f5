#!/bin/sh
# Prints the box's public host keys on its console, as cloud-init itself does at the first boot alone: whoever has not
# reached a box before it was stopped learns its keys all the same. cloud-init runs this near the end of every boot,
# after it has made the keys of a box that is new. One write, so that nothing of the kernel's comes in between.

keys=$(cat /etc/ssh/ssh_host_*_key.pub) || exit 1
printf '%s\n' '-----BEGIN SSH HOST KEY KEYS-----' "$keys" '-----END SSH HOST KEY KEYS-----' >/dev/console
