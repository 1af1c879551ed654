"""No secret is left in a text, and nothing else is changed."""

from __future__ import annotations

import base64
import json
import random
from collections.abc import Callable
from html import escape
from urllib.parse import quote, quote_plus

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.planted_secrets import HEX, PEM_BODY, PLANTED, caps, fake, pem

from ipycachechat.text.redaction import (
    PIECE_LENGTH,
    RedactedText,
    Redactor,
    SecretStr,
    describe_redactions,
    strip_known_secrets,
)
from ipycachechat.text.redaction_log import RedactionLog
from ipycachechat.text.secret_patterns import SECRET_PATTERNS

SURROUNDINGS: dict[str, Callable[[str], str]] = {
    "bare": str,
    "repr of a dict": lambda text: repr({"id": 1, "value": text, "also": [text]}),
    "repr of an output": lambda text: repr(f"one line\n{text}\nanother"),
    "traceback": lambda text: f"Cell In[3], line 2\n----> 2 send({text})\nValueError: got {text}, expected 1",
    "coloured": lambda text: f"\x1b[1;32m      2\x1b[0m call(\x1b[33m{text}\x1b[39m)",
    "JSON": lambda text: json.dumps({"text": text}),
    "JSON in a repr": lambda text: repr(json.dumps({"text": "\n" + text})),
    "query": lambda text: f"https://example.com:8080/a?x=1&value={text}&y=2",
    "signs": lambda text: f";;--=={text}==--;;",
    "table": lambda text: f"   id  value\n0   1  {text}\n1   2  NaN",
}
LONGEST = 6
"""So many letters of a secret say nothing."""


def left(secret: str, text: str) -> list[str]:
    """The parts of a secret, longer than that, that are still in the text; its alphabet aside."""
    parts = {secret[at : at + LONGEST + 1] for at in range(max(1, len(secret) - LONGEST))}
    return [part for part in parts if part in text and part not in HARMLESS_PARTS]


HARMLESS_PARTS = "Proc-Type: 4,ENCRYPTED DEK-Info: Version: GnuPG v2"


@pytest.mark.parametrize("label", sorted({kind.label for kind in SECRET_PATTERNS}))
def test_nothing_of_a_planted_secret_is_left(label: str) -> None:
    redactor = Redactor()
    for secret_label, before, secret, after in PLANTED:
        for surroundings, write in SURROUNDINGS.items():
            if secret_label == label:
                redacted = redactor(write(before + secret + after))
                assert left(secret, redacted.text) == [], surroundings
                assert redacted.labels == (label,), surroundings
                assert f"[masked: {label}]" in redacted.text, surroundings
                assert redactor(redacted.text).text == redacted.text, surroundings


def test_the_planted_secrets_cover_every_pattern() -> None:
    assert {kind.label for kind in SECRET_PATTERNS} == {row[0] for row in PLANTED}


