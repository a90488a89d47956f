# SPDX-License-Identifier: BSD-3-Clause
"""shifterimg: what people type."""
