# SPDX-License-Identifier: BSD-3-Clause
"""Images that come from files instead of a registry."""
