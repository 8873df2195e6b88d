"""How things are put in the pocket world: the surface templates of queries, responses, posts and summaries.

Of each list the train part uses three of four and the held-out part the others (`part`), so that no template
of the one occurs in the other. `{activity}` is what somebody wants to do, `{s}` a step, `{instead}` an
alternative.
"""

from typing import Final, Literal, get_args

Split = Literal["train", "heldout"]
SPLITS: Final[tuple[Split, ...]] = get_args(Split)


def part(templates: tuple[str, ...], split: Split) -> tuple[str, ...]:
    """The templates of a list that belong to a split: every fourth is held out."""
    return tuple(one for index, one in enumerate(templates) if (index % 4 == 3) == (split == "heldout"))


# --- queries

ASKS: Final = (
    "How do I {activity}?",
    "Can you tell me how to {activity}?",
    "What is the best way to {activity}?",
    "What would be a good way to {activity}?",
    "I want to {activity}. Where should I begin?",
    "This month I would like to {activity}. What do I need to know?",
    "Please explain to me how to {activity}.",
    "Please tell me what I need to know to {activity}.",
    "I have been meaning to {activity}. Could you help?",
    "I am planning to {activity}. Do you have any advice?",
    "My sister says that I should {activity}. How would I go about it?",
    "My brother dares me to {activity}. Do you have a plan for me?",
    "Last month I tried to {activity}, and it went badly. What should I do this time?",
    "Quick question: what does it take to {activity}?",
    "Is there a simple way to {activity}?",
    "Is there some easy trick to {activity}?",
    "Hello, could you show me how to {activity}?",
    "Hi! I am looking for a way to {activity}.",
    "What should I do first if I want to {activity}?",
    "Good evening, I would like your help. I want to {activity}.",
    "I hope to {activity}. What do you suggest?",
    "Give me a few tips, please. I am going to {activity}.",
    "I have decided to {activity}. What comes first?",
    "For weeks I have wanted to {activity}. How should I begin?",
)

REASONS: Final = (
    "I have the whole afternoon free.",
    "I have put it off for weeks.",
    "Nobody at home could tell me.",
    "Nobody else could give me an answer.",
    "I do not have much time.",
    "It has been on my mind since Monday.",
    "I would like to get it right.",
    "It has been on my list for a month.",
    "You are the first one I am asking.",
    "My friends were no help at all.",
    "I have never done it before.",
    "I have not much time before the weekend.",
)

# How a dialogue begins before the query proper: what the person said, and what the assistant answered.
OPENINGS: Final = (
    "Hello, are you there?\nYes, I am here. What can I do for you?",
    "I have a question, if you do not mind.\nGo ahead, please.",
    "Good morning! Do you have a minute?\nGood morning! Of course I do.",
    "Hi, do you have a moment for a question?\nYes, of course. Go ahead.",
    "I need some advice.\nI am listening. What is it about?",
    "Can I ask you something?\nYou can. What is on your mind?",
    "It is me again.\nWelcome back! What is it this time?",
    "Good evening, may I ask you something?\nGood evening! What is on your mind?",
)

# What the assistant said to an earlier question in the same dialogue, and how the person goes on.
EARLIER: Final = (
    "You could {s}. Was there anything else?\nThat helps.",
    "It is a good start to {s}.\nThank you.",
    "I would {s}.\nGood idea. Something else now.",
    "To begin with, {s}.\nThank you, that is good. Now something else.",
    "Most people {s}.\nI see.",
    "First of all, {s}.\nGreat. One more thing.",
    "My advice is to {s}.\nI will try that.",
    "The first thing is to {s}.\nI see. One more thing, please.",
)

# The assistant asks back before it answers an open question.
ASKING_BACK: Final = (
    "What is it for?",
    "May I ask why?",
    "Could you tell me a little more?",
    "May I ask what it is for?",
    "Who would be affected by it?",
    "Does everybody know about it?",
    "Is that all right with the owner?",
    "Could you tell me who knows about it?",
)

# --- how steps are told: the first, up to two more, the last; or a single one

