"""Labeling through a service: wall, CPU and requests/s beside bare loops, under faults, at length, and a second time.

A loopback server answers after a fixed latency; every client is a process of its own, whose CPU time is read when it
ends, and all of them run after one another in the same minutes. A bare loop sends and parses; `rlaif` also renders
both orders, keeps every answer in its ledger and writes records.
"""

import asyncio
import json
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

from hostile import HostileServer
from report import write

REQUESTS = 2000
SETTINGS = ((0.1, 64), (0.1, 256), (0.5, 64), (0.5, 256))
FAULTS = ("429",) * 10 + ("500",) * 5 + ("truncated",)
TEXT = " ".join(["Which of the two responses helps the person who asks more, and why is it so?"] * 22)


def bodies(n: int) -> list[dict[str, Any]]:
    """Requests of about 1.75 kB."""
    return [
        {
            "model": "judge",
            "messages": [{"role": "user", "content": f"{number}: {TEXT}"}],
            "max_tokens": 1,
            "temperature": 1.0,
            "logprobs": True,
            "top_logprobs": 20,
        }
        for number in range(n)
    ]


async def gathered(send: Any, n: int, concurrency: int) -> int:
    """All requests, so many at once."""
    limit, done = asyncio.Semaphore(concurrency), 0

    async def one(body: dict[str, Any]) -> None:
        nonlocal done
        async with limit:
            await send(body)
            done += 1

    await asyncio.gather(*(one(body) for body in bodies(n)))
    return done


async def bare_aiohttp(url: str, n: int, concurrency: int) -> int:
    """The least that a client can do in Python."""
    import aiohttp

    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=concurrency)) as session:

        async def send(body: dict[str, Any]) -> None:
            async with session.post(f"{url}/chat/completions", json=body) as response:
                (await response.json())["choices"][0]["logprobs"]["content"][0]["top_logprobs"]

        return await gathered(send, n, concurrency)


async def bare_sdk(url: str, n: int, concurrency: int, through_aiohttp: bool) -> int:
    """The SDK as its documentation shows it."""
    import openai

    options: dict[str, Any] = {"http_client": openai.DefaultAioHttpClient()} if through_aiohttp else {}
    async with openai.AsyncOpenAI(api_key="none", base_url=url, max_retries=0, **options) as client:

        async def send(body: dict[str, Any]) -> None:
            answer = await client.chat.completions.create(**body)
            answer.choices[0].logprobs.content[0].top_logprobs  # noqa: B018

        return await gathered(send, n, concurrency)


def ours(url: str, n: int, concurrency: int, folder: str) -> int:
    """`rlaif label`, ledger, both orders and records included."""
    from rlaif.labeling.preference import PreferenceLabeler
    from rlaif.llm.openai import open_openai
    from rlaif.llm.remote import Limits
    from rlaif.stages.judge import judge_file

    llm = open_openai("judge", url, limits=Limits(concurrency=concurrency, timeout_s=30))
    summary = judge_file(
        PreferenceLabeler("helpfulness", llm), Path(folder) / f"{n // 2}.jsonl", Path(folder) / "run", progress=False
    )
    return 2 * summary.count


def write_rows(folder: Path, n: int) -> None:
    """Comparisons whose prompts are about 1.75 kB."""
    with (folder / f"{n}.jsonl").open("w") as file:
        for number in range(n):
            row = {"id": str(number), "query": f"{number}: {TEXT[:300]}"}
            row |= {"response_1": f"{TEXT[:200]} {number}", "response_2": f"{TEXT[:150]} {number}"}
            file.write(json.dumps(row) + "\n")


def child(mode: str, url: str, n: str, concurrency: str, folder: str) -> None:
    """One client, and what it took."""
    import rlaif

    rlaif.PreferenceLabeler  # noqa: B018  (imports are no part of the work)
    start = time.perf_counter()
    before = resource.getrusage(resource.RUSAGE_SELF)
    match mode:
        case "aiohttp":
            done = asyncio.run(bare_aiohttp(url, int(n), int(concurrency)))
        case "sdk":
            done = asyncio.run(bare_sdk(url, int(n), int(concurrency), through_aiohttp=False))
        case "sdk-aiohttp":
            done = asyncio.run(bare_sdk(url, int(n), int(concurrency), through_aiohttp=True))
        case _:
            done = ours(url, int(n), int(concurrency), folder)
    after = resource.getrusage(resource.RUSAGE_SELF)
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    print(
        json.dumps(
            {"done": done, "wall_s": time.perf_counter() - start, "cpu_s": cpu, "peak_mb": after.ru_maxrss / 1024}
        )
    )


def run(mode: str, server: HostileServer, n: int, concurrency: int, folder: str) -> dict[str, Any]:
    """A client in a process of its own."""
    words = [sys.executable, __file__, mode, server.url, str(n), str(concurrency), folder]
    found = json.loads(subprocess.run(words, check=True, stdout=subprocess.PIPE, text=True).stdout)
    ideal = n / concurrency * server.latency_s
    return {
        "client": mode,
        "latency_ms": round(1000 * server.latency_s),
        "concurrency": concurrency,
        "done": found["done"],
        "of": n,
        "wall_s": round(found["wall_s"], 2),
        "ideal_s": round(ideal, 2),
        "requests_per_s": round(n / found["wall_s"]),
        "cpu_s_per_1000": round(1000 * found["cpu_s"] / n, 2),
        "peak_mb": round(found["peak_mb"], 1),
    }


def main() -> None:
    """Everything, as a table and a file."""
    results: list[dict[str, Any]] = []

    def measured(**options: Any) -> dict[str, Any]:
        with tempfile.TemporaryDirectory() as folder, HostileServer(keep=False, **options.pop("server")) as server:
            write_rows(Path(folder), options["n"] // 2)
            found = run(options["mode"], server, options["n"], options["concurrency"], folder)
            found["turned_away"] = sum(server.faults.values())
            if options.get("twice"):
                second = run(options["mode"], server, options["n"], options["concurrency"], folder)
                found["second_run_rows_per_s"] = round(options["n"] / 2 / second["wall_s"])
        results.append(found | options.get("about", {}))
        print(json.dumps(results[-1]), flush=True)
        return found

    for latency_s, concurrency in SETTINGS:
        for mode in ("aiohttp", "sdk", "sdk-aiohttp", "rlaif"):
            measured(mode=mode, n=REQUESTS, concurrency=concurrency, server={"latency_s": latency_s})
    faulty = {"latency_s": 0.1, "share": 0.16, "kinds": FAULTS}
    measured(mode="rlaif", n=REQUESTS, concurrency=64, server=faulty, about={"faults": "10 % 429, 5 % 500, 1 % cut"})
    measured(mode="rlaif", n=50_000, concurrency=256, server={"latency_s": 0.1}, twice=True)
    write(
        "services", {"requests": REQUESTS, "kilobytes": round(len(json.dumps(bodies(1)[0])) / 1000, 2), "runs": results}
    )


if __name__ == "__main__":
    child(*sys.argv[1:]) if len(sys.argv) > 1 else main()
