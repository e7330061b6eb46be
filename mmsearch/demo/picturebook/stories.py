"""Short written notes and spoken memos about scenes, as people keep them beside their pictures.

They tell of the same things as the captions in other words, so that finding a picture by its
note, or a memo by a picture, takes more than matching strings.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from mmsearch.demo.picturebook.captions import RELATION_PHRASES, article, describe_group
from mmsearch.demo.picturebook.lexicon import KINDS, NUMBERS, PLACE
from mmsearch.demo.picturebook.scene import Group, Scene, sample_scenes
from mmsearch.demo.picturebook.splits import Split

_NAMES = ("Emma", "Anna", "Tom", "Ben", "Lucy", "Max", "Paul", "Laura", "Peter", "Mary", "John",
          "Sara", "David", "Julia", "Leo", "Nina")  # fmt: skip
_DAYS = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")
_MONTHS = ("January", "February", "March", "April", "May", "June", "July", "August", "September",
           "October", "November", "December")  # fmt: skip

_GOING: dict[str, tuple[str, ...]] = {
    "beach": ("we drove to the sea", "we walked along the sand for hours"),
    "meadow": ("we had a picnic on the grass", "we walked across the field"),
    "street": ("we went to the city", "we walked home through the town"),
    "mountains": ("we went up into the hills", "we drove up the mountain"),
    "lake": ("we walked around the lake", "we sat by the water all afternoon"),
    "desert": ("we drove through the desert", "we travelled across the hot sand"),
    "forest": ("we walked under the old trees", "we went out into the forest"),
    "farm": ("we visited my uncle on his farm", "we stayed at a farm in the country"),
    "park": ("we saw friends in the park", "the kids played in the park"),
    "harbour": ("we walked down to the harbour", "we waited for the ship at the pier"),
    "kitchen": ("we cooked together at home", "we sat in the kitchen until late"),
    "living room": ("we stayed at home", "all our friends came to our house"),
    "bedroom": ("we cleaned the bedroom upstairs", "we slept long and stayed in bed"),
    "plain": ("the children painted all afternoon", "we looked at old drawings"),
}  # fmt: skip

_WEATHER: dict[tuple[str, str], tuple[str, ...]] = {
    ("day", "clear"): ("The sun was out all day.", "What a warm and bright day."),
    ("day", "cloudy"): ("There were big clouds, but it stayed dry.", "No sun at all, only clouds."),
    ("day", "rain"): ("There was rain the whole time.", "We all got very wet."),
    ("day", "snow"): ("There was snow everywhere.", "It was so cold and white outside."),
    ("day", "fog"): ("The fog was so close that we saw almost nothing.",
                     "Everything was lost in the mist."),
    ("sunset", "clear"): ("The evening light was beautiful.", "We stayed until the sun was down."),
    ("sunset", "cloudy"): ("In the evening the clouds turned red.", "The sky was red at dusk."),
    ("night", "clear"): ("It was late and the stars were out.", "The moon was so bright."),
    ("night", "snow"): ("It was dark and it was snowing.", "A cold night with so much snow."),
}  # fmt: skip

_ABOUT: dict[str, tuple[str, ...]] = {
    "animal": (
        "{The} {noun} looked at us for a long time.",
        "The kids wanted to feed {the} {noun} straight away.",
        "I have never seen {a} {adjective} {noun} so close.",
        "{Name} said that {the} {noun} was the best part of the day.",
    ),
    "vehicle": (
        "{Name} talked about {the} {noun} for half an hour.",
        "I would love to travel in {a} {noun} like that one day.",
        "{The} {noun} looked as new as on its first day.",
        "Of all the things we saw, Dad liked {the} {adjective} {noun} most.",
    ),
    "building": (
        "{The} {noun} is more than one hundred years old.",
        "{Name} would like to stay in {a} {noun} like this one day.",
        "Nobody was at home in {the} {adjective} {noun}.",
        "I could have looked at {the} {noun} for hours.",
    ),
    "plant": (
        "The only {adjective} thing near and far was {the} {noun}.",
        "Mum would like one just like {the} {noun} in her garden.",
        "{Name} was right, {the} {noun} grew so much since last year.",
        "I took a photo of {the} {noun} for grandma.",
    ),
    "food": (
        "{The} {noun} was almost too pretty to eat.",
        "{Name} wanted to eat {the} {noun} before we took the photo.",
        "Grandma loved it, so we kept {the} {adjective} {noun} for her.",
        "We forgot {the} {noun} there and had to go back.",
    ),
    "household": (
        "I bought {the} {noun} at the market for {number} euros.",
        "{The} {noun} was a present from {Name}.",
        "{Name} would like to paint {the} {noun} in another colour, but I like it {adjective}.",
        "Somebody lost {the} {adjective} {noun}, and we do not know who.",
    ),
    "toy": (
        "{Name} got {the} {noun} for the last birthday.",
        "The children played with {the} {adjective} {noun} until dinner.",
        "We almost lost {the} {noun} again.",
        "{The} {noun} is still the favourite thing of our children.",
    ),
    "person": (
        "It is easy to find {the} {noun} in the picture, all in {adjective}.",
        "{The} {noun} waited for us with a big smile.",
        "{Name} asked who {the} {noun} is.",
        "I like people wearing {adjective} on a day like this.",
    ),
}

_ENDINGS: tuple[str, ...] = (
    "I want to frame this one for the living room wall.",
    "We should do that again next {month}.",
    "{Name} asked me to send the photo by email.",
    "I will put it into the album on {day}.",
    "It was the best day of the whole {season}.",
    "Must remember to print it for grandma.",
    "We came home tired and happy.",
    "I wish {Name} could have been with us.",
)

_WORK: tuple[tuple[str, ...], ...] = (
    ("Meeting with the design team on {day}.", "We talked about the cover of the new book.",
     "The client would like to see {thing} {where}.", "{Name} will send a new drawing by {month}."),
    ("Notes from the call with {Name}.", "The picture for the {month} page is {thing}.",
     "She would like to see it {where}.", "We agreed on a price of {number} hundred euros."),
    ("Shopping list for the school party on {day}.", "Milk, bread, apples and {number} eggs.",
     "{Name} asked for a cake that looks like {thing}.", "It should go {where} on the wall."),
)  # fmt: skip

_MEMOS: tuple[tuple[str, ...], ...] = (
    ("Reminder for {day}.", "Print the picture with {thing}.", "{Name} needed it by {month}."),
    ("Hello {Name}.", "I found the photo from our trip.", "You can see {thing} {where}.",
     "Call me when you have time."),
    ("Note for tomorrow.", "The best picture of the week is that one with {thing}.",
     "Send it to {Name} today."),
    ("Today I saw {thing} {where}.", "It made me think of {Name}.", "I will write more tonight."),
    ("Remember the present for {Name}.", "A picture of {thing} would be perfect.",
     "The party is on {day} at {number}."),
    ("Idea for the new book.", "Page {number} should show {thing} {where}.",
     "Ask {Name} to draw it."),
    ("We are at home again.", "The children talk about {thing} all the time.",
     "I put the photo on the table for you, {Name}."),
)  # fmt: skip


@dataclass(frozen=True)
class Story:
    """A scene with a short written note and the text of a spoken memo about it."""

    scene: Scene
    note: str
    memo: str


def _thing(group: Group) -> str:
    """A mention in other words than the caption's."""
    kind = KINDS[group.kind]
    if kind.category == "person":
        who = article(kind.name) if group.count == 1 else f"{NUMBERS[group.count]} {kind.plural}"
        return f"{who} wearing {group.colour}"
    if group.count == 1:
        return (
            f"a {group.size} {kind.name} all in {group.colour}"
            if group.size != "normal"
            else (describe_group(group))
        )
    if group.count == 2:
        return f"a pair of {group.colour} {kind.plural}"
    return f"a group of {NUMBERS[group.count]} {group.colour} {kind.plural}"


