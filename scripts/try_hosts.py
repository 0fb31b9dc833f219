"""The checks of try_hosts.sh, which has made the hosts: namespaces PREFIX-host0 to -host3, whose links lead to port0 to port3 of
PREFIX-switch. Usage: try_hosts.py PROGRAM PREFIX"""

import os
import re
import signal
import subprocess
import sys
import time

PROGRAM, PREFIX = sys.argv[1:]
sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "tests", "e2e"))
from common import KILL, STOP, Workspace  # noqa: E402

LOST, STOPPED, TIMEOUT, GRACE = 8, 143, 5, 2
ADDRESS, PORT = "10.77.0.%d", "29500"
STEPS = 80
CUT_AT = (35, 30)  # when host 0 is lost, and any other: in between checkpoints, and while one is saved
KEYS = ["parallel.timeout=%ds" % TIMEOUT, "train.budget=%dstep" % STEPS, "train.log_every=5step"]
DIVIDED = ["parallel.shard=optimizer"]
results, started = [], []


def command(*words):
    return subprocess.run(words, check=True, stdout=subprocess.PIPE, text=True).stdout


def host(rank):
    return "%s-host%d" % (PREFIX, rank)


def port(rank, state):
    """The switch's end of a link: the host itself does not see that it is cut."""
    command("ip", "-n", PREFIX + "-switch", "link", "set", "port%d" % rank, state)


def own_end(rank, state):
    """The host's own end: whoever sends something there is told that there is no network."""
    command("ip", "-n", host(rank), "link", "set", "eth0", state)


def result(good, what, seconds, detail=""):
    results.append("%-6s %6.1f s  %s%s" % ("ok" if good else "FAILED", seconds, what, ": " + detail if detail else ""))
    print(results[-1], flush=True)


class Run:
    """One rank on each of the hosts 0 to count - 1."""

    def __init__(self, space, count, name, keys):
        self.space, self.name, self.begin, self.processes, self.files = space, name, time.monotonic(), [], []
        for rank in range(count):
            variables = {"RANK": str(rank), "WORLD_SIZE": str(count), "LOCAL_RANK": "0", "MASTER_ADDR": ADDRESS % 1, "MASTER_PORT": PORT}
            as_host = ["ip", "netns", "exec", host(rank), "unshare", "--uts", "sh", "-c", 'hostname "$0" && exec "$@"', "host%d" % rank]
            self.files.append(open(space.path("rank%d.txt" % rank), "w+", errors="replace"))
            self.processes.append(subprocess.Popen(as_host + [PROGRAM, "train", space.config, "name=" + name, *KEYS, *keys],
                                                   env={**os.environ, **variables}, stdout=subprocess.DEVNULL, stderr=self.files[-1]))
            started.append(self.processes[-1])

    def wait_for_step(self, step):
        while all(process.poll() is None for process in self.processes) and time.monotonic() - self.begin < 60:
            if any(record["kind"] == "train" and record["step"] >= step for record in self.space.metrics(self.name)):
                return
            time.sleep(0.005)

    def wait(self, limit):
        """Fills codes and seconds (when each rank ended, from now). Ranks that still run after `limit` seconds have the code None."""
        start = time.monotonic()
        self.codes, self.seconds = [None] * len(self.processes), [limit] * len(self.processes)
        while None in self.codes and time.monotonic() - start < limit:
            for rank, process in enumerate(self.processes):
                if self.codes[rank] is None and process.poll() is not None:
                    self.codes[rank], self.seconds[rank] = process.returncode, time.monotonic() - start
            time.sleep(0.005)
        for process in self.processes:
            process.kill()
            process.wait()
        for file in self.files:
            file.seek(0)
        self.said = [file.read() for file in self.files]
        for file in self.files:
            file.close()
        return self

    def show(self, lines=6):
        for rank, said in enumerate(self.said):
            print("    rank %d: exit code %s after %.2f s" % (rank, self.codes[rank], self.seconds[rank]))
            print("".join("      | %s\n" % line for line in said.rstrip().split("\n")[-lines:]), end="", flush=True)


