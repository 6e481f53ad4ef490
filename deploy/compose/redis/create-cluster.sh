#!/bin/sh
# Makes one cluster of the nodes given, HOST:PORT each, with a replica for each primary; does nothing when it is made.
set -eu

state() { redis-cli -h "${1%:*}" -p "${1##*:}" cluster info | grep -q '^cluster_state:ok'; }

if state "$1"; then
    echo "the cluster is there"
    exit 0
fi
# Nodes meet each other by address, not by name.
addresses=
for node in "$@"; do
    address=$(getent ahostsv4 "${node%:*}" | awk 'NR == 1 { print $1 }')
    addresses="$addresses $address:${node##*:}"
done
# shellcheck disable=SC2086 # words, each an address
redis-cli --cluster create $addresses --cluster-replicas 1 --cluster-yes

# Every node has to know it before somebody is sent there.
for node in "$@"; do
    tries=0
    until state "$node"; do
        tries=$((tries + 1))
        if [ "$tries" -gt 300 ]; then
            echo "$node does not join the cluster" >&2
            exit 1
        fi
        sleep 0.1
    done
done
