"""FLOPs of our online training by formula, beside what the machine can do, and where the rest of the time goes."""

import time
from collections import defaultdict
from itertools import pairwise
from pathlib import Path
from statistics import median
from typing import Any

from online_runs import SIZES, Load, device, dtype, training


def floor(size: str, load: Load, folder: Path) -> dict[str, Any]:
    """FLOPs of each phase, how many the machine could do in its time, and what else it does."""
    import torch
    from torch.profiler import ProfilerActivity, profile

    from rlaif.training.ppo import Clipping, optimise

    clipping = Clipping(epochs=load.epochs, minibatch=load.minibatch)
    attainable = [matrix_flops()]
    activities = [ProfilerActivity.CPU] + [ProfilerActivity.CUDA] * torch.cuda.is_available()
    seconds: defaultdict[str, list[float]] = defaultdict(list)
    with training(size, load, folder) as run:
        queries, seeds = [one.tokens for one in run.queries], list(range(load.batch))

        def learn() -> None:
            optimise(run, drawn, torch.zeros_like(drawn.values), drawn.values, clipping, 0.0)

        for step in range(load.steps + 1):
            run.step = step  # the same step's responses would not be drawn again
            times = [now()]
            run.rollout.generate(queries, seeds)
            times.append(now())
            drawn, _ = run.draw()
            times.append(now())
            learn()
            generate, draw, train = (after - before for before, after in pairwise([*times, now()]))
            for phase, taken in (("generate", generate), ("score", draw - generate), ("train", train)):
                seconds[phase].append(taken)
        attainable.append(matrix_flops())
        with profile(activities=activities) as generating:
            run.rollout.generate(queries, seeds)
        with profile(activities=activities) as learning:
            learn()
    forward = sum(flops(size, len(query), load.tokens) for query in queries)
    # The last token of a response is drawn and not read.
    written = sum(flops(size, len(query), load.tokens - 1) for query in queries)
    head = 2 * SIZES[size]["hidden"] * SIZES[size]["words"] * load.batch
    needed = {"generate": written + head, "score": 2 * forward, "train": 3 * load.epochs * forward}
    reached = median(attainable)
    found: dict[str, Any] = {"matrix_product_gflops": [round(one / 1e9, 1) for one in attainable]}
    for phase, count in needed.items():
        shares = [count / taken / reached for taken in seconds[phase][1:]]
        found[phase] = {
            "gflop": round(count / 1e9, 1),
            "seconds": round(median(seconds[phase][1:]), 2),
            "share_of_floor": round(median(shares), 3),
            "share_of_floor_from_to": [round(min(shares), 3), round(max(shares), 3)],
        }
    found["generate"]["profile"] = busiest(generating)
    found["train"]["profile"] = busiest(learning)
    return found


def flops(size: str, query: int, response: int) -> float:
    """Of a query and its response forwards, and of the head for the response."""
    shape = SIZES[size]
    hidden, tokens = shape["hidden"], query + response
    keys = hidden // shape["heads"] * shape["kv"]
    layer = 2 * hidden * hidden + 2 * hidden * keys + 3 * hidden * shape["intermediate"]
    seen = tokens * (tokens + 1) / 2
    return shape["layers"] * (2 * layer * tokens + 4 * hidden * seen) + 2 * hidden * shape["words"] * response


def now() -> float:
    """Seconds of the processor, or where there is an accelerator by the clock."""
    import torch

    if not torch.cuda.is_available():
        return time.process_time()
    torch.cuda.synchronize()
    return time.monotonic()


def matrix_flops() -> float:
    """What a product of two large random matrices reaches, FLOP/s by the same clock."""
    import torch

    side, count = (8192, 20) if torch.cuda.is_available() else (2048, 10)
    left, right = (torch.randn(side, side, device=device(), dtype=dtype()) for _ in range(2))
    seconds = []
    for _ in range(count):
        start = now()
        left @ right
        seconds.append(now() - start)
    return float(2 * side**3 / median(seconds))


MATRICES = ("aten::mm", "aten::addmm", "aten::bmm", "aten::baddbmm", "attention")


def busiest(profiled: Any) -> dict[str, Any]:
    """Which operators take the time: their own, and where it is spent in products of matrices and in attention."""
    import torch

    on_gpu = torch.cuda.is_available()
    # The profiler's own time under each operator of Python is not in it.
    rows = [
        (one.key, one.self_device_time_total if on_gpu else one.self_cpu_time_total, one.count)
        for one in profiled.key_averages()
    ]
    whole = sum(time_us for _, time_us, _ in rows)
    rows.sort(key=lambda row: -row[1])
    return {
        "operators": sum(count for key, _, count in rows if key.startswith("aten::")),
        "seconds": round(whole / 1e6, 2),
        "share_of_products": round(sum(t for key, t, _ in rows if any(one in key for one in MATRICES)) / whole, 3),
        "most": {key: round(time_us / whole, 3) for key, time_us, _ in rows[:8]},
    }
