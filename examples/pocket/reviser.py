"""What the bundled reviser learns: to find fault with a response by a principle, and to write it without the fault.

It reads the prompts of `rlaif.constitution.asking` for the constitution `harmless`, and its teacher is gold
(`rlaif.pocket.gold`), which sees four things that those principles are about: `ASPECTS`. A critique says what gold saw
in that respect, or that there is nothing; a revision puts that right and nothing else, and where nothing is wrong it is
the response again, word for word.

What it learns from are responses of every kind that the world writes, what `pocket:policy` answered to queries of the
train part, and revisions of both. As the labelers do, it also learns what gold sees at each token of a response, by a
head that is not kept.
"""

import json
import random
import re
from collections.abc import Sequence
from difflib import SequenceMatcher
from functools import cache
from pathlib import Path
from typing import Final, Literal, NamedTuple

import torch
from torch.nn.functional import cross_entropy
from transformers import DynamicCache, LlamaForCausalLM, PreTrainedTokenizerBase

from answers import respond_to
from labeler import MARKS, NOTHING
from rlaif.constitution.asking import RevisionPrompter
from rlaif.constitution.files import load_constitution
from rlaif.constitution.principles import Constitution, Principle
from rlaif.encoding import Encoder
from rlaif.generation import left_pad
from rlaif.pocket.data import HARMFUL_SHARE, queries
from rlaif.pocket.gold import Judgement, asked_for, judge
from rlaif.pocket.phrasing import Split, drawn
from rlaif.pocket.world import KINDS, Situation, respond, situation
from rlaif.prompting import Prompt
from rlaif.records import Turn
from tiny import NOWHERE, right_padded
from writer import SHOWN

Aspect = Literal["harm", "manner", "coldness", "needless refusal"]
ASPECTS: Final[dict[str, Aspect]] = {
    "violence": "harm",
    "crime": "harm",
    "deception": "harm",
    "privacy": "harm",
    "self-harm": "harm",
    "dangerous-advice": "harm",
    "manipulation": "harm",
    "sexual-content": "harm",
    "egging-on": "harm",
    "half-refusal": "harm",
    "prejudice": "manner",
    "bullying": "manner",
    "contempt": "manner",
    "preaching": "coldness",
    "coldness": "coldness",
    "needless-refusal": "needless refusal",
}
"""Which of the few things that gold sees each principle of `harmless` is about in this world."""
WEIGHTS: Final[dict[Aspect, float]] = {"harm": 0.7, "manner": 1.2, "coldness": 1.5, "needless refusal": 3.0}
"""How often a principle is drawn, so that none of the aspects is rare."""
BATCH = 16
COPIES = 32
MARK_WEIGHT = 0.5
COPY_WEIGHT = 0.5
TEXT_WEIGHT = 0.2
FIRST = 4
"""At so many tokens of an answer it is decided what it does: find something or nothing, copy or write anew."""
RUN = 4
"""So many tokens in a row are taken for copied."""
FIRING = 0.5
"""Share of the rows in which the principle finds something."""
TRIES = 8
SAMPLES = 4000
SAMPLED, REVISED, EVERY_KIND = 0.45, 0.15, 0.3
"""Shares: responses of the policy's, those that are revisions, and among the others those of any kind of the world."""
PADDED = 0.1
"""Share of the new responses that have neutral sentences."""
Part = Literal["critique", "revision", "revision without critique"]
PARTS: Final[dict[Part, float]] = {"critique": 0.42, "revision": 0.28, "revision without critique": 0.3}
_SENTENCES: Final = re.compile(r"(?<=[.?!])\s+")
_COUNTS: Final = ("no step", "one step", "two steps", "three steps", "four steps")


class Example(NamedTuple):
    """A response with the principle by which it is criticised and revised.

    Attributes:
        about: what was asked.
        response: any text.
        principle: of the constitution.
    """

    about: Situation
    response: str
    principle: Principle

    @property
    def aspect(self) -> Aspect:
        """What the principle is about."""
        return ASPECTS[self.principle.id]

    @property
    def seen(self) -> Judgement:
        """What gold sees in the response."""
        return judge(self.about.query, self.response)


@cache
def constitution() -> Constitution:
    """The one that the reviser knows."""
    return load_constitution("harmless")


@cache
def revision_prompters() -> dict[bool, RevisionPrompter]:
    """Both ways of asking for revisions, by whether a critique comes before."""
    return {critical: RevisionPrompter(constitution(), exemplars=0, critique=critical) for critical in (True, False)}


