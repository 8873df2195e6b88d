"""The batch endpoints of the hostile server: both protocols, and jobs that end as badly as jobs do."""

import asyncio
import json
import random
import time
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from aiohttp import web


@dataclass
class Batch:
    """One job: its requests, and how it goes.

    Its `fault` may be `expire` (every second request is not got to), `errors` (some rows are server errors, one is a
    bad request), `broken` (one row has no choice), `full` (too many tokens wait) or `invalid` (the whole job is).
    """

    id: str
    rows: list[dict[str, Any]]
    fault: str
    metadata: Mapping[str, str] = field(default_factory=dict)
    created: float = field(default_factory=time.time)
    looks: int = 0
    results: list[dict[str, Any]] = field(default_factory=list)


class Batches:
    """Jobs handed in, of both protocols.

    Attributes:
        looks: how often a job is looked at before it ends.
        faults: of the next jobs, in order; then none.
        most: requests that a job may have before the queue is full.
        room: requests that may wait in all jobs together before the queue is full.
        hidden: ids of jobs that it says it does not know, as to another key.
        hidden_results: ids of jobs whose results it does not know any more.
        lose_reply: whether the next submission is taken, and its reply cut off.
        hold_reply_s: how long the reply to a submission takes.
        answered: how often each key was answered, and so billed.
    """

    def __init__(self, server: Any) -> None:
        self._server = server
        self.looks, self.most, self.lose_reply, self.hold_reply_s = 1, 10**9, False, 0.0
        self.room = 10**9
        self.hidden: set[str] = set()
        self.hidden_results: set[str] = set()
        self.faults: list[str] = []
        self.jobs: list[Batch] = []
        self.answered: Counter[str] = Counter()
        self._files: dict[str, bytes] = {}
        self._rng = random.Random(0)

    def add_routes(self, router: web.UrlDispatcher) -> None:
        router.add_post("/v1/files", self._upload)
        router.add_get("/v1/files/{id}/content", self._content)
        router.add_post("/v1/batches", self._create)
        router.add_get("/v1/batches", self._list)
        router.add_get("/v1/batches/{id}", self._look)
        router.add_post("/v1/messages/batches", self._create_messages)
        router.add_get("/v1/messages/batches", self._list_messages)
        router.add_get("/v1/messages/batches/{id}", self._look_messages)
        router.add_get("/v1/messages/batches/{id}/results", self._results_messages)

    async def _upload(self, request: web.Request) -> web.Response:
        form = await request.post()
        assert form["purpose"] == "batch"
        name = f"file-{len(self._files)}"
        self._files[name] = form["file"].file.read()  # type: ignore[union-attr]
        return web.json_response({"id": name, "object": "file", "bytes": 1, "created_at": 1, "filename": "x",
                                  "purpose": "batch", "status": "processed"})  # fmt: skip

    async def _content(self, request: web.Request) -> web.Response:
        name = request.match_info["id"]
        if name.rpartition("-")[0] in self.hidden_results:
            raise _not_found(name)
        return web.Response(body=self._files[name])

    async def _create(self, request: web.Request) -> web.Response:
        body = await request.json()
        rows = [json.loads(line) for line in self._files[body["input_file_id"]].split(b"\n") if line]
        assert {row["url"] for row in rows} == {body["endpoint"]}
        batch = self._take([{"key": row["custom_id"], "body": row["body"]} for row in rows], body.get("metadata"))
        return await self._replied(request, self._openai(batch))

    async def _create_messages(self, request: web.Request) -> web.Response:
        body = await request.json()
        batch = self._take([{"key": row["custom_id"], "body": row["params"]} for row in body["requests"]], {})
        return await self._replied(request, self._anthropic(batch))

    async def _replied(self, request: web.Request, reply: dict[str, Any]) -> web.Response:
        if self.lose_reply:
            self.lose_reply = False
            assert request.transport is not None
            request.transport.abort()
            await asyncio.sleep(0)
        await asyncio.sleep(self.hold_reply_s)
        return web.json_response(reply)

    def _take(self, rows: list[dict[str, Any]], metadata: Mapping[str, str] | None) -> Batch:
        fault = self.faults.pop(0) if self.faults else ""
        waiting = sum(len(one.rows) for one in self.jobs if not self._ended(one))
        if len(rows) > self.most or len(rows) + waiting > self.room:
            fault = "full"
        batch = Batch(f"batch-{len(self.jobs)}", rows, fault, metadata or {})
        self.jobs.append(batch)
        return batch

    def _find(self, request: web.Request) -> Batch:
        name = request.match_info["id"]
        if name in self.hidden:
            raise _not_found(name)
        return next(one for one in self.jobs if one.id == name)

    def _advance(self, batch: Batch) -> None:
        batch.looks += 1
        if batch.results or not self._ended(batch) or batch.fault in ("full", "invalid"):
            return
        for place, row in enumerate(batch.rows):
            fault = ""
            if batch.fault == "expire" and place % 2:
                fault = "expired"
            elif batch.fault == "errors" and place % 3:
                fault = "bad" if place == 1 else "error"
            elif batch.fault == "broken" and place == 0:
                fault = "empty"
            batch.results.append({"key": row["key"], "fault": fault, "body": self._answer(row, fault)})
        # In any order.
        self._rng.shuffle(batch.results)

    def _answer(self, row: dict[str, Any], fault: str) -> dict[str, Any] | None:
        if fault not in ("", "empty"):
            return None
        self.answered[row["key"]] += 1
        return self._server.answer_to(row["body"], fault)  # type: ignore[no-any-return]

    def _ended(self, batch: Batch) -> bool:
        return batch.fault == "full" or batch.looks > self.looks

    async def _look(self, request: web.Request) -> web.Response:
        batch = self._find(request)
        self._advance(batch)
        return web.json_response(self._openai(batch))

    async def _list(self, request: web.Request) -> web.Response:
        data = [self._openai(one) for one in reversed(self.jobs)]
        return web.json_response({"object": "list", "data": data, "has_more": False})

    def _openai(self, batch: Batch) -> dict[str, Any]:
        told: dict[str, Any] = {
            "id": batch.id, "object": "batch", "endpoint": "/v1/chat/completions", "completion_window": "24h",
            "created_at": int(batch.created), "input_file_id": "x", "metadata": dict(batch.metadata),
            "status": "in_progress",
            "request_counts": {"total": len(batch.rows), "completed": len(batch.results), "failed": 0},
        }  # fmt: skip
        if not self._ended(batch):
            return told
        if batch.fault in ("full", "invalid"):
            code = "token_limit_exceeded" if batch.fault == "full" else "invalid_json_line"
            return told | {"status": "failed", "errors": {"object": "list", "data": [{"code": code, "message": "no"}]}}
        good = [{"custom_id": one["key"], "response": {"status_code": 200, "body": one["body"]}, "error": None}
                for one in batch.results if one["body"] is not None]  # fmt: skip
        bad = []
        for one in batch.results:
            if one["fault"] == "expired":
                error = {"code": "batch_expired", "message": "not got to"}
                bad.append({"custom_id": one["key"], "response": None, "error": error})
            elif one["fault"] in ("error", "bad"):
                status = 400 if one["fault"] == "bad" else 500
                reply = {"status_code": status, "body": {"error": {"message": "something is wrong"}}}
                bad.append({"custom_id": one["key"], "response": reply, "error": None})
        for name, rows in (("output_file_id", good), ("error_file_id", bad)):
            file = f"{batch.id}-{name}"
            self._files[file] = "".join(json.dumps(row) + "\n" for row in rows).encode()
            told[name] = file if rows else None
        return told | {"status": "expired" if batch.fault == "expire" else "completed"}

    async def _look_messages(self, request: web.Request) -> web.Response:
        batch = self._find(request)
        self._advance(batch)
        return web.json_response(self._anthropic(batch))

    async def _list_messages(self, request: web.Request) -> web.Response:
        for batch in self.jobs:
            self._advance(batch)
        data = [self._anthropic(one) for one in reversed(self.jobs)]
        return web.json_response({"data": data, "has_more": False, "first_id": None, "last_id": None})

    def _anthropic(self, batch: Batch) -> dict[str, Any]:
        kinds = Counter(
            {"": "succeeded", "empty": "succeeded", "expired": "expired"}.get(one["fault"], "errored")
            for one in batch.results
        )
        names = ("succeeded", "errored", "expired", "canceled")
        counts = {name: kinds[name] for name in names} | {"processing": len(batch.rows) - len(batch.results)}
        stamp = datetime.fromtimestamp(batch.created, UTC).isoformat()
        return {
            "id": batch.id, "type": "message_batch", "request_counts": counts, "created_at": stamp,
            "expires_at": stamp, "processing_status": "ended" if self._ended(batch) else "in_progress",
        }  # fmt: skip

    async def _results_messages(self, request: web.Request) -> web.Response:
        lines = []
        if request.match_info["id"] in self.hidden_results:
            raise _not_found(request.match_info["id"])
        for one in self._find(request).results:
            if one["body"] is not None:
                result = {"type": "succeeded", "message": one["body"]}
            elif one["fault"] == "expired":
                result = {"type": "expired"}
            else:
                kind = "invalid_request_error" if one["fault"] == "bad" else "api_error"
                error = {"type": "error", "error": {"type": kind, "message": "something is wrong"}}
                result = {"type": "errored", "error": error}
            lines.append(json.dumps({"custom_id": one["key"], "result": result}) + "\n")
        return web.Response(body="".join(lines).encode())


def _not_found(name: str) -> web.HTTPNotFound:
    error = {"error": {"message": f"No such object: {name}"}}
    return web.HTTPNotFound(text=json.dumps(error), content_type="application/json")
