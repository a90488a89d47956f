# SPDX-License-Identifier: BSD-3-Clause
"""Registry logins that a user has already, from docker, podman and their credential helpers."""
