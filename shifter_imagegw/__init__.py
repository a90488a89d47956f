# SPDX-License-Identifier: BSD-3-Clause
"""The image gateway: HTTP API, rules, catalog and the pull pipeline."""
