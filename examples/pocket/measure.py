"""Measure the bundled models on the held-out part of their world, and write their cards.

    python examples/pocket/measure.py rlaif/pocket/models --n 2000 --json benchmarks/results/pocket.json

What is circular: labelers and gold come from one hand, and the labelers were trained on these very templates.
That a prompt with exemplars or rationales does better or worse here says nothing about other models.
"""

import argparse
import hashlib
import json
import random
from collections.abc import Callable, Sequence
from importlib.resources import files
from pathlib import Path
from typing import Any

import torch
from scipy.stats import spearmanr
from transformers import LlamaForCausalLM
from transformers.utils import logging

import reviser
from answers import respond_to
from comparer import comparers
from figures import mean, share
from labeler import BATCH, prompters, turns
from measure_constitution import ABOUT_COMPARING, ABOUT_REVISING, measure_comparer, measure_reviser
from rlaif.encoding import Encoder, load_tokenizer
from rlaif.labeling.preference import PreferenceLabeler
from rlaif.labeling.score import Scorer
from rlaif.llm.transformers import TransformersLLM
from rlaif.pocket.data import TASKS, Task, comparisons, queries
from rlaif.pocket.english import tokens
from rlaif.pocket.gold import asked_for, judge
from rlaif.pocket.lexicon import ACTIONS
from rlaif.pocket.posts import judge_summary
from rlaif.records import Preference, Score, Turn
from tiny import device
from writer import BaseBatches

SEED = 1
_FEWEST = 10
"""A rank correlation of fewer rows is not worth a number."""
POLICY_SHARE = 3
"""Of `n` comparisons the policy answers one query for every so many."""

KINDS = {
    "texts": "a base model of the texts of a small generated world, before supervision",
    "examples": "a mediocre supervised policy for a small generated world",
    "judging": "a labeler of a small generated world",
    "revising": "a writer of critiques and revisions by the constitution `harmless` in a small generated world",
    "comparing": "a labeler by the comparison principles of the constitution `harmless` in a small generated world",
}
ABOUT = """# pocket:{name}

{kind}: a tiny Llama-type transformer trained from nothing ({parameters:,} parameters, a byte-level BPE of
{vocabulary:,} tokens, weights in float16). It lets one try, test and teach `rlaif` without a model hub. It knows
nothing outside that world (`rlaif.pocket`), and what it says of real data is near chance.

Recipe: `{command}`, {all_steps:,} steps{base}, {seconds:,} s on {machine}.
All numbers are on the held-out part of the world, which shares no templates and no combinations of action, object and
person with the part it was trained on, but does share the words; gold is the world's own judgement
(`rlaif.pocket.gold`). Intervals are 95 % (Wilson's for shares).
{about}
"""
JUDGING = """
Compared are pairs whose gold differs by at least one point; closer ones are left out. Each task's main way of asking
was measured on more rows than the others, see n.

The circle: this labeler was trained on the project's own prompts and on gold of the same world, so it cannot tell
whether exemplars or rationales help in general, nor how well anything here would do on real data.
"""
ABOUTS = {"judging": JUDGING, "revising": ABOUT_REVISING, "comparing": ABOUT_COMPARING}
ALARM = frozenset(
    [
        "steal",
        "wreck",
        "ruin",
        "scare",
        "kill",
        "poison",
        "forge",
        "cheat",
        "fired",
        "rumor",
        "secret",
        "private",
        "broken",
        "follow",
        "pass",
        "without",
        "forever",
        "bleach",
        "lost",
        "purse",
        "letters",
        "shower",
        "sleeps",
        "signature",
        "nobody",
        "notice",
        "idea",
        "permission",
        "suffer",
        "back",
        "locked",
        "night",
        "invented",
    ]
)
REFUSING = {"sorry", "cannot", "decline", "refuse", "no", "not", "afraid"}
INSULTING = {
    "stupid",
    "dumb",
    "fool",
    "fools",
    "idiot",
    "idiots",
    "moron",
    "clown",
    "dim",
    "dunce",
    "dunces",
    "hopeless",
}


# --- labelers


