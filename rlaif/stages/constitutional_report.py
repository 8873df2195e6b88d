"""The report of Constitutional AI: run folders in, judged by gold or by an LLM, a page out."""

import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import yaml

from rlaif.conventions import read_responses
from rlaif.errors import ConfigError, InputError, RowError
from rlaif.evaluation.constitutional import Chains, Judged, constitutional_report
from rlaif.evaluation.report import Report
from rlaif.evaluation.writing import write_report
from rlaif.io import read_rows, write_lines
from rlaif.labeling.harmlessness import HarmlessJudge
from rlaif.labeling.score import Scorer
from rlaif.llm.base import LLM
from rlaif.llm.open import open_llm
from rlaif.pocket.gold import judge
from rlaif.records import Harmlessness, Response, RevisionChain, Score, content_id
from rlaif.stages.chains import read_chains
from rlaif.stages.judge import judge_file
from rlaif.stages.labels import RECORD_FILES, is_run, records_file


class _Verdict(NamedTuple):
    harmless: float | None
    helpful: float | None
    harmful: bool | None = None


def report_constitutional(
    out: Path,
    *,
    stages: Mapping[str, Path],
    chains: Sequence[Path] = (),
    llm: str | LLM | None = None,
    reading: Mapping[str, Any] | None = None,
    ledger: Path | None = None,
    progress: bool = True,
) -> Report:
    """Judge responses of every stage and round, and write `report.json`, `report.md` and `report.html`.

    Args:
        out: the folder; an LLM's judgements are kept in it, so that a second run asks for none of them.
        stages: samples or responses by the stage's name, the first one first; the same queries, so that differences
            are paired. A column `harmful` says which queries ask for harm.
        chains: run folders of `rlaif revise`; the first one's are shown to read.
        llm: judges harmlessness (yes or no) and helpfulness (1 to 10); the world's own gold if None.
        reading: how its verdicts are read: settings that `HarmlessJudge` and `Scorer` share, such as `method`.
        ledger: where its answers are kept.
        progress: show it on standard error.

    Returns:
        What was written.

    Raises:
        InputError: a file cannot be read, or without an LLM a query is not of the pocket world.
    """
    if not stages and not chains:
        raise ConfigError("there is nothing to report; name stages, chains or both")
    answers = {name: _responses(path) for name, path in stages.items()}
    runs = {path: list(read_chains(path)) for path in chains}
    texts = [one for some in answers.values() for one in some]
    texts += [one for some in runs.values() for chain in some for one in _unrolled(chain)]
    if llm is None:
        verdicts, failed = _by_gold(texts), ""
    else:
        verdicts, failed = _by_llm(texts, llm, reading or {}, out, ledger, progress)

    def judged(some: Iterable[Response]) -> list[Judged]:
        return [
            Judged(
                f"{one.id}#{one.response_index}",
                one.id,
                verdict.harmful,
                verdict.harmless,
                verdict.helpful,
                one.response,
            )
            for one in some
            for verdict in (verdicts[_key(one)],)
        ]

    names = _names(list(runs))
    found = [
        Chains(names[path], *_settings(path), some, [judged(_unrolled(chain)) for chain in some])
        for path, some in runs.items()
    ]
    about = {
        "Stages": "; ".join(f"{name}: {path}" for name, path in stages.items()) or "-",
        "Chains": "; ".join(f"{names[path]}: {path}" for path in runs) or "-",
        "Without a result": _failures({**stages, **{names[path]: path for path in runs}}) or "-",
        "Judgements that failed": failed or "-",
        "Judged by": "gold of the pocket world" if llm is None else (llm if isinstance(llm, str) else llm.name),
        "Intervals": "95 %, over resampled queries",
    }
    report = constitutional_report({name: judged(some) for name, some in answers.items()}, found, about)
    write_report(report, out)
    return report


def _responses(path: Path) -> list[Response]:
    found = []
    for where, row in read_responses(records_file(path)):
        if isinstance(row, RowError):
            raise InputError(f"{where}: {row}")
        found.append(row)
    return found


def _unrolled(chain: RevisionChain) -> list[Response]:
    """A chain's response after 0, 1, 2, … rounds."""
    columns = dict(chain.model_extra or {})
    own = {"id": chain.id, "query": chain.query, "response_index": chain.response_index}
    return [Response.model_validate({**columns, **own, "response": text}) for text in chain.responses()]


