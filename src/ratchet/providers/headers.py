"""What goes into the head of each request, and what of it must never be shown."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping

from ratchet.errors import ConfigError
from ratchet.ports import Endpoint
from ratchet.providers import fields

_VARIABLE = re.compile(r"\$\{(\w+)\}")


def make_headers(
    endpoint: Endpoint, *, key_header: str, environ: Mapping[str, str] | None = None
) -> tuple[dict[str, str], tuple[str, ...]]:
    """(headers, secrets in them): content type, key, and the endpoint's own from `options["headers"]`.

    Args:
        key_header: "authorization" for a bearer token, else the name of the vendor's header.
        environ: Where `${NAME}` in the value of a header is looked up, so that no key stands in a config.

    Raises:
        ConfigError: `headers` is no object, or a variable in it is not set.
    """
    environ = os.environ if environ is None else environ
    headers = {"Content-Type": "application/json"}
    secrets: list[str] = []
    if endpoint.api_key:
        key = endpoint.api_key.reveal()
        secrets.append(key)
        bearer = key_header == "authorization" or endpoint.options.get("auth") == "bearer"
        headers["Authorization" if bearer else key_header] = f"Bearer {key}" if bearer else key
    given = endpoint.options.get("headers")
    if given is not None and not isinstance(given, Mapping):
        raise ConfigError(f"headers is {type(given).__name__}, expected an object of names to values")
    for name, value in fields.dict_of(given).items():
        text = str(value)
        for variable in _VARIABLE.findall(text):
            if variable not in environ:
                raise ConfigError(
                    f"header {name!r} wants ${{{variable}}}, which is not set in the environment"
                )
            secrets.append(environ[variable].strip())
            text = text.replace(f"${{{variable}}}", environ[variable].strip())
        headers[str(name)] = text
    return headers, tuple(secrets)
