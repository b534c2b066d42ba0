"""The small things of a household: real sizes, looks, where people keep them, how often they carry them about.

The priors are ours: weights over (room kind, furniture) written down from how homes are used, not taken from a
data set. Sizes are those of ordinary goods. `LABELS` gives every category of the world its semantic id.
"""

from __future__ import annotations

from dataclasses import dataclass

from embmem.sim_envs.house.furniture import FURNITURE_CATEGORIES, RGB

Place = tuple[str, str]  # (room kind, furniture category)

PLACES: dict[str, Place] = {
    "counter": ("kitchen", "kitchen counter"),
    "sink": ("kitchen", "sink"),
    "stove": ("kitchen", "stove"),
    "kitchen table": ("kitchen", "dining table"),
    "kitchen shelf": ("kitchen", "wall shelf"),
    "cupboard": ("kitchen", "cupboard"),
    "dining table": ("dining room", "dining table"),
    "buffet": ("dining room", "sideboard"),
    "dining cupboard": ("dining room", "cupboard"),
    "coffee table": ("living room", "coffee table"),
    "sofa": ("living room", "sofa"),
    "tv": ("living room", "tv stand"),
    "shelf": ("living room", "bookshelf"),
    "sideboard": ("living room", "sideboard"),
    "armchair": ("living room", "armchair"),
    "living table": ("living room", "dining table"),
    "wall shelf": ("living room", "wall shelf"),
    "piano": ("living room", "piano"),
    "nightstand": ("bedroom", "nightstand"),
    "bed": ("bedroom", "bed"),
    "dresser": ("bedroom", "dresser"),
    "bedroom desk": ("bedroom", "desk"),
    "bedroom shelf": ("bedroom", "bookshelf"),
    "bedroom bench": ("bedroom", "bench"),
    "desk": ("office", "desk"),
    "office shelf": ("office", "bookshelf"),
    "office sideboard": ("office", "sideboard"),
    "basin": ("bathroom", "washbasin"),
    "bath cabinet": ("bathroom", "bathroom cabinet"),
    "toilet": ("bathroom", "toilet"),
    "bath shelf": ("bathroom", "wall shelf"),
    "bath machine": ("bathroom", "washing machine"),
    "console": ("corridor", "console table"),
    "shoe cabinet": ("corridor", "shoe cabinet"),
    "bench": ("corridor", "bench"),
    "rack": ("storage room", "storage rack"),
    "workbench": ("storage room", "workbench"),
    "machine": ("laundry room", "washing machine"),
    "laundry rack": ("laundry room", "storage rack"),
    "laundry bench": ("laundry room", "bench"),
    "toy chest": ("playroom", "toy chest"),
    "play shelf": ("playroom", "bookshelf"),
    "play table": ("playroom", "coffee table"),
    "library shelf": ("library", "bookshelf"),
    "library desk": ("library", "desk"),
}

