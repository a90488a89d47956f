# SPDX-License-Identifier: BSD-3-Clause
"""The modes of shifterimg, a module for each family; loaded when one of them is asked for."""
