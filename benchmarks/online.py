"""Online training beside TRL's: tokens/s of a whole step and its phases, overlap, peak memory, share of the FLOP floor.

    python benchmarks/online.py [--old-trl PYTHON] [--size 0.5b] [--sections steps overlap memory floor]

Every setting is measured in a process of its own, in rounds that take turns, so that a busy machine slows all alike;
times are of whole steps behind the first. Where others use the machine too, `OMP_NUM_THREADS=1` lets no neighbour on
one core hold up the other, and processor time says more than the clock.

- `steps`: the same queries, responses of the same number of tokens (the end token is outside of the vocabulary), epochs
  and steps of the optimizer; an instant reward. TRL's RLOO trains no value function, ours does. TRL's last PPO trainer
  (`trl.experimental.ppo`, up to 1.12) wants a value model, which has the policy's size, and a reward model, which here
  has one layer of width 32; PYTHON is one that has it.
- `overlap`: a labeler behind a loopback server that takes 0.3 s for an answer; `judging` is what it takes alone, and
  `other work` a step with an instant reward.
- `memory`: of scoring and training on given responses, above what was resident before; no logits of all tokens are
  ever there, which `full_logits_gb` would be.
- `floor`: FLOPs by formula, without padding: 2 for each weight of a layer and 4·d for each token that a token sees in
  it, forwards, 2·d·V for each response token, and backwards twice as much; beside a product of matrices in the same
  process, both by seconds of the processor (on a GPU by the clock).
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from statistics import median
from typing import Any

from online_flops import floor
from online_runs import SIZES, Load, judging_alone, model_folder, ours, overlapped
from online_trl import old_ppo, rloo
from report import RESULTS, write

SECTIONS = ("steps", "floor", "overlap", "memory")
LATENCY_S = 0.3
CONCURRENCY = (64, 4)


def one(case: str, size: str, folder: Path, load: Load, rest: Sequence[str]) -> dict[str, Any]:
    """Measure one setting in this process."""
    match case:
        case "ours" | "ours, separate value model":
            return ours(size, load, folder, case != "ours")
        case "TRL RLOO":
            return rloo(size, load, folder)
        case "TRL PPO":
            return old_ppo(size, load, folder)
        case "ours, given responses":
            return ours(size, load, folder, False, generates=False)
        case "TRL RLOO, given responses":
            return rloo(size, load, folder, generates=False)
        case "floor":
            return floor(size, load, folder)
        case "judging":
            return judging_alone(size, rest[0], int(rest[1]), load)
        case _:
            return overlapped(size, folder, case, rest[0], int(rest[1]), load)


def measured(
    case: str, size: str, folder: Path, load: Load, *rest: str, python: str = sys.executable
) -> dict[str, Any]:
    """The same in a process of its own."""
    asked = json.dumps([case, size, str(folder), load._asdict(), rest])
    environment = os.environ | {"HF_HUB_OFFLINE": "1", "HF_HUB_DISABLE_TELEMETRY": "1", "OPENAI_API_KEY": "none"}
    command = [python, __file__, "--one", asked]
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
    if done.returncode:
        raise SystemExit(f"{case}: {done.stderr[-3000:]}")
    return dict(json.loads(done.stdout.splitlines()[-1]))


def spread(values: Sequence[float], digits: int = 2) -> dict[str, float]:
    """Median, least and most."""
    low, high = min(values), max(values)
    return {"median": round(median(values), digits), "from": round(low, digits), "to": round(high, digits)}


def steps(size: str, folder: Path, load: Load, rounds: int, old_trl: str | None) -> dict[str, Any]:
    """Ours and TRL's in turns."""
    cases = ["ours", "TRL RLOO", "ours, separate value model", *(["TRL PPO"] if old_trl else [])]
    pythons = defaultdict(lambda: sys.executable, {"TRL PPO": old_trl or ""})
    found = [{case: measured(case, size, folder, load, python=pythons[case]) for case in cases} for _ in range(rounds)]
    results: dict[str, Any] = {"load": load._asdict()}
    for case in cases:
        assert len({(one[case]["updates"], one[case]["query_tokens"]) for one in found}) == 1
        assert found[0][case]["updates"] == found[0]["ours"]["updates"]
        assert found[0][case]["query_tokens"] == found[0]["ours"]["query_tokens"]
        of_step = [median(one[case]["seconds"]) for one in found]
        row: dict[str, Any] = {"tokens_per_s": spread([load.batch * load.tokens / one for one in of_step], 0)}
        for other in ("TRL RLOO", "TRL PPO"):
            if other in cases and other != case:
                ratios = [median(one[other]["seconds"]) / here for one, here in zip(found, of_step, strict=True)]
                row[f"times {other}"] = spread(ratios)
                ratios = [median(one[other]["cpu_seconds"]) / median(one[case]["cpu_seconds"]) for one in found]
                row[f"times {other}, by processor time"] = spread(ratios)
        row["seconds"] = spread(of_step)
        row["cpu_seconds"] = spread([median(one[case]["cpu_seconds"]) for one in found])
        row["peak_gb"] = round(max(one[case]["peak_gb"] for one in found), 2)
        phases = found[0][case]["phases"]
        row["share_of_time"] = {
            phase: round(
                median(median(one[case]["phases"][phase]) / here for one, here in zip(found, of_step, strict=True)), 3
            )
            for phase in phases
        }
        row |= {"updates": found[0][case]["updates"], "query_tokens": found[0][case]["query_tokens"]}
        row |= {"trl": found[0][case]["trl"]} if "trl" in found[0][case] else {}
        results[case] = row
        print(case, row, flush=True)
    return results


