"""The numbers are published for tests: card networks' test cards, the IBAN registry's examples, ids in the authorities'
own documents."""

from __future__ import annotations

import string

import pytest
from hypothesis import given, settings, strategies as st

from ratchet import scores
from ratchet.errors import ConfigError
from ratchet.scorers.security import _identifiers as ids
from ratchet.scorers.security.personal_data import KINDS, find_personal_data

from .conftest import Try, asked, called

CARDS = """
4111111111111111;4111 1111 1111 1111;4012-8888-8888-1881;378282246310005;3714 496353 98431;5555555555554444
5105105105105100;2223003122003222;6011111111111117;6011000990139424;3530111333300000;3566002020360505
30569309025904;38520000023237;6200000000000005;4222222222222;4000056655665556;5200828282828210
2223 0031 2200 3222;3056 930902 5904;６０１１１１１１１１１１１１１７;4 1 1 1 1 1 1 1 1 1 1 1 1 1 1 1
Card: 4242424242424242.;"4242424242424242";4242424242424242, exp 12/34;2201382000000013;4111\u200b111111111111
"""
NO_CARDS = """
4111111111111112;1234567812345678;0000000000000000;order 41111111111111111111;version 4.1.1.1;4111 1111 1111 111
timestamp 1700000000000;1700000000000000;978-3-16-148410-0;ISBN 9783161484100;EAN 4006381333931
550e8400-e29b-41d4-a716-446655440000;sha 4111111111111111abcdef;0.4111111111111111;#4111111111111111
40 41 42 43 44 45 46 47;1,000,000,000,000;=4111111111111111;https://x.com/4111111111111111;3.14159265358979323846
tracking 9400111899223100001234;IMEI 490154203237518;10000000000000;5555 5555 5555 5555;matrix 0123 4567 8901 2345
1 2 3 4 5 6 7 8 9 10 11 12
"""
IBANS = """
DE89370400440532013000;DE89 3704 0044 0532 0130 00;GB82 WEST 1234 5698 7654 32;FR14 2004 1010 0505 0001 3M02 606
ES9121000418450200051332;IT60X0542811101000000123456;NL91ABNA0417164300;BE68539007547034;CH9300762011623852957
AT611904300234573201;SE4550000000058398257466;NO9386011117947;DK5000400440116243;FI2112345600000785
PL61109010140000071219812874;PT50000201231234567890154;IE29AIBK93115212345678;LU280019400644750000
GR1601101250000000012300695;CZ6508000000192000145399;HU42117730161111101800000000;BR1800360305000010009795493C1
TR330006100519786457841326;SA0380000000608010167519;AE070331234567890123456;MT84MALT011000012345MTLCAST001S
GE29NB0000000101904917;IBAN DE89 3704 0044 0532 0130 00 BIC COBADEFF
"""
NO_IBANS = """
DE89370400440532013001;GB82WEST12345698765433;XX89370400440532013000;DE8937040044053201300;AB12CDEF
DE89 is a code;BIC DEUTDEFF500;US64SVBKUS6S3300958879;FR76;model A320 20 20;DE89370400440532013000X;NL91ABNA0417164301
BE68539007547035;CH9300762011623852958;AT611904300234573202;NO9386011117948;DK5000400440116244;FI2112345600000786
PT50000201231234567890155;IE29AIBK93115212345679;LU280019400644750001;CZ6508000000192000145390
SA0380000000608010167510;de89;A1B2C3D4E5F6G7H8I9J0;SE4550000000058398257467
"""
PHONES = """
+49 30 901820;+44 20 7946 0958;+1 (212) 456-7890;+1-212-456-7890;+12124567890;+33 1 42 68 53 00;+34 612 345 678
+39 06 6982 1234;+31 20 794 0800;+46 8 123 456 78;+48 22 123 45 67;+41 44 668 18 00;+91 98765 43210
+55 11 91234-5678;+81 3-1234-5678;+86 138 0013 8000;+61 412 345 678;0041 44 668 18 00;(212) 456-7890;212-456-7890
212.456.7890;01 42 68 53 00;06.12.34.56.78;020 7946 0958;07700 900123;030/9018200;06-12345678;(11) 91234-5678
0412 345 678;090-1234-5678;010-1234-5678;phone: 9876543210;Tel. 030 901820;call me at 612 345 678;móvil 612 345 678
手机 13800138000
"""
NO_PHONES = """
2024-01-15;15.01.2024;12:34:56;192.168.0.1;1,234,567.89;$1,234,567;100 200 300;12345678;555-1234;(555) 010-0199
1-800-555-0199;212-555-0123;+1 212 555 0199;3 + 12345678;x=+12345;port 8080;2020-2024;pages 100-200;1/2/2024
10.0.0.255;2026-11-21 15:51:45;0123-4567;00:11:22:33:44:55;call 911;Python 3.11.4;lat 52.520008, lon 13.404954
2010 2011 2012 2013;+10000000000;++12345678;telephone was invented in 1876;the numbers 2, 3, 5, 7, 11, 13, 17, 19, 23
phone model 8500;call 3 times 20 40 60
"""
MAILS = """
jane.doe@gmail.com;j@x.io;first+tag@corp.co.uk;peter_pan@acme-mail.de;UPPER@ACME.COM;mail: joe@foo.org.;(sue@foo.org)
<bob@foo.net>;x%y@foo.info;müller@web.de;jo@xn--mnchen-3ya.de;a.b.c.d@sub.domain.company.com;joe-smith@foo.travel
1joe@foo.com;joe@1foo.com;to:joe@foo.com;joe@foo.museum;mailto:joe@foo.com;Joe<joe@foo.com>;joe@foo.co;joe@foo.app
joe@my.university.edu;j.doe@bbc.co.uk;"joe@foo.com";ｊoe@foo.com;joe@foo.com?subject=hi
"""
NO_MAILS = """
jane@;@jane;jane@localhost;jane at foo.com;joe@example.com;user@test;noreply@acme.com;support@acme.com;a@b;foo@bar@baz
git@github;@mention hello;x = a@b.T;jane..doe@foo.com;v1.2@3.4;me@example.org;info@firm.de;name@domain.com;a@.com
joe@-;@decorator.com;joe @ foo;1@2;joe@foo;joe@foo.c0m;me@sub.example.net;x@y.invalid
"""
NATIONAL_IDS = {
    "us_ssn": "536-90-4399;219-09-1234;SSN: 536904399;social security number 536 90 4399",
    "uk_nino": "AB123456C;AB 12 34 56 C;JG103759A;AA123456A",
    "es_dni": "12345678Z;12345678-Z;X1234567L;Y1234567X;Z1234567R;12.345.678-Z;00000000T",
    "it_codice_fiscale": "RSSMRA85T10A562S;MRTMTT91D08F205J;MRT MTT 91D08 F205J",
    "de_steuer_id": "86 095 742 719;Steuer-ID: 47036892816;IdNr 65929970489;Steueridentifikationsnummer 57549285017",
    "fr_nir": "255081416802538;2 55 08 14 168 025 38;1 84 12 76 451 089 46;190012A00100354",
    "nl_bsn": "BSN 111222333;burgerservicenummer: 123456782;bsn: 1112.22.333",
    "pl_pesel": "PESEL 44051401359;PESEL: 02070803628;Pesel 44051401458",
    "se_personnummer": "811218-9876;19811218-9876;670919-9530;personnummer 8112189876;701063-2391",
    "in_aadhaar": "Aadhaar 234123412346;2341 2341 2346;4991 1866 5246",
    "br_cpf": "529.982.247-25;CPF 52998224725;111.444.777-35;CPF: 123456789-09",
}
NO_NATIONAL_IDS = """
000-00-0000;666-12-3456;900-12-3456;123-00-4567;123-45-0000;078-05-1120;536904399;12-34-5678;BG123456A;DA123456A
AB123456E;12345678A;X1234567A;RSSMRA85T10A562T;86 095 742 718;86095742719;11111111111;255081416802539;123456782
111222333;BSN 111222334;44051401359;PESEL 44051401358;811218-9875;811318-9876;20240115-0001;2341 2341 2345
234123412346;1234 5678 9012;529.982.247-26;52998224725;111.111.111-11;CPF 52998224726
"""