HARMLESS = [
    # code
    "token = tokenizer(x)",
    "tokens = tokenizer.encode(text, max_length=512, padding='max_length')",
    "token_ids = [101, 7592, 2088, 102]",
    "def get_token(self): return self._token",
    "def login(user: str, password: str) -> None: ...",
    "password: str = Field(min_length=12)",
    "password: Optional[str] = None",
    "password = getpass.getpass('Password: ')",
    "password = config.database1.password2",
    "password=args.password_1, token=tokens[0]",
    'api_key = os.environ["OPENAI_API_KEY"]',
    'api_key=os.getenv("ANTHROPIC_API_KEY_2")',
    "client = OpenAI(api_key=settings.OPENAI_API_KEY_V2024)",
    'headers = {"Authorization": f"Bearer {token}"}',
    '-H "Authorization: Bearer $OPENAI_API_KEY"',
    '"Authorization": "Bearer YOUR_API_KEY_HERE"',
    "Authorization: Bearer <token>",
    'url = f"postgresql://{user}:{password}@{host}:5432/{name}"',
    "postgresql://$DB_USER:$DB_PASSWORD@localhost/db",
    "postgresql://someone:***@localhost:5432/db",
    'password = "{{ vault_password_1 }}"',
    "password=SecretStr('**********')",
    "secret_key = secrets.token_urlsafe(32)",
    "key = jax.random.PRNGKey(1234567890)",
    "key, subkey = jax.random.split(key, 2)",
    "cache_key = hashlib.sha256(b'abc123').hexdigest()",
    'cache_key = "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08"',
    "primary_key=True, foreign_key='user.id_12345678901234567890'",
    "df.groupby(['key1', 'key2']).agg({'token_count': 'sum'})",
    "auth = HTTPBasicAuth(user1, password1)",
    "if password != confirm_password_2: raise ValueError('passwords differ')",
    "bypass = x1234567890abc",
    "from sklearn.auth import compass3",
    "author: j4n3doe12345678, authors = 3",
    "tokenizer = AutoTokenizer.from_pretrained('bert-base-uncased-v2')",
    'tokenizer_name: "sentence-transformers/all-MiniLM-L6-v2"',
    '{"pad_token": "<|endoftext|>", "unk_token": "[UNK]", "mask_token": "<mask>", "eos_token_id": 50256}',
    '{"token": "##ing", "score": 0.9912345678901234}',
    '{"bos_token": "<|reserved_special_token_250|>"}',
    "max_tokens=16000, TOKENIZERS_PARALLELISM=false",
    "Token(text='walking', lemma='walk', pos='VERB', idx=1234567890123456)",
    "CSRF: {% csrf_token %}",
    '<input type="password" name="pwd1" id="password2" placeholder="Password">',
    "--token-color-1: #a1b2c3; --secret: 12px; .sk-toggleable__label-arrow { color: red }",
    '<div id="sk-container-id-12" class="sk-top-container"><div class="sk-estimator fitted sk-toggleable">',
    "sk-estimator-doc-link-2024-version-1-with-a-long-name",
    # prose
    "Install scikit-learn, also called sk-learn; sk-learn-contrib-2024-extensions-v2 has more.",
    "A risk-adjusted-return-of-2024-in-Frankfurt-A1 and task-management-System-2024-v2",
    "Keys begin with sk-ant-api03-, sk-proj- or AKIA; tokens with ghp_, hf_ and glpat-.",
    "An AKIA key id is public, ASIA is temporary; ASIAN markets rose, AKIAH is a name.",
    "-----BEGIN PRIVATE" " KEY----- is the first line of a PEM file, -----END PRIVATE KEY----- the last.",
    '"-----BEGIN PRIVATE' ' KEY-----\\n" + body + "\\n-----END PRIVATE KEY-----"',
    "-----BEGIN CERTIFICATE-----\nMIIDdzCCAl+gAwIBAgIEAgAAuTANBgkqhkiG9w0BAQUFADBaMQsw\n-----END CERTIFICATE-----",
    "Password: must have 8 characters, a digit and a sign. Secret: none. Token: see below.",
    "Basic understanding of authorization: required for admins; bearer of bad news in 2024",
    "the bearer internationalization-of-2-parties",
    "the key: everything2gether; the secret: practice",
    "The password is stored as a hash; passwords: 3, pass: 12 of 14, pwd: /home/jovyan/work1",
    'PWD=/home/jovyan/project1 {"pwd": "/srv/app1/x"}',
    # data
    "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08  data.csv",
    "d41d8cd98f00b204e9800998ecf8427e task-d41d8cd98f00b204e9800998ecf8427e mask-9e107d9d372bb6826bd81d3542a419d6",
    "commit da39a3ee5e6b4b0d3255bfef95601890afd80709 (HEAD -> main)",
    "550e8400-e29b-41d4-a716-446655440000, id=6ba7b810-9dad-11d1-80b4-00c04fd430c8",
    "sha512-z4PhNX7vuL3xVChQ1m2AB9Yg5AULVxXcg/SpIdNs6c5H0NE8XYXysP+DGNKHfuwvY7kxvUdBeoGlODJ6+SfaPg==",
    "ACGTACGTTAGCTAGCTAGGATCGATCGGATCGATTACGCGCTAGCATCGATCAGCATCAGCTACGACTAGCATCAGCAT",
    "MKTAYIAKQRQISFVKSHFSRQLEERLGLIEVQAPILSRVGDGTQDNLSGAEKAVQVKVKALPDAQFEVVHSLAKWKR",
    "3.14159265358979323846264338327950288419716939937510582097494459230781640628620899",
    "12345678901234567890 1e-300 0xdeadbeefdeadbeefdeadbeefdeadbeef",
    "   token  count\n0    the  123456\n1  ##ing    7890\n[2 rows x 2 columns]",
    "session_id    a7c0f2d41b2c4d3e8f900a1b2c3d4e5f\nuser_id  U12345678901234567",
    '{"session_id": "a7c0f2d41b2c4d3e8f900a1b2c3d4e5f", "key": "a7c0f2d41b2c4d3e8f900a1b2c3d4e5f"}',
    "s3://bucket/key=2024-01-01/part-00000-a7c0f2d4-1b2c-4d3e-8f90-0a1b2c3d4e5f.snappy.parquet",
    "2024-05-01T12:34:56.789012+00:00 INFO  [task-12345678] done in 12:34",
    "https://example.com:8080/path?page=2&key=value#section-1",
    "http://localhost:8888/lab/tree/demo.ipynb jane.doe+test@example.com mailto:x@y.org",
    "git@github.com:someone/project.git ssh://git@github.com:22/someone/project.git",
    "https://github.com/someone/project@v1.2.3 https://x.com:443/@someone pkg:npm/%40scope/a@1.0",
    "numpy==1.26.4 --hash=sha256:9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08",
    "SG.plot(x).show(); SG.savgol_filter.window_length_1 MT.a.b NT.x",
    "SKU: SK1234567890, AC1234, key-value pairs, key-1234567890, fw_bw, hf_hub_download, hf_transfer",
    "npm_config_registry npm_package_name pypi-AgE dapi_v2 gl-matrix shp_file glc_x secret_sauce_for_everybody",
    "eyJ is how JSON begins in base64: eyJhIjoxfQ== and eyJhbGciOiJIUzI1NiJ9.payload",
    r"\token{a1} \frac{\partial^{12} f}{\partial x} $\mathbf{key}_{1} = 2^{10}$ \password: 1",
    "é日本語の文章 token：値 パスワード: なし",
    '"secret": "projects/123/secrets/my-secret/versions/1", "auth": "oauth2-client-credentials"',
    "volumes:\n  - secret: my-secret-v2024-prod\n    token: projected-volume-12",
    "E   KeyError: 'token'\n----> 3 token = row['token1']  # 12345",
    "<__main__.Token object at 0x7f3b2c1d4e50> secret=<object object at 0x7f3b2c1d4e50>",
    "array([0.12345678, 0.9876543 ]), dtype=float64, device='cuda:0', password=None, token=None",
    'token_type: "bearer", grant_type="password", auth: "none", scope: "read:user12"',
    "f.write('%s:%s@%s' % (user, password, host)); '://'.join(['a', 'b:c@d'])",
    "if token == 'walking2gether': secret = not secret2",
]  # fmt: skip

