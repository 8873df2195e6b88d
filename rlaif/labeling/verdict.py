"""One verdict: from a query and the texts shown to a distribution over the offered answers.

The distribution is the model's own (`exact`, or `logprobs` where it shows only its likeliest tokens), or the share of
answers that it gives when drawn from again and again (`sampled`), or what it says of itself when asked how probable an
answer is (`verbalized`); the last two need no log-probabilities.

Preferences, scores and rankings are made of these. With a rationale it takes two steps (arXiv:2309.00267,
section 3.1): the model writes a rationale, then the answer is read behind rationale and ending. Several
rationales are averaged (self-consistency).
"""

import asyncio
import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Annotated, Literal, NamedTuple

from pydantic import Field, model_validator

from rlaif.config import Config
from rlaif.errors import CapabilityError
from rlaif.llm.base import LLM, Answer, Capabilities, Choose, Generate, NoAnswer, Request, Usage
from rlaif.llm.reading import Reading, mean_reading, read_draws, read_exact, read_stated, read_top
from rlaif.llm.run import Ask
from rlaif.prompting import Prompt, VerdictPrompter
from rlaif.records import FailureKind, Turn

Method = Literal["exact", "logprobs", "sampled", "verbalized"]
VERDICT_TOKENS = 8
STATE = (
    "How probable is it that the right answer is {answer}? "
    "Reply with a whole number of per cent from 0 to 100, and with nothing else."
)


class VerdictConfig(Config):
    """How a verdict is asked for and read.

    Attributes:
        exemplars: worked examples in the prompt.
        rationale: whether the model writes a rationale first.
        self_consistency: how many rationales are averaged; hurts in arXiv:2309.00267, table 5.
        temperature: of the rationale; 0 is greedy.
        max_rationale_tokens: arXiv:2309.00267 takes 512.
        method: `exact` log-probabilities of whole answers, `logprobs` of the likeliest tokens, answers `sampled`
            at temperature 1, or a `verbalized` probability; `auto` is the first of the first two that the model has.
        draws: how many answers are sampled, behind each rationale and in each order.
        max_unread_mass: above this share of probability outside the offered answers an item is unreadable.
        seed: of everything that is drawn, together with the item's id, order and draw.
        repeat: how often the same was asked before: the same question under other draws.
    """

    exemplars: Annotated[int, Field(ge=0)] = 0
    rationale: bool = False
    self_consistency: Annotated[int, Field(ge=1)] = 1
    temperature: Annotated[float, Field(ge=0)] = 0.0
    max_rationale_tokens: Annotated[int, Field(ge=1)] = 512
    method: Literal["auto", "exact", "logprobs", "sampled", "verbalized"] = "auto"
    draws: Annotated[int, Field(ge=1)] = 16
    max_unread_mass: Annotated[float, Field(ge=0, le=1)] = 0.5
    seed: int = 0
    repeat: Annotated[int, Field(ge=0)] = 0

    @property
    def answers(self) -> int:
        """How many answers stand behind a verdict."""
        return self.self_consistency * (self.draws if self.method == "sampled" else 1)

    @model_validator(mode="after")
    def _consistent(self) -> "VerdictConfig":
        if self.self_consistency > 1 and not self.rationale:
            raise ValueError("self_consistency averages over rationales; it needs rationale")
        if self.self_consistency > 1 and self.temperature == 0:
            raise ValueError("self_consistency needs a temperature above 0, or all rationales are the same")
        return self


class Way(NamedTuple):
    """A way of asking: who is asked, in which words, and how it is read."""

    llm: LLM
    prompter: VerdictPrompter
    config: VerdictConfig


class Verdict(NamedTuple):
    """A distribution over the offered answers, and how it came to be.

    Attributes:
        probabilities: (A,) renormalised, summing to 1.
        reading: the same before renormalisation, with the unread mass.
        rationales: the texts, one a draw; empty without.
        prompt_sha256: of the first prompt.
        draws: how many sampled answers were read; None where none were sampled.
    """

    probabilities: tuple[float, ...]
    reading: Reading
    rationales: tuple[str, ...]
    prompt_sha256: str
    version: str
    usage: Usage
    draws: int | None


class NoVerdict(NamedTuple):
    """Why there is no verdict."""

    kind: FailureKind
    detail: str
    exchange: str = ""
    usage: Usage = Usage()


class Fitted(NamedTuple):
    """A query cut to fit the model, and how much went."""

    query: tuple[Turn, ...]
    dropped_turns: int
    dropped_tokens: int


