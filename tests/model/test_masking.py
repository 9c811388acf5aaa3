"""Secrets in text are masked, whatever form they have; what people need to read stays as it is."""

from __future__ import annotations

import time

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from dbbtrace.model.masking import LONGEST, masked, masked_address

S = "Sesame4Tail"
"""The secret, in what follows."""
JWT = f"eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9.eyJzdWIi{S}.c2ln-{S}"

SECRETS = [
    # passwords, by name and "="
    f"Server=h;UID=u;PWD={S};Encrypt=yes",
    f"Server=h;UID=u;PWD={{a;{S}}}}}b}};Encrypt=yes",
    f"Server=h;UID=u;PWD={{a;{S};Encrypt=yes",
    f"Server=h;UID=u;PWD=a b {S} c;Encrypt=yes",
    f"Server=h;UID=u;PWD=a;{S};Encrypt=yes",
    f"Server=h;UID=u;PWD=a;{S}",
    f"Server=h;UID=u;PWD=a&{S};Encrypt=yes",
    f"Server=h;UID=u;pwd = 'a;{S}'",
    f"Server=h;User ID=u;Password={S};Persist Security Info=False",
    f'connect("Server=h;PWD={S}") failed',
    f"login failed: password={S}",
    f"host=h user=u password={S} dbname=d",
    f"host=h user=u password='a {S}' dbname=d",
    f"DBT_ENV_SECRET_PASSWORD={S}",
    f"db.passwd={S}",
    f"DB_PASS={S}",
    f"sslpassword={S}",
    f"pass={S}",
    f"PW={S};",
    f"connect(user='u', password='{S}')",
    f'connect(user="u", password="a\\"{S}")',
    f"user=u&password={S}&grant_type=password",
    f"user%3Du%26pwd%3D{S}",
    f"CREATE LOGIN u WITH PASSWORD = N'it''s{S}'",
    f"ALTER USER u IDENTIFIED BY '{S}'",
    # ... and ":"
    f"password: {S}",
    f"password: a {S} b",
    f"  passphrase : '{S}'",
    f'{{"user": "u", "password": "{S}"}}',
    f'{{"user": "u", "password":"a, {S}"}}',
    f"{{'user': 'u', 'password': '{S}'}}",
    f'"{{\\"password\\": \\"{S}\\"}}"',
    # ... and on a command line
    f"sqlcmd --password {S} -S h",
    f"az login --client-secret {S}",
    f"curl --token {S}",
    f"curl -u bob:{S} https://h/",
    f"<user>u</user><password>a {S}</password>",
    f"Authorization: AWS4-HMAC-SHA256 Credential=AKIAIOSFODNN7EXAMPLE/1/s3/aws4_request, Signature={S}0123",
    f"Ocp-Apim-Subscription-Key: {S}",
    f"https://h/api?subscription-key={S}&x=1",
    f"x-functions-key: {S}",
    f"passcode={S}",
    f"Kennwort: {S}",
    f"https://h.azurewebsites.net/api/f?code={S}0123456789012345==&x=1",
    f"jdbc:sqlserver://h:1433;database=d;user=u;password={S};encrypt=true",
    f"redis://:{S}@h:6379/0",
    # keys and secrets
    f"DefaultEndpointsProtocol=https;AccountName=a;AccountKey={S}==;EndpointSuffix=core.windows.net",
    f"Endpoint=sb://h/;SharedAccessKeyName=Root;SharedAccessKey={S}=;EntityPath=e",
    f"BlobEndpoint=https://h/;SharedAccessSignature=sv=2022&sig={S}",
    f"Server=h;Key={S};Database=d",
    f"client_secret={S}",
    f"clientSecret: {S}",
    f'{{"client_secret": "{S}"}}',
    f'{{"id": 1, "client_secret": "{S}',
    f'<add key="Db:Password" value="{S}"/>',
    f"Authentication=ActiveDirectoryServicePrincipal;UID=a;ClientSecret={S}",
    f"aws_secret_access_key={S}",
    f"X-Api-Key: {S}",
    f"api_key={S}",
    f"apiKey='{S}'",
    f"https://h/v1?api-key={S}&x=1",
    f"access key = {S}",
    f"account_key: {S}",
    f"private_key: {S}",
    f"shared key: {S}",
    f"-----BEGIN RSA PRIVATE KEY-----\nMIIE{S}\n-----END RSA PRIVATE KEY-----",
    f"-----BEGIN PRIVATE KEY-----\nMIIE{S}",
    f"-----BEGIN OPENSSH PRIVATE KEY-----\\nb3Bl{S}\\n-----END OPENSSH PRIVATE KEY-----",
    # tokens
    f"token={S}",
    f"access_token: {S}",
    f'{{"refresh_token":"{S}"}}',
    f"with token {S}",
    f"Authorization: Bearer {S}",
    f"Authorization: Basic {S}=",
    f"'Authorization': 'Bearer {S}'",
    f"authorization=Bearer%20{S}",
    f"Authorization: {S}",
    f"Bearer {S}",
    f"Set-Cookie: session={S}; HttpOnly",
    f"the access_token '{S}' has expired",
    # ... in a sentence, in SQL
    f"Login with password {S} failed",
    f"the password ({S}) is wrong",
    f"wrong password '{S} x'",
    f"password is {S}",
    f"machine h login u password {S}",
    f"Incorrect API key provided: {S}",
    f"invalid access key '{S}'",
    f"CREATE USER u WITH PASSWORD '{S}'",
    f"GRANT ALL TO u IDENTIFIED BY PASSWORD '{S}'",
    f"mot de passe : {S}",
    f"contraseña={S}",
    # ... as Python, Spark, XML and URLs write them
    f"('password', '{S}')",
    f"[('x-api-key', b'{S}')]",
    f"requests.get(url, auth=('u', '{S}'))",
    f"HTTPBasicAuth('u', '{S}')",
    f"fs.azure.account.key.a.dfs.core.windows.net={S}",
    f"fs.s3a.secret.key={S}",
    f"DBT_ENV_SECRET_GIT={S}",
    f'<Password xsi:type="string">{S}</Password>',
    f"?q=%22password%22%3A%22{S}%22",
    f"password\\u003d{S}",
    f"primaryKey: {S}{'A' * 32}=",
    # ... and as arguments of programs
    f"Command '['sqlcmd', '-S', 'h', '-U', 'sa', '-P', '{S}']' returned non-zero exit status 1.",
    f"Command '['az', 'login', '--password', '{S}']' returned non-zero exit status 1.",
    f"bcp t in f -S h -U sa -P{S}",
    f"sshpass -p {S} ssh h",
    f"mysqldump -uroot -p{S} d",
    f"sqlplus u/{S}@h",
    # URLs
    f"mssql://u:{S}@h/d",
    f"postgresql://u:a/{S}@h:5432/d",
    f"postgresql://u:a@{S}@h/d",
    f"mssql+pyodbc://u:p%40{S}@h/d?driver=x",
    f"snowflake://u:{S}:x@h",
    f"https://u:{S}@h/v1/traces",
    f"https://u:12345{S}@h/",
    f"https://{S}0123456789@h.ingest.example.com/1",
    f"https://h.blob.core.windows.net/c/b?sv=2022&sp=r&sig={S}%3D&se=2024",
    f"https://h/o?X-Amz-Signature={S}",
    f"https://h/o?se=1&amp;sig={S}",
    f"https://hooks.slack.com/services/T0AAA/B0BBB/{S}",
    f"https://o.webhook.office.com/webhookb2/11111111-1111-1111-1111-111111111111@2/IncomingWebhook/{S}/3",
    f"https://discord.com/api/webhooks/123/{S}",
    f"https://api.telegram.org/bot123:{S}/sendMessage",
    f"https://h/path/{S}AbCdEf0123456789AbCdEf0123456789/x",
    # shapes
    JWT,
    f"got {JWT}, which has expired",
    f"ghp_{S}xxxxxxxxxxxxxxxxxxxxxxxxx",
    f"github_pat_11AAAA_{S}xxxxxxxxxxxxxxxxx",
    f"glpat-{S}xxxxxxxxx",
    f"xoxb-1234567890-{S}",
    f"abc8Q~{S}xxxxxxxxxxxxxxxxxxxxxxx",
    f"sk-proj-{S}xxxxxxxxxxxxxxxxx",
    f"sk_live_{S}xxxxxxxxxxxxxxxxx",
    f"hf_{S}xxxxxxxxxxxxxxxxxxxxxxxxx",
    f"AIza{S}xxxxxxxxxxxxxxxxxxxxxxxxx",
]

