"""What the chat template tests render: small cases of the language, templates of our own, and chats."""

VARIABLES = {
    "s": "héllo",
    "l": [1, 2, 3],
    "d": {"a": 1, "b": {"c": "x"}, "n": None},
    "messages": [{"role": "user", "content": "hi"}, {"role": "assistant", "content": "<think>a</think>\n\nb"}],
}

# One template a line.
_LINES = r"""
{{ 1 + 2 * 3 ** 2 }} {{ 7 // 2 }} {{ -7 // 2 }} {{ -7 % 3 }} {{ 7 / 2 }} {{ 1e3 }} {{ 10 ** 2 }} {{ 2 ** -1 }} {{ 1_000 }}
{{ 0.1 + 0.2 }} {{ 1.0 }} {{ 1e16 }} {{ 1e22 }} {{ 123456789.123 }} {{ 1e-5 }} {{ 0.0001 }} {{ 3.0 // 2 }} {{ -3.5 % 2 }}
{{ "a" ~ 1 ~ none ~ true ~ 1.5 ~ [1, "x"] ~ {"k": (1,)} }}
{{ "a" "b" 'c' }} {{ "tab\tq\"\\ \u00e9 \x41 \q" }}
{{ 'ab' * 3 }} {{ [1] + [2, 3] }} {{ (1, 2) + (3,) }} {{ () }} {{ (1,) }}
{{ 1 < 2 < 3 }} {{ 1 < 2 > 3 }} {{ 1 == 1.0 }} {{ true == 1 }} {{ 'a' < 'b' }} {{ [1, 2] < [1, 3] }} {{ 'a' != 'b' }}
{{ 'b' in 'abc' }} {{ 2 not in [1, 3] }} {{ 'k' in {'k': 1} }} {{ 'x' in undefined_thing }} {{ not 1 == 2 }}
{{ none or 'x' }} {{ '' and 'x' }} {{ 0 or [] or 'last' }} {{ 1 and 2 }} {{ not '' }} {{ not not 'a' }}
{{ 'yes' if true else 'no' }} {{ 'yes' if false }}| {{ 1 if false else 2 if false else 3 }}
{{ s[0] }} {{ s[-1] }} {{ s[1:3] }} {{ s[::-1] }} {{ s[:-1] }} {{ s[-3:] }} {{ s[::2] }} {{ s[100] }}| {{ l[1:] }} {{ l[::-1] }} {{ l[-2:] }} {{ l[5:1:-2] }}
{{ d.a }} {{ d['a'] }} {{ d.b.c }} {{ d.missing }}| {{ d['missing'] is defined }} {{ d.get('a') }} {{ d.get('z', 9) }} {{ d.get('z') }} {{ l.0 }} {{ d.items is defined }}
{% for k, v in d.items() %}{{ k }}={{ v }};{% endfor %} {% for k in d %}{{ k }}{% endfor %} {{ d.keys()|list }} {{ d.values()|list }}
{% for x in l %}{{ loop.index }}{{ loop.index0 }}{{ loop.first }}{{ loop.last }}{{ loop.length }}{{ loop.revindex }}{{ loop.revindex0 }}{{ loop.previtem }}{{ loop.nextitem }};{% endfor %}
{% for x in [] %}a{% else %}empty{% endfor %}{% for x in [1] %}a{% else %}empty{% endfor %}
{% for x in l if x > 2 %}{{ x }}/{{ loop.length }} {% endfor %}
{% for x in range(10) %}{% if x == 2 %}{% continue %}{% endif %}{% if x == 5 %}{% break %}{% endif %}{{ x }}{% endfor %}
{% for a, b in [(1, 2), (3, 4)] %}{{ a }}-{{ b }} {% endfor %}{% for (a, b) in [[5, 6]] %}{{ a + b }}{% endfor %}
{% for x in [1, 2] %}{% for y in 'ab' %}{{ loop.index }}{{ x }}{{ y }} {% endfor %}{{ loop.index }}{% endfor %}
{% set x = 1 %}{% for i in [1, 2] %}{% set x = x + i %}{{ x }} {% endfor %}{{ x }}
{% set ns = namespace(x=1, y='a') %}{% for i in [1, 2] %}{% set ns.x = ns.x + i %}{% endfor %}{{ ns.x }}{{ ns.y }}{% set ns.z = [1] %}{{ ns.z }}
{% set a, b = 1, 2 %}{{ a }}{{ b }} {% set t = 1, 2 %}{{ t }}
{% set x %}block {{ 1 + 1 }}{% endset %}[{{ x }}] {{ x|length }}
{% if 0 %}a{% elif [] %}b{% elif 'x' %}c{% else %}d{% endif %}{% if none %}a{% else %}e{% endif %}
{% macro m(a, b='B', c=a) %}<{{ a }}|{{ b }}|{{ c }}>{% endmacro %}{{ m(1) }}{{ m(1, 2) }}{{ m(b=3, a=4) }}{{ m('x', c=none) }}
{% macro f(n) %}{% if n > 0 %}{{ n }}{{ f(n - 1) }}{% endif %}{% endmacro %}{{ f(4) }}
{% set g = 'G' %}{% macro m() %}{{ g }}{{ loop is defined }}{% endmacro %}{% for i in [1] %}{{ m() }}{% endfor %}
{{ '  a b '|trim }}|{{ '  x'.lstrip() }}|{{ 'x  '.rstrip() }}|{{ '\n x \n'.strip() }}|{{ 'xxaxx'.strip('x') }}|{{ '--a'|trim('-') }}|{{ '\u00a0a\u2003'|trim }}|
{{ 'a,b,,c'.split(',') }} {{ ' a  b '.split() }} {{ 'a b c'.split(' ', 1) }} {{ 'a-b-c'.rsplit('-', 1) }} {{ 'abc'.split('x') }} {{ 'a  b c '.split(none, 1) }}
{{ 'a\nb\r\nc\n'.splitlines() }} {{ 'abc'.startswith('ab') }} {{ 'abc'.endswith(('x', 'bc')) }} {{ 'abc'.find('c') }} {{ 'éa'.find('a') }} {{ 'aXbX'.rfind('X') }} {{ 'aaa'.count('a') }}
{{ 'hello World'.upper() }} {{ 'Hello'.lower() }} {{ 'hello wORLD'.capitalize() }} {{ "hello wORLD it's".title() }} {{ 'ß É'.upper() }} {{ 'abab'.replace('a', 'x') }} {{ 'abab'.replace('a', 'x', 1) }} {{ 'abab'|replace('b', '') }}
{{ 'x'.join(['a', 'b']) }} {{ '12'.isdigit() }} {{ 'a1'.isalpha() }} {{ ' '.isspace() }} {{ 'prefix-x'.removeprefix('prefix-') }} {{ 'a.txt'.removesuffix('.txt') }}
{{ l|length }} {{ s|length }} {{ d|count }} {{ l|first }} {{ l|last }} {{ 'abc'|first }} {{ l|join(', ') }} {{ l|join }} {{ [{'n': 1}, {'n': 2}]|join('-', attribute='n') }}
{{ l|map('string')|list }} {{ ['a', 'b']|map('upper')|join }} {{ [{'n': 1}, {}]|map(attribute='n', default=0)|list }} {{ [{'n': {'m': 5}}]|map(attribute='n.m')|list }} {{ ['ab', 'c']|map('replace', 'a', 'z')|list }}
{{ l|select('odd')|list }} {{ l|reject('equalto', 2)|list }} {{ [0, 1, '']|select|list }} {{ [{'r': 'u'}, {'r': 'a'}]|selectattr('r', 'equalto', 'u')|list }} {{ [{'r': 'u'}, {}]|rejectattr('r', 'defined')|list }} {{ [{'r': 1}, {'r': 0}]|selectattr('r')|list }}
{{ missing|default('dflt') }} {{ ''|default('x') }}| {{ ''|default('x', true) }} {{ none|default('x') }} {{ 0|d('z', boolean=true) }}
{{ '12'|int }} {{ 'x'|int }} {{ 'x'|int(7) }} {{ '3.9'|int }} {{ 3.9|int }} {{ '1.5'|float }} {{ 'q'|float }} {{ 3|float }} {{ -3|abs }} {{ true|int }} {{ 5|string + '!' }}
{{ [3, 1, 2]|sort }} {{ ['b', 'A', 'c']|sort }} {{ ['b', 'A', 'c']|sort(case_sensitive=true) }} {{ [{'n': 2}, {'n': 1}]|sort(attribute='n') }} {{ [1, 2, 3]|sort(reverse=true) }} {{ [1, 2]|reverse|list }} {{ 'abc'|reverse }}
{{ [1, 1, 2, 'a', 'A']|unique|list }} {{ [1, 5, 3]|max }} {{ [4, 2]|min }} {{ {'b': 1, 'a': 2}|dictsort }} {{ {'b': 1, 'a': 2}|dictsort(by='value', reverse=true) }} {{ {'a': 1}|items|list }} {{ 'abc'|list }}
{{ 'a\nb\n\nc'|indent }}|{{ 'a\nb'|indent(2, true) }}|{{ 'a\n\nb'|indent(2, blank=true) }}|{{ 'a\nb'|indent('> ') }}
{{ d|tojson }} {{ [1, 2.5, none, true, 'é"\n<&>']|tojson }} {{ 'é'|tojson(ensure_ascii=true) }} {{ [1, {'a': []}]|tojson(indent=2) }} {{ {'b': 1, 'a': 2}|tojson(sort_keys=true) }} {{ [1, 2]|tojson(separators=(',', ':')) }} {{ {}|tojson(indent=4) }} {{ {1: 2, none: 3}|tojson }}
{{ s is string }} {{ d is mapping }} {{ l is iterable }} {{ l is sequence }} {{ s is sequence }} {{ d is sequence }} {{ 1 is number }} {{ 1 is integer }} {{ 1.5 is float }} {{ true is boolean }} {{ none is none }} {{ x is undefined }} {{ 1 is iterable }} {{ true is number }} {{ true is integer }}
{{ 3 is odd }} {{ 4 is even }} {{ 9 is divisibleby 3 }} {{ 1 is eq 1 }} {{ 1 is not ne 1 }} {{ 2 is gt 1 }} {{ 'a' is in ['a'] }} {{ 1 is sameas 1 }} {{ true is true }} {{ false is false }} {{ 1 is true }} {{ d.items is callable }} {{ not s is string }} {{ s is not string and true }}
{{ undefined_thing }}|{{ undefined_thing is defined }} {% if undefined_thing %}x{% endif %}{% for x in undefined_thing %}y{% endfor %} {{ undefined_thing == none }} {{ undefined_thing|length }}
a {%- if true -%} b {%- endif -%} c
a {{- ' x ' -}} b
{% raw %}{{ not }} {% x %}{% endraw %} {%- raw -%}  a  {%- endraw -%}  b
{{ {'a': {'b': 1}}['a'].b }} {{ [[1, 2], [3]][1][0] }} {{ {"a": 1, 'b': [1, {}]} }}
{{ "it's" ~ ['it\'s', "q\"'", 'é', '\n', '\u200b'] }} {{ [none, true, 1.0, undefined_thing is defined] }}
{% generation %}{% set y = 1 %}gen{{ y }}{% endgeneration %}{{ y }}|
{{ range(3)|list }} {{ range(1, 4)|list }} {{ range(5, 0, -2)|list }} {{ range(0)|list }}| {{ dict(a=1, b='x') }} {{ dict({'q': 1}, r=2) }}
{{ -l[0] }} {{ +1 }} {{ -2 ** 2 }} {{ 2 - 1 - 1 }} {{ 2 * 3 % 4 }} {{ 1 ~ 2 ~ 3|string|length }} {{ (1 ~ 2)|int + 1 }} {{ 10 - 2 ~ 3 }}
{{ messages[-1]['content'].split('</think>')[-1].lstrip('\n') }} {{ messages[0].role == 'user' and messages|length > 1 }} {{ (messages|selectattr('role', 'equalto', 'user')|list)[0].content }}
{{ 'a-b-c'.partition('-') }} {{ 'a-b-c'.rpartition('-') }} {{ 'abc'.partition('x') }} {{ 'abc'.rpartition('x') }} {{ ('k=v=w'.partition('='))[2] }} {{ 'aaa'.rpartition('aa') }}
{{ 'ab1'.isalnum() }} {{ 'a b'.isalnum() }} {{ 'AB1'.isupper() }} {{ 'aB'.isupper() }} {{ '1'.islower() }} {{ 'éa'.islower() }} {{ 'abc'.index('c') }} {{ [1, 2, 1].count(1) }} {{ d.copy() == d }} {{ d.copy().a }}
{{ 'abc'.index('x') }}
{{ [1, 2, 3.5]|sum }} {{ [{'n': 1}, {'n': 4}]|sum(attribute='n') }} {{ [1]|sum(start=10) }} {{ []|sum }} {{ 2.5|round }} {{ 3.5|round }} {{ 2.675|round(2) }} {{ 42|round }} {{ 1.23|round(1, 'ceil') }} {{ -1.27|round(1, 'floor') }} {{ 1.25|round(1) }}
{{ 'abc' is lower }} {{ 'ABC' is upper }} {{ 'aB' is lower }} {{ 1 is upper }} {% for x in [1] %}{{ loop.depth }}{{ loop.depth0 }}{% endfor %}
{{ strftime_now('x%%y') }} {{ strftime_now is defined }} {{ strftime_now('%Y')|length }}
{{ [1, 'a']|sum }}
{% macro rec(t) -%}{%- if t is mapping -%}{{ '{' }}{% for k, v in t|items %}{{ k ~ ':' ~ rec(v) }}{{ ',' if not loop.last }}{% endfor %}{{ '}' }}{%- elif t is iterable and t is not string -%}[{% for v in t %}{{ rec(v) }}{{ ';' if not loop.last else '' }}{% endfor %}]{%- else -%}{{ t|string }}{%- endif -%}{%- endmacro %}{{ rec({'a': [1, {'b': none}], 'c': 'x'}) }}
{% set ns = namespace(t='') %}{% for m in messages[::-1] %}{% set ns.t = ns.t ~ m.role[:1]|upper ~ loop.index0 %}{% endfor %}{{ ns.t }} {{ messages|map(attribute='content')|join('|') }} {{ messages|rejectattr('role', 'in', ['user'])|list|length }}
{% set x = 'a' if messages else 'b' %}{{ x }}{% set y %}{% for m in messages %}{{ m.role }}{% if not loop.last %}, {% endif %}{% endfor %}{% endset %}{{ y|trim|replace(',', ';') }} {{ messages[1:][0].content[:7] }} {{ (messages|last)['role'] }}
{{ raise_exception('boom ' ~ 1) }}
{{ missing.attr }}
{{ 1 + 'a' }}
{{ [] < 1 }}
{{ 1 // 0 }}
{{ 5|join }}
{{ s.nope }}|{{ s.upper is callable }}
{{ missing + 1 }}
{% set ns = {} %}{% set ns.x = 1 %}
{% set a, b = [1] %}
"""

