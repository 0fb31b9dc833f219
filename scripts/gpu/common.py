"""What scripts/gpu_check.sh and scripts/gpu_study.sh share: the program, a Python with torch, deadlines, JSON. Standard library only."""

import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
CONFIGS = ROOT / "configs"
GRACE_S = 30  # seconds for a stopped program to save
ENDING = threading.Event()  # set by SIGTERM: runs in other threads stop, too


class Failed(Exception):
    """Raised by a part that cannot give its result. `details` goes into the JSON."""

    def __init__(self, message, **details):
        super().__init__(message)
        self.details = details


def say(text):
    print(f"{time.strftime('%H:%M:%S')} {text}", flush=True)


def program():
    found = subprocess.run([ROOT / "scripts" / "program.sh"], stdout=subprocess.PIPE, text=True)
    if found.returncode:
        sys.exit(found.returncode)  # the program has printed the reason
    return found.stdout.strip()


def torch_python():
    """(a Python that has torch, the folder of that torch), or (None, None)."""
    places = [os.environ.get("ISOBATH_PYTHON"), sys.executable, "python3", ROOT / ".venv/bin/python"]
    if torch := os.environ.get("ISOBATH_TORCH"):  # ENVIRONMENT/lib/python3.x/site-packages/torch
        places += [folder / "bin/python3" for folder in list(Path(torch).resolve().parents)[3:4]]
    code = "import importlib.util as u; s = u.find_spec('torch'); print(s.submodule_search_locations[0] if s else '')"
    for place in filter(None, places):
        try:
            folder = subprocess.run([place, "-c", code], capture_output=True, text=True, timeout=60).stdout.strip()
        except (OSError, subprocess.TimeoutExpired):
            continue
        if folder:
            return str(place), folder
    return None, None


def name_torch_of_bundle(folder):
    """Tells an unpacked bundle where its LibTorch is; the repository's program was linked to one."""
    if folder and (ROOT / "isobath").is_file():
        os.environ.setdefault("ISOBATH_TORCH", folder)


class Deadline:
    def __init__(self, minutes):
        self.started = time.monotonic()
        self.end = self.started + 60 * minutes

    def left(self):
        return self.end - time.monotonic()

    def used(self):
        return time.monotonic() - self.started


def last_lines(text, count=20):
    return [line for line in text.splitlines() if line.strip()][-count:]


def stop(process):
    """Sends SIGTERM to the process and its peers, then SIGKILL."""
    for number, patience in ((signal.SIGTERM, GRACE_S), (signal.SIGKILL, 10)):
        try:
            os.killpg(process.pid, number)
            process.wait(patience)
            return
        except ProcessLookupError:
            return
        except subprocess.TimeoutExpired:
            pass


def run(command, limit_s, watch=None, cwd=None, good=(0,)):
    """Runs a command to its end, at most limit_s seconds. Returns its standard output; an exit code that is not among the good ones,
    or one other than 0 with nothing said, throws Failed with the tail of standard error.

    watch(process) is called ten to a hundred times a second; when it returns True, the process was asked to stop, and every exit is good.
    """
    command = [str(word) for word in command]
    asked = False
    with tempfile.TemporaryFile("w+") as output, tempfile.TemporaryFile("w+") as errors:
        process = subprocess.Popen(command, stdout=output, stderr=errors, stdin=subprocess.DEVNULL, cwd=cwd,
                                   start_new_session=True)
        started = spoken = time.monotonic()
        try:
            while process.poll() is None:
                if watch and not asked:
                    asked = watch(process)
                if ENDING.is_set():
                    stop(process)
                    raise Failed("the check was stopped")
                now = time.monotonic()
                if now - started > limit_s:
                    stop(process)
                    raise Failed(f"took longer than its {limit_s:.0f} s and was stopped", command=command, stderr=tail_of(errors))
                if now - spoken > 30:
                    say(f"    ... {now - started:.0f} s")
                    spoken = now
                time.sleep(0.01 if watch else 0.05)
        except BaseException:
            if process.poll() is None:
                stop(process)
            raise
        output.seek(0)
        said = output.read()
        if process.returncode and not asked and (process.returncode not in good or not said):
            lines = tail_of(errors)
            raise Failed(f"exit code {process.returncode}" + (f": {lines[-1]}" if lines else ""), command=command,
                         exit_code=process.returncode, stderr=lines)
        return said


def tail_of(file):
    file.seek(0)
    return last_lines(file.read())


def read_records(path):
    """The records of metrics.jsonl, without a last line that is still being written."""
    records = []
    if path.exists():
        for line in path.read_text(errors="replace").splitlines():
            try:
                records.append(json.loads(line))
            except json.JSONDecodeError:
                pass
    return records


def write_json(path, value):
    """Writes the JSON file completely or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.tmp-{os.getpid()}")
    temporary.write_text(json.dumps(value, indent=1) + "\n")
    temporary.replace(path)


def without_paths(value, **folders):
    """A JSON value in which the given names replace the folders' paths, to keep local paths private."""
    text = json.dumps(value)
    for name, folder in [*folders.items(), (".", ROOT), ("~", Path.home())]:
        if len(str(folder)) > 1:
            text = text.replace(str(folder), name)
    return json.loads(text)


def command_output(*command):
    try:
        return subprocess.run(command, capture_output=True, text=True, timeout=60, cwd=ROOT).stdout.strip() or None
    except (OSError, subprocess.TimeoutExpired):
        return None


def machine(isobath, python=None):
    """The machine that a figure was measured on."""
    cpu = [line.split(":", 1)[1].strip() for line in Path("/proc/cpuinfo").read_text().splitlines() if line.startswith("model name")]
    bundled = ROOT / "COMMIT"
    return {
        "gpu": command_output("nvidia-smi", "--query-gpu=name,memory.total,driver_version,power.limit", "--format=csv,noheader"),
        "cpu": cpu[0] if cpu else None,
        "cores": os.cpu_count(),
        "memory_bytes": os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"),
        "system": command_output("uname", "-srm"),
        "isobath": command_output(isobath, "--version"),
        "commit": bundled.read_text().strip() if bundled.exists() else command_output("git", "describe", "--always", "--dirty"),
        "pytorch": command_output(python, "-c", "import torch; print(torch.__version__, torch.version.cuda)") if python else None,
    }


def call(main, name):
    """Runs main() as a program: an error that the user can cause prints one line."""
    try:
        sys.exit(main())
    except Failed as failure:
        sys.exit(f"{name}: {failure}")
    except KeyboardInterrupt:
        sys.exit(130)


def end_on_sigterm():
    """Turns SIGTERM into an exception, so that children are stopped and results are written."""
    def end(*_):
        ENDING.set()
        sys.exit(143)

    signal.signal(signal.SIGTERM, end)
