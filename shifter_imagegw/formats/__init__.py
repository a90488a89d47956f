# SPDX-License-Identifier: BSD-3-Clause
"""Tar stream to image file."""
