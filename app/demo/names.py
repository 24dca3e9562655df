"""Names for the sample company's customers and people, made from word lists. Nobody here exists."""


def _words(text: str) -> list[str]:
    return text.split()


_STEMS = _words(
    """
    Alder Amber Ash Barrow Birch Black Bramble Bright Brindle Cedar Cinder Clover Cobalt Copper Coral Crane Dapple
    Drift Ember Fallow Fennel Fern Finch Flint Fox Gorse Granite Hazel Heather Heron Hollow Ivory Juniper Kestrel
    Lark Laurel Linden Lunar Maple Marigold Marsh Meadow Merle Moss Nettle North Ochre Osprey Otter Pebble Pine
    Plover Quartz Quill Raven Reed Rowan Rush Saffron Sage Sedge Silver Slate Sorrel Sparrow Stone Swift Tansy
    Teal Thistle Thorn Umber Violet Walnut West Willow Winter Wren Yarrow
    """
)
_ENDINGS = _words(
    """
    acre bank bay beck borough bourne bridge brook burn bury by cliff combe cote crest croft dale dell den down
    edge fell field firth ford garth gate ghyll glade grove hampton haven hay head hill holm hurst keep land leigh
    ley loch low mere moor mount ness port quay ridge rock sea shaw shire side stead stoke ton vale ville wade
    water way wick wood worth
    """
)
_TRADES = _words(
    """
    Analytics Apparel Biologics Brewing Capital Ceramics Clinics Composites Dairy Diagnostics Dynamics Education
    Energy Filtration Foods Freight Furnishings Games Glassworks Health Hospitality Instruments Insurance
    Interiors Labs Learning Lighting Logistics Marine Materials Media Mobility Motors Networks Optics Outdoors
    Packaging Payments Pharma Plastics Press Rail Realty Recycling Robotics Security Seeds Software Solar Staffing
    Studios Systems Telecom Textiles Timber Tools Travel Utilities Ventures Works
    """
)
_PLACES = _words(
    """
    Iberia Nordics Benelux Japan Brasil Canada Pacific Gulf Baltics Andes Midwest Levant
    """
)
_FIRST_NAMES = _words(
    """
    Ada Aiko Alma Amir Anouk Arjun Astrid Beatriz Bram Camila Chidi Clara Dara Diego Elif Emeka Farah Felix Freya
    Gita Hana Hugo Ines Ingrid Ivo Jasper Jun Kaia Kenji Lars Leila Lucia Malik Mara Mateo Mei Milo Nadia Nils
    Noor Olga Omar Petra Priya Rafael Ravi Rosa Sana Silas Sofia Tariq Tessa Theo Uma Vera Viktor Wanda Yara Yusuf
    Zoe
    """
)
_LAST_NAMES = _words(
    """
    Abara Ahlberg Amsel Baptiste Barreto Brandvold Castellan Chowdary Coppola Dekkers Dimova Dreyfus Eklund Falk
    Fontaine Garrido Hagen Haidari Hoshino Ibanez Isaksen Jansson Kaminski Katz Keller Lindqvist Lobo Maseko Mbeki
    Moravec Nakata Navarro Novak Obi Okafor Olander Pereira Petrov Quist Rahmani Reyes Rossi Sandhu Santoro Sato
    Silva Soto Takeda Tanaka Thapa Torres Ueda Valdez Varga Vidal Weiss Wolff Yilmaz Zander Zhao
    """
)

_COMPANIES = len(_STEMS) * len(_ENDINGS) * len(_TRADES)
_STEP = 150_001  # shares no factor with _COMPANIES: neighbours look unrelated, and no name repeats before all are used


def company(number: int) -> str:
    """The name of company `number`; the first few hundred thousand differ, later ones carry a numeral."""
    _, at = divmod(number * _STEP, _COMPANIES)
    rest, trade = divmod(at, len(_TRADES))
    stem, ending = divmod(rest, len(_ENDINGS))
    again = number // _COMPANIES
    return f"{_STEMS[stem]}{_ENDINGS[ending]} {_TRADES[trade]}" + (f" {again + 1}" if again else "")


def holding(number: int) -> str:
    """The name of a family's parent: company `number`'s first word as a group."""
    return f"{company(number).partition(' ')[0]} Holdings"


def member(parent: int, child: int, *, standalone: bool) -> str:
    """The name of a family's member, after its parent's."""
    stem = company(parent).partition(" ")[0]
    place = _PLACES[(parent * 7 + child) % len(_PLACES)]
    return f"{stem} {place} Joint Venture" if standalone else f"{stem} {place}"


def person(number: int) -> tuple[str, str]:
    """The name and e-mail address of CSM `number`; all different, at a domain that cannot exist."""
    first = _FIRST_NAMES[number % len(_FIRST_NAMES)]
    turn = number // len(_FIRST_NAMES)
    last = _LAST_NAMES[(number * 7 + turn) % len(_LAST_NAMES)]
    again = turn // len(_LAST_NAMES)
    suffix = str(again + 1) if again else ""
    return f"{first} {last}{' ' + suffix if suffix else ''}", f"{first}.{last}{suffix}@csm.example".lower()
