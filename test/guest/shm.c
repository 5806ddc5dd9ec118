// SPDX-License-Identifier: MIT
/* Memory shared between processes: POSIX, memfd, System V, anonymous. */
#include "guest.h"
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/sem.h>
#include <sys/shm.h>

#define SIZE	(256 * 1024)
#define ROUNDS	20000

struct area {
	long counter, turn;
	unsigned char data[];
};

/* Four processes count together, then pass a pattern round. */
static void use(const char *name, struct area *area)
{
	pid_t children[4];
	long i, me;
	size_t j, n = SIZE - sizeof(*area);

	check((void *)area != MAP_FAILED);
	check(area->counter == 0 && area->turn == 0);
	for (me = 0; me < 4; me++) {
		children[me] = fork();
		check(children[me] >= 0);
		if (children[me])
			continue;
		for (i = 0; i < ROUNDS; i++)
			__atomic_fetch_add(&area->counter, 1, __ATOMIC_SEQ_CST);
		while (__atomic_load_n(&area->turn, __ATOMIC_SEQ_CST) != me)
			usleep(50);
		for (j = 0; j < n; j++) {
			check(area->data[j] == (unsigned char)(me * (j + me)));
			area->data[j] = (me + 1) * (j + me + 1);
		}
		__atomic_store_n(&area->turn, me + 1, __ATOMIC_SEQ_CST);
		_exit(0);
	}
	for (me = 0; me < 4; me++)
		join_child(children[me]);
	for (j = 0; j < n; j++)
		check(area->data[j] == (unsigned char)(4 * (j + 4)));
	printf("%s %ld\n", name, area->counter);
}

int main(void)
{
	struct sembuf down = { 0, -1, SEM_UNDO }, up = { 0, 1, SEM_UNDO };
	char name[40];
	struct area *area;
	int fd, id, i, j;
	struct shmid_ds ds;
	pid_t children[4];
	volatile long *cell;

	expect_ring();
	use("anonymous", mmap(NULL, SIZE, PROT_READ | PROT_WRITE,
			      MAP_SHARED | MAP_ANONYMOUS, -1, 0));

	snprintf(name, sizeof(name), "/shm-test-%d", getpid());
	fd = shm_open(name, O_RDWR | O_CREAT | O_EXCL, 0600);
	check(fd >= 0 && !ftruncate(fd, SIZE));
	area = mmap(NULL, SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	use("posix", area);
	check(!shm_unlink(name));
	check(shm_open(name, O_RDWR, 0) == -1 && errno == ENOENT);
	check(area->counter == 4 * ROUNDS);
	close(fd);

	fd = memfd_create("shm", MFD_ALLOW_SEALING);
	check(fd >= 0 && !ftruncate(fd, SIZE));
	area = mmap(NULL, SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	use("memfd", area);
	check(!munmap(area, SIZE));
	check(!fcntl(fd, F_ADD_SEALS, F_SEAL_WRITE));
	check(mmap(NULL, SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0) ==
	      MAP_FAILED && errno == EPERM);
	close(fd);

	id = shmget(IPC_PRIVATE, SIZE, IPC_CREAT | 0600);
	check(id >= 0);
	area = shmat(id, NULL, 0);
	check(!shmctl(id, IPC_STAT, &ds) && ds.shm_nattch == 1);
	use("sysv", area);
	check(!shmctl(id, IPC_STAT, &ds) && ds.shm_nattch == 1);
	check(!shmctl(id, IPC_RMID, NULL));
	check(!shmdt(area));

	/* a counter guarded by a semaphore, whose holders may die */
	cell = mmap(NULL, 4096, PROT_READ | PROT_WRITE,
		    MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	id = semget(IPC_PRIVATE, 1, IPC_CREAT | 0600);
	check(id >= 0 && !semctl(id, 0, SETVAL, 1));
	for (i = 0; i < 4; i++) {
		children[i] = fork();
		check(children[i] >= 0);
		if (children[i])
			continue;
		for (j = 0; j < 500; j++) {
			check(!semop(id, &down, 1));
			*cell = *cell + 1;
			if (j < 499)	/* the last one is given back by exit */
				check(!semop(id, &up, 1));
		}
		_exit(0);
	}
	for (i = 0; i < 4; i++)
		join_child(children[i]);
	check(semctl(id, 0, GETVAL) == 1);
	check(!semctl(id, 0, IPC_RMID));
	printf("semaphore %ld\n", *cell);

	printf("ok\n");
	return 0;
}
