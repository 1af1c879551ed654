"""The table of secret formats, one row each."""

from __future__ import annotations

import re
from base64 import b64encode
from collections.abc import Iterator
from dataclasses import dataclass

# The start of a word, also after an escaped line end, ANSI colours, %3D, \x3d or \u003d; but not within a word:
# `task-…` contains no `sk-…`.
_START = (
    r"(?:(?<![A-Za-z0-9])|(?<=\\[abfnrtv])|(?<=[\d;\[]m)|(?<=%[\dA-Fa-f]{2})"
    r"|(?<=\\x[\dA-Fa-f]{2})|(?<=\\u[\dA-Fa-f]{4}))"
)
_END = r"(?![A-Za-z0-9])"
# Twelve letters and digits in a row, some of each, which words, versions, names and numbers do not have.
_MIXED = r"(?=[\w+/=.~-]{0,40}?(?=[a-z]{0,11}\d)(?=\d{0,11}[a-z])[a-z0-9]{12})[\w+/=.~%-]{16,}"
# Not a placeholder, a masked secret or a path.
_NO_VALUE = r"(?!\{|\$\{|\$\(|(?-i:\$[A-Z_]+)\b|<|\*{3}|%[(s]|[/~]|\.{1,2}/|[A-Za-z]:\\)"
# Text between a name and its value: password='…', "password": "…", d["password"] = …, password: str = …
_IS = r"(?:\\*[\"'])?\]?\s{0,4}(?::\s?str\s?)?(?::=|=>|={1,2}|:)\s{0,4}"
_OPEN = r"[bru]?(\\*[\"'`])"
_PASSWORD = rf"(?:pass(?:word|wd|phrase)|pwd|(?<![a-z])pass)\d?{_IS}"
_LINE_END = r"(?:[\s\"',]|\\+[nr])++"
# Without quotes, up to a blank; a comma or bracket at the end belongs to the text around it.
_VALUE = r"([^\s\"'\\\0]{3,200}?)(?=[,;:)\]}=&-]*(?:[\s\"'\\\0]|\Z))"
_BLANK, _HOST, _PART = r"(?:\s|\\{1,4}[nrt]){1,20}", r"[^\s\"'\\\0]{1,200}", r"[^\s:\"'\\\0]{1,100}"
_BASE64_OF_KEY = "|".join(
    b64encode(bytes(shift) + b"PRIVATE KEY--").decode()[-(-shift * 8 // 6) : (shift + 11) * 8 // 6]
    for shift in range(3)
)
_KEYS = "api access account auth client encryption private secret signing subscription".split()
_KEY = "|".join(f"(?<={word})|(?<={word}[_-])" for word in _KEYS)


@dataclass(frozen=True, slots=True)
class SecretPattern:
    """A format of secrets, tried where one of `anchors` is. The secret is the last group, or else the whole match."""

    label: str
    anchors: tuple[str, ...]
    pattern: re.Pattern[str]

    def find_spans(self, text: str, lower: str) -> Iterator[tuple[int, int]]:
        """Yield start and end of each match. A pattern is bounded where it can fail: the time stays linear."""
        searched = lower if self.pattern.flags & re.IGNORECASE else text
        for anchor in self.anchors:
            start = searched.find(anchor)
            while start >= 0:
                match = self.pattern.match(text, start)
                if match and match[self.pattern.groups]:
                    yield match.span(self.pattern.groups)
                start = searched.find(anchor, match.end() if match else start + 1)


def _pattern(label: str, anchors: str, pattern: str, flags: int = 0) -> SecretPattern:
    return SecretPattern(label, tuple(anchors.split()), re.compile(pattern, re.ASCII | flags))


def _token(label: str, anchors: str, pattern: str) -> SecretPattern:
    """Return the pattern of a token that is recognised by its prefix; any further word characters belong to it."""
    return _pattern(label, anchors, _START + pattern)


def _named(label: str, anchors: str, pattern: str) -> SecretPattern:
    """Return the pattern of a secret that is recognised by the name before it, in any case."""
    return _pattern(label, anchors, pattern, re.IGNORECASE)


# A row per format, the more specific ones first. Sources: the providers' documents, and where they say nothing,
# the collections of gitleaks and detect-secrets. Minimum lengths are below the real ones, since formats change.
SECRET_PATTERNS: tuple[SecretPattern, ...] = (
    _pattern(  # RFC 7468, also encrypted, OpenSSH's and PGP's; in one line with \n; or cut off
        "private key",
        "-----BEGIN",
        r"-----BEGIN [A-Z0-9 ]{0,30}PRIVATE KEY(?: BLOCK)?-----(?=[\s\S]{0,300}?[A-Za-z0-9+/=]{24})"
        r"(?:[^-]*+(?:-(?!----)[^-]*+)*+-----END [A-Z0-9 ]{0,30}PRIVATE KEY(?: BLOCK)?-----"
        r"|(?:[\s\\nr\"',]*+[A-Za-z0-9+/=]{20,})++(?:(?:\s|\\[nr])++[A-Za-z0-9+/=]++)?+)",
    ),
    _pattern(  # in base64
        "private key", "LS0tLS1CRUdJTi", rf"LS0tLS1CRUdJTi[\w+/]{{0,60}}?(?:{_BASE64_OF_KEY})[\w+/]*={{0,2}}"
    ),
    _named(  # kubeconfig
        "private key", "key-data", rf"key-data{_IS}(?:\\*[\"'])?([a-z0-9+/]{{24,}}={{0,2}})"
    ),
    _pattern(  # PuTTY
        "private key",
        "Private-Lines:",
        rf"Private-Lines: *\d{{1,4}}{_LINE_END}"
        rf"((?:[A-Za-z0-9+/=]{{20,}}(?:{_LINE_END}|\Z))++(?:[A-Za-z0-9+/=]+(?![\w-]))?)",
    ),
    _token("age key", "AGE-SECRET-KEY-", r"AGE-SECRET-KEY-[0-9A-Z-]{50,}"),
    # RFC 7519: two JSON objects and a signature
    _token("JSON web token", "eyJ", r"eyJ[\w-]{8,600}\.eyJ[\w-]{8,}\.[\w-]*"),
    _token("Anthropic key", "sk-ant-", r"sk-ant-[\w-]{20,}"),  # sk-ant-api03-, -admin01-, -oat01-
    _token("OpenRouter key", "sk-or-", r"sk-or-[\w-]{20,}"),  # sk-or-v1- and 64 hex digits
    _token("OpenAI key", "sk-", r"sk-(?:proj|svcacct|admin)-[\w-]{20,}"),
    # OpenAI's first form, 48; DeepSeek, DashScope, Moonshot 32 to 48; LiteLLM's virtual keys 22; Langfuse sk-lf-
    _token("API key", "sk-", r"sk-(?:lf-[\w-]{32,}|(?=[A-Za-z]{0,31}\d)[A-Za-z0-9]{24,}[\w-]*)"),
    _token("API key", "sk-", r"sk-(?=[\w-]{0,40}\d)(?=[\w-]{0,40}[A-Z])[\w-]{20,}"),
    _token("Google key", "AIza", r"AIza[\w-]{35}(?![\w-])"),  # no more: an image's base64 may have an AIza
    _token("Google key", "AQ.Ab", r"AQ\.Ab[\w-]{30,}"),
    _token("Google OAuth secret", "ya29. GOCSPX-", r"(?:ya29\.|GOCSPX-)[\w-]{20,}"),
    _token("GitHub token", "gh github_pat_", r"(?:gh[pousr]|github_pat)_\w{20,}"),
    _token("GitLab token", "gl", r"gl(?:pat|dt|ft|soat|rt|cbt|ptt|oas|agent|imt)-[\w.-]{20,}"),
    _token("AWS access key id", "AKIA ASIA", rf"A[KS]IA[A-Z0-9]{{16}}{_END}"),
    _token("AWS Bedrock key", "ABSK", r"ABSK[A-Za-z0-9+/]{90,}={0,2}"),
    _named(  # 40 characters of base64, which could be anything
        "AWS secret key", "secret", rf"secret_?access_?key{_IS}(?:\\*[\"'])?([a-z0-9/+]{{40}})(?![a-z0-9/+])"
    ),
    _token("Slack token", "xox xapp-", r"x(?:ox[a-z]|app)-[\w-]{10,}"),
    _pattern("webhook URL", "hooks.slack.com/", r"hooks\.slack\.com/\w{4,12}/([\w/+-]{20,})"),
    _pattern("webhook URL", "/api/webhooks/", r"/api/webhooks/\d{10,25}/([\w-]{40,})"),  # Discord
    _token("Stripe key", "sk_ rk_", r"[sr]k_(?:live|test)_[A-Za-z0-9]{16,}"),
    _token("webhook secret", "whsec_", r"whsec_[A-Za-z0-9+/]{24,}={0,2}"),  # Stripe, Svix
    _token("SendGrid key", "SG.", r"SG\.[\w-]{16,32}\.[\w-]{16,}"),
    _token("Twilio key", "AC SK", rf"(?:AC|SK)[0-9a-f]{{32}}{_END}"),
    _token("Mailgun key", "key-", rf"key-[0-9a-f]{{32}}{_END}"),
    _token("Hugging Face token", "hf_ api_org_", r"(?:hf|api_org)_[A-Za-z0-9]{30,}"),
    _token("npm token", "npm_", r"npm_[A-Za-z0-9]{36,}"),
    _token("PyPI token", "pypi-AgE", r"pypi-AgE[\w-]{40,}"),  # a macaroon of pypi.org or test.pypi.org
    _pattern("Telegram token", ":AA", r"(?<=\d{8}):(AA[\w-]{33})(?![\w-])"),
    _token(  # the bot's number in base64, the time, a signature
        "Discord token", "MT Mj Mz ND NT Nj Nz OD OT", r"[MNO][TjzD][A-Za-z0-9]{20,26}\.[\w-]{6}\.[\w-]{27,}"
    ),
    _pattern("Azure client secret", "Q~", r"(?<=[\w~.-]{3}\d)Q~([\w~.-]{31,40})(?![\w~.-])"),
    _pattern("Azure key", "AccountKey= SharedAccessKey=", r"\w{10,15}=([A-Za-z0-9+/%]{40,}={0,2})"),
    _pattern("Azure signature", "?sig= &sig=", r".sig=([\w%+/=-]{30,})"),
    _token("Databricks token", "dapi", rf"dapi[0-9a-f]{{32}}(?:-\d)?{_END}"),
    _token("DigitalOcean token", "dop_ doo_ dor_", r"do[por]_v1_[0-9a-f]{40,}"),
    _token("Docker token", "dckr_", r"dckr_[op]at_[\w-]{20,}"),
    _token("Shopify token", "shp", r"shp(?:at|ca|pa|ss)_[0-9a-fA-F]{32,}"),
    _token("Atlassian token", "ATATT3 ATCTT3", r"AT[AC]TT3[\w=-]{40,}"),
    _token("Notion token", "ntn_ secret_", r"(?:ntn|secret)_[A-Za-z0-9]{40,}"),
    _token("Groq key", "gsk_", r"gsk_[A-Za-z0-9]{32,}"),
    _token("xAI key", "xai-", r"xai-[A-Za-z0-9]{32,}"),
    _token("Perplexity key", "pplx-", r"pplx-[A-Za-z0-9]{32,}"),
    _token("Replicate token", "r8_", r"r8_[A-Za-z0-9]{30,}"),
    _token("Cerebras key", "csk-", r"csk-[A-Za-z0-9]{32,}"),
    _token("NVIDIA key", "nvapi-", r"nvapi-[\w-]{40,}"),
    _token("Fireworks key", "fw_", r"fw_(?=[A-Za-z]{0,30}\d)[A-Za-z0-9]{20,}"),
    _token("Tavily key", "tvly-", r"tvly-[\w-]{20,}"),
    _token("LangSmith key", "lsv2_", r"lsv2_[a-z]{2}_\w{30,}"),
    _token("Pinecone key", "pcsk_", r"pcsk_\w{40,}"),
    _token("Vault token", "hvs. hvb.", r"hv[sb]\.[\w-]{24,}"),
    _token(  # Linear, Supabase, Figma, Postman, New Relic, Doppler, Sentry, Kaggle, W&B, Netlify, Vercel, 1Password
        "API token",
        "lin_api_ sbp_ sb_secret_ figd_ PMAK- NRAK- dp. sntry KGAT_ wandb_v1_ nfp_ vcp_ ops_eyJ",
        r"(?:lin_api_|sbp_|sb_secret_|figd_|PMAK-|NRAK-|dp\.(?:pt|st|ct|sa)\.|sntry[su]_|KGAT_|wandb_v1_|nfp_|vcp_|ops_)"
        r"(?=[\w.-]{0,40}\d)[\w.=-]{24,}",
    ),
    _pattern("conda token", "/t/", r"/t/([a-z]{2}-[0-9a-f-]{36})(?![\w-])"),
    _pattern(  # crypt(3), argon2
        "password hash",
        "$2a$ $2b$ $2y$ $5$ $6$ $y$ $argon2",
        r"(\$(?:2[aby]|5|6|y|argon2id?)\$[\w./+=$,-]{20,300}(?<!,))",
    ),
    _token("Grafana token", "glsa_ glc_", r"gl(?:sa|c)_[\w+/=]{32,}"),
    _named("bearer token", "bearer", rf"bearer +({_MIXED})"),  # RFC 6750
    _named(  # RFC 7617, and what APIs have made of it
        "authorization",
        "authorization",
        rf"authorization{_IS}(?:\\*[\"'])?"
        r"(?:basic(?= +\S{0,60}?(?-i:[A-Z\d=]))|(?:bearer|token|bot|apikey)(?= +[\w.~+/-]{0,60}?\d))"
        r" +([\w.~+/-]{8,}={0,2})",
    ),
    # RFC 3986: scheme://user:password@host; a password may have an @ of its own
    _pattern(
        "URL password",
        "://",
        rf"://(?!(?i:user(?:name)?:pass(?:word|wd)?@))[^\s/?#@:'\"<>\0]{{0,100}}:{_NO_VALUE}([^\s/?#'\"<>\0]{{3,200}})@(?=[\w\[])",
    ),
    # In quotes a password needs a digit or a sign; without quotes also a letter, and it must not be code.
    _named(
        "password",
        "pass pwd",
        rf"{_PASSWORD}{_OPEN}{_NO_VALUE}(?=[^\s\"'`]{{0,60}}?[\d!@#$%^&*+~])((?:(?!\1)[^\s\0]){{6,200}})(?=\1)",
    ),
    _named(
        "password",
        "pass pwd",
        rf"{_PASSWORD}{_NO_VALUE}(?![a-z]\w*(?:\.\w|\(|\[)|[a-z]+_|pass\w*(?!\S))(?=[^\s\d]{{0,60}}\d)(?=[^\sa-z]{{0,60}}[a-z])"
        r"([^\s\"'`,;&<>()\[\]{}\\\0]{8,200})",
    ),
    _named(  # ~/.netrc
        "password",
        "machine default",
        rf"(?:machine{_BLANK}{_HOST}|default){_BLANK}login{_BLANK}{_HOST}{_BLANK}(?:account{_BLANK}{_HOST}{_BLANK})?"
        rf"password{_BLANK}{_NO_VALUE}{_VALUE}",
    ),
    _pattern(  # ~/.pgpass: host:port:database:user:password
        "password",
        ":54 :64 :65 :*:",
        rf"(?<=[\w*\]-]):(?:\d{{4}}|\*):{_PART}:{_PART}:{_NO_VALUE}"
        r"((?:[^\s:\"'\\\0]|\\[:\\]){3,200}?)(?=[,;)\]}=&-]*(?:[\s\"'\\\0]|\Z))",
    ),
    _named(
        "password",
        "curl http",
        r"(?:curl|https?)(?=\s)(?:[^\n\0]|\\\n){0,1000}?\s(?:-u|-a|--user|--proxy-user|--auth)(?:[ =]|(?=[^\s-]))"
        rf"(?:\\*[\"'])?[^\s:\"'\0]{{1,100}}:{_NO_VALUE}{_VALUE}",
    ),
    _named("password", "sshpass", rf"sshpass\s+-p\s?(?:\\*[\"'])?{_NO_VALUE}{_VALUE}"),
    _named(
        "password",
        "mysql mariadb",
        rf"(?:mysql|mariadb)(?:dump|admin)?\b[^\n\0]{{0,300}}?\s(?-i:-p)(?:\\*[\"'])?{_NO_VALUE}(?![\s-]){_VALUE}",
    ),
    _named(
        "password",
        "--pass",
        rf"--pass(?:word|wd|phrase)?[ =](?:\\*[\"'])?{_NO_VALUE}(?=\S{{0,60}}?[\d!@#$%^&*+~]){_VALUE}",
    ),
    _named(  # ~/.kaggle/kaggle.json
        "secret",
        "username",
        rf"username{_IS}\\*[\"'][^\"'\0]{{1,100}}?\\*[\"'],\s{{0,20}}\\*[\"']key{_IS}\\*[\"']([a-z0-9_-]{{16,200}})",
    ),
    _named(  # Django: letters, digits and any signs
        "secret",
        "secret",
        rf"secret_?key(?:_?base)?{_IS}{_OPEN}{_NO_VALUE}(?=[^\"'`\s]{{0,80}}?\d)((?:(?!\1)[^\s/\0]){{20,200}})(?=\1)",
    ),
    _named(
        "secret",
        "secret",
        rf"secret_?key(?:_?base)?{_IS}{_NO_VALUE}(?![a-z]\w*(?:\.\w|\(|\[))(?=\S{{0,80}}?\d)"
        r"([^\s\"'`\\/\0]{24,200}?)(?=[,;:)\]}=&-]*(?:[\s\"'\\\0]|\Z))",
    ),
    _token("secret", "django-insecure-", r"django-insecure-([^\s\"'\\\0]{20,200})"),
    _named(
        "secret",
        "secret token auth key",
        rf"(?:secret|token|auth|(?:{_KEY})key)\d?{_IS}(?:{_OPEN})?{_NO_VALUE}({_MIXED})(?![(\[])",
    ),
)