READABLE = [
    # SQL Server
    "Violation of PRIMARY KEY constraint 'PK'. Cannot insert duplicate key in object 'dbo.customer'. (2627)",
    "The duplicate key value is (1234, 2024-11-01). (2627)",
    "Cannot insert duplicate key row in object 'dbo.t' with unique index 'ix'. (2601)",
    "The duplicate key value is (a=b). (2601)",
    'The INSERT statement conflicted with the FOREIGN KEY constraint "FK_order_customer". (547)',
    'The conflict occurred in database "dbb", table "dbo.customer", column \'id\'. (547)',
    "[42000] [Microsoft][ODBC Driver 18 for SQL Server][SQL Server]Incorrect syntax near 'token'. (102)",
    "Incorrect syntax near the keyword 'KEY'. (156)",
    "Login failed for user 'dbb_writer'. (18456)",
    "Login failed for user '<token-identified principal>'. (18456)",
    "String or binary data would be truncated in table 'dbb.meta.t', column 'pwd_hint'. Truncated value: 'abc'. (2628)",
    "Cannot open server 'h' requested by the login. Client with IP address '10.1.2.3' is not allowed (40615)",
    # PostgreSQL, MySQL, SQLite
    'duplicate key value violates unique constraint "customer_pkey"\nDETAIL:  Key (id)=(1234) already exists.',
    'insert on table "o" violates foreign key constraint "fk"\nDETAIL:  Key (customer_id)=(7) is not present.',
    'FATAL:  password authentication failed for user "dbb"',
    "fe_sendauth: no password supplied",
    "Access denied for user 'u'@'h' (using password: YES)",
    "Duplicate entry '5' for key 'customer.PRIMARY'",
    "UNIQUE constraint failed: customer.key",
    # dbt
    "Done. PASS=12 WARN=0 ERROR=1 SKIP=3 TOTAL=16",
    "pass: 3 warn: 1 error: 0",
    "Compilation Error in model customers (models/customers.sql)\n  'unique_key' is undefined",
    "Compilation Error: unique_key='customer_id' and merge_update_columns=['name']",
    "unique_key: ['customer_id', 'valid_from']",
    "Database Error in model dim_token (models/dim_token.sql)\n  Invalid column name 'secret_flag'.",
    "expected token 'end of print statement', got 'name'\n  line 12\n    {{ config(unique_key=id }}",
    "Runtime Error: Env var required but not provided: 'DBT_ENV_SECRET_TOKEN'",
    "Got 3 results, configured to fail if != 0",
    "relationships_orders_customer_key__customer_key__ref_customers_",
    # parsers
    "Unexpected token < in JSON at position 0",
    "unexpected token: SELECT2024",
    "Unknown token identifier12345 at line 3",
    "ParseError: invalid token at line 12, column 8",
    "max_tokens=4096, temperature=0.2, top_k=5",
    "KeyError: 'customer_key'",
    "KeyError: 'password'",
    "TypeError: connect() got an unexpected keyword argument 'password'",
    "Key (api_key)=(abc) already exists.",
    "exit status: code=17, ?code=PT",
    "sort -u names: 4 lines",
    "sort_key=customer_id, partition_key=load_date",
    "key=customer_id value=7",
    "The key: 42 is not in the dictionary",
    "sig=abc is no column",
    # Azure, HTTP
    "AADSTS7000215: Invalid client secret provided. Ensure the secret being sent in the request is the client",
    "secret value, not the client secret ID, for a secret added to app '0f8fad5b-d9cb-469f-a165-70867728950e'.",
    "AADSTS700082: The refresh token has expired due to inactivity. The token was issued on 2024-01-01T00:00:00Z",
    "401 Unauthorized: authorization failed; the token is invalid",
    "Authorization: missing",
    "password: must not be empty",
    "Wrong password: check the login",
    "https://onelake.dfs.fabric.microsoft.com/0f8fad5b-d9cb-469f-a165-70867728950e/lh.Lakehouse/Files/a.parquet",
    "http://localhost:16686/trace/0f8fad5bd9cb469fa16570867728950e",
    "https://h:8443/users/somebody@example.com",
    "https://h/a?email=somebody@example.com&page=2",
    "mongodb://h1:27017,h2:27017/db",
    "mssql://h.datawarehouse.fabric.microsoft.com/dbb",
    "sqlite:////data/dbb_warehouse.db",
    "mail somebody@example.com at 12:30",
    "C:\\Users\\u\\passwords\\readme.txt not found",
    "Contract Error: column access_key: definition data_type=varchar contract data_type=text",
    "mismatched token: 'abc12345'; expected one of SELECT",
    "syntax error near token 'abc12345'",
    "Key Vault secret: sql-password-v2 was not found",
    "EnvironmentCredential: EnvironmentCredential authentication unavailable.",
    "credential: DefaultAzureCredential failed to retrieve a token",
    "credentials: ManagedIdentityCredential, AzureCliCredential",
    "/etc/passwd: permission denied",
    "cat /etc/passwd",
    "ValidationError: password: Field required",
    "api_key: Optional[str] = None",
    "password authentication is not supported: password sha256 or md5",
    "1 of 5 PASS dim2customer",
    "primary_key: order_id, surrogate_key=9b74c9897bac770ffc029102a200c5de",
    "Secret 'dbb-prd-sql-password-2' not found in key vault kv-dbb-prd-01 (SecretNotFound)",
    "Authentication plugin 'caching_sha2_password' cannot be loaded",
    "Command '['mysql', '-p', 'd']' returned non-zero exit status 1.",
    "the tuple ('password', 'email') names columns",
    "mkdir -p /data/x; cp -P a b",
    "Command '['mkdir', '-p', '/data/x']' returned non-zero exit status 1.",
    "2024-11-01T12:30:00Z ERROR line 17: division by zero",
    "write Server=...;Database=...;UID=...;PWD=...",
    "Driver={ODBC Driver 18 for SQL Server};Server=h,1433;Database=d;UID=u;Encrypt=yes",
]