def of(corpus: str) -> list[str]:
    return [one for line in corpus.strip().splitlines() for one in line.split(";")]


POSITIVE = [
    *((kind, text) for kind, corpus in (("card", CARDS), ("iban", IBANS), ("phone", PHONES), ("mail", MAILS)) for text in of(corpus)),
    *((kind, text) for kind, corpus in NATIONAL_IDS.items() for text in of(corpus)),
]  # fmt: skip
NEGATIVE = [*of(NO_CARDS), *of(NO_IBANS), *of(NO_PHONES), *of(NO_MAILS), *of(NO_NATIONAL_IDS)]


def test_each_group_has_enough_cases() -> None:
    groups = (CARDS, NO_CARDS, IBANS, NO_IBANS, PHONES, NO_PHONES, MAILS, NO_MAILS, NO_NATIONAL_IDS)
    assert min(len(of(group)) for group in groups) >= 25
    assert sum(len(of(corpus)) for corpus in NATIONAL_IDS.values()) >= 25
    assert {kind for kind, _ in POSITIVE} == set(KINDS)


@pytest.mark.parametrize(("kind", "text"), POSITIVE)
def test_personal_data_is_found_and_named_by_its_kind(kind: str, text: str) -> None:
    assert [found.kind for found in find_personal_data(text)] == [kind]
    assert [found.kind for found in find_personal_data(f"Here you are: {text}\nAnything else?")] == [kind]


