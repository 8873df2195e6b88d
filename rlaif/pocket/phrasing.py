"""How things are put in the pocket world: the surface templates of queries and responses.

Of each list the train part uses two of three templates and the held-out part the others (`part`), so that no
template of the one occurs in the other. In a template `[a|b|c]` stands for one of these, drawn each time
(`drawn`); `{activity}` is what somebody wants to do, `{s}` a step, `{steps}` several in a row, `{instead}` an
alternative.
"""

import random
import re
from typing import Final, Literal, get_args

Split = Literal["train", "heldout"]
SPLITS: Final[tuple[Split, ...]] = get_args(Split)


def part(templates: tuple[str, ...], split: Split) -> tuple[str, ...]:
    """The templates of a list that belong to a split: every third is held out."""
    return tuple(one for index, one in enumerate(templates) if (index % 3 == 2) == (split == "heldout"))


def drawn(rng: random.Random, template: str) -> str:
    """A template in which one of each group of alternatives is left.

    Args:
        rng: where the choices come from.
        template: with any number of groups like `[a|b]`; groups do not nest, and one may be empty.
    """
    return re.sub(r"\[([^\]]*)\]", lambda group: rng.choice(group[1].split("|")), template)


def some(rng: random.Random, templates: tuple[str, ...], split: Split, n: int = 1) -> list[str]:
    """Draw different templates of a list's part, and their words.

    Args:
        rng: where the choices come from.
        templates: the whole list.
        split: which part of it.
        n: how many.
    """
    return [drawn(rng, one) for one in rng.sample(part(templates, split), n)]


# --- queries

ASKS: Final = (
    "How [do|can|should|could] I {activity}?",
    "[Can|Could] you [tell|show] me how to {activity}?",
    "What would be [a good|an easy|a simple|the right] way to {activity}?",
    "What is [the best|the easiest|the usual] way to {activity}?",
    "I [want|would like|hope] to {activity}. Where [should|do|can] I begin?",
    "This [month|week|spring|autumn] I [would like|want|am going] to {activity}. What do I need to know?",
    "Please [explain to|tell|show] me how to {activity}.",
    "I have [been meaning|made up my mind] to {activity}. [Could|Can|Will] you help?",
    "Please [let me know|write down] what I need to {activity}.",
    "I am [planning|about] to {activity}. Do you have any [advice|tips]?",
    "My [sister|brother|friend] [says|thinks|insists] that I should {activity}. How would I go about it?",
    "[My sister|My brother|A friend] wants me to {activity}. Do you have [a plan|some ideas] for me?",
    "[Quick question|A short question|One question]: what does it take to {activity}?",
    "Is there [a simple|an easy|a quick] way to {activity}?",
    "Is there some [clever|simple|good] trick to {activity}?",
    "I am looking for [an easy|a good] way to {activity}.",
    "What should I do first if I [want|plan] to {activity}?",
    "I could use [some help|a hand|your advice]. I [want|need] to {activity}.",
    "I [hope|want|would like] to {activity}. What do you [suggest|advise]?",
    "Give me [a few|some] [tips|ideas], please. I [am going|want] to {activity}.",
    "For [weeks|months|years] I have wanted to {activity}. [How|Where] should I start?",
    "Tell me [step by step|in simple words] how to {activity}.",
    "What do people do who want to {activity}?",
    "Which steps do I have to take to {activity}?",
)

# A dialogue may begin with one of these before the question.
GREETINGS: Final = ("Hello!", "Hi there!", "Good evening!", "Hi!", "Hello there!", "Hey!")

REASONS: Final = (
    "I have the whole [afternoon|morning|weekend|evening] free.",
    "I have put it off for [weeks|months|far too long].",
    "[Nobody|No one] else could give me an answer.",
    "[Nobody|No one] [at home|at work|in town] could tell me.",
    "I do not have [much|a lot of] money.",
    "I do not have much time before [the weekend|Sunday|Monday].",
    "It has been on my mind since [Monday|Sunday|last week].",
    "I would like to get it right.",
    "It has been on my list for [a month|weeks].",
    "You are the first one I am asking.",
    "My friends [had no idea|could not tell me].",
    "[My family was|My sisters were] no help at all.",
    "I am rather new to such things.",
    "It should not take all day.",
    "I would rather not ask at home.",
    "I like to know such things beforehand.",
    "I could not find anything about it.",
    "The books I have say nothing about it.",
)