# category | width depth height [m] | shape | red green blue | expected number in a home of six rooms that has a
# place for it, probability that somebody carries it elsewhere within a day | where it is kept, with weights
_TABLE = """
mug            | .09 .09 .10 | mug     | 205  62  52 | 2.0 .80 | counter 5, sink 1, desk 2, coffee table 2,
        nightstand 1, kitchen table 2, library desk 1
glass          | .08 .08 .13 | tumbler | 150 214 226 | 1.5 .70 | counter 3, sink 3, coffee table 2, nightstand
        2, kitchen table 2, living table 1, dining table 2
water bottle   | .08 .08 .24 | bottle  |  40 132 216 | 1.0 .70 | counter 3, desk 3, nightstand 2, coffee table
        1, console 1, bedroom desk 2
book           | .16 .06 .23 | box     | 128  36  92 | 2.5 .50 | shelf 4, nightstand 3, coffee table 2, desk
        1, library shelf 5, office shelf 2, bedroom shelf 2, sofa 1
laptop         | .34 .24 .23 | laptop  | 112 118 128 | 0.9 .60 | desk 5, kitchen table 2, coffee table 2,
        bedroom desk 3, bed 1, sofa 1, library desk 2
tablet         | .25 .08 .18 | panel   |  24  26  44 | 0.6 .70 | coffee table 3, sofa 2, nightstand 2, kitchen
        table 1, desk 1
remote control | .05 .18 .03 | box     |  58  40  40 | 1.0 .60 | coffee table 5, sofa 3, tv 2, armchair 1
keys           | .09 .07 .04 | low     | 232 196  40 | 1.0 .70 | console 5, shoe cabinet 3, counter 1, desk 1,
        coffee table 1, dresser 1
wallet         | .11 .09 .04 | low     |  92  56  22 | 0.8 .70 | console 4, shoe cabinet 2, nightstand 2, desk
        2, dresser 2, counter 1
handbag        | .32 .14 .26 | bag     | 176  30 122 | 0.8 .70 | console 2, shoe cabinet 3, bench 3, bed 1,
        bedroom bench 2, sofa 1, dresser 1
backpack       | .30 .18 .40 | bag     |  24  84  72 | 0.8 .70 | shoe cabinet 3, bench 4, bedroom bench 2, bed
        1, sofa 1, laundry bench 1
hat            | .26 .26 .13 | hat     | 196 158  96 | 0.7 .50 | shoe cabinet 3, console 3, dresser 2, bench
        2, bedroom bench 1
scarf          | .26 .18 .09 | folded  | 168  74 196 | 0.6 .50 | shoe cabinet 3, bench 3, dresser 2, bed 1,
        armchair 1
umbrella       | .32 .08 .08 | roll    |  30  36 110 | 0.6 .40 | shoe cabinet 4, console 2, bench 2
shoes          | .22 .28 .11 | pair    |  66  44  60 | 1.0 .50 | shoe cabinet 5, bench 2, bedroom bench 1
headphones     | .18 .09 .19 | arch    | 238  98  24 | 0.7 .60 | desk 4, bedroom desk 2, nightstand 2, coffee
        table 1, shelf 1
magazine       | .22 .28 .03 | low     | 244 140 168 | 1.0 .50 | coffee table 5, sofa 1, nightstand 1, toilet
        1, bench 1, armchair 1
towel          | .34 .24 .11 | folded  |  92 190 190 | 1.2 .40 | bath cabinet 5, bath shelf 2, bath machine 2,
        machine 3, laundry rack 2, dresser 1, bed 1
plate          | .25 .25 .05 | dish    | 226 224 206 | 1.2 .50 | counter 3, sink 3, kitchen table 3, cupboard
        3, dining table 3, living table 2, dining cupboard 2
bowl           | .17 .17 .08 | dish    |  74 152 108 | 1.0 .50 | counter 3, sink 2, kitchen table 2, coffee
        table 1, cupboard 3, dining table 2
kettle         | .20 .20 .24 | jug     | 184 188 196 | 0.8 .10 | counter 4, stove 3, sink 1
teapot         | .20 .16 .15 | jug     |  96  44 148 | 0.6 .40 | counter 3, kitchen table 2, kitchen shelf 2,
        dining table 2, buffet 1, coffee table 1
toaster        | .28 .17 .19 | box     | 160 164 150 | 0.6 .05 | counter 5, cupboard 3
coffee machine | .22 .30 .34 | machine |  40  22  20 | 0.6 .02 | counter 5, buffet 1, office sideboard 1
microwave      | .46 .34 .27 | box     | 206 210 214 | 0.6 .00 | counter 5, cupboard 3
cooking pot    | .26 .24 .16 | pot     | 106 110 120 | 0.9 .40 | stove 6, sink 2, counter 2, cupboard 3
frying pan     | .28 .28 .06 | dish    |  46  46  48 | 0.8 .40 | stove 6, sink 2, counter 2
knife block    | .12 .16 .24 | machine | 142  88  34 | 0.6 .02 | counter 1
cutting board  | .30 .06 .22 | panel   | 222 180 122 | 0.6 .30 | counter 5, sink 1, kitchen table 1
bread          | .28 .13 .12 | loaf    | 196 124  52 | 0.8 .50 | counter 4, kitchen table 3, cupboard 2,
        dining table 2
apple          | .09 .09 .09 | ball    | 220  22  30 | 1.0 .60 | counter 3, kitchen table 3, dining table 2,
        coffee table 1, desk 1, buffet 1
banana         | .19 .08 .08 | roll    | 250 226  62 | 0.8 .60 | counter 3, kitchen table 3, dining table 2,
        desk 1
orange         | .09 .09 .09 | ball    | 255 146  14 | 0.7 .60 | counter 3, kitchen table 3, dining table 2,
        living table 1
milk carton    | .09 .09 .24 | carton  | 214 232 250 | 0.7 .60 | counter 4, kitchen table 4, dining table 2
cereal box     | .19 .07 .29 | box     | 238  76  96 | 0.7 .50 | counter 3, kitchen table 2, cupboard 4,
        kitchen shelf 1
jar            | .09 .09 .13 | jar     | 138  20  34 | 1.0 .30 | kitchen shelf 4, cupboard 4, counter 2, rack
        2
wine bottle    | .08 .08 .30 | bottle  |  28  66  30 | 0.8 .40 | counter 2, buffet 3, sideboard 2, cupboard 2,
        dining table 2, rack 2
wine glass     | .08 .08 .20 | goblet  | 198 170 214 | 0.7 .50 | dining cupboard 3, sideboard 2, coffee table
        1, dining table 3, living table 2, cupboard 2, sink 1
blender        | .17 .17 .38 | jug     | 214  56 146 | 0.4 .05 | counter 4, cupboard 3
dish soap      | .09 .06 .22 | bottle  | 122 226  44 | 0.8 .05 | sink 8, counter 1
paper towels   | .13 .13 .26 | roll up | 240 240 232 | 0.6 .30 | counter 4, sink 2, kitchen table 1, workbench
        1
lunch box      | .22 .15 .09 | box     |  46 190 138 | 0.6 .70 | counter 4, sink 2, cupboard 2, desk 1, shoe
        cabinet 1
television     | 1.05 .20 .66 | screen  |  14  14  18 | 0.9 .00 | tv 1
game console   | .28 .24 .08 | low     |  70  70 150 | 0.5 .05 | tv 5, play shelf 2
speaker        | .18 .20 .30 | machine |  82  62  48 | 0.7 .02 | tv 3, shelf 2, sideboard 2, office shelf 1,
        desk 1
potted plant   | .26 .26 .38 | plant   |  44 150  48 | 1.6 .05 | sideboard 3, wall shelf 2, office sideboard
        2, console 2, dresser 2, buffet 2, shelf 1, piano 2, bath cabinet 1, library shelf 1
vase           | .15 .15 .28 | vase    |  58  94 176 | 0.8 .10 | sideboard 3, dining table 2, buffet 2,
        console 2, piano 2, wall shelf 1, coffee table 1
candle         | .08 .08 .14 | candle  | 250 244 180 | 0.8 .20 | coffee table 2, dining table 3, sideboard 2,
        bath shelf 1, wall shelf 1, living table 2
picture frame  | .20 .06 .25 | panel   | 120  84 132 | 1.0 .03 | shelf 3, sideboard 3, dresser 2, desk 1,
        piano 2, nightstand 1, office shelf 1, library shelf 1
globe          | .24 .24 .32 | globe   |  18 150 196 | 0.5 .03 | office shelf 3, library shelf 3, desk 1,
        shelf 2, bedroom shelf 1
clock          | .17 .08 .19 | panel   | 198 104 112 | 0.7 .02 | shelf 3, sideboard 3, wall shelf 2, kitchen
        shelf 2, office shelf 1, buffet 2
camera         | .14 .09 .10 | machine |  34  32  36 | 0.5 .40 | shelf 3, office shelf 3, desk 2, sideboard 1
board game     | .30 .24 .07 | box     | 222 102 214 | 0.7 .40 | shelf 3, play shelf 4, coffee table 1, living
        table 1, play table 2
table lamp     | .22 .22 .40 | lamp    | 252 214 130 | 1.4 .02 | nightstand 4, desk 3, sideboard 2, bedroom
        desk 2, console 1, library desk 3
monitor        | .54 .18 .42 | screen  |  52  58  74 | 0.9 .00 | desk 6, bedroom desk 2, library desk 1
keyboard       | .42 .14 .04 | low     |  98 104  92 | 0.7 .02 | desk 6, bedroom desk 2
printer        | .42 .34 .20 | box     | 188 196 182 | 0.6 .00 | office sideboard 4, desk 2, library desk 1
notebook       | .21 .15 .04 | low     |  86  20 180 | 0.9 .50 | desk 5, bedroom desk 3, kitchen table 1,
        library desk 3, coffee table 1
pencil cup     | .09 .09 .17 | vase    |  16 186 100 | 0.7 .10 | desk 6, bedroom desk 3, library desk 2, play
        table 2
alarm clock    | .12 .08 .12 | machine | 240  60 180 | 0.7 .03 | nightstand 8, bedroom desk 1
jewelry box    | .20 .15 .13 | box     | 150 110   8 | 0.6 .05 | dresser 6, nightstand 1
perfume        | .07 .06 .13 | jar     | 230 168 240 | 0.7 .10 | dresser 5, bath cabinet 2, basin 1
blanket        | .44 .30 .12 | folded  | 130 146  80 | 0.8 .40 | bed 4, sofa 4, armchair 2, bedroom bench 2
teddy bear     | .22 .18 .30 | bear    | 158  96  50 | 0.8 .50 | bed 4, toy chest 4, sofa 1, play shelf 2,
        bedroom shelf 1, armchair 1
glasses case   | .16 .07 .06 | low     |  10  96 120 | 0.6 .60 | nightstand 5, desk 2, coffee table 2, library
        desk 2, console 1
toothbrush cup | .08 .08 .18 | vase    |  64 216 246 | 1.0 .02 | basin 7, bath shelf 2, bath cabinet 1
soap dispenser | .08 .08 .18 | bottle  | 252 122 118 | 0.9 .05 | basin 7, bath cabinet 1
shampoo        | .08 .06 .22 | bottle  |  10 170 150 | 0.9 .20 | bath cabinet 4, bath shelf 4, basin 1
toilet paper   | .12 .12 .11 | roll up | 252 250 250 | 1.2 .30 | toilet 6, bath cabinet 2, bath shelf 1, rack
        2
hair dryer     | .22 .09 .20 | iron    | 226  20  86 | 0.7 .40 | bath cabinet 5, dresser 3, basin 1, bed 1
tissue box     | .23 .12 .10 | box     | 132 182 246 | 0.7 .40 | nightstand 3, coffee table 2, bath cabinet 2,
        desk 1, toilet 1
detergent      | .20 .10 .28 | carton  |  20  60 226 | 0.9 .10 | machine 5, bath machine 5, laundry rack 3,
        rack 1
iron           | .13 .27 .15 | iron    |  96 150 166 | 0.7 .20 | laundry rack 5, machine 2, rack 2, dresser 1,
        bath machine 1
laundry basket | .42 .30 .26 | dish    | 196 202  90 | 0.7 .50 | machine 4, bath machine 3, laundry bench 3,
        bedroom bench 2, bed 1
toolbox        | .40 .20 .20 | bag     | 180   0   0 | 0.8 .20 | rack 5, workbench 4, shoe cabinet 1
drill          | .22 .08 .20 | iron    |   6 120  36 | 0.6 .30 | workbench 5, rack 4, shoe cabinet 1
flashlight     | .20 .06 .06 | roll    | 180 250  10 | 0.7 .30 | rack 4, shoe cabinet 2, console 2, workbench
        2, nightstand 1
paint can      | .17 .17 .19 | can     | 128 130 240 | 0.9 .10 | rack 6, workbench 2
cardboard box  | .34 .26 .24 | box     | 186 148  82 | 1.2 .30 | rack 6, laundry rack 3, workbench 1, bench 1
first aid kit  | .24 .12 .17 | bag     | 255  40   0 | 0.6 .05 | rack 3, bath cabinet 3, laundry rack 2,
        cupboard 3
watering can   | .30 .15 .24 | jug     |  60 112  20 | 0.6 .40 | rack 3, laundry rack 2, laundry bench 1, sink
        1, sideboard 1
toy car        | .12 .22 .10 | car     | 255 178   0 | 1.0 .70 | toy chest 4, play shelf 3, play table 3,
        coffee table 1, bed 1, bedroom shelf 1, sofa 1
toy blocks     | .20 .12 .14 | blocks  | 120  60 250 | 0.9 .60 | toy chest 4, play table 4, play shelf 2,
        coffee table 1, bedroom shelf 1
ball           | .20 .20 .20 | ball    | 250  80 250 | 0.8 .60 | toy chest 4, shoe cabinet 2, play shelf 1,
        bench 1, armchair 1
"""