# White space around tags.
_BLOCKS = [
    '  {% if true %}\n  x\n  {% endif %}\ny',
    '  {%+ if true %}x{% endif +%}\nz',
    '{# comment #}\nq{# c -#}   r{#- c #} t\n  {# alone #}\nu',
    "a\n{%- if true %}\n  b\n{%- endif %}\nc\n",
    "{% for x in l %}\n{{ x }}\n{% endfor %}\n",
    "{% for x in l -%}\n  {{ x }}\n{%- endfor %}\n\n",
    "\t{% set a = 1 %}\r\n{{ a }}\r\n",
    "text {% if true %} x {% endif %} more\n  {# c #}  \n{{ '' }}\n",
    "",
    "\n",
    "{{ '}}' }}{{ \"{%\" }}{{ {'a': {'b': 1}} }}",
]

CASES = _LINES.strip("\n").split("\n") + _BLOCKS

_TOOL_LINES = """{%- if tools %}
{{- "<|im_start|>system\\n" }}
{%- if messages[0].role == "system" %}{{- messages[0].content + "\\n\\n" }}{%- endif %}
{{- "You may call these functions:\\n<tools>" }}
{%- for tool in tools %}
{{- "\\n" ~ (tool | tojson) }}
{%- endfor %}
{{- "\\n</tools><|im_end|>\\n" }}
{%- elif messages[0].role == "system" %}
{{- "<|im_start|>system\\n" + messages[0].content + "<|im_end|>\\n" }}
{%- endif %}
"""

