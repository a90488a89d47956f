# SPDX-License-Identifier: BSD-3-Clause
"""The operations that ask a registry."""

from __future__ import annotations

from typing import Any

from shifter_imagegw.api.openapi.parts import (
    IMAGE,
    SYSTEM,
    answer,
    body,
    number,
    operation,
    schema,
    text,
)

PATHS: dict[str, Any] = {
    "/api/tags/{system}/{type}/{tag}/": {
        "get": operation(
            "List the tags of a repository", "registries",
            answer("In the registry's order.", schema("Tags")), "403", "429", "502",
            identifier="tags",
            parameters=[
                *IMAGE,
                text("last", "The tag after which to begin."),
                number("limit", "How many at most.", default=100, least=1, most=1000),
            ],
            description="`tag` is a repository, without a tag of the registry's.",
        ),
    },
    "/api/upstream/{system}/{type}/{tag}/": {
        "get": operation(
            "Say what a tag means at its registry now", "registries",
            answer("What a pull would fetch.", schema("Upstream")), "403", "429", "502",
            identifier="upstream", parameters=IMAGE,
            description="Nothing is pulled. Its `id` is that of the image here, if that is new.",
        ),
    },
    "/api/login/{system}/": {
        "post": operation(
            "Have a registry look at a login", "registries",
            answer("It is accepted.", schema("AcceptedLogin")), "403", "413", "429", "502",
            identifier="login", parameters=SYSTEM,
            request=body("LoginTry", "Where.", required=True),
            description="The login itself is in the credential's payload, for the same location. "
            "It is kept nowhere. A user whose logins are refused too often has to wait.",
        ),
    },
}  # fmt: skip
