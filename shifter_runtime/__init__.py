# SPDX-License-Identifier: BSD-3-Clause
"""The privileged runtime: plan the user-defined image, build it, become the user."""

VERSION = "0.1.0"  # of Shifter: pyproject.toml takes it from here
