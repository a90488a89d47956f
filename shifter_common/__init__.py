# SPDX-License-Identifier: BSD-3-Clause
"""Contracts that Shifter's packages share."""
