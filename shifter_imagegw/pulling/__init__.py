# SPDX-License-Identifier: BSD-3-Clause
"""A job, from a claim to an image that is READY, or gone."""
