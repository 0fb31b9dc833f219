"""Several processes train one run: the same weights as one process, and an end with a name when one of them fails.

ISOBATH_KILLS=30 in the environment kills so many times instead of a few."""

import os
import random
import re
import signal
import socket
import subprocess
import time

from common import KILL, PROGRAM, STOP, Workspace, check

LOST = 8
TIMEOUT = 5
PATIENCE = "parallel.timeout=%ds" % TIMEOUT


def ranks_of(launcher):
    """The processes that `--ranks` has started, by rank."""
    found = {}
    for entry in os.listdir("/proc"):
        if not entry.isdigit():
            continue
        try:
            with open("/proc/%s/stat" % entry) as file:
                parent = int(file.read().rsplit(")", 1)[1].split()[1])
            with open("/proc/%s/environ" % entry) as file:
                rank = re.search("(?:^|\0)RANK=([0-9]+)", file.read())
        except (OSError, IndexError):
            continue
        if parent == launcher.pid and rank:
            found[int(rank[1])] = int(entry)
    return found


def start(space, count, name, *keys):
    return space.start("train", space.config, "--ranks", str(count), "name=" + name, PATIENCE, *keys)


def wait_for_step(space, process, name, step):
    deadline = time.time() + 120
    while process.poll() is None and time.time() < deadline:
        if any(r["kind"] == "train" and r["step"] >= step for r in space.metrics(name)):
            return
        time.sleep(0.005)


def weights(space, name):
    return [space.content("runs", name, "latest", file) for file in ("model.safetensors", "optimizer.safetensors")]


