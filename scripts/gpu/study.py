"""The registered isoFLOP study of docs/gpu.md (configs/isoflop.yaml): as many of its runs as the minutes allow, over any number of visits.

  prepare   on any machine: packs the text into a folder that is small enough to carry, and says how often the study will read it
  run       on a GPU: the smallest budget first, then the next; one JSON a finished run. The same command goes on from there
  show      the losses that are there, and the best size of every family
"""

import argparse
import glob
import gzip
import hashlib
import json
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from common import (CONFIGS, Deadline, Failed, call, end_on_sigterm, machine, name_torch_of_bundle, program, read_records, run, say,
                    torch_python, without_paths, write_json)

CONFIG = CONFIGS / "isoflop.yaml"
BATCH_TOKENS = {"3e15": "16Ki", "1e16": "32Ki", "3e16": "64Ki"}  # tokens per step, by budget in FLOPs
HEADERS = "libtorch-headers"

# --tiny: budgets of ten steps, and settings that make them quick on a CPU.
TINY_BUDGETS = {"1e11": "256", "2e11": "256"}
TINY = ["model.context=64", "train.micro_batch_tokens=auto", "eval.every=50%", "eval.tokens=1Ki", "eval.final_tokens=2Ki"]


# --- prepare -----------------------------------------------------------------------------------------------------------------------------


def read_text(path):
    if path.suffix == ".gz":
        return gzip.decompress(path.read_bytes())
    if path.suffix == ".zst":
        try:
            return subprocess.run(["zstd", "-dc", path], stdout=subprocess.PIPE, check=True).stdout
        except FileNotFoundError:
            sys.exit(f"{path}: reading .zst needs the command zstd; install it, or decompress the file first")
    return path.read_bytes()


def documents(sources):
    """Every document of the files, folders and globs: a whole file, or a row of a .jsonl file."""
    for source in sources:
        named = Path(source).expanduser()
        if named.is_dir():
            files = sorted(path for path in named.rglob("*") if path.is_file() and not any(part.startswith(".") for part in path.relative_to(named).parts))
        else:
            files = sorted(Path(path) for path in glob.glob(str(named), recursive=True) if Path(path).is_file())
        if not files:
            sys.exit(f"--sources {source}: it matches no file")
        for path in files:
            data = read_text(path)
            inner = path.with_suffix("") if path.suffix in (".gz", ".zst") else path
            if inner.suffix == ".jsonl":
                for number, line in enumerate(data.splitlines(), 1):
                    if line.strip():
                        try:
                            yield json.loads(line)["text"]
                        except (ValueError, KeyError, TypeError):
                            sys.exit(f'{path}:{number}: a row must be a JSON object with a "text"')
            elif b"\0" not in data[:8192]:  # skips files that look binary
                yield data.decode(errors="replace")


def pack(sources, folder, name, megabytes):
    """Writes one compressed .jsonl into `folder`: a copy of the source if that is one already and small enough, else documents in the order
    of their hashes, so that those that fit are a fair sample of all."""
    limit = int(megabytes * 1e6)
    alone = Path(sources[0]).expanduser()
    if len(sources) == 1 and alone.name.endswith((".jsonl.gz", ".jsonl.zst")) and alone.is_file() and alone.stat().st_size <= limit:
        path = folder / f"{name}.jsonl{alone.suffix}"
        shutil.copyfile(alone, path)
        say(f"{path}: a copy of {alone}, {path.stat().st_size / 1e6:.1f} MB")
        return {"file": path.name, "bytes": path.stat().st_size, "sha256": hashlib.sha256(path.read_bytes()).hexdigest()}
    path = folder / f"{name}.jsonl.gz"
    texts = {hashlib.sha256(text.encode()).digest(): text for text in documents(sources)}
    kept, size, too_large = 0, 0, 0
    with open(path, "wb") as file, gzip.GzipFile(filename="", mode="wb", compresslevel=9, fileobj=file, mtime=0) as packed:
        for key in sorted(texts):
            if len(texts[key]) > limit // 4:
                too_large += 1
                continue
            packed.write(json.dumps({"text": texts[key]}, ensure_ascii=False).encode() + b"\n")
            kept, size = kept + 1, size + len(texts[key].encode())
            if file.tell() > limit:
                break
    left_out = len(texts) - kept
    say(f"{path}: {kept} documents, {size / 1e6:.1f} MB of text in {path.stat().st_size / 1e6:.1f} MB"
        + (f"; {left_out} more left out by --megabytes {megabytes:g}" if left_out else ""))
    if too_large:
        say(f"  {too_large} of them because they are longer than a quarter of that: split them into documents")
    return {"file": path.name, "documents": kept, "left_out": left_out, "text_bytes": size, "bytes": path.stat().st_size,
            "sha256": hashlib.sha256(path.read_bytes()).hexdigest()}


