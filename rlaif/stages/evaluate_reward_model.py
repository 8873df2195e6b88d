"""A reward model on held-out comparisons: scores them, and small edits of them, and says how good the scores are."""

import math
from collections.abc import Sequence
from typing import Any

from rlaif.columns import ColumnMap
from rlaif.conventions import Format
from rlaif.errors import MissingExtraError, RowError
from rlaif.evaluation.alignment import Resampling
from rlaif.evaluation.baselines import TEXT_BASELINES, text_numbers, wins
from rlaif.evaluation.policy import Policy, Ties, Unreadable
from rlaif.evaluation.report import Report
from rlaif.evaluation.reward_model import reward_model_report
from rlaif.evaluation.verdicts import Judgement
from rlaif.io import is_path
from rlaif.stages.edited_scores import Scores, edited_scores, exchanges_of
from rlaif.stages.evaluate import Table
from rlaif.stages.held_out import HeldOut, read_held_out

MODEL = "the reward model"
LIKELIHOODS = ("likelier per token", "likelier as a whole")


def evaluate_reward_model(
    reward_model: str,
    sources: Sequence[Any],
    *,
    against: Sequence[str] = (),
    supervised: str | None = None,
    people: Any = None,
    format: Format = "auto",
    columns: ColumnMap | None = None,
    people_format: Format = "auto",
    people_columns: ColumnMap | None = None,
    ties: Ties = "drop",
    unreadable: Unreadable = "drop",
    by: Sequence[str] = (),
    cluster: str | None = None,
    resamples: int = 2000,
    seed: int = 0,
    progress: bool = True,
) -> Report:
    """Evaluate a reward model on comparisons that it was not trained on: `rlaif evaluate reward-model`.

    Args:
        reward_model: its folder, such as `outputs/reward/model`.
        sources: run folders of `rlaif label`, or files or tables of comparisons; they are joined by id. It is compared
            with `human_preference` (or `annotations`) and with `preference`, each apart, where comparisons have them. A
            column `reference` holds a good response, for ROUGE.
        against: further columns with P(response 1 preferred) that it is compared with.
        supervised: a policy's folder, or `pocket:policy`, whose log-probabilities are baselines; none if None.
        people: a file or table with `id` and `human_preference` or `annotations`; what stands in the sources if None.
        format: whose convention the sources follow that are no run folders.
        columns: which of their columns holds which field.
        people_format: the same of `people`.
        people_columns: the same.
        ties: what is done where somebody is undecided.
        unreadable: what is done where a response is too long to be scored.
        by: columns by whose values accuracy is sliced.
        cluster: the column that says which comparisons belong together; the query if None.
        resamples: how many resamples intervals are drawn from.
        seed: of what is drawn: resamples, edits, and the comparisons that are edited.
        progress: show it on standard error.

    Returns:
        The report; `rlaif.evaluation.writing.write_report` writes it down.

    Raises:
        InputError: a file cannot be read, nothing has a label, or files do not fit each other.
        ConfigError: no such policy for ties or unreadable verdicts.
        ModelError: a folder holds no reward model, or no policy.
    """
    try:
        from rlaif.training.models import find_folder
        from rlaif.training.scoring import RewardModel
    except ModuleNotFoundError as error:
        raise MissingExtraError(error.name or "torch", "train") from error
    policy, resampling = Policy(ties, unreadable), Resampling(resamples, seed)
    tables = [Table(source, format, columns) for source in sources]
    held_out = read_held_out(tables, None if people is None else Table(people, people_format, people_columns), against)
    scores = Scores(RewardModel(find_folder(reward_model)), progress)
    scores.learn("scores", [exchange for one in held_out.comparisons for exchange in exchanges_of(one)])
    shortened = scores.model.shortened
    predictions: dict[str, list[Judgement | None]] = {MODEL: _by_scores(held_out, scores)}
    predictions |= _by_texts(held_out)
    if supervised is not None:
        predictions |= _by_likelihood(held_out, supervised)
    about = {"Reward model": f"{reward_model} ({scores.model.version})", "Data": ", ".join(map(_shown, sources))}
    about |= {} if people is None else {"People": _shown(people)}
    about |= {} if supervised is None else {"Supervised policy": supervised}
    if shortened:
        about["Shortened"] = f"{shortened:,} exchanges lost the left of their query"
    if held_out.unusable:
        about["Not usable"] = ", ".join(f"{count:,} {what}" for what, count in held_out.unusable.items())
    return reward_model_report(
        held_out.items,
        held_out.references,
        predictions,
        policy=policy,
        by=by,
        cluster=cluster,
        resampling=resampling,
        about=about,
        edits=edited_scores(held_out, scores, cluster, seed, resampling),
    )


def _shown(source: Any) -> str:
    return str(source) if is_path(source) else type(source).__name__


def probability(gap: float) -> float:
    """The Bradley-Terry probability that response 1 is preferred.

    Args:
        gap: the logit of response 1 minus that of response 2.

    Returns:
        σ(gap), in [0, 1]; .5 exactly for 0.
    """
    return 0.5 * (1 + math.tanh(gap / 2))


def _by_scores(held_out: HeldOut, scores: Scores) -> list[Judgement | None]:
    said: list[Judgement | None] = []
    for item, one in zip(held_out.items, held_out.comparisons, strict=True):
        first, second = (scores.known[exchange] for exchange in exchanges_of(one))
        if isinstance(first, RowError) or isinstance(second, RowError):
            said.append(Judgement(None, {}, "too_long"))
            continue
        item.columns |= {"score_1": round(first, 4), "score_2": round(second, 4)}
        said.append(Judgement(probability((first - second) * scores.model.score_scale), {}, None))
    return said


def _by_texts(held_out: HeldOut) -> dict[str, list[Judgement | None]]:
    found: dict[str, list[Judgement | None]] = {name: [] for name in TEXT_BASELINES}
    for item, one in zip(held_out.items, held_out.comparisons, strict=True):
        query, reference = [turn.content for turn in one.query], item.columns.get("reference")
        both = [text_numbers(query, text, reference) for text in (one.response_1, one.response_2)]
        for name, first, second in zip(TEXT_BASELINES, *both, strict=True):
            found[name].append(_predicted(first, second))
    return found


def _by_likelihood(held_out: HeldOut, supervised: str) -> dict[str, list[Judgement | None]]:
    from rlaif.training.likelihood import Policy as Supervised
    from rlaif.training.models import find_folder

    exchanges = list(dict.fromkeys(one for each in held_out.comparisons for one in exchanges_of(each)))
    asked = Supervised(find_folder(supervised)).likelihoods(exchanges)
    known = {
        exchange: (None, None) if isinstance(one, RowError) else (one.per_token, one.nats)
        for exchange, one in zip(exchanges, asked, strict=True)
    }
    found: dict[str, list[Judgement | None]] = {}
    for place, name in enumerate(LIKELIHOODS):
        pairs = [[known[exchange][place] for exchange in exchanges_of(one)] for one in held_out.comparisons]
        found[f"{name} under {supervised}"] = [_predicted(first, second) for first, second in pairs]
    return found


def _predicted(first: float | None, second: float | None) -> Judgement | None:
    said = wins(first, second)
    return None if said is None else Judgement(said, {}, None)
