"""Train a policy online in a run folder: its reward is a labeler, a reward model, or a function."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

from pydantic import Field

from rlaif.config import Config
from rlaif.errors import ConfigError, MissingExtraError
from rlaif.generation import fingerprint as model_fingerprint
from rlaif.io import write_lines
from rlaif.rewards import FromScores, RewardFn
from rlaif.rewards.base import added_usage
from rlaif.stages.fingerprints import fingerprint
from rlaif.stages.folder import Folder
from rlaif.stages.labels import records_file
from rlaif.stages.telling import Telling
from rlaif.stages.tracker import check_tracker, tracking
from rlaif.stages.trained_once import trained_once
from rlaif.stages.training_report import report_training
from rlaif.stages.watchers import Watch, Watchers
from rlaif.training.data import read_online_queries
from rlaif.training.fitting import processes
from rlaif.training.judging import Failures, Judge
from rlaif.training.kl_control import KL
from rlaif.training.models import find_folder, save_folder
from rlaif.training.online import Online
from rlaif.training.online_settings import Drawing, Saving, Stepping
from rlaif.training.policy_value import load_with_value
from rlaif.training.ppo import Clipping, train_ppo
from rlaif.training.reinforce import train_reinforce
from rlaif.training.rollout import TransformersRollout
from rlaif.training.settings import Lora
from rlaif.training.tokens import Tokenizer


class Labeler(Config):
    """Who rewards.

    Attributes:
        llm: `provider:model`, whose expected score from 1 to 10, mapped to [−1, 1], is the reward.
        task: what it judges by: a task's name or folder.
        exemplars: worked examples in its prompt.
        rationale: whether it writes a rationale first.
        method: how scores are read (see `rlaif score`).
        reward_model: the folder of a reward model, which then rewards in the labeler's place.
        base_url: of a server that speaks the provider's protocol.
        key_variable: the environment variable that holds its key.
        concurrency: requests under way at once.
        max_cost_usd: a cap that no start passes; of several processes each has an equal share of it.
        prices: a file with prices of tokens.
        ledger: where a service's answers are kept; `ledger.sqlite` beside the run folder if None.
    """

    llm: str = "pocket:labeler-l"
    task: str = "helpfulness"
    exemplars: int = Field(default=0, ge=0)
    rationale: bool = False
    method: Literal["auto", "exact", "logprobs", "sampled"] = "auto"
    reward_model: str | None = None
    base_url: str | None = None
    key_variable: str | None = None
    concurrency: int = Field(default=64, ge=1)
    max_cost_usd: float | None = Field(default=None, gt=0)
    prices: Path | None = None
    ledger: Path | None = None


class OnlineConfig(Config):
    """How a policy is trained online.

    Attributes:
        model: the policy it starts from, which is the reference too: a folder, or `pocket:policy`.
        queries: what it answers: a file or run folder.
        steps: in all.
        limit: take only the first queries.
        lora: train adapters instead of all weights, without dropout; the reference is then the same model without them.
        rollout: what a step draws.
        optimisation: how weights change.
        kl: how the policy is held to the reference.
        labeler: who rewards.
        failures: what a failed judgement means.
        watch: what is looked at beside the reward.
        checkpoints: when it is saved.
    """

    model: str
    queries: Path
    steps: int = Field(default=100, ge=1)
    limit: int | None = Field(default=None, ge=1)
    lora: Lora = Lora()
    rollout: Drawing = Drawing()
    optimisation: Stepping = Stepping()
    kl: KL = KL()
    labeler: Labeler = Labeler()
    failures: Failures = Failures()
    watch: Watch = Watch()
    checkpoints: Saving = Saving()


class PPOConfig(OnlineConfig):
    """How a policy is trained by PPO.

    Attributes:
        ppo: its own numbers.
    """

    ppo: Clipping = Clipping()


class ReinforceConfig(OnlineConfig):
    """How a policy is trained by REINFORCE; β of `kl` is that of arXiv:2309.00267."""


_OF_THE_LABELER = {"base_url", "key_variable", "concurrency", "max_cost_usd", "prices", "ledger"}
"""Its settings that change no reward."""


def run_online(
    config: OnlineConfig, out: Path, reward: RewardFn | None = None, *, progress: bool = True
) -> tuple[dict[str, Any], bool]:
    """Train a policy; started again, go on from the last checkpoint.

    Args:
        config: a `PPOConfig` or `ReinforceConfig`.
        out: the run folder.
        reward: a reward function in place of the config's labeler.
        progress: show it on standard error.

    Returns:
        What it came to, as in the manifest, and whether that was so before.

    Raises:
        ConfigError: more processes train together than a step has responses.
        InputError: the queries cannot be read.
        ModelError: a model cannot be found or loaded.
        MissingExtraError: the tracker is not installed.
        RunFolderError: the folder holds another run.
        TrainingError: a gradient is no number, or the labeler fails too often; the last checkpoint is kept.
        KeyboardInterrupt: after Ctrl-C, when a checkpoint is written.
        SystemExit: after SIGTERM, likewise.
    """
    check_tracker(config.watch.tracker)
    if (batch := config.rollout.batch) < (together := processes().num_processes):
        raise ConfigError(
            f"rollout.batch is {batch}, and {together} processes train together: each needs a response of its own in "
            f"every step; let it be {together} or more, or start fewer processes"
        )
    method = "ppo" if isinstance(config, PPOConfig) else "reinforce"
    config = config.model_copy(update={"queries": records_file(config.queries)})

    def work(folder: Folder | None, facts: dict[str, Any]) -> None:
        tokenizer = Tokenizer(find_folder(config.model))
        queries, failures, shortened = read_online_queries(
            config.queries, tokenizer, config.rollout.query_tokens, config.limit
        )
        budget = _budget(config.labeler)
        fn, local = (reward, False) if reward is not None else _reward(config, out, budget)
        if folder is not None:
            folder.write_config(_operation(config))
            write_lines(out / "rejected.jsonl", (one.to_json() for one in failures))
        facts |= {"model": config.model, "queries": len(queries), "rejected": len(failures), "shortened": shortened}
        facts["steps"] = config.steps
        others = _others(config, budget, fn, reward is not None)
        with _training(config, out, tokenizer, queries, fn, local, others, progress) as run:
            try:
                run.go_on()
                if run.step == 0:
                    run.watch(0, {})
                if isinstance(config, PPOConfig):
                    train_ppo(run, config.ppo, config.kl)
                else:
                    train_reinforce(run, config.kl)
            finally:
                facts |= {"usage": dict(fn.usage()), "usage_of_watchers": added_usage(others.values())}
            if folder is not None:
                save_folder(run.model.merged(), tokenizer.tokenizer, out / "model")

    facts, before = trained_once(out, _identity(method, config, reward), work)
    if processes().is_main_process and not before:
        try:
            report_training(out)
        except MissingExtraError as error:
            Telling(str(out), config.steps, progress).warn(f"no report.html: {error}, and then rlaif report {out}")
    return facts, before


@contextmanager
def _training(
    config: OnlineConfig,
    out: Path,
    tokenizer: Tokenizer,
    queries: Any,
    reward: RewardFn,
    local: bool,
    others: Mapping[str, RewardFn],
    progress: bool,
) -> Iterator[Online]:
    """Models, judge and watchers, ready to train; signals are heard for as long."""
    drawing, stepping, device = config.rollout, config.optimisation, processes().device
    autocast = device.type != "cpu" if stepping.autocast is None else stepping.autocast
    model = load_with_value(
        find_folder(config.model),
        config.lora,
        stepping.value_trunk == "separate",
        stepping.seed,
        autocast=autocast,
        gradient_checkpointing=stepping.gradient_checkpointing,
    )
    model.move_to(device)
    rollout = TransformersRollout(
        model.policy,
        tokenizer.tokenizer,
        drawing.max_tokens,
        drawing.temperature,
        autocast=autocast,
        static_cache=drawing.cache == "static",
    )
    method = "PPO" if isinstance(config, PPOConfig) else "REINFORCE"
    say = Telling(f"{method} from {config.model}", config.steps, progress and processes().is_main_process, reward.usage)
    with Judge(reward, config.failures, say.trouble) as judge:
        run = Online(
            model,
            rollout,
            judge,
            queries,
            tokenizer.tokenizer,
            tokenizer.pad,
            drawing,
            config.optimisation,
            config.checkpoints,
            config.failures,
            config.steps,
            out,
            overlap=not local,
        )
        if processes().is_main_process:
            watchers = Watchers(config.watch, run, tokenizer, others, say.warn)

            def watch(step: int, metrics: Mapping[str, float | None]) -> str | None:
                say.step(step, metrics)
                log(step, metrics)
                looked = watchers.look(step, metrics)
                log(step, {f"held_out_{name}": value for name, value in looked.items() if name != "step"})
                say.read(out)
                return watchers.complain(step, metrics)

            run.watch = watch
        tracker = config.watch.tracker if processes().is_main_process else None
        with (
            tracking(tracker, out, config.model_dump(mode="json")) as log,
            run.keeper.listening(),
            run.tensorboard(),
            say.table(lambda: run.keeper.signal is not None),
        ):
            yield run


def _budget(asked: Labeler) -> Any:
    """The cap of all that this process asks: for the reward, and beside it."""
    from rlaif.llm.prices import Budget

    # What the others have spent no process knows.
    return Budget(asked.max_cost_usd / processes().num_processes) if asked.max_cost_usd is not None else None


def _reward(config: OnlineConfig, out: Path, budget: Any) -> tuple[RewardFn, bool]:
    """The config's reward, and whether it is computed on this machine's own cores."""
    from rlaif.stages.reward import LabelerReward
    from rlaif.training.scoring import RewardModel

    asked = config.labeler
    if asked.reward_model is not None:
        return FromScores(RewardModel(find_folder(asked.reward_model)).outcomes), True
    local = asked.llm.partition(":")[0] in ("pocket", "transformers", "vllm") or Path(asked.llm).is_dir()
    # What a local labeler says depends in its last digit on what it is asked beside: a ledger would leave gaps there,
    # and a resumed run would differ. Nobody pays for it.
    return LabelerReward(
        _scorer(config, asked.exemplars, budget), None if local else asked.ledger or out.parent / "ledger.sqlite"
    ), local


def _scorer(config: OnlineConfig, exemplars: int, budget: Any) -> Any:
    from rlaif.labeling.score import Scorer

    asked = config.labeler
    llm = _opened(asked, asked.llm, budget, base_url=asked.base_url, key_variable=asked.key_variable)
    return Scorer(asked.task, llm, exemplars=exemplars, rationale=asked.rationale, method=asked.method)


def _opened(asked: Labeler, llm: str, budget: Any, **server: Any) -> Any:
    from rlaif.llm.open import open_llm
    from rlaif.llm.remote import Limits

    return open_llm(llm, limits=Limits(concurrency=asked.concurrency), prices=asked.prices, budget=budget, **server)


def _others(config: OnlineConfig, budget: Any, reward: RewardFn, is_given: bool) -> dict[str, RewardFn]:
    """Who judges the held-out responses: the labeler and itself in another form, or the reward model; a second one."""
    from rlaif.labeling.score import Scorer
    from rlaif.stages.reward import LabelerReward

    asked, found = config.labeler, dict[str, RewardFn]()
    if config.watch.queries is None:
        return found
    if asked.reward_model is not None and not is_given:
        # The training's own: it has no state, and memory has room for one.
        found["reward_model"] = reward
    elif not is_given:
        found["labeler"] = LabelerReward(_scorer(config, asked.exemplars, budget))
        found["other_form"] = LabelerReward(_scorer(config, 0 if asked.exemplars else 1, budget))
    if config.watch.second_labeler is not None:
        second = _opened(asked, config.watch.second_labeler, budget)
        found["second_labeler"] = LabelerReward(Scorer(asked.task, second))
    return found


def _identity(method: str, config: OnlineConfig, reward: RewardFn | None) -> dict[str, Any]:
    """What decides on the result."""
    settings = config.model_dump(
        mode="json", exclude={"model": True, "queries": True, "checkpoints": True, "watch": True}
    )
    for name in _OF_THE_LABELER:
        settings["labeler"].pop(name)
    for name in ("max_failed_share", "outage_patience_s"):
        settings["failures"].pop(name)
    for name in ("micro_batch", "gradient_checkpointing"):
        settings["optimisation"].pop(name)
    if reward is not None:
        settings["labeler"] = getattr(reward, "name", type(reward).__name__)
    elif config.labeler.reward_model is not None:
        settings["labeler"] = model_fingerprint(find_folder(config.labeler.reward_model))
    files = {"queries": fingerprint(config.queries)}
    return {
        "stage": f"train {method}",
        "start": model_fingerprint(find_folder(config.model)),
        **settings,
        "inputs": files,
    }


def _operation(config: OnlineConfig) -> dict[str, Any]:
    whole = config.model_dump(mode="json")
    # Of a reward model the identity has no more than the weights' hash.
    labeler = {name: whole["labeler"][name] for name in sorted(_OF_THE_LABELER | {"reward_model", "task"})}
    names = ("model", "queries", "checkpoints", "watch", "failures", "optimisation")
    return {name: whole[name] for name in names} | {"labeler": labeler}