def overlap(size: str, folder: Path, load: Load, rounds: int) -> dict[str, Any]:
    """Steps with a slow labeler beside judging alone and a step without it."""
    sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))
    from hostile import HostileServer

    from rlaif.training.online_settings import Drawing

    off = ["one step off"] if "one_step_off" in Drawing.model_fields else []
    results: dict[str, Any] = {"latency_s": LATENCY_S, "load": load._asdict()}
    for concurrency in CONCURRENCY:
        cases = ("judging", "other work", "plain", *off)
        rows = []
        for _ in range(rounds):
            with HostileServer(latency_s=LATENCY_S, keep=False) as server:
                rows.append({case: measured(case, size, folder, load, server.url, str(concurrency)) for case in cases})
        found = {case: spread([median(one[case]["seconds"]) for one in rows]) for case in cases}
        for case in ("plain", *off):
            times = [{name: median(one[name]["seconds"]) for name in cases} for one in rows]
            found[f"{case} / max(judging, other work)"] = spread(
                [one[case] / max(one["judging"], one["other work"]) for one in times]
            )
            found[f"{case} / (judging + other work)"] = spread(
                [one[case] / (one["judging"] + one["other work"]) for one in times]
            )
            phases = rows[0][case]["phases"]
            found[f"seconds of phases, {case}"] = {
                phase: round(median(median(one[case]["phases"][phase]) for one in rows), 2) for phase in phases
            }
        results[f"concurrency {concurrency}"] = found
        print(f"concurrency {concurrency}", found, flush=True)
    return results


def memory(load: Load) -> dict[str, Any]:
    """Peaks of a step beside the size of all logits."""
    size = "wide vocabulary"
    full = load.batch * load.tokens * SIZES[size]["words"] * 4 / 1e9
    results: dict[str, Any] = {"load": load._asdict(), "full_logits_gb": round(full, 2)}
    with tempfile.TemporaryDirectory() as temporary:
        folder = model_folder(size, Path(temporary))
        for micro in (load.micro, load.batch):
            for case in ("ours, given responses", "TRL RLOO, given responses"):
                found = measured(case, size, folder, load._replace(micro=micro))
                row = {"peak_gb": round(found["peak_gb"], 2), "share_of_full_logits": round(found["peak_gb"] / full, 2)}
                results[f"{case}, micro-batch {micro}"] = row
                print(f"{case}, micro-batch {micro}", row, flush=True)
    return results


def main() -> None:
    """Measure everything and write the results."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--one", type=json.loads, help=argparse.SUPPRESS)
    parser.add_argument("--rounds", type=int, default=3, help="default: %(default)s")
    parser.add_argument("--size", default="small", choices=[size for size in SIZES if size != "wide vocabulary"])
    parser.add_argument("--old-trl", metavar="PYTHON", help="one that has trl 1.12")
    parser.add_argument(
        "--sections", nargs="+", choices=SECTIONS, default=SECTIONS, help="the others stay as they were measured"
    )
    parser.add_argument("--tiny", action="store_true", help="see whether it runs; nothing is written")
    given = parser.parse_args()
    if given.one:
        case, size, folder, load, rest = given.one
        print(json.dumps(one(case, size, Path(folder), Load(**load), rest)))
        return
    load = Load()
    wide = Load(batch=64, query=(8, 8), tokens=512, epochs=1, minibatch=64, micro=32, steps=0)
    if given.tiny:
        load = Load(batch=8, query=(3, 6), tokens=8, minibatch=4, micro=4, steps=1)
        wide = wide._replace(batch=4, tokens=32, minibatch=4, micro=2)
    import torch

    threads = torch.get_num_threads()
    facts: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as temporary:
        folder = model_folder(given.size, Path(temporary))
        for section in given.sections:
            before = os.getloadavg()
            match section:
                case "steps":
                    found = steps(given.size, folder, load, given.rounds, given.old_trl)
                case "floor":
                    found = measured("floor", given.size, folder, load)
                case "overlap":
                    found = overlap(given.size, folder, load._replace(tokens=load.tokens // 2), given.rounds)
                case _:
                    found = memory(wide)
            beside = {"load_average_before": before, "load_average_after": os.getloadavg()}
            facts[section] = {"size": given.size, "threads": threads, "rounds": given.rounds} | beside | found
            print(json.dumps(facts[section]), flush=True)
            if not given.tiny:
                write("online", latest() | facts)


def latest() -> dict[str, Any]:
    """The sections that were measured before, in the latest file of results."""
    files = sorted(RESULTS.glob("*-online.json"))
    known = json.loads(files[-1].read_text()) if files else {}
    return {section: known[section] for section in SECTIONS if section in known}


if __name__ == "__main__":
    main()