def accused(said):
    """The ranks that a rank's errors name, not counting itself at the beginning of a line."""
    errors = re.findall(r"^error: (?:rank \d+ \([^)]*\): )?(.*)$", said, re.MULTILINE)
    return {name for error in errors for name in re.findall(r"rank \d+ \(host \w+", error)}


def weights(space, name):
    return [space.content("runs", name, "latest", file) for file in ("model.safetensors", "optimizer.safetensors")]


def price(space, name):
    """Step time, and how much of it is waiting for the other ranks."""
    records = space.metrics(name)
    median = [record["step_time_s_median"] for record in records if record["kind"] == "end"][-1]
    waited = [record.get("communication_wait_s", 0) for record in records if record["kind"] == "train"][-1]
    return "%.1f ms a step (median), communication_wait_s %.2f = %.1f ms a step" % (1e3 * median, waited, 1e3 * waited / STEPS)


def losses(space, name):
    return [record["loss_causal"] for record in space.metrics(name) if record["kind"] == "validation"]


def whole_links(space, count, name, keys):
    """Training on undisturbed hosts, against one process."""
    run = Run(space, count, name, keys).wait(120)
    good, detail = run.codes == [0] * count, "exit codes %s" % run.codes
    if good:
        one, these = losses(space, "one"), losses(space, name)
        far = max(abs(a - b) for a, b in zip(one, these)) if len(one) == len(these) else float("inf")
        same = weights(space, name)[0] == weights(space, "one")[0]
        good = far < 1e-3 and (same or count != 2)
        detail = "%s; weights %s one process, losses within %.1e of its" % (price(space, name), "those of" if same else "differ from", far)
    result(good, "%d hosts%s" % (count, ", optimizer divided" if keys else ""), max(run.seconds), detail)
    if not good:
        run.show()


def resume(space, count, name, keys, undisturbed, what):
    """The same command once more, on whole links."""
    newest = int(space.checkpoints(name)[-1].split("-")[1])
    run = Run(space, count, name, keys).wait(120)
    found = re.search(r"resuming \S+ at step (\d+)", run.said[0])
    same = run.codes == [0] * count and weights(space, name) == weights(space, undisturbed)
    good = same and found is not None and int(found[1]) == newest
    result(good, what + ", then the same command", max(run.seconds),
           "exit codes %s, newest checkpoint %d, resumed at %s, %s weights as undisturbed" % (
               run.codes, newest, found and found[1], "the same" if same else "NOT the same"))
    if not good:
        run.show()


def disturbed(space, count, lost, keys, undisturbed, what, disturb, restore):
    """A host is lost: all end in time, and those that are left name its rank."""
    name = re.sub(r"\W+", "-", what)
    run = Run(space, count, name, keys)
    run.wait_for_step(CUT_AT[lost > 0])
    dead = disturb(lost, run)
    run.wait(TIMEOUT + 30)
    restore(lost)
    remain = [rank for rank in range(count) if rank != lost]
    must_end = remain if dead else range(count)
    codes = all(run.codes[rank] == LOST for rank in must_end)
    slowest = max(run.seconds[rank] for rank in must_end)
    names = [accused(run.said[rank]) for rank in remain]
    named = all(found == {"rank %d (host host%d" % (lost, lost)} for found in names)
    good = codes and slowest <= TIMEOUT + GRACE and named
    result(good, what, slowest, "exit codes %s, the others %s" % (run.codes, "name rank %d" % lost if named else "name %s" % names))
    run.show(lines=6 if not good else 1)
    resume(space, count, name, keys, undisturbed, what)


def cut(rank, _):
    port(rank, "down")
    return False


def unplug(rank, _):
    own_end(rank, "down")
    return False