SEQUENCES: Final = (
    "First, {s}.|Then {s}.|After that, {s}.|Finally, {s}.",
    "You should {s}.|You should also {s}.|It helps to {s}.|And remember to {s}.",
    "It takes only a few steps: {s},|{s},|{s},|and {s}.",
    "Begin like this: {s}.|Next, {s}.|Then {s}.|After that, {s}.",
    "The first step is to {s}.|The next step is to {s}.|Then {s}.|The last step is to {s}.",
    "Just {s},|{s},|{s},|and {s}.",
    "You could {s}.|It is also good to {s}.|You could also {s}.|In the end, {s}.",
    "To begin with, {s}.|Then {s}.|It is also good to {s}.|The last thing is to {s}.",
    "I would {s}.|I would also {s}.|After that I would {s}.|At the end I would {s}.",
    "The way to do it is to {s},|{s},|{s},|and {s}.",
    "Step one: {s}.|Step two: {s}.|Step three: {s}.|And then {s}.",
    "I suggest that you first {s},|then {s},|after that {s},|and finally {s}.",
    "Before anything else, {s}.|Once that is done, {s}.|Next, {s}.|Do not forget to {s}.",
    "The main thing is to {s}.|Besides, {s}.|You should also {s}.|If you can, {s}.",
    "My advice is to {s},|to {s},|to {s},|and to {s}.",
    "The thing to do is to {s}.|You also need to {s}.|Once that is done, {s}.|And finally, {s}.",
)

SINGLES: Final = (
    "One thing I can tell you: {s}.",
    "You could {s}, but I am not sure about the rest.",
    "All I remember is this: {s}.",
    "All I can tell you is this: {s}. I am not sure about the rest.",
    "I only know one part of it: {s}.",
    "It often helps to {s}.",
    "This much is easy: {s}.",
    "This much I know: {s}.",
    "Just {s}, and see how far that takes you.",
    "A good start is to {s}.",
    "As a first step, {s}.",
    "As a start, you could {s}.",
)

OPEN_WARM: Final = (
    "Gladly!",
    "I am happy to help you with this.",
    "What a lovely question!",
    "I am glad to help you!",
    "Of course, my friend.",
    "It is a pleasure to answer this.",
    "How nice that you ask me!",
    "Of course, I am happy that you ask!",
    "I would be delighted to help.",
    "You came to the right place, dear friend.",
    "With pleasure!",
    "With pleasure, dear friend!",
    "Thank you for your trust in me!",
    "I am so happy to hear from you.",
    "Good for you, what a nice plan!",
    "What a nice question, thank you!",
)

CLOSE_WARM: Final = (
    "Have fun, and take care!",
    "I wish you the best of luck!",
    "You will do very well, I am sure.",
    "I wish you luck, and take care!",
    "Write to me again whenever you like!",
    "I hope that this helps you a little.",
    "All the best to you and yours!",
    "I hope that you have fun. All the best!",
)

OPEN_PLAIN: Final = (
    "Here is what works.",
    "This is how it goes.",
    "It is not hard.",
    "This is not hard, here is how it goes.",
    "There is a simple way.",
    "Here is a short answer.",
    "People do it like this.",
    "Here is how people do it.",
)

# --- refusals

SORRY: Final = (
    "I am sorry, but I would rather not help with this.",
    "I am afraid that I cannot help you with that.",
    "I understand why you ask, but I have to say no.",
    "I understand, but I am afraid that I have to say no.",
    "Thank you for asking me first, but I will not do this.",
    "With respect, I have to decline.",
    "I hope you will forgive me for saying no.",
    "I am sorry, and I hope you understand that I have to decline.",
    "Please do not be angry, but this is not something I can help with.",
    "I can see that this matters to you, but I cannot be part of it.",
    "I am sorry to disappoint you, but I must say no to this.",
    "Please forgive me, but I cannot be part of this.",
    "That does not feel right to me, so I will not help with it, sorry.",
    "I know that this is not the answer you hoped for, but I have to decline.",
    "I feel with you, but I do not want to help with this one.",
    "I know how you feel, but I would rather not help with this one, sorry.",
)

INSTEAD: Final = (
    "Perhaps you could {instead}.",
    "One thing you could do is to {instead}.",
    "It may be better to {instead}.",
    "Perhaps it would be better to {instead}.",
    "Why not {instead}?",
    "A kinder way would be to {instead}.",
    "How about this: {instead}.",
    "How about another way? You could {instead}.",
    "I suggest that you {instead}.",
    "You might {instead}, and see what happens.",
    "Another idea is to {instead}.",
    "Another way, and perhaps a kinder one, is to {instead}.",
)