@dataclass(frozen=True)
class ObjectKind:
    """One category of small objects."""

    size: tuple[float, float, float]  # width, depth, height [m]
    shape: str  # key of shapes.SHAPES
    colour: RGB
    count: float  # expected number in a home of six rooms that has a place for it
    move: float  # probability that somebody carries it elsewhere within a day
    places: tuple[tuple[Place, float], ...]  # where it is kept, with weights


def _parse(row: str) -> tuple[str, ObjectKind]:
    name, size, shape, colour, numbers, places = (cell.strip() for cell in row.split("|"))
    width, depth, height = map(float, size.split())
    red, green, blue = map(int, colour.split())
    count, move = map(float, numbers.split())
    kept = [place.strip().rsplit(" ", 1) for place in places.split(",")]
    weights = tuple((PLACES[place], float(weight)) for place, weight in kept)
    return name, ObjectKind((width, depth, height), shape, (red, green, blue), count, move, weights)


OBJECTS: dict[str, ObjectKind] = dict(_parse(row) for row in _TABLE.replace("\n        ", " ").strip().splitlines())
OBJECT_CATEGORIES: tuple[str, ...] = tuple(OBJECTS)

STRUCTURE: tuple[str, ...] = ("unlabelled", "wall", "floor", "ceiling", "door frame")
LABELS: tuple[str, ...] = (*STRUCTURE, *FURNITURE_CATEGORIES, *OBJECT_CATEGORIES)
LABEL_IDS: dict[str, int] = {label: index for index, label in enumerate(LABELS)}
