"""Secrets of every form, put together here so that no scanner finds any: none is real."""

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


def made(length: int, letters: str = LETTERS, seed: int = 0) -> str:
    """Letters as a provider would draw them, the same every time; a digit and a letter among the first."""
    drawn = random.Random(f"{length}{letters}{seed}")
    return "a7" + "".join(drawn.choice(letters) for _ in range(length - 2))


def caps(length: int) -> str:
    return made(length, UPPER).upper()


def coded(value: object) -> str:
    return base64.urlsafe_b64encode(json.dumps(value).encode()).decode().rstrip("=")


PEM_BODY = "\n".join(made(64, BASE64, seed) for seed in range(4))


def pem(kind: str, extra: str = "") -> str:
    return f"-----BEGIN {kind}-----\n{extra}{PEM_BODY}\n-----END {kind}-----"


# label, what stands before the secret part, the secret part, what stands after it
PLANTED = [
    ("Anthropic key", "sk-" + "ant-api03-", made(93, URL) + "AA", ""),
    ("Anthropic key", "sk-" + "ant-oat01-", made(95, URL), ""),
    ("Anthropic key", "sk-" + "ant-admin01-", made(95, URL), ""),
    ("OpenAI key", "sk-" + "proj-", made(124, URL), ""),
    ("OpenAI key", "sk-" + "svcacct-", made(80, URL), ""),
    ("OpenAI key", "sk-" + "admin-", made(80, URL), ""),
    ("API key", "sk-", made(20) + "T3Blbk" + "FJ" + made(20, seed=1), ""),
    ("API key", "sk-", made(32, HEX), ""),  # DeepSeek, DashScope
    ("API key", "sk-", made(22, URL), ""),  # LiteLLM
    ("API key", "sk-" + "lf-", "a7c0f2d4-1b2c-4d3e-8f90-0a1b2c3d4e5f", ""),
    ("OpenRouter key", "sk-" + "or-v1-", made(64, HEX), ""),
    ("Google key", "AI" + "za", "Sy" + made(33, URL), ""),
    ("Google key", "AQ" + ".Ab", made(50, URL), ""),
    ("Google OAuth secret", "GOC" + "SPX-", made(28, URL), ""),
    ("Google OAuth secret", "ya" + "29.", made(120, URL), ""),
    ("GitHub token", "gh" + "p_", made(36), ""),
    ("GitHub token", "gh" + "o_", made(36), ""),
    ("GitHub token", "gh" + "u_", made(36), ""),
    ("GitHub token", "gh" + "s_", made(36), ""),
    ("GitHub token", "gh" + "r_", made(76), ""),
    ("GitHub token", "github" + "_pat_", made(22) + "_" + made(59, seed=1), ""),
    ("GitLab token", "gl" + "pat-", made(20, URL), ""),
    ("GitLab token", "gl" + "rt-", made(20, URL), ""),
    ("AWS access key id", "AK" + "IA", caps(16), ""),
    ("AWS access key id", "AS" + "IA", caps(16), ""),
    ("AWS secret key", "aws_secret_access_key = ", made(18, BASE64) + "/" + made(21, BASE64), ""),
    ("AWS secret key", '"SecretAccessKey": "', made(40, BASE64), '"'),
    ("AWS Bedrock key", "AB" + "SK", made(128, BASE64), "=="),
    ("Slack token", "xo" + "xb-", "1234567890-1234567890123-" + made(24), ""),
    ("Slack token", "xo" + "xp-", "1234567890-1234567890-1234567890-" + made(32, HEX), ""),
    ("Slack token", "xa" + "pp-1-", "A01234567-1234567890123-" + made(64, HEX), ""),
    ("webhook URL", "https://hooks.slack" + ".com/services/", f"T{caps(8)}/B{caps(10)}/{made(24)}", ""),
    ("webhook URL", "https://discord.com/api/" + "webhooks/1234567890123456789/", made(68, URL), ""),
    ("Stripe key", "sk_" + "live_", made(24), ""),
    ("Stripe key", "rk_" + "live_", made(99), ""),
    ("Stripe key", "sk_" + "test_", made(24), ""),
    ("webhook secret", "wh" + "sec_", made(32), ""),
    ("SendGrid key", "S" + "G.", made(22, URL) + "." + made(43, URL), ""),
    ("Twilio key", "S" + "K", made(32, HEX), ""),
    ("Mailgun key", "ke" + "y-", made(32, HEX), ""),
    ("Hugging Face token", "h" + "f_", made(34), ""),
    ("npm token", "np" + "m_", made(36), ""),
    ("PyPI token", "pypi-" + "AgEIcHlwaS5vcmc", made(150, URL), ""),
    ("PyPI token", "pypi-" + "AgENdGVzdC5weXBpLm9yZw", made(150, URL), ""),
    ("Telegram token", "1234567890:", "A" + "A" + made(33, URL), ""),
    ("Discord token", "", "M" + "T" + made(24) + "." + made(6) + "." + made(38, URL), ""),
    ("Azure key", "DefaultEndpointsProtocol=https;Account" + "Key=", made(86, BASE64) + "==", ""),
    ("Azure signature", "https://x.blob.core.windows.net/c?sv=2024&sig" + "=", quote(made(43) + "=", safe=""), ""),
    ("JSON web token", "", f"{coded({'alg': 'HS256'})}.{coded({'sub': '1', 'name': 'x'})}.{made(43, URL)}", ""),
    ("private key", "", pem("RSA PRIVATE" + " KEY"), ""),
    ("private key", "", pem("OPENSSH PRIVATE" + " KEY"), ""),
    ("private key", "", pem("PRIVATE" + " KEY"), ""),
    ("private key", "", pem("RSA PRIVATE" + " KEY", "Proc-Type: 4,ENCRYPTED\nDEK-Info: AES-128-CBC,00\n\n"), ""),
    ("private key", "", pem("PGP PRIVATE" + " KEY BLOCK", "Version: GnuPG v2\n\n"), ""),
    ("private key", "", pem("PRIVATE" + " KEY")[:200], ""),  # cut off
    ("Databricks token", "da" + "pi", made(32, HEX), ""),
    ("DigitalOcean token", "do" + "p_v1_", made(64, HEX), ""),
    ("Docker token", "dc" + "kr_pat_", made(27, URL), ""),
    ("Shopify token", "sh" + "pat_", made(32, HEX), ""),
    ("Atlassian token", "AT" + "ATT3", made(186, URL), ""),
    ("Notion token", "nt" + "n_", made(46), ""),
    ("Groq key", "gs" + "k_", made(52), ""),
    ("xAI key", "xa" + "i-", made(80), ""),
    ("Perplexity key", "pp" + "lx-", made(48), ""),
    ("Replicate token", "r" + "8_", made(37), ""),
    ("Cerebras key", "cs" + "k-", made(48, LOWER), ""),
    ("NVIDIA key", "nv" + "api-", made(64, URL), ""),
    ("Fireworks key", "f" + "w_", made(24), ""),
    ("Tavily key", "tv" + "ly-", "dev-" + made(32), ""),
    ("LangSmith key", "ls" + "v2_pt_", made(32, HEX) + "_" + made(10, HEX), ""),
    ("Pinecone key", "pc" + "sk_", made(6) + "_" + made(60), ""),
    ("Vault token", "hv" + "s.", made(90, URL), ""),
    ("Grafana token", "gl" + "sa_", made(32) + "_" + made(8, HEX), ""),
    ("bearer token", "Authorization: Bearer ", made(40), ""),
    ("bearer token", "'authorization': 'bearer ", made(32, URL), "'"),
    ("authorization", "Authorization: Basic ", base64.b64encode(b"someone:letmein").decode(), ""),
    ("authorization", '"Authorization": "Token ', made(40, HEX), '"'),
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
    ("secret", 'api_key = "', made(32, LOWER), '"'),  # Mistral
    ("secret", "COHERE_API_KEY=", made(40), ""),
    ("secret", "x-api-key: ", made(40), ""),
    ("secret", '"clientSecret": "', made(40, URL), '"'),
    ("secret", 'token="', "a7c0f2d4-1b2c-4d3e-8f90-0a1b2c3d4e5f", '"'),
    ("secret", "AccessKey := `", made(30), "`"),
    ("secret", '"auth": "', base64.b64encode(b"someone:letmein-2024").decode(), '"'),
    ("secret", "//registry.npmjs.org/:_authToken=", "a7c0f2d4-1b2c-4d3e-8f90-0a1b2c3d4e5f", ""),
]  # fmt: skip