def _key(one: Response) -> str:
    return content_id([[turn.model_dump() for turn in one.query], one.response])


def _folder(path: Path) -> Path:
    return path if path.is_dir() else path.parent


def _names(paths: Sequence[Path]) -> dict[Path, str]:
    """Folders by their own names; where two are the same, by their paths."""
    folders = list(map(_folder, paths))
    names = [folder.name for folder in folders]
    return {
        path: folder.name if names.count(folder.name) == 1 else str(folder)
        for path, folder in zip(paths, folders, strict=True)
    }


def _failures(sources: Mapping[str, Path]) -> str:
    """How many items of the run folders have no record, and why: no rate of the report counts them."""
    found = []
    for name, path in sources.items():
        failures = _folder(path) / "failures.jsonl"
        is_of_run = is_run(path) or path.name in RECORD_FILES
        if is_of_run and failures.is_file() and failures.stat().st_size:
            rows = (row for _, row in read_rows(failures) if not isinstance(row, RowError))
            kinds = sorted(Counter(str(row.get("failure")) for row in rows).items())
            found.append(f"{name}: {', '.join(f'{count:,} {kind}' for kind, count in kinds)}")
    return "; ".join(found)


def _settings(path: Path) -> tuple[bool, int, str]:
    """Whether a run asked for critiques, how many principles it drew from, and whatever else could change a chain."""
    config = _folder(path) / "config.yaml"
    try:
        identity = yaml.safe_load(config.read_text(encoding="utf-8"))["identity"]
        settings = {name: value for name, value in identity["settings"].items() if "critique" not in name}
        others = json.dumps([settings, identity["constitution"], identity["llm"]], sort_keys=True)
        return bool(identity["settings"]["critique"]), int(identity["principles"]), others
    except (OSError, yaml.YAMLError, KeyError, TypeError) as error:
        raise InputError(f"{config}: is not the configuration of rlaif revise; name its run folder") from error


def _by_gold(texts: Iterable[Response]) -> dict[str, _Verdict]:
    found = {}
    for one in texts:
        try:
            said = judge(one.query, one.response)
        except RowError as error:
            raise InputError(f"{one.id}: {error}; name an LLM that judges with --judge") from error
        found[_key(one)] = _Verdict(float(not said.complies_with_harm), said.help, said.harmful_request)
    return found


def _by_llm(
    texts: Sequence[Response],
    llm: str | LLM,
    reading: Mapping[str, Any],
    out: Path,
    ledger: Path | None,
    progress: bool,
) -> tuple[dict[str, _Verdict], str]:
    """Each different text is judged once; and what of that failed, in words."""
    by_key = {_key(one): one for one in texts}
    rows = out / "responses.jsonl"
    write_lines(
        rows,
        (
            json.dumps({"id": key, "query": [turn.model_dump() for turn in one.query], "response": one.response})
            for key, one in by_key.items()
        ),
    )
    harmless: dict[str, float] = {}
    helpful: dict[str, float] = {}
    failed = list[str]()
    llm = open_llm(llm) if isinstance(llm, str) else llm
    for judging, name, found in (
        (HarmlessJudge(llm=llm, **reading), "harmlessness", harmless),
        (Scorer("helpfulness", llm, **reading), "helpfulness", helpful),
    ):
        done = judge_file(judging, rows, out / name, ledger=ledger, progress=progress)
        if done.failures:
            kinds = ", ".join(f"{count:,} {kind}" for kind, count in sorted(done.failures.items()))
            failed.append(f"{name}: {kinds} of {len(by_key):,}")
        for line in done.records.read_text(encoding="utf-8").splitlines():
            record = judging.record.model_validate_json(line)
            if isinstance(record, Harmlessness):
                found[record.id] = float(record.harmless >= 0.5)
            elif isinstance(record, Score):
                found[record.id] = record.score
    # Where a stage's rows do not say whether a query asks for harm, another's may.
    harmful = {_key(one): said for one in texts if (said := _is_harmful(one.model_extra)) is not None}
    verdicts = {key: _Verdict(harmless.get(key), helpful.get(key), harmful.get(key)) for key in by_key}
    return verdicts, "; ".join(failed)


def _is_harmful(columns: Mapping[str, Any] | None) -> bool | None:
    """What a row says in its column `harmful`; CSV knows only text."""
    return {"true": True, "false": False}.get(str((columns or {}).get("harmful")).lower())
