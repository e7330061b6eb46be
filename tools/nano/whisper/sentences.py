"""Sentences over the vocabulary, for training and for measuring nano-whisper.

Four kinds: memo-like sentences from templates, loose sentences from patterns of parts of speech,
word strings without any order, and spoken numbers, times and dates. The loose kinds keep the
decoder from learning the templates by heart. Text is lower case; commas stand only for pauses and
are no part of a transcript.
"""

from __future__ import annotations

import random
import re
import sys
from pathlib import Path

from lexicon import GROUPS, groups, words

sys.path.insert(0, str(Path(__file__).resolve().parents[3]))  # the script runs from a checkout
from mmsearch.demo.picturebook.stories import stories

STORY_SEEDS = 1_000_000  # the demo and the tests use small seeds

TEMPLATES: tuple[str, ...] = (
    "remember to call {name} {when}",
    "please call {family} {daypoint}",
    "note to {self}, buy {food} and {food} {shoptime}",
    "we need {foods}, {foods} and {drink}",
    "we need {num} {foods} and some {drink} for {meal}",
    "the meeting with {who} is {daypoint} at {clock}",
    "the {work} for the {work} is ready",
    "the {work} is due {daypoint}",
    "please send the {work} to {who} {daypoint}",
    "i will send the {work} {when}",
    "{who} asked about the {work} {when}",
    "can you {verb} the {work} before {clock}",
    "don't forget to {verb} the {household}",
    "i have an appointment with the {person} {daypoint} at {clock}",
    "our {transport} leaves at {clock} from {place}",
    "the flight to {citywords} leaves {daypoint} at {clock}",
    "we are going to {citywords} by {transport} in {month}",
    "the trip to the {place} was {adjective}",
    "we stayed in a {adjective} {place} near the {place}",
    "book a {place} in {citywords} for {num} people",
    "my {family} is {ing} in the {place}",
    "my {family} lives in {citywords}",
    "{name} and {name} are {ing} {prep} the {place}",
    "{name} saw a {colour} {animal} {prep} the {place}",
    "there is a {colour} {animal} {prep} a {colour} {household}",
    "there are {num} {colour} {animals} {prep} the {place}",
    "i can see {num} {animals} and {num} {animals}",
    "a {adjective} {animal} is {ing} {prep} the {nature}",
    "the {animal} is {ing} and the {animal} is {ing}",
    "a {colour} {transport} is {ing} {prep} a {colour} {place}",
    "the picture shows a {colour} {household} {prep} a {colour} {household}",
    "in the picture, a {person} is {ing} {prep} the {nature}",
    "two {people} are {ing} {prep} the {place} at {daypart}",
    "a {person} with a {colour} {clothes} is {ing}",
    "the {person} is wearing a {colour} {clothes} and a {colour} {clothes}",
    "today the weather is {adjective} and {adjective}",
    "{when} it will be {adjective} with {weather} and {weather}",
    "it is {num} degrees in {citywords} {when}",
    "there was {weather} {prep} the {place} in {month}",
    "it was {ing} all {daypart} {prep} the {place}",
    "the {household} costs {price}",
    "we paid {price} for the {household}",
    "the {food} costs {price} in that {place}",
    "{meal} is at {clock} {when}",
    "for {meal} we had {food} with {food} and {drink}",
    "i would like a {food} and a glass of {drink}, please",
    "{name} made a {adjective} {food} for {meal}",
    "can you bring the {household} to the {place}",
    "the {household} is {prep} the {household} in the {place}",
    "put the {household} {prep} the {household}",
    "the {household} in the {place} is broken",
    "where is the {household}",
    "where did you put my {colour} {household}",
    "what time does the {place} open {when}",
    "who {past} the {household}",
    "how many {animals} are in the {place}",
    "why is the {animal} {prep} the {household}",
    "i lost my {household} {prep} the {place}",
    "i found a {adjective} {household} {prep} the {place}",
    "{who} gave me a {household} for my birthday",
    "the birthday of {name} is on {date}",
    "the party is on {date} at {clock}",
    "on {date} we {past} the {place}",
    "my holiday begins on {date} and ends on {date}",
    "the phone number is {digits}",
    "the code of the door is {digits}",
    "{ordinal} we {past} the {thing}, then we {past} the {thing}",
    "the {ordinal} {thing} is {adjective}",
    "{adverb} the {thing} {verbs} {adverb}",
    "{pron} {past} {possessive} {thing} {when}",
    "{pron} {aux} {verb} {possessive} {household} {adverb}",
    "{pron} {neg} {verb} the {thing} {when}",
    "i think the {thing} is {adverb} {adjective}",
    "i hope {pron} will {verb} {adverb}",
    "if it {verbs} {when} we will {verb} at {place}",
    "when {pron} {past} home the {animal} {past} {prep} the {household}",
    "{pron} {past} because the {thing} was {adjective}",
    "let's {verb} the {household} {when}",
    "the {body} of the {person} is {adjective}",
    "my {body} and my {body} feel {adjective}",
    "turn {leftright} at the {place} and go {prep} the {place}",
    "the {place} is {prep} the {place} on the {leftright} side",
    "we walked {prep} the {place} for {num} {timeunits}",
    "the {transport} was {num} minutes late",
    "every {day} {pron} {verb} {prep} the {place}",
    "in {season} the {nature} is {colour} and {adjective}",
    "the {season} in {citywords} is {adjective}",
    "the {colour} {nature} is {prep} the {colour} {nature}",
    "we should {verb} the {work} and {verb} the {work}",
    "the {person} {past} a {adjective} story about a {animal}",
    "thank you for the {adjective} {thing}",
    "good {daypart} {name}, how are you",
    "hello {name}, this is {name}, please call me back {when}",
    "{num} {timeunits} ago {pron} {past} a {adjective} {transport}",
    "the {people} {past} {num} {animals} and a {animal}",
    "do not {verb} the {colour} {household}",
    "take the {colour} {clothes} and the {clothes}, it is {adjective} outside",
    "idea for the {work}, {verb} a {adjective} {thing} with {colour} {nature}",
    "{picture} {picture} {picture} {past} the {picture}",
    "the {picture} and the {picture} are {prep} the {picture}",
    "{num} {picture} {prep} a {picture} {picture}",
)