TEMPLATES = {
    # A system prompt of its own where none is given, as SmolLM2 and Qwen do.
    "chatml": "{% for m in messages %}{% if loop.first and messages[0]['role'] != 'system' %}"
    "{{ '<|im_start|>system\nYou answer briefly.<|im_end|>\n' }}{% endif %}"
    "{{ '<|im_start|>' + m['role'] + '\n' + m['content'] + '<|im_end|>' + '\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}",
    # Tools, calls and their results, reasoning dropped from earlier turns.
    "tools": _TOOL_LINES + """{%- set ns = namespace(last_user=-1) %}
{%- for m in messages %}
{%- if m.role == "user" %}{%- set ns.last_user = loop.index0 %}{%- endif %}
{%- endfor %}
{%- for m in messages %}
{%- if m.role == "system" and loop.first %}{%- continue %}{%- endif %}
{%- if m.role == "tool" %}
{%- if loop.previtem is undefined or loop.previtem.role != "tool" %}{{- "<|im_start|>user" }}{%- endif %}
{{- "\\n<result>\\n" ~ m.content ~ "\\n</result>" }}
{%- if loop.last or loop.nextitem.role != "tool" %}{{- "<|im_end|>\\n" }}{%- endif %}
{%- continue %}
{%- endif %}
{{- "<|im_start|>" + m.role + "\\n" }}
{%- if m.role == "assistant" %}
{%- set content = m.content or "" %}
{%- if "</think>" in content and loop.index0 < ns.last_user %}
{%- set content = content.split("</think>")[-1].lstrip("\\n") %}
{%- endif %}
{%- generation %}{{- content }}
{%- for call in m.tool_calls or [] %}
{%- set f = call.function if call.function is defined else call %}
{{- "\\n<call>{\\"name\\": \\"" + f.name + "\\", \\"arguments\\": " }}
{{- f.arguments if f.arguments is string else f.arguments | tojson }}{{- "}</call>" }}
{%- endfor %}{%- endgeneration %}
{%- elif m.content is string %}{{- m.content | trim }}
{%- else %}
{%- for part in m.content if part.type == "text" %}{{- part.text }}{%- endfor %}
{%- endif %}
{{- "<|im_end|>\\n" }}
{%- endfor %}
{%- if add_generation_prompt %}
{{- "<|im_start|>assistant\\n" }}
{%- if enable_thinking is defined and enable_thinking is false %}{{- "<think>\\n\\n</think>\\n\\n" }}{%- endif %}
{%- endif %}
""",
    # Headers and strict turns, with a macro.
    "headers": """{{- bos_token }}
{%- macro header(role) -%}<|{{ role }}|>{{ "\\n\\n" }}{%- endmacro -%}
{%- set rest = messages[1:] if messages[0]['role'] == 'system' else messages -%}
{%- if messages[0]['role'] == 'system' %}{{ header('system') ~ messages[0]['content'] | trim ~ eos_token }}{% endif %}
{%- for message in rest %}
    {%- if (message['role'] == 'user') != (loop.index0 % 2 == 0) %}
        {{- raise_exception('Roles must alternate, found ' ~ message['role']) }}
    {%- endif %}
    {{- header(message['role']) }}{{ message['content'] | trim + eos_token }}
{%- endfor %}
{%- if add_generation_prompt %}{{ header('assistant') }}{% endif %}
""",
}