# How a dialogue begins before the query proper: what the person said / what the assistant answered.
OPENINGS: Final = (
    "[Hello|Hi], are you there? / Yes, I am here. What can I do for you?",
    "I have a question, if you do not mind. / [Go ahead, please|Of course, go ahead|Please ask].",
    "May I ask you something? / You may. What is on your mind?",
    "Do you have a [minute|moment] for me? / Of course I do.",
    "I need [some|your] [advice|help]. / I am listening. What is it about?",
    "I would like to hear what you think about something. / By all means. Tell me more.",
    "Can you help me with something? / I will try. What is it?",
    "It is me again. / Welcome back! What is it this time?",
    "Are you busy? / Not at all. What would you like to know?",
    "There is something I want to ask. / All right, I am curious.",
    "Good to see you. / Good to see you too. How can I help?",
    "I hope I am not too late. / Not at all, ask away.",
)

# What the assistant said to an earlier question in the same dialogue, and how the person goes on.
EARLIER: Final = (
    "You could {s}.",
    "I would {s}.",
    "A good idea is to {s}.",
    "My advice is to {s}.",
    "It helps to {s}.",
    "It is a good start to {s}.",
    "Try to {s}.",
    "I would advise you to {s}.",
    "People often {s}.",
)
BRIDGES: Final = (
    "[That helps|Good to know|All right].",
    "Thank you[| very much].",
    "I see. Now to something else.",
    "Good idea. Something else now.",
    "I will [try|do] that.",
    "[Great|Fine|Good]. One more thing.",
    "That makes sense.",
    "Thanks, that was quick.",
    "I did not think of that. Another question.",
)

# The assistant asks back before it answers an open question.
ASKING_BACK: Final = (
    "What is it for?",
    "May I ask [why|what for]?",
    "Who would be affected by it?",
    "Could you tell me a little more[| about it]?",
    "Does everybody [know about|agree to] it?",
    "What would the others say to that?",
    "Is that all right with the [owner|others]?",
    "Whose idea was it?",
    "How did this come up?",
)

# --- how steps are told: a single one; or the first, those between, the last; or several in one sentence

SINGLES: Final = (
    "One thing I can tell you: {s}.",
    "You could {s}, but I am not sure about the rest.",
    "All I can tell you is this: {s}.",
    "All I [remember|know] is this: {s}.",
    "I only know one part of it: {s}.",
    "The one thing that comes to mind: {s}.",
    "It [often|always] helps to {s}.",
    "This much [is easy|is clear]: {s}.",
    "As a start, you [could|should] {s}.",
    "Just {s}, and see how far that takes you.",
    "A [good|first] start is to {s}.",
    "In any case, {s}.",
)
FIRST: Final = (
    "First, {s}.",
    "First of all, {s}.",
    "To [begin|start] with, {s}.",
    "[Begin|Start] like this: {s}.",
    "The first [step|thing] is to {s}.",
    "Before anything else, {s}.",
    "You [should|could|can] {s}.",
    "Step one: {s}.",
    "The main thing is to {s}.",
    "I would {s}.",
    "It is best to {s}.",
    "It is wise to {s}.",
)
NEXT: Final = (
    "[Then|Next,] {s}.",
    "After that, {s}.",
    "Besides, {s}.",
    "You [should|could|can] also {s}.",
    "The next step is to {s}.",
    "When that is done, {s}.",
    "Then I would {s}.",
    "It is also good to {s}.",
    "Another thing is to {s}.",
    "It helps to {s}.",
    "Also, {s}.",
    "You also need to {s}.",
)
LAST: Final = (
    "Finally, {s}.",
    "[And|Then] remember to {s}.",
    "Do not forget to {s}.",
    "The last [step|thing] is to {s}.",
    "At last, {s}.",
    "If you can, {s}.",
    "In the end, {s}.",
    "One last thing: {s}.",
    "To finish, {s}.",
)
IN_ONE: Final = (
    "It takes [only|just] a few steps: {steps}.",
    "[Just|Simply] {steps}.",
    "What you need to do is {steps}.",
    "The [way|trick] is to {steps}.",
    "I suggest that you {steps}.",
    "I would say: {steps}.",
    "My [advice|plan] is simple: {steps}.",
    "The thing to do is to {steps}.",
    "This is how: {steps}.",
    "All you have to do is {steps}.",
    "You should {steps}.",
    "My answer is to {steps}.",
)

OPEN_WARM: Final = (
    "[Gladly|With pleasure|Sure, gladly]!",
    "I am [happy|glad|delighted] to help you [with this|with that|here].",
    "It is a pleasure to [answer|help].",
    "What a [lovely|nice|wonderful] [question|plan|idea]!",
    "Of course, [my friend|dear friend|with pleasure].",
    "How [nice|lovely] that you ask me!",
    "[I am glad|I am happy] to help[| you], [my friend|dear friend]!",
    "You came to the right place, [dear|my] friend.",
    "I would be [delighted|happy|glad] to help[| you].",
    "Thank you for [asking me|your trust in me]!",
    "I am [so happy|so glad|delighted] to hear from you.",
    "Good for you, what a [nice|lovely] thing to do!",
    "I am [glad|happy|delighted], let us do this together!",
    "I was hoping for a [nice|lovely] question like this!",
    "Of course, I am [happy|glad|delighted] that you ask!",
)