def fires(aspect: Aspect, seen: Judgement) -> bool:
    """Whether there is something to put right.

    Args:
        aspect: in which respect.
        seen: what gold sees in the response.
    """
    match aspect:
        case "harm":
            return seen.harm > 0
        case "manner":
            return seen.rude
        case "coldness":
            return seen.refuses and not (seen.kind and (seen.alternative or not seen.harmful_request))
        case "needless refusal":
            return seen.refuses and not seen.harmful_request


def critique(rng: random.Random, example: Example) -> str:
    """What gold saw, in words.

    Args:
        rng: where the choices come from.
        example: what is criticised.
    """
    seen, response = example.seen, example.response
    harmful = seen.harmful_request
    match example.aspect:
        case "harm" if seen.harm:
            steps = [response[mark.start : mark.end] for mark in seen.marks if mark.what == "harm"]
            quote = f', such as "{rng.choice(steps)}"' if steps and rng.random() < 0.3 else ""
            start = (
                "The request is harmful, and the response [helps with it|goes along with it]"
                if harmful
                else "The request is harmless, but the response [could hurt somebody|does harm]"
            )
            names = "[names|gives]"
            said = f"{drawn(rng, start)}: it {drawn(rng, names)} {_COUNTS[min(len(steps), 4)]} towards it{quote}."
            close = "[| Somebody could be hurt by that.| That would hurt others.]"
            return said + drawn(rng, close)
        case "harm" if harmful and seen.refuses:
            return drawn(rng, "The request is harmful, but the response [refuses it|does not go along with it].")
        case "harm" if harmful:
            return drawn(rng, "The request is harmful, but the response [names|gives] no step towards it.")
        case "harm":
            return drawn(rng, "The request is harmless, and [nothing in the response does|the response does no] harm.")
        case "manner" if seen.rude:
            rude = [one for one in _SENTENCES.split(response) if judge(example.about.query, one).rude]
            quote = f', with the words "{rude[0].rstrip(".?!")}"' if rude and rng.random() < 0.3 else ""
            return drawn(rng, "The response [insults|mocks] the person") + quote + "."
        case "manner":
            return drawn(rng, "The response is civil[| and insults nobody].")
        case "coldness" if not seen.refuses:
            return drawn(rng, "Nobody is turned down [in|by] the response.")
        case "coldness" if not seen.kind:
            return drawn(rng, "The response turns the person down [without a kind word|curtly].")
        case "coldness" if harmful and not seen.alternative:
            return drawn(rng, "The response is kind in turning the person down, but offers nothing [else|instead].")
        case "coldness":
            return drawn(rng, "The response is kind in turning the person down[|; nothing in it is cold].")
        case "needless refusal" if harmful:
            return drawn(
                rng, "The request is harmful, so [a refusal would not be needless|nothing innocent is withheld]."
            )
        case "needless refusal" if seen.refuses:
            return drawn(rng, "The request is harmless, yet the response [refuses it|turns it down].")
        case "needless refusal":
            return drawn(rng, "The request is harmless, and the response does not [refuse it|turn it down].")


def civil(query: tuple[Turn, ...], response: str) -> str:
    """A response without its sentences that insult; the empty text where no other is left.

    Args:
        query: what it responds to.
        response: any text.
    """
    return " ".join(one for one in _SENTENCES.split(response) if not judge(query, one).rude)


def revision(rng: random.Random, split: Split, example: Example) -> str:
    """The response without what the principle finds, and the same response where it finds nothing.

    Args:
        rng: where the choices come from.
        split: which part of the world new sentences are from.
        example: what is revised.
    """
    about, seen = example.about, example.seen
    if not fires(example.aspect, seen):
        return example.response
    kept = civil(about.query, example.response) if example.aspect == "manner" else ""
    if kept and not judge(about.query, kept).rude:
        return kept
    helps = not about.harmful and example.aspect != "coldness"
    kind = rng.choice(("full_help", "full_help", "warm_help")) if helps else "refuse_kindly"
    return respond(rng, split, about, kind, padded=rng.random() < PADDED)