PICTURE = base64.b64encode(random.Random(7).randbytes(300_000)).decode()


@pytest.mark.parametrize("written", [str, repr, json.dumps], ids=lambda written: written.__name__)
def test_harmless_text_stays_as_it_is(written: Callable[[str], str]) -> None:
    environ = {
        "ANTHROPIC_API_KEY": "sk-" + "ant-api03-" + fake(95),
        "HOME": "/home/jovyan",
        "DB_PASSWORD": "postgres",
    }
    redactor = Redactor.from_environ(environ)
    for text in [*HARMLESS, PICTURE, "", "\0" * 20]:
        assert redactor(written(text)) == RedactedText(written(text), ())


PLAIN = "q7-Kettle_" + fake(30)
AWKWARD = "pa's\"s\\w\u00f6rd \n&/+=%<" + fake(8)
ONE_QUOTE = "it's caf\u00e9 " + fake(8)  # repr has no need to escape the quote
WRITTEN: dict[str, Callable[[str], str]] = {
    "as it is": str,
    "in a word": lambda value: f"x{value}y",
    "repr": repr,
    "repr of more": lambda value: repr(["'", '"', f"'{value}\""]),
    "ascii": ascii,
    "JSON": json.dumps,
    "JSON, not ASCII": lambda value: json.dumps({"a": value}, ensure_ascii=False),
    "JSON in JSON": lambda value: json.dumps(json.dumps(value)),
    "repr of JSON": lambda value: repr(json.dumps([value])),
    "URL": lambda value: f"https://example.com/?q={quote(value, safe='')}",
    "form": lambda value: "q=" + quote_plus(value),
    "HTML": lambda value: f"<b>{escape(value)}</b>",
    "hex": lambda value: value.encode().hex(),
    "base64": lambda value: base64.b64encode(value.encode()).decode(),
    "base64 for URLs": lambda value: base64.urlsafe_b64encode(value.encode()).decode().rstrip("="),
    **{
        f"base64, {shift} before": lambda value, shift=shift: base64.b64encode(  # type: ignore[misc]
            b"u" * shift + value.encode() + b"}}"
        ).decode()
        for shift in range(1, 6)
    },
}


