"""Win rates, harmless rates and ratings from files; a labeler judges what nobody has judged yet.

<out>/labels/     the run folder of what was judged now; `<out>/ledger.sqlite` keeps the answers
"""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from rlaif.columns import ColumnMap
from rlaif.conventions import Format, read_fields, read_responses, read_samples
from rlaif.errors import ConfigError, InputError, RowError
from rlaif.evaluation import contests, harmlessness, responses
from rlaif.evaluation import ratings as rated
from rlaif.evaluation import win_rate as won
from rlaif.evaluation.items import Rows
from rlaif.evaluation.matchups import Failures, Ties
from rlaif.evaluation.report import Report
from rlaif.labeling.harmlessness import HarmlessJudge
from rlaif.labeling.preference import PreferenceLabeler
from rlaif.labeling.verdict import draw_seed
from rlaif.records import Sample
from rlaif.stages.judge import judge_file
from rlaif.stages.labels import is_run, read_labels
from rlaif.stages.policies import policy_names, stem, writer

LABELS = "labels"


def win_rate(
    sources: Sequence[Path] = (),
    *,
    labeler: PreferenceLabeler | None = None,
    out: Path | None = None,
    people: Path | None = None,
    policy: str | None = None,
    baseline: str | None = None,
    ties: Ties = "half",
    failures: Failures = "drop",
    format: Format = "auto",
    columns: ColumnMap | None = None,
    resamples: int = 2000,
    seed: int = 0,
    **options: Any,
) -> Report:
    """Evaluate how often one policy's responses are preferred to another's: `rlaif evaluate win-rate`.

    Args:
        sources: a run folder or a file of labels; or, with a labeler, two files of samples that are joined by id.
        labeler: judges the first response of each in both orders, into `out/labels`; run again to resume.
        out: where to; needed with a labeler.
        people: a file of what people said of pairs (`rlaif audit collect` writes one), beside labels or alone.
        policy: the model whose wins are counted; with two files that of the first.
        baseline: the model it is compared with.
        ties: what a tie counts.
        failures: what a pair counts that could not be judged.
        format: whose convention a file of labels follows.
        columns: which column of the sources holds which field.
        resamples: how many resamples intervals are drawn from.
        seed: of resamples, and of the coin that says which policy's response is response 1.
        **options: see `judge_file`.

    Returns:
        The report; nothing but the labels is written.

    Raises:
        InputError: a file cannot be read, holds no judgement, or fits no other.
        ConfigError: too many or too few files, or no such policy for ties or failures.
    """
    about = {"Labels": ", ".join(map(str, sources))} if sources else {}
    if labeler is not None:
        if len(sources) != 2 or out is None:
            raise ConfigError("a labeler compares two files of samples, one a policy, and needs out; name both files")
        names, pairs, joined = _joined(sources, columns, seed)
        policy = names[0] if policy is None and baseline is None else policy
        about = {"Samples": about["Labels"], "Labeler": labeler.llm.name} | joined
        rows: list[Rows] = [_judged(labeler, pairs, out / LABELS, options)]
    elif len(sources) > 1:
        raise ConfigError("two files of samples have to be judged: name --task and --llm; labels are in one file")
    else:
        rows = [_rows(source, format, columns) for source in sources]
    if people is not None:
        about["People"] = str(people)
        rows.append(_of_people(people))
    if not rows:
        raise ConfigError("name a run folder, a file of labels, two files of samples, or --people")
    found = contests.read_contests(*rows, people_beside=people is None)
    settings: dict[str, Any] = {"ties": ties, "failures": failures, "resamples": resamples, "seed": seed}
    return won.win_rate(found, policy=policy, baseline=baseline, about=about, **settings)


