"""The program is asked to leave, loses its standard streams, its place on the disk, its home: nothing that was computed is lost, nothing fails silently."""

import os
import shutil
import signal
import subprocess
import time

from common import PROGRAM, Workspace, check

LONG = ["train.budget=1000000step", "eval.every=1000000step", "checkpoint.every=1000000step"]


def started(space, name, *keys, **options):
    """A long run that has written its first record of training."""
    process = subprocess.Popen([PROGRAM, "train", space.config, "name=" + name, *LONG, *keys], **options)
    for _ in range(600):
        if process.poll() is not None or any(record["kind"] == "train" for record in space.metrics(name)):
            return process
        time.sleep(0.05)
    return process


def check_saved(space, name):
    check(space.checkpoints(name) and space.metrics(name)[-1].get("status") == "stopped", name + " was not saved")


def signals(space):
    for number in (signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2, signal.SIGXCPU):
        process = started(space, number.name, stderr=subprocess.DEVNULL)
        process.send_signal(number)
        check(process.wait(60) == 128 + number, "%s ends with %s" % (number.name, process.returncode))
        check_saved(space, number.name)
    process = started(space, "nohup", stderr=subprocess.DEVNULL, preexec_fn=lambda: signal.signal(signal.SIGHUP, signal.SIG_IGN))
    process.send_signal(signal.SIGHUP)
    time.sleep(0.5)
    check(process.poll() is None, "an ignored SIGHUP ends the program")
    process.terminate()
    check(process.wait(60) == 143, "SIGTERM after it ends with %s" % process.returncode)


def waiting(space):
    """What loses nothing is ended within two seconds, also where it waits for others."""
    pipe = space.path("pipe")
    os.mkfifo(pipe)
    process = space.start("tokenizer", "train", space.config, "-o", pipe)
    while "SigBlk:\t0000000000000000" in open("/proc/%d/status" % process.pid).read():  # libraries are being loaded
        time.sleep(0.05)
    time.sleep(0.5)
    process.send_signal(signal.SIGHUP)
    _, err = process.communicate(timeout=20)
    check(process.returncode == 129 and "waiting for a reader" in err, "a pipe without a reader: %s %s" % (process.returncode, err))


def streams(space):
    # The reader of the log goes away.
    process = space.start("train", space.config, "name=piped")
    process.stderr.close()
    process.stdout.close()
    check(process.wait(60) == 0, "a log without a reader ends the run with %s" % process.returncode)
    # No standard streams at all.
    closed = subprocess.run('"%s" train "%s" name=closed <&- >&- 2>&-' % (PROGRAM, space.config), shell=True)
    check(closed.returncode == 0, "without standard streams: %s" % closed.returncode)
    check(space.metrics("closed")[-1]["status"] == "finished", "the records of a run without standard streams")
    # Results that cannot be written.
    run = space.path("runs", "piped")
    for command in (["generate", run, "-p", "the", "-n", "4"], ["eval", run], ["inspect", run], ["plan", space.config], ["config", "table"],
                    ["config", "--help"], ["runs", space.path("runs")], ["analyze", run]):
        with open("/dev/full", "w") as full:
            code = subprocess.run([PROGRAM, *command], stdout=full, stderr=subprocess.DEVNULL).returncode
        check(code == 7, "%s > /dev/full ends with %s" % (command, code))
    gone = subprocess.run('"%s" config table >&-' % PROGRAM, shell=True, stderr=subprocess.PIPE, text=True)
    check(gone.returncode == 7 and "closed" in gone.stderr, "a closed output: %s" % gone)


def places(space):
    # From another folder: the run's own configuration, and its evaluation.
    relative = space.path("relative.yaml")
    with open(space.config) as file:
        text = file.read().replace(space.folder + "/", "")
    with open(relative, "w") as file:
        file.write(text)
    space.run("train", "relative.yaml", "name=moved", "train.budget=20step", cwd=space.folder)
    run = space.path("runs", "moved")
    space.run("eval", run, cwd="/")
    _, err = space.run("train", os.path.join(run, "config.yaml"), cwd="/")
    check("is finished" in err, "a run's config.yaml from another folder: " + err)
    # Started by the dynamic loader.
    loader = "/lib64/ld-linux-x86-64.so.2"
    if os.path.exists(loader):
        environment = {key: value for key, value in os.environ.items() if key != "GOMP_SPINCOUNT"}  # so that it starts itself again
        code = subprocess.run([loader, PROGRAM, "train", space.config, "name=loaded", "train.budget=5step", "--ranks", "2"],
                              stderr=subprocess.DEVNULL, env=environment).returncode
        check(code == 0, "started by the dynamic loader: %s" % code)
    # Too little memory.
    _, err = space.run("train", space.config, "name=large", "model.width=65536", "model.layers=512", expect=6)
    check("model.width" in err and "free" in err, "a refusal of memory: " + err)
    check(not os.path.exists(space.path("runs", "large", "checkpoints")), "something was made before memory was refused")


SHIM = """
#include <errno.h>
int symlink(const char* a, const char* b) { errno = EPERM; return -1; }
int symlinkat(const char* a, int d, const char* b) { errno = EPERM; return -1; }
int flock(int d, int operation) { errno = ENOLCK; return -1; }
"""


def poor_file_system(space):
    """Neither symbolic links nor locks."""
    compiler = shutil.which("cc") or shutil.which("gcc")
    if not compiler:
        return
    with open(space.path("shim.c"), "w") as file:
        file.write(SHIM)
    subprocess.run([compiler, "-shared", "-fPIC", "-o", space.path("shim.so"), space.path("shim.c")], check=True)
    environment = dict(os.environ, LD_PRELOAD=space.path("shim.so"))
    _, err = space.train("name=poor", env=environment)
    check("has no locks" in err, "no word about locks: " + err)
    latest = space.path("runs", "poor", "latest")
    check(os.path.isfile(latest) and not os.path.islink(latest), "latest is no file")
    for path in (space.path("runs", "poor"), latest, space.path("runs", "poor", "best")):
        space.run("generate", path, "-p", "the", "-n", "2")
    space.run("inspect", latest)


def outputs(space):
    run = space.path("runs", "piped")
    pipe = space.path("through")
    os.mkfifo(pipe)
    with open(space.path("received"), "w") as received:
        reader = subprocess.Popen(["cat", pipe], stdout=received)
        space.run("export", run, "-o", pipe)
        reader.wait(20)
    space.run("export", run, "-o", space.path("plain.safetensors"))
    check(space.content("received") == space.content("plain.safetensors"), "an export through a pipe differs")
    out = subprocess.run([PROGRAM, "export", run, "-o", "/dev/stdout"], stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    check(out.returncode == 0 and out.stdout == space.content("plain.safetensors"), "an export to standard output differs")
    both = [space.start("export", run, "-o", space.path("shared.safetensors")) for _ in range(2)]
    for process in both:
        _, err = process.communicate(timeout=60)
        check(process.returncode == 0, "two exports to one name: " + err)
    check(space.content("shared.safetensors") == space.content("plain.safetensors"), "two exports to one name differ from one")
    check(not [name for name in os.listdir(space.folder) if ".tmp" in name], "temporary files are left")


def main():
    with Workspace() as space:
        signals(space)
        streams(space)
        places(space)
        poor_file_system(space)
        outputs(space)
        waiting(space)
    print("ok")


main()
