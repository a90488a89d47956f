# SPDX-License-Identifier: BSD-3-Clause
"""The commands of `shifter-admin`, a module for each family of them."""