_TOOL = {
    "type": "function",
    "function": {
        "name": "weather",
        "description": "The weather <b>\"now\"</b> at é",
        "parameters": {
            "type": "object",
            "properties": {"city": {"type": "string", "enum": ["A", "B"]}, "n": {"type": ["integer", "null"], "default": 1.5}},
            "required": ["city"],
        },
    },
}
_CALL = {"type": "function", "id": "call0", "function": {"name": "weather", "arguments": {"city": "Pa'ris", "n": None}}}

CHATS = [
    {"messages": [{"role": "user", "content": "Hello"}]},
    {"messages": [{"role": "user", "content": "Hello"}], "add_generation_prompt": True},
    {
        "messages": [
            {"role": "system", "content": "Be brief.\n"},
            {"role": "user", "content": "  Hi 日本 "},
            {"role": "assistant", "content": "<think>\nhm\n</think>\n\nHello!"},
            {"role": "user", "content": "Bye <|im_end|>"},
        ],
        "add_generation_prompt": True,
    },
    {
        "messages": [
            {"role": "user", "content": "Weather?"},
            {"role": "assistant", "content": "", "tool_calls": [_CALL]},
            {"role": "tool", "content": "22"},
            {"role": "tool", "content": "23"},
            {"role": "assistant", "content": "22 or 23."},
        ],
        "tools": [_TOOL, _TOOL],
        "add_generation_prompt": True,
    },
    {"messages": [{"role": "user", "content": [{"type": "text", "text": "one "}, {"type": "image"}, {"type": "text", "text": "two"}]}]},
    {"messages": [{"role": "assistant", "content": "wrong start"}]},
    {"messages": [{"role": "user", "content": "q"}], "add_generation_prompt": True, "enable_thinking": False},
]