def die(rank, run):
    """First the link, so that the kernel's farewell to the connections does not get out, as when the power is gone."""
    port(rank, "down")
    for process in command("ip", "netns", "pids", host(rank)).split():
        os.kill(int(process), KILL)
    return True


def plug_in(rank):
    port(rank, "up")


def cut_shortly(space, count, lost, keys, undisturbed):
    """A link is back long before the timeout: nobody minds."""
    what = "link of host %d of %d cut for 1 s" % (lost, count)
    name = re.sub(r"\W+", "-", what)
    run = Run(space, count, name, keys)
    run.wait_for_step(CUT_AT[lost > 0])
    port(lost, "down")
    time.sleep(1)
    port(lost, "up")
    run.wait(120)
    good = run.codes == [0] * count and weights(space, name) == weights(space, undisturbed)
    result(good, what, max(run.seconds), "exit codes %s, %s weights as undisturbed" % (run.codes, "the same" if good else "not the same"))
    if not good:
        run.show()


def terminated(space, count, rank, keys, undisturbed):
    """SIGTERM to one rank stops all of them, at one checkpoint."""
    what = "SIGTERM to rank %d of %d" % (rank, count)
    name = re.sub(r"\W+", "-", what)
    run = Run(space, count, name, keys)
    run.wait_for_step(CUT_AT[rank > 0])
    run.processes[rank].send_signal(STOP)
    run.wait(TIMEOUT + 30)
    saved = [said.count("; saved ") for said in run.said]
    good = run.codes == [STOPPED] * count and sum(saved) == 1 and max(run.seconds) <= TIMEOUT + GRACE
    result(good, what, max(run.seconds), "exit codes %s, %d checkpoint saved, the newest %s" % (
        run.codes, sum(saved), space.checkpoints(name)[-1]))
    if not good:
        run.show()
    resume(space, count, name, keys, undisturbed, what)


def give_up(*_):
    """Ends the ranks, which would write on, before the folder is removed."""
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    for process in started:
        process.kill()
        process.wait()
    sys.exit(STOPPED)


def round_trip():
    """Milliseconds from host 1 to host 0 and back: a connection that is refused takes just that."""
    script = """if True:
        import socket, time
        best = 9e9
        for _ in range(8):
            start = time.monotonic()
            socket.socket().connect_ex(("%s", 9))
            best = min(best, time.monotonic() - start)
        print(best * 1000)""" % (ADDRESS % 1)
    return float(command("ip", "netns", "exec", host(1), sys.executable, "-c", script))


signal.signal(signal.SIGTERM, give_up)
with Workspace() as space:
    print("a round trip between two hosts takes %.1f ms" % round_trip())
    start = time.monotonic()
    space.train("name=one", *KEYS)
    result(True, "one process, two micro-batches", time.monotonic() - start, price(space, "one"))
    whole_links(space, 2, "two", [])
    whole_links(space, 4, "four", [])
    whole_links(space, 4, "four-divided", DIVIDED)
    cut_shortly(space, 4, 0, DIVIDED, "four-divided")
    for count, undisturbed, keys in ((2, "two", []), (4, "four-divided", DIVIDED)):
        for lost in (1, 0):
            disturbed(space, count, lost, keys, undisturbed, "link of host %d of %d cut" % (lost, count), cut, plug_in)
    disturbed(space, 4, 1, DIVIDED, "four-divided", "network card of host 1 of 4 off", unplug, lambda rank: own_end(rank, "up"))
    for lost in (1, 0):
        disturbed(space, 4, lost, DIVIDED, "four-divided", "host %d of 4 dead" % lost, die, plug_in)
    terminated(space, 2, 1, [], "two")
    terminated(space, 4, 3, DIVIDED, "four-divided")
print("\n" + "\n".join(results))
bad = sum(line.startswith("FAILED") for line in results)
print("try_hosts.sh: %s" % ("%d of %d checks failed" % (bad, len(results)) if bad else "all %d checks passed" % len(results)))
sys.exit(1 if bad else 0)
