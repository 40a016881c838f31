"""A verdict as JUnit XML: one test case a check, and one for the verdict itself."""

from __future__ import annotations

import re
from typing import Literal
from xml.etree import ElementTree

from ratchet import codec
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


def _verdict_case(
    suite: ElementTree.Element, verdict: Verdict, evidence: Evidence | None, inconclusive: str
) -> None:
    case = ElementTree.SubElement(suite, "testcase", classname="ratchet.verdict", name="verdict")
    said = views.sentence(verdict, evidence)
    if verdict.outcome == "hold":
        _mark(case, "failure", said, kind="hold")
    elif verdict.outcome == "invalid":
        _mark(case, "error", said, kind="invalid")
    elif verdict.outcome == "inconclusive":
        _mark(case, "failure" if inconclusive == "fail" else "skipped", said, kind="inconclusive")
    else:
        ElementTree.SubElement(case, "system-out").text = _clean(said)


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
