"""Texts about anything and nothing: unrelated queries, which mostly have no answer.

Each collection is searched by them to learn how similar unrelated things are in it. They are about
many subjects, so that a collection about one subject answers only a few of them. Those do not
move the statistics that are taken (median and lower quartile).
"""

from __future__ import annotations

BACKGROUND: tuple[str, ...] = (
    # single words
    "thermostat", "alimony", "plankton", "harpsichord", "fjord", "eczema", "silo", "decimal",
    "chandelier", "pesticide", "monarchy", "anvil", "stapler", "migraine", "sundial", "glacier",
    "voucher", "cello string", "tadpole", "shrapnel", "omelette", "zeppelin", "haiku", "parsley",
    "scaffold", "vertigo", "oboe", "dividers", "warranty", "noun",
    # two and three words
    "quarterly earnings call", "lung capacity test", "wedding seating plan", "broken dishwasher",
    "volcanic ash cloud", "penalty shootout", "election night results", "sewing machine needle",
    "cholesterol level", "municipal water supply", "chess endgame study", "solar eclipse",
    "knitting pattern", "passport renewal form", "submarine cable", "tooth extraction",
    "medieval tapestry", "rush hour traffic", "sourdough starter", "border crossing",
    "night shift rota", "dust allergy", "steel bridge girder", "microwave popcorn",
    "opening ceremony", "vineyard harvest", "credit card statement", "hip replacement",
    "rain gauge reading", "coral bleaching", "barbed wire", "lost luggage counter",
    "haircut appointment", "nuclear power plant", "choir rehearsal", "tax return deadline",
    "emergency landing", "cave painting", "ice hockey goalkeeper", "parking ticket",
    "spinal cord", "satellite dish", "fire drill", "cheese market", "blood pressure monitor",
    "wind tunnel", "speed camera", "leaking radiator", "jury verdict", "sheet music",
    # phrases and sentences
    "how to change a bicycle tyre", "the minister resigned on Tuesday",
    "a recipe for lentil soup with cumin", "the derivative of a constant is zero",
    "replace the toner cartridge and close the lid", "two litres of diesel",
    "interest rates rose by half a percent", "the patient was given antibiotics",
    "terms and conditions apply", "please hold the line", "the enemy crossed the river at dawn",
    "a short history of the printing press", "shares of the company fell sharply",
    "the verb stands at the end of the clause", "an experiment with fruit flies",
    "who won the tournament in extra time", "the ferry was cancelled because of the strike",
    "install the latest version of the driver", "a surgeon washing her hands",
    "the orchestra tuned their instruments", "population of Portugal", "the second law of motion",
    "men unloading crates from a lorry", "he confessed to the robbery",
    "sand the wood before you varnish it", "the queue at the post office",
    "aerial view of an airport runway", "my grandmother's maiden name",
    "melting point of copper", "the committee approved the minutes",
    "a spoonful of cough syrup", "three wise monkeys", "an empty theatre",
    "divide both sides by seven", "the witness could not remember the face",
    "growth of the textile industry", "your call is important to us", "a map of the underground",
    "the cat sat on the keyboard", "dancers on a stage in white", "keep out of reach of children",
    "a pile of old newspapers", "the train to Vienna leaves at noon", "how bees make honey",
    "welder at work", "a nurse pushing a wheelchair", "the smell of fresh paint",
    "meteor shower tonight", "a handshake between two businessmen", "somebody knocked twice",
    "open the file and search for errors", "the goalkeeper saved a header",
    "signs of the zodiac", "an unpaid bill", "soldiers marching in a parade",
    "a hospital corridor", "the price of onions", "repeat after me", "black and white portrait",
    "to whom it may concern",
    # other languages
    "die Steuererklärung ist fällig", "la réunion est reportée", "el precio del aceite",
    "il treno è in ritardo", "de brug is open", "今日の天気", "合同条款", "протокол собрания",
    # nothing at all
    "fwuqz hjklo", "trenvil", "oooo aaaa", "plok smerd", "qwertz", "zxcvb nmnm", "dakimo relu",
    "vrrt", "bloon skavit pheno", "jjhgf", "umpo tirraf", "xkcdq", "yubble", "grenth oskil",
    "lkjasd oiu", "mibbet corvane", "wqx rtz plm", "snorvik", "eutha glim", "ghghgh",
)  # fmt: skip

EVERYDAY: tuple[str, ...] = (
    "a dog", "a dog running on grass", "a cat", "a horse", "a bird", "a fish", "a duck on a lake",
    "a cow in a field", "children playing", "a man", "a woman", "a girl in a red dress", "a boy",
    "two people walking", "a group of people", "a man wearing a hat", "a person on a bicycle",
    "a beach", "a boat on the water", "the sea at sunset", "mountains with snow", "a forest",
    "a tree", "a flower", "a garden", "a street in a city", "a house", "a tall building",
    "a castle", "a farm", "a park", "a bridge", "a red car", "a bus", "a train", "an airplane",
    "a kitchen", "a bedroom", "a table and a chair", "a cake", "an apple", "a cup", "a ball",
    "a book", "a guitar", "an umbrella", "a rainy day", "a night sky with stars", "snow",
)  # fmt: skip
"""What pictures often show: a model that knows pictures finds some of it in most collections."""
