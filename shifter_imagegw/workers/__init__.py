# SPDX-License-Identifier: BSD-3-Clause
"""The processes that do jobs, and what becomes of the jobs of those that die."""