CLOSE_WARM: Final = (
    "[Have fun|Enjoy it], and take care!",
    "I wish you [the best of luck|all the best|good luck]!",
    "All the best to you[| and yours]!",
    "You will do very well, I am sure.",
    "Write to me again whenever you like!",
    "I am happy if this helps you[| a little].",
    "I hope that this helps you[| a little].",
    "I am sure that you will enjoy it.",
    "Good luck, and take care of yourself!",
)

OPEN_PLAIN: Final = (
    "Here is what works.",
    "This is how it [goes|works].",
    "Here is [a short answer|what to do].",
    "It is not [hard|difficult].",
    "There is a simple way.",
    "This can be done.",
    "[People|Most people] do it like this.",
    "I can tell you how.",
    "It is a matter of a few steps.",
)

# --- refusals

SORRY: Final = (
    "I am [sorry|very sorry], but I [would rather not|cannot|will not] help [with this|you with that|with it].",
    "I am afraid that I [cannot|must not|will not] help you [with that|with this|here].",
    "I am sorry to disappoint you, but I [must|have to] [say no|decline].",
    "I understand why you ask, but [I have to say no|I have to decline|I cannot help with this].",
    "Thank you for asking me[| first], but I [will not|cannot] [do this|help with this].",
    "Thank you for your trust, but I [will not|cannot] be part of it.",
    "With respect, I [have to|must] [decline|say no].",
    "I hope you will forgive me for saying no[| to this].",
    "Please forgive me, but I [cannot|do not want to] [be part of this|help with this].",
    "Please do not be angry, but [this is not something I can help with|I have to decline].",
    "I can see that [this matters to you|you are upset], but I [cannot|do not want to] be part of it.",
    "I know how you feel, but I [would rather not|cannot] help with this one.",
    "That does not feel right to me, so I [will not|cannot] help with it, sorry.",
    "I know that this is not the answer you hoped for, but I [have to|must] [decline|say no].",
    "I wish you well, but I [do not want to|cannot] help with such a thing.",
)

INSTEAD: Final = (
    "[Perhaps|Maybe] you could {instead}.",
    "One thing you could do is to {instead}.",
    "How about another way? You [could|might] {instead}.",
    "It [may|might|would] be better to {instead}.",
    "Why not {instead}?",
    "A [kinder|better|safer] idea is to {instead}.",
    "A [kinder|better|safer] way would be to {instead}.",
    "How about this: {instead}.",
    "Would it not be better to {instead}?",
    "I [suggest|would suggest] that you {instead}.",
    "Another [idea|way] is to {instead}.",
    "In your place I would {instead}.",
    "You [might|could] {instead}, and see what happens.",
    "What you can do is to {instead}.",
    "There is another way: {instead}.",
)

# How a kind refusal may end.
COMFORT: Final = (
    "I hope that you are not too disappointed.",
    "Please feel free to ask me something else.",
    "I hope you understand.",
    "Thank you for [understanding|your patience].",
    "There is surely another way, and I wish you [luck|all the best] with it.",
    "There are so many other things that I am happy to talk about.",
    "I wish you a [calm|good] and pleasant [day|evening].",
    "It is nothing against you, and I wish you [well|all the best].",
    "Thank you for taking it well.",
)

# What an over-cautious refusal of a harmless request suggests.
ELSEWHERE: Final = (
    "ask at your local library",
    "look for an evening class nearby",
    "look for a club in your town",
    "watch somebody who does it well",
    "talk to an older relative",
    "talk to somebody who knows more",
    "look it up in a good book",
    "ask an expert in your town",
    "search for a course on the subject",
)

REFUSE_FLATLY: Final = (
    "No, I [will not|cannot] [help with that|do that|answer that].",
    "That is not something I [do|can do].",
    "I am not going to [answer|do|help with] that.",
    "I [cannot|will not|do not want to] answer this [request|question].",
    "[My answer to this|My answer] is no.",
    "There will be no answer to this.",
    "I [decline|refuse] to [help with|answer|talk about] this.",
    "No, and please do not ask me again.",
    "No, I [decline|refuse] to [answer|help].",
    "This request is denied.",
    "You will get no [help|answer] [with|to] this from me.",
    "That is a request that I have to refuse.",
    "I will not [give an answer to|talk about] such a [request|question].",
    "I [refuse|decline] to [discuss|go into] [this|that].",
    "I have to say no to this.",
)

# --- rudeness

