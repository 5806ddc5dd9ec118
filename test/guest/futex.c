// SPDX-License-Identifier: MIT
/* The bare system call: wait and wake, requeue, bit sets, PI, timeouts. */
#include "guest.h"
#include <linux/futex.h>
#include <pthread.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <time.h>

static uint32_t *words;		/* shared by all processes */

static long futex(uint32_t *word, int op, uint32_t value, unsigned long arg,
		  uint32_t *word2, uint32_t value3)
{
	return syscall(SYS_futex, word, op, value, arg, word2, value3);
}

static void wait_change(uint32_t *word, uint32_t from)
{
	while (__atomic_load_n(word, __ATOMIC_SEQ_CST) == from)
		if (futex(word, FUTEX_WAIT, from, 0, NULL, 0))
			check(errno == EAGAIN || errno == EINTR);
}

static void set(uint32_t *word, uint32_t value)
{
	__atomic_store_n(word, value, __ATOMIC_SEQ_CST);
	futex(word, FUTEX_WAKE, 1, 0, NULL, 0);
}

static void lock_pi(uint32_t *word, uint32_t tid)
{
	uint32_t zero = 0;

	if (!__atomic_compare_exchange_n(word, &zero, tid, false,
					 __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST))
		check(!futex(word, FUTEX_LOCK_PI, 0, 0, NULL, 0));
	check((*word & FUTEX_TID_MASK) == tid);
}

static void unlock_pi(uint32_t *word, uint32_t tid)
{
	uint32_t mine = tid;

	if (!__atomic_compare_exchange_n(word, &mine, 0, false,
					 __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST))
		check(!futex(word, FUTEX_UNLOCK_PI, 0, 0, NULL, 0));
}

static void *take_pi(void *arg)
{
	uint32_t tid = syscall(SYS_gettid);
	int i;

	for (i = 0; i < 500; i++) {
		lock_pi(&words[20], tid);
		words[21]++;
		unlock_pi(&words[20], tid);
	}
	return arg;
}

int main(void)
{
	struct timespec ts = { 0, 2000000 }, before, after;
	pid_t children[8], child;
	pthread_t threads[3];
	int i, n;
	uint32_t *text = (uint32_t *)((unsigned long)main & -4);
	char *rwx;

	expect_ring();
	words = mmap(NULL, 4096, PROT_READ | PROT_WRITE,
		     MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	check(words != MAP_FAILED);

	/* ping pong between two processes */
	child = fork();
	check(child >= 0);
	if (child == 0) {
		for (i = 0; i < 1000; i++) {
			wait_change(&words[0], 2 * i);
			check(words[0] == 2u * i + 1);
			set(&words[0], 2 * i + 2);
		}
		_exit(0);
	}
	for (i = 0; i < 1000; i++) {
		set(&words[0], 2 * i + 1);
		wait_change(&words[0], 2 * i + 1);
	}
	join_child(child);
	printf("ping pong %u\n", words[0]);

	check(futex(&words[1], FUTEX_WAIT, 1, 0, NULL, 0) == -1 &&
	      errno == EAGAIN);
	clock_gettime(CLOCK_MONOTONIC, &before);
	check(futex(&words[1], FUTEX_WAIT, 0, (long)&ts, NULL, 0) == -1 &&
	      errno == ETIMEDOUT);
	clock_gettime(CLOCK_MONOTONIC, &after);
	check((after.tv_sec - before.tv_sec) * 1000000000ll + after.tv_nsec -
	      before.tv_nsec >= 2000000);
	check(futex((uint32_t *)4096, FUTEX_WAIT, 0, 0, NULL, 0) == -1 &&
	      errno == EFAULT);
	check(futex((uint32_t *)0xffffffff81000000, FUTEX_WAIT, 0, 0, NULL, 0)
	      == -1 && errno == EFAULT);
	check(futex((uint32_t *)0xffffffff81000000, FUTEX_WAKE, 1, 0, NULL, 0)
	      == -1 && errno == EFAULT);
	check(futex((uint32_t *)((char *)words + 1), FUTEX_WAIT, 0, 0, NULL, 0)
	      == -1 && errno == EINVAL);
	printf("refused\n");

	/* all but one of the waiters go over to another word */
	for (i = 0; i < 8; i++) {
		children[i] = fork();
		check(children[i] >= 0);
		if (children[i] == 0) {
			__atomic_fetch_add(&words[12], 1, __ATOMIC_SEQ_CST);
			check(!futex(&words[10], FUTEX_WAIT, 0, 0, NULL, 0));
			_exit(0);
		}
	}
	while (__atomic_load_n(&words[12], __ATOMIC_SEQ_CST) < 8)
		usleep(1000);
	/* sooner or later all eight of them sleep */
	for (n = 0; n < 8; ) {
		i = futex(&words[10], FUTEX_CMP_REQUEUE, 0, 100, &words[11], 0);
		check(i >= 0);
		n += i;
		usleep(1000);
	}
	check(futex(&words[10], FUTEX_WAKE, 100, 0, NULL, 0) == 0);
	check(futex(&words[11], FUTEX_WAKE, 3, 0, NULL, 0) == 3);
	check(futex(&words[11], FUTEX_WAKE, 100, 0, NULL, 0) == 5);
	for (i = 0; i < 8; i++)
		join_child(children[i]);
	printf("requeued %d\n", n);

	/* bit sets choose whom to wake */
	for (i = 0; i < 4; i++) {
		children[i] = fork();
		check(children[i] >= 0);
		if (children[i] == 0) {
			check(!futex(&words[13], FUTEX_WAIT_BITSET, 0, 0, NULL,
				     1u << i));
			_exit(0);
		}
	}
	for (i = 3; i >= 0; i--) {
		while (futex(&words[13], FUTEX_WAKE_BITSET, 100, 0, NULL,
			     1u << i) == 0)
			usleep(1000);
		join_child(children[i]);
	}
	printf("bits\n");

	/* priority inheritance, between processes and threads */
	for (i = 0; i < 4; i++) {
		children[i] = fork();
		check(children[i] >= 0);
		if (children[i] == 0) {
			take_pi(NULL);
			_exit(0);
		}
	}
	for (i = 0; i < 3; i++)
		check(!pthread_create(&threads[i], NULL, take_pi, NULL));
	for (i = 0; i < 3; i++)
		check(!pthread_join(threads[i], NULL));
	for (i = 0; i < 4; i++)
		join_child(children[i]);
	check(words[20] == 0 || !(words[20] & FUTEX_TID_MASK));
	printf("pi %u\n", words[21]);

	/* in an executable page as well */
	rwx = mmap(NULL, 4096, PROT_READ | PROT_WRITE | PROT_EXEC,
		   MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	check(rwx != MAP_FAILED);
	words = (uint32_t *)rwx;
	child = fork();
	check(child >= 0);
	if (child == 0) {
		for (i = 0; i < 100; i++) {
			wait_change(&words[0], 2 * i);
			set(&words[0], 2 * i + 2);
		}
		take_pi(NULL);
		_exit(0);
	}
	for (i = 0; i < 100; i++) {
		set(&words[0], 2 * i + 1);
		wait_change(&words[0], 2 * i + 1);
	}
	take_pi(NULL);
	join_child(child);
	check(futex(text, FUTEX_WAIT, ~*text, 0, NULL, 0) == -1 && errno == EAGAIN);
	printf("executable %u\n", words[21]);

	printf("ok\n");
	return 0;
}