@pytest.mark.parametrize("text", SECRETS)
def test_a_secret_is_masked(text: str) -> None:
    """No part of the secret is left, alone or in a sentence; masked again, the text stays as it is."""
    for whole in (text, f"RuntimeError: it broke: {text}", f"first line\n{text}\nlast line"):
        assert S not in masked(whole)
        assert "***" in masked(whole)
        assert masked(masked(whole)) == masked(whole)
    assert "last line" in masked(f"{text}\nlast line") or "-----BEGIN" in text


@pytest.mark.parametrize("text", READABLE)
def test_what_people_need_to_read_stays(text: str) -> None:
    """Errors of databases, dbt, parsers and services that only sound like secrets."""
    assert masked(text) == text


def test_aws_keys_and_storage_keys_are_known_by_their_shape() -> None:
    """They have fixed alphabets and lengths."""
    assert masked("id AKIAIOSFODNN7EXAMPLE, region eu-west-1") == "id ***, region eu-west-1"
    assert masked(f"key {'aB3/' * 21}aB== end") == "key *** end"


def test_what_stands_around_a_secret_stays() -> None:
    """The message is of use without it."""
    assert masked(f"Server=h;PWD=a;{S};Encrypt=yes") == "Server=h;PWD=***;Encrypt=yes"
    assert masked(f"host=h password={S} dbname=d") == "host=h password=*** dbname=d"
    assert masked(f"conn mssql://u:{S}@h/db failed") == "conn mssql://u:***@h/db failed"
    assert masked(f"GET https://h/b?sig={S}&se=1: 403") == "GET https://h/b?sig=***&se=1: 403"


