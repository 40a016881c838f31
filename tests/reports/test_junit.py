from __future__ import annotations

from xml.etree import ElementTree

from ratchet import costs
from ratchet.reports import junit

from .samples import HOSTILE, evidence, results, verdict


def _cases(text: str) -> dict[str, ElementTree.Element]:
    return {case.get("name", ""): case for case in ElementTree.fromstring(text).iter("testcase")}


def test_failed_checks_fail_open_ones_too_and_reports_are_skipped() -> None:
    cases = _cases(junit.render(verdict(), evidence()))
    assert cases["exact_match: at most 2 pp worse"].find("failure") is not None
    assert cases["cost_usd: better by 30 % or more"].find("failure") is None
    assert cases["output_tokens: no worse"].find("skipped") is not None
    failure = cases["judge: at most 0.03 worse"].find("failure")
    assert failure is not None
    assert failure.get("type") == "inconclusive"


def test_inconclusive_may_pass() -> None:
    cases = _cases(junit.render(verdict("inconclusive"), evidence(), inconclusive="pass"))
    assert cases["judge: at most 0.03 worse"].find("failure") is None
    assert cases["verdict"].find("failure") is None


def test_an_invalid_check_is_an_error() -> None:
    broken = verdict("invalid").replace(results=(results()[1].replace(outcome="invalid"),))
    cases = _cases(junit.render(broken, evidence()))
    assert all(case.find("error") is not None for case in cases.values())


def test_the_suite_counts_what_it_holds() -> None:
    suite = ElementTree.fromstring(junit.render(verdict(), evidence())).find("testsuite")
    assert suite is not None
    assert [suite.get(k) for k in ("tests", "failures", "errors", "skipped")] == ["6", "3", "0", "1"]


def test_hostile_text_is_valid_xml_without_control_characters() -> None:
    text = junit.render(verdict(text=HOSTILE + "\ufffe\x0b"), evidence(text=HOSTILE))
    ElementTree.fromstring(text.encode())
    assert not {"\x1b", "\x00", "\u202e", "\ufffe", "\x0b"} & set(text)


def test_the_cost_case_stands_in_properties_and_hostile_names_in_it_are_clean() -> None:
    arms = ("champion" + HOSTILE, "challenger")
    found = evidence(arms=arms)
    case = costs.section(found, baseline=arms[0], candidate=arms[1])
    text = junit.render(verdict().replace(cost_case=case), found)
    properties = {
        each.get("name"): str(each.get("value"))
        for each in ElementTree.fromstring(text.encode()).iter("property")
    }
    assert properties["ratchet.cost_case"].startswith("challenger saves")
    assert float(properties["ratchet.saving_per_call_usd"]) > 0
    assert "ratchet.saving_per_month_usd" not in properties
    assert not {"\x1b", "\x00", "\u202e"} & set(text)


def test_without_a_cost_case_there_are_no_properties() -> None:
    assert "<propert" not in junit.render(verdict(), evidence())