@pytest.mark.parametrize("value", [PLAIN, AWKWARD, ONE_QUOTE], ids=["plain", "awkward", "one quote"])
def test_a_known_value_is_found_however_it_is_written(value: str) -> None:
    redactor = Redactor.from_environ({"SOME_SECRET": value})
    for how, write in WRITTEN.items():
        redacted = redactor(f"before {write(value)} after")
        assert redacted.labels == ("SOME_SECRET",), how
        assert "[masked: SOME_SECRET]" in redacted.text, how
        assert redacted.text.startswith("before ") and redacted.text.endswith(" after"), how
        rest = redacted.text.replace("[masked: SOME_SECRET]", "")
        assert left(value, rest) == [], how
        assert len(rest) <= len(f"before {write('')} after") + LONGEST, how


@pytest.mark.parametrize(
    ("shown", "masked"),
    [
        (PLAIN[:12] + "...", "[masked: SOME_SECRET]"),
        (PLAIN[:20] + "…", "[masked: SOME_SECRET]"),
        (PLAIN[:12] + "..." + PLAIN[-13:], "[masked: SOME_SECRET]"),
        (PLAIN[:16] + " is not all of it", PLAIN[:16] + " is not all of it"),
        (PLAIN[:6] + "...", PLAIN[:6] + "..."),
    ],
)
def test_a_known_value_is_found_where_it_was_truncated(shown: str, masked: str) -> None:
    assert Redactor.from_environ({"SOME_SECRET": PLAIN})(f"'{shown}'").text == f"'{masked}'"


def test_each_line_of_a_known_private_key_is_found() -> None:
    key = pem("EC PRIVATE" + " KEY")
    masked = Redactor.from_environ({"DEPLOY_KEY": key})(
        "\n".join(f"   {n} | {line}" for n, line in enumerate(key.split("\n")))
    )
    assert left(PEM_BODY, masked.text) == []


def test_the_longest_of_nested_secrets_is_masked() -> None:
    inner, outer = "kettle-42", "kettle-42-" + fake(20)
    mask = Redactor.from_environ({"INNER_TOKEN": inner, "OUTER_TOKEN": outer})
    assert mask(f"{outer} {inner}").text == "[masked: OUTER_TOKEN] [masked: INNER_TOKEN]"


def test_nothing_is_left_of_a_token_that_contains_a_known_value() -> None:
    known = fake(9)
    token = "gh" + "p_" + fake(15, seed=1) + known + fake(12, seed=2)
    assert Redactor.from_environ({"A_TOKEN": known})(f"<{token}>").text == "<[masked: GitHub token]>"
    assert Redactor.from_environ({"A_TOKEN": known})(f"x{known}" + "gh" + "p_" + fake(36)).text.startswith(
        "x[masked: A_TOKEN][masked"
    )


def test_a_known_value_is_labelled_with_its_variable() -> None:
    value = "sk-" + "ant-api03-" + fake(95)
    assert Redactor()(value).labels == ("Anthropic key",)
    assert Redactor.from_environ({}, [value])(value).labels == ("provider key",)
    assert Redactor.from_environ({"B_KEY": value, "A_KEY": value}, [value])(value).labels == ("A_KEY",)
    assert Redactor.from_environ({"odd%name_KEY": value})(value).labels == ("secret",)


