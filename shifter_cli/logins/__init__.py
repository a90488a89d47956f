# SPDX-License-Identifier: BSD-3-Clause
"""A user's registry logins: those given to shifterimg, and what docker and podman keep or get."""
