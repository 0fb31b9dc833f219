"""How a peer is measured: `isobath bench --peer` starts it, waits until it is ready, and asks for steps between its own.

    run N   ->  one JSON line, {"seconds_per_step": mean of N steps in a row, "steps": N, ...}
    quit
"""

import json
import sys


def serve(ready, run):
    """Prints `ready` (a dict), then answers every `run N` on standard input with the dict run(N)."""
    print(json.dumps({"ready": True, **ready}), flush=True)
    for line in sys.stdin:
        words = line.split()
        if not words:
            continue
        if words[0] == "quit":
            return
        if words[0] != "run" or len(words) != 2 or not words[1].isdigit() or int(words[1]) < 1:
            sys.exit(f"unknown command {line.strip()!r}; known: 'run N', 'quit'")
        print(json.dumps({"steps": int(words[1]), **run(int(words[1]))}), flush=True)