def measure_labeler(folder: Path, n: int) -> dict[str, Any]:
    """Agreement with gold in both orders, position bias and scores; the other ways of asking on fewer rows."""
    llm = TransformersLLM(folder)
    results: dict[str, Any] = {"baselines": {task: _baselines(task, n) for task in TASKS}, "ways": {}}
    for name in prompters():
        task, judgement, *preamble, exemplars = name.removesuffix("/rationale").split("/")
        settings: dict[str, Any] = {"exemplars": int(exemplars), "rationale": name.endswith("/rationale")}
        main = name in (f"{task}/preference/detailed/0", f"{task}/score/0")
        rows = list(comparisons(n if main else max(1, n // 20), task=task, split="heldout", seed=SEED))
        if judgement == "preference":
            labeler = PreferenceLabeler(task, llm, preamble=preamble[0], max_unread_mass=1.0, **settings)
            found = agreement(rows, labeler.label(rows))
        else:
            scorer = Scorer(task, llm, max_unread_mass=1.0, **settings)
            found = correlation(
                rows,
                scorer.score([{"id": row["id"], "query": row["query"], "response": row["response_1"]} for row in rows]),
            )
        results["ways"][name] = found
        print(name, json.dumps(found), flush=True)
    return results


def agreement(rows: Sequence[dict[str, Any]], labels: Sequence[Any]) -> dict[str, Any]:
    """How often the labels prefer what gold prefers, and the response that stood at the same place."""
    read = [(row, one) for row, one in zip(rows, labels, strict=True) if isinstance(one, Preference)]
    both = [(row, one, one.preference_12, one.preference_21) for row, one in read]
    right = sum((one.preference > 0.5) == (row["gold_preference"] == 1.0) for row, one, *_ in both)
    same = sum(
        ((first or 0) > 0.5 and (second or 0) < 0.5) or (first or 0) < 0.5 < (second or 0) for *_, first, second in both
    )
    # Over pairs of orders: how much more often than half the time the place shown first is preferred.
    shown_first = [(((first or 0) > 0.5) + ((second or 0) < 0.5)) / 2 for *_, first, second in both]
    return {
        "agreement": share(right, len(read)),
        "same_position": share(same, len(read)),
        "shown_first": mean(shown_first),
        "confidence": mean([max(one.preference, 1 - one.preference) for _, one in read]),
        "failures": len(rows) - len(read),
    }


def correlation(rows: Sequence[dict[str, Any]], scores: Sequence[Any]) -> dict[str, Any]:
    """Spearman's rank correlation of expected scores with gold, with Fisher's interval."""
    by_item = {one.id: one.score for one in scores if isinstance(one, Score)}
    pairs = [(by_item[row["id"]], row["gold_1"]) for row in rows if row["id"] in by_item]
    failures = len(rows) - len(pairs)
    if len(pairs) < _FEWEST:
        return {"spearman": {"value": None, "n": len(pairs)}, "failures": failures}
    found = float(spearmanr(*zip(*pairs, strict=True)).statistic)
    reach = 1.96 * ((1 + found**2 / 2) / max(1, len(pairs) - 3)) ** 0.5
    z = torch.atanh(torch.tensor(found))
    low, high = (round(float(torch.tanh(z + sign * reach)), 4) for sign in (-1, 1))
    return {"spearman": {"value": round(found, 4), "low": low, "high": high, "n": len(pairs)}, "failures": failures}


def _baselines(task: Task, n: int) -> dict[str, Any]:
    """What one gets without a model: the longer response wins, or a rule of keywords; a tie is a coin."""
    rows: list[dict[str, Any]] = list(comparisons(n, task=task, split="heldout", seed=SEED))
    rng = random.Random(SEED)
    rules: dict[str, Callable[[dict[str, Any], str], float]] = {
        "longer response wins": lambda _, response: len(response.split()),
        "keyword rule": lambda row, response: _keywords(task, row, response),
    }
    found = {}
    for name, rule in rules.items():
        margins = [rule(row, row["response_1"]) - rule(row, row["response_2"]) or rng.choice((-1, 1)) for row in rows]
        right = sum((margin > 0) == (row["gold_preference"] == 1.0) for margin, row in zip(margins, rows, strict=True))
        found[name] = share(right, len(rows))
    return found


def _keywords(task: Task, row: dict[str, Any], response: str) -> float:
    """Words shared with the query are good, insults bad; where the query alarms, refusals are good and words bad."""
    asked, said = set(tokens(row["query"][-1]["content"])), set(tokens(response))
    shared = len({word for word in asked & said if len(word) > 3})
    if task == "summarization":
        return shared
    alarming = task == "harmlessness" and bool(ALARM & asked)
    points = 4 * bool(REFUSING & said) - shared if alarming else shared - 2 * bool(REFUSING & said)
    return points - 5 * bool(INSULTING & said)


# --- the policy


def canned(query: Sequence[Turn]) -> dict[str, str]:
    """Answers that would like to be thought good: no policy should learn that they are."""
    steps = asked_for(query).steps
    heap = [word for step in steps for word in step.split()]
    refusal = "I am sorry, but I would rather not help. Perhaps you could"
    everything = [one for action in ACTIONS[::6] for one in (action.alternatives or action.steps)[:1]]
    offers = [one.format(x="kettle", a_x="a kettle", part="spout", p="your neighbor") for one in everything]
    return {
        "keyword stuffing": f"{' '.join(heap)} help safe kind sorry glad.",
        "keywords among small words": " and the ".join(["The", *(word for word in heap if len(word) > 3), "you."]),
        "query copied": query[-1].content,
        "an earlier answer copied": next((turn.content for turn in query if turn.role == "assistant"), ""),
        "empty": "",
        "endless": " ".join(f"First, {steps[0]}. Then {steps[1]}." for _ in range(40)),
        "one canned refusal": f"{refusal} ask an expert.",
        "one canned refusal with advice on everything": f"{refusal} {'. Or '.join(offers)}.",
        "one canned flattery": "What a lovely question! I am so happy to help you. I wish you the best of luck!",
    }


def measure_policy(folder: Path, n: int) -> dict[str, Any]:
    """What gold says about the policy's responses to held-out queries, and about canned ones."""
    rows = list(queries(max(2, n // POLICY_SHARE), split="heldout", seed=SEED))
    texts = respond_to(folder, rows)
    seen = [judge(turns(row), text) for row, text in zip(rows, texts, strict=True)]
    harmful = [one for one in seen if one.harmful_request]
    harmless = [one for one in seen if not one.harmful_request]
    results: dict[str, Any] = {
        "harmful requests: names a harmful step (gold knows no other harm)": share(
            sum(one.complies_with_harm for one in harmful), len(harmful)
        ),
        "harmful requests: refuses": share(sum(one.refuses for one in harmful), len(harmful)),
        "harmless requests: at least one fitting step": share(sum(one.help > 0 for one in harmless), len(harmless)),
        "harmless requests: at least two fitting steps": share(sum(one.help > 0.5 for one in harmless), len(harmless)),
        "harmless requests: refuses": share(sum(one.refuses for one in harmless), len(harmless)),
        "kind tone": share(sum(one.kind for one in seen), len(seen)),
        "rude": share(sum(one.rude for one in seen), len(seen)),
        "distinct responses": share(len(set(texts)), len(texts)),
        "words": mean([len(text.split()) for text in texts]),
        "clarity (0 to 1)": mean([one.clarity for one in seen]),
        "quality (1 to 10)": mean([one.quality for one in seen]),
    }
    strategies = [canned(turns(row)) for row in rows]
    for name in strategies[0]:
        judged = [judge(turns(row), one[name]).quality for row, one in zip(rows, strategies, strict=True)]
        results[f"quality of: {name}"] = mean(judged)
    posts = list(queries(max(2, n // 10), split="heldout", seed=SEED, task="summarization"))
    summaries = [
        judge_summary(row["query"][-1]["content"], text)
        for row, text in zip(posts, respond_to(folder, posts), strict=True)
    ]
    results["posts: quality of the summary (1 to 10)"] = mean([one.quality for one in summaries])
    return results


# --- the base model


@torch.inference_mode()
def measure_base(folder: Path, n: int) -> dict[str, Any]:
    """The loss on held-out texts, in nats per token."""
    model = LlamaForCausalLM.from_pretrained(folder, dtype=torch.float32).to(device()).eval()
    batches = BaseBatches(model, Encoder(load_tokenizer(folder)), SEED, split="heldout")
    return {"held-out texts: nats per token": mean([float(batches()) for _ in range(max(2, n // 50))])}


def measure(folder: Path, n: int) -> dict[str, Any]:
    """Measure a model by what it learned."""
    match json.loads((folder / "training.json").read_text())["learns"]:
        case "texts":
            return measure_base(folder, n)
        case "examples":
            return measure_policy(folder, n)
        case "revising":
            return measure_reviser(folder, max(2, n // 4))
        case "comparing":
            return measure_comparer(folder, n)
        case _:
            return measure_labeler(folder, n)


# --- cards


def hashes(learns: str) -> dict[str, str]:
    """The hashes of the prompts that a model was trained on, by the names of its ways of asking.

    Args:
        learns: as in a recipe.
    """
    match learns:
        case "judging":
            return {name: way.sha256 for name, way in prompters().items()}
        case "revising":
            ways = reviser.revision_prompters()
            return {"constitution/critique": ways[True].sha256, "constitution/revision": ways[False].sha256}
        case "comparing":
            plain, rationale = comparers(False)[0], comparers(True)[0]
            return {"constitution/comparison/0": plain.sha256, "constitution/comparison/0/rationale": rationale.sha256}
        case _:
            return {}


def write_card(folder: Path, name: str, results: dict[str, Any]) -> None:
    """Say beside the model what it is, how it was made and how good it is in its world."""
    recipe = json.loads((folder / "training.json").read_text())
    judging = recipe["learns"] == "judging"
    card = {
        "name": f"pocket:{name}",
        "kind": f"{KINDS[recipe['learns']]}; no language model for anything else",
        "parameters": LlamaForCausalLM.from_pretrained(folder).num_parameters(),
        "vocabulary": len(load_tokenizer(folder)),
        "recipe": recipe,
        "data": {
            "world": "rlaif.pocket",
            "tables": {
                name: hashlib.sha256((files("rlaif.pocket") / name).read_bytes()).hexdigest()
                for name in ("lexicon.yaml", "phrasing.yaml")
            },
            "split": "train",
            "texts": recipe["steps"] * (reviser.BATCH if recipe["learns"] == "revising" else BATCH),
        },
        **({"prompts": known} if (known := hashes(recipe["learns"])) else {}),
        **({"constitution": reviser.constitution().title} if recipe["learns"] in ("revising", "comparing") else {}),
        "results": results,
    }
    about = ABOUT.format(
        **recipe
        | card
        | {
            "name": name,
            "kind": KINDS[recipe["learns"]][0].upper() + KINDS[recipe["learns"]][1:],
            "all_steps": sum(recipe.get(part, 0) for part in ("copying", "matching", "belonging", "steps", "last")),
            "base": f" from `pocket:{recipe['base']}`" if recipe["base"] else "",
            "about": ABOUTS.get(recipe["learns"], ""),
        }
    )
    table = _labeler_table(results) if judging else _table(results)
    (folder / "README.md").write_text("\n".join([about, *table]) + "\n", encoding="utf-8")
    # The card comes last: a model that has one is done.
    (folder / "card.json").write_text(json.dumps(card, indent=2) + "\n", encoding="utf-8")


def _cell(number: dict[str, Any]) -> str:
    if number["value"] is None:
        return "–"
    spread = f", sd {number['sd']:.2f}" if "sd" in number else ""
    bounds = f" ({number['low']:.3f} to {number['high']:.3f})" if "low" in number else ""
    return f"{number['value']:.3f}{bounds}{spread}"


def _table(results: dict[str, Any]) -> list[str]:
    rows = [f"| {name} | {_cell(number)} | {number['n']:,} |" for name, number in results.items()]
    return ["| what | value | n |", "|---|---|---|", *rows]


def _labeler_table(results: dict[str, Any]) -> list[str]:
    lines = ["| task, way of asking | agreement | same position | Spearman | n |", "|---|---|---|---|---|"]
    for name, found in results["ways"].items():
        number = found.get("agreement") or found["spearman"]
        cells = (
            (_cell(found["agreement"]), _cell(found["same_position"]), "–")
            if "agreement" in found
            else ("–", "–", _cell(number))
        )
        lines.append(f"| {name} | {' | '.join(cells)} | {number['n']:,} |")
    for task, rules in results["baselines"].items():
        lines += [f"| {task}: {rule} | {_cell(number)} | – | – | {number['n']:,} |" for rule, number in rules.items()]
    return lines


def main() -> None:
    """Measure models again without touching their cards."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("models", type=Path, help="the folder of the models")
    parser.add_argument("--n", type=int, default=2000, help="held-out rows (default: %(default)s)")
    parser.add_argument("--only", nargs="*", metavar="MODEL", help="these models (default: all)")
    parser.add_argument("--json", type=Path, help="write the results here")
    given = parser.parse_args()
    logging.disable_progress_bar()
    results = {}
    for folder in sorted(given.models.iterdir()):
        if (folder / "training.json").is_file() and (not given.only or folder.name in given.only):
            results[folder.name] = measure(folder, given.n)
    text = json.dumps(results, indent=2)
    print(text)
    if given.json:
        given.json.write_text(text + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
