"""Twenty minutes on a GPU: is training there right, and how fast is it? One JSON file and a table. See docs/gpu.md.

Parts, the most important first; each is skipped, with the reason in the JSON, when too little time is left:

  environment    the machine, the program, PyTorch
  kernels        every row kernel of the device, in both precisions, against LibTorch's operators in double
  correctness    six tiny models in fp32, on the CPU and on the GPU: losses step by step, and of validation under both routings
  resume         a run that is stopped by SIGTERM and goes on, against an uninterrupted one, and against that one's own repeat
  bf16           a 19M model in bf16, with both attention kernels, against fp32
  speed-124m     configs/gpu-124m.yaml and the same model in eager and compiled PyTorch, interleaved
  profile-124m   its arms alone: MFU, peak memory, kernels of one step, the share of routing
  profile-350m   the same of configs/gpu-350m.yaml
  cudnn-124m     the arms with cuDNN's attention instead of FlashAttention
  cudnn-350m
  speed-350m
  checkpoint     seconds that saving costs a run of 124M parameters

The JSON is rewritten after every part. A part that an earlier call finished with the same --output is not run again, so a check can be
spread over several visits; --again runs it all the same.
"""

import argparse
import json
import os
import shutil
import signal
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from common import (CONFIGS, ROOT, Deadline, Failed, call, end_on_sigterm, machine, name_torch_of_bundle, program, read_records, run, say,
                    torch_python, without_paths, write_json)
from goals import goals, table
from losses import count, final_losses, held, largest_final, largest_relative, smoothed, train_losses

ROUTED = "depth.kind=mod depth.capacity=12.5% depth.stride=2 depth.offset=1"
ARMS = {
    "dense": "depth.kind=dense",
    "mod, linear router, raw gate, predictor": f"{ROUTED} depth.router=linear depth.gate=raw depth.causal=predictor",
    "mod, linear router, sigmoid gate, bce": f"{ROUTED} depth.router=linear depth.gate=sigmoid depth.causal=bce",
    "mod, linear router, tanh gate, threshold": f"{ROUTED} depth.router=linear depth.gate=tanh depth.causal=none",
    "mod, random router": f"{ROUTED} depth.router=random depth.gate=none depth.causal=none",
    "dense, everything else": "depth.kind=dense model.kv_heads=2 model.qk_norm=true model.mlp=gelu model.tie_embeddings=false "
                              "data.isolate_documents=true",
}

# Thresholds on relative differences of losses. Rounding errors grow with every step, and in a routed model they can change whether a token
# whose score is near the K-th is picked: the CPU with two thread counts differs by 5e-4 after 60 steps when routed, by 2e-7 when dense.
EARLY_STEPS = 10
EARLY = 5e-5       # over the first steps, where rounding errors are small: an error in a kernel shows here
WHOLE_DENSE = 1e-3
WHOLE_ROUTED = 5e-3
RESUME_OVER_REPEAT = 10  # limit: a resumed run's difference from an uninterrupted run over that run's difference from its repeat;
RESUME_FLOOR = 1e-5      # a difference up to this always passes
BF16_FINAL = 0.01
BF16_SMOOTHED = 0.02
SMOOTHED_OVER = 20  # steps

TOGETHER = 4  # runs at a time where only the losses matter

KERNELS = 40  # longest kernels of a profile that are kept

TINY_BENCH = ("model.layers=2 model.width=64 model.heads=2 model.kv_heads=2 model.mlp_width=auto model.context=64 tokenizer.vocab_size=512 "
              "train.batch_tokens=512 train.micro_batch_tokens=256").split()


