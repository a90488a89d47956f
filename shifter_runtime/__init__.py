# SPDX-License-Identifier: BSD-3-Clause
"""The privileged runtime: plan the user-defined image, build it, become the user."""