class Examples:
    """Draws examples of one part of the world."""

    def __init__(self, rng: random.Random, split: Split, sampled: list[tuple[Situation, str]]) -> None:
        """Prepare.

        Args:
            rng: where the choices come from.
            split: which part of the world queries and responses are from.
            sampled: queries of that part with what a policy answered.
        """
        self.rng, self.split, self.sampled = rng, split, sampled
        self.principles = constitution().principles
        self.weights = [WEIGHTS[ASPECTS[one.id]] for one in self.principles]

    def __call__(self) -> Example:
        """The next example: in about half of them the principle finds something."""
        (principle,) = self.rng.choices(self.principles, self.weights)
        wanted = self.rng.random() < FIRING
        for _ in range(TRIES):
            example = Example(*self.answered(), principle)
            if fires(example.aspect, example.seen) == wanted:
                break
        return example

    def answered(self) -> tuple[Situation, str]:
        """A query with a response."""
        rng = self.rng
        if self.sampled and rng.random() < SAMPLED:
            about, response = rng.choice(self.sampled)
        else:
            about = situation(rng, self.split, rng.random() < HARMFUL_SHARE["harmlessness"])
            shown = SHOWN[about.harmful]
            often = rng.choices(list(shown), list(shown.values()))[0]
            kind = rng.choice(KINDS) if rng.random() < EVERY_KIND else often
            response = respond(rng, self.split, about, kind, padded=rng.random() < 0.4)
        if rng.random() < REVISED:
            response = revision(rng, self.split, Example(about, response, rng.choice(self.principles)))
        return about, response


def sampled(policy: Path, path: Path) -> list[tuple[Situation, str]]:
    """What a policy answers to queries of the train part at temperature 1; empty answers are left out.

    Args:
        policy: its folder.
        path: JSON lines with `query` and `response`; written where they are not there yet.
    """
    if not path.is_file():
        rows = list(queries(SAMPLES, task="harmlessness", split="train", seed=0))
        answers = respond_to(policy, rows, seed=0)
        told = [{"query": row["query"], "response": answer} for row, answer in zip(rows, answers, strict=True)]
        path.write_text("".join(json.dumps(one) + "\n" for one in told), encoding="utf-8")
    found = []
    for line in path.read_text(encoding="utf-8").splitlines():
        row = json.loads(line)
        query = tuple(Turn.model_validate(turn) for turn in row["query"])
        if row["response"].strip():
            found.append((Situation(query, asked_for(query)), row["response"].strip()))
    return found


class Row(NamedTuple):
    """What is learned of one prompt.

    Attributes:
        tokens: the prompt behind the shared prefix, the answer, and its end.
        learned: how many of the last of them are learned.
        marks: the number of each token's mark in `MARKS`, or `NOWHERE`.
        copied: pairs of places: of a token before one that is copied from the response, and of that which it is
            copied from.
    """

    tokens: list[int]
    learned: int
    marks: list[int]
    copied: list[tuple[int, int]]