@pytest.mark.parametrize(
    ("name", "value", "secret"),
    [
        ("OPENAI_API_KEY", fake(40), True),
        ("openai_apikey", fake(40), True),
        ("API_KEY_2", fake(40), True),
        ("HF_TOKEN", fake(34), True),
        ("GITHUB_PAT", fake(34), True),
        ("AWS_ACCESS_KEY_ID", "AK" + "IA" + caps(16), True),
        ("AWS_SECRET_ACCESS_KEY", "/" + fake(39), True),
        ("PGPASSWORD", "hunter2", True),
        ("MYSQL_PWD", "19841984", True),
        ("DB_PASSWD", "correct horse battery staple", True),
        ("MY_CREDENTIALS", fake(20), True),
        ("BASIC_AUTH", "someone:letmein", True),
        ("SESSION_COOKIE", fake(20), True),
        ("DATABASE_URL", "postgresql://someone:letmein1@db/x", "letmein1"),
        ("ANYTHING", "redis://:p%40ss-word1@db", "p@ss-word1"),
        ("STORAGE", "Server=x;Password=letmein1;Port=1", "letmein1"),
        ("STORAGE", "AccountName=x;AccountKey=" + fake(86) + "==;", fake(86) + "=="),
        ("AZURE_CONNECTION_STRING", "Endpoint=x;Key2=" + fake(20), True),
        ("HOME", "/home/jovyan", False),
        ("PWD", "/home/jovyan/project1", False),
        ("SSH_AUTH_SOCK", "/tmp/ssh-1234567/agent.1", False),
        ("GOOGLE_APPLICATION_CREDENTIALS", "/home/jovyan/key-12345678.json", False),
        ("SSL_KEY", r"C:\keys\server-2024.pem", False),
        ("TOKENIZERS_PARALLELISM", "false-2024-x", False),
        ("MAX_TOKENS", "100000000", False),
        ("AUTH_TOKEN", "123456789", False),
        ("USE_AUTH", "true", False),
        ("POSTGRES_PASSWORD", "postgres", False),
        ("OPENAI_API_KEY", "not-needed", False),
        ("LOCAL_API_KEY", "EMPTY", False),
        ("SECRET_NAME", "prod/db-12345678", False),
        ("TOKEN_URL", "https://auth.example.com/oauth2/token", False),
        ("AUTH_PROVIDER", "github-enterprise-2", False),
        ("KEYBOARD", "pc105-layout-2", False),
        ("MONKEY", "bananas-for-2-monkeys", False),
        ("BYPASS", "localhost-127-0-0-1", False),
        ("PATH", "/usr/bin:/bin", False),
        ("GIT_SHA", fake(40, HEX), False),
        ("A_SECRET", "\0" * 12, False),
    ],
)
def test_variables_that_hold_secrets_are_recognised(name: str, value: str, secret: bool | str) -> None:
    mask = Redactor.from_environ({name: value})
    shown = secret if isinstance(secret, str) else value
    if secret:
        assert mask(f"it is {shown}.") == RedactedText(f"it is [masked: {name}].", (name,))
    else:
        assert mask.known_forms == ()


@pytest.mark.parametrize(
    ("labels", "note"),
    [
        ((), ""),
        (("OPENAI_API_KEY",), "masked: OPENAI_API_KEY"),
        (("OPENAI_API_KEY", "OPENAI_API_KEY"), "masked: OPENAI_API_KEY"),
        (("OPENAI_API_KEY", "GitHub token", "GitHub token"), "masked: OPENAI_API_KEY, 2 GitHub tokens"),
        (("password", "private key"), "masked: password, private key"),
    ],
)
def test_the_note_counts_secrets_by_label(labels: tuple[str, ...], note: str) -> None:
    assert describe_redactions(labels) == note


def test_the_same_secret_is_counted_once_in_a_text() -> None:
    token, other = ("gh" + "p_" + fake(36, seed=seed) for seed in (1, 2))
    masked = Redactor()(f"{token} {other} {token}")
    assert describe_redactions(masked.labels) == "masked: 2 GitHub tokens"
    assert masked.text == " ".join(["[masked: GitHub token]"] * 3)


