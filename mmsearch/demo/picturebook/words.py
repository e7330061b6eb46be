"""Every word that captions, notes and memos of the picture book may use.

The list is closed so that a small speech recogniser can be built upon it; a test checks that no
text leaves it.
"""

from __future__ import annotations

import re
from functools import cache

from mmsearch.demo.picturebook.lexicon import (
    COLOURS,
    NUMBERS,
    OBJECTS,
    PLACES,
    RELATIONS,
    SIZES,
    STYLES,
    TIMES,
    WEATHERS,
)

_WORD = re.compile(r"[a-z]+(?:'[a-z]+)?")

_FUNCTION = """
a an the this that these those i you he she it we they me him her us them my your his its our
their mine yours and or but so because if when while than as of in on at by to from for with
without about into over under between near around across along after before during until since
through up down out off back away here there where what who how why which is are was were be been
am do does did done have has had will would can could should must may might not no yes very too
also only just really quite almost again still already always never often sometimes soon later now
then today tomorrow yesterday tonight first second third last next each every all both some any
many much more most few other another same one's it's i'm don't didn't can't we'll i'll that's
let's there's wasn't
"""

_PICTURE = """
picture pictures drawing drawings drawn painting painted scene style watercolour comic poster
paper crayon cut made shows show showing seen view background foreground plain side middle centre
left right top bottom above below front behind next beside far close against sky ground water sea
sand grass snow snowy snowing rain rainy raining fog foggy mist misty cloud clouds cloudy sun sunny
sunshine sunset dusk moon star stars starry night day daytime evening morning afternoon light dark
bright clear weather wind windy storm warm cold hot wet dry city street road room kitchen living
bedroom lake mountains mountain desert forest farm park beach meadow harbour field hill hills river
island shore pier palm wall window floor table shelf curtain sofa bed rug door roof fence path
single pair two group large big small little tiny huge great old new colour colours coloured
colourful wearing dressed coat shirt dress clothes standing sitting lying flying floating swimming
parked waiting resting walking together alone several lots
"""

_STORY = """
dear note notes memo reminder remember remind forget forgot think thought know knew believe guess
hope wish want wanted need needed like liked love loved look looked looking looks see saw watch
watched find found lost show showed tell told say said ask asked call called answer answered talk
talked speak write wrote read reading send sent email message phone photo photos camera album take
took taken taking bring brought buy bought sell pay paid cost price cheap expensive money euros
dollars shop shops shopping store market list basket bag milk bread butter cheese eggs egg rice
coffee tea sugar salt flour soup salad fruit vegetables potatoes tomatoes carrots onions bananas
oranges lemons strawberries grapes chicken meat pasta pizza chocolate honey juice breakfast lunch
dinner supper picnic meal cook cooked cooking eat ate eating drink drank kitchen restaurant cafe
family mother father mum dad sister brother son daughter uncle aunt grandma grandpa cousin baby
child children kids friend friends neighbour neighbours people person everyone somebody nobody
teacher doctor boss team client customer colleague guest guests emma anna tom ben lucy max paul
laura peter mary john sara david julia leo nina
trip trips travel travelled travelling holiday holidays weekend drive drove driving ride rode
walk walked went go going gone come came coming leave left leaving arrive arrived stay stayed
staying return returned visit visited visiting start started begin began stop stopped finish
finished end ended wait waited hotel airport station ticket tickets passport map luggage train
flight plane village town country coast bridge garden school office work working job home house
meeting meetings project plan plans planned planning idea ideas report budget contract design
deadline agenda question questions problem problems decide decided decision discuss discussed
agree agreed change changed next step print order ordered deliver delivery invoice present
presents gift gifts birthday party wedding anniversary christmas card cards song music play played
playing game games sing dance danced laugh laughed smile smiled sleep slept sleeping wake woke
monday tuesday wednesday thursday friday saturday sunday january february march april may june
july august september october november december spring summer autumn winter year years month
months week weeks day days hour hours minute minutes time times clock half past quarter early late
noon midnight long short ago
good nice lovely beautiful pretty wonderful great perfect best better bad worse funny strange quiet
loud happy sad tired hungry busy free ready sure sorry easy hard fast slow full empty clean dirty
fresh sweet young favourite special important different real whole own soft strong safe lucky
thing things something nothing anything everything place places way part piece kind number name
names story stories letter box key keys shoe shoes boots jacket umbrella hat window table chair
lamp clock corner line book books page pages cover wall frame fix fixed repair repaired build
built clean cleaned wash washed open opened close closed put move moved carry carried keep kept
hold held turn turned give gave given get got make making try tried help helped use used learn
learned feel felt hear heard sound sounded noise count counted choose chose pick picked paint
draw fly flew swim swam run ran jump jumped sit sat stand stood hang grow grew fall fell catch
caught feed fed follow followed check cheers thanks thank please hello hi bye okay well maybe
perhaps actually especially exactly probably suddenly finally slowly quickly outside inside
upstairs downstairs everywhere somewhere nearby abroad straight
"""


@cache
def words() -> frozenset[str]:
    """Every lower-case word that captions, notes and memos can use, numbers included."""
    texts = [_FUNCTION, _PICTURE, _STORY, *COLOURS, *NUMBERS, *RELATIONS, *SIZES, *STYLES]
    texts += [*TIMES, *WEATHERS]
    for kind in OBJECTS:
        texts += [kind.name, kind.plural]
    for place in PLACES:
        texts += [place.name, place.phrase, place.noun]
    return frozenset(_WORD.findall(" ".join(texts)))


def split_words(text: str) -> list[str]:
    """The lower-case words of a text, punctuation dropped."""
    return _WORD.findall(text.lower())
