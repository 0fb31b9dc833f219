"""Following runs live: `watch` of a run and of an experiment, with and without a terminal; `runs`; the progress of `compare`."""

import fcntl
import os
import pty
import re
import struct
import subprocess
import termios
import time

from common import INTERRUPT, PROGRAM, STOP, Workspace, check

COMPARE = """\
compare:
  seeds: [1]
  baseline: dense
  arms:
    dense: {set: {depth: {kind: dense}}}
    mod: {}
"""


def wait_for(path):
    deadline = time.time() + 120
    while not os.path.exists(path) and time.time() < deadline:
        time.sleep(0.01)
    check(os.path.exists(path), path + " did not appear")


def watch_in_terminal(folder, columns):
    """What `watch` writes to a terminal of this width."""
    mine, its = pty.openpty()
    fcntl.ioctl(its, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
    process = subprocess.Popen([PROGRAM, "watch", folder], stdin=its, stdout=its, stderr=its, env={**os.environ, "TERM": "xterm"})
    os.close(its)
    written = b""
    while True:
        try:
            piece = os.read(mine, 65536)
        except OSError:  # the terminal's other side is closed
            break
        if not piece:
            break
        written += piece
    os.close(mine)
    check(process.wait(timeout=60) == 0, "watch in a terminal ended with %s" % process.returncode)
    return written.decode(errors="replace")


with Workspace() as space:
    # Where there is nothing to follow.
    os.makedirs(space.path("runs/empty"))
    _, err = space.run("watch", space.path("runs/empty"), expect=3)
    check("there are no runs in" in err, err)
    _, err = space.run("watch", space.path("nowhere"), expect=3)
    check("is no folder" in err, err)

    # A run: Ctrl-C ends the watching alone; another watch sees the run end.
    training = space.start("train", space.config, "name=long", "train.budget=100000step", "eval.every=200step")
    wait_for(space.path("runs/long/metrics.jsonl"))
    follower = space.start("watch", space.path("runs/long"), "--interval", "0.2")
    lines = [follower.stdout.readline() for _ in range(3)]
    check(all("long: running" in line for line in lines) and "/100000 " in lines[2], "%s" % lines)
    follower.send_signal(INTERRUPT)
    _, err = follower.communicate(timeout=60)
    check(follower.returncode == 130 and "stopped watching" in err, "%s %s" % (follower.returncode, err))
    check(training.poll() is None, "Ctrl-C on watch ended the training")
    follower = space.start("watch", space.path("runs/long"), "--interval", "1000")
    check("running" in follower.stdout.readline(), "no line at first")
    training.send_signal(STOP)
    out, err = follower.communicate(timeout=120)
    training.communicate(timeout=60)
    check(follower.returncode == 0 and "nothing is running" in err, "%s %s" % (follower.returncode, err))
    check(re.search(r"^  \S+long +stopped +\d+/100000 ", out, re.M), out)

    # An experiment, from its first run to its report: on a terminal the table is drawn again in place, cut to its width.
    experiment = space.path("experiment.yaml")
    with open(space.config) as file, open(experiment, "w") as copy:
        copy.write(file.read() + COMPARE)
    comparison = space.start("compare", experiment, "name=pair", "train.budget=200step", "eval.every=50step")
    wait_for(space.path("runs/pair/experiment.yaml"))
    follower = space.start("watch", space.path("runs/pair"))
    screen = watch_in_terminal(space.path("runs/pair"), 60)
    out, _ = follower.communicate(timeout=120)
    _, err = comparison.communicate(timeout=120)
    check(comparison.returncode == 0 and follower.returncode == 0, "%s %s\n%s" % (comparison.returncode, follower.returncode, err))
    check("pair: 0 of 2 runs finished" in out and out.rstrip().count("2 of 2 runs finished") >= 2, out)
    check(re.search(r"^  mod/seed-1 +finished +200/200 +100 % ", out, re.M) and "causal loss" in out, out)
    live, _, final = screen.partition("nothing is running in")
    check("not started" in live and "\x1b[3A" in live and final.count("finished  200/200") == 2, screen)
    widest = max(len(re.sub(r"\x1b\[[^A-Za-z]*[A-Za-z]", "", line).rstrip("\r")) for part in live.split("\r") for line in part.split("\n"))
    check(40 < widest < 60, "a live line of %d characters:\n%s" % (widest, screen))

    # compare counts validations and says that decoding follows, and how far it is.
    shares = [int(share) for share in re.findall(r"all runs (\d+) %", err)]
    check(len(shares) >= 4 and shares == sorted(shares) and max(shares) < 100 and "then decoding" in err, err)
    check(re.search(r"decoding 1 at a time: round 2 of 6, dense \| eta at most ", err) and "decoding 16 at a time: round 2 of 6, dense | eta " in err, err)

    # runs lists experiments; a folder of runs that is taken for one is answered with them.
    out, _ = space.run("runs", space.path("runs"))
    check(out.index("  long") < out.index("pair: 2 of 2 runs finished") < out.index("  pair/dense/seed-1"), out)
    for command, code in (("inspect", 2), ("generate", 4)):
        _, err = space.run(command, space.path("runs/pair"), expect=code)
        check("pair/dense/seed-1" in err and "isobath runs" in err, err)

print("ok")
