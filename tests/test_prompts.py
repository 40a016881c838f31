from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given, settings, strategies as st

from ratchet import prompts
from ratchet.errors import PromptError
from ratchet.records import Json, Message, Prompt


def prompt_of(text: str, **options: Json) -> Prompt:
    return Prompt(messages=({"role": "user", "content": text},), name="greet", **options)


def filled(text: str, variables: Json, **options: Json) -> Json:
    return prompts.render(prompt_of(text, **options), variables)[0]["content"]


def told(path: Path | str, **options: Json) -> PromptError:
    with pytest.raises(PromptError) as caught:
        prompts.load(path, **options)
    return caught.value


NAMED = """
- name: strict
  version: 3
  system:
    value: "Be brief, $Words {{ok}}"
  user:
    value: |
      Q: {question}
      A:
- name: loose
  system: Hi
  examples:
    - {user: "1 + 1", assistant: "2"}
    - {user: "2 + 2", assistant: "4"}
  user: "{question}"
"""


def test_a_named_prompt_is_taken_from_its_file(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text(NAMED)
    strict = prompts.load("a.yaml#strict", root=tmp_path)
    assert (strict.name, strict.path, strict.syntax) == ("strict", str(tmp_path / "a.yaml"), "format")
    assert prompts.render(strict, {"question": "why?"}) == [
        {"role": "system", "content": "Be brief, $Words {ok}"},
        {"role": "user", "content": "Q: why?\nA:\n"},
    ]
    loose = prompts.load(tmp_path / "a.yaml", name="loose")
    assert [(m["role"], m["content"]) for m in loose.messages] == [
        ("system", "Hi"),
        ("user", "1 + 1"),
        ("assistant", "2"),
        ("user", "2 + 2"),
        ("assistant", "4"),
        ("user", "{question}"),
    ]


def test_one_of_several_prompts_must_be_named(tmp_path: Path) -> None:
    path = tmp_path / "a.yaml"
    path.write_text(NAMED)
    assert "holds 2 prompts: strict, loose. Choose one:" in str(told(path))
    error = told("a.yaml#strickt", root=tmp_path)
    assert "Known: strict, loose. Did you mean 'strict'?" in str(error)
    path.write_text("- {name: a, user: x}\n- {name: a, user: y}\n")
    assert "several prompts named 'a'" in str(told(path))


@pytest.mark.parametrize(
    "value",
    [
        {"messages": [{"role": "system", "content": "s"}, {"role": "user", "content": "{q}"}]},
        [{"role": "system", "content": "s"}, {"role": "user", "content": "{q}"}],
        {"system": "s", "user": "{q}"},
        {"prompts": {"only": {"user": {"value": "{q}"}, "system": {"value": "s"}}}},
        {"prompts": [{"name": "only", "system": "s", "user": "{q}"}]},
    ],
)
@pytest.mark.parametrize("suffix", [".json", ".yaml", ".yml"])
def test_every_spelling_gives_the_same_messages(tmp_path: Path, value: Json, suffix: str) -> None:
    path = tmp_path / f"p{suffix}"
    path.write_text(json.dumps(value))
    assert [(m["role"], m["content"]) for m in prompts.load(path).messages] == [
        ("system", "s"),
        ("user", "{q}"),
    ]


def test_text_files_are_one_user_message(tmp_path: Path) -> None:
    (tmp_path / "p.md").write_text("Hello {name}\n")
    assert prompts.load("p.md", root=tmp_path).messages == ({"role": "user", "content": "Hello {name}"},)
    (tmp_path / "p.j2").write_text("Hello {{ name }}\n")
    jinja = prompts.load("p.j2", root=tmp_path)
    assert jinja.syntax == "jinja"
    assert prompts.render(jinja, {"name": "Ada"}) == [{"role": "user", "content": "Hello Ada"}]


def test_a_yaml_file_of_jinja_keeps_values_out_of_the_yaml(tmp_path: Path) -> None:
    (tmp_path / "p.yaml.j2").write_text(
        "system: 'You: {{ who }}'\nuser: '{% for x in xs %}{{ x }};{% endfor %}'\n"
    )
    prompt = prompts.load("p.yaml.j2", root=tmp_path)
    assert [
        m["content"] for m in prompts.render(prompt, {"who": "'\n- {{ who }}", "xs": [1, None, {"a": True}]})
    ] == [
        "You: '\n- {{ who }}",
        '1;null;{"a":true};',
    ]


def test_what_is_not_a_path_is_the_text_itself(tmp_path: Path) -> None:
    for text in ("Summarise {article}", "Explain README.md to me", "one\ntwo.txt", "hello", "x" * 9000):
        assert prompts.load(text, root=tmp_path).messages == ({"role": "user", "content": text},)


def test_a_path_that_leads_nowhere_is_told_and_not_sent_to_a_model(tmp_path: Path) -> None:
    (tmp_path / "support.yaml").write_text("user: hi")
    assert "Did you mean 'support.yaml'?" in str(told("suport.yaml", root=tmp_path))
    assert "neither a prompt file" in str(told("prompts/support", root=tmp_path))
    (tmp_path / "folder.txt").mkdir()
    assert "not a file" in str(told("folder.txt", root=tmp_path))


@pytest.mark.parametrize(
    ("text", "line", "said"),
    [
        ("user: 'a {'", 1, "without its partner"),
        ("system: s\nuser: |\n  fine\n  a } here\n", 4, "write '}}'"),
        ('user: |\n  {"a": 1}\n', 2, "literal braces"),
        ("user: 'a {}'", 1, "names no column"),
        ("user: 'a {x!z}'", 1, "!s, !r or !a"),
        ("user: 'a {x:>99999999}'", 1, "99999999"),
        ("messages:\n- role: usr\n  content: x\n", 2, "Did you mean 'user'?"),
        ("messages:\n- role: user\n  content: [x]\n", 3, "type: text"),
        ("sytem: s\nuser: x\n", 1, "Did you mean 'system'?"),
        ("examples: [{user: x}]\nuser: x\n", 1, "assistant"),
        ("user: [1]\n", 1, "expected text"),
        ("user: [\n", 2, "not YAML"),
        ("{}", 1, "expected {messages"),
        ("name: x", 1, "at least one turn"),
        ("- user: x", 1, "needs a name"),
        ("", None, "found nothing"),
    ],
)
def test_a_malformed_prompt_file_is_told_with_its_line(
    tmp_path: Path, text: str, line: int | None, said: str
) -> None:
    (tmp_path / "p.yaml").write_text(text)
    error = told("p.yaml", root=tmp_path)
    assert (error.file, error.line) == (str(tmp_path / "p.yaml"), line)
    assert said in str(error)


def test_bytes_that_are_not_text_are_told_with_their_line(tmp_path: Path) -> None:
    (tmp_path / "p.txt").write_bytes(b"fine\n\xff")
    assert told("p.txt", root=tmp_path).line == 2


def test_a_missing_variable_names_the_prompt_and_the_columns() -> None:
    for text, syntax in (("Hi {naem}", "format"), ("Hi {{ naem }}", "jinja")):
        with pytest.raises(PromptError) as caught:
            filled(text, {"name": "Ada", "age": 3}, syntax=syntax)
        assert str(caught.value) == (
            "greet: needs the variable 'naem', which the example doesn't have. "
            "Columns there are: name, age. Did you mean 'name'?"
        )


@pytest.mark.parametrize(
    ("text", "written"),
    [
        ("{s}|{n}|{f}|{b}|{z}", "text|3|2.5|true|null"),
        ("{o} {l}", '{"a":{"b":"é"}} [1,"x"]'),
        ("{o.a.b} {o[a][b]} {l[1]}", "é é x"),
        ("{a.b}", "dotted"),
        ("{two words}", "yes"),
        ("{n:03d} {f:.2f} {s:>6} {s!r} {n!s:>3}", "003 2.50   text 'text'   3"),
        ("{{{s}}} $s %s {{}}", "{text} $s %s {}"),
    ],
)
def test_fields_are_written_as_text_or_json(text: str, written: str) -> None:
    variables = {
        "s": "text",
        "n": 3,
        "f": 2.5,
        "b": True,
        "z": None,
        "o": {"a": {"b": "é"}},
        "l": [1, "x"],
        "a.b": "dotted",
        "two words": "yes",
    }
    assert filled(text, variables) == written


@pytest.mark.parametrize(
    "text",
    ["{o.__class__}", "{s.upper}", "{l[7]}", "{l[-1]}", "{o[b]}", "{s:.2f}", "{o:>5}", "{z:d}", "{s[0]}"],
)
def test_fields_reach_into_json_values_and_never_into_objects(text: str) -> None:
    with pytest.raises(PromptError, match="can't be"):
        filled(text, {"s": "text", "o": {"a": 1}, "l": [1], "z": None})


def test_values_are_never_read_as_templates() -> None:
    hostile = "{secret} {{ secret }} {0.__class__} {% raw %}"
    for text, syntax in (("{a}", "format"), ("{{ a }}", "jinja")):
        assert filled(text, {"a": hostile, "secret": "s3cret"}, syntax=syntax) == hostile


def test_text_is_the_input_and_messages_take_its_place() -> None:
    chat: list[Message] = [{"role": "user", "content": "{raw}"}, {"role": "assistant", "content": "ok"}]
    assert filled("Say: {input}", "hi") == "Say: hi"
    assert filled("Say: {input}", {"a": 1}) == 'Say: {"a":1}'
    assert prompts.render(None, "hi") == [{"role": "user", "content": "hi"}]
    assert prompts.render(None, chat) == chat
    assert prompts.render(None, {"messages": chat}) == chat
    system: Message = {"role": "system", "content": "Be kind"}
    around = Prompt(
        messages=(system, {"role": "user", "content": "{input}"}, {"role": "user", "content": "Now?"})
    )
    assert prompts.render(around, chat) == [system, *chat, {"role": "user", "content": "Now?"}]
    assert prompts.render(Prompt(messages=(system,)), chat) == [system, *chat]
    assert prompts.render(prompt_of("{{ input }}", syntax="jinja"), chat) == chat
    assert prompts.render(prompt_of("{{input}}"), chat) == [{"role": "user", "content": "{input}"}, *chat]
    with pytest.raises(PromptError, match="there is no prompt"):
        prompts.render(None, {"question": 1})


def test_parts_of_a_message_are_templates_too_and_other_keys_stay() -> None:
    parts = [{"type": "text", "text": "{q}"}, {"type": "image_url", "image_url": {"url": "{u}", "n": 1}}]
    prompt = Prompt(messages=({"role": "user", "content": parts, "name": "{q}"},))
    assert prompts.variables(prompt) == {"q", "u"}
    assert prompts.render(prompt, {"q": "why", "u": "http://x"}) == [
        {
            "role": "user",
            "content": [
                {"type": "text", "text": "why"},
                {"type": "image_url", "image_url": {"url": "http://x", "n": 1}},
            ],
            "name": "{q}",
        }
    ]


def test_variables_are_known_before_any_call() -> None:
    assert prompts.variables(prompt_of("{a} {b.c} {d[0]} {{e}} {a:>3}")) == {"a", "b", "d"}
    jinja = prompt_of("{{ a }}{% for x in b %}{{ x }}{% endfor %}{{ range(3)|list }}", syntax="jinja")
    assert prompts.variables(jinja) == {"a", "b"}
    prompts.check(prompt_of("{a.b} {c.d} {input}"), ["a.b", "c"])
    with pytest.raises(PromptError, match="Did you mean 'title'"):
        prompts.check(prompt_of("{titel}"), ["title"])


@pytest.mark.parametrize(
    "text",
    [
        "{{ ''.__class__.__mro__ }}",
        "{{ x|attr('__class__') }}",
        "{{ x.append(1) }}",
        "{{ 'a' * 1000000000 }}",
        "{{ 9 ** 9 ** 9 ** 9 }}",
        "{{ 9 ** 99999999 }}",
        "{{ 'a'.ljust(1000000000) }}",
        "{{ '%999999999d' % 1 }}",
        "{% for i in range(9999) %}{% for j in range(9999) %}{% endfor %}{% endfor %}",
        "{% for i in range(99999) %}{% for j in range(9) %}" + "x" * 200 + "{% endfor %}{% endfor %}",
        "{% include 'secret' %}",
        "{% import 'os' as os %}",
        "{% macro a() %}{{ a() }}{% endmacro %}{{ a() }}",
        "{{ self }}",
        "{{ dict }}",
        "{{ x.nothing }}",
        "{% for",
        "{{ a b }}",
        "{{ x|nothing }}",
    ],
)
def test_a_hostile_jinja_template_is_an_error_that_names_the_prompt(text: str) -> None:
    with pytest.raises(PromptError, match="greet"):
        filled(text, {"x": [1]}, syntax="jinja")


def test_a_syntax_error_in_jinja_names_its_line(tmp_path: Path) -> None:
    (tmp_path / "p.j2").write_text("one\ntwo {% for %}\n")
    assert told("p.j2", root=tmp_path).line == 2


def test_a_changed_prompt_is_compiled_anew() -> None:
    for number in range(600):
        assert filled(f"{number} {{a}}", {"a": "x"}) == f"{number} x"


pieces = st.lists(
    st.sampled_from(
        [*list("{}!:.[]ab0_ %#'\"\n"), "{{", "}}", "{a}", "{% ", " %}", "__class__", "for", "secret"]
    )
).map("".join)
values = st.recursive(st.none() | st.booleans() | st.integers() | st.text(), st.lists, max_leaves=4)


@settings(max_examples=200, deadline=None)
@given(text=pieces, value=values, syntax=st.sampled_from(["format", "jinja"]))
def test_any_template_renders_or_says_why_not(text: str, value: Json, syntax: str) -> None:
    try:
        content = filled(text, {"a": value, "b": {"c": value}}, syntax=syntax)
    except PromptError:
        return
    assert isinstance(content, str)
    assert "<class" not in content
    assert "object at 0x" not in content


@settings(max_examples=100, deadline=None)
@given(text=st.text(), value=st.text())
def test_escaped_text_comes_out_as_it_went_in(text: str, value: str) -> None:
    escaped = text.replace("{", "{{").replace("}", "}}")
    assert filled(f"{escaped}{{v}}{escaped}", {"v": value}) == f"{text}{value}{text}"