def source_keys(data):
    """Configuration keys for the text of a prepared folder; paths are relative to the folder of the runs."""
    manifest = json.loads((data / "manifest.json").read_text())
    if manifest["sources"] == [HEADERS]:
        return [f"data.sources=[{HEADERS}]"]
    return [f"data.{keys}=[data/{manifest[part]['file']}]" for keys, part in (("sources", "train"), ("valid_sources", "valid")) if part in manifest]


def prepare(arguments):
    data = arguments.data
    if data.exists() and any(data.iterdir()):
        sys.exit(f"{data} is not empty; remove it or name another --data")
    data.mkdir(parents=True, exist_ok=True)
    try:
        fill(data, arguments)
    except BaseException:
        shutil.rmtree(data)  # never leaves a partly filled folder
        raise
    return 0


def fill(data, arguments):
    manifest = {"format": 1, "sources": arguments.sources, "valid_sources": arguments.valid_sources or []}
    if arguments.valid_sources and arguments.sources == [HEADERS]:
        sys.exit("--valid-sources goes with --sources of your own")
    if arguments.sources != [HEADERS]:
        if HEADERS in arguments.sources:
            sys.exit(f"{HEADERS} cannot be packed together with other sources")
        manifest["train"] = pack(arguments.sources, data, "text", arguments.megabytes)
        if arguments.valid_sources:
            manifest["valid"] = pack(arguments.valid_sources, data, "valid", arguments.megabytes)
        # The folder is carried to other machines, so only the names of the sources are kept, not their paths.
        manifest["sources"] = [Path(source).name for source in arguments.sources]
        manifest["valid_sources"] = [Path(source).name for source in manifest["valid_sources"]]
    write_json(data / "manifest.json", manifest)

    isobath = program()
    name_torch_of_bundle(torch_python()[1])
    with tempfile.TemporaryDirectory(prefix="isobath-study-") as folder:
        (Path(folder) / "data").symlink_to(data.resolve())
        say("counting tokens")
        for budget in BATCH_TOKENS:
            plan = json.loads(run([isobath, "plan", CONFIG, "--data", "--json", "device=cpu", "precision=fp32", f"train.budget={budget}flop",
                                   f"train.batch_tokens={BATCH_TOKENS[budget]}", *source_keys(data), "data.cache_dir=cache"], 3600, cwd=folder))
            manifest.update(train_tokens=plan["data"]["train_tokens"], valid_tokens=plan["data"]["valid_tokens"])
            epochs = {arm["name"]: arm["epochs"] for arm in plan["arms"]}
            manifest.setdefault("epochs", {})[budget] = epochs
            worn = sum(value > 4 for value in epochs.values())
            say(f"{budget} FLOPs a run: the text is read {min(epochs.values()):.1f} to {max(epochs.values()):.1f} times; "
                f"{worn} of {len(epochs)} arms read it more than 4 times")
    write_json(data / "manifest.json", manifest)
    say(f"{data}: {manifest['train_tokens'] / 1e6:.1f}M training tokens, {manifest['valid_tokens'] / 1e3:.0f}k validation tokens, "
        f"{sum(file.stat().st_size for file in data.iterdir()) / 1e6:.1f} MB to carry")
    say("reading a text more than about 4 times is worth less than new text, and favours the sizes that need fewer tokens: bring more text "
        "with --sources where that says much")


# --- run ---------------------------------------------------------------------------------------------------------------------------------


def result_name(budget, arm, seed):
    return f"{budget}-{arm}-seed-{seed}.json"


def ended_runs(runs):
    """(budget, arm, seed, folder, records) of every run that has finished or diverged."""
    for metrics in sorted(runs.glob("*/*/seed-*/metrics.jsonl")):
        folder = metrics.parent
        records = read_records(metrics)
        status = records[-1].get("status") if records else None
        if status == "diverged" or (status == "finished" and not (folder / "pending").exists()):
            yield folder.parts[-3], folder.parts[-2], int(folder.name.removeprefix("seed-")), folder, records


