"""A verdict as JUnit XML: one test case a check, and one for the verdict itself."""

from __future__ import annotations

import re
from typing import Literal
from xml.etree import ElementTree

from ratchet import codec, costs
from ratchet.costs import texts as said
from ratchet.costs.records import Range
from ratchet.evidence import Evidence
from ratchet.records import Verdict
from ratchet.reports import texts, views
from ratchet.reports.views import Line

# what XML 1.0 allows in no form, not even escaped
_FORBIDDEN = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def render(
    verdict: Verdict, evidence: Evidence | None = None, *, inconclusive: Literal["pass", "fail"] = "fail"
) -> str:
    """The verdict as XML text.

    A failed check is a failure, an invalid one an error, a reported one skipped; an open one is a failure of type
    "inconclusive", or skipped under `inconclusive="pass"`.
    """
    shown = views.lines(verdict, evidence)
    called = views.names(verdict, evidence)
    suite = ElementTree.Element("testsuite", name=_clean(f"ratchet: {called.baseline} to {called.candidate}"))
    _properties(suite, verdict)
    _verdict_case(suite, verdict, evidence, inconclusive)
    for item in shown:
        _case(suite, item, inconclusive)
    for name in ("failure", "error", "skipped"):
        found = sum(case.find(name) is not None for case in suite.iter("testcase"))
        suite.set({"failure": "failures", "error": "errors"}.get(name, name), str(found))
    suite.set("tests", str(len(suite.findall("testcase"))))
    if verdict.warnings:
        ElementTree.SubElement(suite, "system-out").text = _clean("\n".join(verdict.warnings))
    root = ElementTree.Element("testsuites")
    root.append(suite)
    ElementTree.indent(root)
    return '<?xml version="1.0" encoding="UTF-8"?>\n' + ElementTree.tostring(root, encoding="unicode") + "\n"


def _properties(suite: ElementTree.Element, verdict: Verdict) -> None:
    """The cost case: its sentence, and the saving a call and a month with the ends of their 95 % intervals."""
    case = costs.read(verdict.cost_case)
    if case is None:
        return
    named: dict[str, object] = {"cost_case": said.sentence(case)}
    migration = case.migration
    if migration is not None:
        named["spent_on_validation_usd"] = migration.spent_usd
        for name in ("saving_per_call_usd", "saving_per_month_usd"):
            found: Range | None = getattr(migration, name)
            if found is not None:
                named |= {name: found.value, f"{name}_low": found.low, f"{name}_high": found.high}
    properties = ElementTree.SubElement(suite, "properties")
    for name, value in named.items():
        if value is not None:
            ElementTree.SubElement(properties, "property", name=f"ratchet.{name}", value=_clean(str(value)))


def _verdict_case(
    suite: ElementTree.Element, verdict: Verdict, evidence: Evidence | None, inconclusive: str
) -> None:
    case = ElementTree.SubElement(suite, "testcase", classname="ratchet.verdict", name="verdict")
    sentence = views.sentence(verdict, evidence)
    if verdict.outcome == "hold":
        _mark(case, "failure", sentence, kind="hold")
    elif verdict.outcome == "invalid":
        _mark(case, "error", sentence, kind="invalid")
    elif verdict.outcome == "inconclusive":
        _mark(case, "failure" if inconclusive == "fail" else "skipped", sentence, kind="inconclusive")
    else:
        ElementTree.SubElement(case, "system-out").text = _clean(sentence)


def _case(suite: ElementTree.Element, item: Line, inconclusive: str) -> None:
    result = item.result
    name = _clean(f"{item.title}: {item.rule}")
    case = ElementTree.SubElement(suite, "testcase", classname=f"ratchet.{result.check.dimension}", name=name)
    message = f"{views.describe(item)}, n {result.n:,}"
    message += f": {result.reason}" if result.reason else ""
    if result.outcome == "failed":
        _mark(case, "failure", message, kind="worse")
    elif result.outcome == "invalid":
        _mark(case, "error", message, kind="invalid")
    elif result.outcome == "reported":
        _mark(case, "skipped", message)
    elif result.outcome == "open":
        _mark(case, "failure" if inconclusive == "fail" else "skipped", message, kind="inconclusive")
    else:
        ElementTree.SubElement(case, "system-out").text = _clean(message)


def _mark(case: ElementTree.Element, tag: str, message: str, *, kind: str | None = None) -> None:
    found = ElementTree.SubElement(case, tag, message=_clean(message))
    if kind and tag != "skipped":
        found.set("type", kind)
    found.text = found.get("message")


def _clean(text: str) -> str:
    return _FORBIDDEN.sub("", texts.visible(codec.clean_text(text)))