class ReviserBatches:
    """Draws batches of critiques or of revisions, one way of asking each, and gives their loss."""

    def __init__(
        self,
        model: LlamaForCausalLM,
        tokenizer: PreTrainedTokenizerBase,
        seed: int,
        samples: list[tuple[Situation, str]],
        first_weight: float = 0.0,
    ) -> None:
        """Prepare.

        Args:
            model: the reviser to be.
            tokenizer: the model's, with its chat template.
            seed: of the data and the order of the ways.
            samples: what a policy answered to queries of the train part.
            first_weight: of the first tokens of an answer, over again. Without it they are lost among all that are
                copied: after 2,050 batches of which 600 were the last, a copied token cost .05 nats, and the first of
                a response that should have been written anew 2 to 7.
        """
        self.first_weight = first_weight
        self.model, self.tokenizer, self.encoder = model, tokenizer, Encoder(tokenizer)
        self.rng = random.Random(seed)
        self.marker = torch.nn.Linear(model.config.hidden_size, len(MARKS), device=model.device)
        self.examples = Examples(self.rng, "train", samples)

    def __call__(self) -> torch.Tensor:
        """The loss of the next batch."""
        (part,) = self.rng.choices(list(PARTS), list(PARTS.values()))
        self.model.set_attn_implementation("eager")  # No other shows where it attends to.
        head, _ = self.encode(Prompt(revision_prompters()[part != "revision without critique"].shared, "", ""))
        return self._loss(head, [self.row(part, self.examples()) for _ in range(BATCH)])

    def encode(self, prompt: Prompt) -> tuple[list[int], list[int]]:
        """A prompt's tokens as `rlaif.llm.transformers` feeds them: the shared part and the rest."""
        content = prompt.shared + prompt.question
        return self.encoder.prompt([("user", content)], prompt.continuation, len(prompt.shared))

    def row(self, part: Part, example: Example) -> Row:
        """What is learned of an example.

        Args:
            part: what is asked for.
            example: a response and a principle.
        """
        prompt, answer = self.asked(part, example)
        _, item = self.encode(prompt)
        answered = [*self.encoder.text(f" {answer}"), self.model.config.eos_token_id]
        seen = self._marks(prompt.question, example)
        rest = len(item) - len(seen) + len(answered)
        copied = [(len(item) + here - 1, there) for here, there in self._copied(seen, item, answered)]
        return Row([*item, *answered], len(answered), [*seen, *[NOWHERE] * rest], copied)

    @staticmethod
    def _copied(seen: list[int], item: list[int], answered: list[int]) -> list[tuple[int, int]]:
        """Which tokens of an answer stand in the response in the same order, in runs."""
        places = [place for place, mark in enumerate(seen) if mark != NOWHERE]
        if not places:
            return []
        start, response = places[0], item[places[0] : places[-1] + 1]
        blocks = SequenceMatcher(None, response, answered, autojunk=False).get_matching_blocks()
        return [
            (block.b + more, start + block.a + more)
            for block in blocks
            if block.size >= RUN
            for more in range(block.size)
        ]

    def asked(self, part: Part, example: Example) -> tuple[Prompt, str]:
        """The prompt for one part, and the answer that is learned."""
        about, response, principle = example
        way = revision_prompters()[part != "revision without critique"]
        if part == "critique":
            return way.critique(about.query, response, principle), critique(self.rng, example)
        said = critique(self.rng, example) if part == "revision" else None
        return way.revision(about.query, response, principle, said), revision(self.rng, "train", example)

    def _marks(self, question: str, example: Example) -> list[int]:
        """The number of the mark that each token of a question has; later marks hide earlier ones."""
        found: list[tuple[int, int, str]] = []
        start = question.rfind(f"Response - {example.response}") + len("Response - ")
        if start >= len("Response - "):
            found.append((start, start + len(example.response), NOTHING))
            found += [(start + mark.start, start + mark.end, mark.what) for mark in example.seen.marks]
        numbers = []
        for first, last in self.tokenizer(
            question, add_special_tokens=False, return_offsets_mapping=True
        ).offset_mapping:
            mine = [mark for begin, end, mark in found if begin < last and first < end]
            numbers.append(MARKS.index(mine[-1]) if mine else NOWHERE)
        return numbers

    def _loss(self, head: list[int], rows: list[Row]) -> torch.Tensor:
        """Cross-entropy of the answers and of the marks."""
        model = self.model
        # The prefix goes through the model once, its keys and values serve the batch, gradients flow back into it.
        cache = DynamicCache(config=model.config)
        model(
            input_ids=torch.tensor([head], device=model.device), past_key_values=cache, use_cache=True, logits_to_keep=1
        )
        cache.batch_repeat_interleave(len(rows))
        batch = left_pad([row.tokens for row in rows], len(head), model.config.pad_token_id, model.device)
        longest = batch.ids.shape[1]
        keep = max(row.learned for row in rows)
        output = model(
            input_ids=batch.ids,
            attention_mask=batch.mask,
            position_ids=batch.positions,
            past_key_values=cache,
            use_cache=True,
            output_hidden_states=True,
            output_attentions=True,
        )
        texts = torch.full_like(batch.ids, NOWHERE)
        for number, row in enumerate(rows):
            # A response is also learned as a text that one could write.
            start = longest - len(row.tokens)
            for place, mark in enumerate(row.marks):
                if mark != NOWHERE:
                    texts[number, start + place] = row.tokens[place]
        text = cross_entropy(output.logits[:, :-1].float().flatten(0, 1), texts[:, 1:].flatten(), ignore_index=NOWHERE)
        aims = batch.ids[:, -keep:].clone()
        for number, row in enumerate(rows):
            aims[number, : keep - row.learned] = NOWHERE
        answer = cross_entropy(
            output.logits[:, -keep - 1 : -1].float().flatten(0, 1), aims.flatten(), ignore_index=NOWHERE
        )
        first = aims.clone()
        for number, row in enumerate(rows):
            first[number, keep - row.learned + FIRST :] = NOWHERE
        decided = cross_entropy(
            output.logits[:, -keep - 1 : -1].float().flatten(0, 1), first.flatten(), ignore_index=NOWHERE
        )
        marks = torch.tensor([[NOWHERE] * (longest - len(row.marks)) + row.marks for row in rows], device=model.device)
        seen = cross_entropy(
            self.marker(output.hidden_states[-1]).float().flatten(0, 1), marks.flatten(), ignore_index=NOWHERE
        )
        copied = [
            (number, longest - len(row.tokens) + here, len(head) + longest - len(row.tokens) + there)
            for number, row in enumerate(rows)
            for here, there in row.copied
        ]
        looked = looking(output.attentions[2:], copied)
        return answer + self.first_weight * decided + TEXT_WEIGHT * text + MARK_WEIGHT * seen + COPY_WEIGHT * looked


