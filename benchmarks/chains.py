"""Chains of critique and revision: how far from what latency allows, what prompt caches can serve, tokens of a chain.

    python benchmarks/chains.py

- `service`: `rlaif revise` with 4 rounds against a loopback server that takes 0.2 s for an answer, 64 at once, and
  beside it a bare loop that asks as much; each is a process of its own, the server another. The rounds of a chain
  follow one another, chains do not: n chains take at least 8 answers in a row, and at least 8 n / 64.
- `prompts`: bytes of what is read, and the share of it that all requests of a run begin with; at 4.5 bytes a token, as
  English prose has in today's vocabularies, whether that beginning is long enough for the providers' caches (1,024).
- `local`: the bundled reviser on 64 responses of the pocket world: tokens of a chain, and what its prefix cache served.
"""

import asyncio
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

import openai
from hostile import HostileServer
from report import write

from rlaif.constitution.revise import Reviser
from rlaif.llm.base import Request
from rlaif.llm.openai import open_openai
from rlaif.llm.remote import Limits
from rlaif.llm.scripted import ScriptedLLM
from rlaif.pocket.data import comparisons
from rlaif.stages.judge import judge_file

LATENCY_S, CONCURRENCY, ROUNDS = 0.2, 64, 4
BYTES_PER_TOKEN = 4.5
CRITIQUE = "The response names two of the steps, in the second and the third sentence, and hints at a third one. " * 3
REVISION = "I understand that you are angry. I will not help with that, but I gladly help you to speak with him. " * 4


def drafts(n: int) -> list[dict[str, Any]]:
    """Responses of the pocket world."""
    rows = comparisons(n, task="harmlessness", split="heldout", seed=1)
    return [{"id": row["id"], "query": row["query"], "response": row["response_1"]} for row in rows]


async def bare(url: str, rows: Sequence[Mapping[str, Any]]) -> None:
    """As many answers, one after another in each of so many chains at once, by the SDK and nothing else."""
    options: dict[str, Any] = {"api_key": "none", "base_url": url, "max_retries": 0}
    text = "The person asks for something, and the response has to be read and written anew. " * 20
    async with openai.AsyncOpenAI(http_client=openai.DefaultAioHttpClient(), **options) as client:
        limit = asyncio.Semaphore(CONCURRENCY)

        async def chain(number: int) -> None:
            async with limit:
                for answer in range(2 * ROUNDS):
                    asked: Any = [{"role": "user", "content": f"{number} {answer} {text} Revision:"}]
                    await client.chat.completions.create(model="judge", messages=asked, max_tokens=512, seed=answer)

        await asyncio.gather(*(chain(number) for number in range(len(rows))))


def ours(url: str, rows: Sequence[Mapping[str, Any]]) -> None:
    """`rlaif revise`: prompts, flags, ledger and records included."""
    with tempfile.TemporaryDirectory() as folder:
        llm = open_openai("judge", url, limits=Limits(concurrency=CONCURRENCY))
        done = judge_file(Reviser("harmless", llm, revisions=ROUNDS), rows, Path(folder) / "run", progress=False)
        assert (done.count, done.totals.asked) == (len(rows), 2 * ROUNDS * len(rows))


def client(mode: str, url: str, n: str) -> None:
    """One client, and what it took."""
    rows = drafts(int(n))

    def ask(some: Sequence[Mapping[str, Any]]) -> None:
        asyncio.run(bare(url, some)) if mode == "bare" else ours(url, some)

    ask(rows[:1])  # Imports are no part of the work.
    before, start = time.process_time(), time.perf_counter()
    ask(rows)
    print(json.dumps({"wall_s": time.perf_counter() - start, "cpu_s": time.process_time() - before}))


def service(n: int) -> dict[str, Any]:
    """Chains through a server, beside a bare loop and the least that its latency allows."""
    found: dict[str, Any] = {"chains": n, "ideal_s": round(LATENCY_S * 2 * ROUNDS * max(1, n / CONCURRENCY), 2)}
    for mode in ("bare", "rlaif"):
        with HostileServer(latency_s=LATENCY_S, keep=False) as server:
            words = [sys.executable, __file__, mode, server.url, str(n)]
            took = json.loads(subprocess.run(words, check=True, stdout=subprocess.PIPE, text=True).stdout)
        found[mode] = {
            "wall_s": round(took["wall_s"], 2),
            "times_ideal": round(took["wall_s"] / found["ideal_s"], 2),
            "chains_per_s": round(n / took["wall_s"], 1),
            "cpu_ms_per_answer": round(1000 * took["cpu_s"] / (2 * ROUNDS * n), 2),
        }
    return found


def prompts(exemplars: int, n: int = 32) -> dict[str, Any]:
    """Bytes of prompts, and how many of them come first in all."""
    read: list[tuple[int, int]] = []

    def script(request: Request) -> str:
        text = request.messages[0].content + request.continuation
        read.append((len(text[: request.shared_characters].encode()), len(text.encode())))
        return CRITIQUE if text.endswith("Critique:") else f"{REVISION}{len(read)}"

    with tempfile.TemporaryDirectory() as folder:
        reviser = Reviser("harmless", ScriptedLLM(script, "scripted:chains"), exemplars=exemplars, revisions=ROUNDS)
        judge_file(reviser, drafts(n), Path(folder) / "run", progress=False)
    whole = sum(size for _, size in read)
    return {
        "exemplars": exemplars,
        "shared_tokens": round(read[0][0] / BYTES_PER_TOKEN),
        "input_tokens_per_chain": round(whole / n / BYTES_PER_TOKEN),
        "shared_share": round(sum(shared for shared, _ in read) / whole, 3),
        "written_tokens_per_chain": round(ROUNDS * len(CRITIQUE + REVISION) / BYTES_PER_TOKEN),
    }


def local(exemplars: int) -> dict[str, Any]:
    """The bundled model's chains."""
    with tempfile.TemporaryDirectory() as folder:
        settings: dict[str, Any] = {"exemplars": exemplars, "max_tokens": 128, "max_critique_tokens": 96}
        reviser = Reviser("harmless", "pocket:reviser", revisions=ROUNDS, **settings)
        start = time.perf_counter()
        done = judge_file(reviser, drafts(64), Path(folder) / "run", progress=False)
        usage, wall = done.totals.usage, time.perf_counter() - start
    return {
        "exemplars": exemplars,
        "chains_per_s": round(done.count / wall, 2),
        "input_tokens_per_chain": round(usage.input_tokens / done.count),
        "cached_share": round(usage.cached_tokens / usage.input_tokens, 3),
        "written_tokens_per_chain": round(usage.output_tokens / done.count),
    }


def main() -> None:
    """Measure everything and write the results."""
    facts = {
        "latency_s": LATENCY_S,
        "concurrency": CONCURRENCY,
        "rounds": ROUNDS,
        "service": [service(n) for n in (16, 64, 256, 1024)],
        "prompts": [prompts(exemplars) for exemplars in (0, 2, 4)],
        "local": [local(exemplars) for exemplars in (0, 4)],
    }
    write("chains", facts)


if __name__ == "__main__":
    client(*sys.argv[1:]) if len(sys.argv) > 1 else main()