def method_for(name: str, able: Capabilities, config: VerdictConfig) -> Method:
    """How verdicts will be read; sees, before anything is asked, that the model can do what the config wants.

    Args:
        name: the model's.
        able: what it can do.
        config: the settings.

    Raises:
        CapabilityError: names what is missing and what would do.
    """
    method = config.method
    if method == "auto":
        method = "exact" if able.exact or not able.top_logprobs else "logprobs"
    if method == "exact" and not able.exact:
        remedy = "--method logprobs" if able.top_logprobs else "--method sampled"
        raise CapabilityError(f"{name} gives no log-probabilities of whole answers; use {remedy}, or a local model")
    if method == "logprobs" and not able.top_logprobs:
        remedy = "--method exact" if able.exact else "--method sampled"
        raise CapabilityError(f"{name} does not show its likeliest tokens; use {remedy}")
    if method == "sampled" and not able.draws:
        raise CapabilityError(f"{name} answers alike every time, so every draw would be the same; use --method exact")
    if config.temperature > 0 and not able.temperature:
        raise CapabilityError(f"{name} takes no temperature; leave temperature at 0, without self_consistency")
    return method


def request(
    able: Capabilities, prompt: Prompt, want: Choose | Generate, offered: Sequence[str], draw: int = 0
) -> Request:
    """The request that asks a prompt.

    Args:
        able: what the model can do; where it cannot go on from a text, the ending is the last line of what it reads.
        prompt: what the model reads.
        want: what is asked for.
        offered: the answers to choose from; none for a rationale.
        draw: tells repeated questions apart.
    """
    content, shared = prompt.shared + prompt.question, len(prompt.shared)
    if able.continues:
        return Request((Turn(role="user", content=content),), want, prompt.continuation, shared, draw)
    only = f"Reply with {', '.join(offered[:-1])} or {offered[-1]}, and with nothing else.\n\n" if offered else ""
    return Request((Turn(role="user", content=f"{content}\n\n{only}{prompt.continuation}"),), want, "", shared, draw)


def state(prompter: VerdictPrompter, prompt: Prompt, draw: int) -> Request:
    """The request for a stated probability; the number stands where no verdict would, so the ending is left out.

    Args:
        prompter: has the offered answers, of which the first is asked for.
        prompt: what the model reads.
        draw: tells repeated questions apart.
    """
    thought = prompt.continuation.removesuffix(prompter.ending).strip()
    parts = [prompt.shared + prompt.question, thought, STATE.format(answer=prompter.verdicts[0])]
    content = "\n\n".join(part for part in parts if part)
    want = Generate(VERDICT_TOKENS)
    return Request((Turn(role="user", content=content),), want, "", len(prompt.shared), draw)


def draw_seed(seed: int, item: str, order: str, draw: int) -> int:
    """The seed of one draw: a hash of run, item, order and draw, and of nothing else.

    Args:
        seed: the run's.
        item: its id.
        order: `12`, `21`, or a response's index.
        draw: its number.

    Returns:
        A whole number below 2^63.
    """
    digest = hashlib.sha256(f"{seed}\0{item}\0{order}\0{draw}".encode()).digest()
    return int.from_bytes(digest[:8], "big") >> 1


def fit(ways: Sequence[Way], query: tuple[Turn, ...], shown: Sequence[tuple[str, ...]]) -> Fitted | NoVerdict:
    """Drop a dialogue's oldest turns until the longest of its prompts fits the model; never the responses.

    Args:
        ways: how the item is asked for: of one model, by one config. The model says how long its context is, and
            counts tokens.
        query: the dialogue.
        shown: the texts of each prompt that will be asked, in each way; all are asked with the same turns.

    Returns:
        The fitted query, or why not even the responses alone fit.
    """
    llm, _, config = ways[0]
    limit = llm.capabilities.context_tokens
    if limit is None:
        return Fitted(query, 0, 0)
    limit -= VERDICT_TOKENS + (config.max_rationale_tokens if config.rationale else 0)

    def count(prompter: VerdictPrompter, turns: tuple[Turn, ...], texts: tuple[str, ...]) -> int:
        prompt = prompter.ask(turns, *texts)
        if prompter.rationale:
            prompt = prompter.conclude(prompt, "")
        want = Choose(prompter.verdicts)
        return llm.count_tokens(request(llm.capabilities, prompt, want, prompter.verdicts)) or 0

    def tokens(turns: tuple[Turn, ...]) -> int:
        return max(count(way.prompter, turns, texts) for way in ways for texts in shown)

    whole = tokens(query)
    if whole <= limit:
        return Fitted(query, 0, 0)
    if (least := tokens(())) > limit:
        return NoVerdict("too_long", f"{least} tokens without any of the query; there is room for {limit}")
    for dropped in range(1, len(query)):
        if (rest := tokens(query[dropped:])) <= limit:
            return Fitted(query[dropped:], dropped, whole - rest)
    return Fitted((), len(query), whole - least)