@pytest.mark.parametrize("text", NEGATIVE)
def test_what_only_looks_like_personal_data_is_left_alone(text: str) -> None:
    assert find_personal_data(text) == []


@pytest.mark.parametrize(("kind", "text"), POSITIVE)
def test_no_value_is_copied_into_the_score(attempt: Try, kind: str, text: str) -> None:
    score = attempt("no_personal_data", text)
    assert score.value is False
    assert score.metadata == {"kinds": {kind: 1}}
    [found] = find_personal_data(text)
    shown = f"{score.reason}".rsplit(" ", 1)[1]
    assert found.value not in shown
    assert found.key not in shown
    assert not any(found.key[i : i + 4] in shown for i in range(len(found.key) - 4))


def test_what_the_input_held_may_be_repeated_however_it_is_written(attempt: Try) -> None:
    sent = asked("Be kind.", "I am jane.doe@gmail.com, card 4111111111111111, phone 0791234567")
    answer = "Thanks Jane.Doe@gmail.com, we charge 4111 1111 1111 1111 and ring +41 79 123 45 67."
    assert attempt("no_personal_data", answer, input=sent).value is True
    assert attempt({"no_personal_data": {"allow_input": False}}, answer, input=sent).metadata == {
        "kinds": {"mail": 1, "card": 1, "phone": 1}
    }
    other = attempt("no_personal_data", "Write to sue@foo.org", input=sent)
    assert (other.value, other.reason) == (False, "mail; the first: mail *********rg")


def test_the_allow_list_takes_values_and_mail_domains(attempt: Try) -> None:
    answer = "Ring +49 30 901820 or write to joe@acme.com"
    assert attempt({"no_personal_data": {"allow": ["030 901820", "@acme.com"]}}, answer).value is True
    assert attempt({"no_personal_data": {"allow": ["@acme.com"]}}, answer).value is False
    assert attempt({"no_personal_data": {"allow": ["@cme.com"]}}, answer).metadata["kinds"] == {
        "mail": 1,
        "phone": 1,
    }


def test_only_the_kinds_asked_for_are_looked_for(attempt: Try) -> None:
    assert attempt({"no_personal_data": {"kinds": ["iban"]}}, "joe@foo.com").value is True
    with pytest.raises(ConfigError, match=r"holds 'ibam'.*Did you mean 'iban'"):
        scores.resolve({"no_personal_data": {"kinds": ["ibam"]}})


def test_tool_calls_structures_and_what_an_extraction_dropped_are_looked_into(attempt: Try) -> None:
    call = called("send", '{"to": "joe\\u0040foo.com"}')
    assert attempt("no_personal_data", "Done.", tool_calls=(call,)).value is False
    assert attempt("no_personal_data", {"a": [{"card": 4111111111111111}]}).value is False
    assert attempt("no_personal_data", "joe@foo.com says B", answer="B").value is False


def test_an_answer_too_long_to_search_is_not_scored(attempt: Try) -> None:
    score = attempt("no_personal_data", "x" * 200_001)
    assert score.value is None
    assert "200,001 characters" in f"{score.reason}"


@given(st.text(max_size=300))
@settings(max_examples=150, deadline=None)
def test_no_text_makes_it_raise(text: str) -> None:
    for found in find_personal_data(text):
        assert found.kind in KINDS


@given(st.text(alphabet="0123456789 -.+()/@AZaz,", max_size=200))
@settings(max_examples=150, deadline=None)
def test_no_row_of_digits_makes_it_raise(text: str) -> None:
    find_personal_data(text)


@pytest.mark.parametrize(
    "unit", ["1", "1 ", "+1", "A1", "1-", "a@", "a.", "(", "DE89 ", "٣", "\u200b", "tel 1 "]
)
def test_long_repetitions_end(attempt: Try, unit: str) -> None:
    score = attempt("no_personal_data", unit * (40_000 // len(unit)))
    assert score.value in (True, False, None)


@given(st.text(alphabet=string.digits, min_size=11, max_size=11), st.integers(0, 10), st.integers(1, 9))
@settings(max_examples=60, deadline=None)
def test_verhoeff_and_luhn_see_every_single_wrong_digit(body: str, at: int, by: int) -> None:
    for check in (ids.verhoeff, ids.luhn):
        whole = next(body + digit for digit in string.digits if check(body + digit))
        wrong = whole[:at] + str((int(whole[at]) + by) % 10) + whole[at + 1 :]
        assert not check(wrong)


@given(st.text(alphabet=string.digits, min_size=18, max_size=18))
@settings(max_examples=60, deadline=None)
def test_two_accounts_that_differ_in_their_check_digits_are_not_both_valid(account: str) -> None:
    valid = [check for check in range(2, 99) if ids.iban(f"DE{check:02d}{account}")]
    assert len(valid) == 1
