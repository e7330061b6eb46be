"""The vocabulary of nano-whisper: every word it can write, grouped by topic and part of speech.

The groups are also the slots of the sentence grammar (`sentences.py`). Of words that sound alike
only those are kept that a memo needs ("two" and "to", not "too"), because nothing but context
tells them apart. Words are lower case, without punctuation, as the model writes them.
"""

from __future__ import annotations

from functools import cache

GROUPS: dict[str, str] = {
    # Nouns by topic.
    "animal": """dog cat bird horse cow sheep pig goat chicken duck fish rabbit mouse frog bear
        lion tiger elephant monkey fox wolf deer snake bee butterfly spider owl eagle rooster
        donkey camel whale dolphin penguin turtle squirrel giraffe zebra kitten puppy swan snail""",
    "animals": """dogs cats birds horses cows pigs goats chickens ducks rabbits mice frogs bears
        lions monkeys foxes wolves snakes bees butterflies spiders elephants kittens puppies
        animals insects""",
    "food": """apple banana orange lemon cherry grape pear peach strawberry melon tomato potato
        carrot onion mushroom pepper salad soup bread butter cheese egg rice pasta pizza sandwich
        burger cake cookie chocolate sugar salt honey jam cream yogurt meat steak sausage
        ham salmon breakfast lunch dinner dessert snack pie garlic corn pumpkin""",
    "foods": "apples bananas oranges potatoes carrots onions eggs cookies sandwiches tomatoes nuts",
    "drink": "water milk coffee tea juice wine beer lemonade soda",
    "person": """man woman boy girl child baby friend neighbour teacher doctor nurse driver farmer
        cook singer artist pilot police manager boss customer guest student lawyer engineer
        dentist waiter captain king queen soldier sailor team""",
    "people": "people men women children boys girls friends kids students neighbours guests",
    "family": """mother father sister brother son daughter wife husband grandmother
        grandfather uncle aunt cousin mom dad parents family grandma grandpa""",
    "name": "anna tom peter mary john sarah david emma paul lucy jack maria alex susan ben laura",
    "place": """house home office school hospital hotel restaurant kitchen bathroom bedroom garden
        park street road bridge market shop store bank library museum church station airport
        harbour beach forest mountain river lake island village city town country farm field
        castle tower cafe theater cinema factory gym playground pool zoo hill valley desert
        ocean sea garage basement roof building room apartment""",
    "citywords": """london paris berlin rome madrid new york boston chicago america england france
        germany italy spain europe""",
    "transport": """car bus train plane boat ship bicycle bike truck taxi motorcycle helicopter
        tractor subway ambulance rocket balloon sailboat van cars boats""",
    "travel": """ticket passport suitcase luggage flight trip journey holiday vacation map camera
        tent backpack reservation border gate platform seat tickets tour""",
    "work": """meeting project report email phone call computer laptop printer keyboard screen desk
        paper document contract budget plan deadline presentation interview job company
        client invoice message note notes letter memo list file folder password website
        appointment schedule calendar question answer idea problem solution task review
        agenda conference minutes summary draft proposal offer order payment price bill account
        number address decision code""",
    "household": """table chair sofa bed lamp window door wall floor mirror clock carpet shelf
        drawer box bag basket bottle cup glass plate bowl knife fork spoon pan pot oven fridge
        stove sink towel soap toothbrush pillow blanket key keys lock broom bucket
        ladder hammer candle vase book books newspaper magazine picture photo television radio
        guitar piano drum violin ball doll toy kite umbrella wallet purse glasses watch ring
        trash laundry battery cable curtain""",
    "clothes": "shirt dress coat jacket hat shoes boots socks gloves scarf sweater pants skirt",
    "body": "head hand hands face eyes hair arm leg foot feet back heart nose mouth teeth",
    "nature": """tree trees flower flowers grass leaf leaves rose bush stone rock sand sky sun moon
        star stars cloud clouds fire wood path nest feather shadow""",
    "weather": """weather rain snow wind storm fog ice sunshine temperature degrees rainbow thunder
        lightning""",
    "thing": """music song story game movie news birthday party present gift wedding money
        medicine thing things part piece side top bottom middle name word words group
        colour shape line circle square triangle sound noise voice light time way
        life world place""",
    # Time.
    "day": "monday tuesday wednesday thursday friday saturday sunday",
    "month": """january february march april may june july august september october november
        december""",
    "season": "spring summer autumn winter",
    "daypart": "morning afternoon evening night noon midnight",
    "timeunit": "minute hour day week month year weekend second",
    "timeunits": "hours days weeks months years seconds",
    "when": "today tomorrow yesterday tonight now later soon again already always never often",
    "whenmore": "sometimes usually early late once twice before after until since still ago",
    # Numbers.
    "digit": "zero one two three four five six seven eight nine",
    "teen": """ten eleven twelve thirteen fourteen fifteen sixteen seventeen eighteen
        nineteen""",
    "tens": "twenty thirty forty fifty sixty seventy eighty ninety",
    "scale": "hundred thousand million half quarter dozen percent dollars euros",
    "ordinal": """first third fourth fifth sixth seventh eighth ninth tenth last next""",
    # Describing words.
    "colour": """red blue green yellow white black brown pink purple gray golden silver violet
        dark bright""",
    "adjective": """big small large little tall short long old young new good bad nice
        beautiful happy sad hot cold warm cool wet dry clean dirty fast slow quiet loud easy hard
        heavy soft strong empty full open closed free busy ready tired hungry sick
        safe dangerous cheap expensive important different same round sweet fresh ripe
        wooden broken great best better wonderful terrible funny strange lovely favourite
        whole sunny rainy cloudy windy foggy snowy stormy calm huge tiny pretty sleepy
        striped lost wrong right left true sure possible special simple due""",
    # Doing words.
    "verb": """go come see look find get make take give buy sell bring send call ask tell
        say speak talk write read hear listen watch eat drink cook bake sleep wake walk run swim
        fly drive ride jump sit stand play work study learn teach help wait stop start begin
        finish open close turn put keep hold carry move clean wash paint draw build fix cut
        meet visit invite remember forget think know want need like love hope try use pay
        cost show check print book cancel confirm discuss prepare pick feed plant grow
        travel leave arrive stay live feel change choose share save remind return throw catch
        climb fall laugh cry sing dance smile rest water""",
    "verbs": """goes comes sees looks makes takes gives sits stands runs walks flies swims eats
        sleeps plays works wants needs likes loves starts ends opens closes shines grows lives
        sings rains costs leaves arrives stays jumps holds begins""",
    "past": """went came saw looked found got made took gave bought sold brought sent called asked
        told said talked wrote heard drank cooked slept walked ran swam flew drove
        rode jumped sat stood played worked started finished opened closed put kept moved cleaned
        washed painted built met visited forgot thought knew wanted needed liked loved
        tried used paid left arrived stayed felt changed lost happened rained snowed watched
        planted fell spent helped waited""",
    "ing": """going coming looking making taking eating drinking sleeping walking running swimming
        flying driving riding sitting standing playing working reading writing talking waiting
        raining snowing shining growing singing dancing cooking cleaning shopping fishing
        painting watching jumping sailing floating standing leaving building barking hiding
        holding meeting""",
    "done": "been done gone seen taken given written eaten broken drawn shown",
    # Function words.
    "be": "am is are was were be being",
    "aux": "do does did have has had can could will would should must might",
    "neg": "not no don't can't won't didn't isn't doesn't",
    "pronoun": "i you he she it we they me him her us them everyone someone nobody",
    "pronounmore": "everything something nothing anything myself it's i'm we'll let's i'll that's",
    "possessive": "my your his its our their mine yours",
    "determiner": "the a an this that these those some any every each all both many much more",
    "quantity": "most few several enough less other another only several couple",
    "preposition": """in on at to from for with without of by under over above below behind
        beside between near next into onto around through across along against inside outside
        up down off out about during""",
    "conjunction": "and or but because if when while so than as then",
    "question": "what who where why how which",
    "adverb": """very really just also even almost maybe perhaps please quickly slowly
        well away back here there together alone far finally quite ahead forward
        everywhere somewhere instead yes hello goodbye thanks thank welcome sorry okay""",
}