def harmless_rate(
    sources: Sequence[Path] = (),
    *,
    judge: HarmlessJudge | None = None,
    out: Path | None = None,
    people: Path | None = None,
    threshold: float = 0.5,
    failures: harmlessness.Failures = "drop",
    format: Format = "auto",
    columns: ColumnMap | None = None,
    resamples: int = 2000,
    seed: int = 0,
    **options: Any,
) -> Report:
    """Evaluate how many responses are harmless: `rlaif evaluate harmless-rate`.

    Args:
        sources: run folders or files with `harmless`; or, with a judge, files of samples or responses, one a policy.
        judge: judges every response, into `out/labels`; run again to resume.
        out: where to; needed with a judge.
        people: a file of what people said of responses (`rlaif audit collect` writes one), beside labels or alone.
        threshold: P(yes) from which a response counts as harmless.
        failures: what a response counts that could not be judged.
        format: whose convention files follow.
        columns: which of their columns holds which field.
        resamples: how many resamples intervals are drawn from.
        seed: of resamples.
        **options: see `judge_file`.

    Returns:
        The report; nothing but the labels is written.

    Raises:
        InputError: a file cannot be read, or holds no judgement.
        ConfigError: no file, or a setting that will not do.
    """
    about = {"Responses": ", ".join(map(str, sources))} if sources else {}
    if judge is not None:
        if not sources or out is None:
            raise ConfigError("a judge needs files of samples, one a policy, and out")
        about["Labeler"] = judge.llm.name
        found = [("responses", _judged_responses(judge, sources, out / LABELS, format, columns, options, about))]
    else:
        found = [(stem(source), _rows(source, format, columns)) for source in sources]
    if people is not None:
        about["People"] = str(people)
    elif not sources:
        raise ConfigError("name files of samples, a run folder or a file with harmless, or --people")
    read = responses.read_responses(*found, people=[] if people is None else [_of_people(people)])
    return harmlessness.harmless_rate(
        read, threshold=threshold, failures=failures, resamples=resamples, seed=seed, about=about
    )


def ratings(
    sources: Sequence[Path] = (),
    *,
    people: Path | None = None,
    ties: Ties = "half",
    format: Format = "auto",
    columns: ColumnMap | None = None,
    resamples: int = 1000,
    seed: int = 0,
) -> Report:
    """Rate models by who won against whom: `rlaif evaluate ratings`.

    Args:
        sources: run folders, or files with `model_1`, `model_2` and `preference` (or another judgement).
        people: a file of what people said of pairs.
        ties: what a tie counts.
        format: whose convention files follow.
        columns: which of their columns holds which field.
        resamples: how many resamples intervals are drawn from.
        seed: of resamples and of the orders of matches.

    Returns:
        The report; nothing is written.

    Raises:
        InputError: a file cannot be read, or holds no judgement.
        MissingExtraError: evalica is not installed.
    """
    if not sources and people is None:
        raise ConfigError("name run folders, files of matches, or --people")
    about = {"Matches": ", ".join(map(str, sources))} if sources else {}
    rows = [_rows(source, format, columns) for source in sources]
    if people is not None:
        about["People"] = str(people)
        rows.append(_of_people(people))
    found = contests.read_contests(*rows, people_beside=people is None)
    return rated.ratings(found, ties=ties, resamples=resamples, seed=seed, about=about)


def _rows(source: Path, format: Format, columns: ColumnMap | None) -> Rows:
    if is_run(source):
        return ((str(source), row) for row in read_labels(source))
    return read_fields(source, format, columns)


def _of_people(path: Path) -> Rows:
    """What people said; rows may carry a labeler's verdict along, which is not theirs."""
    for where, fields in read_fields(path):
        if isinstance(fields, RowError):
            yield where, fields
        else:
            yield where, {name: value for name, value in fields.items() if not name.startswith(_VERDICTS)}


_VERDICTS = ("preference", "verdict", "completion", "failure")


def _samples(path: Path, columns: ColumnMap | None) -> tuple[dict[str, tuple[str, Sample]], int]:
    """The samples of a file by id, with their places, and how many rows cannot be used."""
    found: dict[str, tuple[str, Sample]] = {}
    unusable = 0
    for where, sample in read_samples(path, columns):
        if isinstance(sample, RowError) or not sample.responses:
            unusable += 1
        elif found.setdefault(sample.id, (where, sample))[1] != sample:
            raise InputError(f"{where}: id {sample.id} is there twice; samples are joined by id")
    return found, unusable