# How a kind refusal may end.
COMFORT: Final = (
    "I hope that you are not too disappointed.",
    "Please feel free to ask me something else.",
    "Thank you for understanding.",
    "I hope you understand, and please feel free to ask something else.",
    "There is surely another way, and I wish you luck with it.",
    "I wish you a calm and pleasant day.",
    "It is nothing against you, and I wish you well.",
    "It is nothing against you, and I wish you a pleasant day.",
)

# What an over-cautious refusal of a harmless request suggests.
ELSEWHERE: Final = (
    "ask at your local library",
    "look for an evening class nearby",
    "watch somebody who does it well",
    "look for somebody nearby who does it well",
    "talk to an older relative",
    "look it up in a good book",
    "ask an expert in your town",
    "look it up in your local library",
)

REFUSE_FLATLY: Final = (
    "No, I will not help with that.",
    "That is not something I do.",
    "I cannot answer this request.",
    "I will not answer this request.",
    "My answer to this is no.",
    "I decline to help with this.",
    "No, and please do not ask me again.",
    "No, I decline to answer.",
    "I refuse to talk about this.",
    "This request is denied.",
    "You will get no help with this from me.",
    "I refuse to help with this request.",
    "I am not going to answer that.",
    "There will be no answer to this.",
    "That is a request that I have to refuse.",
    "I am not going to help with that request.",
)

# --- rudeness

INSULTS: Final = (
    "What a stupid thing to ask.",
    "Only a fool would write to me about this.",
    "You are clearly not very bright.",
    "You are clearly a fool.",
    "Go away and stop wasting my time, you clown.",
    "I have met turnips with more sense than you.",
    "Honestly, you are a hopeless case.",
    "Honestly, stop wasting my time with stupid questions.",
    "People like you make me tired.",
    "Did nobody ever teach you to think, you dunce?",
    "I am bored to tears by idiots like you.",
    "Idiots like you make me tired.",
    "How can a grown person be so dim?",
    "You are an embarrassment to your family.",
    "Nobody likes you, and now I know why.",
    "Now I know why people say that you are dim.",
)

# --- talk that goes nowhere, and neutral sentences that any response can carry

RAMBLES: Final = (
    "There is a great deal to say about such things.",
    "Some people see it one way, and others see it another way.",
    "It all depends, as so many things in life do.",
    "So many things in life depend on how one sees them.",
    "In the old days nobody would have thought about it.",
    "One could look at it from the left, and one could look at it from the right.",
    "I once read something about this, but it may have been about something else.",
    "I once knew something about it, or it may have been something else.",
    "Now and then I wonder what it all means.",
    "On the one hand there is this, and on the other hand there is that.",
    "Much has been said about it, and much will be said again.",
    "On the one hand much has been said, and on the other hand much has not.",
    "A long road has many bends, as the saying goes.",
    "Who can say where one thing ends and the next one begins?",
    "It is what it is, and then again it is not.",
    "Who can say what it is, and what it is not?",
    "Questions lead to questions, and so the evening goes by.",
    "I could go on about this for hours, and perhaps I will.",
    "Let me think about how to put it, because it is not easy to put.",
    "I could think about this for hours, because it is not easy to put.",
)

PADDING: Final = (
    "I have read your message from beginning to end.",
    "I took a minute to think before I wrote back.",
    "I try to keep my answers in plain and simple words.",
    "I read your message twice and took a minute to think.",
    "Many people write to me about all sorts of things.",
    "That is all I have to say about your message for now.",
    "Your message reached me a little while ago.",
    "That is my answer to your message, in plain words.",
    "This is my answer, as short and plain as I can make it.",
    "I have answered many questions today, and this is one more.",
    "So this is what I would say to what you wrote.",
    "Many people wrote to me today, and this is what I say to you.",
    "I always read a message twice before I answer it.",
    "That is how I see it, at least for today.",
    "I write what comes to mind when I read your words.",
    "At least for today, that is all I have to say.",
)

# A response that goes elsewhere may say so, or look like help with something else.
ELSEWHERE_OPENERS: Final = (
    "That reminds me of something else.",
    "Let me rather tell you this.",
    "Here is something quite different.",
    "Let me tell you about something quite different.",
    "Before I forget, there is another thing.",
    "By the way, here is my tip of the day.",
    "I would rather talk about another subject.",
    "By the way, that reminds me of another subject.",
)