def median_of(records, key):
    values = [record[key] for record in records if record.get(key) is not None]
    return statistics.median(values) if values else None


def summarize(budget, arm, seed, folder, records):
    start = next(record for record in reversed(records) if record["kind"] == "run")
    final = next((record for record in reversed(records) if record["kind"] == "validation" and record.get("final")), {})  # empty: diverged
    end = records[-1]
    train = [record for record in records if record["kind"] == "train"]
    family, _, size = arm.rpartition("-")
    environment = folder / "environment.json"
    return {
        "format": 1, "arm": arm, "family": family, "size": size, "seed": seed, "budget_flop": float(budget), "budget": budget,
        "status": end["status"],
        "params": start["params"], "params_non_embedding": start["params_non_embedding"],
        "train_flops": end["train_flops_total"],  # text of digits above 2^53, as in metrics.jsonl; int() reads both
        "tokens": end["tokens"], "steps": end["step"], "epochs": start["epochs"],
        "loss_topk": final.get("loss_topk"), "loss_causal": final.get("loss_causal", final.get("loss_topk")),
        "bits_per_byte_causal": final.get("bits_per_byte_causal", final.get("bits_per_byte_topk")), "eval_tokens": final.get("eval_tokens"),
        "capacity_causal": final.get("capacity_causal"), "router_precision": final.get("router_precision"),
        "router_recall": final.get("router_recall"), "tokens_per_s": end.get("tokens_per_s"), "mfu": median_of(train, "mfu"),
        "mfu_6n": median_of(train, "mfu_6n"), "time_s": end["time_s"], "memory_bytes": end.get("memory_bytes"),
        "checkpoint_s": end.get("checkpoint_s"), "machine": json.loads(environment.read_text()) if environment.exists() else None,
        # Enough to restore the folder of the finished run, so that `compare` knows that it is done.
        "config": (folder / "config.yaml").read_text(),
        "records": [record for record in records if record["kind"] in ("run", "validation", "end")],
    }


def collect(runs, output, keep_checkpoints):
    """Writes the JSON of every finished run that has none yet; returns how many."""
    new = 0
    for budget, arm, seed, folder, records in ended_runs(runs):
        path = output / result_name(budget, arm, seed)
        if path.exists():
            continue
        result = summarize(budget, arm, seed, folder, records)
        write_json(path, result)
        new += 1
        say(f"  {arm} at {budget}, seed {seed}: " + (f"loss {result['loss_causal']:.4f} causal, {result['loss_topk']:.4f} top-k, "
            f"{result['tokens_per_s'] or 0:.3g} tokens/s" if result["status"] == "finished" else result["status"]))
        if not keep_checkpoints:  # a finished run needs no checkpoints, which take most of a folder's space
            shutil.rmtree(folder / "checkpoints", ignore_errors=True)
            for link in ("latest", "best"):
                (folder / link).unlink(missing_ok=True)
    return new


def restore(runs, output):
    """Restores the folders of runs that finished on an earlier visit, from their JSON."""
    for path in sorted(output.glob("*-seed-*.json")):
        result = json.loads(path.read_text())
        folder = runs / result["budget"] / result["arm"] / f"seed-{result['seed']}"
        if result["status"] != "finished" or (folder / "metrics.jsonl").exists():
            continue
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "config.yaml").write_text(result["config"])
        (folder / "metrics.jsonl").write_text("".join(json.dumps(record) + "\n" for record in result["records"]))


