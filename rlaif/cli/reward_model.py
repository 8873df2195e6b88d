"""`rlaif evaluate reward-model`: how good a trained reward model is on comparisons that it has not seen."""

from typing import Annotated

import typer

from rlaif.cli.evaluate import Out, People, Policies, show
from rlaif.cli.options import Format, FormatName, column_words, grouped, reporting
from rlaif.errors import ConfigError

app = typer.Typer()


@app.command(
    "reward-model",
    epilog="[bold]Examples[/bold]\n\n"
    "rlaif evaluate reward-model outputs/reward/model outputs/held-out --supervised pocket:policy "
    "--out outputs/reward-report\n\n"
    "rlaif evaluate reward-model outputs/reward/model held-out.jsonl --people people.jsonl --by topic "
    "--out outputs/reward-report\n\n"
    "rlaif evaluate reward-model outputs/reward/model held-out.csv --map query=prompt response_1=a response_2=b "
    "--against gold --out outputs/reward-report",
)
@grouped
@reporting
def reward_model(
    model: Annotated[str, typer.Argument(metavar="DIR", help="The reward model's folder.")],
    data: Annotated[
        list[str],
        typer.Argument(
            metavar="DATA... [FIELD=COLUMN]...",
            help="Run folders or files that it was not trained on; pairs for --map.",
        ),
    ],
    people: People,
    policies: Policies,
    out: Out,
    against: Annotated[
        list[str] | None,
        typer.Option("--against", help="Also against this column, P(response 1 preferred); again for more columns."),
    ] = None,
    supervised: Annotated[
        str | None,
        typer.Option("--supervised", help="A policy's folder, or pocket:policy, whose log-probabilities to compare."),
    ] = None,
    map: Annotated[
        str | None, typer.Option("--map", metavar="FIELD=COLUMN...|FILE.yaml", help="Which column holds which field.")
    ] = None,
    format: Format = FormatName.auto,
) -> None:
    """Accuracy, calibration and weak spots of a reward model, beside baselines, against people and against labelers.

    DATA are comparisons; where they have human_preference (or annotations) and preference, it is compared with each.
    A column reference holds a good response, for ROUGE.
    """
    from rlaif.stages.evaluate_reward_model import evaluate_reward_model

    files = [word for word in data if "=" not in word]
    if not files:
        raise ConfigError("name at least one run folder or file of comparisons")
    found = evaluate_reward_model(
        model,
        files,
        against=against or [],
        supervised=supervised,
        people=people.people,
        format=format.value,
        columns=column_words(map, [word for word in data if "=" in word]),
        people_format=people.people_format.value,
        people_columns=column_words(None, people.people_map),
        ties=policies.ties.value,
        unreadable=policies.unreadable.value,
        by=policies.by or [],
        cluster=policies.cluster,
        resamples=policies.resamples,
        seed=policies.resample_seed,
    )
    show(found, out)
