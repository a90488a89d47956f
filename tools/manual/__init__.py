# SPDX-License-Identifier: BSD-3-Clause
"""What the documentation's site is made of that nobody writes by hand."""
