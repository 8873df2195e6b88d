"""A run that can be killed: python killable.py DATA OUT LOG [CONSTITUTION]. Every request asked is a line in LOG."""

import os
import sys
from pathlib import Path

from rlaif.constitution.compare import PrincipleLabeler
from rlaif.labeling.preference import PreferenceLabeler
from rlaif.llm.base import NoAnswer, Request
from rlaif.llm.scripted import ScriptedLLM, hashed
from rlaif.stages.judge import judge_file

data, out, log, *constitution = sys.argv[1:]
lines = os.open(log, os.O_WRONLY | os.O_APPEND | os.O_CREAT)


def script(request: Request) -> object:
    key = request.key(llm.identity)
    os.write(lines, (key + "\n").encode())
    return NoAnswer("refused", "by script") if int(key, 16) % 40 == 0 else hashed(request)


llm = ScriptedLLM(script, "scripted:killable", latency_s=0.01)  # type: ignore[arg-type]
llm.in_flight = 8
labeler = (
    PrincipleLabeler(constitution[0], llm, principles_per_label=2, rationale=True)
    if constitution
    else PreferenceLabeler("helpfulness", llm)
)
judge_file(labeler, data, Path(out), progress=False)