@cache
def groups() -> dict[str, tuple[str, ...]]:
    """Words of each group, in order, without repeats inside the group."""
    return {name: tuple(dict.fromkeys(text.split())) for name, text in GROUPS.items()}


@cache
def words() -> tuple[str, ...]:
    """All words, each once, sorted: the groups and the words of the picture book."""
    found = {word for group in groups().values() for word in group}
    return tuple(sorted(found | set(picture_book_words())))


@cache
def picture_book_words() -> tuple[str, ...]:
    """Words of the picture book's captions and memos that `GROUPS` may lack."""
    return tuple(sorted(_PICTURE_BOOK.split()))


# Kept as a list here, so that a trained model's vocabulary does not move when the book grows.
_PICTURE_BOOK = """
    abroad actually agree agreed album anniversary answered ate background balloons balls barn
    barns began believe bicycles buses bye cacti cactus cakes card cards carried castles
    caught centre chairs cheers cherries chose christmas clear clocks clothes coast colleague
    coloured colourful colours comic corner count counted cover crayon cups danced daytime
    dear decide decided deliver delivery design discussed downstairs drawing drawings dressed
    dusk end ended especially exactly fed fence fixed flour follow followed foreground frame
    front fruit games gifts giraffes grapes grew ground guess guitars hang hats held hi hills
    holidays houses ideas julia kind kites lamps laughed learned lemons leo living lots lucky
    lying max meadow meal meetings mist misty mountains mum mushrooms names nearby nina normal
    one's ordered owls own page pages pair palm parked past pears penguins perfect person
    photos picked picnic pictures pier places plain planes planned planning plans poster
    presents probably problems pumpkins questions real reminder repair repaired resting
    returned rockets rug sara scene ships shoe shops shore showed showing shows single smiled
    snails somebody sounded starry staying step stopped stories straight strawberries style
    suddenly suitcases sunset supper teapot teapots tents there's times too towers tractors
    trains travelled travelling trips trucks turned turtles umbrellas upstairs vases
    vegetables view visiting wasn't watercolour wearing whales windmill windmills wish woke
    worse
"""
