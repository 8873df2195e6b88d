"""A server that speaks OpenAI's and Anthropic's protocols over real sockets, and does everything wrong that servers do.

What it answers is a function of the request alone, so that any two runs can be compared, but for Anthropic's messages,
which carry no seed; what goes wrong is drawn.
It counts what it delivered whole, which a client's own account must equal.
"""

import asyncio
import hashlib
import json
import math
import random
import threading
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from aiohttp import web
from hostile_batches import Batches

TRANSIENT = ("429", "429-after", "500", "529", "reset", "hang", "truncated", "cut", "empty", "html")
"""Faults after which the same request may be answered."""
FINAL = ("null-logprobs", "off-menu", "filtered")
"""Answers that arrive whole and hold no verdict."""
HANG_S = 30.0


class HostileServer:
    """Runs in a thread of its own while the block lasts."""

    def __init__(
        self,
        share: float = 0.0,
        kinds: Sequence[str] = TRANSIENT,
        latency_s: float = 0.0,
        seed: int = 0,
        most: int | None = None,
        keep: bool = True,
        models: Sequence[str] = ("judge",),
        cuts: bool = False,
    ) -> None:
        """Prepare.

        Args:
            share: of the requests that meet a fault.
            kinds: of faults, equally often.
            latency_s: of an answer.
            seed: of what goes wrong.
            most: requests at once; more are answered with 429.
            keep: whether headers and bodies of all requests are kept.
            models: that it says it serves; it asks nobody which one is meant.
            cuts: whether its tokenizer cuts "10" into "1" and "0".
        """
        self.share, self.kinds, self.latency_s, self.most, self.keep = share, kinds, latency_s, most, keep
        self.models, self.cuts, self.is_down = models, cuts, False
        self.asked: Counter[str] = Counter()
        self.delivered: Counter[str] = Counter()
        self.faults: Counter[str] = Counter()
        self.input_tokens = self.output_tokens = self.under_way = self.peak = 0
        self.headers: list[Mapping[str, str]] = []
        self.bodies: list[dict[str, Any]] = []
        self._random = random.Random(seed)
        self.batches = Batches(self)
        self._loop = asyncio.new_event_loop()
        self._ready = threading.Event()
        self._thread = threading.Thread(target=self._serve, daemon=True)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/v1"

    def __enter__(self) -> "HostileServer":
        self._thread.start()
        assert self._ready.wait(10)
        return self

    def __exit__(self, *_: object) -> None:
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)

    def _serve(self) -> None:
        asyncio.set_event_loop(self._loop)

        async def start() -> web.AppRunner:
            app = web.Application(client_max_size=2**26)
            app.router.add_get("/v1/models", self._models)
            app.router.add_get("/other/v1/models", self._models)
            app.router.add_post("/v1/chat/completions", self._answer)
            app.router.add_post("/v1/completions", self._answer)
            app.router.add_post("/v1/messages", self._answer)
            self.batches.add_routes(app.router)
            runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
            await runner.setup()
            site = web.TCPSite(runner, "127.0.0.1", 0, backlog=1024)
            await site.start()
            self.port = runner.addresses[0][1]
            return runner

        runner = self._loop.run_until_complete(start())
        self._ready.set()
        self._loop.run_forever()
        self._loop.run_until_complete(runner.cleanup())
        left = asyncio.all_tasks(self._loop)
        for task in left:
            task.cancel()
        self._loop.run_until_complete(asyncio.gather(*left, return_exceptions=True))
        self._loop.close()

    async def _models(self, _: web.Request) -> web.Response:
        data = [{"id": name, "object": "model", "owned_by": "me"} for name in self.models]
        return web.json_response({"object": "list", "data": data})

    async def _answer(self, request: web.Request) -> web.StreamResponse:
        raw = await request.read()
        body = json.loads(raw)
        name = hashlib.sha256(raw).hexdigest()
        self.asked[name] += 1
        if self.keep:
            self.headers.append(dict(request.headers))
            self.bodies.append(body)
        self.under_way += 1
        self.peak = max(self.peak, self.under_way)
        try:
            fault = self._fault(name)
            if fault:
                self.faults[fault] += 1
            return await self._reply(request, body, name, fault)
        finally:
            self.under_way -= 1

    def _fault(self, name: str) -> str:
        if self.is_down:
            return "500"
        if self.most is not None and self.under_way > self.most:
            return "429"
        if self._random.random() >= self.share:
            return ""
        return self._random.choice(self.kinds)

    async def _reply(self, request: web.Request, body: dict[str, Any], name: str, fault: str) -> web.StreamResponse:
        match fault:
            case "429" | "500" | "529":
                return web.json_response({"error": {"message": "too much"}}, status=int(fault))
            case "429-after":
                error = {"error": {"message": "too much", "code": "rate_limit_exceeded"}}
                return web.json_response(error, status=429, headers={"Retry-After-Ms": "30"})
            case "quota":
                error = {"error": {"message": "You exceeded your current quota", "code": "insufficient_quota"}}
                return web.json_response(error, status=429)
            case "bad" | "unauthorised":
                status = 400 if fault == "bad" else 401
                key = request.headers.get("Authorization", "")
                return web.json_response({"error": {"message": f"wrong: {key}"}}, status=status)
            case "reset":
                assert request.transport is not None
                request.transport.abort()
                return web.Response()
            case "html":
                return web.Response(text="<html><body>Down for maintenance</body></html>", content_type="text/html")
            case "hang":
                await asyncio.sleep(HANG_S)
        await asyncio.sleep(self.latency_s * (5 if fault == "slow" else 1))
        is_message = request.path.endswith("/messages")
        content = message(body, fault, self._random) if is_message else completion(body, fault, self.cuts)
        whole = json.dumps(content).encode()
        if fault == "truncated":
            return web.Response(body=whole[: len(whole) // 2], content_type="application/json")
        if fault == "cut":
            response = web.StreamResponse(headers={"Content-Length": str(len(whole))})
            await response.prepare(request)
            await response.write(whole[: len(whole) // 2])
            assert request.transport is not None
            request.transport.abort()
            return response
        if fault != "hang":
            self._bill(content)
            # Without a choice there is no answer, though it has its price.
            self.delivered[name] += fault != "empty"
        return web.Response(body=whole, content_type="application/json")

    def answer_to(self, body: Mapping[str, Any], fault: str) -> dict[str, Any]:
        """The response to a request of a batch job, billed."""
        is_message = body["model"].startswith("claude")
        content = message(body, fault, self._random) if is_message else completion(body, fault, self.cuts)
        self._bill(content)
        return content

    def _bill(self, content: Mapping[str, Any]) -> None:
        told = content["usage"]
        is_message = "input_tokens" in told
        self.input_tokens += told["input_tokens"] + 7 if is_message else told["prompt_tokens"]
        self.output_tokens += told["output_tokens"] if is_message else told["completion_tokens"]


def probability(body: Mapping[str, Any]) -> float:
    """P("1") for a request: a hash of what it asks, in [.05, .8]; .1 more is on " 1"."""
    text = body.get("prompt") or body["messages"][-1]["content"]
    if isinstance(text, list):
        text = "".join(block["text"] for block in text)
    return 0.05 + 0.75 * int.from_bytes(hashlib.sha256(text.encode()).digest()[:4], "big") / 2**32


def completion(body: Mapping[str, Any], fault: str = "", cuts: bool = False) -> dict[str, Any]:
    """The response's body; behind a "1" of its own it goes on with "0" in two cases of five."""
    first = probability(body)
    likely = {"1": first, " 1": 0.1, "2": 0.85 - first, "The": 0.05}
    asked = body.get("prompt") or body["messages"][-1]["content"]
    if isinstance(asked, str) and asked.startswith(("Repeat this number", "10 10")):
        likely = {"1": 1.0} if cuts else {"10": 1.0}
    elif body.get("prompt", "").endswith("=1"):
        likely = {"0": 0.4, "\n": 0.5, ".": 0.1}
    elif isinstance(asked, str) and asked.endswith("The better option is ("):
        likely = {"A": first, " A": 0.1, "B": 0.85 - first, "The": 0.05}
    if fault == "off-menu":
        likely = {"The": 0.6, "I": 0.3, "1": 0.02, "2": 0.01}
    text = random.Random(body.get("seed")).choices(list(likely), list(likely.values()))[0]
    top = [
        {"token": token, "logprob": math.log(share), "bytes": list(token.encode())} for token, share in likely.items()
    ]
    choice: dict[str, Any] = {"index": 0, "finish_reason": "content_filter" if fault == "filtered" else "length"}
    if isinstance(asked, str) and asked.endswith(("Critique:", "Revision:")):
        text = f"Words {hashlib.sha256(asked.encode()).hexdigest()[:12]} by seed {body.get('seed')}."
        choice["finish_reason"] = "content_filter" if fault == "filtered" else "stop"
    wants = bool(body.get("logprobs")) and fault != "null-logprobs"
    if "prompt" in body:
        shown = {one["token"]: one["logprob"] for one in top}
        choice |= {"text": text, "logprobs": {"tokens": [text], "top_logprobs": [shown]} if wants else None}
    else:
        choice |= {"message": {"role": "assistant", "content": text, "refusal": None}}
        choice["logprobs"] = {"content": [{**top[0], "top_logprobs": top}]} if wants else None
    words = len(json.dumps(body.get("messages") or body.get("prompt")).split())
    return {
        "id": "x",
        "object": "chat.completion",
        "model": "judge-1",
        "choices": [] if fault == "empty" else [choice],
        "usage": {"prompt_tokens": words, "completion_tokens": 1, "total_tokens": words + 1},
    }


def message(body: Mapping[str, Any], fault: str, rng: random.Random) -> dict[str, Any]:
    """The response's body in Anthropic's protocol; 5 tokens of the input were cached, and 2 put into the cache."""
    first = probability(body)
    text = rng.choices(["1", " 1", "2", "The"], [first, 0.1, 0.85 - first, 0.05])[0]
    blocks = [{"type": "thinking", "thinking": "1 or 2?"}, {"type": "text", "text": text}]
    words = len(json.dumps(body["messages"]).split())
    return {
        "id": "x",
        "type": "message",
        "role": "assistant",
        "model": "judge-1",
        "content": None if fault == "empty" else blocks,
        "stop_reason": "refusal" if fault == "filtered" else "end_turn",
        "usage": {
            "input_tokens": words,
            "cache_read_input_tokens": 5,
            "cache_creation_input_tokens": 2,
            "output_tokens": 1,
        },
    }