def run_study(arguments):
    known = TINY_BUDGETS if arguments.tiny else BATCH_TOKENS
    budgets = arguments.budgets.split(",") if arguments.budgets else list(known)
    if unknown := [budget for budget in budgets if budget not in known]:
        sys.exit(f"--budgets: {', '.join(unknown)} is none of {', '.join(known)}")
    if not (arguments.data / "manifest.json").exists():
        sys.exit(f"{arguments.data} holds no prepared text; run first: scripts/gpu_study.sh prepare --data {arguments.data}")
    manifest, visit = json.loads((arguments.data / "manifest.json").read_text()), arguments.output / "visit.json"
    if visit.exists() and json.loads(visit.read_text())["manifest"] != manifest:
        sys.exit(f"{arguments.output} holds results on another text than {arguments.data}; name another --output and --runs, or bring that text")
    deadline = Deadline(arguments.minutes)
    end_on_sigterm()
    isobath = program()
    python, torch_folder = torch_python()
    name_torch_of_bundle(torch_folder)
    # Runs name their text relative to this folder, so that they can be resumed wherever the folders are on the next visit.
    runs, output, data = arguments.runs.resolve(), arguments.output.resolve(), arguments.data.resolve()
    runs.mkdir(parents=True, exist_ok=True)
    output.mkdir(parents=True, exist_ok=True)
    link = runs / "data"
    link.unlink(missing_ok=True)
    link.symlink_to(data)
    restore(runs, output)
    write_json(visit, {"machine": machine(isobath, python), "jobs": arguments.jobs, "started": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
                       "manifest": manifest})

    looked = time.monotonic()

    def watch(_):
        nonlocal looked
        if time.monotonic() - looked > 5:
            collect(runs, output, arguments.keep_checkpoints)
            looked = time.monotonic()
        return False

    failures = []
    for seed in arguments.seeds.split(","):
        for budget in budgets:
            minutes = (deadline.left() - arguments.reserve_s) / 60
            if minutes < (0.05 if arguments.tiny else 0.5):
                say(f"{budget} FLOPs, seed {seed}: no time left")
                continue
            say(f"{budget} FLOPs, seed {seed}: {minutes:.1f} minutes left, {arguments.jobs} runs at a time")
            command = [isobath, "compare", CONFIG, "--minutes", f"{minutes:.2f}", f"name={budget}", "run_dir=.", f"train.budget={budget}flop",
                       f"train.batch_tokens={known[budget]}", f"compare.seeds=[{seed}]", f"compare.jobs={arguments.jobs}",
                       f"device={arguments.device}", f"precision={arguments.precision}", *source_keys(data), "data.cache_dir=cache",
                       *(TINY if arguments.tiny else [])]
            try:
                run(command, deadline.left() + 120, watch, cwd=runs)
                say(f"{budget} FLOPs, seed {seed}: complete")
            except Failed as failure:
                if failure.details.get("exit_code") == 9 and deadline.left() < arguments.reserve_s + 30:
                    say(f"{budget} FLOPs, seed {seed}: time is up; the same command goes on from here")
                else:
                    say(f"{budget} FLOPs, seed {seed}: {failure}")
                    for line in failure.details.get("stderr", []):
                        say(f"    {line}")
                    failures.append({"budget": budget, "seed": seed, "reason": str(failure), **failure.details})
            finally:
                collect(runs, output, arguments.keep_checkpoints)
    if failures:
        write_json(output / "failures.json", without_paths(failures, RUNS=runs, isobath=isobath))
    show(arguments)
    print(f"\n{output}: {len(list(output.glob('*-seed-*.json')))} finished runs")
    return 1 if failures else 0


# --- show --------------------------------------------------------------------------------------------------------------------------------


FAMILIES = ["dense", "shallow", "mod", "mod50", "random"]
SEEDS_NEEDED = 3


def verdict(best, losses):
    """The verdict by the rules that docs/gpu.md fixed before the study. best: family -> size; losses: (family, size) -> losses by seed."""
    judged = ["dense", "shallow", "mod", "mod50"]
    if missing := [family for family in judged if family not in best]:
        return f"no verdict: {', '.join(missing)} not there yet"
    seeds = min(len(losses[family, best[family]]) for family in judged)
    if seeds < SEEDS_NEEDED:
        return f"no difference shown: the best sizes have {seeds} of {SEEDS_NEEDED} seeds"
    spread = max(max(losses[family, best[family]]) - min(losses[family, best[family]]) for family in judged)
    mean = {family: statistics.mean(losses[family, best[family]]) for family in judged}
    mod = min(mean["mod"], mean["mod50"])
    edges = [f"{family}-{size}" for family, size in best.items() if family in judged and size in ("3m", "25m")]
    if edges:
        said = f"no win or loss claimed: {', '.join(edges)} at the edge of the sizes"
    elif mod < min(mean["dense"], mean["shallow"]) - spread:
        said = "Mixture-of-Depths wins"
    elif mod > min(mean["dense"], mean["shallow"]) + spread:
        said = "Mixture-of-Depths loses"
    else:
        said = "no difference shown"
    if "random" in best and len(losses["random", best["random"]]) >= SEEDS_NEEDED:
        lead = statistics.mean(losses["random", best["random"]]) - mean["mod"]
        said += f"; learning to route {'is worth' if lead > spread else 'is not shown to be worth'} something ({lead:+.4f} against random)"
    return f"{said}; mod {mod:.4f}, dense {mean['dense']:.4f}, shallow {mean['shallow']:.4f}, seed spread {spread:.4f}"


