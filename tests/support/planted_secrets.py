"""Fake secrets of every form, built from parts so that no scanner reports this file."""

from __future__ import annotations

import base64
import json
import random
import string
from urllib.parse import quote

LETTERS = string.ascii_letters + string.digits
LOWER = string.ascii_lowercase + string.digits
UPPER = string.ascii_uppercase + string.digits
HEX = "0123456789abcdef"
URL = LETTERS + "-_"
BASE64 = LETTERS + "+/"


def fake(length: int, letters: str = LETTERS, seed: int = 0) -> str:
    """Letters like those of a provider's key, the same at each run; they start with a letter and a digit."""
    generator = random.Random(f"{length}{letters}{seed}")
    return "a7" + "".join(generator.choice(letters) for _ in range(length - 2))


def caps(length: int) -> str:
    return fake(length, UPPER).upper()


def b64_json(value: object) -> str:
    return base64.urlsafe_b64encode(json.dumps(value).encode()).decode().rstrip("=")


PEM_BODY = "\n".join(fake(64, BASE64, seed) for seed in range(4))


def pem(kind: str, extra: str = "") -> str:
    return f"-----BEGIN {kind}-----\n{extra}{PEM_BODY}\n-----END {kind}-----"


# label, text before the secret part, the secret part, text after it
PLANTED = [
    ("Anthropic key", "sk-" + "ant-api03-", fake(93, URL) + "AA", ""),
    ("Anthropic key", "sk-" + "ant-oat01-", fake(95, URL), ""),
    ("Anthropic key", "sk-" + "ant-admin01-", fake(95, URL), ""),
    ("OpenAI key", "sk-" + "proj-", fake(124, URL), ""),
    ("OpenAI key", "sk-" + "svcacct-", fake(80, URL), ""),
    ("OpenAI key", "sk-" + "admin-", fake(80, URL), ""),
    ("API key", "sk-", fake(20) + "T3Blbk" + "FJ" + fake(20, seed=1), ""),
    ("API key", "sk-", fake(32, HEX), ""),  # DeepSeek, DashScope
    ("API key", "sk-", fake(22, URL), ""),  # LiteLLM
    ("API key", "sk-" + "lf-", "a7c0f2d4-1b2c-4d3e-8f90-0a1b2c3d4e5f", ""),
    ("OpenRouter key", "sk-" + "or-v1-", fake(64, HEX), ""),
    ("Google key", "AI" + "za", "Sy" + fake(33, URL), ""),
    ("Google key", "AQ" + ".Ab", fake(50, URL), ""),
    ("Google OAuth secret", "GOC" + "SPX-", fake(28, URL), ""),
    ("Google OAuth secret", "ya" + "29.", fake(120, URL), ""),
    ("GitHub token", "gh" + "p_", fake(36), ""),
    ("GitHub token", "gh" + "o_", fake(36), ""),
    ("GitHub token", "gh" + "u_", fake(36), ""),
    ("GitHub token", "gh" + "s_", fake(36), ""),
    ("GitHub token", "gh" + "r_", fake(76), ""),
    ("GitHub token", "github" + "_pat_", fake(22) + "_" + fake(59, seed=1), ""),
    ("GitLab token", "gl" + "pat-", fake(20, URL), ""),
    ("GitLab token", "gl" + "rt-", fake(20, URL), ""),
    ("AWS access key id", "AK" + "IA", caps(16), ""),
    ("AWS access key id", "AS" + "IA", caps(16), ""),
    ("AWS secret key", "aws_secret_access_key = ", fake(18, BASE64) + "/" + fake(21, BASE64), ""),
    ("AWS secret key", '"SecretAccessKey": "', fake(40, BASE64), '"'),
    ("AWS Bedrock key", "AB" + "SK", fake(128, BASE64), "=="),
    ("Slack token", "xo" + "xb-", "1234567890-1234567890123-" + fake(24), ""),
    ("Slack token", "xo" + "xp-", "1234567890-1234567890-1234567890-" + fake(32, HEX), ""),
    ("Slack token", "xa" + "pp-1-", "A01234567-1234567890123-" + fake(64, HEX), ""),
    ("webhook URL", "https://hooks.slack" + ".com/services/", f"T{caps(8)}/B{caps(10)}/{fake(24)}", ""),
    ("webhook URL", "https://discord.com/api/" + "webhooks/1234567890123456789/", fake(68, URL), ""),
    ("Stripe key", "sk_" + "live_", fake(24), ""),
    ("Stripe key", "rk_" + "live_", fake(99), ""),
    ("Stripe key", "sk_" + "test_", fake(24), ""),
    ("webhook secret", "wh" + "sec_", fake(32), ""),
    ("SendGrid key", "S" + "G.", fake(22, URL) + "." + fake(43, URL), ""),
    ("Twilio key", "S" + "K", fake(32, HEX), ""),
    ("Mailgun key", "ke" + "y-", fake(32, HEX), ""),
    ("Hugging Face token", "h" + "f_", fake(34), ""),
    ("npm token", "np" + "m_", fake(36), ""),
    ("PyPI token", "pypi-" + "AgEIcHlwaS5vcmc", fake(150, URL), ""),
    ("PyPI token", "pypi-" + "AgENdGVzdC5weXBpLm9yZw", fake(150, URL), ""),
    ("Telegram token", "1234567890:", "A" + "A" + fake(33, URL), ""),
    ("Discord token", "", "M" + "T" + fake(24) + "." + fake(6) + "." + fake(38, URL), ""),
    ("Azure key", "DefaultEndpointsProtocol=https;Account" + "Key=", fake(86, BASE64) + "==", ""),
    ("Azure signature", "https://x.blob.core.windows.net/c?sv=2024&sig" + "=", quote(fake(43) + "=", safe=""), ""),
    ("JSON web token", "", f"{b64_json({'alg': 'HS256'})}.{b64_json({'sub': '1', 'name': 'x'})}.{fake(43, URL)}", ""),
    ("private key", "", pem("RSA PRIVATE" + " KEY"), ""),
    ("private key", "", pem("OPENSSH PRIVATE" + " KEY"), ""),
    ("private key", "", pem("PRIVATE" + " KEY"), ""),
    ("private key", "", pem("RSA PRIVATE" + " KEY", "Proc-Type: 4,ENCRYPTED\nDEK-Info: AES-128-CBC,00\n\n"), ""),
    ("private key", "", pem("PGP PRIVATE" + " KEY BLOCK", "Version: GnuPG v2\n\n"), ""),
    ("private key", "", pem("PRIVATE" + " KEY")[:200], ""),  # cut off
    ("private key", "    client-key-data: ", base64.b64encode(pem("RSA PRIVATE" + " KEY").encode()).decode(), ""),
    ("private key", "    client-key-data: ", fake(200, BASE64), ""),
    (
        "private key",
        "PuTTY-User-Key-File-3: ssh-ed25519\nEncryption: none\nPrivate-Lines: 3\n",
        "\n".join((fake(64, BASE64), fake(64, BASE64, 1), fake(20, BASE64))),
        "\nPrivate-MAC: " + fake(64, HEX, 9),
    ),
    ("age key", "AGE-SECRET" + "-KEY-1", caps(58), ""),
    ("Azure client secret", "abc8", "Q" + "~" + fake(34, URL), ""),
    ("API token", "lin" + "_api_", fake(40), ""),
    ("API token", "KG" + "AT_", fake(32, HEX), ""),
    ("API token", "wandb" + "_v1_", fake(40), ""),
    ("API token", "dp" + ".pt.", fake(43), ""),
    ("conda token", "https://conda.anaconda.org/t/", "ab-a7c0f2d4-1b2c-4d3e-8f90-0a1b2c3d4e5f", "/someone"),
    ("password hash", "", "$2b" + "$12$" + fake(53, LETTERS + "./"), ""),
    ("password hash", "argon2:", "$argon2id" + "$v=19$m=10240,t=10,p=8$" + fake(22) + "$" + fake(43), ""),
    ("Databricks token", "da" + "pi", fake(32, HEX), ""),
    ("DigitalOcean token", "do" + "p_v1_", fake(64, HEX), ""),
    ("Docker token", "dc" + "kr_pat_", fake(27, URL), ""),
    ("Shopify token", "sh" + "pat_", fake(32, HEX), ""),
    ("Atlassian token", "AT" + "ATT3", fake(186, URL), ""),
    ("Notion token", "nt" + "n_", fake(46), ""),
    ("Groq key", "gs" + "k_", fake(52), ""),
    ("xAI key", "xa" + "i-", fake(80), ""),
    ("Perplexity key", "pp" + "lx-", fake(48), ""),
    ("Replicate token", "r" + "8_", fake(37), ""),
    ("Cerebras key", "cs" + "k-", fake(48, LOWER), ""),
    ("NVIDIA key", "nv" + "api-", fake(64, URL), ""),
    ("Fireworks key", "f" + "w_", fake(24), ""),
    ("Tavily key", "tv" + "ly-", "dev-" + fake(32), ""),
    ("LangSmith key", "ls" + "v2_pt_", fake(32, HEX) + "_" + fake(10, HEX), ""),
    ("Pinecone key", "pc" + "sk_", fake(6) + "_" + fake(60), ""),
    ("Vault token", "hv" + "s.", fake(90, URL), ""),
    ("Grafana token", "gl" + "sa_", fake(32) + "_" + fake(8, HEX), ""),
    ("bearer token", "Authorization: Bearer ", fake(40), ""),
    ("bearer token", "'authorization': 'bearer ", fake(32, URL), "'"),
    ("authorization", "Authorization: Basic ", base64.b64encode(b"someone:letmein").decode(), ""),
    ("authorization", '"Authorization": "Token ', fake(40, HEX), '"'),
    ("URL password", "postgresql://someone:", "letmein", "@db.example.com:5432/x"),
    ("URL password", "mongodb+srv://someone:", "Tr0ub4dor&3", "@cluster0.example.net/?w=1"),
    ("URL password", "redis://:", "p@ss:w0rd", "@localhost:6379/0"),
    ("password", 'password = "', "Tr0ub4dor&3", '"'),
    ("password", "db_password='", "hunter2", "'"),
    ("password", 'config["DB_PASSWORD"] = "', "p@ssword", '"'),
    ("password", "password=", "abc12345", "&user=x"),
    ("password", "PGPASSWORD=", "s3cretsauce", ""),
    ("password", "Pwd: ", "x9-Kettle!", ""),
    ("password", 'passphrase: str = "', "open.sesame1", '"'),
    ("password", "machine api.example.com\n  login someone\n  password ", "letmein", ""),
    ("password", "default login someone password ", "letmein", ""),
    ("password", "db.example.com:5432:sales:someone:", "letmein", ""),
    ("password", "*:*:*:someone:", "letmein", ""),
    ("password", "curl -sS -u someone:", "letmein", " https://example.com"),
    ("password", "curl --user 'someone:", "letmein", "' https://example.com"),
    ("password", "sshpass -p ", "letmein", " ssh someone@example.com"),
    ("password", "mysql -h db -u someone -p", "letmein", " sales"),
    ("password", "tool --password ", "let-me-1n", ""),
    ("secret", '{"username":"someone","key":"', fake(32, HEX), '"}'),  # Kaggle
    ("secret", "SECRET_KEY = '", "django-insecure-" + "q9#w^1(x&_z)0+e@r=t$y-u!i*o%p3a5s7d8f", "'"),
    ("secret", "SECRET_KEY=", "q9#w^1x&_z0+e@r=t$y-u!i*o%p3a5s7d8f", ""),
    ("secret", 'api_key = "', fake(32, LOWER), '"'),  # Mistral
    ("secret", "COHERE_API_KEY=", fake(40), ""),
    ("secret", "x-api-key: ", fake(40), ""),
    ("secret", '"clientSecret": "', fake(40, URL), '"'),
    ("secret", 'token="', "a7c0f2d4-1b2c-4d3e-8f90-0a1b2c3d4e5f", '"'),
    ("secret", "AccessKey := `", fake(30), "`"),
    ("secret", '"auth": "', base64.b64encode(b"someone:letmein-2024").decode(), '"'),
    ("secret", "//registry.npmjs.org/:_authToken=", "a7c0f2d4-1b2c-4d3e-8f90-0a1b2c3d4e5f", ""),
]  # fmt: skip
