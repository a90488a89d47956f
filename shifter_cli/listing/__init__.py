# SPDX-License-Identifier: BSD-3-Clause
"""Images and jobs as lists: which are wanted, in which order, in which lines."""
