"""Masks secrets in text: passwords by their name, keys, tokens, user info in URLs. Two tables of rules, no more.

Applied where text enters (an exception's message, a driver's error, dbt's message, a log line), so that no row,
journal, page or alert ever holds the secret. It reads text; it does not know settings, spans or files. It errs on the
side of masking: after ``PWD=`` nothing is shown up to the next part of a connection string.

Time is linear in the text's length, whatever the text: nothing repeats without a bound, and text is cut at
``LONGEST`` letters.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Final

__all__ = [
    "LONGEST",
    "MASK",
    "TEXTS",
    "masked",
    "masked_address",
    "masked_attributes",
    "masked_input",
    "set_masking",
]

MASK: Final = "***"
LONGEST: Final = 100_000
"""Letters of a text that are kept; more would fit in no column, and a hostile text could hold up the job."""
_CUT = "… (the rest was cut)"


# -- how a value looks that follows a name ----------------------------------------------------------------------

_EQUALS = r"\\{0,4}[\"']?\s{0,9}(?:=|%3D|\\u003d)\s{0,9}"
_COLON = r"\\{0,4}(?:[\"']|%22)?[ \t]{0,9}(?::(?!//)|%3A)(?:[ \t]|%20){0,9}"
_QUOTED = (
    r"N?\"(?:[^\"\\\r\n]|\\[^\r\n]|\"\")*\"|N?'(?:[^'\\\r\n]|\\[^\r\n]|'')*'"
    r"|\\{1,4}\"[^\"\\\r\n]*\\{0,4}\"|\\{1,4}'[^'\\\r\n]*\\{0,4}'"
)
_BRACED = r"\{(?:[^}\r\n]|\}\})*\}(?=\s{0,9}(?:[;\"',)]|$))"
_NAMES = (
    r"(?:driver|server|address|addr|data source|database|initial catalog|uid|user|user id|dsn|filedsn|port|encrypt"
    r"|trustservercertificate|trusted_connection|integrated security|persist security info|authentication|app"
    r"|application name|connection timeout|connect timeout|timeout|pooling|multipleactiveresultsets|mars_connection"
    r"|multisubnetfailover|applicationintent|language|wsid|tds_version|host|dbname|sslmode|pwd|password)"
)
"""What a connection string may go on with; anything else after a semicolon counts as part of the password."""
_NEXT = (
    rf";\s{{0,9}}{_NAMES}\s{{0,9}}=|[ \t](?:user|dbname|host|port|sslmode|options|application_name)\s?="
    r"|&[\w.-]{1,40}=|[\"'](?=[\s,:;.)\]}]|$)|,\s?[\"']?[\w.-]{1,40}[\"']?\s?[=:]"
)
_TO_NEXT = rf"(?:[^;&,\s\"'\r\n]|(?!{_NEXT})[;&, \t\"'])+"
"""Blanks included, up to where the next part begins."""
_WORD = r"(?:[^\s;&,\"'<>]|,(?!\s?[\w.-]{1,40}\s?[=:]))+"
_NO_VALUE = (
    r"(?![\s\\\"']{0,9}(?:\*\*\*|\.\.\.)|\s{0,9}(?:none|null|nil|true|false|yes|no|not|is|was|has|are|must|should|may|cannot|can't|could|can"
    r"|incorrect|invalid|wrong|required|missing|expired|empty|unknown|unable|check|failed|failure|authentication|login"
    r"|the|this|that|it|for|from|with|please|error|access|using|too|at|in|on|field|value|str|string|optional|definition"
    r"|permission|policy|scram|sha\d*|md5)\b(?![\w!@#$%^&*+-]))"
)
"""What prose, a null and our own mask go on with. It looks over blanks: they could be given back, one by one."""
_BLANKS = r"[ \t]{0,9}"
_TO_ARGUMENT = r"(?:[\"'],)?[ \t]{0,9}"
_ARGUMENT = rf"(?![\s\"',]{{0,9}}\*\*\*)(?:{_QUOTED}|[^\s\"',]+)"
_MASKED = r"(?![\s\"']{0,9}(?:\*\*\*|\.\.\.))"

_PASSWORDS = (
    r"(?:password|(?<!/etc/)passwd|passphrase|passcode|passwort|kennwort|wachtwoord|adgangskode|pwd"
    r"|mot[ _-]?de[ _-]?passe|contrase[ñn]a"
    r"|(?<![a-z])(?:pass|pw)(?!\s?[=:]\s?\d+\b))"
)
_WRITTEN_OUT = r"(?:password|passphrase|passwort|kennwort|wachtwoord|mot de passe)"
"""Before a value without ``=`` or ``:``; ``pass`` is dbt's word too, and ``pwd`` a command's."""
_ANY_KEY = r"(?:account|access|api|shared|secret|private|subscription|functions)[ ._-]?key"
_KEYS = (
    r"(?:(?<!vault )secret(?:[_-]?(?:value|text))?|credentials?(?!.{0,9}\b\w{0,40}credential)|dbt_env_secret\w{0,60}"
    rf"|{_ANY_KEY}(?:\.[\w.-]{{1,100}})?)"
)
_TOKENS = (
    r"(?:authorization|(?<!unexpected )(?<!expected )(?<!unknown )(?<!invalid )(?<!illegal )(?<!bad )(?<!next )"
    r"(?<!mismatched )(?<!near )(?<!at )token)"
)
"""Parsers speak of tokens too."""
_TOKENLIKE = r"(?=[\w.~+/=%-]{0,200}\d|[\w.~+/=%-]{16})(?![a-z]{1,40}(?:_[a-z0-9]{1,40}){1,9}\b)[\w.~+/=%|-]{6,}"
"""Long, or with a digit in it, and no name of a column."""
_MIXED = rf"(?=[\w.~+/-]{{0,200}}[a-z])(?=[\w.~+/-]{{0,200}}\d){_TOKENLIKE}"
"""Letters and digits: no word of a sentence."""

RULES: Final[tuple[tuple[tuple[str, ...], str, str], ...]] = (
    (
        ("private key",),
        (
            r"-----BEGIN [A-Z0-9 ]{0,30}PRIVATE KEY[A-Z ]{0,9}-----"
            r"(?s:.*?)(?:-----END [A-Z0-9 ]{0,30}PRIVATE KEY[A-Z ]{0,9}-----|\Z)"
        ),
        "-----PRIVATE KEY " + MASK + "-----",
    ),
    # -- URLs ----------------------------------------------------------------------------------------------------
    # Between user and host; in a web address what follows the colon may be a port.
    (
        ("://",),
        r"(?<=[a-z0-9]://)(?<!http://)(?<!https://)([^\s/@:\"'<>]{0,128}):(?!\*\*\*@)[^\s\"'<>]{1,256}@",
        rf"\1:{MASK}@",
    ),
    (
        ("http",),
        r"(?<=://)([^\s/@:\"'<>]{0,128}):(?!\*\*\*@)(?!\d{1,5}(?:[/?#\s\"',;)]|$))[^\s\"'<>]{1,256}@",
        rf"\1:{MASK}@",
    ),
    (("://",), r"(?<=://)[\w~.-]{20,256}@", f"{MASK}@"),
    (
        ("hook", "/bot", "services/"),
        (
            r"(://hooks\.slack\.com(?=/)|://[\w.:-]{1,128}(?:/[\w.~-]{1,64}){0,4}?/(?:(?:web)?hooks?\w{0,3}|services(?=/T\w{1,20}/B)|bot(?=\d)))"
            r"(?:/(?!\*\*\*)[^\s?#\"'<>]{1,512}|(?<=bot)\d[^\s?#/\"'<>]{1,128})"
        ),
        rf"\1/{MASK}",
    ),
    (
        ("://",),
        r"(?<=/)(?-i:(?=[a-zA-Z]{0,64}\d)(?=[a-z0-9]{0,64}[A-Z])(?=[A-Z0-9]{0,64}[a-z]))[a-z0-9]{32,128}(?=[/?#\s\"'<>,]|$)",
        MASK,
    ),
    (("code=",), r"([?&]code=)(?!\*\*\*)[^&\s\"'<>#]{20,}", rf"\1{MASK}"),
    (
        ("sig",),
        r"((?:[?&]|&amp;|%26|%3F)(?:sig|signature|x-amz-signature|x-goog-signature)(?:=|%3D))[^&\s\"'<>#]+",
        rf"\1{MASK}",
    ),
    (("sharedaccesssignature",), rf"(sharedaccesssignature{_EQUALS}){_MASKED}[^;\s\"'<>]+", rf"\1{MASK}"),
    # -- values by name ------------------------------------------------------------------------------------------
    (
        ("pass", "pwd", "pw", "kennwort", "wachtwoord", "adgangskode", "contrase"),
        rf"({_PASSWORDS}{_EQUALS}){_MASKED}(?:{_QUOTED}|{_BRACED}|{_TO_NEXT})",
        rf"\1{MASK}",
    ),
    (
        ("pass", "pwd", "kennwort", "wachtwoord", "adgangskode", "contrase"),
        rf"({_PASSWORDS}{_COLON}){_NO_VALUE}(?:{_QUOTED}|{_TO_NEXT})",
        rf"\1{MASK}",
    ),
    (
        ("--",),
        (
            rf"(?<![\w-])(--?[\w-]{{0,40}}?(?:{_PASSWORDS}|token|{_KEYS})(?:[\"'],)?[ \t]){_BLANKS}"
            rf"{_NO_VALUE}(?:{_QUOTED}|[^\s\"']+)"
        ),
        rf"\1{MASK}",
    ),
    # Short options of programs; in a list too, as Python's CalledProcessError shows it.
    (("sqlcmd", "bcp", "osql"), rf"((?<![\w-])(?-i:-P){_TO_ARGUMENT}){_ARGUMENT}", rf"\1{MASK}"),
    (("sshpass", "az login"), rf"((?<![\w-])(?-i:-p){_TO_ARGUMENT}){_ARGUMENT}", rf"\1{MASK}"),
    (("mysql", "mariadb"), r"((?<![\w-])(?-i:-p))(?!\*\*\*)[^\s\"',]+", rf"\1{MASK}"),
    ((" -u", "--user"), r"((?<!\S)(?:-u|--user)[ =][^\s:/\"']{1,128}:)(?!\*\*\*)[^\s\"']+", rf"\1{MASK}"),
    (
        ("</",),
        rf"(<(?:{_PASSWORDS}|{_KEYS}|token)(?:\s[^<>]{{0,100}})?>)(?!\*\*\*)[^<>\r\n]{{1,1024}}(?=</)",
        rf"\1{MASK}",
    ),
    (
        ("value=",),
        rf"(=[\"'][\w .:-]{{0,40}}(?:{_PASSWORDS}|{_KEYS})[\"']\s{{1,9}}value=){_MASKED}(?:{_QUOTED})",
        rf"\1{MASK}",
    ),
    (("aws4-hmac",), rf"(aws4-hmac-sha256[ \t]{{1,9}}){_MASKED}[^\r\n\"']+", rf"\1{MASK}"),
    (("identified by",), rf"(identified by\s{{1,9}}(?!password\s)){_NO_VALUE}(?:{_QUOTED}|\S+)", rf"\1{MASK}"),
    # A quote is not closed where the text was cut.
    (
        ("secret", "credential", "key"),
        rf"({_KEYS}(?:{_EQUALS}|{_COLON})){_NO_VALUE}(?:{_QUOTED}|[\"']?{_WORD})",
        rf"\1{MASK}",
    ),
    (("key",), rf"(;\s{{0,9}}key\s{{0,9}}=\s{{0,9}}){_MASKED}(?:{_QUOTED}|{_BRACED}|[^;\s\"']+)", rf"\1{MASK}"),
    (
        ("authorization",),
        (
            rf"(authorization(?:{_EQUALS}|{_COLON})[\"']?(?:bearer|basic|digest|token|apikey|sharedkey|negotiate)(?:\s{{1,9}}|%20))"
            rf"{_MASKED}[^\s;,\"'<>]{{4,}}"
        ),
        rf"\1{MASK}",
    ),
    (
        ("token", "authorization"),
        rf"({_TOKENS}(?:{_EQUALS}|{_COLON})\\{{0,4}}[\"']?){_NO_VALUE}{_TOKENLIKE}",
        rf"\1{MASK}",
    ),
    (
        ("token", "bearer", "key"),
        (
            rf"((?:{_TOKENS}|bearer|{_ANY_KEY})(?: is| was| provided)?:?[ \t]{{1,9}}[\"']?)"
            rf"(?=[\w.~+/-]{{8}}){_MIXED}"
        ),
        rf"\1{MASK}",
    ),
    (
        ("pass", "kennwort", "wachtwoord"),
        rf"({_WRITTEN_OUT}(?: is| was| ->)?[ \t]{{1,9}}\(?){_NO_VALUE}(?:{_QUOTED}|(?![/.~]){_MIXED})",
        rf"\1{MASK}",
    ),
    (
        ("pass", "pwd", "secret", "key", "token"),
        (
            rf"(\(b?[\"'][\w .-]{{0,40}}(?:{_PASSWORDS}|{_KEYS}|token)[\"'],\s?)b?"
            rf"(?![\"'][a-z_]+[\"']){_MASKED}(?:{_QUOTED})(?=\))"
        ),
        rf"\1{MASK}",
    ),
    (
        ("auth",),
        rf"(auth\s{{0,3}}=?\s{{0,3}}\(\s{{0,3}}(?:{_QUOTED}),\s{{0,3}}){_MASKED}(?:{_QUOTED})",
        rf"\1{MASK}",
    ),
    (("thin:", "sqlplus"), r"((?:thin:|sqlplus\s{1,9})[^\s/@:\"'<>]{1,128}/)(?!\*\*\*)[^\s\"'<>@]+(?=@)", rf"\1{MASK}"),
    (("key",), r"(key[\"']?\s{0,3}[=:]\s{0,3}[\"']?)[a-z0-9+/]{43}=(?![\w=])", rf"\1{MASK}"),
    (("cookie",), rf"((?:set-)?cookie:[ \t]{{0,9}}){_MASKED}[^\r\n]+", rf"\1{MASK}"),
    # -- shapes that are secrets whatever their name --------------------------------------------------------------
    (("eyj",), r"(?<![\w-])(?-i:eyJ)[\w-]{6,}\.[\w-]{2,}(?:\.[\w-]*){0,3}", MASK),
    (
        ("gh", "github_pat_", "glpat"),
        r"(?<![a-z0-9])(?:gh[pousr]_[a-z0-9]{16,}|github_pat_\w{16,}|glpat-[\w-]{16,})",
        MASK,
    ),
    (("xox", "xapp"), r"(?<![a-z0-9])(?:xox[a-z]|xapp)-[\w-]{8,}", MASK),
    (("akia", "asia"), r"(?<![a-z0-9])(?-i:(?:AKIA|ASIA)[A-Z0-9]{16})(?![a-z0-9])", MASK),
    (("aiza", "ya29."), r"(?<![\w-])(?-i:AIza[\w-]{30,}|ya29\.[\w-]{20,})", MASK),
    (("q~",), r"(?<![\w~.-])[\w.-]{3}(?-i:\dQ~)[\w~.-]{31,34}(?![\w~-])", MASK),
    (("dapi", "dkea"), r"(?<![a-z0-9])(?:dapi|dkea)[0-9a-f]{32}(?:-\d)?(?![a-z0-9])", MASK),
    (
        ("sk-", "sk_", "rk_", "hf_", "npm_", "pypi-", "dbtc_", "dbtu_", "sg."),
        (
            r"(?<![\w-])(?:sk-[\w-]{20,}|[sr]k_(?:live|test)_\w{16,}|hf_[a-z0-9]{30,}|npm_[a-z0-9]{30,}|pypi-[\w-]{40,}"
            r"|dbt[cu]_[\w-]{20,}|SG\.[\w-]{16,}\.[\w-]{16,})"
        ),
        MASK,
    ),
    (("==",), r"(?<![\w+/])[a-z0-9+/]{86}==", MASK),  # an Azure storage account's key
)
"""What each kind of secret looks like: hints in lower case (a text with none of them is not searched), pattern,
replacement. In this order; each takes what those before it have left."""

_MAY_HOLD_ONE = r"[=:%]|-p|--|</|[\w.~+/-]{12}|token|bearer|identified|pass|kennwort|wachtwoord|auth|key"
"""Something of this is in every secret; most messages that are no errors have nothing of it."""
_enabled = True


def set_masking(enabled: bool) -> None:
    """Whether ``masked_input`` masks; the setting ``mask_secrets``."""
    global _enabled
    _enabled = enabled


TEXTS: Final = frozenset({
    "dbb.error.message", "dbb.dbt.message", "dbb.dbt.adapter_message", "exception.message", "exception.stacktrace",
    "url.full", "url.query", "http.url", "http.target", "db.statement", "db.query.text", "db.connection_string",
})  # fmt: skip
"""Attributes of spans and events that hold text of others: messages, and what instrumentation of others writes down."""


def masked_attributes(attributes: Mapping[str, Any]) -> Mapping[str, Any]:
    """The attributes with ``TEXTS`` masked as ``masked_input`` does it; the same object where nothing is to mask."""
    if not _enabled or TEXTS.isdisjoint(attributes):
        return attributes
    changed = {}
    for name in TEXTS.intersection(attributes):
        held = attributes[name]
        if isinstance(held, str) and (text := masked(held)) != held:
            changed[name] = text
    return {**attributes, **changed} if changed else attributes


def masked_input(text: str) -> str:
    """Text of a job, as it enters: masked, unless the setting ``mask_secrets`` turns that off."""
    return masked(text) if _enabled else text


def masked(text: str) -> str:
    """The text with ``***`` in place of each secret; what dbbtrace itself says goes through here, always."""
    if len(text) > LONGEST:
        text = f"{text[: LONGEST - len(_CUT)]}{_CUT}"
    if re.search(_MAY_HOLD_ONE, text, re.IGNORECASE) is None:
        return text
    lowered = text.lower()
    for hints, pattern, replacement in RULES:
        for hint in hints:
            if hint in lowered:
                text = re.sub(pattern, replacement, text, flags=re.IGNORECASE)
                break
    return text


_SECRET_PART = r"(?:^|(?<=[;?&\s]))[\w .-]{0,40}?(?:pwd|pass|pw|secret|token|key|sig|credential)[\w .-]{0,20}="


def masked_address(url: str) -> str:
    """A warehouse's or backend's address as it may be shown, right or wrong: of a connection string nothing after the
    first secret's name, be it ``PWD=``; of a URL nothing between its colon and its last ``@``, and no query."""
    url = url.strip()[:LONGEST]
    scheme, separator, rest = url.partition("://")
    if separator and "=" not in scheme:
        login, _, rest = rest.rpartition("@")
        user, _, password = login.partition(":")
        rest, _, query = rest.partition("?")
        shown = f"{user}:{MASK}@" if password else f"{MASK}@" if login else ""
        return masked(f"{scheme}://{shown}{rest}{f'?{MASK}' if query else ''}")
    part = re.search(_SECRET_PART, url, re.IGNORECASE)
    return url if part is None else f"{url[: part.end()]}{MASK}"