def show(arguments):
    results = [json.loads(path.read_text()) for path in sorted(arguments.output.glob("*-seed-*.json"))]
    if not results:
        print(f"{arguments.output}: no finished runs yet")
    for budget in sorted({r["budget"] for r in results}, key=float):
        here = [r for r in results if r["budget"] == budget]
        losses = {}
        for r in here:
            if r["status"] == "finished":
                losses.setdefault((r["family"], r["size"]), []).append(r["loss_causal"])
        means = {key: statistics.mean(values) for key, values in losses.items()}
        print(f"\n{budget} FLOPs a run: final causal loss, mean over seeds (their number)")
        print(f"{'size':8}" + "".join(f"{family:>14}" for family in FAMILIES))
        for size in sorted({r["size"] for r in here}, key=lambda name: int(name.rstrip("m"))):
            cells = [f"{means[family, size]:.4f} ({len(losses[family, size])})" if (family, size) in means else "-" for family in FAMILIES]
            print(f"{size:8}" + "".join(f"{cell:>14}" for cell in cells))
        best = {family: min((loss, size) for (name, size), loss in means.items() if name == family)[1]
                for family in FAMILIES if any(name == family for name, _ in means)}
        print(f"{'lowest':8}" + "".join(f"{best.get(family, '-'):>14}" for family in FAMILIES))
        print(verdict(best, losses))
        epochs = [r["epochs"] for r in here]
        print(f"the text was read {min(epochs):.1f} to {max(epochs):.1f} times")
        if diverged := [r["arm"] for r in here if r["status"] != "finished"]:
            print(f"diverged: {', '.join(diverged)}")
    return 0


def main():
    parser = argparse.ArgumentParser(prog="gpu_study.sh", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True, metavar="prepare|run|show")

    one = commands.add_parser("prepare", help="pack the text, on any machine")
    one.add_argument("--sources", nargs="+", default=[HEADERS], metavar="TEXT",
                     help=f"files, folders or globs: text, source code, .jsonl, .gz, .zst; default: {HEADERS}, which every LibTorch brings "
                          "and which is small")
    one.add_argument("--valid-sources", nargs="+", metavar="TEXT", help="validation text; default: 2 %% of the documents")
    one.add_argument("--megabytes", type=float, default=38, help="of compressed text at most; default: 38")

    two = commands.add_parser("run", help="train, on a GPU")
    two.add_argument("--minutes", type=float, required=True, help="of this visit, everything included")
    two.add_argument("--jobs", type=int, default=4, help="runs at a time on the one GPU; default: 4")
    two.add_argument("--runs", type=Path, default=Path("runs/isoflop"), metavar="DIR",
                     help="folder of the runs; carry it along and unfinished runs go on from their checkpoints; default: runs/isoflop")
    two.add_argument("--budgets", metavar="A,B", help=f"default: {','.join(BATCH_TOKENS)}")
    two.add_argument("--seeds", default="1", metavar="A,B", help="all budgets with the first, then with the next; default: 1")
    two.add_argument("--keep-checkpoints", action="store_true", help="also of finished runs")
    two.add_argument("--reserve-s", type=float, default=30, help="seconds kept for stopping and saving; default: 30")
    two.add_argument("--device", default="cuda")
    two.add_argument("--precision", default="bf16")
    two.add_argument("--tiny", action="store_true", help="budgets of a few steps: tries this script, with --device cpu --precision fp32")

    three = commands.add_parser("show", help="tables of the finished runs")
    for command in (one, two):
        command.add_argument("--data", type=Path, default=Path("isoflop-data"), metavar="DIR", help="the prepared text; default: isoflop-data")
    for command in (two, three):
        command.add_argument("--output", type=Path, default=Path("isoflop-results"), metavar="DIR",
                             help="one JSON a finished run, of this visit and earlier ones; default: isoflop-results")
    arguments = parser.parse_args()
    return {"prepare": prepare, "run": run_study, "show": show}[arguments.command](arguments)


if __name__ == "__main__":
    call(main, "gpu_study.sh")