@pytest.mark.parametrize(
    "address",
    [
        f"Driver={{D}};Server=h;UID=u;PWD=a;{S}",
        f"Driver={{D}};Server=h;UID=u;PWD=a;Database={S}",
        f"Driver={{D}};Server=h;UID=u;PWD={{a;{S}",
        f"Driver={{D}};Server=h;UID=u;PWD='it's;{S}'",
        f"Server=h;UID=u;PWD =x=y;{S}",
        f"Server=h;UID=u;PW=x;AccessToken={S}",
        f"Server=h;UID=u;ClientSecret=x;{S}",
        f"mssql://u:a/{S}@h/d",
        f"mssql://u:a b@c{S}@h/d",
        f"mssql://{S}@h/d",
        f"postgresql://u:p@h/d?sslmode=x&sslpassword={S}&x={S}",
        f"sqlite:///x.db?key={S}",
    ],
)
def test_an_address_shows_nothing_after_a_secrets_name(address: str) -> None:
    """Not even what would be another part, if the password didn't hold a semicolon."""
    shown = masked_address(address)
    assert S not in shown
    assert shown.startswith(address[:6])
    assert masked(shown) == shown


@pytest.mark.parametrize(
    "piece",
    [
        "password", "password=", "PWD={", "PWD=a;", "PWD=' ", "pass:", "key=", "secret ", "token ", "Bearer a1",
        "://", "a://b:", "https://a:b", "http://a/hook/", "://h/a/a/a/a/", "eyJ", "eyJa.", "&sig=", "--password ",
        "-----BEGIN PRIVATE KEY-----", "--a-", '\\"', '"password":"', "'", '"', ";", " ", "\t", "=", "@", "a@", "aB3/",
        "gh", "ghp_", "xoxb-", "authorization: bearer ", "cookie:", "/aB1", "8Q~", "a.", "a_1", "{", "}}", "sk-",
        ",a=", "&a=", "\n", "<pwd>", " -u a:", "aws4-hmac-sha256 ",
    ],
)  # fmt: skip
def test_time_is_linear_whatever_the_text(piece: str) -> None:
    """Ten times the text takes about ten times as long; the square of it would be a hundred times."""

    def seconds(length: int) -> float:
        text = f"password key token sig pw http:// gh {(piece * length)[:length]}"
        times = []
        for _ in range(3):
            began = time.thread_time()
            masked(text)
            times.append(time.thread_time() - began)
        return min(times)

    short, long = seconds(LONGEST // 10), seconds(LONGEST - 100)
    assert long < 40 * max(short, 0.002), (short, long)
    assert len(masked(piece * LONGEST)) <= 2 * LONGEST


PIECES = [
    *"aA1 =:;&'\"{}@/\\.-_\n,?~",
    "pwd",
    "PWD=",
    "password",
    "token",
    "https://",
    "secret",
    "api-key",
    "***",
    "sig=",
]


@given(st.lists(st.sampled_from(PIECES), max_size=40).map("".join))
@example("password='")
def test_masking_twice_is_masking_once(text: str) -> None:
    """Text passes more than one door; what the first has masked the second leaves."""
    once = masked(text)
    assert masked(once) == once
