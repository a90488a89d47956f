# SPDX-License-Identifier: BSD-3-Clause
"""The container that is prepared once per node for a batch job, and joined by its launches."""
