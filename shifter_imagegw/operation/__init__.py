# SPDX-License-Identifier: BSD-3-Clause
"""What watches the gateway: health, counts, events without secrets, files that nobody knows."""