class _Teller:
    """Fills templates about one scene."""

    def __init__(self, scene: Scene, rng: np.random.Generator) -> None:
        self.scene, self.rng = scene, rng
        self.names = [str(name) for name in rng.permutation(_NAMES)]

    def pick(self, options: Sequence[str]) -> str:
        return options[int(self.rng.integers(len(options)))]

    def fill(self, template: str, group: Group, thing: str) -> str:
        noun = KINDS[group.kind].name if group.count == 1 else KINDS[group.kind].plural
        one_of = "" if group.count == 1 else "one of "
        adjective = group.colour
        article_word = "an" if adjective[0] in "aeiou" and "{a} {adjective}" in template else "a"
        if "{a} {noun}" in template:
            article_word = "an" if KINDS[group.kind].name[0] in "aeiou" else "a"
        if "{a}" in template:
            noun = KINDS[group.kind].name
        values = {
            "noun": noun,
            "the": f"{one_of}the",
            "The": f"{one_of}the".capitalize(),
            "a": article_word,
            "adjective": adjective,
            "Name": self.names[int(self.rng.integers(4))],
            "day": self.pick(_DAYS),
            "month": self.pick(_MONTHS),
            "season": self.pick(("spring", "summer", "autumn", "winter", "year")),
            "number": NUMBERS[int(self.rng.integers(3, 13))],
            "thing": thing,
            "where": PLACE[self.scene.place].phrase,
        }
        return template.format_map(values)

    def thing(self) -> str:
        """Everything the scene shows, said in one phrase."""
        groups = self.scene.groups
        text = _thing(groups[0])
        for i, relation, j in self.scene.relations:
            if (i, j) == (0, 1):
                phrases = RELATION_PHRASES[relation]
                return f"{text} {self.pick(phrases[1:] or phrases)} {_thing(groups[1])}"
        return text if len(groups) == 1 else f"{text} together with {_thing(groups[1])}"

    def note(self) -> str:
        scene = self.scene
        main = scene.groups[0]
        if self.rng.random() < 0.22:
            lines = _WORK[int(self.rng.integers(len(_WORK)))]
            return " ".join(self.fill(line, main, self.thing()) for line in lines)
        when = self.pick(("On {day}", "Last {day}", "One day in {month}", "Last weekend"))
        opening = f"{when} {self.pick(_GOING[scene.place])} with {{Name}}, and we saw {{thing}}."
        told = [self.fill(opening, main, self.thing())]
        if not PLACE[scene.place].floating:
            told.append(self.pick(_WEATHER[scene.time, scene.weather]))
        told += [
            self.fill(self.pick(_ABOUT[KINDS[group.kind].category]), group, "")
            for group in scene.groups[:2]
            if group is main or self.rng.random() < 0.6
        ]
        if len(told) < 5 and self.rng.random() < 0.75:
            told.append(self.fill(self.pick(_ENDINGS), main, ""))
        return " ".join(told)

    def memo(self) -> str:
        lines = _MEMOS[int(self.rng.integers(len(_MEMOS)))]
        main = self.scene.groups[0]
        return " ".join(self.fill(line, main, self.thing()) for line in lines)


def stories(n: int, seed: int, split: Split = "train") -> list[Story]:
    """n scenes of a split with a note (2 to 5 sentences) and a memo (2 to 4) each.

    Memos use only the words of `mmsearch.demo.picturebook.words`, so do notes.
    """
    scenes = sample_scenes(split, n, seed + 7919)
    out = []
    for i, scene in enumerate(scenes):
        teller = _Teller(scene, np.random.default_rng([seed, i, 17]))
        out.append(Story(scene, teller.note(), teller.memo()))
    return out
