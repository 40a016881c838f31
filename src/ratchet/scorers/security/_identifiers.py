"""Check digits: whether a string of digits is a card, an account or a person's number.

Each function takes the bare characters, without separators, and says whether they can be a real number of its kind.
"""

from __future__ import annotations

import datetime
import re

# account length by country, from the SWIFT IBAN registry (ISO 13616)
IBAN_LENGTHS = {
    "AD": 24, "AE": 23, "AL": 28, "AT": 20, "AZ": 28, "BA": 20, "BE": 16, "BG": 22, "BH": 22, "BI": 27, "BR": 29,
    "BY": 28, "CH": 21, "CR": 22, "CY": 28, "CZ": 24, "DE": 22, "DJ": 27, "DK": 18, "DO": 28, "EE": 20, "EG": 29,
    "ES": 24, "FI": 18, "FK": 18, "FO": 18, "FR": 27, "GB": 22, "GE": 22, "GI": 23, "GL": 18, "GR": 27, "GT": 28,
    "HN": 28, "HR": 21, "HU": 28, "IE": 22, "IL": 23, "IQ": 23, "IS": 26, "IT": 27, "JO": 30, "KW": 30, "KZ": 20,
    "LB": 28, "LC": 32, "LI": 21, "LT": 20, "LU": 20, "LV": 21, "LY": 25, "MC": 27, "MD": 24, "ME": 22, "MK": 19,
    "MN": 20, "MR": 27, "MT": 31, "MU": 30, "NI": 28, "NL": 18, "NO": 15, "OM": 23, "PK": 24, "PL": 28, "PS": 29,
    "PT": 25, "QA": 29, "RO": 24, "RS": 22, "RU": 33, "SA": 24, "SC": 31, "SD": 18, "SE": 24, "SI": 19, "SK": 24,
    "SM": 27, "SO": 23, "ST": 25, "SV": 28, "TL": 23, "TN": 24, "TR": 26, "UA": 29, "VA": 22, "VG": 24, "XK": 20,
    "YE": 30,
}  # fmt: skip

# (first prefix, last prefix, lengths) of the issuers' ranges (ISO/IEC 7812)
_CARDS = (
    ("4", "4", (13, 16, 19)),  # Visa
    ("51", "55", (16,)),  # Mastercard
    ("2221", "2720", (16,)),
    ("34", "34", (15,)),  # American Express
    ("37", "37", (15,)),
    ("300", "305", (14, 16)),  # Diners Club
    ("3095", "3095", (14, 16)),
    ("36", "36", (14,)),
    ("38", "39", (14, 16)),
    ("3528", "3589", (16, 17, 18, 19)),  # JCB
    ("6011", "6011", (16, 17, 18, 19)),  # Discover
    ("644", "649", (16, 17, 18, 19)),
    ("65", "65", (16, 17, 18, 19)),
    ("62", "62", (16, 17, 18, 19)),  # UnionPay
    ("81", "82", (16,)),  # RuPay
    ("2200", "2204", (16, 17, 18, 19)),  # Mir
    ("5018", "5018", (16, 17, 18, 19)),  # Maestro
    ("5020", "5020", (16, 17, 18, 19)),
    ("5038", "5038", (16, 17, 18, 19)),
    ("5893", "5893", (16, 17, 18, 19)),
    ("6304", "6304", (16, 17, 18, 19)),
    ("6759", "6759", (16, 17, 18, 19)),
    ("6761", "6763", (16, 17, 18, 19)),
)


def luhn(digits: str) -> bool:
    """The Luhn check (ISO/IEC 7812-1, annex B)."""
    total = 0
    for index, digit in enumerate(reversed(digits)):
        value = int(digit) * (1 + index % 2)
        total += value - 9 if value > 9 else value
    return total % 10 == 0


def card(digits: str) -> bool:
    """A payment card: an issuer's range, its length, Luhn."""
    return (
        len(set(digits)) > 1
        and luhn(digits)
        and any(
            len(digits) in lengths and first <= digits[: len(first)] <= last
            for first, last, lengths in _CARDS
        )
    )


def iban(text: str) -> bool:
    """An account: the country's length, and 1 modulo 97 (ISO 13616, ISO 7064)."""
    if IBAN_LENGTHS.get(text[:2]) != len(text) or not text.isalnum() or not text[2:4].isdigit():
        return False
    return int("".join(str(int(c, 36)) for c in text[4:] + text[:4])) % 97 == 1


def us_ssn(digits: str) -> bool:
    """A US social security number: no area 000, 666 or 9xx, no group 00, no serial 0000, none of the advertised ones."""
    area, group, serial = digits[:3], digits[3:5], digits[5:]
    return (
        area not in ("000", "666")
        and area < "900"
        and group != "00"
        and serial != "0000"
        and digits not in ("078051120", "219099999", "123456789", "457555462")
    )


def uk_nino(text: str) -> bool:
    """A UK national insurance number, by the prefixes that HMRC allocates (NIM39110)."""
    first, second = text[0], text[1]
    return not (
        first in "DFIQUV" or second in "DFIOQUV" or text[:2] in ("BG", "GB", "KN", "NK", "NT", "TN", "ZZ")
    )