class Check:
    def __init__(self, arguments):
        self.tiny, self.device = arguments.tiny, arguments.device
        self.isobath = program()
        self.python, torch_folder = torch_python()
        name_torch_of_bundle(torch_folder)
        self.deadline = Deadline(arguments.minutes)
        self.part_end = self.deadline.end
        self.work = Path(tempfile.mkdtemp(prefix="isobath-gpu-check-", dir=arguments.work))

    # --- helpers -------------------------------------------------------------------------------------------------------------------

    def time_left(self):
        left = min(self.part_end, self.deadline.end) - time.monotonic()
        if left < 1:
            raise Failed("its share of the time ran out")
        return left

    def train(self, name, *overrides, config="tiny.yaml", watch=None):
        """Trains one run in its own folder and returns its records."""
        run([self.isobath, "train", CONFIGS / config, f"name={name}", f"run_dir={self.work}/runs", f"data.cache_dir={self.work}/cache",
             "eval.sample_tokens=off", "eval.every=100%", *overrides], self.time_left(), watch)
        return read_records(self.work / "runs" / name / "metrics.jsonl")

    def train_together(self, runs):
        """Trains several runs at a time, where only the losses matter: {name: overrides} -> {name: records}."""
        with ThreadPoolExecutor(TOGETHER) as pool:
            started = {name: pool.submit(self.train, name, *overrides) for name, overrides in runs.items()}
            return {name: run.result() for name, run in started.items()}

    def records(self, name):
        return read_records(self.work / "runs" / name / "metrics.jsonl")

    def settings(self, config, overrides):
        """The resolved keys of a configuration and their values as text."""
        keys, section = {}, ""
        for line in run([self.isobath, "config", "show", config, *overrides], self.time_left()).splitlines():
            key, _, value = line.split("#")[0].rstrip().partition(":")
            if line.startswith(" "):
                keys[f"{section}.{key.strip()}"] = value.strip()
            else:
                section = key
                keys[key] = value.strip()
        return keys

    def bench(self, size, *options, micro_batch_share=1, peers=(), keys=(), limit_s=None):
        """Runs `bench train` with a size's configuration; halves the micro-batch when memory does not suffice."""
        end = time.monotonic() + min(self.time_left(), limit_s or self.time_left())
        config = CONFIGS / f"gpu-{size}.yaml"
        overrides = [f"device={self.device}", f"precision={'bf16' if self.device != 'cpu' else 'fp32'}", *(TINY_BENCH if self.tiny else []), *keys]
        context = count(self.settings(config, overrides)["model.context"])
        micro = max(context, count(self.settings(config, overrides)["train.micro_batch_tokens"]) // micro_batch_share)
        while True:
            chosen = [*overrides, f"train.micro_batch_tokens={micro}"]
            words = [str(word) for word in (self.isobath, "bench", "train", config, *chosen, "--json", *options)]
            for name in peers:
                words += ["--peer", f"{name}={self.peer_command(config, chosen, name == 'compiled')}"]
            try:
                result = json.loads(run(words, max(1, end - time.monotonic())))
                break
            except Failed as failure:
                out_of_memory = failure.details.get("exit_code") == 6
                if not out_of_memory or micro <= context:
                    raise
                micro //= 2
                say(f"    out of memory; again with micro-batches of {micro} tokens")
        return {"micro_batch_tokens": micro, "command": words, **result}

    def peer_command(self, config, overrides, compiled):
        keys = self.settings(config, overrides)
        # Without the library path that a bundle's program is started with.
        words = ["env", f"LD_LIBRARY_PATH={os.environ.get('LD_LIBRARY_PATH', '')}", self.python, ROOT / "scripts/peers/train_step.py", "--device", self.device, "--precision", keys["precision"]]
        for option, key in [("layers", "layers"), ("width", "width"), ("heads", "heads")]:
            words += [f"--{option}", keys[f"model.{key}"]]
        context = count(keys["model.context"])
        words += ["--context", context, "--batch", count(keys["train.batch_tokens"]) // context, "--vocab", count(keys["tokenizer.vocab_size"])]
        words += ["--micro-batch", count(keys["train.micro_batch_tokens"]) // context, "--threads", os.cpu_count()]
        if keys["model.mlp_width"] != "auto":
            words += ["--mlp-width", keys["model.mlp_width"]]
        return " ".join(str(word) for word in words + (["--compile"] if compiled else []))

    # --- parts ---------------------------------------------------------------------------------------------------------------------

    def environment(self):
        found = machine(self.isobath, self.python)
        if self.device != "cpu" and not found["gpu"]:
            say("    nvidia-smi reports no GPU; the parts below will say what is wrong")
        return found

    def kernels(self):
        arms = {}
        for precision in ("fp32", "bf16"):
            said = run([self.isobath, "bench", "ops", CONFIGS / "gpu-124m.yaml", f"device={self.device}", f"precision={precision}",
                                      "--json", *(TINY_BENCH if self.tiny else [])], self.time_left(), good=(0, 1))
            kernels = json.loads(said)["kernels"]
            checks = {k["name"]: {**held(k["difference"], k["allowed"]), "seconds": k["seconds"], "aten_seconds": k["aten_seconds"]}
                      for k in kernels}
            arms[precision] = {"pass": all(c["pass"] for c in checks.values()), **checks}
        return {"pass": all(a["pass"] for a in arms.values()), "arms": arms}

    def leave_kernels_out(self):
        """Turns the plug-in's kernels off after they were found wrong, so that later parts test everything else."""
        say("    the parts below do without the plug-in's kernels (ISOBATH_CUDA_KERNELS=off)")
        os.environ["ISOBATH_CUDA_KERNELS"] = "off"

    def correctness(self):
        steps = 20 if self.tiny else 60
        common = [f"train.budget={steps}step", "train.log_every=1step", "train.batch_tokens=1Ki", "train.micro_batch_tokens=1Ki",
                  "model.layers=4", "model.width=64", "model.heads=4", "model.kv_heads=4", "model.context=128", "data.max_bytes=1Mi",
                  "eval.tokens=4Ki", "eval.final_tokens=32Ki", "checkpoint.every=100%", "precision=fp32"]
        runs = self.train_together({f"correctness-{number}-{side}": (f"device={device}", *common, *depth.split())
                                    for number, depth in enumerate(ARMS.values()) for side, device in (("cpu", "cpu"), ("device", self.device))})
        arms = {}
        for number, arm in enumerate(ARMS):
            here, there = (runs[f"correctness-{number}-{side}"] for side in ("cpu", "device"))
            cpu, gpu = train_losses(here), train_losses(there)
            whole = WHOLE_DENSE if arm.startswith("dense") else WHOLE_ROUTED
            checks = {
                "train_loss_first_steps": held(largest_relative(gpu[:EARLY_STEPS], cpu[:EARLY_STEPS]), EARLY),
                "train_loss": held(largest_relative(gpu, cpu), whole),
                "validation_loss": held(largest_final(final_losses(there), final_losses(here)), whole),
            }
            arms[arm] = {"pass": all(c["pass"] for c in checks.values()), **checks, "final_cpu": final_losses(here),
                         "final_device": final_losses(there), "train_loss_cpu": cpu[::10], "train_loss_device": gpu[::10]}
        return {"pass": all(a["pass"] for a in arms.values()), "steps": steps, "arms": arms}

    def resume(self):
        steps = 200 if self.tiny else 500
        common = [f"device={self.device}", "precision=fp32", f"train.budget={steps}step", "train.log_every=1step", "train.batch_tokens=2Ki",
                  "train.micro_batch_tokens=2Ki", "model.layers=4", "model.width=64", "model.heads=4", "model.kv_heads=4",
                  "model.context=128", "data.max_bytes=1Mi", "eval.tokens=4Ki", "eval.final_tokens=32Ki", "checkpoint.every=100%",
                  *ARMS["mod, linear router, raw gate, predictor"].split()]

        def stop_halfway(process):
            done = len(train_losses(self.records("stopped")))
            if done < steps // 2:
                return False
            process.send_signal(signal.SIGTERM)
            return True

        with ThreadPoolExecutor(TOGETHER) as pool:
            first, repeat, stopped = (run.result() for run in [
                pool.submit(self.train, "uninterrupted", *common), pool.submit(self.train, "repeat", *common),
                pool.submit(self.train, "stopped", *common, watch=stop_halfway)])
        at = len(train_losses(stopped))
        if at >= steps or stopped[-1].get("status") != "stopped":
            raise Failed(f"SIGTERM was to stop a run of {steps} steps halfway, and it ended at step {at} with {stopped[-1]}")
        resumed = self.train("stopped", *common)

        def differences(a, b):
            return {"train_loss": largest_relative(train_losses(a), train_losses(b)),
                    "validation_loss": largest_final(final_losses(a), final_losses(b))}

        of_repeat, of_resume = differences(repeat, first), differences(resumed, first)
        checks = {key: held(of_resume[key], max(RESUME_FLOOR, RESUME_OVER_REPEAT * of_repeat[key])) for key in of_resume}
        return {"pass": all(c["pass"] for c in checks.values()), "steps": steps, "stopped_at_step": at, "resumed_against_uninterrupted": checks,
                "repeat_against_uninterrupted": of_repeat, "bit_exact": of_resume["train_loss"] == 0 == of_resume["validation_loss"]}

    def bf16(self):
        steps = 60 if self.tiny else 300
        size = (["model.layers=2", "model.width=64", "model.heads=2", "model.kv_heads=2", "model.context=64", "train.batch_tokens=512"]
                if self.tiny else ["model.layers=6", "model.width=512", "model.heads=8", "model.kv_heads=8", "model.context=512",
                                   "train.batch_tokens=16Ki", "train.micro_batch_tokens=16Ki"])
        common = [f"device={self.device}", f"train.budget={steps}step", "train.log_every=1step", "train.lr=1e-3", "data.max_bytes=all",
                  "eval.tokens=64Ki", "eval.final_tokens=256Ki", "checkpoint.every=100%", *size]
        if self.tiny:
            common += ["data.max_bytes=1Mi", "eval.tokens=4Ki", "eval.final_tokens=8Ki"]
        depths = {"dense": ARMS["dense"], "mod": ARMS["mod, linear router, sigmoid gate, bce"]}
        kinds = {"bf16": "precision=bf16", "bf16-cudnn": "precision=bf16 cuda_attention=cudnn", "fp32": "precision=fp32"}
        runs = self.train_together({f"bf16-{arm}-{kind}": (*keys.split(), *common, *depth.split())
                                    for arm, depth in depths.items() for kind, keys in kinds.items()})
        arms = {}
        for arm, kind in ((arm, kind) for arm in depths for kind in kinds if kind != "fp32"):
            half, full = (runs[f"bf16-{arm}-{precision}"] for precision in (kind, "fp32"))
            a, b = smoothed(train_losses(half), SMOOTHED_OVER), smoothed(train_losses(full), SMOOTHED_OVER)
            checks = {"smoothed_train_loss": held(largest_relative(a, b), BF16_SMOOTHED),
                      "validation_loss": held(largest_final(final_losses(half), final_losses(full)), BF16_FINAL)}
            name = arm if kind == "bf16" else f"{arm}, cuDNN's attention"
            arms[name] = {"pass": all(c["pass"] for c in checks.values()), **checks, "final_bf16": final_losses(half),
                          "final_fp32": final_losses(full), "train_loss_bf16": a[::SMOOTHED_OVER], "train_loss_fp32": b[::SMOOTHED_OVER]}
        return {"pass": all(a["pass"] for a in arms.values()), "steps": steps, "smoothed_over": SMOOTHED_OVER, "arms": arms}

    def speed(self, size):
        # Half of the configuration's micro-batch: four models share the card's memory, and the peers keep all logits.
        if not self.python:
            return {"note": "no Python with torch was found (ISOBATH_PYTHON names one): no peers",
                    **self.bench(size, *self.turns(size), micro_batch_share=2)}
        try:
            # Compiling may take long or fail, so the remaining time is kept for a measurement without it.
            return self.bench(size, *self.turns(size), micro_batch_share=2, peers=("eager", "compiled"), limit_s=0.65 * self.time_left())
        except Failed as failure:  # torch.compile needs a C compiler on the machine, for example
            say(f"    with compiled PyTorch: {failure}; again without it")
            result = self.bench(size, *self.turns(size), micro_batch_share=2, peers=("eager",))
            return {"note": f"without compiled PyTorch: {failure}", **failure.details, **result}

    def turns(self, size):
        return ["--repeats", "3", "--steps", "1"] if self.tiny else ["--repeats", "7", "--steps", "5" if size == "124m" else "3"]

    def profile(self, size):
        result = self.bench(size, *self.turns(size), "--profile")
        arms = {arm["name"]: arm for arm in result["arms"]}
        for arm in arms.values():
            if arm.get("profile"):
                arm["profile"]["kernels"] = sorted(arm["profile"]["kernels"], key=lambda kernel: -kernel["seconds"])[:KERNELS]
        peak = [arms[name].get("peak_memory_bytes") for name in ("dense", "mod")]
        result["memory_ratio"] = peak[1] / peak[0] if all(peak) else None
        return result

    def cudnn(self, size):
        return self.bench(size, *self.turns(size), keys=["cuda_attention=cudnn"])

    def checkpoint(self):
        steps, every = (12, 4) if self.tiny else (40, 10)
        size = [*TINY_BENCH, "data.max_bytes=1Mi"] if self.tiny else []
        precision = "bf16" if self.device != "cpu" else "fp32"
        self.train("checkpoint", f"device={self.device}", f"precision={precision}", f"train.budget={steps}step",
                   f"checkpoint.every={every}step", "checkpoint.keep=1", "eval.tokens=64Ki", "eval.final_tokens=64Ki", "train.log_every=5step",
                   *size, config="gpu-124m.yaml")
        end = self.records("checkpoint")[-1]
        folder = (self.work / "runs" / "checkpoint" / "latest").resolve()
        stored = sum(file.stat().st_size for file in folder.iterdir())
        seconds, number = end.get("checkpoint_s"), end.get("checkpoints")
        each = seconds / number if seconds is not None and number else None
        return {"steps": steps, "checkpoints": number, "checkpoint_s": seconds, "seconds_each": each, "bytes_each": stored,
                "bytes_per_s": stored / each if each else None, "training_s": end.get("time_s"),
                "tokens_per_s": end.get("tokens_per_s"), "memory_bytes": end.get("memory_bytes")}


# name: (function, least minutes to begin with, most minutes)
PARTS = {
    "environment": (Check.environment, 0, 2),
    "kernels": (Check.kernels, 0.5, 2),
    "correctness": (Check.correctness, 1, 5),
    "resume": (Check.resume, 0.75, 3),
    "bf16": (Check.bf16, 1, 4),
    "speed-124m": (lambda check: check.speed("124m"), 1.5, 6),
    "profile-124m": (lambda check: check.profile("124m"), 0.75, 3),
    "profile-350m": (lambda check: check.profile("350m"), 1, 4),
    "cudnn-124m": (lambda check: check.cudnn("124m"), 0.5, 2),
    "cudnn-350m": (lambda check: check.cudnn("350m"), 0.75, 3),
    "speed-350m": (lambda check: check.speed("350m"), 2, 7),
    "checkpoint": (Check.checkpoint, 0.75, 3),
}


def main():
    parser = argparse.ArgumentParser(prog="gpu_check.sh", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--output", type=Path, default=Path("gpu_check.json"), metavar="FILE", help="default: gpu_check.json")
    parser.add_argument("--minutes", type=float, default=20, help="of all parts together; default: 20")
    parser.add_argument("--parts", help=f"only these, separated by commas: {', '.join(PARTS)}")
    parser.add_argument("--again", action="store_true", help="run finished parts of an earlier call again")
    parser.add_argument("--device", choices=["cuda", "cpu"], default="cuda", help="default: cuda; CUDA_VISIBLE_DEVICES chooses among several")
    parser.add_argument("--tiny", action="store_true", help="models of toy size: tries this script, on a CPU in two minutes")
    parser.add_argument("--work", type=Path, metavar="DIR", help="for runs and prepared text; its disk is what the checkpoint part measures")
    parser.add_argument("--show", type=Path, metavar="FILE", help="print the table of an earlier check and end")
    arguments = parser.parse_args()
    if arguments.show:
        print(table(json.loads(arguments.show.read_text())))
        return 0
    wanted = arguments.parts.split(",") if arguments.parts else list(PARTS)
    if unknown := [name for name in wanted if name not in PARTS]:
        parser.error(f"no part is called {', '.join(unknown)}; there are: {', '.join(PARTS)}")

    asked = {"device": arguments.device, "tiny": arguments.tiny}
    result = {"format": 1, "asked": asked, "parts": {}}
    if arguments.output.exists():
        earlier = json.loads(arguments.output.read_text())
        if earlier.get("asked") != asked:
            parser.error(f"{arguments.output} holds a check with other settings, {earlier.get('asked')}; move it away or name another --output")
        result = earlier

    def save():
        result["parts"] = {name: result["parts"][name] for name in PARTS if name in result["parts"]}
        result["goals"] = goals(result["parts"])
        write_json(arguments.output, without_paths(result, WORK=check.work, isobath=check.isobath, python=check.python or ""))

    end_on_sigterm()
    check = Check(arguments)
    before, now = ((found or "").split(",")[0] for found in (result["parts"].get("environment", {}).get("gpu"), machine(check.isobath)["gpu"]))
    if before and before != now:
        parser.error(f"{arguments.output} holds a check of another GPU ({before}; here: {now}); name another --output")
    say(f"{check.isobath}, at most {arguments.minutes:g} minutes, results in {arguments.output}")
    try:
        for name in wanted:
            function, least, most = PARTS[name]
            if result["parts"].get(name, {}).get("status") == "done" and not arguments.again and name != "environment":
                say(f"{name}: done before")
                continue
            left = check.deadline.left()
            if left < 60 * least * (0.1 if arguments.tiny else 1):
                part = {"status": "skipped", "reason": f"{left:.0f} s were left, it needs at least {60 * least:.0f}"}
            else:
                say(f"{name} ({left / 60:.1f} minutes left)")
                began = time.monotonic()
                check.part_end = began + 60 * most
                part = {"started": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())}
                try:
                    part.update({"status": "done", **function(check)})
                except Failed as failure:
                    part.update({"status": "failed", "reason": str(failure), **failure.details})
                except Exception as error:  # a failing part does not stop the others
                    part.update({"status": "failed", "reason": f"{type(error).__name__}: {error}"})
                except BaseException:
                    part.update({"status": "stopped", "reason": "the check was stopped"})
                    raise
                finally:
                    part["seconds"] = time.monotonic() - began
                    result["parts"][name] = part
                    save()
            if name == "kernels" and part.get("pass") is not True and part["status"] != "skipped" and check.device != "cpu":
                check.leave_kernels_out()
            if os.environ.get("ISOBATH_CUDA_KERNELS"):
                part["ISOBATH_CUDA_KERNELS"] = os.environ["ISOBATH_CUDA_KERNELS"]
            result["parts"][name] = part
            save()
            verdict = {True: ", passed", False: ", FAILED", None: ""}[part.get("pass")]
            say(f"{name}: {part['status']}{verdict}{': ' + part['reason'] if 'reason' in part else ''}")
    finally:
        shutil.rmtree(check.work, ignore_errors=True)
    print("\n" + table(result))
    print(f"\n{arguments.output}")
    bad = [name for name in wanted if result["parts"][name]["status"] != "done" or result["parts"][name].get("pass") is False]
    return 1 if bad else 0


if __name__ == "__main__":
    call(main, "gpu_check.sh")
