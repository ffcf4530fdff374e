"""Names of the classes of the catalogue's sets, as far as they are known: a foreign folder is no CIFAR-100."""

from __future__ import annotations

import re

FINE = """apple aquarium_fish baby bear beaver bed bee beetle bicycle bottle bowl boy bridge bus butterfly camel can
castle caterpillar cattle chair chimpanzee clock cloud cockroach couch crab crocodile cup dinosaur dolphin
elephant flatfish forest fox girl hamster house kangaroo keyboard lamp lawn_mower leopard lion lizard
lobster man maple_tree motorcycle mountain mouse mushroom oak_tree orange orchid otter palm_tree pear
pickup_truck pine_tree plain plate poppy porcupine possum rabbit raccoon ray road rocket rose sea seal shark
shrew skunk skyscraper snail snake spider squirrel streetcar sunflower sweet_pepper table tank telephone
television tiger tractor train trout tulip turtle wardrobe whale willow_tree wolf woman worm"""
"""Of CIFAR-100."""

ALPHABETS = """Alphabet_of_the_Magi Angelic Anglo-Saxon_Futhorc Arcadian Armenian Asomtavruli_(Georgian)
Atemayar_Qelisayer Atlantean Aurek-Besh Avesta Balinese Bengali Blackfoot_(Canadian_Aboriginal_Syllabics) Braille
Burmese_(Myanmar) Cyrillic Early_Aramaic Futurama Ge_ez Glagolitic Grantha Greek Gujarati Gurmukhi Hebrew
Inuktitut_(Canadian_Aboriginal_Syllabics) Japanese_(hiragana) Japanese_(katakana) Kannada Keble Korean Latin
Malay_(Jawi_-_Arabic) Malayalam Manipuri Mkhedruli_(Georgian) Mongolian N_Ko
Ojibwe_(Canadian_Aboriginal_Syllabics) Old_Church_Slavonic_(Cyrillic) Oriya Sanskrit Sylheti Syriac_(Estrangelo)
Syriac_(Serto) Tagalog Tengwar Tibetan Tifinagh ULOG"""
"""Of Omniglot."""

BIRDS = """Albatross Ani Auklet Blackbird Bobolink Bunting Cardinal Catbird Chat Cormorant Cowbird Creeper Crow Cuckoo
Finch Flicker Flycatcher Frigatebird Fulmar Gadwall Geococcyx Goldfinch Grackle Grebe Grosbeak Guillemot Gull
Hummingbird Jaeger Jay Junco Kingbird Kingfisher Kittiwake Lark Loon Mallard Meadowlark Merganser Mockingbird Nighthawk
Nutcracker Nuthatch Oriole Ovenbird Pelican Pewee Pipit Puffin Raven Redstart Sayornis Shrike Sparrow Starling Swallow
Tanager Tern Thrasher Towhee Violetear Vireo Warbler Waterthrush Waxwing Widow Will Woodpecker Wren Yellowthroat"""
"""Last words of the names in CUB-200-2011, such as ``113.Baird_Sparrow``."""

NUMBERED = {"gtsrb": 43, "facescrub": 100}
"""Sets whose classes are numbers from 0, and how many they have."""

LISTED = {"cifar100": FINE, "omniglot": ALPHABETS}


def is_class_of(data_set: str, official: tuple[str, ...], name: str) -> bool:
    """Whether a class may be one of a set of the catalogue.

    Args:
        data_set: Name of the set.
        official: Names of its classes, where the catalogue has them.
        name: Of the class.

    Example:
        >>> is_class_of("cifar100", (), "maple tree"), is_class_of("cifar100", (), "zebra")
        (True, False)
        >>> is_class_of("gtsrb", (), "00007"), is_class_of("cub200", (), "001.cat")
        (True, False)
    """
    if data_set in NUMBERED:
        return name.isdecimal() and int(name) < NUMBERED[data_set]
    if data_set == "cub200":
        match = re.fullmatch(r"([0-9]{3})\.(?:\w+_)?([A-Za-z]+)", name)
        return match is not None and 1 <= int(match[1]) <= 200 and match[2] in BIRDS.split()  # noqa: PLR2004 - birds
    names = official or LISTED[data_set].split()
    plain = name.partition("/")[0] if data_set == "omniglot" else name
    return _plain(plain) in set(map(_plain, names))


def _plain(name: str) -> str:
    return re.sub(r"[\s_-]+", " ", name).strip().lower()
