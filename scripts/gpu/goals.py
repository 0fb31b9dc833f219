"""What check.py's figures should reach, and its result as a table."""


def goals(parts):
    """Every goal with its measured figure; `met` is null when the figure is missing."""

    def arms(part):
        return {arm["name"]: arm for arm in parts.get(part, {}).get("arms", [])}

    def figure(part, arm, *keys):
        value = arms(part).get(arm)
        for key in keys:
            value = value.get(key) if isinstance(value, dict) else None
        return value

    rows = []

    def goal(name, value, relation, target):
        met = None if value is None else value >= target if relation == ">=" else value <= target
        rows.append({"goal": name, "value": value, "target": f"{relation} {target}", "met": met})

    for size, target in (("124m", 0.50), ("350m", 0.55)):
        goal(f"MFU of dense {size} (6N + 12LDT)", figure(f"profile-{size}", "dense", "mfu_6n"), ">=", target)
        goal(f"MFU of dense {size} (realised FLOPs of the ledger)", figure(f"profile-{size}", "dense", "mfu"), ">=", target)
    for size in ("124m", "350m"):
        goal(f"realised / ideal speed-up of mod {size}", figure(f"profile-{size}", "mod", "realised_over_ideal"), ">=", 0.93)
    for size in ("124m", "350m"):
        goal(f"share of routing in a step of mod {size}", figure(f"profile-{size}", "mod", "profile", "routing_share"), "<=", 0.03)
    goal("peak memory of mod / dense, 350m", parts.get("profile-350m", {}).get("memory_ratio"), "<=", 0.75)
    for size in ("124m", "350m"):
        for peer in ("eager", "compiled"):
            speedup = figure(f"speed-{size}", peer, "speedup_median")
            goal(f"dense {size}: times as fast as {peer} PyTorch", 1 / speedup if speedup else None, ">=", 1.0)
    return rows


def text_of(value):
    return "-" if value is None else value if isinstance(value, str) else f"{value:.4g}"


def table(result):
    lines = []
    for name, part in result["parts"].items():
        verdict = {True: "pass", False: "FAIL", None: part["status"]}[part.get("pass")]
        lines.append(f"{name:14} {verdict:8} {part.get('seconds', 0):6.0f} s   {part.get('reason', '')}".rstrip())
        for arm, checks in part.get("arms", {}).items() if isinstance(part.get("arms"), dict) else []:
            figures = ", ".join(f"{key} {c['value']:.1e} (<= {c['threshold']:g})" for key, c in checks.items()
                                if isinstance(c, dict) and "threshold" in c)
            lines.append(f"    {'ok  ' if checks['pass'] else 'FAIL'} {arm}: {figures}")
        for key, c in part.get("resumed_against_uninterrupted", {}).items():
            lines.append(f"    {'ok  ' if c['pass'] else 'FAIL'} resumed, {key}: {c['value']:.1e} (<= {c['threshold']:.1e}); "
                         f"the repeat: {part['repeat_against_uninterrupted'][key]:.1e}")
        for arm in part.get("arms", []) if isinstance(part.get("arms"), list) else []:
            memory = arm.get("peak_memory_bytes")
            lines.append(f"    {arm['name']:9} {1e3 * arm['step_time_s_median']:9.1f} ms   {text_of(arm.get('tokens_per_s')):>9} tok/s   "
                         f"mfu {text_of(arm.get('mfu')):>6}   mfu_6n {text_of(arm.get('mfu_6n')):>6}   "
                         f"{memory / 2**30 if memory else 0:6.2f} GiB   speedup {text_of(arm.get('speedup_median'))}")
            profile = arm.get("profile") or {}
            for kernel in profile.get("kernels", [])[:6]:
                lines.append(f"        {1e3 * kernel['seconds']:8.2f} ms {kernel['calls']:5} x {kernel['scope']:10.10} {kernel['name'][:80]}")
        if "note" in part:
            lines.append(f"    {part['note']}")
        if name == "checkpoint" and part["status"] == "done":
            lines.append(f"    {text_of(part['checkpoints'])} checkpoints, {text_of(part['seconds_each'])} s each, {part['bytes_each'] / 1e9:.3g} GB each")
    lines.append("")
    for row in result["goals"]:
        lines.append(f"{ {True: 'met', False: 'MISSED', None: 'unknown'}[row['met']]:8} {row['goal']:52} {text_of(row['value']):>8}  {row['target']}")
    return "\n".join(lines)
