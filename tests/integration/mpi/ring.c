/* SPDX-License-Identifier: BSD-3-Clause */
/* Says where it runs and on what MPI, passes a number round a ring and sums over all ranks. */
#include <mpi.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

int main(int argc, char **argv)
{
	int rank, size, from_left = -1, sum = 0, length;
	char host[256] = "", version[MPI_MAX_LIBRARY_VERSION_STRING];

	MPI_Init(&argc, &argv);
	MPI_Comm_rank(MPI_COMM_WORLD, &rank);
	MPI_Comm_size(MPI_COMM_WORLD, &size);
	MPI_Sendrecv(&rank, 1, MPI_INT, (rank + 1) % size, 0, &from_left, 1, MPI_INT,
		     (rank + size - 1) % size, 0, MPI_COMM_WORLD, MPI_STATUS_IGNORE);
	MPI_Allreduce(&rank, &sum, 1, MPI_INT, MPI_SUM, MPI_COMM_WORLD);
	MPI_Get_library_version(version, &length);
	version[strcspn(version, "\n")] = '\0';
	gethostname(host, sizeof host - 1);
	printf("rank %d of %d on %s: left %d, sum %d, %s\n", rank, size, host, from_left, sum, version);
	/* For MPICH 4.0 and 4.1, which may never come out of MPI_Finalize where UCX uses TCP. */
	if (getenv("RING_LEAVES_OPEN")) {
		MPI_Allreduce(&rank, &sum, 1, MPI_INT, MPI_SUM, MPI_COMM_WORLD);
		fflush(stdout);
		_exit(0);
	}
	MPI_Finalize();
	return 0;
}