def es_dni(text: str) -> bool:
    """A Spanish DNI or NIE: the letter is the number modulo 23 in TRWAGMYFPDXBNJZSQVHLCKE."""
    number = text[:-1].translate(str.maketrans("XYZ", "012"))
    return "TRWAGMYFPDXBNJZSQVHLCKE"[int(number) % 23] == text[-1]


_ODD = dict(
    zip(
        "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ",
        (1, 0, 5, 7, 9, 13, 15, 17, 19, 21, 1, 0, 5, 7, 9, 13, 15, 17, 19, 21, 2, 4, 18, 20, 11, 3, 6, 8, 12, 14, 16, 10, 22, 25, 24, 23),
        strict=True,
    )
)  # fmt: skip


def it_codice_fiscale(text: str) -> bool:
    """An Italian tax code: its sixteenth character (Ministerial Decree of 23 December 1976)."""
    total = 0
    for index, character in enumerate(text[:15]):
        even = int(character) if character.isdigit() else ord(character) - ord("A")
        total += _ODD[character] if index % 2 == 0 else even
    return chr(ord("A") + total % 26) == text[15]


def de_steuer_id(digits: str) -> bool:
    """A German tax id: one digit twice or thrice among the first ten, and ISO 7064 MOD 11,10."""
    counts = sorted(digits[:10].count(d) for d in set(digits[:10]))
    if digits[0] == "0" or counts[-1] not in (2, 3) or counts[:-1] != [1] * (len(counts) - 1):
        return False
    product = 10
    for digit in digits[:10]:
        total = (int(digit) + product) % 10 or 10
        product = total * 2 % 11
    return (11 - product) % 10 == int(digits[10])


def fr_nir(text: str) -> bool:
    """A French social security number: sex, month, and the key 97 - n mod 97 (Corsica's 2A is 19, 2B is 18)."""
    month = int(text[3:5])
    if text[0] not in "123478" or not (1 <= month <= 12 or 20 <= month <= 42 or month >= 50):
        return False
    number = text[:13].replace("2A", "19").replace("2B", "18")
    return number.isdigit() and 97 - int(number) % 97 == int(text[13:])


def nl_bsn(digits: str) -> bool:
    """A Dutch citizen number: the eleven test, weights 9 to 2 and -1."""
    total = sum(int(d) * weight for d, weight in zip(digits, (9, 8, 7, 6, 5, 4, 3, 2, -1), strict=True))
    return total % 11 == 0 and len(set(digits)) > 1


def _is_date(year: int, month: int, day: int) -> bool:
    try:
        datetime.date(year, month, day)
    except ValueError:
        return False
    return True


def pl_pesel(digits: str) -> bool:
    """A Polish PESEL: a date whose month tells the century, and weights 1, 3, 7, 9."""
    century, month = divmod(int(digits[2:4]), 20)
    year = (1900, 2000, 2100, 2200, 1800)[century] + int(digits[:2])
    total = sum(int(d) * weight for d, weight in zip(digits, (1, 3, 7, 9, 1, 3, 7, 9, 1, 3, 1), strict=True))
    return total % 10 == 0 and _is_date(year, month, int(digits[4:6]))


def se_personnummer(digits: str) -> bool:
    """A Swedish personal number, with ten or twelve digits: a date (day + 60 for coordination numbers) and Luhn."""
    short = digits[-10:]
    year = int(digits[:4]) if len(digits) == 12 else 2000 + int(short[:2])
    month, day = int(short[2:4]), int(short[4:6])
    day = day - 60 if day > 60 else day
    return luhn(short) and (_is_date(year, month, day) or _is_date(year - 100, month, day))


_D = [[(j + i) % 5 if i < 5 and j < 5 else 0 for j in range(10)] for i in range(10)]
for _i in range(10):
    for _j in range(10):
        # the dihedral group of order 10: rotations 0 to 4, reflections 5 to 9
        _a, _b = _i % 5, _j % 5
        _rotated = (_a + _b) % 5 if _i < 5 else (_a - _b) % 5
        _D[_i][_j] = _rotated + (5 if (_i < 5) != (_j < 5) else 0)
_P = [list(range(10)), [1, 5, 7, 6, 2, 8, 3, 0, 9, 4]]
for _ in range(6):
    _P.append([_P[1][value] for value in _P[-1]])


def verhoeff(digits: str) -> bool:
    """The Verhoeff check (Verhoeff, Error Detecting Decimal Codes, 1969)."""
    check = 0
    for index, digit in enumerate(reversed(digits)):
        check = _D[check][_P[index % 8][int(digit)]]
    return check == 0


def in_aadhaar(digits: str) -> bool:
    """An Indian Aadhaar number: begins with 2 to 9, Verhoeff, no palindrome."""
    return digits[0] >= "2" and digits != digits[::-1] and verhoeff(digits)


def br_cpf(digits: str) -> bool:
    """A Brazilian CPF: two check digits modulo 11, not all alike."""
    if len(set(digits)) == 1:
        return False
    for length in (9, 10):
        total = sum(int(d) * (length + 1 - i) for i, d in enumerate(digits[:length]))
        if total * 10 % 11 % 10 != int(digits[length]):
            return False
    return True


def bare(text: str) -> str:
    """Letters and digits only, in upper case."""
    return re.sub(r"[^0-9A-Z]", "", text.upper())