# Loose sentences: parts of speech in a plausible order, any word of a part.
PATTERNS: tuple[str, ...] = (
    "D A N V D N",
    "D N P D A N",
    "N C N B A",
    "R X W D N P D N",
    "R T D A N",
    "Q B D N P D N",
    "D N B G P D N T",
    "W D A N C W D N",
    "R N W R T",
    "Y R W D N P N",
    "D U N P D N",
    "M N C M N",
    "P D N D N B A",
    "R B Y A C R B Y A",
    "T D N V D N",
    "D N O D N P S N",
)
_PARTS: dict[str, tuple[str, ...]] = {
    "D": ("determiner", "possessive", "quantity"),
    "S": ("possessive",),
    "A": ("adjective", "colour", "ordinal"),
    "U": ("colour",),
    "N": (
        *("animal", "animals", "food", "foods", "drink", "person", "people", "family", "name"),
        *("place", "citywords", "transport", "travel", "work", "household", "clothes", "body"),
        *("nature", "weather", "thing", "timeunit", "timeunits", "day", "month", "picture"),
    ),
    "P": ("preposition",),
    "C": ("conjunction",),
    "B": ("be",),
    "R": ("pronoun", "pronounmore"),
    "X": ("aux", "neg"),
    "V": ("verbs", "past"),
    "O": ("past", "done"),
    "W": ("verb",),
    "G": ("ing",),
    "T": ("when", "whenmore", "day", "daypart", "season"),
    "Q": ("question",),
    "Y": ("adverb",),
    "M": ("digit", "teen", "tens", "scale", "quantity"),
}
_SLOT = re.compile(r"\{(\w+)\}")


def transcript(sentence: str) -> list[str]:
    """The words a perfect transcript of `sentence` holds."""
    return sentence.replace(",", " ").split()