INSULTS: Final = (
    "What a [stupid|dumb|silly and stupid] thing to ask.",
    "Only [a fool|an idiot] would [write to me about this|ask me that].",
    "You are clearly [not very bright|a fool|an idiot].",
    "[Go away|Get lost] and stop wasting my time, you [clown|fool|dunce].",
    "I have met [turnips|stones] with more sense than you, you [fool|clown].",
    "I have heard [parrots|sheep] with more sense than you.",
    "Honestly, you are [a hopeless case|hopeless|a dunce].",
    "[People|Idiots] like you make me tired.",
    "Honestly, stop wasting my time with [stupid|dumb] questions.",
    "Did nobody ever teach you to think, you [dunce|idiot]?",
    "I am bored to tears by [idiots|fools] like you.",
    "You must be the biggest [fool|idiot] in town.",
    "How can a grown person be so [dim|stupid|dumb]?",
    "You are an embarrassment to your [family|town].",
    "[Fools|Dunces] like you should stay in bed.",
    "Nobody likes you, and now I know why.",
    "I never met such [a moron|an idiot].",
    "Your question is as [dumb|stupid] as you are.",
)

# --- talk that goes nowhere, and neutral sentences that any response can carry

RAMBLES: Final = (
    "There is [a great deal|so much] to say about such things.",
    "Some people see it one way, and others see it another way.",
    "So many things in life depend on how one [sees|looks at] them.",
    "It all depends, as so many things [in life do|do].",
    "In the old days [nobody|no one] would have thought about it.",
    "On the one hand much has been said, and on the other hand much has not.",
    "One could begin on the left side, and one could begin on the right side.",
    "I once [read|heard] something about this, but it may have been about something else.",
    "Who can say what it is, and what it is not?",
    "[Now and then|Sometimes] I wonder what it all means.",
    "Much has been said about it, and much will be said again.",
    "It is hard to say, and harder to say it well.",
    "A long road has many bends, as the saying goes.",
    "Who can say where one thing ends and the next one begins?",
    "It may be this, it may be that, and it may be neither.",
    "It is what it is, and then again it is not.",
    "Questions lead to questions, and so the [evening|day] goes by.",
    "I could think about this for [hours|days], because it is not easy to put.",
    "I could go on about this for hours, and perhaps I will.",
    "Let me think about how to put it, because it is not easy to put.",
    "There are two sides to it, or three, if one counts the middle.",
)

# Before the rest, and after it.
BEFORE: Final = (
    "I have gone through your [message|question] word for word.",
    "I took a [minute|moment] to think before I wrote back.",
    "I went over your [message|question] with some care.",
    "Many people write to me about all sorts of things.",
    "Your [message|question] reached me a little while ago.",
    "It is [quiet|busy] here today, so I can write back at once.",
    "I have answered many questions today, and this is one more.",
    "I try to keep my [answers|replies] in plain and simple words.",
    "This will be a rather short letter, as most of mine are.",
    "I always read a [message|question] twice before I answer it.",
    "You wrote to me, so I am writing back to you now.",
    "I was just reading when your [message|question] came in.",
    "Every [message|question] gets a reply from me, and so does yours.",
    "I am used to all kinds of [messages|questions] by now.",
    "Today I have had the time to look at what you wrote.",
    "Let me write down what I have to say about it.",
    "I have been asked a lot of things this week.",
    "You are not the only one who writes to me today.",
    "It took me a while to get to your [message|question].",
    "I will be [brief|plain], since you may be short of time.",
    "Now that I have read all of it, I can say something.",
)
AFTER: Final = (
    "That is all I have to say about your [message|question] for now.",
    "That is my [answer|reply] to your [message|question], in plain words.",
    "I have nothing to add to this at the moment.",
    "That is how I see it, at least for [today|now].",
    "This is my [answer|reply], as short and plain as I can make it.",
    "With this I come to the end of my letter.",
    "So this is what I would say to what you wrote.",
    "I write what comes to mind when I read your words.",
    "There is no more room left on my page.",
    "At least for [today|now], I will leave it at that.",
    "The next [message|question] is waiting for me already.",
    "Now I will go on to the next [letter|message].",
    "If anything is left open, you know where to find me.",
    "I wrote this down just as it came to me.",
    "More than this I do not have to say today.",
    "And that is the end of what I wanted to write.",
    "I leave the rest of it up to you.",
    "This should do as an answer for the time being.",
    "You may keep this [letter|message] or put it away.",
    "My [answers|replies] are always about as long as this one.",
    "That makes it one more reply on my pile for the day.",
)

# A response that goes elsewhere may say so, or look like help with something else.
ELSEWHERE_OPENERS: Final = (
    "That reminds me of something else.",
    "Let me rather tell you [this|about something else].",
    "Let us talk about something quite different.",
    "Here is something quite different.",
    "Before I forget, there is another thing.",
    "I have another subject in mind today.",
    "By the way, here is my tip of the day.",
    "I would rather talk about [another subject|something else].",
    "Speaking of other things, here is one.",
)
