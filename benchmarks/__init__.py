# SPDX-License-Identifier: BSD-3-Clause
"""What the project claims about speed and memory, measured side by side with its peers."""