async def verdict(
    ask: Ask,
    way: Way,
    query: tuple[Turn, ...],
    texts: tuple[str, ...],
    item: str,
    order: str,
) -> Verdict | NoVerdict:
    """Ask for one verdict.

    Args:
        ask: asks one request.
        way: how to ask and read.
        query: the dialogue, already fitted.
        texts: two responses in the order shown, or the one to score.
        item: the item's id, for seeds.
        order: the order's name, for seeds.

    Returns:
        The verdict, or why there is none.
    """
    config = way.config
    prompt = way.prompter.ask(query, *texts)
    outcomes = await asyncio.gather(
        *(
            _draw(ask, way, prompt, draw_seed(config.seed, item, order, number), number)
            for number in _numbers(config.repeat, config.self_consistency)
        )
    )
    usage = sum((one.usage for one in outcomes), Usage())
    for one in outcomes:
        if isinstance(one, NoVerdict):
            return one._replace(usage=usage)
    done = [one for one in outcomes if isinstance(one, _Draw)]
    reading = mean_reading([one.reading for one in done])
    rationales = tuple(one.rationale for one in done if one.rationale is not None)
    probabilities = reading.normalised()
    if probabilities is None or reading.unread_mass > config.max_unread_mass:
        share = f"{reading.unread_mass:.4f} of the probability is on no offered answer"
        exchange = "\n\n".join([*rationales, *dict.fromkeys(text for one in done for text in one.said)])
        return NoVerdict("unreadable", f"{share}; max_unread_mass is {config.max_unread_mass}", exchange, usage)
    draws = round((1 - reading.unread_mass) * config.draws * len(done)) if config.method == "sampled" else None
    return Verdict(probabilities, reading, rationales, prompt.sha256, done[0].version, usage, draws)


class _Draw(NamedTuple):
    reading: Reading
    rationale: str | None
    version: str
    usage: Usage
    said: tuple[str, ...]


async def _draw(ask: Ask, way: Way, prompt: Prompt, seed: int, number: int) -> _Draw | NoVerdict:
    """One rationale, where one is wanted, and the answer's distribution behind it."""
    llm, prompter, config = way
    rationale, usage = None, Usage()
    if prompter.rationale:
        drawn = seed if config.temperature > 0 else None
        stop = (f"\n{prompter.ending.splitlines()[-1]}",)
        want = Generate(config.max_rationale_tokens, config.temperature, drawn, stop)
        thought = await ask(request(llm.capabilities, prompt, want, (), number))
        if isinstance(thought, NoAnswer):
            return NoVerdict(thought.kind, f"rationale: {thought.detail}", thought.text, thought.usage)
        rationale, usage = thought.text.strip(), thought.usage
        prompt = prompter.conclude(prompt, rationale)
    if config.method == "verbalized":
        requests = [state(prompter, prompt, number)]
    else:
        wanted = _wanted(prompter, config, seed, number)
        (draw, choice), *others = wanted
        first = request(llm.capabilities, prompt, choice, prompter.verdicts, draw)
        # Draws share one text: there may be hundreds of thousands of them.
        requests = [first, *(replace(first, want=other, draw=draw) for draw, other in others)]
    answers = await asyncio.gather(*map(ask, requests))
    usage = sum((answer.usage for answer in answers), usage)
    answered = [answer for answer in answers if isinstance(answer, Answer)]
    for answer in answers:
        # A draw that was refused is one that gives no verdict, as long as there are others.
        if isinstance(answer, NoAnswer) and not (answer.kind == "refused" and answered):
            return NoVerdict(answer.kind, answer.detail, answer.text or rationale or "", usage)
    if config.method == "logprobs" and not answered[0].top:
        return NoVerdict("unreadable", "no log-probabilities came, though they were asked for", answered[0].text, usage)
    match config.method:
        case "auto" | "exact":
            reading = read_exact(answered[0].chains)
        case "logprobs":
            reading = read_top(answered[0].top, prompter.verdicts)
        case "sampled":
            # Whatever a refused draw began to say is no verdict.
            texts = [prompter.ending + (one.text if isinstance(one, Answer) else "") for one in answers]
            reading = read_draws(texts, prompter.pattern, prompter.verdicts)
        case "verbalized":
            reading = read_stated(answered[0].text)
    said = tuple(answer.text for answer in answered if answer.text)
    return _Draw(reading, rationale, answered[0].version, usage, said)


def _numbers(repeat: int, count: int) -> range:
    """The draws of a repetition: those that no other has."""
    return range(repeat * count, (repeat + 1) * count)


def _wanted(
    prompter: VerdictPrompter, config: VerdictConfig, seed: int, number: int
) -> Iterator[tuple[int, Choose | Generate]]:
    """What is asked for behind one rationale, with the number of the draw; more draws begin with the same."""
    if config.method != "sampled":
        yield number, Choose(prompter.verdicts)
        return
    for draw in _numbers(config.repeat, config.draws):
        drawn = draw_seed(seed, prompter.ending, "answer", draw)
        yield draw, Generate(VERDICT_TOKENS, 1.0, drawn)
