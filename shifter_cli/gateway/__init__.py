# SPDX-License-Identifier: BSD-3-Clause
"""The image gateway: what it can be asked over HTTP, and the records that it answers with."""
