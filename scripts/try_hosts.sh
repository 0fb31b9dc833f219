#!/usr/bin/env bash
# Trains on 2 and 4 hosts that are network namespaces of this machine: each has an address and a link of its own, with delay and a limited
# rate, to a switch (a bridge in one more namespace, so that nothing of this machine's own network is touched). try_hosts.py then looks at
# whole links, links that are cut, a host that dies, and SIGTERM to one rank. The hosts share the file system, as a cluster's do.
#
#   scripts/try_hosts.sh [PROGRAM]      default: build/isobath
#   DELAY=1 RATE=1gbit                  in the environment: milliseconds that each link takes in each direction, and its rate
#
# Needs root, ip, tc and python3; otherwise it says SKIPPED and ends with 77. Where the kernel has no netem, tbf limits the rate and a
# small program between the hosts and the switch delays the packets. Prints one line a check; ends with 1 if one of them failed.
set -euo pipefail
root=$(cd "$(dirname "$0")/.." && pwd)
program=$(realpath -m "${1:-$root/build/isobath}")
delay=${DELAY:-1} rate=${RATE:-1gbit} hosts=4
prefix=isobath-$$ switch=isobath-$$-switch checks=

skip() { echo "SKIPPED: $*"; exit 77; }
[[ -x $program && -f $program ]] || { echo "try_hosts.sh: $program is no program; build it, or name another one" >&2; exit 2; }
[[ $(id -u) == 0 ]] || skip "network namespaces need root"
for tool in ip tc python3 unshare; do
  command -v $tool >/dev/null || skip "$tool is missing (Debian: apt-get install iproute2 python3 util-linux)"
done

clean_up() {
  trap '' INT TERM
  [[ -z $checks ]] || { kill -TERM "$checks" 2>/dev/null && wait "$checks"; } || true
  local space pids
  for space in $(ip netns list | awk -v prefix="$prefix-" 'index($1, prefix) == 1 { print $1 }'); do
    pids=$(ip netns pids "$space")
    [[ -z $pids ]] || kill -KILL $pids 2>/dev/null || true
    ip netns delete "$space"
  done
}
trap clean_up EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

problem=$(ip netns add $switch 2>&1) || skip "cannot make network namespaces: $problem"
problem=$(ip -n $switch link add bridge type bridge 2>&1) || skip "cannot make a bridge: $problem"
ip -n $switch link set bridge up
for ((host = 0; host < hosts; ++host)); do
  ip netns add $prefix-host$host
  ip -n $prefix-host$host link set lo up
done

# Pairs of devices port0 wire0 port1 wire1 ...: what enters one comes out of the other after the delay.
start_delaying() {
  ip netns exec $switch python3 - "$delay" $hosts <<'PYTHON' &
import collections, fcntl, os, select, struct, sys, time

delay, hosts = float(sys.argv[1]) / 1000, int(sys.argv[2])
set_device, ethernet_frames = 0x400454CA, 0x1002  # TUNSETIFF; IFF_TAP | IFF_NO_PI


def device(name):
    file = os.open("/dev/net/tun", os.O_RDWR | os.O_NONBLOCK)
    fcntl.ioctl(file, set_device, struct.pack("16sH22x", name.encode(), ethernet_frames))
    return file


other_end = {}
for host in range(hosts):
    port, wire = device("port%d" % host), device("wire%d" % host)
    other_end[port], other_end[wire] = wire, port
under_way = collections.deque()  # (when it arrives, where, frame), in order because all take equally long
while True:
    wait = max(0, under_way[0][0] - time.monotonic()) if under_way else None
    for file in select.select(list(other_end), [], [], wait)[0]:
        try:
            under_way.append((time.monotonic() + delay, other_end[file], os.read(file, 65536)))
        except OSError:  # a device that is down
            time.sleep(0.0001)
    while under_way and under_way[0][0] <= time.monotonic():
        _, file, frame = under_way.popleft()
        try:
            os.write(file, frame)
        except OSError:  # down, or full: the packet is lost
            pass
PYTHON
  for ((host = 0; host < hosts; ++host)); do
    for ((tries = 0; tries < 100; ++tries)); do
      ip -n $switch link show wire$host >/dev/null 2>&1 && break
      sleep 0.05
    done
    ip -n $switch link set wire$host netns $prefix-host$host name eth0
  done
}

if tc -n $switch qdisc add dev lo root netem delay 1ms 2>/dev/null; then
  shape="netem delay ${delay}ms rate $rate"
  for ((host = 0; host < hosts; ++host)); do
    problem=$(ip -n $switch link add port$host type veth peer name eth0 netns $prefix-host$host 2>&1) || skip "cannot make veth: $problem"
  done
else
  [[ -c /dev/net/tun ]] || skip "the kernel has neither netem nor /dev/net/tun, so that links cannot be slow"
  echo "This kernel has no netem: tbf limits the rate, a program delays the packets."
  shape="tbf rate $rate burst 1mb latency 50ms"
  start_delaying
fi
for ((host = 0; host < hosts; ++host)); do
  ip -n $switch link set port$host master bridge up
  ip -n $prefix-host$host address add 10.77.0.$((host + 1))/24 dev eth0
  ip -n $prefix-host$host link set eth0 up
  tc -n $switch qdisc add dev port$host root $shape
  tc -n $prefix-host$host qdisc add dev eth0 root $shape
done

python3 "$root/scripts/try_hosts.py" "$program" $prefix &  # not in the foreground, where it would keep signals from this script
checks=$!
code=0
wait $checks || code=$?
checks=
exit $code