def torchrun(rank, count, port):
    return {"RANK": str(rank), "WORLD_SIZE": str(count), "LOCAL_RANK": str(rank), "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}


def mpirun(rank, count, port):
    return {"OMPI_COMM_WORLD_RANK": str(rank), "OMPI_COMM_WORLD_SIZE": str(count), "OMPI_COMM_WORLD_LOCAL_SIZE": str(count),
            "MASTER_PORT": str(port)}


def srun(rank, count, port):
    return {"SLURM_PROCID": str(rank), "SLURM_STEP_NUM_TASKS": str(count), "SLURM_LOCALID": str(rank), "SLURM_JOB_ID": str(port),
            "SLURM_STEP_ID": "0", "SLURM_STEP_NODELIST": "localhost"}


def by_hand(space, count, keys_of, launcher=torchrun):
    """Starts each rank with the variables of a launcher; returns their exit codes and what they wrote to stderr."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    processes = []
    for rank in range(count):
        processes.append(subprocess.Popen([PROGRAM, "train", space.config, PATIENCE, *keys_of(rank)], 
                                          env={**os.environ, **launcher(rank, count, port)},
                                          stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, errors="replace"))
    results = [process.communicate(timeout=120)[1] for process in processes]
    return [process.returncode for process in processes], results


def same_weights(space):
    """One process, two, and three with the optimizer divided."""
    space.train("name=reference")
    _, err = space.train("--ranks", "2", "name=two")
    check(len(re.findall(r"^rank [01] \(host .*, process [0-9]+\)$", err, re.MULTILINE)) == 2, "who the ranks are:\n" + err)
    check("2 ranks, each with 1 threads" in err and err.count("step 60/60") == 1, "the log of two ranks:\n" + err)
    check(weights(space, "two") == weights(space, "reference"), "2 ranks have other weights than one process with 2 micro-batches")
    for kind, key in (("train", "train_loss"), ("validation", "loss_causal"), ("train", "capacity_realised"), ("train", "train_flops_total")):
        one, two = ([r[key] for r in space.metrics(name) if r["kind"] == kind] for name in ("reference", "two"))
        check(one == two and one, "%s: %s and %s" % (key, one, two))

    # Stopped with another number of ranks each time. Fewer ranks than before go on without being told.
    for count, step in ((3, 14), (2, 28), (4, 42)):
        process = start(space, count, "changing", "parallel.shard=optimizer")
        wait_for_step(space, process, "changing", step)
        os.kill(ranks_of(process)[1], STOP)  # one of them is enough
        _, err = process.communicate(timeout=60)
        check(process.returncode == 143 and err.count("; saved ") == 1, "a rank that gets SIGTERM: %s\n%s" % (process.returncode, err))
    _, err = space.train("name=changing")
    check("not be bit-exact: ranks 4 before, 1 now" in err, err)
    losses = [[r["loss_causal"] for r in space.metrics(name) if r["kind"] == "validation"] for name in ("reference", "changing")]
    check(all(abs(a - b) < 2e-2 for a, b in zip(*losses)) and len(losses[0]) == len(losses[1]) == 4, "validation losses %s" % losses)


def shared_evaluation(space):
    """Loss and routing of a checkpoint, and nothing else, printed once."""
    one, _ = space.run("eval", space.path("runs/reference"), "--json")
    for count in ("2", "3"):
        several, _ = space.run("eval", space.path("runs/reference"), "--json", "--ranks", count)
        check(several == one, "eval --ranks %s prints\n%s, not\n%s" % (count, several, one))


def launchers(space):
    """The variables of other launchers, and ranks that do not belong together."""
    for launcher in (torchrun, mpirun, srun):
        name = launcher.__name__
        codes, errs = by_hand(space, 2, lambda rank: ["name=" + name], launcher)
        check(codes == [0, 0] and weights(space, name) == weights(space, "reference"), "%s: %s %s" % (name, codes, errs))
    codes, errs = by_hand(space, 3, lambda rank: ["name=differs"] + (["train.lr=1e-3"] if rank == 1 else []))
    check(codes == [LOST] * 3 and "do not have the same configuration" in errs[0] and "rank 1 (host" in errs[0], "%s %s" % (codes, errs))
    codes, errs = by_hand(space, 2, lambda rank: ["name=typo", "train.lrr=1"])
    check(codes[0] == 2 and "train.lrr" in errs[0], "%s %s" % (codes, errs))
    check("train.lrr" not in errs[1], "both ranks print the same mistake:\n%s" % errs)
    codes, errs = by_hand(space, 2, lambda rank: ["name=few", "train.batch_tokens=64", "train.micro_batch_tokens=64"])
    check(codes[0] == 2 and "too few for 2 ranks" in errs[0], "%s %s" % (codes, errs))
    _, err = space.run("compare", space.config, expect=2, env={**os.environ, "RANK": "0", "WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1"})
    check("one process" in err, err)


def frozen(space):
    """A rank that is stopped, not dead: the others give it up after parallel.timeout. Of rank 0, which serves the store, too."""
    for victim in (1, 0):
        process = start(space, 3, "frozen-%d" % victim, "train.budget=100000step")
        wait_for_step(space, process, "frozen-%d" % victim, 7)
        os.kill(ranks_of(process)[victim], signal.SIGSTOP)
        begin = time.time()
        survivors = {rank: pid for rank, pid in ranks_of(process).items() if rank != victim}
        while any(os.path.exists("/proc/%d" % pid) and "Z" not in open("/proc/%d/stat" % pid).read().rsplit(")", 1)[1][:3]
                  for pid in survivors.values()) and time.time() - begin < 60:
            time.sleep(0.1)
        waited = time.time() - begin
        _, err = process.communicate(timeout=60)
        check(waited < TIMEOUT + 4, "the others waited %.1f s for a stopped rank" % waited)
        check(process.returncode == LOST and re.search(r"rank %d \(host .*process" % victim, err), "%s %s" % (process.returncode, err))


def killed(space, times):
    """Ranks killed at any moment of training, validating and saving: the rest ends with 8, and the run ends like one never disturbed."""
    chance = random.Random(int(os.environ.get("ISOBATH_SEED", "4")))
    space.train("--ranks", "3", "name=undisturbed")
    kills, slowest = 0, 0.0
    while kills < times:
        name = "killed-%d" % kills
        for _ in range(2):
            process = start(space, 3, name)
            time.sleep(chance.uniform(0.05, 0.8))
            victims = ranks_of(process)
            if process.poll() is None and victims:
                try:
                    os.kill(victims[chance.choice(sorted(victims))], KILL)
                except ProcessLookupError:
                    pass
            begin = time.time()
            _, err = process.communicate(timeout=120)
            if process.returncode == 0:
                break  # it had finished
            kills += 1
            slowest = max(slowest, time.time() - begin)
            check(process.returncode == LOST, "after a kill: %s\n%s" % (process.returncode, err))
            check(time.time() - begin < TIMEOUT + 3, "the others needed %.1f s" % (time.time() - begin))
        space.train("--ranks", "3", "name=" + name, PATIENCE)
        check(weights(space, name) == weights(space, "undisturbed"), name + " has other weights than the undisturbed run")
    print("%d kills, the others ended within %.1f s" % (kills, slowest))


with Workspace() as space:
    same_weights(space)
    shared_evaluation(space)
    launchers(space)
    frozen(space)
    killed(space, int(os.environ.get("ISOBATH_KILLS", "3")))
