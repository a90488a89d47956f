# SPDX-License-Identifier: BSD-3-Clause
"""What becomes of a request, whoever brings it."""
