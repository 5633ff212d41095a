"""Words and numbers of a text, each as one token: "2.54", "1 1/2", "-40" and "twenty-one" are never cut.

What a token is, is written down in docs/model.md with the rules by which numbers are read.
"""

from __future__ import annotations

import regex

from models.units import MILLIMETERS_PER_UNIT, OTHER_NAMES, OTHER_SYMBOLS

UNITS_TO_TEN = ["one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten"]
TEENS = ["eleven", "twelve", "thirteen", "fourteen", "fifteen", "sixteen", "seventeen", "eighteen"]
TEENS += ["nineteen"]
TENS = ["twenty", "thirty", "forty", "fifty", "sixty", "seventy", "eighty", "ninety"]
PRODUCTS = ("x", "X", "×", "*", "by")
"""What stands between the sides of something: 40 x 30 cm."""
RANGE_MARKS = ("-", "–", "—", "−", "…", "..", "...")
"""What stands between the ends of a range; a token only where a unit follows: 10-20 cm, but not SOT-23."""


def _alternatives(words: list[str] | frozenset[str] | tuple[str, ...]) -> str:
    return "|".join(regex.escape(word) for word in sorted(words, key=lambda word: (-len(word), word)))


_L = r"[\p{L}\p{M}]"  # part of a word
_VULGAR = "[¼-¾⅐-⅞↉]"
_GROUP_BLANK = "[\u00a0\u2007\u2009\u202f]"
_DENOMINATORS = (2, 3, 4, 5, 6, 8, 10, 12, 16, 32, 64)
_FRACTION = (
    "(?:" + "|".join(f"{a}[/⁄]{b}" for b in reversed(_DENOMINATORS) for a in range(b - 1, 0, -1)) + ")"
)
_LENGTH = rf"(?i:in|m[23]?|{_alternatives(tuple(MILLIMETERS_PER_UNIT))})[²³]?(?!{_L}|\d)"
_OTHER = rf"(?:{_alternatives(OTHER_SYMBOLS)}|(?i:{_alternatives(OTHER_NAMES)}))(?!{_L}|\d)"
_ANY_UNIT = rf"(?:{_LENGTH}|{_OTHER}|[\"″'′])"
_BEGIN = r"(?<![\p{L}\p{N}_.,/⁄\-])"  # a number that stands by itself, not "HC-51/6"
_SIGN = r"(?:(?<![^\s(\[{=:~<>≤≥,;/])(?:\+/-|\+-|[-−+])|±\s?)(?=\.?[\d¼-¾⅐-⅞])"
_EXPONENT = r"(?:[eE][-−+]\d{1,2}(?!\.?\d)|e\d{1,2}(?![\p{L}.\d]))"
_POWER_OF_TEN = r"\s?[×x·*]\s?10(?:\^[-−+]?\d{1,2}|[⁺⁻]?[⁰¹²³⁴-⁹]{1,2})(?!\d)"
#: Most numbers, without a look at the alternatives.
_PLAIN_NUMBER = rf"""
    \d++(?:\.\d++)?+(?![.,/⁄'’]\d|[eE][\d+\-−]|[\s-][\d¼-¾⅐-⅞]|{_VULGAR}|\s?[×x·*]\s?10[\^⁺⁻⁰¹²³⁴-⁹])
"""
_NUMBER = rf"""
    {_PLAIN_NUMBER}
  | (?:{_SIGN}|{_BEGIN})(?:\d{{1,3}}[\ \u00a0-])?{_FRACTION}(?![\d/⁄]|[.,]\d)   # 3/4, 1 1/2, 1-1/2
  | (?:{_SIGN})?(?:\d+\s?)?{_VULGAR}                                            # ½, 1½
  | (?:{_SIGN})?(?:\d+(?:[.,]\d+)?){_POWER_OF_TEN}                              # 2×10⁻³, 2x10^-3
  | (?:{_SIGN}|{_BEGIN})(?:\d+(?:[.,]\d+)?|\.\d+){_EXPONENT}                    # 1e-3
  | (?:{_SIGN})?[1-9]\d{{0,2}}(?:['’]\d{{3}})+(?:\.\d+)?(?![\d"″'′’”]|\s?in\b)  # 1'000
  | (?:{_SIGN})?[1-9]\d{{0,2}}(?:{_GROUP_BLANK}\d{{3}})+(?:[.,]\d+)?(?!\d)      # 1 000, blanks of fixed width
  | (?:{_SIGN}|{_BEGIN})[1-9]\d{{0,2}}(?:\ \d{{3}})+(?:[.,]\d+)?(?=\s?{_LENGTH})  # 1 000 mm
  | (?:{_SIGN})?(?<![\d.,])[1-9]\d{{0,2}}(?:,\d{{3}})+(?:\.\d+)?(?!\d|,\d)      # 1,000
  | (?:{_SIGN}|{_BEGIN})[1-9]\d{{0,2}}(?:(?:\.\d{{3}})+,\d+|(?:\.\d{{3}}){{2,}})(?!\d|[.,]\d)  # 1.234,56
  | (?:{_SIGN})?(?:\d+\.\d+|(?<!\d,)\d+,\d+(?!\d|,\d)|(?<![\p{{L}}\d_.])\.\d+|\d+)
"""
_BELOW_100 = (
    f"(?:(?:{'|'.join(TENS)})(?:[-\\ ](?:{'|'.join(UNITS_TO_TEN[:9])}))?|"
    f"{_alternatives((*UNITS_TO_TEN, *TEENS))})"
)
_BELOW_1000 = rf"(?:(?:{_BELOW_100}[-\ ])?hundred(?:[-\ ](?:and\ )?{_BELOW_100})?|{_BELOW_100})"
#: Numbers of several words.
_WRITTEN = rf"""
    (?i:(?<!{_L}|\d)(?:
        half\ a\ dozen | (?:{_BELOW_100}[-\ ])?dozen
      | (?:{_BELOW_1000}[-\ ])?thousand(?:,?\ (?:and\ )?{_BELOW_1000})?
      | {_BELOW_1000}(?:\ and\ a\ half)?
    )(?!{_L}))
"""
_HINT = regex.compile(rf"(?i)dozen|hundred|thousand|and a half|ty[- ](?:{'|'.join(UNITS_TO_TEN[:9])})")
_MARK = rf"""
    (?<=[\d¼-¾⅐-⅞]\s?)(?:°\s?[CFK](?!{_L})|[°%‰℃℉])
  | (?<=[\d¼-¾⅐-⅞])(?:''|′′|’’|["″”]|['′’](?!{_L}|\d{{3}}(?!["″”\d]))|['′’](?=[xX]\s?\d))
  | (?<=[\d"″”'′’]\s?)[×*](?=\s?\.?[\d¼-¾⅐-⅞])
  | (?<=(?<![\p{{L}}\p{{N}}_.,/\-])[-−+]?\d+(?:[.,]\d+)?["″'′]?\s?)(?:[-–—−…]|\.{{2,3}})
    (?=\s?[-−+]?\d+(?:[.,]\d+)?\s?{_ANY_UNIT})
"""
_POWER_OR_RATE = rf"(?i:(?:mm|cm|dm|m|in|ft|inch)(?:\^?[23](?!\d|{_L})|/(?:s|min|h)(?!{_L}))|km/h(?!{_L}))"
_EMOJI = (
    r"\p{RI}\p{RI}|(?![©®™])\p{Extended_Pictographic}(?:[\ufe0f\p{EMod}]|\u200d\p{Extended_Pictographic})*"
)
_LETTER = r"[\p{L}\p{Nl}\p{No}]"
_INNER = r"[\p{M}\p{L}\p{Nl}\p{No}]"
_WORD = rf"(?!{_VULGAR}){_LETTER}{_INNER}*(?:[\u200c\u200d]{_INNER}+)*"
# What each alternative begins with stands before it: most characters are then tried against one alternative.
_TOKENS = rf"""
    (?<=\d\s?)(?=[mMcCdDiIfFkK]){_POWER_OR_RATE} | {_WORD}
  | (?=[°%‰℃℉"″”'′’×*\-–—−….])(?:{_MARK})
  | (?=[\d.¼-¾⅐-⅞+\-−±])(?:{_NUMBER})
  | {_EMOJI}
"""
_TOKEN = regex.compile(_TOKENS, regex.VERBOSE)
_TOKEN_OR_WRITTEN = regex.compile(f"{_WRITTEN}|{_TOKENS}", regex.VERBOSE)
_QUOTES = regex.compile("[\"'“”‘’]")


def tokenize(text: str) -> list[tuple[str, int, int]]:
    """Splits a text into words and numbers: ``(string, start, end)``; punctuation is dropped.

    Marks that are units behind a number (``"``, ``'``, ``°C``, ``%``), and what joins numbers to a range or a
    product in front of a unit, are tokens too.
    """
    closing = _closing_quotes(text) if _QUOTES.search(text) else ()
    pattern = _TOKEN_OR_WRITTEN if _HINT.search(text) else _TOKEN
    return [(m.group(), m.start(), m.end()) for m in pattern.finditer(text) if m.start() not in closing]


def _closing_quotes(text: str) -> set[int]:
    """Places of quotation marks that end what an earlier one began, and so are no units."""
    closing: set[int] = set()
    opened = dict.fromkeys("\"'", False)
    for match in _QUOTES.finditer(text):
        place = match.start()
        mark = '"' if match[0] in '"“”' else "'"
        before, after = text[place - 1 : place], text[place + 1 : place + 2]
        if opened[mark] and before and not before.isspace() and not after.isalnum():
            opened[mark] = False
            closing.add(place)
        elif (not before or before in " ([{") and after and not after.isspace():
            opened[mark] = True
    return closing