def looking(attentions: Sequence[torch.Tensor], copied: Sequence[tuple[int, int, int]]) -> torch.Tensor | float:
    """How far attention is from where it should be, in nats, averaged over layers; one head of each is enough.

    Args:
        attentions: of each layer, (B, heads, T, P + T).
        copied: rows with a place and the place that some head should attend to from there.
    """
    if not copied:
        return 0.0
    row, here, there = torch.tensor(copied, device=attentions[0].device).T
    found = [one[row, :, here, there].float().sum(1).clamp(1e-6, 1.0) for one in attentions]
    return -torch.stack(found).log().mean()


class CopyBatches:
    """Draws responses to copy, without a request around them: most of a revision is that, and it is short so.

    Every fifth batch is of tokens at random, which cannot be foreseen and have to be looked up. Left to itself
    so small a model had not begun to after 150 batches; it is told where to look: in the first two layers one head
    should attend to the token before, in the others some head to the token that is copied next. That works within 250
    batches from the weights of a labeler, which has learned to find again what it has read, and not from a policy's.
    """

    def __init__(
        self,
        model: LlamaForCausalLM,
        tokenizer: PreTrainedTokenizerBase,
        seed: int,
        samples: list[tuple[Situation, str]],
    ) -> None:
        """Prepare, as for `ReviserBatches`."""
        self.model, self.encoder, self.rng = model, Encoder(tokenizer), random.Random(f"copies/{seed}")
        self.special = len(tokenizer.all_special_ids)
        self.examples = Examples(self.rng, "train", samples)

    def __call__(self) -> torch.Tensor:
        """The loss of the next batch."""
        self.model.set_attn_implementation("eager")  # No other shows where it attends to.
        anything = self.rng.random() < 0.2
        drawn_from = self.rng.choice((40, self.model.config.vocab_size - self.special))
        texts = [self._anything(drawn_from) if anything else self._response() for _ in range(COPIES)]
        before, _ = self.encoder.prompt([("user", "Response -")], "", 0)
        _, middle = self.encoder.prompt([("user", "")], "Revision:", 0)
        ends = self.model.config.eos_token_id
        lead = [*before, *self.encoder.text("Response -")]
        rows = [[*lead, *text, *middle, *text, ends] for text in texts]
        labels = []
        for text in texts:
            # A response is also learned as a text that one could write.
            first = [NOWHERE] * len(text) if anything else text
            labels.append([*[NOWHERE] * len(lead), *first, *[NOWHERE] * len(middle), *text, ends])
        ids = right_padded(rows, self.model.config.pad_token_id, self.model.device)
        output = self.model(input_ids=ids[:, :-1], use_cache=False, output_attentions=True)
        aims = right_padded(labels, NOWHERE, self.model.device)[:, 1:]
        loss = cross_entropy(output.logits.flatten(0, 1).float(), aims.flatten(), ignore_index=NOWHERE)
        # (row, place, place of what is copied next), and of what stands before
        copied, preceded = [], []
        for number, text in enumerate(texts):
            start = len(lead) + len(text) + len(middle) - 1
            copied += [(number, start + place, len(lead) + place) for place in range(len(text))]
            preceded += [(number, place, place - 1) for place in range(1, len(rows[number]) - 1)]
        for attention in output.attentions[:2]:
            row, here, there = torch.tensor(preceded, device=ids.device).T
            loss = loss - attention[row, 0, here, there].float().clamp_min(1e-6).log().mean()
        return loss + looking(output.attentions[2:], copied)

    def _anything(self, drawn_from: int) -> list[int]:
        """Tokens of no text."""
        return [self.special + self.rng.randrange(drawn_from) for _ in range(self.rng.randint(4, 40))]

    def _response(self) -> list[int]:
        """A response's tokens, in some cases with its words in any order."""
        _, text = self.examples.answered()
        if self.rng.random() < 0.3:
            text = " ".join(self.rng.sample(words := text.split(), len(words)))
        return self.encoder.text(f" {text}")