def test_the_repr_of_a_redactor_shows_no_secret() -> None:
    assert PLAIN not in repr(Redactor.from_environ({"SOME_SECRET": PLAIN}))


MASK = Redactor.from_environ(
    {"A_KEY": fake(12), "B_SECRET": AWKWARD, "C_TOKEN": "OPENAI_API_KEY_1", "OPENAI_API_KEY_1": PLAIN}
)
PIECES = st.one_of(
    st.sampled_from([before + secret + after for _, before, secret, after in PLANTED]),
    st.sampled_from([fake(12), AWKWARD, "OPENAI_API_KEY_1", PLAIN, PLAIN[:14] + "..."]),
    st.sampled_from(
        [
            *HARMLESS,
            *MASK.known_forms[0],
            "[masked: ",
            "]",
            "[masked: OPENAI_API_KEY_1]",
            "[masked: password]",
        ]
    ),
    st.sampled_from('password=" token:" api_key= \' " \\ \n \0 = @ :// x 7 - İ'.split(" ")),
    st.text(max_size=8),
)


@given(st.lists(PIECES, max_size=8).map("".join))
def test_redaction_is_idempotent_and_deterministic(text: str) -> None:
    once = MASK(text)
    assert MASK(once.text) == RedactedText(once.text)
    assert MASK(text) == once
    assert (once.text == text) == (once.labels == ())


@given(st.text(st.characters(exclude_categories=[])), st.data())
def test_any_value_of_a_variable_can_be_masked(value: str, data: st.DataObject) -> None:
    mask = Redactor.from_environ({"SOME_SECRET": value})
    ways: list[Callable[[str], str]] = [str, repr, ascii, json.dumps]
    written = data.draw(st.sampled_from(ways))(value)
    if mask.known_forms:
        assert "SOME_SECRET" in mask(f"<{written}>").labels


@settings(deadline=None)
@given(st.lists(PIECES, min_size=1, max_size=3).map("".join), st.integers(2, 400))
def test_repeated_secrets_are_masked(text: str, times: int) -> None:
    once = MASK(text * times)
    assert MASK(once.text).labels == ()


@pytest.mark.parametrize("before", range(90))
def test_a_secret_is_masked_where_a_table_cell_was_truncated(before: int) -> None:
    import pandas as pd

    from ipycachechat.prompts.describe import describe

    token, known = "ghp_" + "aB3dE5fG7hI9jK1lM2nO4pQ6rS8tU0vWxYz1", "Zq7+correct/horse9battery" * 3
    mask = Redactor.from_environ({"MY_API_KEY": known})
    for secret in (token, known):
        text = str(describe(pd.DataFrame({"a": ["x" * before + f" {secret} and so on"]}), RedactionLog(mask)))
        assert secret[:12] not in text


@given(
    st.integers(0, 30),
    st.integers(PIECE_LENGTH, 40),
    st.sampled_from(["", "\n", " ", "\\\n    ", "<wbr>", "', '"]),
)
def test_no_piece_of_a_known_key_is_left_with_other_characters_in_between(
    start: int, length: int, between: str
) -> None:
    key = fake(40, seed=3)
    piece = key[start : start + length]
    if len(piece) < PIECE_LENGTH:
        return
    text = f"Bad key {piece[:5]}{between}{piece[5:]} here"
    for environ, keys in (({"ITS_API_KEY": key}, []), ({}, [key])):
        result = strip_known_secrets(text, environ, keys)  # a letter beside it may be the key's next one
        assert "…" in result and len(result) <= len("Bad key … here")


def test_text_without_a_piece_of_a_key_stays_as_it_is() -> None:
    text = "The request req_011CSHoEeqs5C35K2UUqR7Fy is refused: <b>max_tokens</b> is 8192, and a key is missing."
    assert strip_known_secrets(text, {"ITS_API_KEY": fake(40, seed=3)}) == text


def test_a_secret_string_is_sent_in_full_and_hidden_in_its_repr() -> None:
    key = SecretStr("one-that-is-secret")
    assert key == "one-that-is-secret" and f"{key}" == "one-that-is-secret"
    assert "secret" not in repr({"api_key": key})