class Speaker:
    """Draws sentences; equal seeds draw equal sentences."""

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)
        self.groups = dict(groups())
        grouped = {word for name in GROUPS for word in self.groups[name]}
        self.groups["picture"] = tuple(word for word in words() if word not in grouped)
        self.all = words()
        self.told: list[str] = []

    def sentence(self) -> str:
        """One sentence of 2 to about 16 words."""
        draw = self.random.random()
        if draw < 0.22:
            return self.story()
        if draw < 0.48:
            return self.fill(self.random.choice(TEMPLATES))
        if draw < 0.65:
            return self.pattern()
        if draw < 0.96:
            return self.string()
        return self.counting()

    def story(self) -> str:
        """One sentence of the picture book's notes and memos (its training seeds)."""
        if not self.told:
            for story in stories(20, STORY_SEEDS + self.random.randrange(1_000_000)):
                for sentence in re.split(r"[.!?]", f"{story.note} {story.memo}".lower()):
                    spoken = " ".join(sentence.split())
                    if spoken and set(transcript(spoken)) <= set(self.all):
                        self.told.append(spoken)
            self.random.shuffle(self.told)
        return self.told.pop()

    def natural(self) -> str:
        """One sentence from the templates."""
        return self.fill(self.random.choice(TEMPLATES))

    def pick(self, *names: str) -> str:
        """A word of one of the groups; larger groups are drawn more often."""
        weights = [len(self.groups[name]) ** 0.7 for name in names]
        return self.random.choice(self.groups[self.random.choices(names, weights)[0]])

    def pattern(self) -> str:
        chosen = self.random.choice(PATTERNS)
        return " ".join(self.pick(*_PARTS[part]) for part in chosen.split())

    def string(self) -> str:
        count = self.random.randint(2, 10)
        text = self.random.choices(self.all, k=count)
        if self.random.random() < 0.3:
            at = self.random.randrange(count)
            text[at] += "," if at < count - 1 else ""
        return " ".join(text)

    def counting(self) -> str:
        kinds = (self.number, self.clock, self.date, self.price, self.digits)
        return " and ".join(self.random.choice(kinds)() for _ in range(self.random.randint(1, 3)))

    def fill(self, template: str) -> str:
        return _SLOT.sub(lambda found: self.slot(found.group(1)), template)

    def slot(self, name: str) -> str:
        draw = self.random
        if name == "num":
            return self.number()
        if name in ("clock", "date", "price", "digits"):
            return str(getattr(self, name)())
        if name == "self":
            return "myself"
        if name == "pron":
            return self.pick("pronoun")
        if name == "prep":
            return draw.choice((*self.groups["preposition"], "next to", "in front of"))
        if name == "who":
            return draw.choice((self.pick("name"), f"the {self.pick('person')}", "my family"))
        if name == "meal":
            return draw.choice(("breakfast", "lunch", "dinner", "supper"))
        if name == "shoptime":
            return draw.choice(("on the way home", "at the market", "today", "this weekend"))
        if name == "leftright":
            return draw.choice(("left", "right"))
        if name == "daypoint":
            return draw.choice(
                (
                    f"on {self.pick('day')}",
                    f"{self.pick('day')} {self.pick('daypart')}",
                    f"next {self.pick('day')}",
                    "tomorrow morning",
                    "this afternoon",
                    self.pick("when"),
                )
            )
        if name == "when" and draw.random() < 0.5:
            return self.slot("daypoint")
        return self.pick(name)

    def number(self) -> str:
        draw = self.random.random()
        if draw < 0.5:
            return self.pick("digit")
        if draw < 0.7:
            return self.pick("teen")
        if draw < 0.9:
            return f"{self.pick('tens')} {self.pick('digit')}"
        return f"{self.pick('digit')} {self.random.choice(('hundred', 'thousand'))}"

    def clock(self) -> str:
        hour = self.random.choice((*self.groups["digit"][1:], "ten", "eleven", "twelve"))
        return self.random.choice(
            (
                hour,
                f"half past {hour}",
                f"quarter to {hour}",
                f"{hour} {self.random.choice(('fifteen', 'thirty', 'twenty', 'forty', 'ten'))}",
                f"{hour} in the {self.random.choice(('morning', 'afternoon', 'evening'))}",
            )
        )

    def date(self) -> str:
        small = self.groups["ordinal"][:8]
        day = self.random.choice((*small, f"twenty {self.random.choice(small)}"))
        month = self.pick("month")
        return self.random.choice((f"the {day} of {month}", f"{month} {day}", f"{month} the {day}"))

    def price(self) -> str:
        return f"{self.number()} {self.random.choice(('dollars', 'euros'))}"

    def digits(self) -> str:
        return " ".join(self.pick("digit") for _ in range(self.random.randint(3, 6)))
