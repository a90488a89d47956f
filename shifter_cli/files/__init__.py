# SPDX-License-Identifier: BSD-3-Clause
"""Images as files of a user's own: what one may be made of, and what one is written to."""
