/* SPDX-License-Identifier: BSD-3-Clause */
/* Stands for the glibc of an old image: only its symbol versions are ever looked at. */
int shifter_test_old, shifter_test_older;
__asm__(".symver shifter_test_older, shifter_test_older@GLIBC_2.2.5");