def _joined(
    files: Sequence[Path], columns: ColumnMap | None, seed: int
) -> tuple[list[str], list[dict[str, Any]], dict[str, str]]:
    """Two policies' names, pairs of their first responses, and what was left out."""
    (mine, bad_1), (theirs, bad_2) = (_samples(file, columns) for file in files)
    shared = [identifier for identifier in mine if identifier in theirs]
    if not shared:
        ids = (next(iter(each), "none") for each in (mine, theirs))
        raise InputError(
            f"{files[0]} and {files[1]}: have no id in common (ids there: {next(ids)}, …; here: {next(ids)}, …); rows "
            "are joined by id, so both files need the ids of the queries"
        )
    names = policy_names(files, [(sample.llm for _, sample in each.values()) for each in (mine, theirs)])
    pairs = []
    for identifier in shared:
        (_, one), (where, other) = mine[identifier], theirs[identifier]
        if one.query != other.query:
            raise InputError(
                f"{where}: id {identifier} has another query in {files[0]}; are these ids of the same data?"
            )
        sides = [(one.responses[0], names[0]), (other.responses[0], names[1])]
        if draw_seed(seed, identifier, "response 1", 0) % 2:
            sides.reverse()
        (response_1, model_1), (response_2, model_2) = sides
        pair = {"id": identifier, "query": [turn.model_dump() for turn in one.query], "response_1": response_1}
        pairs.append({**pair, "response_2": response_2, "model_1": model_1, "model_2": model_2})
    said = f"{len(pairs):,} by id"
    for file, alone, bad in zip(files, (len(mine) - len(pairs), len(theirs) - len(pairs)), (bad_1, bad_2), strict=True):
        said += f"; {alone:,} only in {file}" if alone else ""
        said += f"; {bad:,} of {file} cannot be read" if bad else ""
    return names, pairs, {"Joined": said}


def _judged(
    labeler: PreferenceLabeler, pairs: Sequence[dict[str, Any]], out: Path, options: dict[str, Any]
) -> Iterator[tuple[str, dict[str, Any] | RowError]]:
    """Pairs with labels. Identical responses are a tie that needs no asking; what cannot be asked is a failure."""
    asked = [pair for pair in pairs if pair["response_1"] != pair["response_2"]]
    if asked:
        judge_file(labeler, asked, out, **options)
    labels = {str(row["id"]): row for row in (read_labels(out) if asked else ())}
    even: dict[str, Any] = {"preference": 0.5, "llm": labeler.llm.name}
    if labeler.config.orders == "both":
        even |= {"preference_12": 0.5, "preference_21": 0.5}
    for pair in pairs:
        where = f"{out}: id {pair['id']}"
        if pair["response_1"] == pair["response_2"]:
            yield where, pair | even
        else:
            yield where, labels.get(pair["id"], pair | {"failure": "rejected"}) | {"labeler": labeler.llm.name}


def _judged_responses(
    judge: HarmlessJudge,
    files: Sequence[Path],
    out: Path,
    format: Format,
    columns: ColumnMap | None,
    options: dict[str, Any],
    about: dict[str, str],
) -> Rows:
    """Responses with judgements; ids say whose they are, since policies answer the same queries."""
    read = [list(read_responses(file, format, columns)) for file in files]
    rows = [[one.model_dump(exclude_none=True) for _, one in each if not isinstance(one, RowError)] for each in read]
    bad = sum(map(len, read)) - sum(map(len, rows))
    if bad:
        about["Rows that cannot be read"] = f"{bad:,}"
    names = policy_names(files, [(row.get("llm") for row in each) for each in rows])
    items = []
    for name, each in zip(names, rows, strict=True):
        for row in each:
            policy = str(writer(row) or name) if len(files) == 1 else name
            items.append(row | {"id": f"{policy}/{row['id']}", "model": policy})
    judge_file(judge, items, out, **options)
    labels = {(row["id"], row.get("response_index", 0)): row for row in read_labels(out)}
    for row in items:
        key = row["id"], row["response_index"]
        # A failure does not say who judged.
        yield f"{out}: id {key[0]}", labels.get(key, row | {"failure": "rejected"}) | {"labeler": judge.llm.name}
